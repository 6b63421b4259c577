//! What a worker and its owner tell each other: asked for at any time, by any thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outage::Outage;
use super::watch::{Handling, InHand};
use crate::core::{CopyId, SlowCalls, State, StopReason};
use crate::log::Group;
use crate::record::{Offset, TaskId, Timestamp};

/// Where one task is, as told to the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    /// The topic whose assignment brought it: the group topic, or an input.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where it is in its life.
    pub state: State,
    /// The next record of each input.
    pub positions: BTreeMap<String, Offset>,
    /// Why it stopped.
    pub stopped: Option<StopReason>,
}

/// What worker and owner share.
#[derive(Debug, Default)]
pub(crate) struct WorkerState {
    pub(crate) stop: AtomicBool,
    /// Whether any task ran, with this client or one that died.
    pub(super) has_run: AtomicBool,
    pub(crate) status: Mutex<BTreeMap<TaskId, TaskStatus>>,
    /// Whether it handled what is not committed.
    pub(super) unsettled: AtomicBool,
    /// Whether it owns tasks and all of them have stopped.
    pub(super) has_stopped: AtomicBool,
    /// Why it could not go on.
    pub(super) failure: Mutex<Option<StopReason>>,
    /// Where the topics of joined copies were seen to end, and when.
    pub(super) ends: Mutex<Vec<(CopyId, Offset, Timestamp)>>,
    /// Why the member of now may not go on: its topics are not what they were.
    pub(super) refused: Mutex<Option<StopReason>>,
    pub(super) outage: Mutex<Outage>,
    /// The record that a handler is called with.
    pub(super) in_hand: Arc<InHand>,
    /// The calls that took too long for their transactions, with this client or one that died.
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
    pub(crate) fn in_hand(&self, group: &Group) -> Option<Handling> {
        self.in_hand.read(group)
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Acquire)
    }

    /// The tasks that run.
    pub(crate) fn running(&self) -> Vec<TaskId> {
        let status = lock(&self.status);
        let running = status
            .iter()
            .filter(|(_, task)| task.state == State::Running);
        running.map(|(task, _)| *task).collect()
    }

    /// The first partition that has stopped, and why.
    #[cfg(feature = "cli")]
    pub(crate) fn first_stopped(&self) -> Option<(i32, StopReason)> {
        let status = lock(&self.status);
        let mut tasks = status.values();
        tasks.find_map(|task| Some((task.partition, task.stopped.clone()?)))
    }

    /// Tells where the topics of joined copies ended at a time.
    pub(crate) fn tell_ends(&self, ends: Vec<(CopyId, Offset, Timestamp)>) {
        *lock(&self.ends) = ends;
    }

    /// Ends the member of now, which makes durable first what it has handled.
    pub(crate) fn refuse(&self, cause: StopReason) {
        lock(&self.refused).get_or_insert(cause);
    }

    pub(crate) fn fail(&self, cause: StopReason) {
        lock(&self.failure).get_or_insert(cause);
    }

    #[cfg(feature = "cli")]
    pub(crate) fn failure(&self) -> Option<StopReason> {
        lock(&self.failure).clone()
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
