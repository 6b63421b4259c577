//! Names of copies and records, and the time: what every other file of the core speaks of.

use std::time::Duration;

use crate::log::Epoch;
use crate::record::{Offset, TaskId, Timestamp, TopicId};

/// What time it is: a clock that only goes forward, and the wall's.
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
    /// Whose.
    pub(crate) task: TaskId,
    /// Of which table topic.
    pub(crate) table: TopicId,
}

/// Names one record of a task's assignment, for what is settled later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordId {
    /// Whose.
    pub(crate) task: TaskId,
    /// Of which assignment.
    pub(crate) epoch: Epoch,
    /// Of which input.
    pub(crate) topic: TopicId,
    /// Which.
    pub(crate) offset: Offset,
    /// The number of the guard: a record may have several, and a walk has one record for all keys.
    pub(crate) guard: u64,
}
