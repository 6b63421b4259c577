//! Commits, exactly once: each commit batch is one transaction of the member's producer. The appends are
//! acknowledged, the transaction gets the offsets, and is committed; no step follows one that failed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::super::super::outcome::{Acks, Failures, acknowledged, all_acked, each, failed, tasks};
use super::super::super::{CommitBatch, CommitId, CommitOutcome, Failure, Group};
use super::super::member_producer::{MemberProducer, Unsent};
use super::super::native::{Client, Code, Fault, List};
use super::assignment::{AssignedTasks, not_owned};
use super::committer::{COMMITTED_OFFSET, TaskResults, commit_failure, is_refused};
use crate::record::{TaskId, TopicId};

/// A batch whose commit was not answered. Its acknowledgements are reported when it is.
#[derive(Debug)]
struct InDoubt {
    batch: CommitId,
    acks: Acks,
}

pub(super) struct TransactionCommitter {
    group: Arc<Group>,
    in_doubt: Option<InDoubt>,
}

/// What a commit works with: the member's producer, its consumer, and the tasks it owns.
pub(super) struct Clients<'m> {
    pub(super) producer: &'m mut MemberProducer,
    pub(super) consumer: &'m Client,
    pub(super) tasks: &'m AssignedTasks,
}

impl TransactionCommitter {
    pub(super) fn new(group: Arc<Group>) -> Self {
        Self {
            group,
            in_doubt: None,
        }
    }

    /// Commits the batch in the open transaction.
    pub(super) fn commit(
        &mut self,
        clients: &mut Clients<'_>,
        batch: &CommitBatch,
        deadline: Instant,
    ) -> CommitOutcome {
        if let Some(in_doubt) = self.in_doubt.take() {
            if in_doubt.batch == batch.id {
                return self.end(clients, batch, in_doubt.acks, deadline);
            }
            let why = format!(
                "batch {} is committed while it is not known whether batch {} is",
                batch.id.0, in_doubt.batch.0
            );
            self.in_doubt = Some(in_doubt);
            return failed(
                batch,
                each(&tasks(batch, []), |_| Failure::Fatal(why.clone())),
            );
        }
        let acks = clients.producer.await_acks(deadline);
        let tasks = tasks(batch, acks.keys().copied());
        if tasks.is_empty() {
            if clients.producer.is_open() {
                // It only holds records of tasks that are not owned any more. If this fails, the next batch
                // reports it.
                drop(clients.producer.abort(deadline));
            }
            return CommitOutcome::default();
        }
        match self.prepare(clients, batch, &tasks, acks, deadline) {
            Ok(acks) => self.end(clients, batch, acks, deadline),
            Err(failures) => {
                clients
                    .producer
                    .mark_abort_only("a part of it failed, and it is not aborted yet");
                failed(batch, failures)
            }
        }
    }

    /// Everything before the commit.
    fn prepare(
        &self,
        clients: &mut Clients<'_>,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        acks: TaskResults,
        deadline: Instant,
    ) -> Result<Acks, Failures> {
        let all = |failure: &Failure| each(tasks, |_| failure.clone());
        if let Some(ended) = clients.producer.ended() {
            return Err(all(&ended));
        }
        let failed = clients.producer.take_failed();
        let acks = match acknowledged(tasks, acks) {
            Ok(acks) => acks,
            Err(failures) => return Err(denied(clients.producer, failures, &failed)),
        };
        fail_point!("after-acks", acks.len());
        check_owned(clients, tasks)?;
        clients
            .producer
            .begin(deadline)
            .map_err(|failure| all(&failure))?;
        self.send(clients, batch, tasks, deadline)?;
        if Instant::now() >= deadline {
            let why = "no time was left to commit the transaction";
            return Err(all(&Failure::Abortable(why.to_owned())));
        }
        Ok(acks)
    }

    /// Makes the batch's offsets part of its transaction.
    fn send(
        &self,
        clients: &mut Clients<'_>,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        deadline: Instant,
    ) -> Result<(), Failures> {
        if batch.offsets.is_empty() {
            return Ok(());
        }
        let all = |failure: Failure| each(tasks, |_| failure.clone());
        let mut list = List::new();
        for (task, topic, offset, metadata) in &batch.offsets {
            #[cfg(feature = "fail-points")]
            let offset = &crate::fail_points::offset(*offset);
            list.add_with(self.group.topic(*topic), task.partition, *offset, metadata)
                .map_err(|fault| all(Failure::Fatal(fault.reason)))?;
        }
        let consumer = clients.consumer;
        match clients.producer.send_offsets(list, consumer, deadline) {
            Ok(()) => Ok(()),
            Err(Unsent::Ended(failure)) => Err(all(failure)),
            Err(Unsent::NoMember) => {
                let fault = Fault {
                    code: Code::UnknownMemberId,
                    reason: "the consumer is joining its group anew".to_owned(),
                };
                Err(all(commit_failure(
                    &self.group,
                    fault,
                    consumer.assignment_lost(),
                )))
            }
            Err(Unsent::Refused(fault)) => {
                Err(self.refused(batch, tasks, fault, consumer.assignment_lost()))
            }
        }
    }

    /// The coordinator refused offsets: nothing is committed, so no outcome is in doubt.
    fn refused(
        &self,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        fault: Fault,
        is_lost: bool,
    ) -> Failures {
        if is_refused(fault.code) {
            return self.refused_partitions(batch, tasks, &fault.reason);
        }
        let failure = match commit_failure(&self.group, fault, is_lost) {
            Failure::Unknown(why) | Failure::Retriable(why) => Failure::Abortable(why),
            failure => failure,
        };
        each(tasks, |_| failure.clone())
    }

    /// Only the text of the error names the partitions that are refused for good. Where it names none,
    /// every task is refused, or they would all try for ever.
    fn refused_partitions(
        &self,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        reason: &str,
    ) -> Failures {
        let refused = |topic: TopicId| Failure::Refused {
            topic: self.group.topic(topic).to_string(),
            key: COMMITTED_OFFSET.to_owned(),
            reason: reason.to_owned(),
        };
        let inputs = || {
            batch
                .offsets
                .iter()
                .map(|(task, topic, ..)| (*task, *topic))
        };
        let mut refusals: Failures = inputs()
            .filter(|(task, topic)| names(reason, self.group.topic(*topic), task.partition))
            .map(|(task, topic)| (task, refused(topic)))
            .collect();
        if refusals.is_empty() {
            refusals = inputs()
                .map(|(task, topic)| (task, refused(topic)))
                .collect();
        }
        each(tasks, |task| match refusals.get(&task) {
            Some(refused) => refused.clone(),
            None => Failure::Abortable(format!("another task's offset is refused: {reason}")),
        })
    }

    /// Commits the transaction. An outcome that is not known is asked for by the next commit of the batch.
    fn end(
        &mut self,
        clients: &mut Clients<'_>,
        batch: &CommitBatch,
        acks: Acks,
        deadline: Instant,
    ) -> CommitOutcome {
        fail_point!("before-transaction-end", batch.offsets.len());
        let outcome = clients.producer.commit(deadline);
        if outcome.is_ok() {
            fail_point!("after-transaction-end", batch.offsets.len());
        }
        let tasks = tasks(batch, acks.keys().copied());
        match outcome {
            Ok(()) => all_acked(batch, &acks, &Ok(())),
            Err(unknown @ Failure::Unknown(_)) => {
                let outcome = all_acked(batch, &acks, &Err(unknown));
                self.in_doubt = Some(InDoubt {
                    batch: batch.id,
                    acks,
                });
                outcome
            }
            Err(failure) => failed(batch, each(&tasks, |_| failure.clone())),
        }
    }
}

/// A topic that may not be written to is refused before any record is sent: all records fail then, and
/// only the transaction knows why. Trying again would not help.
fn denied(producer: &MemberProducer, failures: Failures, topics: &BTreeSet<String>) -> Failures {
    let fault = producer.abort_reason();
    let Some(fault) = fault.filter(|fault| fault.code == Code::TopicAuthorizationFailed) else {
        return failures;
    };
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let refused = Failure::Refused {
        topic: topics.join("` or `"),
        key: "(any)".to_owned(),
        reason: fault.reason,
    };
    failures
        .into_keys()
        .map(|task| (task, refused.clone()))
        .collect()
}

/// Refuses a batch with a task that another member may own.
fn check_owned(clients: &Clients<'_>, tasks: &BTreeSet<TaskId>) -> Result<(), Failures> {
    if clients.consumer.assignment_lost() {
        let why = "the group took the assignment away";
        return Err(each(tasks, |_| Failure::Lost(why.to_owned())));
    }
    if tasks.iter().all(|task| clients.tasks.owns(*task)) {
        return Ok(());
    }
    Err(each(tasks, |task| match clients.tasks.owns(task) {
        false => not_owned(task),
        true => Failure::Abortable("a task of the batch is not owned any more".to_owned()),
    }))
}

/// Whether librdkafka's text name a partition: `topic(id)[partition](error)`.
fn names(text: &str, topic: &str, partition: i32) -> bool {
    let place = format!("{partition}](");
    text.match_indices(topic).any(|(at, _)| {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let whole = !text[..at].ends_with(legal);
        let rest = text[at + topic.len()..].strip_prefix('(');
        let rest = rest.and_then(|rest| rest.split_once(")["));
        whole && rest.is_some_and(|(_, rest)| rest.starts_with(&place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_in_the_text() {
        let text =
            "on broker 1: my.in((null))[1](Broker: too large), in(xyz)[12](Broker: no) (0ms)";
        let rows = [
            ("my.in", 1, true),
            ("in", 12, true),
            ("in", 1, false),
            ("my.in", 12, false),
            ("my", 1, false),
            ("broker", 1, false),
        ];
        for (topic, partition, named) in rows {
            assert_eq!(names(text, topic, partition), named, "{topic}[{partition}]");
        }
    }
}
