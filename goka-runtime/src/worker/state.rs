//! The state that a worker shares with other threads: the running processor (`processor.rs`), which stops it
//! and shows its status, and the threads that watch its handler, its topics and the log. Any thread may read
//! and write it at any time. It outlives the members, which a worker has one after the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::outage::Outage;
use crate::core::{CopyId, SlowCalls, State, StopReason};
use crate::in_hand::{InHand, RecordInHand};
use crate::lock::lock;
use crate::log::Group;
use crate::record::{Offset, TaskId, Timestamp, TopicId};

/// The state of one task, as last reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The lead topic, with whose partition it is assigned: the group topic, or an input of a stateless group.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its state.
    pub state: State,
    /// The offset of the next record to handle, for each input.
    pub positions: BTreeMap<String, Offset>,
    /// Why it stopped.
    pub stopped: Option<StopReason>,
}

#[derive(Debug, Default)]
pub(crate) struct WorkerState {
    /// Set once, to stop the worker.
    pub(crate) stop: AtomicBool,
    /// Whether any task ran, with this member or an earlier one. Before that a mismatch refuses the start,
    /// later it stops its task alone.
    pub(super) has_run: AtomicBool,
    pub(crate) status: Mutex<BTreeMap<TaskId, TaskStatus>>,
    /// Whether records were handled that are not committed.
    pub(super) uncommitted: AtomicBool,
    /// Whether the worker owns tasks and all of them have stopped.
    has_stopped: AtomicBool,
    /// Why the worker ended, if it was not stopped.
    failure: Mutex<Option<StopReason>>,
    /// End offsets of the partitions of joined tables, with the time of the request; the worker takes them in
    /// its next turn.
    pub(super) ends: Mutex<Vec<(CopyId, Offset, Timestamp)>>,
    /// Why the present member is to end (its topics have changed); the worker takes it in its next turn.
    pub(super) end_reason: Mutex<Option<StopReason>>,
    pub(super) outage: Mutex<Outage>,
    /// The record that a handler is called with.
    pub(super) in_hand: Arc<InHand>,
    /// The calls that took too long for their transactions, with this member or an earlier one.
    pub(super) slow_calls: Mutex<SlowCalls>,
}

impl WorkerState {
    pub(crate) fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn has_run(&self) -> bool {
        self.has_run.load(Ordering::Acquire)
    }

    /// The record that a handler is called with.
    pub(crate) fn in_hand(&self, group: &Group) -> Option<RecordInHand> {
        self.in_hand.read(group)
    }

    pub(crate) fn has_uncommitted(&self) -> bool {
        self.uncommitted.load(Ordering::Acquire)
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Acquire)
    }

    pub(crate) fn tasks(&self) -> Vec<TaskStatus> {
        lock(&self.status).values().cloned().collect()
    }

    pub(crate) fn running(&self) -> Vec<TaskId> {
        let status = lock(&self.status);
        let running = status
            .iter()
            .filter(|(_, task)| task.state == State::Running);
        running.map(|(task, _)| *task).collect()
    }

    /// The partition of the first task, by lead topic and number, that has stopped, and why.
    #[cfg(any(feature = "cli", feature = "tester"))]
    pub(crate) fn first_stopped(&self) -> Option<(i32, StopReason)> {
        let status = lock(&self.status);
        let mut tasks = status.values();
        tasks.find_map(|task| Some((task.partition, task.stopped.clone()?)))
    }

    /// Replaces the status by that of all tasks that the worker owns. The status of a task that stopped is kept
    /// until the task is assigned again.
    pub(super) fn report<'a>(
        &self,
        group: &Group,
        tasks: impl Iterator<Item = (TaskId, State, &'a BTreeMap<TopicId, Offset>)>,
    ) {
        let mut status = lock(&self.status);
        let (mut owned, mut stopped) = (0, 0);
        let mut reported = BTreeMap::new();
        for (id, state, positions) in tasks {
            owned += usize::from(state != State::Gone);
            stopped += usize::from(state == State::Stopped);
            let before = status.get(&id).filter(|_| state == State::Stopped);
            let position = |(topic, offset): (&TopicId, &Offset)| {
                let topic = group.topic(*topic);
                (topic.to_string(), *offset)
            };
            let task = TaskStatus {
                topic: group.topic(id.lead).to_string(),
                partition: id.partition,
                state,
                positions: positions.iter().map(position).collect(),
                stopped: before.and_then(|task| task.stopped.clone()),
            };
            reported.insert(id, task);
        }
        let has_stopped = owned > 0 && owned == stopped;
        self.has_stopped.store(has_stopped, Ordering::Release);
        status.retain(|_, task| task.stopped.is_some());
        status.extend(reported);
    }

    /// Notes why a task stopped, after [`report`](Self::report) has shown that it did.
    pub(super) fn set_stopped(&self, task: TaskId, cause: StopReason) {
        if let Some(task) = lock(&self.status).get_mut(&task) {
            task.stopped = Some(cause);
        }
    }

    pub(crate) fn set_ends(&self, ends: Vec<(CopyId, Offset, Timestamp)>) {
        *lock(&self.ends) = ends;
    }

    /// Ends the present member, which first commits what it has handled. The first reason is kept.
    pub(crate) fn end_member(&self, cause: StopReason) {
        lock(&self.end_reason).get_or_insert(cause);
    }

    /// Forgets an outage of the log, when the processor ends.
    pub(super) fn forget_outage(&self) {
        lock(&self.outage).forget();
    }

    pub(crate) fn set_failure(&self, cause: StopReason) {
        lock(&self.failure).get_or_insert(cause);
    }

    #[cfg(feature = "cli")]
    pub(crate) fn failure(&self) -> Option<StopReason> {
        lock(&self.failure).clone()
    }
}
