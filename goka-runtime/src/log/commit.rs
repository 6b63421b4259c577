//! What a barrier makes durable, and how that ended.

use std::collections::BTreeMap;
use std::time::Instant;

use super::error::Failure;
use crate::record::{Appends, Offset, TaskId, TopicId};

/// The number of a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommitId(pub u64);

/// What one barrier makes durable, together with everything appended since the one before.
#[derive(Debug, Clone)]
pub struct CommitBatch {
    /// The number of the barrier.
    pub id: CommitId,
    /// The offsets to commit: the next record to read of each input, with metadata. They are committed
    /// for a task only when all its appends were acknowledged.
    pub offsets: Vec<(TaskId, TopicId, Offset, String)>,
}

/// What was acknowledged of one task's appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskAcks {
    /// First and last offset of its changelog records, and how many there were:
    /// `last - first + 1 != count` shows that another producer wrote to the partition.
    pub changelog: Option<(Offset, Offset, u64)>,
    /// How many offsets of the log's own follow the last one: Kafka writes a control record into
    /// each partition that a transaction touched. 0 where `changelog` is `None`.
    pub markers: u64,
}

/// What was acknowledged of each task's appends, or why they failed.
pub(super) type TaskResults = BTreeMap<TaskId, Result<TaskAcks, Failure>>;

/// How a commit ended, for each task that had appends or offsets in it.
///
/// `acks` has an entry for each task that appended, and none that is `Ok` for a task that only had
/// offsets: such a task has not shown whether the log takes records. Where `acks` is an error no
/// offset of that task was committed, and `offsets` has the same failure or no entry.
#[derive(Debug, Default)]
pub struct CommitOutcome {
    /// Whether all appends of the task are acknowledged.
    pub acks: TaskResults,
    /// Whether the offsets of the task are committed; absent where that was not tried.
    pub offsets: BTreeMap<TaskId, Result<(), Failure>>,
}

/// The durable half of a member: all that a barrier needs.
pub trait Committer {
    /// Hands records over to be written, in order; may wait for room, under the engine's deadline.
    /// The next [`commit`](Committer::commit) reports whether they were written. Appends of a task that
    /// is given back or lost before they are committed are never reported: they may be written or
    /// not, and no offset is committed with them.
    fn append(&mut self, appends: &Appends);
    /// Waits until everything appended is acknowledged, then commits the offsets; at most until
    /// `deadline`. A batch whose offsets had an unknown outcome may be committed again: that commits
    /// the same offsets, and acknowledges only what was appended since the first time.
    ///
    /// A task whose appends fail does not affect the others, unless the failure concerns all of them
    /// (a transaction, a disk): then each of them has it. What failed is not tried again by itself;
    /// [`Member::rebuild`](super::Member::rebuild) drops what the client may still hold.
    ///
    /// Exactly once the batch is one transaction. It begins with the first
    /// [`append`](Committer::append) after the last one ended, or with a commit that has offsets;
    /// records and offsets become visible together. It may end in these ways, for all its tasks alike
    /// on a log whose transactions are the member's (Kafka), or for each task by itself (the embedded
    /// log):
    /// - it is committed: all `Ok`;
    /// - [`Failure::Unknown`] of the *offsets*, `Ok` of the acks: the commit may have happened. The
    ///   same batch (by its id) is committed again, without anything appended meanwhile, until its
    ///   outcome is known; the answer then has the same acks;
    /// - [`Failure::Fatal`], [`Failure::InstanceFenced`] or [`Failure::ProducerFenced`]: the member
    ///   cannot be used any more;
    /// - any other failure: it did not happen, and will not, once [`abort`](Committer::abort) is called.
    fn commit(&mut self, batch: &CommitBatch, deadline: Instant) -> CommitOutcome;
    /// Exactly once: drops everything appended and not committed, and aborts the transaction that holds
    /// it; does nothing when none is open. No read-committed reader ever sees the records.
    ///
    /// # Errors
    /// [`Failure::Fatal`] or [`Failure::ProducerFenced`]: the member cannot be used any more, and the
    /// next member with its transactional id ends the transaction.
    fn abort(&mut self, deadline: Instant) -> Result<(), Failure>;
}
