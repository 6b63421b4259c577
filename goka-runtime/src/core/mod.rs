//! The sans-IO core: told what happened ([`Event`]), it runs the handlers and answers with what is
//! to be done ([`Effect`]). It has no clock, thread, async or I/O; the worker, the tests and the
//! simulator drive the same one. One core is one worker: one consumer, one producer, their tasks.
//!
//! The barrier is here: [`Effect::Commit`] carries the offsets of everything handled, its answer
//! moves overlays into memtables, and [`Effect::Flush`] brings those to the stores.

mod barrier;
pub(crate) mod committed_text;
pub(crate) mod deaths;
mod definition;
mod event;
mod flush;
pub(crate) mod form;
mod handle;
mod ids;
mod intake;
pub(crate) mod metadata;
mod place;
mod plan;
pub(crate) mod recovery;
mod scope;
mod services;
mod start;
mod stop_reason;
mod table_buffer;
mod task;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod verify;
mod visit;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use definition::{changes_of_hash, hash_follows};
pub(crate) use event::{ChangelogInspection, Effect, Event, Inspection};
pub(crate) use ids::{CopyId, Now, RecordId};
pub(crate) use plan::{InputPlan, JoinPlan, OutputPlan, Plan, TablePlan, VisitPlan};
pub(crate) use services::HandlerServices;
pub use stop_reason::StopReason;
pub(crate) use table_buffer::FlushBatch;
pub use task::State;
pub(crate) use turn::{SlowCalls, TURN};

use crate::dispatch::ProcessorState;
use crate::log::{Assignment, Epoch, Fetched, LogError};
use crate::record::{Appends, Offset, TaskId, TopicId};
use barrier::Barrier;
use place::Place;
use scope::Scratch;
use table_buffer::TableBuffer;
use task::Task;
use turn::Turn;

/// After so many records or bytes appended a barrier runs before its time.
const BARRIER_APPENDS: usize = 100_000;
const BARRIER_BYTES: usize = 32 << 20;
/// Offsets that do not move are committed again so often: the coordinator expires those of topics
/// that no member subscribes to, `offsets.retention.minutes` after their last commit.
const RECOMMIT: Duration = Duration::from_secs(2 * 3600);
/// How long a failed commit or flush waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// So many records of a task may wait for their guards before intake does.
const DEFERRED: usize = 10_000;

/// The core of one worker.
pub(crate) struct Core {
    plan: Plan,
    tasks: BTreeMap<TaskId, Task>,
    appends: Appends,
    /// Appended since the last barrier, handed to the log or not.
    appended: (usize, usize),
    scratch: Scratch,
    last_barrier: Duration,
    retry_at: Option<Duration>,
    unit: u64,
    settling: Option<Barrier>,
    /// Exactly once: the barrier whose transaction may be committed or not.
    doubt: Option<Barrier>,
    /// Exactly once: since when a barrier waits for what handlers deferred.
    guarded_since: Option<Duration>,
    /// Exactly once: copies that went back while an outcome was unknown.
    regressed: Vec<CopyId>,
    paused: bool,
    draining: bool,
    turn: Turn,
    /// The task whose walk went on last: the others go first.
    last_visited: Option<TaskId>,
    /// Whether any task of this core ever ran: a misfit found before that refuses the start.
    has_run: bool,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("group", &self.plan.group.name)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// A core without tasks. `has_run` says that tasks of this program ran before, on a client that
    /// died: then a misfit stops its task alone. `slow_calls` are those of that client.
    pub(crate) fn new(plan: Plan, has_run: bool, slow_calls: SlowCalls) -> Self {
        Self {
            turn: Turn::new(&plan, slow_calls),
            last_visited: None,
            plan,
            tasks: BTreeMap::new(),
            appends: Appends::default(),
            appended: (0, 0),
            scratch: Scratch::default(),
            last_barrier: Duration::ZERO,
            retry_at: None,
            unit: 0,
            settling: None,
            doubt: None,
            guarded_since: None,
            regressed: Vec::new(),
            paused: false,
            draining: false,
            has_run,
        }
    }

    /// What it was made of.
    #[cfg(test)]
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where each task is, and the next record of each of its inputs.
    pub(crate) fn tasks(
        &self,
    ) -> impl Iterator<Item = (TaskId, State, &BTreeMap<TopicId, Offset>)> {
        self.tasks
            .values()
            .map(|task| (task.id, task.state, &task.positions))
    }

    /// Whether everything handled is durable: nothing waits for a barrier or a flush.
    pub(crate) fn is_settled(&self) -> bool {
        self.settling.is_none()
            && self.doubt.is_none()
            && self.tasks.values().all(|task| {
                matches!(
                    task.state,
                    State::Inspecting | State::Restoring | State::Gone
                ) || (!task.is_dirty() && task.is_flushed() && !task.has_guards())
            })
    }

    /// Whether everything handled is committed; what is acknowledged may still wait for the stores.
    pub(crate) fn is_committed(&self) -> bool {
        self.settling.is_none()
            && self.doubt.is_none()
            && self
                .tasks
                .values()
                .all(|task| !task.is_dirty() && !task.has_guards())
    }

    /// When the next [`Event::Tick`] has something to do.
    pub(crate) fn next_tick(&self, now: Duration) -> Duration {
        let due = self.last_barrier + self.plan.barrier;
        let wake = self.retry_at.map_or(due, |retry| due.max(retry));
        if !self.paused && self.tasks.values().any(Task::walks) {
            Duration::ZERO
        } else if self.tasks.values().any(Task::is_dirty) {
            wake.saturating_sub(now)
        } else {
            RETRY
        }
    }

    /// Whether any task of it ever ran.
    pub(crate) fn has_run(&self) -> bool {
        self.has_run
    }

    /// Whether handlers left work behind that is not done.
    pub(crate) fn has_guards(&self) -> bool {
        self.tasks.values().any(Task::has_guards)
    }

    /// Whether a walk over a table goes on with the next [`Event::Tick`].
    #[cfg(feature = "tester")]
    pub(crate) fn is_visiting(&self) -> bool {
        !self.paused && self.tasks.values().any(Task::walks)
    }

    /// Which assignment of a task this is about.
    pub(crate) fn epoch(&self, task: TaskId) -> Option<Epoch> {
        self.tasks.get(&task).map(|task| task.epoch)
    }

    /// Takes the memory of handed-over records back.
    pub(crate) fn recycle(&mut self, mut appends: Appends) {
        appends.clear();
        if self.appends.is_empty() {
            self.appends = appends;
        }
    }

    /// Hands records to the core, which adds what is to be done to `out` and returns how many of them
    /// it took; the others are to be handed over again.
    pub(crate) fn batch(
        &mut self,
        now: Now,
        fetched: Fetched<'_>,
        around: &dyn HandlerServices,
        shared: &ProcessorState,
        out: &mut Vec<Effect>,
    ) -> usize {
        let taken = self.take(now, fetched, around, shared, out);
        self.pace(out);
        taken
    }

    /// The calls that took too long for their transaction, if there is another since this was asked.
    pub(crate) fn take_slow_calls(&mut self) -> Option<SlowCalls> {
        self.turn.take_slow_calls()
    }

    /// Tells the core what happened; adds what is to be done to `out`.
    pub(crate) fn step(
        &mut self,
        now: Now,
        event: Event<'_>,
        around: &dyn HandlerServices,
        shared: &ProcessorState,
        out: &mut Vec<Effect>,
    ) {
        match event {
            Event::Assigned(assignments) => self.assigned(now, assignments, out),
            Event::Inspected(task, epoch, facts) => self.inspected(now, task, epoch, facts, out),
            Event::Verified(task, epoch, found) => self.verified(task, epoch, found, out),
            Event::Restored(copy, epoch, reached) => self.restored(copy, epoch, reached, out),
            Event::Deferred(record, outcome) => self.deferred(record, outcome, out),
            Event::OffsetGap {
                task,
                epoch,
                topic,
                from,
                to,
            } => self.passed((task, epoch, topic), from..to),
            Event::InputFailed(task, error) => self.broken(task, error, out),
            Event::CommitEnded(id, settlement) => {
                self.settled(now, id, settlement, out);
                self.flush_all(now, false, out);
            }
            Event::Flushed(copy, result) => self.flushed(now, copy, result, out),
            Event::StoreRolledBack(copy) => self.regressed(copy, out),
            Event::SawEnd(copy, end, at) => self.saw_end(copy, end, at),
            Event::Revoking(tasks) => {
                for id in tasks {
                    if self
                        .tasks
                        .get(id)
                        .is_some_and(|task| task.state == State::Running)
                    {
                        out.push(Effect::Release(*id));
                    }
                }
                // There is no time to wait for what handlers deferred.
                if self.is_exactly_once() && self.tasks.values().any(Task::is_guarded) {
                    self.abort(out);
                }
                self.barrier(now, out);
            }
            Event::Revoked(tasks) => self.revoked(now, tasks, out),
            Event::Lost(tasks) => self.lost(tasks, out),
            Event::Tick => {
                self.turn.end();
                self.owe_old_commits(now);
                self.read_stores_again(now, out);
                self.visit_all(now, around, shared, out);
                self.flush_all(now, false, out);
                self.barrier_if_due(now, out);
            }
            Event::Drain => {
                self.draining = true;
                self.pace(out);
                self.barrier(now, out);
                self.flush_all(now, true, out);
            }
        }
        self.pace(out);
    }

    fn assigned(&mut self, now: Now, assignments: &[Assignment], out: &mut Vec<Effect>) {
        for assignment in assignments {
            let mut task = Task::new(assignment, now.monotonic);
            task.learn_deaths(&self.plan);
            if let Some(visits) = &self.plan.visits {
                let committed = assignment.committed.get(&visits.topic);
                task.visited = committed.and_then(|committed| {
                    Some((committed.offset, Place::noted(&committed.metadata)?))
                });
            }
            if self.tasks.contains_key(&task.id) {
                self.lost(&[task.id], out);
            }
            let (id, epoch) = (task.id, task.epoch);
            let newer = task.newer.clone();
            self.tasks.insert(id, task);
            match newer {
                None => out.push(Effect::Inspect(id, epoch)),
                Some((topic, found)) => {
                    self.unfit(id, newer_metadata(&self.plan, id, topic, found), out)
                }
            }
        }
    }

    /// What is found wrong with a task before it runs refuses the start of a program that has not run
    /// yet; later it stops that task.
    fn unfit(&mut self, id: TaskId, cause: StopReason, out: &mut Vec<Effect>) {
        match self.has_run {
            true => self.stop(id, cause, out),
            false => out.push(Effect::Fail(cause)),
        }
    }

    fn inspected(
        &mut self,
        now: Now,
        id: TaskId,
        epoch: Epoch,
        facts: Result<Inspection, StopReason>,
        out: &mut Vec<Effect>,
    ) {
        let own = self.plan.table.as_ref().map(|table| table.topic);
        // A store that lost commits while it was restored is inspected again; joined ones go on.
        let is_again = |task: &Task| {
            task.state == State::Restoring && own.is_some_and(|own| task.restoring.contains(&own))
        };
        let waits = |task: &&mut Task| {
            task.epoch == epoch && (task.state == State::Inspecting || is_again(task))
        };
        let Some(task) = self.tasks.get_mut(&id).filter(waits) else {
            return;
        };
        let is_again = is_again(task);
        let start = match facts.and_then(|facts| start::examine(&self.plan, task, &facts, now)) {
            Ok(start) => start,
            Err(cause) => return self.unfit(id, cause, out),
        };
        task.state = State::Restoring;
        if !is_again {
            task.restoring.clear();
        }
        if let (start::Start::Restore { from, rebuild }, Some(table)) = (start, &self.plan.table) {
            task.restoring.insert(table.topic);
            out.push(Effect::Restore {
                task: id,
                epoch,
                from,
                rebuild,
            });
        }
        for join in self.plan.joins.iter().filter(|_| !is_again) {
            let (task_id, table) = (id, join.topic);
            task.restoring.insert(table);
            task.joins.insert(table, TableBuffer::default());
            let copy = CopyId {
                task: task_id,
                table,
            };
            out.push(Effect::Follow(copy, epoch));
        }
        if task.restoring.is_empty() {
            task.state = State::Starting;
        }
    }

    fn restored(
        &mut self,
        copy: CopyId,
        epoch: Epoch,
        reached: Result<Offset, StopReason>,
        out: &mut Vec<Effect>,
    ) {
        let (id, plan, once) = (copy.task, &self.plan, self.is_exactly_once());
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.epoch == epoch) else {
            return;
        };
        if task.state != State::Restoring || !task.restoring.remove(&copy.table) {
            return;
        }
        match reached {
            Ok(offset) => {
                if let Some(layers) = task.buffer_of(plan, copy.table) {
                    *layers = TableBuffer::over(offset);
                    if once {
                        // A commit is told before its control record is written.
                        layers.expect_anything();
                    }
                }
                if task.restoring.is_empty() {
                    task.state = State::Starting;
                }
            }
            Err(cause) => self.unfit(id, cause, out),
        }
    }

    fn broken(&mut self, id: TaskId, error: LogError, out: &mut Vec<Effect>) {
        self.stop(id, StopReason::Input(error), out);
    }

    /// Stops one task for good: what it handled before stays for the next barrier. Exactly once, what
    /// a guard holds back goes: the transaction of all the others would wait for a task that is done.
    fn stop(&mut self, id: TaskId, cause: StopReason, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if matches!(task.state, State::Stopped | State::Gone) {
            return;
        }
        if task.state == State::Running {
            out.push(Effect::Release(id));
        } else {
            task.rewind();
        }
        task.state = State::Stopped;
        task.reopens = false;
        if matches!(cause, StopReason::Store(_)) {
            task.give_up_store();
        }
        let is_guarded = task.is_guarded();
        if is_guarded && self.is_exactly_once() {
            self.abort(out);
        }
        out.push(Effect::Stopped(id, cause));
    }

    fn revoked(&mut self, now: Now, ids: &[TaskId], out: &mut Vec<Effect>) {
        for id in ids {
            let Some(mut task) = self.tasks.remove(id) else {
                continue;
            };
            self.flush_task(now, false, true, &mut task, out);
            out.push(Effect::Close(*id));
        }
    }

    fn lost(&mut self, ids: &[TaskId], out: &mut Vec<Effect>) {
        let mut appended = false;
        for id in ids {
            if let Some(task) = self.tasks.remove(id) {
                appended |= task.has_written();
                out.push(Effect::Close(*id));
            }
        }
        // Their records are in the transaction of all the others.
        if appended && self.is_exactly_once() && !mutant!(StaleWrites) {
            self.abort(out);
        }
    }

    fn owe_old_commits(&mut self, now: Now) {
        for task in self.tasks.values_mut() {
            let age = now.monotonic.saturating_sub(task.last_commit);
            let commits = matches!(task.state, State::Running | State::Stopped);
            if age >= RECOMMIT && commits && task.newer.is_none() {
                task.commit_owed = true;
            }
        }
    }

    fn is_in_doubt(&self) -> bool {
        let barriers = self.settling.iter().chain(&self.doubt);
        barriers.into_iter().any(|barrier| barrier.in_doubt)
    }

    /// Stops intake while what came in cannot go out, and goes on afterwards.
    fn pace(&mut self, out: &mut Vec<Effect>) {
        let stuck = |task: &Task| {
            let waits = task.unknown || task.deferred.len() >= DEFERRED;
            waits && task.state != State::Stopped
        };
        let pause = self.draining
            || self.is_in_doubt()
            || self.guarded_since.is_some()
            || self.is_out_of_memory()
            || self.tasks.values().any(stuck);
        if self.paused != pause {
            self.paused = pause;
            out.push(Effect::Pause(pause));
        }
    }
}

fn newer_metadata(plan: &Plan, task: TaskId, topic: TopicId, found: String) -> StopReason {
    StopReason::NewerMetadata {
        group: plan.group.name.to_string(),
        topic: plan.group.topic(topic).to_string(),
        partition: task.partition,
        found,
        known: metadata::VERSION,
    }
}
