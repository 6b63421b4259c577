//! What all handles of one log share, under one lock: topics, groups, transactions, records in flight,
//! what cannot be reached. Time passes when the lock is taken: what was due happens then.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::faults::{Chance, Fault, Step, StepKind};
use super::groups::SimulatedGroup;
use super::history::{ClientId, Happened, Moment, RecordPlace, WrittenRecord};
use super::topics::{Body, OutOfRange, Page, Partition, Serial, Topic};
use super::transactions::Identity;
use crate::clock::Clock;
use crate::lock::lock;
use crate::log::{Isolation, LogError};
use crate::record::{Offset, Timestamp, TopicPartition};

/// How often old records are looked for: Kafka's `log.retention.check.interval.ms`.
const RETENTION_CHECK: Duration = Duration::from_secs(5 * 60);
/// How long one wait lasts at most, by the machine's clock: the end of a session wakes no one.
const SLICE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct UnderWay {
    /// The ticket under which its offset is kept, unless that was forgotten.
    pub(super) ticket: Option<u64>,
    pub(super) at: Duration,
    pub(super) client: ClientId,
    pub(super) tp: TopicPartition,
    pub(super) body: Arc<Body>,
    /// The transaction that it is of; it counts only while that is open.
    pub(super) transaction: Option<(String, Serial)>,
    /// Whether it is out of the client's hands.
    pub(super) is_sent: bool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) now: Duration,
    pub(super) wall: Timestamp,
    pub(super) topics: BTreeMap<Arc<str>, Topic>,
    pub(super) groups: BTreeMap<Arc<str>, SimulatedGroup>,
    pub(super) identities: BTreeMap<String, Identity>,
    pub(super) serials: Serial,
    /// Counts topics, members, clients, tickets.
    pub(super) numbers: u64,
    /// How many records were written.
    pub(super) written: u64,
    pub(super) clients: BTreeMap<ClientId, String>,
    pub(super) dead: BTreeSet<ClientId>,
    pub(super) chance: Chance,
    /// How long tombstones stay, if not as long as Kafka keeps them by default.
    pub(super) delete_retention: Option<Duration>,
    /// How many records are fetched at once, if not the usual number.
    pub(super) batch: Option<usize>,
    /// What happened, if that is kept.
    pub(super) history: Option<Vec<Moment>>,
    /// In the order of their sending.
    pub(super) under_way: Vec<UnderWay>,
    pub(super) arrived: BTreeMap<u64, Offset>,
    /// Until when no broker answers.
    pub(super) outage: Option<Duration>,
    /// Until when partitions have no leader.
    pub(super) leaderless: BTreeMap<TopicPartition, Duration>,
    /// Until when clients do not reach their group.
    pub(super) cut: BTreeMap<ClientId, Duration>,
    next_retention: Duration,
    /// Changes with everything that a caller may wait for.
    pub(super) version: u64,
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        self.chance.note(self.now, line);
    }

    /// Adds to the history, if that is kept.
    pub(super) fn remember(&mut self, what: impl FnOnce() -> Happened) {
        if let Some(history) = &mut self.history {
            let (at, what) = (self.now, what());
            if !matches!(what, Happened::Event(_)) {
                self.chance.note(at, || what.to_string());
            }
            history.push(Moment { at, what });
        }
    }

    /// Asks which fault is injected at a step. A fault that concerns more than this step is entered into
    /// the state, and not returned.
    pub(super) fn inject(
        &mut self,
        kind: StepKind,
        who: &str,
        client: Option<ClientId>,
        place: Option<&TopicPartition>,
    ) -> Option<Fault> {
        let fault = self.chance.ask(&Step {
            kind,
            who,
            place: place.map(|tp| (&*tp.topic, tp.partition)),
            now: self.now,
        })?;
        let now = self.now;
        match (fault, place, client) {
            (Fault::Outage(time), ..) => self.outage = self.outage.max(Some(now + time)),
            (Fault::LeaderMove(time), Some(tp), _) => {
                let until = self.leaderless.entry(tp.clone()).or_default();
                *until = (*until).max(now + time);
            }
            (Fault::Dies, _, Some(client)) => self.kill_process(client),
            (Fault::CutOff(time), _, Some(client)) => {
                let until = self.cut.entry(client).or_default();
                *until = (*until).max(now + time);
            }
            _ => return Some(fault),
        }
        self.version += 1;
        None
    }

    /// Lets what is due happen.
    fn pass(&mut self, now: Duration, wall: Timestamp) {
        (self.now, self.wall) = (now, wall);
        if let Some(until) = self.outage {
            if now < until {
                return;
            }
            self.outage = None;
            for group in self.groups.values_mut() {
                group.members.seats.all_heard(until);
            }
            self.version += 1;
        }
        let (leaderless, cut) = (self.leaderless.len(), self.cut.len());
        self.leaderless.retain(|_, until| now < *until);
        self.cut.retain(|_, until| now < *until);
        if (leaderless, cut) != (self.leaderless.len(), self.cut.len()) {
            self.version += 1;
        }
        self.arrive(|under_way| under_way.at <= now);
        self.sweep_transactions();
        self.sweep_members();
        self.expire();
    }

    fn sweep_members(&mut self) {
        let mut out = Vec::new();
        for (name, group) in &mut self.groups {
            let late = group.members.sweep(self.now);
            out.extend(late.into_iter().map(|id| (name.clone(), id)));
        }
        for (name, id) in out {
            self.version += 1;
            self.note(|| format!("{name}: member {} was silent for too long", id.0));
        }
    }

    /// Retention by age, now and then.
    fn expire(&mut self) {
        if self.now < self.next_retention {
            return;
        }
        self.next_retention = self.now + RETENTION_CHECK;
        let wall = self.wall;
        let mut struck = Vec::new();
        for (name, topic) in &mut self.topics {
            let Some(retention) = topic.info.retention.filter(|_| topic.info.policy.delete) else {
                continue;
            };
            let limit = wall.saturating_sub(millis(retention));
            for (number, partition) in topic.partitions.iter_mut().enumerate() {
                if partition.expire(limit) {
                    struck.push((name.clone(), number, partition.range().start));
                }
            }
        }
        for (name, number, start) in struck {
            self.version += 1;
            self.note(|| format!("retention: {name}[{number}] begins at {start}"));
        }
    }

    pub(super) fn is_out(&self) -> bool {
        self.outage.is_some()
    }

    /// Since when a partition can be reached: `None` is now.
    pub(super) fn away_until(&self, partition: &TopicPartition) -> Option<Duration> {
        let leaderless = self.leaderless.get(partition).copied();
        leaderless.max(self.outage)
    }

    /// Lets records arrive, in the order of their sending.
    pub(super) fn arrive(&mut self, is_due: impl Fn(&UnderWay) -> bool) {
        let (due, rest) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|under_way| is_due(under_way));
        self.under_way = rest;
        let due: Vec<UnderWay> = due;
        for record in due {
            let serial = match &record.transaction {
                Some((id, serial)) if !self.is_open(id, *serial) => continue,
                Some((_, serial)) => *serial,
                None => 0,
            };
            let client = Some(record.client);
            let offset = self.write(client, serial, &record.tp, record.body);
            if let (Some(ticket), Some(offset)) = (record.ticket, offset) {
                self.arrived.insert(ticket, offset);
            }
        }
    }

    /// Writes a record to a partition, if that exists; returns its offset.
    pub(super) fn write(
        &mut self,
        client: Option<ClientId>,
        serial: Serial,
        tp: &TopicPartition,
        body: Arc<Body>,
    ) -> Option<Offset> {
        self.written += 1;
        let topic = self.topics.get_mut(&tp.topic)?;
        let found = topic.partition_mut(tp.partition)?;
        let offset = found.append(body.clone(), serial, self.written);
        self.version += 1;
        let place = RecordPlace::of(tp, offset);
        self.remember(|| {
            Happened::Written(WrittenRecord {
                client,
                serial,
                place,
                body,
            })
        });
        Some(offset)
    }

    /// The offset of a record in flight is not asked for any more.
    pub(super) fn forget_ticket(&mut self, ticket: u64) {
        for record in &mut self.under_way {
            if record.ticket == Some(ticket) {
                record.ticket = None;
            }
        }
    }

    /// The process of a client dies, with all its clients: nothing that they do from now on arrives.
    fn kill_process(&mut self, client: ClientId) {
        let Some(who) = self.clients.get(&client).cloned() else {
            return;
        };
        let instance = |who: &str| who.split('/').nth(1).map(str::to_owned);
        let process = instance(&who);
        self.bury_named(|who| instance(who) == process);
        self.note(|| format!("{who}: dies"));
    }

    /// The same for all that live and have a name that `is_its`; says how many.
    pub(super) fn bury_named(&mut self, is_its: impl Fn(&str) -> bool) -> usize {
        let clients = self.clients.iter().filter(|(_, who)| is_its(who));
        let mut dying: Vec<ClientId> = clients.map(|(client, _)| *client).collect();
        dying.retain(|client| !self.dead.contains(client));
        self.bury(&dying);
        dying.len()
    }

    /// Nothing that these clients do from now on arrives; what is out of their hands may.
    pub(super) fn bury(&mut self, clients: &[ClientId]) {
        self.dead.extend(clients);
        self.under_way
            .retain(|under_way| under_way.is_sent || !clients.contains(&under_way.client));
    }

    /// Forgets what a client sent and asks for no more: what is out of its hands arrives, now; what
    /// is not, never.
    pub(super) fn purge(&mut self, client: ClientId) {
        self.under_way
            .retain(|under_way| under_way.is_sent || under_way.client != client);
        self.arrive(|under_way| under_way.client == client);
    }

    /// A partition, or the error that names what is missing.
    pub(super) fn partition(&self, tp: &TopicPartition) -> Result<&Partition, LogError> {
        let topic = self.topics.get(&tp.topic);
        let topic = topic.ok_or_else(|| LogError::unknown_topic(&tp.topic))?;
        let partition = topic.partition(tp.partition);
        partition.ok_or_else(|| LogError::unknown_partition(&tp.topic, tp.partition))
    }

    /// What a reader at an offset of a partition gets; `None` when there is nothing new.
    pub(super) fn read(
        &self,
        tp: &TopicPartition,
        from: Offset,
        isolation: Isolation,
        most: usize,
    ) -> Result<Option<Page>, LogError> {
        let page = self.partition(tp)?.read(from, isolation, most);
        page.map_err(|OutOfRange| LogError::out_of_range(tp, from))
    }

    /// Calls `act` with a group and the partition counts of topics.
    pub(super) fn group<R>(
        &mut self,
        name: &Arc<str>,
        act: impl FnOnce(&mut SimulatedGroup, &dyn Fn(&str) -> i32) -> R,
    ) -> R {
        let topics = &self.topics;
        let partitions = |topic: &str| topics.get(topic).map_or(0, |topic| topic.info.partitions);
        act(self.groups.entry(name.clone()).or_default(), &partitions)
    }

    /// A topic came or went: groups that take their tasks from it look again.
    pub(super) fn topic_changed(&mut self, topic: &str) {
        for group in self.groups.values_mut() {
            if group.members.follows(topic) {
                group.members.prepare();
            }
        }
        self.version += 1;
    }
}

pub(super) fn millis(time: Duration) -> Timestamp {
    Timestamp::try_from(time.as_millis()).unwrap_or(Timestamp::MAX)
}

pub(super) struct Shared {
    pub(super) clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
}

/// The locked state. Waiting threads are woken at the end if it changed.
pub(super) struct Locked<'s> {
    shared: &'s Shared,
    state: MutexGuard<'s, State>,
    version: u64,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.state.version != self.version {
            self.shared.changed.notify_all();
        }
    }
}

impl Shared {
    pub(super) fn new(clock: Clock) -> Self {
        let state = State {
            next_retention: clock.monotonic() + RETENTION_CHECK,
            ..State::default()
        };
        Self {
            clock,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Takes the lock, and lets what is due happen.
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut state = lock(&self.state);
        let version = state.version;
        state.pass(self.clock.monotonic(), self.clock.wall());
        Locked {
            shared: self,
            state,
            version,
        }
    }

    /// Waits until something changed since `version`, a moment, or until `by`; says whether there is
    /// time left to look again. With a simulated clock there never is.
    pub(super) fn wait(&self, version: u64, by: Instant) -> bool {
        let left = by.saturating_duration_since(Instant::now());
        if self.clock.is_simulated() || left.is_zero() {
            return false;
        }
        let state = lock(&self.state);
        if state.version == version {
            let waited = self.changed.wait_timeout(state, left.min(SLICE));
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        true
    }
}
