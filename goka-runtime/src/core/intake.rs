//! What comes in: records of inputs and joined tables, keys of walks, guards that are told, and stores
//! that cannot be read meanwhile. Part of [`Core`].

use std::ops::Range;

use super::event::Effect;
use super::handle::{HandlerEnv, failed};
use super::ids::{CopyId, Now, RecordId};
use super::services::HandlerServices;
use super::stop_reason::StopReason;
use super::task::{State, Task, Unreadable};
use super::{Core, RETRY};
use crate::dispatch::ProcessorState;
use crate::log::{Epoch, Fetched};
use crate::record::{Offset, TaskId, TopicId};
use crate::table::StoreError;

impl Core {
    /// Takes records from the first on; gives how many. Records that nobody is to handle are taken and
    /// dropped.
    pub(super) fn take(
        &mut self,
        now: Now,
        fetched: Fetched<'_>,
        around: &dyn HandlerServices,
        shared: &ProcessorState,
        out: &mut Vec<Effect>,
    ) -> usize {
        let Fetched {
            task: id,
            epoch,
            topic,
            records,
        } = fetched;
        let all = records.len();
        if self.doubt.is_some() {
            // Nothing may join a transaction that is ending.
            return 0;
        }
        let is_full = self.is_barrier_full();
        let Some(task) = self.tasks.get_mut(&id) else {
            return all;
        };
        let is_stale = task.epoch != epoch || task.state != State::Running;
        if is_stale || self.draining || task.awaits_store() {
            return all;
        }
        self.turn.begin(now.monotonic, self.appended.0 > 0);
        if is_full && self.turn.has_called() {
            return 0;
        }
        let mut desk = HandlerEnv {
            plan: &self.plan,
            around,
            shared,
            appends: &mut self.appends,
            scratch: &mut self.scratch,
            turn: &mut self.turn,
        };
        let handled = match self.plan.input(topic) {
            Some(input) => task.handle(input, records, &mut desk),
            None => match self.plan.join(topic) {
                Some(join) => task.follow(join, records, &mut desk).map(|()| all),
                None => {
                    // Past one that begins, the rest is fetched again when it ends.
                    for record in records {
                        task.begin_visit(record, &desk);
                    }
                    Ok(all)
                }
            },
        };
        self.hand_over(out);
        match handled {
            Ok(taken) => {
                // Nothing else reads the store.
                if taken > 0
                    && self.plan.input(topic).is_some()
                    && let Some(task) = self.tasks.get_mut(&id)
                {
                    task.unreadable = None;
                }
                return taken;
            }
            Err(StopReason::Store(error)) => self.unreadable(now, id, error, out),
            Err(cause) => self.stop(id, cause, out),
        }
        all
    }

    /// Moves an input or a joined table over offsets that hold nothing, once all before them is
    /// handled: they are committed with the next barrier, and flushed with the next flush.
    pub(super) fn passed(
        &mut self,
        (id, epoch, topic): (TaskId, Epoch, TopicId),
        nothing: Range<Offset>,
    ) {
        let runs = |task: &&mut Task| task.epoch == epoch && task.state == State::Running;
        if let Some(task) = self.tasks.get_mut(&id).filter(runs) {
            task.pass(topic, nothing);
        }
    }

    /// Visits the next keys of every walk under way.
    pub(super) fn visit_all(
        &mut self,
        now: Now,
        around: &dyn HandlerServices,
        shared: &ProcessorState,
        out: &mut Vec<Effect>,
    ) {
        let Some(topic) = self.plan.visits.as_ref().map(|visits| visits.topic) else {
            return;
        };
        if self.paused {
            return;
        }
        let mut walks = self.walks();
        if walks.is_empty() {
            return;
        }
        // A slow walk takes its whole turn: the others have theirs before it has another.
        let next = walks.partition_point(|id| Some(*id) <= self.last_visited);
        walks.rotate_left(next);
        self.turn.begin(now.monotonic, self.appended.0 > 0);
        let mut ended = Vec::new();
        for id in walks {
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            let mut desk = HandlerEnv {
                plan: &self.plan,
                around,
                shared,
                appends: &mut self.appends,
                scratch: &mut self.scratch,
                turn: &mut self.turn,
            };
            if desk.turn.is_over(desk.appends) {
                break;
            }
            self.last_visited = Some(id);
            match task.visit_slice(&mut desk) {
                Ok(false) => {}
                Ok(true) => {
                    // What asked for more walks lies behind the one that is over.
                    let next = task.positions.get(&topic).copied().unwrap_or(0);
                    out.push(Effect::Fetch(task.id, vec![(topic, next)]));
                }
                Err(cause) => ended.push((task.id, cause)),
            }
        }
        self.turn.end();
        self.hand_over(out);
        for (id, cause) in ended {
            match cause {
                StopReason::Store(error) => self.unreadable(now, id, error, out),
                cause => self.stop(id, cause, out),
            }
        }
    }

    /// The tasks with a walk that can go on, in order.
    pub(super) fn walks(&self) -> Vec<TaskId> {
        let walks = self.tasks.values().filter(|task| task.walks());
        walks.map(|task| task.id).collect()
    }

    /// A guard was told, or dropped: its record may be committed, or fails its task.
    pub(super) fn deferred(
        &mut self,
        record: RecordId,
        outcome: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(&record.task) else {
            return;
        };
        if task.epoch != record.epoch {
            return;
        }
        let Some(held) = task.deferred.get(&record.guard) else {
            return;
        };
        match outcome {
            Ok(()) => {
                task.deferred.remove(&record.guard);
                self.pace(out);
            }
            Err(error) => {
                let at = (record.task.partition, record.offset);
                let cause = failed(&self.plan, record.topic, at, held.key.clone(), error);
                self.stop(record.task, cause, out);
            }
        }
    }

    /// The store of a task cannot be read now: its record was dropped whole, and is handled again in
    /// a while. One that stays so stops the task; one that is damaged is rebuilt.
    pub(super) fn unreadable(
        &mut self,
        now: Now,
        id: TaskId,
        error: StoreError,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let copy = task.unread_copy.take();
        if matches!(error, StoreError::Unreadable { .. }) {
            let table = self.plan.table.as_ref().map(|table| table.topic);
            let own = table.map(|table| CopyId { task: id, table });
            return match copy.or(own) {
                Some(copy) => self.damaged(copy, error, out),
                None => self.stop(id, StopReason::Store(error), out),
            };
        }
        let since = task
            .unreadable
            .map_or(now.monotonic, |trouble| trouble.since);
        if now.monotonic.saturating_sub(since) >= self.plan.patience {
            return self.stop(id, StopReason::Store(error), out);
        }
        if task.unreadable.is_none() {
            tracing::warn!(task = id.partition, %error, "the store cannot be read, trying again");
        }
        let retry_at = now.monotonic + RETRY;
        task.unreadable = Some(Unreadable {
            since,
            retry_at,
            waits: true,
        });
        self.pace(out);
    }

    pub(super) fn read_stores_again(&mut self, now: Now, out: &mut Vec<Effect>) {
        for task in self.tasks.values_mut() {
            let Some(trouble) = &mut task.unreadable else {
                continue;
            };
            if trouble.waits && trouble.retry_at <= now.monotonic {
                trouble.waits = false;
                if task.state == State::Running {
                    out.push(Effect::Fetch(task.id, task.intake()));
                }
            }
        }
    }

    pub(super) fn hand_over(&mut self, out: &mut Vec<Effect>) {
        if !self.appends.is_empty() {
            self.appended.0 += self.appends.len();
            self.appended.1 += self.appends.size();
            out.push(Effect::Append(std::mem::take(&mut self.appends)));
        }
    }
}
