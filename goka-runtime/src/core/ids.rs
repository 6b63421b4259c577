//! Names of copies and records, and the time: what every other file of the core speaks of.

use std::time::Duration;

use crate::log::Epoch;
use crate::record::{Offset, TaskId, Timestamp, TopicId};

/// The time, on a clock that only goes forward and on the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Now {
    /// Since some fixed moment.
    pub(crate) monotonic: Duration,
    /// Milliseconds since the Unix epoch.
    pub(crate) wall: Timestamp,
}

/// Names the local copy of one partition of a table: the group's own, or a joined one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CopyId {
    pub(crate) task: TaskId,
    pub(crate) table: TopicId,
}

/// Names one record of a task's assignment, for what ends later: slow calls and deferred commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordId {
    pub(crate) task: TaskId,
    /// The assignment in which it was handled.
    pub(crate) epoch: Epoch,
    pub(crate) topic: TopicId,
    pub(crate) offset: Offset,
    /// The number of the guard: a record may have several, and a walk has one record for all keys.
    pub(crate) guard: u64,
}
