//! The barrier's half, exactly once: one unit is one transaction. Acknowledged, given the offsets,
//! committed: each step a function, and no step after one that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::super::super::outcome::{Acks, Failures, acknowledged, each, failed, settled, tasks};
use super::super::super::{CommitBatch, CommitId, CommitOutcome, Failure, TaskAcks};
use super::super::native::{Code, Fault, List};
use super::super::transaction::Unsent;
use super::{KafkaMember, lost};
use crate::record::{TaskId, TopicId};

/// A unit whose commit was not answered: the same acknowledgements are told when it is.
pub(super) struct Unfinished {
    unit: CommitId,
    acks: Acks,
}

impl KafkaMember {
    pub(super) fn settle_transaction(
        &mut self,
        unit: &CommitBatch,
        deadline: Instant,
    ) -> CommitOutcome {
        if let Some(unfinished) = self.unfinished.take() {
            if unfinished.unit == unit.id {
                return self.end(unit, unfinished.acks, deadline);
            }
            let why = format!(
                "unit {} is settled while it is not known whether unit {} is committed",
                unit.id.0, unfinished.unit.0
            );
            self.unfinished = Some(unfinished);
            return failed(
                unit,
                each(&tasks(unit, []), |_| Failure::Fatal(why.clone())),
            );
        }
        let acks = self.producer.settle(deadline);
        let tasks = tasks(unit, acks.keys().copied());
        if tasks.is_empty() {
            if self.producer.is_open() {
                // Only what nobody asks for any more is in it. If this fails, the next unit is told.
                drop(self.producer.abort(deadline));
            }
            return CommitOutcome::default();
        }
        match self.prepare(unit, &tasks, acks, deadline) {
            Ok(acks) => self.end(unit, acks, deadline),
            Err(failures) => {
                self.producer
                    .spoil("a part of it failed, and it is not aborted yet");
                failed(unit, failures)
            }
        }
    }

    /// Everything before the commit.
    fn prepare(
        &mut self,
        unit: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        acks: BTreeMap<TaskId, Result<TaskAcks, Failure>>,
        deadline: Instant,
    ) -> Result<Acks, Failures> {
        let all = |failure: &Failure| each(tasks, |_| failure.clone());
        if let Some(ended) = self.producer.ended() {
            return Err(all(&ended));
        }
        let failed = self.producer.take_failed();
        let acks = match acknowledged(tasks, acks) {
            Ok(acks) => acks,
            Err(failures) => return Err(self.without_right(failures, &failed)),
        };
        fail_point!("after-acks", acks.len());
        self.owned(tasks)?;
        self.producer
            .begin(deadline)
            .map_err(|failure| all(&failure))?;
        self.send(unit, tasks, deadline)?;
        if Instant::now() >= deadline {
            let why = "no time was left to commit the transaction";
            return Err(all(&Failure::Abortable(why.to_owned())));
        }
        Ok(acks)
    }

    /// A topic that may not be written to is refused before any record is sent: all of them are given
    /// up then, and only the transaction knows why. Nobody would succeed by trying again.
    fn without_right(&self, failures: Failures, topics: &BTreeSet<String>) -> Failures {
        let fault = self.producer.given_up();
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

    /// Refuses a unit with a task that somebody else may own.
    fn owned(&self, tasks: &BTreeSet<TaskId>) -> Result<(), Failures> {
        if self.client().assignment_lost() {
            let why = "the group took the assignment away";
            return Err(each(tasks, |_| Failure::Lost(why.to_owned())));
        }
        if tasks.iter().all(|task| self.tasks.contains_key(task)) {
            return Ok(());
        }
        Err(each(tasks, |task| match self.tasks.contains_key(&task) {
            false => lost(task),
            true => Failure::Abortable("a task of the unit is not owned any more".to_owned()),
        }))
    }

    /// Makes the unit's offsets part of its transaction.
    fn send(
        &mut self,
        unit: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        deadline: Instant,
    ) -> Result<(), Failures> {
        if unit.offsets.is_empty() {
            return Ok(());
        }
        let all = |failure: Failure| each(tasks, |_| failure.clone());
        let mut list = List::new();
        for (task, topic, offset, metadata) in &unit.offsets {
            #[cfg(feature = "fail-points")]
            let offset = &crate::fail_points::offset(*offset);
            list.add_with(self.group.topic(*topic), task.partition, *offset, metadata)
                .map_err(|fault| all(Failure::Fatal(fault.reason)))?;
        }
        let consumer = self.events.client();
        match self.producer.send_offsets(list, consumer, deadline) {
            Ok(()) => Ok(()),
            Err(Unsent::Ended(failure)) => Err(all(failure)),
            Err(Unsent::NoMember) => {
                let why = "the consumer is joining its group anew".to_owned();
                Err(all(self.commit_failure(Code::UnknownMemberId, why)))
            }
            Err(Unsent::Refused(fault)) => Err(self.refused(unit, tasks, fault)),
        }
    }

    /// What it means that the group's coordinator refuses offsets. Nothing is committed then, so no
    /// outcome is unknown.
    fn refused(&self, unit: &CommitBatch, tasks: &BTreeSet<TaskId>, fault: Fault) -> Failures {
        let Fault { code, reason } = fault;
        if matches!(
            code,
            Code::OffsetMetadataTooLarge
                | Code::InvalidCommitOffsetSize
                | Code::TopicAuthorizationFailed
        ) {
            return self.refused_places(unit, tasks, &reason);
        }
        let failure = match self.commit_failure(code, reason) {
            Failure::Unknown(why) | Failure::Retriable(why) => Failure::Abortable(why),
            failure => failure,
        };
        each(tasks, |_| failure.clone())
    }

    /// Which partitions are refused for good is told in the words alone; where those name none, every
    /// task is, or they would all try for ever.
    fn refused_places(
        &self,
        unit: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        reason: &str,
    ) -> Failures {
        let refused = |topic: TopicId| Failure::Refused {
            topic: self.group.topic(topic).to_string(),
            key: "(committed offset)".to_owned(),
            reason: reason.to_owned(),
        };
        let places = || unit.offsets.iter().map(|(task, topic, ..)| (*task, *topic));
        let mut refusals: Failures = places()
            .filter(|(task, topic)| names(reason, self.group.topic(*topic), task.partition))
            .map(|(task, topic)| (task, refused(topic)))
            .collect();
        if refusals.is_empty() {
            refusals = places()
                .map(|(task, topic)| (task, refused(topic)))
                .collect();
        }
        each(tasks, |task| match refusals.get(&task) {
            Some(refused) => refused.clone(),
            None => Failure::Abortable(format!("another task's offset is refused: {reason}")),
        })
    }

    /// Commits the transaction; an outcome that is not known is asked for by the next settlement.
    fn end(&mut self, unit: &CommitBatch, acks: Acks, deadline: Instant) -> CommitOutcome {
        fail_point!("before-transaction-end", unit.offsets.len());
        let outcome = self.producer.commit(deadline);
        if outcome.is_ok() {
            fail_point!("after-transaction-end", unit.offsets.len());
        }
        let tasks = tasks(unit, acks.keys().copied());
        match outcome {
            Ok(()) => settled(unit, &acks, &Ok(())),
            Err(unknown @ Failure::Unknown(_)) => {
                let settlement = settled(unit, &acks, &Err(unknown));
                self.unfinished = Some(Unfinished {
                    unit: unit.id,
                    acks,
                });
                settlement
            }
            Err(failure) => failed(unit, each(&tasks, |_| failure.clone())),
        }
    }
}

/// Whether librdkafka's words name a partition: `topic(id)[partition](error)`.
fn names(words: &str, topic: &str, partition: i32) -> bool {
    let place = format!("{partition}](");
    words.match_indices(topic).any(|(at, _)| {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let whole = !words[..at].ends_with(legal);
        let rest = words[at + topic.len()..].strip_prefix('(');
        let rest = rest.and_then(|rest| rest.split_once(")["));
        whole && rest.is_some_and(|(_, rest)| rest.starts_with(&place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_in_the_words() {
        let words =
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
            assert_eq!(
                names(words, topic, partition),
                named,
                "{topic}[{partition}]"
            );
        }
    }
}
