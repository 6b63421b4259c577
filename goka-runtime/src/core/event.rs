//! What the core is told and what it asks for. No clock, no thread, no I/O: the worker performs the
//! effects in the order in which they come, and answers with events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::judge::Why;
use super::overlay::Frozen;
use crate::log::{Assignment, Epoch, Failure, LogError, Range, Settlement, Unit, UnitId};
use crate::record::{Appends, Offset, Record, TaskId, Timestamp, TopicId};
use crate::table::{Stamp, StoreError, StoreRead};

/// What time it is: a clock that only goes forward, and the wall's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Since some fixed moment.
    pub monotonic: Duration,
    /// Milliseconds since the Unix epoch.
    pub wall: Timestamp,
}

/// The open stores of running tasks.
pub trait Tables {
    /// The store of a task; `None` where there is none.
    fn table(&self, task: TaskId) -> Option<&dyn StoreRead>;
}

/// What was found about a task before it may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the local copy says of itself.
    pub stamp: Option<Stamp>,
    /// The group topic's partition; `None` in a stateless group.
    pub table: Option<TableFacts>,
    /// The partition's range in each input.
    pub inputs: BTreeMap<TopicId, Range>,
}

/// The partition of the group topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// The topic's identity.
    pub id: String,
    /// The partition's range.
    pub range: Range,
    /// How long tombstones survive compaction.
    pub delete_retention: Duration,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Tasks are owned from now on.
    Assigned(&'a [Assignment]),
    /// An [`Effect::Inspect`] is answered.
    Inspected(TaskId, Epoch, Result<Facts, Cause>),
    /// An [`Effect::Restore`] ended: the store reaches that changelog offset.
    Restored(TaskId, Epoch, Result<Offset, Cause>),
    /// Records of one input of one task.
    Batch {
        /// Whose.
        task: TaskId,
        /// Of which assignment; those of an older one are dropped.
        epoch: Epoch,
        /// Of which input.
        topic: TopicId,
        /// In order.
        records: &'a [Record<'a>],
    },
    /// An input cannot be read on.
    Broken(TaskId, LogError),
    /// An [`Effect::Settle`] is answered.
    Settled(UnitId, Settlement),
    /// An [`Effect::Flush`] is answered.
    Flushed(TaskId, Result<(), StoreError>),
    /// The store of a task lost commits that it had: it was closed, to be judged and restored anew.
    Regressed(TaskId),
    /// Tasks are about to be given back: the barrier of the whole worker comes first.
    Revoking(&'a [TaskId]),
    /// The barrier of [`Event::Revoking`] is over: the tasks are given back.
    Revoked(&'a [TaskId]),
    /// Tasks were taken away.
    Lost(&'a [TaskId]),
    /// Time has passed.
    Tick,
    /// The worker stops: no more intake, a last barrier.
    Drain,
}

/// What the worker is asked to do, in order.
#[derive(Debug)]
pub enum Effect {
    /// Look at the local copy, the group topic and the inputs of a task.
    Inspect(TaskId, Epoch),
    /// Bring the local copy up to the end of the group topic.
    Restore {
        /// Whose.
        task: TaskId,
        /// Of which assignment.
        epoch: Epoch,
        /// The first changelog offset to read.
        from: Offset,
        /// Why the copy is emptied first; `None` keeps it.
        rebuild: Option<Why>,
    },
    /// Fetch the inputs of a task from these positions.
    Fetch(TaskId, Vec<(TopicId, Offset)>),
    /// Stop fetching a task.
    Release(TaskId),
    /// Stop or go on with all intake.
    Pause(bool),
    /// Hand records to the log, in order.
    Append(Appends),
    /// Make everything appended durable, then commit the offsets.
    Settle(Unit),
    /// Bring acknowledged writes to the store, in one commit.
    Flush(TaskId, Arc<Frozen>),
    /// Close the store of a task; it stays on disk.
    Close(TaskId),
    /// Make a new producer: the old one failed.
    Rebuild,
    /// A task stopped for good; the others go on.
    Stopped(TaskId, Cause),
    /// Nothing can go on.
    Fail(Cause),
}

/// Why a task stopped: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The handler failed or panicked, or its record does not decode.
    #[error(
        "{topic}[{partition}] offset {offset}, key `{key}`: {error}; correct the handler or the \
         record: after a restart it is read again"
    )]
    Handler {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: Offset,
        /// Its key, as text.
        key: String,
        /// The handler's word.
        error: String,
    },
    /// A record without a key came into a group with a table.
    #[error(
        "{topic}[{partition}] offset {offset} has a null key, and the group's table needs one; \
         give the records keys (an empty key is one)"
    )]
    NullKey {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: Offset,
    },
    /// A key lies where this group's partitioner would not have put it.
    #[error(
        "{topic}[{partition}] offset {offset}, key `{key}`: {partitioner} places this key in \
         partition {expected}; write the topic with that partitioner, or declare the one that wrote it"
    )]
    Misplaced {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: Offset,
        /// Its key, as text.
        key: String,
        /// The declared partitioner.
        partitioner: &'static str,
        /// Where it belongs.
        expected: i32,
    },
    /// The local copy, the topics and the committed offsets do not fit together.
    #[error("{0}")]
    Unfit(Why),
    /// An input cannot be read on.
    #[error("{0}")]
    Input(LogError),
    /// The log refuses a record for good.
    #[error("{0}")]
    Append(Failure),
    /// The member is not wanted any more.
    #[error("{0}")]
    Member(LogError),
    /// The local storage fails.
    #[error("{0}")]
    Store(StoreError),
}
