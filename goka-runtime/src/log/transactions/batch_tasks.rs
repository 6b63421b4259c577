//! The tasks of a commit batch on engines with transactions: what happens to one happens to all.

use std::collections::{BTreeMap, BTreeSet};

use super::super::commit::{CommitBatch, CommitOutcome, TaskAcks, TaskResults};
use super::super::error::Failure;
use crate::record::TaskId;

pub(crate) type Acks = BTreeMap<TaskId, TaskAcks>;
/// The failure of each task of a batch.
pub(crate) type Failures = BTreeMap<TaskId, Failure>;

/// The tasks of a batch: those with offsets, and those that appended.
pub(crate) fn tasks(
    batch: &CommitBatch,
    appended: impl IntoIterator<Item = TaskId>,
) -> BTreeSet<TaskId> {
    let offsets = batch.offsets.iter().map(|(task, ..)| *task);
    offsets.chain(appended).collect()
}

pub(crate) fn all(tasks: &BTreeSet<TaskId>, failure: &Failure) -> Failures {
    each(tasks, |_| failure.clone())
}

pub(crate) fn each(tasks: &BTreeSet<TaskId>, failure: impl Fn(TaskId) -> Failure) -> Failures {
    tasks.iter().map(|task| (*task, failure(*task))).collect()
}

/// Nothing is committed: offsets fail with their task.
pub(crate) fn failed(batch: &CommitBatch, failures: Failures) -> CommitOutcome {
    let offsets = batch.offsets.iter().filter_map(|(task, ..)| {
        let failure = failures.get(task)?;
        Some((*task, Err(failure.clone())))
    });
    let offsets = offsets.collect();
    let acks = failures.into_iter();
    let acks = acks.map(|(task, failure)| (task, Err(failure))).collect();
    CommitOutcome { acks, offsets }
}

/// Everything is acknowledged; the offsets all have one outcome.
pub(crate) fn all_acked(
    batch: &CommitBatch,
    acks: &Acks,
    offsets: &Result<(), Failure>,
) -> CommitOutcome {
    let acks = acks.iter().map(|(task, acked)| (*task, Ok(*acked)));
    let tasks = batch.offsets.iter().map(|(task, ..)| *task);
    CommitOutcome {
        acks: acks.collect(),
        offsets: tasks.map(|task| (task, offsets.clone())).collect(),
    }
}

/// The transaction's end writes one control record into each partition that it touched.
fn with_marker(acked: TaskAcks) -> TaskAcks {
    TaskAcks {
        markers: u64::from(acked.changelog.is_some()),
        ..acked
    }
}

/// All acknowledgements, or the failures of the tasks if there is to be no commit: a task whose record is
/// refused for good has that refusal, and the others fail with it.
pub(crate) fn acknowledged(tasks: &BTreeSet<TaskId>, acks: TaskResults) -> Result<Acks, Failures> {
    let Some(why) = acks.values().find_map(|ack| ack.as_ref().err()) else {
        let acks = acks.into_iter();
        let acks = acks.filter_map(|(task, ack)| Some((task, with_marker(ack.ok()?))));
        return Ok(acks.collect());
    };
    let why = why.to_string();
    Err(each(tasks, |task| match acks.get(&task) {
        Some(Err(refused @ Failure::Refused { .. })) => refused.clone(),
        Some(Err(own)) => Failure::Abortable(own.to_string()),
        _ => Failure::Abortable(format!("the transaction's other records failed: {why}")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicId;

    #[test]
    fn one_failure_fails_all_tasks() {
        let of = |partition| TaskId {
            lead: TopicId(0),
            partition,
        };
        let refused = Failure::Refused {
            topic: "topic".to_owned(),
            key: "key".to_owned(),
            reason: "too large".to_owned(),
        };
        let late = Failure::Unknown("late".to_owned());
        let acked = TaskAcks {
            changelog: Some((4, 5, 2)),
            markers: 0,
        };
        let tasks = (0..4).map(of).collect();
        let acks = [
            (of(0), Ok(acked)),
            (of(1), Err(refused.clone())),
            (of(2), Err(late)),
        ];
        let failures = acknowledged(&tasks, acks.into()).expect_err("two fail");
        assert_eq!(failures.len(), 4);
        assert_eq!(failures[&of(1)], refused);
        for other in [0, 2, 3] {
            assert!(matches!(failures[&of(other)], Failure::Abortable(_)));
        }
        let acks = [(of(0), Ok(acked)), (of(1), Ok(TaskAcks::default()))];
        let acks = acknowledged(&tasks, acks.into()).expect("all are there");
        assert_eq!((acks[&of(0)].markers, acks[&of(1)].markers), (1, 0));
    }
}
