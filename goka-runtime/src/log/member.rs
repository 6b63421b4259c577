//! Members of groups: what joins, what it is assigned, and what it hands to its driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit::Committer;
use super::error::LogError;
use crate::record::{Guarantee, Offset, Record, TaskId, TopicId, TopicPartition};

/// The number of an assignment to a member. A task that is assigned again has a greater one; records
/// and restores of an older one are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

/// A group and the member that joins it.
#[derive(Debug, Clone)]
pub struct Group {
    /// The group's name: Kafka's `group.id`.
    pub name: Arc<str>,
    /// Every topic that the group reads or writes; a [`TopicId`] is an index into this list.
    pub topics: Vec<Arc<str>>,
    /// The inputs (and the loop topic).
    pub inputs: Vec<TopicId>,
    /// The topic whose partitions are the tasks of a co-partitioned group: its table, which the
    /// member never fetches, or the first input of a group that only joins. `None`: each input is its
    /// own lead, and each of its partitions a task.
    pub lead: Option<TopicId>,
    /// The name of this member that outlives restarts: the instance kept in the data directory and the
    /// worker's number. Static membership and transactional ids are derived from it.
    pub instance: String,
    /// The worker's number within the instance.
    pub worker: u32,
    /// How long the group waits for a member that sends no heartbeat.
    pub session_timeout: Duration,
    /// How long a member may take between two polls before the group gives its partitions to others.
    pub max_poll_interval: Duration,
    /// Exactly once, each commit batch of the member is one transaction.
    pub guarantee: Guarantee,
    /// How long a transaction may stay open before the log aborts it.
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

    pub(crate) fn place(&self, id: TopicId, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic(id).clone(), partition)
    }

    pub(super) fn tasks<'s>(
        &self,
        slots: impl IntoIterator<Item = &'s TopicPartition>,
    ) -> Vec<TaskId> {
        slots.into_iter().filter_map(|at| self.task(at)).collect()
    }

    /// The error of fetching a task that the member does not own.
    pub(super) fn not_owned(&self, task: TaskId) -> LogError {
        let what = format!("fetching {}", self.place(task.lead, task.partition));
        LogError::failed(what, "this member does not own the task")
    }

    pub(super) fn topic_id(&self, name: &str) -> Option<TopicId> {
        let index = self.topics.iter().position(|topic| **topic == *name)?;
        u16::try_from(index).ok().map(TopicId)
    }

    /// The topics whose partitions the group hands out.
    pub(super) fn leads(&self) -> Vec<Arc<str>> {
        let leads = match &self.lead {
            Some(table) => std::slice::from_ref(table),
            None => &self.inputs,
        };
        leads.iter().map(|id| Arc::clone(self.topic(*id))).collect()
    }

    /// The task of a partition of one of its leads.
    pub(super) fn task(&self, at: &TopicPartition) -> Option<TaskId> {
        let (lead, partition) = (self.topic_id(&at.topic)?, at.partition);
        Some(TaskId { lead, partition })
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
    /// The metadata committed with it; empty when there was none.
    pub metadata: String,
}

/// A task that this member now owns.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The assigned task.
    pub task: TaskId,
    /// The assignment's number.
    pub epoch: Epoch,
    /// What the group committed for each input of the task, read after pending transactions ended; an
    /// input without an entry has no committed offset.
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

/// Offsets of one input of one task that hold no record: control records, aborted and compacted ones.
#[derive(Debug, Clone, Copy)]
pub struct OffsetGap {
    /// The task that reads the input.
    pub task: TaskId,
    /// The assignment under which it was found.
    pub epoch: Epoch,
    /// The input.
    pub topic: TopicId,
    /// Behind the last record handed over, or where fetching began.
    pub from: Offset,
    /// The next offset to read.
    pub to: Offset,
}

/// What a member reports to its driver, besides records.
#[derive(Debug)]
pub enum MemberEvent<'a> {
    /// Tasks that are now owned. Nothing is fetched for them until [`Member::fetch`].
    Assigned(&'a [Assignment]),
    /// A gap at the end of a partition is always reported, and again after a [`Member::fetch`] from before
    /// it; a gap between two records need not be.
    OffsetGap(OffsetGap),
    /// Tasks taken away without a chance to commit: another member may own them already.
    Lost(&'a [TaskId]),
    /// An input of one task can no longer be read: out of range, deleted, forbidden. It is not fetched
    /// any more until [`Member::fetch`] names it again; the task's other inputs go on.
    InputFailed {
        /// The task that reads the input.
        task: TaskId,
        /// The input.
        topic: TopicId,
        /// Why it cannot be read.
        error: LogError,
    },
    /// The client or the broker has a failure that may pass, with its reason (shown as one warning);
    /// `None` when it has recovered.
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
    /// Tasks are to be given back: runs the barrier of the whole worker through `committer`, under a
    /// deadline. The tasks are given back when it returns; afterwards they are not owned.
    fn revoking(&mut self, tasks: &[TaskId], committer: &mut dyn Committer);
}

/// Keeps a member in its group while the thread that uses it is busy with something else. Used by
/// another thread, at any time.
pub trait KeepAlive: Send + Sync {
    /// Counts as a poll of the member. Events taken by it are kept for the member's next poll.
    fn beat(&self);
}

/// One member of a group: a consumer and a producer, used by one thread.
pub trait Member: Committer + Send {
    /// Waits at most `max` for something to happen and hands it to `driver`. A member that does
    /// not poll or commit for the group's session timeout may lose its tasks. An engine may join the
    /// group in [`Log::join`](super::Log::join) or in the first poll.
    ///
    /// # Errors
    /// What ends the member: fenced by a process with the same instance name, a right missing, a client
    /// that cannot go on.
    fn poll(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError>;
    /// What keeps the member in its group while a handler runs for longer than the poll interval.
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
    /// Drops a failed producer, with whatever was appended and not committed, and makes a new one.
    /// An engine that sends before `commit` may have written some of it already: such records are
    /// before everything appended afterwards, once, without offsets that cover them. A restore
    /// reads them as it reads any other, and the inputs behind them are handled again; so at least
    /// once holds. No later commit counts them.
    ///
    /// # Errors
    /// When no client can be made.
    fn rebuild(&mut self) -> Result<(), LogError>;
    /// Ends what is in flight, at most until `by`, and closes. Partitions have been drained before. A
    /// member with an instance keeps its place in the group for the session timeout, where the log
    /// supports that; any other member leaves.
    ///
    /// # Errors
    /// What was still pending; [`LogError::InstanceFenced`] when another process has its place.
    fn close(self: Box<Self>, by: Instant) -> Result<(), LogError>;
    /// Like [`close`](Member::close), but leaves the group: others may take its tasks at once.
    ///
    /// # Errors
    /// As [`close`](Member::close).
    fn leave(self: Box<Self>, by: Instant) -> Result<(), LogError>;
}
