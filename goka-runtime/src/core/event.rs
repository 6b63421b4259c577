//! What the core is told and what it asks for. No clock, no thread, no I/O: the worker performs the
//! effects in the order in which they come, and answers with events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::recovery::RecoveryReason;
use super::table_buffer::FlushBatch;
use crate::dispatch::{ContextError, Deferred, Handling};
use crate::error::{HandlerError, SharedError};
use crate::log::{
    Assignment, CommitBatch, CommitId, CommitOutcome, Epoch, Failure, LogError, OffsetRange,
};
use crate::record::{Appends, Offset, TaskId, Timestamp, TopicId};
use crate::table::{Checkpoint, StoreError, StoreRead, Stored};

/// What time it is: a clock that only goes forward, and the wall's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Since some fixed moment.
    pub monotonic: Duration,
    /// Milliseconds since the Unix epoch.
    pub wall: Timestamp,
}

/// Names the local copy of one partition of a table: the group's own, or a joined one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId {
    /// Whose.
    pub task: TaskId,
    /// Of which table topic.
    pub table: TopicId,
}

/// Names one record of a task's assignment, for what is settled later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordId {
    /// Whose.
    pub task: TaskId,
    /// Of which assignment.
    pub epoch: Epoch,
    /// Of which input.
    pub topic: TopicId,
    /// Which.
    pub offset: Offset,
    /// The number of the guard: a record may have several, and a walk has one record for all keys.
    pub guard: u64,
}

/// What a handler reaches beyond its task: stores, followed tables, the executor of futures.
pub trait HandlerServices {
    /// The store of a local copy; `None` where there is none.
    fn store(&self, copy: CopyId) -> Option<&dyn StoreRead>;
    /// The value of a key in a table that is looked up.
    ///
    /// # Errors
    /// When the copy cannot be read.
    fn lookup(&self, table: &'static str, key: &[u8]) -> Result<Option<Stored>, ContextError>;
    /// Drives a handler's future to its end.
    ///
    /// # Errors
    /// The handler's own.
    fn drive(&self, handling: Handling<'_>) -> Result<(), HandlerError>;
    /// A guard whose end comes back as [`Event::Deferred`].
    fn defer(&self, record: RecordId) -> Deferred;
    /// A handler is about to be called with a record.
    fn began(&self, record: &RecordId);
    /// It has returned. Gives the time, on the clock of [`Now::monotonic`], a few milliseconds late at
    /// most.
    fn ended(&self) -> Duration;
    /// A handler returned `Ok`; what it wrote are the records from `first` on.
    #[cfg(feature = "tester")]
    fn handled(&self, _record: RecordId, _appends: &Appends, _first: usize) {}
}

/// What was found about a task before it may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the local copy says of itself.
    pub stamp: Option<Checkpoint>,
    /// The group topic's partition; `None` in a stateless group.
    pub table: Option<ChangelogInspection>,
    /// The partition's range in each input.
    pub inputs: BTreeMap<TopicId, OffsetRange>,
    /// The identity of each input.
    pub input_ids: BTreeMap<TopicId, String>,
}

/// The partition of the group topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogInspection {
    /// The topic's identity.
    pub id: String,
    /// The partition's range.
    pub range: OffsetRange,
    /// How long tombstones survive compaction.
    pub delete_retention: Duration,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Tasks are owned from now on.
    Assigned(&'a [Assignment]),
    /// An [`Effect::Inspect`] is answered.
    Inspected(TaskId, Epoch, Result<Inspection, StopReason>),
    /// An [`Effect::Verify`] is answered.
    Verified(TaskId, Epoch, Result<(), StopReason>),
    /// An [`Effect::Restore`] or [`Effect::Follow`] ended: the copy reaches that changelog offset.
    Restored(CopyId, Epoch, Result<Offset, StopReason>),
    /// What a handler deferred is done, or failed.
    Deferred(RecordId, Result<(), HandlerError>),
    /// Offsets of one input of one task hold nothing to handle: control records, aborted and
    /// compacted ones. True whoever asks, so it does not matter what else comes before or after.
    OffsetGap {
        /// Whose.
        task: TaskId,
        /// Of which assignment; what an older one says is dropped.
        epoch: Epoch,
        /// Of which input or joined table.
        topic: TopicId,
        /// The first of them.
        from: Offset,
        /// The first one behind them.
        to: Offset,
    },
    /// The topic of a joined copy ended at that offset, at that time.
    SawEnd(CopyId, Offset, Timestamp),
    /// An input cannot be read on.
    InputFailed(TaskId, LogError),
    /// An [`Effect::Commit`] is answered.
    CommitEnded(CommitId, CommitOutcome),
    /// An [`Effect::Flush`] is answered.
    Flushed(CopyId, Result<(), StoreError>),
    /// A store lost commits that it had: it was closed, to be judged and restored anew.
    StoreRolledBack(CopyId),
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
    /// See whether another program runs under the group's name: the start offsets of the task are
    /// committed, so that whoever looks later finds them.
    Verify(TaskId, Epoch),
    /// Bring the local copy up to the end of the group topic.
    Restore {
        /// Whose.
        task: TaskId,
        /// Of which assignment.
        epoch: Epoch,
        /// The first changelog offset to read.
        from: Offset,
        /// Why the copy is emptied first; `None` keeps it.
        rebuild: Option<RecoveryReason>,
    },
    /// Open the copy of a joined table and bring it up to the end of its topic.
    Follow(CopyId, Epoch),
    /// Fetch inputs and joined tables of a task from these positions.
    Fetch(TaskId, Vec<(TopicId, Offset)>),
    /// Stop fetching a task.
    Release(TaskId),
    /// Stop or go on with all intake.
    Pause(bool),
    /// Hand records to the log, in order.
    Append(Appends),
    /// Make everything appended durable, then commit the offsets.
    Commit(CommitBatch),
    /// Exactly once: end the open transaction as if nothing of it had been.
    Abort,
    /// Bring acknowledged writes to the store, in one commit.
    Flush(CopyId, FlushBatch),
    /// Close the store of a copy, which is damaged, and move it aside: it is opened anew next.
    SetAside(CopyId, StoreError),
    /// Close the stores of a task; they stay on disk.
    Close(TaskId),
    /// Make a new producer: the old one failed.
    Rebuild,
    /// A task stopped for good; the others go on.
    Stopped(TaskId, StopReason),
    /// Nothing can go on.
    Fail(StopReason),
}

/// Why a task stopped: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// The handler failed or panicked, or its record does not decode.
    #[error(
        "{topic}[{partition}] offset {offset}, key `{key}`: {error:#}; correct the handler or the \
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
        /// What the handler failed with.
        #[source]
        error: HandlerError,
    },
    /// The process died twice while a handler ran with this record.
    #[error(
        "{topic}[{partition}] offset {offset}, key `{key}`: the process died twice while its handler ran \
         with this record (an abort, a stack overflow or a fault), so it is not handled a third time; \
         correct the handler or the record, then start with `--retry {topic}:{partition}:{offset}`"
    )]
    Died {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: Offset,
        /// Its key, as text.
        key: String,
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
    /// A handler that was called for a visit failed or panicked.
    #[error(
        "{topic}[{partition}] offset {offset}, a visit, at key `{key}`: {error:#}; correct the handler: \
         after a restart the visit goes on at this key. To give up the rest of this visit in this \
         partition, on Kafka: stop all instances of the group and set the group's offset behind the \
         request (kafka-consumer-groups.sh --group {group} --topic {topic}:{partition} \
         --reset-offsets --to-offset {next} --execute)",
        group = .topic.strip_suffix("-visit").unwrap_or(.topic),
        next = .offset + 1
    )]
    Visit {
        /// The group's visit topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record that asked for the visit.
        offset: Offset,
        /// The key that was visited, as text.
        key: String,
        /// What the handler failed with.
        #[source]
        error: HandlerError,
    },
    /// The group's offsets were committed by a newer build.
    #[error(
        "{topic}[{partition}]: what group `{group}` committed with its offset has version {found}, \
         written by a newer build of goka, and this one knows versions up to {known}; run a build that \
         knows it; nothing of it was changed"
    )]
    NewerMetadata {
        /// The group.
        group: String,
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The version found.
        found: String,
        /// The latest one that this build knows.
        known: u16,
    },
    /// A key decodes, but is not written as this program writes it.
    #[error(
        "{topic}[{partition}] offset {offset}, key `{key}`: this program writes this key as \
         `{expected}`, and rows are found by their bytes, so each form would have a row of its own; \
         correct whoever writes the topic, or declare a key type that takes any form for what it is \
         (`String`, `Vec<u8>`)"
    )]
    OtherForm {
        /// The input, or the joined table's topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: Offset,
        /// Its key, as text.
        key: String,
        /// The form expected, as text.
        expected: String,
    },
    /// Another program committed offsets under the group's name.
    #[error(
        "{at}: another program uses this group name: {found}{holder}; give this program a group name of \
         its own. (A new version of one program keeps the inputs that it had beside new ones, and may \
         drop them in the version after that.)"
    )]
    OtherProgram {
        /// The partition whose offset it committed, as `topic[partition]`.
        at: String,
        /// What it is.
        found: String,
        /// Where it runs.
        holder: String,
    },
    /// Another member of the group is led by another topic.
    #[error(
        "group `{group}` was led by topic `{found}`, this program leads it by `{expected}`; keep the \
         group's first input first, or give the group another name"
    )]
    OtherLead {
        /// The group.
        group: String,
        /// What the committed offsets say.
        found: String,
        /// This program's.
        expected: String,
    },
    /// An input of a group with a table was deleted and made again since its offset was committed.
    #[error(
        "{topic}[{partition}]: the committed offset {offset} is of a topic with id `{found}`, the topic \
         now has id `{expected}`: it was deleted and made again, and its records are others; set where \
         to go on, with all instances stopped (kafka-consumer-groups.sh --bootstrap-server <brokers> \
         --group <group> --topic {topic} --reset-offsets --to-earliest --execute)"
    )]
    InputMadeAgain {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// What is committed.
        offset: Offset,
        /// The id that the offset carries.
        found: String,
        /// The topic's.
        expected: String,
    },
    /// The local copy, the topics and the committed offsets do not fit together.
    #[error(transparent)]
    Recovery(RecoveryReason),
    /// An input cannot be read on.
    #[error(transparent)]
    Input(LogError),
    /// The log refuses a record for good.
    #[error("{0}")]
    Append(Failure),
    /// The member is not wanted any more.
    #[error(transparent)]
    Member(LogError),
    /// The local storage fails.
    #[error(transparent)]
    Store(StoreError),
    /// An input of a group without a table was deleted and made again: the group reads the new one.
    #[error("input `{topic}` was deleted and made again")]
    NewInput {
        /// The input.
        topic: String,
    },
    /// A topic of the group is not what it was when the program started.
    #[error("{0}")]
    Topic(#[source] SharedError),
    /// A table that is looked up cannot be followed.
    #[error("{0}")]
    Lookup(#[source] SharedError),
}
