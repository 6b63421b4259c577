//! What a commit of a transaction asks of a member on Kafka: its appends' acknowledgements, and its offsets
//! in the open transaction.

use std::collections::BTreeSet;
use std::time::Instant;

use super::super::super::commit::TaskResults;
use super::super::super::transactions::{CommitClient, Failures, Transactions, all, each};
use super::super::super::{CommitBatch, Failure, Group};
use super::super::member_producer::{ProducerCalls, Unsent};
use super::super::native::{Client, Code, Fault, List};
use super::assignment::AssignedTasks;
use super::committer::{TAKEN_AWAY, commit_failure, is_refused, refused_offset};
use crate::record::TaskId;

/// What a commit works with: the member's producer, its consumer, and the tasks it owns.
pub(super) struct TransactionCommit<'m> {
    pub(super) group: &'m Group,
    pub(super) calls: &'m mut ProducerCalls,
    pub(super) consumer: &'m Client,
    pub(super) tasks: &'m AssignedTasks,
    pub(super) failed: BTreeSet<String>,
}

impl CommitClient for TransactionCommit<'_> {
    type Calls = ProducerCalls;

    fn calls(&mut self) -> &mut ProducerCalls {
        self.calls
    }

    fn acks(&mut self, deadline: Instant) -> TaskResults {
        let acks = self.calls.producer.await_acks(deadline);
        self.failed = self.calls.producer.take_failed();
        acks
    }

    /// A topic that may not be written to is refused before any record is sent: all records fail then, and
    /// only the transaction knows why. Trying again would not help.
    fn explain(&mut self, failures: Failures) -> Failures {
        let fault = self.calls.abort_reason();
        let Some(fault) = fault.filter(|fault| fault.code == Code::TopicAuthorizationFailed) else {
            return failures;
        };
        let topics: Vec<&str> = self.failed.iter().map(String::as_str).collect();
        let refused = Failure::Refused {
            topic: topics.join("` or `"),
            key: "(any)".to_owned(),
            reason: fault.reason,
        };
        let tasks = failures.into_keys();
        tasks.map(|task| (task, refused.clone())).collect()
    }

    fn lost(&self) -> Option<&'static str> {
        self.consumer.assignment_lost().then_some(TAKEN_AWAY)
    }

    fn owns(&self, task: TaskId) -> bool {
        self.tasks.owns(task)
    }

    fn send_offsets(
        &mut self,
        open: &Transactions,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        deadline: Instant,
    ) -> Result<(), Failures> {
        let mut list = List::new();
        for (task, topic, offset, metadata) in &batch.offsets {
            let offset = mutation!(offset(*offset));
            list.add_with(self.group.topic(*topic), task.partition, offset, metadata)
                .map_err(|fault| all(tasks, &Failure::Fatal(fault.reason)))?;
        }
        match self.calls.send_offsets(open, list, self.consumer, deadline) {
            Ok(()) => Ok(()),
            Err(Unsent::Ended(failure)) => Err(all(tasks, &failure)),
            Err(Unsent::NoMember) => {
                let fault = Fault {
                    code: Code::UnknownMemberId,
                    reason: "the consumer is joining its group anew".to_owned(),
                };
                let is_lost = self.consumer.assignment_lost();
                Err(all(tasks, &commit_failure(self.group, fault, is_lost)))
            }
            Err(Unsent::Refused(fault)) => Err(self.refused(batch, tasks, fault)),
        }
    }

    fn is_late(&self, deadline: Instant) -> bool {
        Instant::now() >= deadline
    }
}

impl TransactionCommit<'_> {
    /// The coordinator refused offsets: nothing is committed, so no outcome is in doubt.
    fn refused(&self, batch: &CommitBatch, tasks: &BTreeSet<TaskId>, fault: Fault) -> Failures {
        if is_refused(fault.code) {
            return self.refused_partitions(batch, tasks, &fault.reason);
        }
        let failure = match commit_failure(self.group, fault, self.consumer.assignment_lost()) {
            Failure::Unknown(why) | Failure::Retriable(why) => Failure::Abortable(why),
            failure => failure,
        };
        all(tasks, &failure)
    }

    /// Only the text of the error names the partitions that are refused for good. Where it names none,
    /// every task is refused, or they would all try for ever.
    fn refused_partitions(
        &self,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        reason: &str,
    ) -> Failures {
        let inputs = batch.offsets.iter();
        let inputs = inputs.map(|(task, topic, ..)| (*task, self.group.topic(*topic)));
        let (named, others): (Vec<_>, Vec<_>) =
            inputs.partition(|(task, topic)| names(reason, topic, task.partition));
        let refused = if named.is_empty() { others } else { named };
        let refused = refused.into_iter();
        let refusals: Failures = refused
            .map(|(task, topic)| (task, refused_offset(topic, reason.to_owned())))
            .collect();
        each(tasks, |task| match refusals.get(&task) {
            Some(refused) => refused.clone(),
            None => Failure::Abortable(format!("another task's offset is refused: {reason}")),
        })
    }
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
