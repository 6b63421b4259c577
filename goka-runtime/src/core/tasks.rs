//! The tasks of a worker with what they share: the plan, the records that wait for the log, the barrier, the
//! turn, and in each step of the core the time and the effects.
//! Here is what one task does to all: exactly once they share a transaction, so what aborts it for one
//! aborts it for all.

use std::collections::BTreeMap;

use super::barrier::Barrier;
use super::event::Effect;
use super::ids::{CopyId, Now};
use super::outbox::Outbox;
use super::plan::Plan;
use super::scope::Scratch;
use super::stop_reason::StopReason;
use super::task::Task;
use super::turn_limit::{SlowCalls, Turn};
use crate::log::Epoch;
use crate::record::{Guarantee, TaskId};
use crate::table::StoreError;

pub(super) struct Tasks {
    pub(super) plan: Plan,
    pub(super) all: BTreeMap<TaskId, Task>,
    pub(super) outbox: Outbox,
    pub(super) barrier: Barrier,
    pub(super) turn: Turn,
    pub(super) scratch: Scratch,
    /// The time of the present step.
    pub(super) now: Now,
    /// What the present step asks for.
    pub(super) out: Vec<Effect>,
    /// Whether the worker is stopping: no record is handled any more.
    pub(super) is_draining: bool,
    /// Whether any task of this program ever ran: a mismatch found before that refuses the start.
    pub(super) has_run: bool,
}

impl Tasks {
    pub(super) fn new(plan: Plan, has_run: bool, slow_calls: SlowCalls) -> Self {
        Self {
            turn: Turn::new(&plan, slow_calls),
            plan,
            all: BTreeMap::new(),
            outbox: Outbox::default(),
            barrier: Barrier::default(),
            scratch: Scratch::default(),
            now: Now::default(),
            out: Vec::new(),
            is_draining: false,
            has_run,
        }
    }

    pub(super) fn is_exactly_once(&self) -> bool {
        self.plan.group.guarantee == Guarantee::ExactlyOnce
    }

    /// A task, if it is still of that assignment.
    pub(super) fn of_epoch(&mut self, id: TaskId, epoch: Epoch) -> Option<&mut Task> {
        self.all.get_mut(&id).filter(|task| task.epoch == epoch)
    }

    /// Whether any task satisfies a condition.
    pub(super) fn any(&self, is_so: impl Fn(&Task) -> bool) -> bool {
        self.all.values().any(is_so)
    }

    /// The memory of all copies: all of it, and what waits for the stores.
    pub(super) fn memory(&self) -> (usize, usize) {
        let tasks = self.all.values();
        tasks.fold((0, 0), |(all, unstored), task| {
            let (bytes, waits) = task.copies.bytes();
            (all + bytes, unstored + waits)
        })
    }

    /// Exactly once: drops everything since the last barrier, of all tasks, and reads it again. While it
    /// is not known whether that barrier is committed there is nothing to drop: nothing was handled since,
    /// and what may be committed cannot be aborted.
    pub(super) fn abort(&mut self) {
        if self.barrier.is_in_doubt() {
            return;
        }
        self.outbox.drop_all();
        for task in self.all.values_mut() {
            if task.is_dirty() || !task.guards.is_empty() {
                task.rewind(&mut self.out);
            }
        }
        self.out.push(Effect::Abort);
    }

    /// Stops one task for good: what it handled before stays for the next barrier. Exactly once, what a
    /// guard holds back is dropped: all other tasks' transaction would wait for a task that is done.
    pub(super) fn stop(&mut self, id: TaskId, reason: StopReason) {
        let Some(task) = self.all.get_mut(&id).filter(|task| !task.has_ended()) else {
            return;
        };
        // A newer build reads what it committed: nothing is written over that.
        task.stop(
            !matches!(reason, StopReason::NewerMetadata { .. }),
            &mut self.out,
        );
        if matches!(reason, StopReason::Store(_)) {
            task.copies.give_up_stores();
        }
        if task.is_guarded() && self.is_exactly_once() {
            self.abort();
        }
        self.out.push(Effect::Stopped(id, reason));
    }

    /// What is found wrong with a task before it runs refuses the start of a program that has not run
    /// yet; later it stops that task.
    pub(super) fn refuse(&mut self, id: TaskId, reason: StopReason) {
        match self.has_run {
            true => self.stop(id, reason),
            false => self.out.push(Effect::Fail(reason)),
        }
    }

    /// The store of a copy went back behind what its buffer counts on.
    pub(super) fn store_rolled_back(&mut self, copy: CopyId) {
        // What may be committed cannot be aborted; nothing is read until that is known.
        if self.barrier.defer_rollback(copy) {
            return;
        }
        let written = |task: &Task| task.progress.has_written();
        if self.is_exactly_once() && self.all.get(&copy.task).is_some_and(written) {
            self.abort();
        }
        if let Some(task) = self.all.get_mut(&copy.task) {
            task.store_rolled_back(copy.table, &mut self.out);
        }
    }

    /// A copy is damaged: it is rebuilt like one that is missing, or stops its task.
    pub(super) fn store_damaged(&mut self, copy: CopyId, error: StoreError) {
        let Some(task) = self.all.get_mut(&copy.task) else {
            return;
        };
        if !task.copies.damaged() {
            return self.stop(copy.task, StopReason::Store(error));
        }
        self.out.push(Effect::SetAside(copy, error));
        self.store_rolled_back(copy);
    }
}
