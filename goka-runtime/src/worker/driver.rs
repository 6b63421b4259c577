//! Drives one member of a group and the core: gives the core what the member hands over and what becomes
//! of the stores, and performs what the core asks for. All waiting is in `Member::poll`, with a timeout.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::config::{IDLE, WorkerConfig};
use super::copies::CopyStores;
use super::health::LogHealth;
use super::services::WorkerServices;
use crate::core::{Core, Effect, Event, Now, Plan, StopReason};
use crate::lock::lock;
use crate::log::{
    CommitBatch, CommitOutcome, Committer, Driver, Fetched, LogError, Member, MemberEvent,
};
use crate::record::{Appends, TaskId, TopicId};

/// The same while something that handlers deferred is not done: it may be at any moment.
const IDLE_DEFERRED: Duration = Duration::from_millis(1);
/// How long a barrier may wait for acknowledgements: a change of leaders takes up to 30 s, and is waited
/// for, so that nothing is handled twice. At most half of the poll interval, since it is no poll.
const ACK_TIMEOUT: Duration = Duration::from_secs(40);
const RESTORE_THREADS: usize = 2;

/// One client: a core, and what performs its effects beside the member.
pub(crate) struct Worker {
    config: Arc<WorkerConfig>,
    core: Core,
    services: WorkerServices,
    health: LogHealth,
    /// What the core asked for and is not performed yet.
    effects: Vec<Effect>,
    /// Why it cannot go on.
    failed: Option<StopReason>,
    is_draining: bool,
    /// Whether anything happened since a simulation last asked.
    made_progress: bool,
    /// Whether anything happened since the status of the tasks was reported.
    pub(super) is_report_due: bool,
}

impl Worker {
    pub(crate) fn new(config: &Arc<WorkerConfig>) -> Self {
        // On a simulated clock nothing can be waited for: restores and flushes run in the worker's turns.
        let restore_threads = match config.clock.is_simulated() {
            true => 0,
            false => RESTORE_THREADS,
        };
        Self {
            core: Core::new(
                Plan::clone(&config.plan),
                config.state.has_run(),
                lock(&config.state.slow_calls).clone(),
            ),
            services: WorkerServices::new(
                config,
                CopyStores::new(config.for_restores(), restore_threads),
            ),
            health: LogHealth::new(config),
            config: Arc::clone(config),
            effects: Vec::new(),
            failed: None,
            is_draining: false,
            made_progress: false,
            is_report_due: true,
        }
    }

    /// One poll of the member, with everything that follows from it.
    ///
    /// # Errors
    /// Why the worker cannot go on.
    pub(crate) fn turn(&mut self, member: &mut dyn Member) -> Result<(), StopReason> {
        if self.is_in_handler() {
            return Ok(());
        }
        // What is left of a turn whose last handler took simulated time.
        self.perform(member);
        let mut wait = self.core.next_tick(self.config.clock.monotonic()).min(IDLE);
        if self.core.has_guards() {
            wait = wait.min(IDLE_DEFERRED);
        }
        member.poll(wait, self).map_err(StopReason::Member)?;
        if self.is_in_handler() {
            return Ok(());
        }
        self.perform(member);
        self.take_jobs();
        self.take_flushes();
        self.take_deferrals();
        self.take_ends();
        if let (Some(error), None) = (self.services.lookup_failure(), &self.failed) {
            self.failed = Some(StopReason::Lookup(error.into()));
        }
        if let Some(cause) = lock(&self.config.state.end_reason).take() {
            self.failed.get_or_insert(cause);
        }
        self.step(Event::Tick);
        if self.is_in_handler() {
            return Ok(());
        }
        self.perform(member);
        self.note_committed();
        match &self.failed {
            Some(cause) => Err(cause.clone()),
            None => Ok(()),
        }
    }

    /// One step towards the end; says whether everything handled is durable.
    pub(crate) fn drain_turn(&mut self, member: &mut dyn Member) -> bool {
        self.is_draining = true;
        self.take_deferrals();
        self.take_flushes();
        self.step(Event::Drain);
        self.perform(member);
        self.note_committed();
        self.core.is_durable()
    }

    /// Whether what was handled may be made durable after the worker has failed: not if that was the
    /// member, nor if the member does not poll.
    pub(super) fn can_drain(&self) -> bool {
        !matches!(self.failed, None | Some(StopReason::Member(_)))
    }

    /// On a simulated clock, whether the last handler is not done yet.
    pub(crate) fn is_in_handler(&self) -> bool {
        self.services.is_in_handler()
    }

    /// Takes the restores and inspections that have ended.
    fn take_jobs(&mut self) {
        while let Some(job) = self.services.copies.next_job() {
            self.is_report_due = true;
            let is_current = self.core.epoch(job.copy.task) == Some(job.epoch);
            let event = is_current
                .then(|| self.services.copies.job_ended(job))
                .flatten();
            if let Some(event) = event {
                self.step(event);
            }
        }
    }

    /// Takes the flushes that have ended.
    fn take_flushes(&mut self) {
        while let Some(ended) = self.services.copies.next_flush() {
            self.effects.extend(ended.waited);
            for event in ended.events {
                self.step(event);
            }
        }
    }

    /// Takes what handlers deferred and is done.
    fn take_deferrals(&mut self) {
        while let Some((record, outcome)) = self.services.next_deferral() {
            self.note_progress();
            self.step(Event::Deferred(record, outcome));
        }
    }

    /// Takes where the topics of joined copies ended when last asked for.
    fn take_ends(&mut self) {
        if self.config.plan.joins.is_empty() {
            return;
        }
        let ends = std::mem::take(&mut *lock(&self.config.state.ends));
        for (copy, end, at) in ends {
            self.step(Event::SawEnd(copy, end, at));
        }
    }

    fn note_progress(&mut self) {
        (self.made_progress, self.is_report_due) = (true, true);
    }

    /// Notes when everything that was handled is committed.
    fn note_committed(&self) {
        let uncommitted = &self.config.state.uncommitted;
        if uncommitted.load(Ordering::Relaxed) && self.core.is_committed() {
            uncommitted.store(false, Ordering::Release);
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.services.monotonic(),
            wall: self.config.clock.wall(),
        }
    }

    fn step(&mut self, event: Event<'_>) {
        let now = self.now();
        self.core.step(
            now,
            event,
            &self.services,
            &*self.config.processor_state,
            &mut self.effects,
        );
        if self.core.has_run() {
            self.config.state.has_run.store(true, Ordering::Release);
        }
        self.keep_slow_calls();
    }

    /// Keeps slow calls for the client after this one.
    fn keep_slow_calls(&mut self) {
        if let Some(calls) = self.core.take_slow_calls() {
            *lock(&self.config.state.slow_calls) = calls;
        }
    }

    /// Reports the status of the tasks.
    pub(super) fn report(&mut self) {
        let (state, group) = (&self.config.state, &self.config.plan.group);
        state.report(group, self.core.tasks());
    }

    /// Performs what the core asked for, with what it asks for in turn.
    fn perform(&mut self, member: &mut dyn Member) {
        while !self.effects.is_empty() {
            self.note_progress();
            for effect in std::mem::take(&mut self.effects) {
                if let Some(effect) = self.perform_effect(effect, &mut *member) {
                    self.perform_at_member(effect, member);
                }
            }
        }
    }

    /// Performs an effect that needs no more of the member than its commits, and gives back any other.
    fn perform_effect(&mut self, effect: Effect, committer: &mut dyn Committer) -> Option<Effect> {
        match effect {
            Effect::Append(appends) => self.append(appends, committer),
            Effect::Commit(batch) => {
                let outcome = self.commit(&batch, committer);
                self.step(Event::CommitEnded(batch.id, outcome));
            }
            Effect::Abort => self.abort(committer),
            Effect::Flush(copy, batch) => {
                if let Some(event) = self.services.copies.flush(copy, batch) {
                    self.step(event);
                }
            }
            Effect::Stopped(task, cause) => self.stopped(task, cause),
            Effect::Fail(cause) => {
                self.failed.get_or_insert(cause);
            }
            effect => return self.services.copies.perform(effect),
        }
        None
    }

    fn perform_at_member(&mut self, effect: Effect, member: &mut dyn Member) {
        let done = match effect {
            Effect::Fetch(task, positions) => member.fetch(task, &positions),
            Effect::Release(task) => {
                member.release(task);
                Ok(())
            }
            Effect::Pause(paused) => {
                member.pause(paused);
                Ok(())
            }
            Effect::RecreateProducer => member.rebuild(),
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.failed.get_or_insert(StopReason::Member(error));
        }
    }

    fn append(&mut self, appends: Appends, committer: &mut dyn Committer) {
        let began = Instant::now();
        self.config.state.uncommitted.store(true, Ordering::Release);
        committer.append(&appends);
        self.health.appended(began.elapsed());
        self.core.recycle(appends);
    }

    fn commit(&mut self, batch: &CommitBatch, committer: &mut dyn Committer) -> CommitOutcome {
        let timeout = if self.is_draining {
            self.config.stop_timeout / 2
        } else {
            ACK_TIMEOUT.min(self.config.plan.group.max_poll_interval / 2)
        };
        let began = Instant::now();
        let outcome = committer.commit(batch, began + timeout);
        let owned = self.core.tasks().map(|(task, ..)| task).collect();
        self.health.committed(&outcome, began.elapsed(), &owned);
        outcome
    }

    fn abort(&mut self, committer: &mut dyn Committer) {
        let began = Instant::now();
        let Err(failure) = committer.abort(began + self.config.stop_timeout) else {
            return;
        };
        let owned = self.core.tasks().map(|(task, ..)| task);
        self.health.abort_failed(&failure, began.elapsed(), owned);
        let group = &self.config.plan.group;
        let error = LogError::of_instance(
            &group.name,
            &group.instance,
            "aborting a transaction",
            failure,
        );
        self.failed.get_or_insert(StopReason::Member(error));
    }

    fn stopped(&mut self, task: TaskId, cause: StopReason) {
        let topic = &**self.config.plan.group.topic(task.lead);
        let group = &*self.config.plan.group.name;
        tracing::error!(group, topic, partition = task.partition, %cause, "partition stopped");
        self.report();
        self.config.state.set_stopped(task, cause);
    }

    /// Whether an input of a task is about to be fetched from another position.
    fn is_moving(&self, task: TaskId, topic: TopicId) -> bool {
        let is_move = |effect: &Effect| match effect {
            Effect::Fetch(of, to) => *of == task && to.iter().any(|(of, _)| *of == topic),
            _ => false,
        };
        self.effects.iter().any(is_move)
    }
}

impl Driver for Worker {
    fn event(&mut self, event: MemberEvent<'_>) {
        self.note_progress();
        match event {
            MemberEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let (partition, epoch) = (assignment.task.partition, assignment.epoch.0);
                    let topic = &**self.config.plan.group.topic(assignment.task.lead);
                    tracing::info!(topic, partition, epoch, "assigned");
                }
                self.step(Event::Assigned(assignments));
            }
            MemberEvent::OffsetGap(gap) => self.step(Event::OffsetGap(gap)),
            MemberEvent::Lost(tasks) => {
                drop_fetches(&mut self.effects, tasks);
                tracing::warn!(tasks = tasks.len(), "partitions lost");
                self.step(Event::Lost(tasks));
            }
            MemberEvent::InputFailed { task, error, .. } => {
                self.step(Event::InputFailed(task, error))
            }
            MemberEvent::Degraded(reason) => self.health.degraded(reason.as_deref()),
        }
    }

    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        self.note_progress();
        // These are not the records that come next: the input is about to be fetched from elsewhere.
        if self.is_moving(fetched.task, fetched.topic) {
            return fetched.records.len();
        }
        self.config.state.uncommitted.store(true, Ordering::Release);
        let now = self.now();
        let taken = self.core.batch(
            now,
            fetched,
            &self.services,
            &*self.config.processor_state,
            &mut self.effects,
        );
        self.keep_slow_calls();
        taken
    }

    fn revoking(&mut self, tasks: &[TaskId], committer: &mut dyn Committer) {
        self.note_progress();
        let mut later = Vec::new();
        for event in [Event::Revoking(tasks), Event::Revoked(tasks)] {
            self.step(event);
            while !self.effects.is_empty() {
                for effect in std::mem::take(&mut self.effects) {
                    later.extend(self.perform_effect(effect, committer));
                }
            }
        }
        // What only the whole member can do waits until its poll returns. Fetches of the tasks that are
        // given back are void then.
        drop_fetches(&mut later, tasks);
        self.effects = later;
        tracing::info!(tasks = tasks.len(), "partitions given back");
    }
}

/// Drops the fetches of tasks that are not owned any more.
fn drop_fetches(effects: &mut Vec<Effect>, tasks: &[TaskId]) {
    effects.retain(|effect| match effect {
        Effect::Fetch(task, _) | Effect::Release(task) => !tasks.contains(task),
        _ => true,
    });
}

#[cfg(feature = "tester")]
mod inspect;
#[cfg(test)]
mod tests;
