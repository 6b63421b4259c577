//! The events that the core takes and the effects that it asks for. The worker performs the effects in
//! their order, and answers with events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ids::{CopyId, RecordId};
use super::recovery::RestoreFrom;
use super::stop_reason::StopReason;
use super::table_buffer::{FlushBatch, StoredKeys};
use crate::log::{
    Assignment, CommitBatch, CommitId, CommitOutcome, Epoch, LogError, OffsetGap, OffsetRange,
};
use crate::record::{Appends, Offset, TaskId, Timestamp, TopicId};
use crate::shared_error::HandlerError;
use crate::table::{Checkpoint, StoreError};

/// What was found about a task before it may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// The checkpoint of the local copy; `None` if there is no copy.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The partition of the changelog; `None` in a stateless group.
    pub(crate) table: Option<ChangelogInspection>,
    /// The partition's range in each input.
    pub(crate) inputs: BTreeMap<TopicId, OffsetRange>,
    /// Kafka's ids of the inputs, where they are known.
    pub(crate) input_ids: BTreeMap<TopicId, String>,
}

/// What was found about the partition of the changelog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangelogInspection {
    /// Kafka's id of the topic.
    pub(crate) id: String,
    pub(crate) range: OffsetRange,
    /// How long tombstones survive compaction.
    pub(crate) delete_retention: Duration,
}

/// What the worker tells the core.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// Tasks are owned from now on.
    Assigned(&'a [Assignment]),
    /// An [`Effect::Inspect`] is answered.
    Inspected(TaskId, Epoch, Result<Inspection, StopReason>),
    /// An [`Effect::Verify`] is answered.
    Verified(TaskId, Epoch, Result<(), StopReason>),
    /// An [`Effect::Restore`] or [`Effect::Follow`] ended: the copy reaches that offset of its topic.
    Restored(CopyId, Epoch, Result<Offset, StopReason>),
    /// A guard of `defer` is done, or has failed.
    Deferred(RecordId, Result<(), HandlerError>),
    /// Offsets of an input or a joined table hold nothing to handle. This is a fact about the log: it may be
    /// reported late, repeatedly or out of order; reports of older assignments are dropped.
    OffsetGap(OffsetGap),
    /// The topic of a joined copy ended at that offset, at that time.
    SawEnd(CopyId, Offset, Timestamp),
    /// An input can no longer be read.
    InputFailed(TaskId, LogError),
    /// An [`Effect::Commit`] is answered.
    CommitEnded(CommitId, CommitOutcome),
    /// An [`Effect::Flush`] is answered.
    Flushed(CopyId, Result<(), StoreError>),
    /// The keys that the store of a copy had when it was restored last.
    StoredKeys(CopyId, StoredKeys),
    /// A store lost commits that it had: it was closed, to be inspected and restored anew.
    StoreRolledBack(CopyId),
    /// Tasks are about to be revoked: the barrier of the whole worker comes first.
    Revoking(&'a [TaskId]),
    /// The barrier of [`Event::Revoking`] is over: the tasks are revoked.
    Revoked(&'a [TaskId]),
    /// Tasks were lost: another member may have them already.
    Lost(&'a [TaskId]),
    /// Time has passed.
    Tick,
    /// The worker stops: no more intake, a last barrier.
    Drain,
}

/// What the worker is asked to do, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Look at the local copy, the group topic and the inputs of a task.
    Inspect(TaskId, Epoch),
    /// Look whether another program runs under the group's name. The start offsets of the task are
    /// committed, so of two programs the one that looks later finds the other.
    Verify(TaskId, Epoch),
    /// Bring the local copy up to the end of the group topic.
    Restore(TaskId, Epoch, RestoreFrom),
    /// Open the copy of a joined table and bring it up to the end of its topic.
    Follow(CopyId, Epoch),
    /// Fetch inputs and joined tables of a task from these positions.
    Fetch(TaskId, Vec<(TopicId, Offset)>),
    /// Stop fetching a task.
    Release(TaskId),
    /// Stop all intake (`true`), or go on with it.
    Pause(bool),
    /// Hand records to the log, in order.
    Append(Appends),
    /// Make everything appended durable, then commit the offsets.
    Commit(CommitBatch),
    /// Exactly once: abort the open transaction.
    Abort,
    /// Bring acknowledged writes to the store, in one commit.
    Flush(CopyId, FlushBatch),
    /// Close the store of a copy, which is damaged, and move it aside: it is opened anew next.
    SetAside(CopyId, StoreError),
    /// Close the stores of a task; they stay on disk.
    Close(TaskId),
    /// Make a new producer: the old one failed.
    RecreateProducer,
    /// A task stopped for good; the others go on.
    Stopped(TaskId, StopReason),
    /// Nothing can go on.
    Fail(StopReason),
}
