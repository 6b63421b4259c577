//! The broker seam: what a log engine does, at the level of batches of fetched records, appended
//! records and committed offsets. Engines are leaves: `embedded`, `kafka` and, for tests,
//! `simulated`. Nothing here knows a handler, a codec or a table. Called by the worker, the restorer,
//! emitters, views and commands.
//!
//! A [`Member`] is synchronous and used by one thread. Its `poll` never calls back while it holds
//! the client's lock, so a barrier runs between a revocation and its answer without re-entering it.

mod balance;
pub(crate) mod cancel;
pub mod embedded;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(any(feature = "kafka", feature = "tester"))]
mod outcome;
#[cfg(feature = "tester")]
pub mod simulated;
mod topic_wait;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::error::{Failure, LogError};
pub(crate) use self::topic_wait::{TopicWait, after};
use crate::record::{Append, Appends, Guarantee, Offset, Record, TaskId, TopicId, TopicPartition};

/// The name of the cluster that a log lives in; a store is never moved between two of them.
pub type ClusterId = String;

/// Counts the assignments that a member was given: records and restores of an older one are dropped.
/// A task that is assigned again has a greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

/// A group and the member that joins it.
#[derive(Debug, Clone)]
pub struct Group {
    /// The group's name: Kafka's `group.id`.
    pub name: Arc<str>,
    /// Every topic that the group reads or writes; a [`TopicId`] is a place in this list.
    pub topics: Vec<Arc<str>>,
    /// The inputs (and the loop topic).
    pub inputs: Vec<TopicId>,
    /// The topic whose assignment hands out the tasks of a co-partitioned group: its table, which the
    /// member never fetches, or the first input of a group that only joins. `None`: each input leads
    /// itself, and is a task apart.
    pub lead: Option<TopicId>,
    /// Who this member is, over restarts: the instance kept in the data directory and the worker's
    /// number. Static membership and transactional ids are made of it.
    pub instance: String,
    /// The worker's number within the instance.
    pub worker: u32,
    /// How long the group waits for a silent member.
    pub session_timeout: Duration,
    /// How long a member may take between two polls before the group gives its partitions to others.
    pub max_poll_interval: Duration,
    /// Exactly once, each unit of the member is one transaction.
    pub guarantee: Guarantee,
    /// How long the log lets a transaction stay open before it aborts it by itself.
    pub transaction_timeout: Duration,
}

impl Group {
    /// The name of a topic of the group.
    ///
    /// # Panics
    /// When `id` is not of this group.
    pub fn topic(&self, id: TopicId) -> &Arc<str> {
        &self.topics[usize::from(id.0)]
    }

    /// The inputs of a task: all of them in a co-partitioned group, else the lead alone.
    pub fn inputs_of(&self, task: TaskId) -> impl Iterator<Item = TopicId> + '_ {
        let together = self.lead.is_some();
        self.inputs
            .iter()
            .copied()
            .filter(move |input| together || *input == task.lead)
    }
}

/// What a group committed for one partition of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next record to read.
    pub offset: Offset,
    /// What was committed with it; empty when nothing was.
    pub metadata: String,
}

/// A task that this member now owns.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Which.
    pub task: TaskId,
    /// The assignment's number.
    pub epoch: Epoch,
    /// What the group committed for each input of the task (read with pending transactions waited
    /// for); an input without an entry has no committed offset.
    pub committed: BTreeMap<TopicId, Committed>,
}

/// Fetched records of one input of one task.
#[derive(Debug, Clone, Copy)]
pub struct Fetched<'a> {
    /// The task that they belong to.
    pub task: TaskId,
    /// The assignment under which they were fetched.
    pub epoch: Epoch,
    /// The input.
    pub topic: TopicId,
    /// The records, in the order of their offsets.
    pub records: &'a [Record<'a>],
}

/// What a member tells its driver, besides records.
#[derive(Debug)]
pub enum MemberEvent<'a> {
    /// Tasks that are now owned. Nothing is fetched for them until [`Member::fetch`].
    Assigned(&'a [Assignment]),
    /// Offsets of one input of one task that hold nothing to hand over: control records, aborted and
    /// compacted ones. Told at the latest when nothing lies behind them, and again after a
    /// [`Member::fetch`] from before them; what lies between two records needs no word.
    OffsetGap {
        /// Whose input.
        task: TaskId,
        /// Of which assignment.
        epoch: Epoch,
        /// Which.
        topic: TopicId,
        /// Behind the last record handed over, or where fetching began.
        from: Offset,
        /// The next offset to read.
        to: Offset,
    },
    /// Tasks taken away without a chance to commit: somebody else may own them already.
    Lost(&'a [TaskId]),
    /// An input of one task cannot be read on: out of range, deleted, forbidden. It is not fetched
    /// any more until [`Member::fetch`] names it again; the task's other inputs go on.
    InputFailed {
        /// Whose input.
        task: TaskId,
        /// Which.
        topic: TopicId,
        /// Why.
        error: LogError,
    },
    /// The client or the broker is in trouble that may heal (shown as one warning), or `None`: it healed.
    Degraded(Option<String>),
}

/// What drives a member: the worker.
pub trait Driver {
    /// Takes an event; never blocks for long.
    fn event(&mut self, event: MemberEvent<'_>);
    /// Takes records, from the first on, and returns how many of them it took. The member keeps the
    /// others and hands them over again in a later poll, unless their input is moved
    /// ([`Member::fetch`]), released or given back before that. It hands over nothing more in a poll
    /// in which not all were taken.
    fn batch(&mut self, fetched: Fetched<'_>) -> usize;
    /// Tasks are to be given back: runs the barrier of the whole worker through `settle`, under a
    /// deadline. The tasks are given back when it returns; afterwards they are not owned.
    fn revoking(&mut self, tasks: &[TaskId], settle: &mut dyn Committer);
}

/// The number of a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommitId(pub u64);

/// What one barrier makes durable, with everything appended since the one before.
#[derive(Debug, Clone)]
pub struct CommitBatch {
    /// Its number.
    pub id: CommitId,
    /// The offsets to commit: the next record to read of each input, with metadata. Committed for a
    /// task only when all its appends were acknowledged.
    pub offsets: Vec<(TaskId, TopicId, Offset, String)>,
}

/// What was acknowledged of one task's appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskAcks {
    /// First and last offset of its changelog records, and how many there were:
    /// `last - first + 1 != count` shows another writer.
    pub changelog: Option<(Offset, Offset, u64)>,
    /// How many offsets of the log's own follow the last one: Kafka writes a control record into
    /// each partition that a transaction touched. 0 where `changelog` is `None`.
    pub markers: u64,
}

/// How a barrier ended, for each task that had appends or offsets in it.
///
/// `acks` has an entry for each task that appended, and none that is `Ok` for a task that only had
/// offsets: such a task has shown nothing of whether the log takes records. Where `acks` is an error no
/// offset of that task was committed, and `offsets` has the same failure or nothing.
#[derive(Debug, Default)]
pub struct CommitOutcome {
    /// Whether the task's appends are all acknowledged.
    pub acks: BTreeMap<TaskId, Result<TaskAcks, Failure>>,
    /// Whether its offsets are committed; absent where they were not tried.
    pub offsets: BTreeMap<TaskId, Result<(), Failure>>,
}

/// The durable half of a member: all that a barrier needs.
pub trait Committer {
    /// Hands records over to be written, in order; may wait for room, under the engine's deadline.
    /// Whether they were written is told by the next [`settle`](Settle::settle). What a task
    /// appended and did not settle before it was given back or lost is told nowhere: it may be
    /// written or not, and no offset goes with it.
    fn append(&mut self, appends: &Appends);
    /// Waits until everything appended is acknowledged, then commits the offsets; at most until
    /// `deadline`. A unit whose offsets had an unknown outcome may be settled again: that commits
    /// the same offsets, and acknowledges only what was appended since the first time.
    ///
    /// A task whose appends fail takes nothing from the others, unless the failure is everybody's
    /// (a transaction, a disk): then each of them has it. What failed is not tried again by itself;
    /// [`Member::rebuild`] drops what may still be in hand.
    ///
    /// Exactly once the unit is one transaction: the first [`append`](Settle::append) after the last
    /// one ended, or a settlement with offsets, begins it; records and offsets become visible
    /// together. How it may end, for all its tasks alike on a log whose transactions are the
    /// member's (Kafka), or for each task by itself (the embedded log):
    /// - it is committed: all `Ok`;
    /// - [`Failure::Unknown`] of the *offsets*, `Ok` of the acks: the commit may have happened. The
    ///   same unit (by its id) is settled again, without anything appended meanwhile, until its
    ///   outcome is known; the answer then has the same acks;
    /// - [`Failure::Fatal`], [`Failure::InstanceFenced`] or [`Failure::ProducerFenced`]: the member is
    ///   of no more use;
    /// - any other failure: it did not happen and will not, once [`abort`](Settle::abort) is called.
    fn commit(&mut self, unit: &CommitBatch, deadline: Instant) -> CommitOutcome;
    /// Exactly once: drops everything appended and not settled, and ends the transaction that holds
    /// it; with none open nothing happens. No reader that reads committed ever sees the records.
    ///
    /// # Errors
    /// [`Failure::Fatal`] or [`Failure::ProducerFenced`]: the member is of no more use, and whoever joins
    /// next in its name ends the transaction.
    fn abort(&mut self, deadline: Instant) -> Result<(), Failure>;
}

/// Keeps a member in its group while the thread that uses it is busy with something else. Used by
/// another thread, at any time.
pub trait KeepAlive: Send + Sync {
    /// Counts as a poll of the member. What the member would have been told is kept for its next poll.
    fn beat(&self);
}

/// One member of a group: a consumer and a producer, used by one thread.
pub trait Member: Committer + Send {
    /// Waits at most `max` for something to happen and hands it to `driver`. A member that does
    /// not poll or settle for the group's `session` may lose its tasks. It is in the group from
    /// [`Log::join`] or from its first poll on, as the engine likes.
    ///
    /// # Errors
    /// What ends the member: fenced by a twin, a right missing, a client that cannot go on.
    fn poll(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError>;
    /// What keeps the member in its group while a handler runs for longer than it may be silent.
    fn keep_alive(&self) -> Arc<dyn KeepAlive>;
    /// Starts fetching inputs of an owned task at explicit positions; an input that is fetched
    /// already moves there, inputs that are not named go on. The first record handed out is the
    /// first one that the log holds at or after the position.
    ///
    /// # Errors
    /// When the client refuses, or the task is not owned. A position out of range is no error here,
    /// but a [`MemberEvent::InputFailed`].
    fn fetch(&mut self, task: TaskId, positions: &[(TopicId, Offset)]) -> Result<(), LogError>;
    /// Stops fetching a task that stays owned; its records in hand are dropped.
    fn release(&mut self, task: TaskId);
    /// Stops and restarts intake of all fetched tasks, positions kept.
    fn pause(&mut self, paused: bool);
    /// Drops a failed producer, with whatever was appended and not settled, and makes a new one.
    /// An engine that sends before `settle` may have written some of it already: such records lie
    /// before everything appended afterwards, once, without offsets that cover them. A restore
    /// reads them as it reads any other, and the inputs behind them are handled again; so at least
    /// once holds. No later settlement counts them.
    ///
    /// # Errors
    /// When no client can be made.
    fn rebuild(&mut self) -> Result<(), LogError>;
    /// Ends what is in flight, at most until `by`, and goes. Partitions have been drained before. The
    /// place in the group of a member with an instance is kept for the session, where the log keeps
    /// places; any other member leaves.
    ///
    /// # Errors
    /// What was still pending; [`LogError::InstanceFenced`] when another process has its place.
    fn close(self: Box<Self>, by: Instant) -> Result<(), LogError>;
    /// The same, and gives the place in the group up: others may take its tasks at once.
    ///
    /// # Errors
    /// As [`close`](Member::close).
    fn leave(self: Box<Self>, by: Instant) -> Result<(), LogError>;
}

/// Which records a reader sees, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only committed ones; open transactions at the tail hold it back.
    ReadCommitted,
    /// All.
    ReadUncommitted,
}

/// What a reader hands out: the place of the partition in the list it was made with, and records.
pub type Each<'e> = &'e mut dyn FnMut(usize, &[Record<'_>]);

/// Reads partitions without a group: restores, views, `get`, `scan`.
pub trait Reader: Send {
    /// Waits at most `max`, hands over what arrived.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when the log no longer holds the position; whatever ends the client.
    fn poll(&mut self, max: Duration, each: Each<'_>) -> Result<(), LogError>;
    /// The next offset to be read, of the partition at `index`: moves over control records, aborted
    /// and compacted ones too. Never behind where the reader started.
    fn position(&mut self, index: usize) -> Offset;
}

/// A record that an emitter sends.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Where to.
    pub topic: &'a str,
    /// Where to.
    pub partition: i32,
    /// The key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp; -1 lets the log choose.
    pub timestamp: i64,
    /// The headers.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

impl<'a> Sent<'a> {
    /// The same as an append of `topic`.
    pub fn of(append: &Append<'a>, topic: &'a str) -> Self {
        Sent {
            topic,
            partition: append.partition,
            key: append.key,
            value: append.value,
            timestamp: append.timestamp,
            headers: append.headers,
        }
    }
}

/// Told once for every record sent: its token, and where it lies or why it does not.
pub type OnDelivery = Arc<dyn Fn(u64, Result<(i32, Offset), Failure>) + Send + Sync>;

/// Writes records outside a group; shared between threads. Dropping it waits until everything sent
/// is delivered or has failed.
pub trait Appender: Send + Sync {
    /// Enqueues one record, in order with the ones before it; waits for room until `deadline`.
    ///
    /// # Errors
    /// When it was not enqueued: its token is then never told. A record that is too large is
    /// refused here or told as failed, as the engine likes.
    fn send(&self, record: Sent<'_>, token: u64, deadline: Instant) -> Result<(), LogError>;
    /// Waits until everything sent is delivered or has failed, at most until `deadline`.
    ///
    /// # Errors
    /// [`LogError::Timeout`] with records still under way.
    fn flush(&self, deadline: Instant) -> Result<(), LogError>;
}

/// Partitions of a topic that the embedded log makes, where none are declared.
pub const DEFAULT_PARTITIONS: i32 = 4;

/// What happens to old records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Only the last record of each key is kept for ever; a record without a key is refused.
    pub compact: bool,
    /// Records past the retention are deleted.
    pub delete: bool,
}

impl CleanupPolicy {
    /// Whether a topic keeps the last record of each key for ever, as a table needs it.
    pub(crate) fn is_of_a_table(self) -> bool {
        self.compact && !self.delete
    }

    /// Its `cleanup.policy`, as Kafka writes it.
    pub(crate) fn name(self) -> &'static str {
        match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, _) => "delete",
        }
    }
}

/// One partition's offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OffsetRange {
    /// The first offset still there.
    pub start: Offset,
    /// Where read-committed readers stop: the last stable offset.
    pub stable: Offset,
    /// Where the next record goes: the high watermark.
    pub high: Offset,
}

/// What a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its identity: another one after it was deleted and made again.
    pub id: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// What happens to its old records.
    pub policy: CleanupPolicy,
    /// How long records are kept where the policy deletes; `None` is for ever.
    pub retention: Option<Duration>,
    /// How long a tombstone survives compaction (`delete.retention.ms`).
    pub delete_retention: Duration,
    /// The largest record batch it takes, in bytes.
    pub max_message_bytes: usize,
    /// How many copies are kept of the partition with the fewest.
    pub replicas: usize,
    /// How many of them are level with their leader, again of the partition with the fewest.
    pub in_sync: usize,
    /// How many of them have to have a record before it counts as written (`min.insync.replicas`).
    pub min_in_sync: usize,
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// Whether it is compacted (a table) or deleted by age (a stream).
    pub compact: bool,
    /// How long records are kept; `None` leaves it to the log.
    pub retention: Option<Duration>,
}

/// A log engine.
pub trait Log: Send + Sync + fmt::Debug {
    /// What a person calls it: `the embedded log at .goka/log.redb`, `Kafka at localhost:9092`.
    fn describe_self(&self) -> String;
    /// Whether streams that are missing may be made by us (the embedded log), or never (Kafka).
    fn creates_streams(&self) -> bool;
    /// How long whoever starts waits for a missing topic before it refuses: others make it, or some
    /// brokers know of it before others. Zero where what is missing stays missing.
    fn topic_timeout(&self) -> Duration {
        Duration::ZERO
    }
    /// Joins a group.
    ///
    /// # Errors
    /// When no client can be made.
    fn join(&self, group: &Group) -> Result<Box<dyn Member>, LogError>;
    /// Writes outside a group.
    ///
    /// # Errors
    /// When no client can be made.
    fn appender(&self, delivered: OnDelivery) -> Result<Box<dyn Appender>, LogError>;
    /// Reads partitions from explicit offsets. What is wrong with an offset is told by the reader's
    /// polls.
    ///
    /// # Errors
    /// When no client can be made, or a partition does not exist (which a poll may tell instead).
    fn reader(
        &self,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>, LogError>;
    /// What each topic is, in the order asked; `None` for one that does not exist.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or refuses.
    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError>;
    /// The offsets of partitions, in the order asked.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or a partition does not exist.
    fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetRange>, LogError>;
    /// Makes a topic.
    ///
    /// # Errors
    /// [`LogError::TopicExists`], or why it was refused.
    fn create(&self, topic: &NewTopic) -> Result<(), LogError>;
    /// What a group committed, for partitions in the order asked.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or refuses.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError>;
    /// Whether [`Log::all_committed`] answers.
    fn lists_groups(&self) -> bool {
        false
    }
    /// Everything that a group committed for topics of so many partitions, whatever program of its name
    /// committed it; offsets in pending transactions as they were before.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or refuses.
    fn all_committed(
        &self,
        _group: &str,
        _partitions: i32,
    ) -> Result<Vec<(TopicPartition, Committed)>, LogError> {
        Ok(Vec::new())
    }
    /// Which member of a group has a partition of its lead: its client and its host, where the log can
    /// say so.
    fn holder(&self, _group: &str, _at: &TopicPartition) -> Option<String> {
        None
    }
    /// The cluster's identity.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline.
    fn cluster(&self) -> Result<ClusterId, LogError>;
}
