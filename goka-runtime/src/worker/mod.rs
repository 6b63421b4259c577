//! A thread with one member of a group: it feeds the core with what the member and the restorer
//! tell, and performs what the core asks for. All waiting is in `Member::poll` and has a deadline.
//! Made by the processor.

mod flusher;
mod reach;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::flusher::{Flush, Flushed, Flusher};
use self::reach::{Open, Reach, await_lookup};
use crate::core::{Cause, CopyId, Core, Effect, Event, Frozen, Now, Plan, RecordId, State};
use crate::dispatch::Shared;
use crate::log::{Driver, Failure, Log, LogError, Member, MemberEvent, Settle, Settlement, Unit};
use crate::record::{Appends, Offset, TaskId, TopicId};
use crate::restore::{Done, Found, Restorer, wall_clock};
use crate::table::{FORMAT, Stamp, Stores};
use crate::view::RawView;

/// How long a poll waits when nothing is due.
const IDLE: Duration = Duration::from_millis(20);
/// How often the outside is told where each task is.
const REPORT: Duration = Duration::from_millis(100);
/// How long a barrier may wait for acknowledgements: a change of leaders takes up to 30 s, and is
/// ridden out rather than handled twice. Below Kafka's `max.poll.interval.ms` of 5 minutes.
const ACKS: Duration = Duration::from_secs(40);
const RESTORE_THREADS: usize = 2;
/// After a client died, a new one joins after so long.
const REJOIN: Duration = Duration::from_secs(1);
/// One that is fenced joins once more: a transaction that took too long looks the same. Fenced
/// again within so long, it has a twin.
const TWIN: Duration = Duration::from_secs(60);

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
    pub stopped: Option<Cause>,
}

/// What worker and owner share.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) stop: AtomicBool,
    pub(crate) status: Mutex<BTreeMap<TaskId, TaskStatus>>,
}

impl Signals {
    pub(crate) fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) shared: Arc<Shared>,
    /// The tables that are looked up, by topic.
    pub(crate) lookups: Vec<(&'static str, Arc<RawView>)>,
    pub(crate) deadline: Duration,
    pub(crate) signals: Arc<Signals>,
}

/// Runs until told to stop, or until it cannot go on.
pub(crate) fn run(parts: &Parts) -> Result<(), Cause> {
    let mut fenced: Option<Instant> = None;
    for (table, view) in &parts.lookups {
        if !await_lookup(table, view, &parts.signals)? {
            return Ok(());
        }
    }
    loop {
        let ended = match parts.log.join(&parts.plan.group) {
            Ok(member) => Worker::new(parts).run(member),
            Err(error) => Err(Cause::Member(error)),
        };
        match ended {
            Ok(()) => return Ok(()),
            Err(Cause::Member(error @ LogError::Fenced { .. }))
                if fenced.is_none_or(|last| last.elapsed() >= TWIN) =>
            {
                fenced = Some(Instant::now());
                tracing::warn!(%error, "fenced, joining once more");
            }
            Err(Cause::Member(error @ LogError::Client { .. })) => {
                tracing::warn!(%error, "the client died, joining again");
            }
            Err(cause) => return Err(cause),
        }
        let wait = Instant::now();
        while wait.elapsed() < REJOIN {
            if parts.signals.stops() {
                return Ok(());
            }
            std::thread::park_timeout(IDLE);
        }
    }
}

struct Worker<'p> {
    parts: &'p Parts,
    core: Core,
    reach: Reach,
    guarded: Receiver<(RecordId, Result<(), String>)>,
    /// The identity of the topic that each open store is of.
    table_ids: HashMap<CopyId, String>,
    /// The changelog offset of the last flush of each open store.
    reached: HashMap<CopyId, Offset>,
    flusher: Flusher,
    /// What needs a store that the flusher has in hand.
    waiting: Vec<Effect>,
    restorer: Restorer,
    effects: Vec<Effect>,
    began: Instant,
    failed: Option<Cause>,
    trouble: bool,
    draining: bool,
}

impl<'p> Worker<'p> {
    fn new(parts: &'p Parts) -> Self {
        let (log, stores) = (Arc::clone(&parts.log), Arc::clone(&parts.stores));
        let (guards, guarded) = channel();
        Self {
            parts,
            core: Core::new(parts.plan.clone()),
            reach: Reach {
                stores: HashMap::new(),
                lookups: parts.lookups.clone(),
                runtime: OnceCell::new(),
                guards,
            },
            guarded,
            table_ids: HashMap::new(),
            reached: HashMap::new(),
            flusher: Flusher::new(),
            waiting: Vec::new(),
            restorer: Restorer::new(log, stores, parts.plan.clone(), RESTORE_THREADS),
            effects: Vec::new(),
            began: Instant::now(),
            failed: None,
            trouble: false,
            draining: false,
        }
    }

    fn run(mut self, mut member: Box<dyn Member>) -> Result<(), Cause> {
        let ended = self.turn(&mut *member);
        let is_over = matches!(self.failed, Some(Cause::Member(_)));
        if ended.is_ok() || (self.failed.is_some() && !is_over) {
            self.drain(&mut *member);
        }
        self.report();
        let by = Instant::now() + self.parts.deadline;
        if let Err(error) = member.close(by) {
            tracing::warn!(%error, "the member did not leave in time");
        }
        ended
    }

    fn turn(&mut self, member: &mut dyn Member) -> Result<(), Cause> {
        let mut reported = Instant::now();
        while !self.parts.signals.stops() {
            if reported.elapsed() >= REPORT {
                self.report();
                reported = Instant::now();
            }
            let wait = self.core.next_tick(self.began.elapsed()).min(IDLE);
            member.poll(wait, self).map_err(Cause::Member)?;
            self.perform(member);
            while let Some(done) = self.restorer.next() {
                self.finished(done);
            }
            while let Some(flushed) = self.flusher.next() {
                self.flushed(flushed);
            }
            while let Ok((record, outcome)) = self.guarded.try_recv() {
                self.step(Event::Deferred(record, outcome));
            }
            self.step(Event::Tick);
            self.perform(member);
            if let Some(cause) = &self.failed {
                return Err(cause.clone());
            }
        }
        Ok(())
    }

    /// Ends what was handled: no more intake, barriers and flushes until all is durable.
    fn drain(&mut self, member: &mut dyn Member) {
        let by = Instant::now() + self.parts.deadline / 2;
        self.draining = true;
        loop {
            while let Some(flushed) = self.flusher.next() {
                self.flushed(flushed);
            }
            self.step(Event::Drain);
            self.perform(member);
            if self.core.is_settled() {
                return;
            }
            if Instant::now() >= by {
                tracing::warn!("the last barrier did not end in time; its records are read again");
                return;
            }
            if member.poll(IDLE, self).is_err() {
                return;
            }
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.began.elapsed(),
            wall: wall_clock(),
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
    }

    /// Performs what the core asked for, with what it asks for in turn.
    fn perform(&mut self, member: &mut dyn Member) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                if let Some(effect) = self.perform_own(effect, &mut *member) {
                    self.perform_at(effect, member);
                }
            }
        }
    }

    /// Performs an effect that needs no more than settling, and gives back any other.
    fn perform_own(&mut self, effect: Effect, settle: &mut dyn Settle) -> Option<Effect> {
        match effect {
            Effect::Append(appends) => self.append(appends, settle),
            Effect::Settle(unit) => {
                let settlement = self.settle(&unit, settle);
                self.step(Event::Settled(unit.id, settlement));
            }
            Effect::Abort => self.abort(settle),
            Effect::Flush(copy, frozen) => self.flush(copy, frozen),
            // One that the flusher still has was of an assignment that is over.
            Effect::Inspect(task, _) if self.flusher.has(self.own(task)) => {
                self.waiting.push(effect);
            }
            Effect::Follow(copy, _) if self.flusher.has(copy) => self.waiting.push(effect),
            Effect::Inspect(task, epoch) => {
                let copy = self.own(task);
                let store = self.reach.take(copy);
                self.restorer.inspect(copy, epoch, store);
            }
            Effect::Restore {
                task,
                epoch,
                from,
                rebuild,
            } => {
                let copy = self.own(task);
                let store = self.reach.take(copy);
                self.restorer.restore(copy, epoch, store, from, rebuild);
            }
            Effect::Follow(copy, epoch) => {
                let store = self.reach.take(copy);
                self.restorer.follow(copy, epoch, store);
            }
            Effect::Close(task) => {
                self.restorer.cancel(task);
                self.waiting.retain(|effect| match effect {
                    Effect::Inspect(of, _) => *of != task,
                    Effect::Follow(copy, _) => copy.task != task,
                    _ => true,
                });
                self.reach.stores.retain(|copy, _| copy.task != task);
                self.table_ids.retain(|copy, _| copy.task != task);
                self.reached.retain(|copy, _| copy.task != task);
            }
            Effect::Stopped(task, cause) => self.stopped(task, cause),
            Effect::Fail(cause) => {
                self.failed.get_or_insert(cause);
            }
            effect => return Some(effect),
        }
        None
    }

    fn perform_at(&mut self, effect: Effect, member: &mut dyn Member) {
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
            Effect::Rebuild => member.rebuild(),
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.failed.get_or_insert(Cause::Member(error));
        }
    }

    fn append(&mut self, appends: Appends, settle: &mut dyn Settle) {
        settle.append(&appends);
        self.core.recycle(appends);
    }

    fn settle(&self, unit: &Unit, settle: &mut dyn Settle) -> Settlement {
        let patience = if self.draining {
            self.parts.deadline / 2
        } else {
            ACKS
        };
        settle.settle(unit, Instant::now() + patience)
    }

    fn moves(&self, task: TaskId) -> bool {
        let is_move = |effect: &Effect| matches!(effect, Effect::Fetch(of, _) if *of == task);
        self.effects.iter().any(is_move)
    }

    /// The copy of the group's own table; in a stateless group it names nothing.
    fn own(&self, task: TaskId) -> CopyId {
        let own = self.parts.plan.table.as_ref();
        CopyId {
            task,
            table: own.map_or(task.lead, |table| table.topic),
        }
    }

    fn abort(&mut self, settle: &mut dyn Settle) {
        let Err(failure) = settle.abort(Instant::now() + self.parts.deadline) else {
            return;
        };
        let group = &self.parts.plan.group;
        let error = match failure {
            Failure::Fenced(reason) => LogError::Fenced {
                who: group.instance.clone(),
                reason,
            },
            failure => LogError::Client {
                what: format!("aborting a transaction of group `{}`", group.name),
                reason: failure.to_string(),
            },
        };
        self.failed.get_or_insert(Cause::Member(error));
    }

    /// Hands a store to the flusher; until it is back, a snapshot of it is read.
    fn flush(&mut self, copy: CopyId, frozen: Frozen) {
        let plan = &self.parts.plan;
        let Some((store, fingerprint)) = self.reach.take(copy).zip(plan.fingerprint(copy.table))
        else {
            return self.step(Event::Flushed(copy, Ok(())));
        };
        let stamp = Stamp {
            format: FORMAT,
            cluster: plan.cluster.clone(),
            topic_id: self.table_ids.get(&copy).cloned().unwrap_or_default(),
            partition: copy.task.partition,
            offset: frozen.offset,
            fingerprint: fingerprint.to_owned(),
            synced_at: frozen.synced_at,
        };
        match store.snapshot() {
            Ok(snapshot) => {
                self.reach.stores.insert(copy, Open::Away(snapshot));
                self.flusher.flush(Flush {
                    copy,
                    store,
                    frozen,
                    stamp,
                });
            }
            Err(error) => {
                self.reach.stores.insert(copy, Open::Here(store));
                self.step(Event::Flushed(copy, Err(error)));
            }
        }
    }

    /// Takes a store back from the flusher.
    fn flushed(&mut self, flushed: Flushed) {
        let Flushed {
            copy,
            store,
            offset,
            result,
        } = flushed;
        if !matches!(self.reach.stores.get(&copy), Some(Open::Away(_))) {
            // Its task was given back meanwhile; another assignment of it may wait for the file.
            drop(store);
            self.effects.append(&mut self.waiting);
            return;
        }
        self.reach.stores.insert(copy, Open::Here(store));
        let went_back = result.is_err() && self.went_back(copy);
        if result.is_ok() {
            self.reached.insert(copy, offset);
        }
        self.step(Event::Flushed(copy, result));
        if went_back {
            self.step(Event::Regressed(copy));
        }
    }

    /// After a failed flush: a store that reopened itself and lost commits it had answers nothing
    /// until it is opened anew, and then has to be judged again.
    fn went_back(&mut self, copy: CopyId) -> bool {
        let Some(had) = self.reached.get(&copy).copied() else {
            return false;
        };
        let Some(store) = self.reach.take(copy) else {
            return false;
        };
        let stamp = store.stamp().ok().flatten();
        if stamp.is_some_and(|stamp| stamp.offset >= had) {
            self.reach.stores.insert(copy, Open::Here(store));
            return false;
        }
        // Closed here; the restorer opens it.
        self.reached.remove(&copy);
        true
    }

    fn finished(&mut self, done: Done) {
        let Done {
            copy,
            epoch,
            store,
            found,
        } = done;
        if let Some(store) = store {
            self.reach.stores.insert(copy, Open::Here(store));
        }
        match found {
            Found::Inspected(facts) => {
                if let Ok(Some(table)) = facts.as_ref().map(|facts| facts.table.as_ref()) {
                    self.table_ids.insert(copy, table.id.clone());
                }
                self.step(Event::Inspected(copy.task, epoch, facts));
            }
            Found::Restored(reached) => {
                let reached = reached.map(|(offset, id)| {
                    self.table_ids.insert(copy, id);
                    offset
                });
                self.step(Event::Restored(copy, epoch, reached));
            }
        }
    }

    fn stopped(&mut self, task: TaskId, cause: Cause) {
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

    /// Tells the outside where each task is; what stopped stays told until it is owned anew.
    fn report(&self) {
        let group = &self.parts.plan.group;
        let mut status = self
            .parts
            .signals
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tasks: BTreeMap<_, _> = self
            .core
            .tasks()
            .map(|(id, state, positions)| {
                let stopped = status.get(&id).and_then(|task| task.stopped.clone());
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

impl Driver for Worker<'_> {
    fn event(&mut self, event: MemberEvent<'_>) {
        match event {
            MemberEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let (partition, epoch) = (assignment.task.partition, assignment.epoch.0);
                    let topic = &**self.parts.plan.group.topic(assignment.task.lead);
                    tracing::info!(topic, partition, epoch, "assigned");
                }
                self.step(Event::Assigned(assignments));
            }
            // It is about to be fetched from elsewhere: these are not the records that come next.
            MemberEvent::Batch { task, .. } if self.moves(task) => {}
            MemberEvent::Batch {
                task,
                epoch,
                topic,
                records,
            } => {
                self.step(Event::Batch {
                    task,
                    epoch,
                    topic,
                    records,
                });
            }
            MemberEvent::Lost(tasks) => {
                tracing::warn!(tasks = tasks.len(), "partitions were taken away");
                self.step(Event::Lost(tasks));
            }
            MemberEvent::Broken { task, error, .. } => self.step(Event::Broken(task, error)),
            MemberEvent::Trouble(Some(reason)) => {
                if !std::mem::replace(&mut self.trouble, true) {
                    tracing::warn!(%reason, "the log is in trouble, going on when it heals");
                }
            }
            MemberEvent::Trouble(None) => {
                if std::mem::replace(&mut self.trouble, false) {
                    tracing::info!("the log is back");
                }
            }
        }
    }

    fn revoking(&mut self, tasks: &[TaskId], settle: &mut dyn Settle) {
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
