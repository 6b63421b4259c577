//! A thread with one member of a group: it feeds the core with what the member and the restorer
//! tell, and performs what the core asks for. All waiting is in `Member::poll` and has a deadline.
//! Made by the processor.

mod executor;
mod flusher;
mod members;
mod outage;
mod perform;
mod services;
mod state;
mod stores;
mod watch;

#[cfg(feature = "tester")]
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::executor::Executor;
use self::flusher::Flusher;
#[cfg(feature = "tester")]
pub(crate) use self::members::REJOIN;
pub(crate) use self::members::RejoinPolicy;
pub(crate) use self::members::run;
#[cfg(feature = "tester")]
pub(crate) use self::services::HandlerObserver;
use self::services::WorkerServices;
pub use self::state::TaskStatus;
pub(crate) use self::state::WorkerState;
use self::state::lock;
pub use self::watch::Handling;
pub(crate) use self::watch::InHand;
use self::watch::Watch;
use crate::clock::Clock;
use crate::core::{CopyId, Core, Effect, Event, Now, Plan, RecordId, State, StopReason};
use crate::dispatch::ProcessorState;
use crate::error::HandlerError;
use crate::log::{Committer, Driver, Fetched, Log, LogError, Member, MemberEvent};
use crate::processor::OnStop;
use crate::record::{Offset, TaskId, TopicId};
use crate::restore::Restorer;
use crate::table::Stores;
use crate::view::Lookups;

/// How long a poll waits when nothing is due.
const IDLE: Duration = Duration::from_millis(50);
/// The same while handlers have left work behind: it goes on between two polls.
const GUARDED: Duration = Duration::from_millis(1);
/// How often the outside is told where each task is, while anything happens.
const REPORT: Duration = Duration::from_millis(100);
/// How long a barrier may wait for acknowledgements: a change of leaders takes up to 30 s, and is
/// ridden out rather than handled twice. At most half of the poll interval, which it uses up.
const ACKS: Duration = Duration::from_secs(40);
const RESTORE_THREADS: usize = 2;

/// What a worker is made of.
pub(crate) struct WorkerConfig {
    pub(crate) plan: Plan,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) shared: Arc<ProcessorState>,
    /// The tables that are looked up, by topic.
    pub(crate) lookups: Lookups,
    pub(crate) deadline: Duration,
    pub(crate) on_stop: OnStop,
    pub(crate) clock: Clock,
    /// What asynchronous handlers run on.
    pub(crate) executor: Arc<Executor>,
    /// Told of every record that was handled.
    #[cfg(feature = "tester")]
    pub(crate) witness: Option<Arc<dyn HandlerObserver>>,
    pub(crate) signals: Arc<WorkerState>,
}

/// One member with what drives it.
pub(crate) struct Worker {
    parts: Arc<WorkerConfig>,
    core: Core,
    reach: WorkerServices,
    guarded: Receiver<(RecordId, Result<(), HandlerError>)>,
    /// The identity of the topic that each open store is of.
    table_ids: HashMap<CopyId, String>,
    /// The changelog offset of the last flush of each open store.
    reached: HashMap<CopyId, Offset>,
    flusher: Flusher,
    /// What needs a store that the flusher has in hand.
    waiting: Vec<Effect>,
    restorer: Restorer,
    effects: Vec<Effect>,
    failed: Option<StopReason>,
    trouble: bool,
    /// The longest that an append waited since the last settlement.
    append_took: Duration,
    draining: bool,
    /// Whether anything happened since somebody asked.
    moved: bool,
    /// Whether anything happened since the outside was told where each task is.
    is_report_due: bool,
}

impl Worker {
    pub(crate) fn new(parts: &Arc<WorkerConfig>) -> Self {
        let (guards, guarded) = channel();
        // On a clock that stands still nobody can wait: what threads do is done in turns.
        let threads = if parts.clock.is_simulated() {
            0
        } else {
            RESTORE_THREADS
        };
        Self {
            parts: Arc::clone(parts),
            core: Core::new(
                parts.plan.clone(),
                parts.signals.has_run(),
                lock(&parts.signals.slow_calls).clone(),
            ),
            reach: WorkerServices {
                signals: Arc::clone(&parts.signals),
                clock: parts.clock.clone(),
                stores: BTreeMap::new(),
                lookups: parts.lookups.clone(),
                executor: Arc::clone(&parts.executor),
                guards,
                #[cfg(feature = "tester")]
                handling: Cell::default(),
                #[cfg(feature = "tester")]
                witness: parts.witness.clone(),
            },
            guarded,
            table_ids: HashMap::new(),
            reached: HashMap::new(),
            flusher: Flusher::new(threads > 0),
            waiting: Vec::new(),
            restorer: Restorer::new(parts, threads),
            effects: Vec::new(),
            failed: None,
            trouble: false,
            append_took: Duration::ZERO,
            draining: false,
            moved: false,
            is_report_due: true,
        }
    }

    fn run(mut self, mut member: Box<dyn Member>, again: &RejoinPolicy) -> Result<(), StopReason> {
        // Whatever the member before was in, this one tells for itself.
        self.tell_trouble(false);
        let watch = Watch::start(&self.parts, &*member);
        let ended = self.work(&mut *member);
        let is_over = matches!(self.failed, Some(StopReason::Member(_)));
        if ended.is_ok() || (self.failed.is_some() && !is_over) {
            self.drain(&mut *member);
        }
        self.report();
        drop(watch);
        self.leave(member, again, ended)
    }

    /// Leaves the group. A member that another one follows keeps its place for that one; a process
    /// whose place another process has taken must not take it back, so this is told before all else.
    fn leave(
        &self,
        member: Box<dyn Member>,
        again: &RejoinPolicy,
        ended: Result<(), StopReason>,
    ) -> Result<(), StopReason> {
        // What draining left of the deadline.
        let by = Instant::now() + self.parts.deadline * 2 / 5;
        let keeps = match &ended {
            Ok(()) => self.parts.on_stop == OnStop::Keep && !self.parts.signals.has_stopped(),
            Err(cause) => again.is_followed(cause, self.parts.clock.monotonic()),
        };
        let left = if keeps {
            member.close(by)
        } else {
            member.leave(by)
        };
        match left {
            Err(error @ LogError::InstanceFenced { .. }) if ended.is_err() => {
                return Err(StopReason::Member(error));
            }
            Err(error) => tracing::warn!(%error, "the member did not leave in time"),
            Ok(()) => {}
        }
        ended
    }

    /// Notes whether anything that was handled is not committed.
    fn note_unsettled(&self) {
        let unsettled = &self.parts.signals.unsettled;
        if unsettled.load(Ordering::Relaxed) && self.core.is_committed() {
            unsettled.store(false, Ordering::Release);
        }
    }

    /// Works until told to stop.
    fn work(&mut self, member: &mut dyn Member) -> Result<(), StopReason> {
        let mut reported = Instant::now();
        while !self.parts.signals.stops() {
            if self.is_report_due && reported.elapsed() >= REPORT {
                self.report();
                (self.is_report_due, reported) = (false, Instant::now());
            }
            self.turn(member)?;
        }
        Ok(())
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
        let mut wait = self.core.next_tick(self.parts.clock.monotonic()).min(IDLE);
        if self.core.has_guards() {
            wait = wait.min(GUARDED);
        }
        member.poll(wait, self).map_err(StopReason::Member)?;
        if self.is_in_handler() {
            return Ok(());
        }
        self.perform(member);
        while let Some(done) = self.restorer.next() {
            self.is_report_due = true;
            self.finished(done);
        }
        while let Some(flushed) = self.flusher.next() {
            self.flushed(flushed);
        }
        self.settle_guards();
        if !self.parts.plan.joins.is_empty() {
            let ends = std::mem::take(&mut *lock(&self.parts.signals.ends));
            for (copy, end, at) in ends {
                self.step(Event::SawEnd(copy, end, at));
            }
        }
        let failure = self
            .parts
            .lookups
            .iter()
            .find_map(|(_, view)| view.failure());
        if let (Some(error), None) = (failure, &self.failed) {
            self.failed = Some(StopReason::Lookup(error.into()));
        }
        if let Some(cause) = lock(&self.parts.signals.refused).take() {
            self.failed.get_or_insert(cause);
        }
        self.step(Event::Tick);
        if self.is_in_handler() {
            return Ok(());
        }
        self.perform(member);
        self.note_unsettled();
        match &self.failed {
            Some(cause) => Err(cause.clone()),
            None => Ok(()),
        }
    }

    /// Hears what of the work that handlers left behind is done.
    fn settle_guards(&mut self) {
        #[cfg(feature = "tester")]
        self.reach.executor.go_on(&self.reach.clock);
        while let Ok((record, outcome)) = self.guarded.try_recv() {
            self.moves_on();
            self.step(Event::Deferred(record, outcome));
        }
    }

    /// Ends what was handled: no more intake, barriers and flushes until all is durable.
    fn drain(&mut self, member: &mut dyn Member) {
        let by = Instant::now() + self.parts.deadline / 2;
        while !self.drain_turn(member) {
            if Instant::now() >= by {
                tracing::warn!("the last barrier did not end in time; its records are read again");
                return;
            }
            if member.poll(IDLE, self).is_err() {
                return;
            }
        }
    }

    /// One step towards the end; says whether everything handled is durable.
    pub(crate) fn drain_turn(&mut self, member: &mut dyn Member) -> bool {
        self.draining = true;
        self.settle_guards();
        while let Some(flushed) = self.flusher.next() {
            self.flushed(flushed);
        }
        self.step(Event::Drain);
        self.perform(member);
        self.note_unsettled();
        self.core.is_settled()
    }

    /// Whether anything happened since this was last asked, or a walk is under way.
    #[cfg(feature = "tester")]
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved) || self.core.is_visiting()
    }

    /// What handlers took together since this was last asked, and the longest of them, on a simulated
    /// clock.
    #[cfg(feature = "tester")]
    pub(crate) fn take_handling(&mut self) -> (Duration, Duration) {
        let handling = self.reach.handling.get_mut();
        let zero = Duration::ZERO;
        (
            std::mem::replace(&mut handling.turn, zero),
            std::mem::replace(&mut handling.longest, zero),
        )
    }

    /// The memory of all copies, in bytes.
    #[cfg(feature = "tester")]
    pub(crate) fn memory(&self) -> usize {
        self.core.memory().0
    }

    /// Whether handlers left work behind that is not done.
    #[cfg(feature = "tester")]
    pub(crate) fn has_guards(&self) -> bool {
        self.core.has_guards()
    }

    /// On a simulated clock, whether the last handler is not done yet.
    pub(crate) fn is_in_handler(&self) -> bool {
        #[cfg(feature = "tester")]
        return self.reach.is_in_handler();
        #[cfg(not(feature = "tester"))]
        false
    }

    /// Notes that something happened.
    fn moves_on(&mut self) {
        (self.moved, self.is_report_due) = (true, true);
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.reach.monotonic(),
            wall: self.parts.clock.wall(),
        }
    }

    fn step(&mut self, event: Event<'_>) {
        let now = self.now();
        self.core.step(
            now,
            event,
            &self.reach,
            &*self.parts.shared,
            &mut self.effects,
        );
        if self.core.has_run() {
            self.parts.signals.has_run.store(true, Ordering::Release);
        }
        self.keep_slow_calls();
    }

    /// Keeps slow calls for the client after this one.
    fn keep_slow_calls(&mut self) {
        if let Some(calls) = self.core.take_slow_calls() {
            *lock(&self.parts.signals.slow_calls) = calls;
        }
    }

    fn stopped(&mut self, task: TaskId, cause: StopReason) {
        let topic = &**self.parts.plan.group.topic(task.lead);
        let group = &*self.parts.plan.group.name;
        tracing::error!(group, topic, partition = task.partition, %cause, "partition stopped");
        self.report();
        let mut status = self
            .parts
            .signals
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = status.get_mut(&task) {
            task.stopped = Some(cause);
        }
    }

    /// Tells the outside where each task is; that one stopped stays told until it is owned anew.
    fn report(&self) {
        let group = &self.parts.plan.group;
        let mut status = self
            .parts
            .signals
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let owned = || self.core.tasks().map(|(_, state, _)| state);
        let mut owned = owned().filter(|state| *state != State::Gone).peekable();
        let has_stopped = owned.peek().is_some() && owned.all(|state| state == State::Stopped);
        let signals = &self.parts.signals;
        signals.has_stopped.store(has_stopped, Ordering::Release);
        let tasks: BTreeMap<_, _> = self
            .core
            .tasks()
            .map(|(id, state, positions)| {
                let before = status.get(&id).filter(|_| state == State::Stopped);
                let stopped = before.and_then(|task| task.stopped.clone());
                let named = |(topic, offset): (&TopicId, &Offset)| {
                    (group.topic(*topic).to_string(), *offset)
                };
                let status = TaskStatus {
                    topic: group.topic(id.lead).to_string(),
                    partition: id.partition,
                    state,
                    positions: positions.iter().map(named).collect(),
                    stopped,
                };
                (id, status)
            })
            .collect();
        status.retain(|_, task| task.stopped.is_some());
        status.extend(tasks);
    }
}

impl Driver for Worker {
    fn event(&mut self, event: MemberEvent<'_>) {
        self.moves_on();
        match event {
            MemberEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let (partition, epoch) = (assignment.task.partition, assignment.epoch.0);
                    let topic = &**self.parts.plan.group.topic(assignment.task.lead);
                    tracing::info!(topic, partition, epoch, "assigned");
                }
                self.step(Event::Assigned(assignments));
            }
            MemberEvent::OffsetGap {
                task,
                epoch,
                topic,
                from,
                to,
            } => self.step(Event::OffsetGap {
                task,
                epoch,
                topic,
                from,
                to,
            }),
            MemberEvent::Lost(tasks) => {
                self.effects.retain(|effect| match effect {
                    Effect::Fetch(task, _) | Effect::Release(task) => !tasks.contains(task),
                    _ => true,
                });
                tracing::warn!(tasks = tasks.len(), "partitions were taken away");
                self.step(Event::Lost(tasks));
            }
            MemberEvent::InputFailed { task, error, .. } => {
                self.step(Event::InputFailed(task, error))
            }
            MemberEvent::Degraded(Some(reason)) => {
                if !std::mem::replace(&mut self.trouble, true) {
                    tracing::warn!(%reason, "the log is in trouble, going on when it heals");
                    self.tell_trouble(true);
                }
            }
            MemberEvent::Degraded(None) => {
                if std::mem::replace(&mut self.trouble, false) {
                    tracing::info!("the log is back");
                    self.tell_trouble(false);
                }
            }
        }
    }

    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        self.moves_on();
        // It is about to be fetched from elsewhere: these are not the records that come next.
        if self.moves(fetched.task, fetched.topic) {
            return fetched.records.len();
        }
        self.parts.signals.unsettled.store(true, Ordering::Release);
        let now = self.now();
        let taken = self.core.batch(
            now,
            fetched,
            &self.reach,
            &*self.parts.shared,
            &mut self.effects,
        );
        self.keep_slow_calls();
        taken
    }

    fn revoking(&mut self, tasks: &[TaskId], settle: &mut dyn Committer) {
        self.moves_on();
        let mut later = Vec::new();
        for event in [Event::Revoking(tasks), Event::Revoked(tasks)] {
            self.step(event);
            while !self.effects.is_empty() {
                for effect in std::mem::take(&mut self.effects) {
                    later.extend(self.perform_own(effect, settle));
                }
            }
        }
        // What only the whole member can do waits until its poll returns; what concerned the tasks
        // given back is done by giving them back.
        let ours = |task: &TaskId| !tasks.contains(task);
        later.retain(|effect| match effect {
            Effect::Fetch(task, _) | Effect::Release(task) => ours(task),
            _ => true,
        });
        self.effects = later;
        tracing::info!(tasks = tasks.len(), "gave partitions back");
    }
}
