//! The sans-IO core: it gets what happened ([`Event`]), runs the handlers, and answers with what is
//! to be done ([`Effect`]). It has no clock, thread, async or I/O, so the worker, the tests and the
//! simulator drive the same one. One core is one worker: one consumer, one producer, their tasks.
//!
//! A barrier is an [`Effect::Commit`] with the offsets of everything handled; its answer moves overlays
//! into memtables, and [`Effect::Flush`] brings those to the stores.

mod barrier;
mod commit;
pub(crate) mod committed_text;
pub(crate) mod deaths;
mod definition;
mod event;
mod flush;
mod handler_call;
mod ids;
mod intake;
pub(crate) mod key_check;
mod lifecycle;
pub(crate) mod metadata;
mod outbox;
mod plan;
pub(crate) mod recovery;
mod scope;
mod services;
mod start;
mod stop_reason;
mod table_buffer;
mod task;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod turn_limit;
mod visit;
mod visited_key;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use definition::{changes_of_hash, hash_follows};
pub(crate) use event::{ChangelogInspection, Effect, Event, Inspection};
pub(crate) use ids::{CopyId, Now, RecordId};
pub(crate) use plan::{InputPlan, JoinPlan, OutputPlan, Plan, TablePlan, VisitPlan};
pub(crate) use services::HandlerServices;
pub use stop_reason::{FailedRecord, StopReason};
pub(crate) use table_buffer::{FlushBatch, StoredKeys};
pub use task::State;
pub(crate) use turn_limit::SlowCalls;

use crate::dispatch::ProcessorState;
use crate::log::{Epoch, Fetched};
use crate::record::{Appends, Offset, TaskId, TopicId};
use task::Task;
use tasks::Tasks;

/// The core of one worker.
pub(crate) struct Core {
    tasks: Tasks,
    is_paused: bool,
    /// The task whose walk went on last.
    last_visited: Option<TaskId>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("group", &self.tasks.plan.group.name)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// A core without tasks. `has_run` says that tasks of this program ran before, on a client that
    /// died: then a mismatch stops its task alone. `slow_calls` are those of that client.
    pub(crate) fn new(plan: Plan, has_run: bool, slow_calls: SlowCalls) -> Self {
        Self {
            tasks: Tasks::new(plan, has_run, slow_calls),
            is_paused: false,
            last_visited: None,
        }
    }

    /// What it was made of.
    #[cfg(test)]
    pub(crate) fn plan(&self) -> &Plan {
        &self.tasks.plan
    }

    /// Where each task is, and the next record of each of its inputs.
    pub(crate) fn tasks(
        &self,
    ) -> impl Iterator<Item = (TaskId, State, &BTreeMap<TopicId, Offset>)> {
        let tasks = self.tasks.all.values();
        tasks.map(|task| (task.id, task.state(), task.offsets.positions()))
    }

    /// Whether everything handled is durable: nothing waits for a barrier or a flush.
    pub(crate) fn is_durable(&self) -> bool {
        self.tasks.barrier.is_idle() && self.tasks.all.values().all(Task::is_durable)
    }

    /// Whether everything handled is committed; what is acknowledged may still wait for the stores.
    pub(crate) fn is_committed(&self) -> bool {
        let waits = |task: &Task| task.is_dirty() || task.has_guards();
        self.tasks.barrier.is_idle() && !self.tasks.any(waits)
    }

    /// How long until the next [`Event::Tick`] has something to do.
    pub(crate) fn next_tick(&self, now: Duration) -> Duration {
        let barrier = &self.tasks.barrier;
        let due = barrier.due_at(self.tasks.plan.barrier);
        let wake = barrier.retry_at().map_or(due, |retry| due.max(retry));
        if self.walks() {
            Duration::ZERO
        } else if self.tasks.any(Task::is_dirty) {
            wake.saturating_sub(now)
        } else {
            plan::RETRY
        }
    }

    /// Whether a walk over a table goes on with the next [`Event::Tick`].
    pub(crate) fn walks(&self) -> bool {
        !self.is_paused && self.tasks.any(Task::walks)
    }

    pub(crate) fn has_run(&self) -> bool {
        self.tasks.has_run
    }

    /// Whether handlers left work behind that is not done.
    pub(crate) fn has_guards(&self) -> bool {
        self.tasks.any(Task::has_guards)
    }

    pub(crate) fn epoch(&self, task: TaskId) -> Option<Epoch> {
        self.tasks.all.get(&task).map(|task| task.epoch)
    }

    /// The memory of all copies: all of it, and what waits for the stores.
    #[cfg(any(test, feature = "tester"))]
    pub(crate) fn memory(&self) -> (usize, usize) {
        self.tasks.memory()
    }

    /// Takes the memory of records back that were handed over.
    pub(crate) fn recycle(&mut self, appends: Appends) {
        self.tasks.outbox.recycle(appends);
    }

    /// The calls that took too long for their transaction, if there is another since this was asked.
    pub(crate) fn take_slow_calls(&mut self) -> Option<SlowCalls> {
        self.tasks.turn.take_slow_calls()
    }

    /// Hands records to the core, which adds what is to be done to `out` and returns how many of them
    /// it took; the others are to be handed over again.
    pub(crate) fn batch(
        &mut self,
        now: Now,
        fetched: Fetched<'_>,
        services: &dyn HandlerServices,
        state: &ProcessorState,
        out: &mut Vec<Effect>,
    ) -> usize {
        self.tasks.now = now;
        let taken = intake::take(&mut self.tasks, fetched, services, state);
        self.pace();
        out.append(&mut self.tasks.out);
        taken
    }

    /// Tells the core what happened; adds what is to be done to `out`.
    pub(crate) fn step(
        &mut self,
        now: Now,
        event: Event<'_>,
        services: &dyn HandlerServices,
        state: &ProcessorState,
        out: &mut Vec<Effect>,
    ) {
        let tasks = &mut self.tasks;
        tasks.now = now;
        match event {
            Event::Assigned(assignments) => lifecycle::assigned(tasks, assignments),
            Event::Inspected(task, epoch, found) => lifecycle::inspected(tasks, task, epoch, found),
            Event::Verified(task, epoch, found) => lifecycle::verified(tasks, task, epoch, found),
            Event::Restored(copy, epoch, at) => lifecycle::restored(tasks, copy, epoch, at),
            Event::Deferred(record, outcome) => intake::deferred(tasks, record, outcome),
            Event::OffsetGap(gap) => {
                let task = tasks.of_epoch(gap.task, gap.epoch);
                if let Some(task) = task.filter(|task| task.is_running()) {
                    task.skip_gap(gap.topic, &(gap.from..gap.to));
                }
            }
            Event::InputFailed(task, error) => tasks.stop(task, StopReason::Input(error)),
            Event::CommitEnded(id, outcome) => {
                commit::ended(tasks, id, outcome);
                self.pace();
                flush::flush_all(&mut self.tasks, false);
            }
            Event::Flushed(copy, result) => flush::flushed(tasks, copy, result),
            Event::StoredKeys(copy, keys) => {
                if let Some(task) = tasks.all.get_mut(&copy.task) {
                    task.copies.know_stored(copy.table, keys);
                }
            }
            Event::StoreRolledBack(copy) => tasks.store_rolled_back(copy),
            Event::SawEnd(copy, end, at) => {
                if let Some(task) = tasks.all.get_mut(&copy.task) {
                    task.copies.see_end(copy.table, end, at);
                }
            }
            Event::Revoking(ids) => lifecycle::revoking(tasks, ids),
            Event::Revoked(ids) => lifecycle::revoked(tasks, ids),
            Event::Lost(ids) => lifecycle::lost(tasks, ids),
            Event::Tick => self.tick(services, state),
            Event::Drain => {
                tasks.is_draining = true;
                self.pace();
                commit::begin(&mut self.tasks);
                flush::flush_all(&mut self.tasks, true);
            }
        }
        self.pace();
        out.append(&mut self.tasks.out);
    }

    fn tick(&mut self, services: &dyn HandlerServices, state: &ProcessorState) {
        let tasks = &mut self.tasks;
        tasks.turn.end();
        for task in tasks.all.values_mut() {
            task.owe_old_commit(tasks.now.monotonic);
            task.retry_reads(tasks.now, &mut tasks.out);
        }
        if !self.is_paused {
            intake::visit_all(tasks, services, state, &mut self.last_visited);
        }
        flush::flush_all(tasks, false);
        commit::begin_if_due(tasks);
    }

    /// Stops intake while what came in cannot go out, and goes on afterwards.
    fn pace(&mut self) {
        let tasks = &self.tasks;
        let pauses = tasks.is_draining
            || tasks.barrier.is_in_doubt()
            || tasks.barrier.awaits_guards()
            || flush::exceeds_memory(tasks)
            || tasks.any(Task::stops_intake);
        if self.is_paused != pauses {
            self.is_paused = pauses;
            self.tasks.out.push(Effect::Pause(pauses));
        }
    }
}
