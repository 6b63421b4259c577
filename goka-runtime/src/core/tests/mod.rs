//! Drives the core without log, thread or clock: a small world that performs its effects.

mod changelog;
mod edges;
mod flushes;
mod gaps;
mod guards;
mod identities;
mod properties;
mod refusals;
mod rows;
mod rows_once;
mod scenarios;
mod transactions;
mod turns;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::task::RECOMMIT;
use super::visited_key::VisitedKey;
use super::*;
use crate::dispatch::{ContextError, Deferred, Handling, RawRecord};
use crate::log::{
    Assignment, CommitBatch, CommitOutcome, Committed, Failure, Group, OffsetGap, OffsetRange,
    TaskAcks,
};
use crate::record::{AppendKind, Guarantee, Headers, Record, Timestamp};
use crate::shared_error::HandlerError;
use crate::table::memory::MemoryStores;
use crate::table::{
    Checkpoint, Durability, FORMAT, Store, StoreError, StoreRead, Stored, StoredRef, Stores, Write,
};

pub(super) const TABLE: TopicId = TopicId(0);
pub(super) const INPUT: TopicId = TopicId(1);
pub(super) const OUTPUT: TopicId = TopicId(2);
pub(super) const FINGERPRINT: &str = "v1;key=string;value=int;partitioner=none";
const RETENTION: Duration = Duration::from_secs(86_400);

pub(super) fn task(partition: i32) -> TaskId {
    TaskId {
        lead: TABLE,
        partition,
    }
}

pub(super) fn number(bytes: &[u8]) -> Result<i64, HandlerError> {
    Ok(std::str::from_utf8(bytes)?.parse()?)
}

/// Counts records, and keeps the largest value seen: `count/max`; a tombstone deletes.
pub(super) fn fold(held: Option<&str>, value: &[u8]) -> Result<String, HandlerError> {
    let (count, max) = match held.and_then(|held| held.split_once('/')) {
        Some((count, max)) => (number(count.as_bytes())?, number(max.as_bytes())?),
        None => (0, i64::MIN),
    };
    Ok(format!("{}/{}", count + 1, max.max(number(value)?)))
}

fn handler(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let Some(value) = raw.record.value else {
        raw.scope.store(None)?;
        return Ok(());
    };
    if value == b"panic" {
        panic!("as asked");
    }
    let held = raw
        .scope
        .load()?
        .map(|held| String::from_utf8_lossy(held.value).into_owned());
    let new = match value {
        b"fail after a write" => "0/0".to_owned(),
        value => fold(held.as_deref(), value)?,
    };
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(new.as_bytes());
        Ok(())
    }))?;
    if value == b"fail after a write" {
        return Err("as asked".into());
    }
    Ok(())
}

/// The partition of a key by its first byte.
fn partition_of(key: &[u8], partitions: i32) -> i32 {
    i32::from(key.first().copied().unwrap_or_default()) % partitions
}

pub(super) fn plan(partitions: i32) -> Plan {
    Plan {
        group: Group {
            name: "group".into(),
            topics: vec!["group-state".into(), "input".into(), "output".into()],
            inputs: vec![INPUT],
            lead: Some(TABLE),
            instance: "instance".into(),
            worker: 0,
            session_timeout: Duration::from_secs(6),
            max_poll_interval: Duration::from_secs(300),
            guarantee: Guarantee::AtLeastOnce,
            transaction_timeout: Duration::from_secs(10),
        },
        cluster: "cluster".into(),
        verifies: false,
        inputs: vec![InputPlan {
            topic: INPUT,
            partitions,
            call: crate::dispatch::Call::Sync(handler),
            start: crate::graph::Start::Earliest,
            keyless: false,
            key: crate::key::format_of_key::<String>(),
            partitioner: "first-byte",
            partition_of,
        }],
        outputs: vec![OutputPlan {
            name: "output",
            topic: OUTPUT,
            partitions,
            max_message_bytes: 1 << 20,
        }],
        table: Some(TablePlan {
            topic: TABLE,
            max_message_bytes: 1 << 20,
            fingerprint: FINGERPRINT.into(),
        }),
        joins: Vec::new(),
        visits: None,
        barrier: Duration::from_millis(100),
        flush_interval: Duration::ZERO,
        flush_bytes: 1 << 20,
        store_timeout: Duration::from_secs(60),
        memory: 4 << 20,
        deaths: crate::core::deaths::Deaths::default(),
    }
}

/// A plan with a joined table, of one partition.
pub(crate) fn joining_plan() -> Plan {
    let mut plan = plan(1);
    plan.inputs[0].call = crate::dispatch::Call::Sync(edges::joining);
    plan.group
        .topics
        .extend(["group-visit".into(), "joined".into()]);
    plan.joins = vec![JoinPlan {
        name: "joined",
        topic: edges::JOINED,
        key: crate::key::format_of_key::<String>(),
        fingerprint: FINGERPRINT.into(),
    }];
    plan
}

/// The copy of a task's own table.
pub(super) fn own(task: TaskId) -> CopyId {
    CopyId { task, table: TABLE }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: Timestamp,
    pub(super) kind: Kind,
}

/// What a record of the changelog is to a reader that reads committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    /// In the open transaction.
    Open,
    Aborted,
    /// A control record.
    Marker,
}

/// How the next commit ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextCommit {
    Succeeds,
    /// So many of the records are in the log, and none is acknowledged.
    ProduceFails(usize),
    CommitFails(Failure),
    /// Every task's records are refused.
    Refused,
    /// Exactly once: the outcome is known after so many questions, and is whether it is committed.
    InDoubt(usize, bool),
}

#[derive(Default)]
struct Disk {
    stores: BTreeMap<TaskId, Box<dyn Store>>,
    deferred: Mutex<Vec<RecordId>>,
    is_unreadable: Cell<bool>,
    /// The task whose store is damaged.
    damaged: Cell<Option<TaskId>>,
    /// The time that handlers see, and how long each takes.
    clock: Cell<Duration>,
    handler_takes: Cell<Duration>,
}

/// A store of which every read fails: with `true` since it is damaged.
struct Unreadable(bool);

impl Unreadable {
    fn error(&self) -> StoreError {
        match self.0 {
            true => StoreError::Unreadable {
                path: "disk".into(),
                source: "damaged".into(),
            },
            false => full(),
        }
    }
}

impl StoreRead for Unreadable {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Err(self.error())
    }

    fn get(&self, _: &[u8]) -> Result<Option<Stored>, StoreError> {
        Err(self.error())
    }

    fn range(
        &self,
        _: crate::table::KeyRange<'_>,
        _: &mut dyn FnMut(&[u8], StoredRef<'_>) -> crate::table::Flow,
    ) -> Result<(), StoreError> {
        Err(self.error())
    }
}

fn full() -> StoreError {
    StoreError::Io {
        path: "disk".into(),
        source: "full".into(),
    }
}

impl HandlerServices for Disk {
    fn store(&self, copy: CopyId) -> Option<&dyn StoreRead> {
        if self.is_unreadable.get() {
            return Some(&Unreadable(false));
        }
        if self.damaged.get() == Some(copy.task) {
            return Some(&Unreadable(true));
        }
        let store = self.stores.get(&copy.task).filter(|_| copy.table == TABLE);
        store.map(|store| &**store as &dyn StoreRead)
    }

    fn lookup(&self, _: &'static str, _: &[u8]) -> Result<Option<Stored>, ContextError> {
        Ok(None)
    }

    fn drive(&self, _: Handling<'_>) -> Result<(), HandlerError> {
        Err("no executor here".into())
    }

    fn defer(&self, record: RecordId) -> Deferred {
        self.deferred.lock().unwrap().push(record);
        Deferred::new(|_| {})
    }

    fn began(&self, _: &RecordId) -> bool {
        false
    }

    fn ended(&self) -> Duration {
        self.clock.set(self.clock.get() + self.handler_takes.get());
        self.clock.get()
    }
}

/// A log, disks and one core.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) stores: Arc<dyn Stores>,
    open: Disk,
    pub(super) input: BTreeMap<TaskId, Vec<Row>>,
    pub(super) changelog: BTreeMap<TaskId, Vec<Row>>,
    pub(super) committed: BTreeMap<TaskId, Committed>,
    /// The identity of each input.
    pub(super) input_ids: BTreeMap<TopicId, String>,
    /// What is committed of topics beside the input.
    pub(super) others: BTreeMap<(TaskId, TopicId), Committed>,
    /// What the core asked to fetch, in order.
    pub(super) fetches: Vec<(TaskId, Vec<(TopicId, Offset)>)>,
    pub(super) follows: Vec<(CopyId, Epoch)>,
    /// The tasks that wait for whether another program uses the group's name.
    pub(super) verifies: Vec<(TaskId, Epoch)>,
    /// The flushes of joined tables, and when each copy was level then.
    pub(super) joined: Vec<(CopyId, Offset)>,
    pub(super) joined_level_at: Vec<Option<Timestamp>>,
    /// Handed to the producer and not acknowledged.
    in_flight: Vec<(TaskId, Row)>,
    fetched: BTreeMap<TaskId, Offset>,
    pub(super) next_commit: NextCommit,
    pub(super) flush_fails: bool,
    /// The next flush finds its store damaged.
    pub(super) flush_damages: bool,
    pub(super) flushes: usize,
    pub(super) stopped: Vec<(TaskId, StopReason)>,
    pub(super) failed: Option<StopReason>,
    pub(super) rebuilds: usize,
    /// The damaged stores that were moved aside.
    pub(super) set_aside: usize,
    pub(super) aborts: usize,
    /// Exactly once: the commit in doubt, and what it had acknowledged.
    in_doubt: Option<(CommitBatch, BTreeMap<TaskId, TaskAcks>)>,
    pub(super) paused: bool,
    pub(super) commits: usize,
    effects: Vec<Effect>,
    pub(super) now: Now,
    epoch: u64,
}

impl World {
    pub(super) fn new(partitions: i32, stores: Arc<dyn Stores>) -> Self {
        Self::of(plan(partitions), partitions, stores)
    }

    pub(super) fn of(plan: Plan, partitions: i32, stores: Arc<dyn Stores>) -> Self {
        let mut world = Self {
            core: Core::new(plan, false, SlowCalls::default()),
            stores,
            open: Disk::default(),
            input: (0..partitions).map(|p| (task(p), Vec::new())).collect(),
            changelog: (0..partitions).map(|p| (task(p), Vec::new())).collect(),
            committed: BTreeMap::new(),
            input_ids: BTreeMap::new(),
            others: BTreeMap::new(),
            fetches: Vec::new(),
            follows: Vec::new(),
            verifies: Vec::new(),
            joined: Vec::new(),
            joined_level_at: Vec::new(),
            in_flight: Vec::new(),
            fetched: BTreeMap::new(),
            next_commit: NextCommit::Succeeds,
            flush_fails: false,
            flush_damages: false,
            flushes: 0,
            stopped: Vec::new(),
            failed: None,
            rebuilds: 0,
            set_aside: 0,
            aborts: 0,
            in_doubt: None,
            paused: false,
            commits: 0,
            effects: Vec::new(),
            now: Now {
                monotonic: Duration::from_secs(1),
                wall: 1_000_000,
            },
            epoch: 0,
        };
        world.assign_all();
        world
    }

    pub(super) fn in_memory(partitions: i32) -> Self {
        Self::new(partitions, Arc::new(MemoryStores::default()))
    }

    pub(super) fn tasks(&self) -> Vec<TaskId> {
        self.input.keys().copied().collect()
    }

    pub(super) fn assign_all(&mut self) {
        // Kafka answers with committed offsets once no transaction is pending on them.
        while self.in_doubt.is_some() {
            self.tick();
        }
        self.epoch += 1;
        let assignments: Vec<_> = self
            .tasks()
            .into_iter()
            .map(|task| Assignment {
                task,
                epoch: Epoch(self.epoch),
                committed: self
                    .committed
                    .get(&task)
                    .map(|committed| (INPUT, committed.clone()))
                    .into_iter()
                    .chain(
                        self.others
                            .iter()
                            .filter(|((of, _), _)| *of == task)
                            .map(|((_, topic), committed)| (*topic, committed.clone())),
                    )
                    .collect(),
            })
            .collect();
        self.step(Event::Assigned(&assignments));
        self.tick();
    }

    pub(super) fn feed(&mut self, key: &str, value: Option<&str>) {
        let key = key.as_bytes().to_vec();
        let partition = partition_of(&key, i32::try_from(self.input.len()).unwrap());
        let value = value.map(|value| value.as_bytes().to_vec());
        let rows = self.input.get_mut(&task(partition)).unwrap();
        rows.push(Row {
            key,
            value,
            timestamp: 5,
            kind: Kind::Data,
        });
    }

    /// An offset of the input that holds nothing to hand over: a control record.
    pub(super) fn feed_marker(&mut self, task: TaskId) {
        self.input.get_mut(&task).unwrap().push(marker());
    }

    /// Hands the records at the next `max` offsets of each fetched input to the core.
    pub(super) fn deliver(&mut self, max: usize) {
        for (task, position) in self.fetched.clone() {
            if self.paused || !self.fetched.contains_key(&task) {
                continue;
            }
            let rows = self.input[&task].clone();
            let from = usize::try_from(position).unwrap();
            let next = rows.iter().enumerate().skip(from).take(max);
            let to = position + next.len() as Offset;
            let records: Vec<_> = next
                .filter(|(_, row)| row.kind == Kind::Data)
                .map(|(at, row)| Record {
                    offset: at as Offset,
                    timestamp: row.timestamp,
                    key: Some(&row.key),
                    value: row.value.as_deref(),
                    headers: Headers::default(),
                })
                .collect();
            let from = records.last().map_or(position, |last| last.offset + 1);
            let epoch = Epoch(self.epoch);
            self.fetched.insert(task, to);
            let taken = self.batch(Fetched {
                task,
                epoch,
                topic: INPUT,
                records: &records,
            });
            if let Some(next) = records.get(taken) {
                if let Some(at) = self.fetched.get_mut(&task).filter(|at| **at == to) {
                    *at = next.offset;
                }
                return;
            }
            if from < to {
                self.report_gap(task, INPUT, from..to);
            }
        }
    }

    /// Reports to the core that offsets hold nothing.
    pub(super) fn report_gap(
        &mut self,
        task: TaskId,
        topic: TopicId,
        nothing: std::ops::Range<Offset>,
    ) {
        let (epoch, from, to) = (Epoch(self.epoch), nothing.start, nothing.end);
        self.step(Event::OffsetGap(OffsetGap {
            task,
            epoch,
            topic,
            from,
            to,
        }));
    }

    pub(super) fn tick(&mut self) {
        self.now.monotonic += Duration::from_millis(250);
        self.now.wall += 250;
        self.step(Event::Tick);
    }

    /// The process dies: what is in memory is lost, and so many of the records in flight are written.
    pub(super) fn crash(&mut self, landed: usize) {
        for (task, row) in self.in_flight.drain(..).take(landed) {
            self.changelog.get_mut(&task).unwrap().push(row);
        }
        self.end_predecessor();
        self.open = Disk::default();
        self.fetched.clear();
        self.effects.clear();
        self.paused = false;
        self.core = Core::new(self.core.plan().clone(), false, SlowCalls::default());
    }

    /// The store loses what it had.
    pub(super) fn wipe(&mut self, task: TaskId) {
        self.open.stores.get_mut(&task).unwrap().clear().unwrap();
    }

    pub(super) fn revoke_all(&mut self) {
        let tasks = self.tasks();
        self.step(Event::Revoking(&tasks));
        self.step(Event::Revoked(&tasks));
        self.fetched.clear();
    }

    pub(super) fn lose_all(&mut self) {
        let tasks = self.tasks();
        self.step(Event::Lost(&tasks));
        self.fetched.clear();
    }

    /// Reads everything, then stops as a process does.
    pub(super) fn finish(&mut self) {
        (self.next_commit, self.flush_fails) = (NextCommit::Succeeds, false);
        for _ in 0..50 {
            self.deliver(1_000);
            self.tick();
        }
        for _ in 0..3 {
            self.step(Event::Drain);
        }
        assert!(self.core.is_durable(), "all is durable after a drain");
    }

    pub(super) fn step(&mut self, event: Event<'_>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.open.clock.set(self.now.monotonic);
        self.core
            .step(self.now, event, &self.open, &(), &mut effects);
        self.perform_all(effects);
    }

    /// Hands records to the core; gives how many it took.
    pub(super) fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        let mut effects = std::mem::take(&mut self.effects);
        self.open.clock.set(self.now.monotonic);
        let taken = self
            .core
            .batch(self.now, fetched, &self.open, &(), &mut effects);
        self.perform_all(effects);
        taken
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        self.now.monotonic = self.now.monotonic.max(self.open.clock.get());
        for effect in effects {
            self.perform(effect);
        }
        self.check();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Inspect(task, epoch) => {
                if !self.open.stores.contains_key(&task) {
                    let store = self.stores.open("group-state", task.partition).unwrap();
                    self.open.stores.insert(task, store);
                }
                let found = self.inspection(task);
                self.step(Event::Inspected(task, epoch, Ok(found)));
            }
            Effect::Verify(task, epoch) => self.verifies.push((task, epoch)),
            Effect::Restore(task, epoch, at) => {
                let reached = self.restore(task, at.from, at.rebuild.is_some());
                self.step(Event::Restored(own(task), epoch, Ok(reached)));
            }
            Effect::Fetch(task, positions) => {
                if let Some((_, at)) = positions.iter().find(|(topic, _)| *topic == INPUT) {
                    self.fetched.insert(task, *at);
                }
                self.fetches.push((task, positions));
            }
            Effect::Release(task) => {
                self.fetched.remove(&task);
            }
            Effect::Pause(paused) => self.paused = paused,
            Effect::Append(appends) => {
                for append in appends.iter().filter(|a| a.kind == AppendKind::Changelog) {
                    assert_eq!(
                        (append.topic, append.partition),
                        (TABLE, append.task.partition)
                    );
                    assert_eq!(append.headers, []);
                    let row = Row {
                        key: append.key.unwrap().to_vec(),
                        value: append.value.map(<[u8]>::to_vec),
                        timestamp: append.timestamp,
                        kind: Kind::Data,
                    };
                    self.send(append.task, row);
                }
            }
            Effect::Commit(batch) => {
                self.commits += 1;
                let outcome = match self.is_exactly_once() {
                    true => self.commit_once(&batch),
                    false => self.commit_at_least_once(&batch),
                };
                self.step(Event::CommitEnded(batch.id, outcome));
            }
            Effect::Follow(copy, epoch) => self.follows.push((copy, epoch)),
            Effect::Flush(copy, batch) => {
                let result = match copy.table {
                    TABLE => self.flush(copy.task, &batch),
                    _ => {
                        self.joined.push((copy, batch.offset));
                        self.joined_level_at.push(batch.synced_at);
                        Ok(())
                    }
                };
                self.step(Event::Flushed(copy, result));
            }
            Effect::SetAside(copy, error) => {
                assert!(matches!(error, StoreError::Unreadable { .. }));
                self.set_aside += 1;
                self.open.damaged.set(None);
                self.wipe(copy.task);
            }
            Effect::Close(task) => {
                self.open.stores.remove(&task);
            }
            Effect::RecreateProducer => self.rebuilds += 1,
            Effect::Abort => self.abort(),
            Effect::Stopped(task, cause) => self.stopped.push((task, cause)),
            Effect::Fail(cause) => self.failed = Some(cause),
        }
    }

    pub(super) fn inspection(&self, task: TaskId) -> Inspection {
        let end = |rows: &[Row]| {
            let high = rows.len() as Offset;
            OffsetRange {
                start: 0,
                stable: high,
                high,
            }
        };
        Inspection {
            checkpoint: self.open.stores[&task].checkpoint().unwrap(),
            table: Some(ChangelogInspection {
                id: "table".into(),
                range: end(&self.changelog[&task]),
                delete_retention: RETENTION,
            }),
            inputs: (1..9)
                .map(|topic| (TopicId(topic), end(&self.input[&task])))
                .collect(),
            input_ids: self.input_ids.clone(),
        }
    }

    /// Hands one record of any topic to the core.
    pub(super) fn hand(&mut self, task: TaskId, topic: TopicId, record: Record<'_>) {
        let (epoch, records) = (Epoch(self.epoch), [record]);
        self.batch(Fetched {
            task,
            epoch,
            topic,
            records: &records,
        });
    }

    /// The records whose commit a handler deferred.
    pub(super) fn deferred(&self) -> Vec<RecordId> {
        self.open.deferred.lock().unwrap().clone()
    }

    fn checkpoint(&self, task: TaskId, offset: Offset) -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            cluster: "cluster".into(),
            topic_id: "table".into(),
            partition: task.partition,
            offset,
            fingerprint: FINGERPRINT.into(),
            synced_at: self.now.wall,
        }
    }

    fn restore(&mut self, task: TaskId, from: Offset, clear: bool) -> Offset {
        let end = self.changelog[&task].len() as Offset;
        let checkpoint = self.checkpoint(task, end);
        let rows = self.changelog[&task][usize::try_from(from).unwrap()..].to_vec();
        let rows = rows.iter().filter(|row| row.kind == Kind::Data);
        let folded: BTreeMap<_, _> = rows.map(|row| (&row.key, row)).collect();
        let writes: Vec<_> = folded.into_values().map(write).collect();
        let store = self.open.stores.get_mut(&task).unwrap();
        if clear {
            store.clear().unwrap();
        }
        store
            .apply(&writes, &checkpoint, Durability::Synced)
            .unwrap();
        end
    }

    fn flush(&mut self, task: TaskId, batch: &FlushBatch) -> Result<(), StoreError> {
        self.flushes += 1;
        if self.flush_fails {
            return Err(full());
        }
        if std::mem::take(&mut self.flush_damages) {
            return Err(Unreadable(true).error());
        }
        let checkpoint = self.checkpoint(task, batch.offset);
        let Some(store) = self.open.stores.get_mut(&task) else {
            return Ok(());
        };
        store.apply(batch, &checkpoint, batch.durability)
    }

    fn commit_at_least_once(&mut self, batch: &CommitBatch) -> CommitOutcome {
        let mut outcome = CommitOutcome::default();
        let in_flight = std::mem::take(&mut self.in_flight);
        let next_commit = std::mem::replace(&mut self.next_commit, NextCommit::Succeeds);
        let landed = match &next_commit {
            NextCommit::Succeeds | NextCommit::CommitFails(_) => in_flight.len(),
            NextCommit::ProduceFails(landed) => *landed,
            NextCommit::Refused | NextCommit::InDoubt(..) => 0,
        };
        let mut acked: BTreeMap<TaskId, TaskAcks> = BTreeMap::new();
        for (task, row) in in_flight.into_iter().take(landed) {
            let log = self.changelog.get_mut(&task).unwrap();
            let at = log.len() as Offset;
            log.push(row);
            let acks = acked.entry(task).or_default();
            let (first, _, count) = acks.changelog.unwrap_or((at, at, 0));
            acks.changelog = Some((first, at, count + 1));
        }
        for (task, topic, offset, metadata) in &batch.offsets {
            if *topic != INPUT {
                let (offset, metadata) = (*offset, metadata.clone());
                self.others
                    .insert((*task, *topic), Committed { offset, metadata });
                continue;
            }
            let acks = match &next_commit {
                NextCommit::Succeeds | NextCommit::CommitFails(_) => {
                    Ok(acked.remove(task).unwrap_or_default())
                }
                NextCommit::ProduceFails(_) | NextCommit::InDoubt(..) => {
                    Err(Failure::Unknown("no ack".into()))
                }
                NextCommit::Refused => Err(Failure::Refused {
                    topic: "group-state".into(),
                    key: "a".into(),
                    reason: "too large".into(),
                }),
            };
            if acks.is_ok() {
                let committed = match &next_commit {
                    NextCommit::CommitFails(failure) => Err(failure.clone()),
                    _ => Ok(()),
                };
                if committed.is_ok() {
                    let (offset, metadata) = (*offset, metadata.clone());
                    self.committed.insert(*task, Committed { offset, metadata });
                }
                outcome.offsets.insert(*task, committed);
            }
            outcome.acks.insert(*task, acks);
        }
        outcome
    }

    /// A store is the fold of the acknowledged changelog up to its checkpoint, never ahead of it.
    fn check(&self) {
        for (task, store) in &self.open.stores {
            let Some(checkpoint) = store.checkpoint().unwrap() else {
                continue;
            };
            let log = &self.changelog[task];
            let reached = usize::try_from(checkpoint.offset).unwrap();
            assert!(reached <= log.len(), "the store is ahead of the changelog");
            assert_eq!(
                contents(&**store),
                fold_rows(&log[..reached]),
                "the store is the fold"
            );
        }
        self.check_once();
    }

    pub(super) fn table(&self, task: TaskId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        contents(&*self.open.stores[&task])
    }
}

/// A control record.
fn marker() -> Row {
    Row {
        key: Vec::new(),
        value: None,
        timestamp: 0,
        kind: Kind::Marker,
    }
}

fn write(row: &Row) -> Write<'_> {
    let value = row.value.as_deref().map(|value| StoredRef {
        timestamp: row.timestamp,
        value,
    });
    Write {
        key: &row.key,
        value,
    }
}

pub(super) fn contents(store: &dyn StoreRead) -> BTreeMap<Vec<u8>, Vec<u8>> {
    use std::ops::Bound::Unbounded;
    let mut rows = BTreeMap::new();
    store
        .range((Unbounded, Unbounded), &mut |key, stored| {
            rows.insert(key.to_vec(), stored.value.to_vec());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    rows
}

pub(super) fn fold_rows(rows: &[Row]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == Kind::Data) {
        match &row.value {
            Some(value) => table.insert(row.key.clone(), value.clone()),
            None => table.remove(&row.key),
        };
    }
    table
}

/// The fold of an input by the handler, computed directly.
pub(super) fn fold_input(rows: &[Row]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == Kind::Data) {
        match &row.value {
            Some(value) => {
                let held = table.get(&row.key).map(String::as_str);
                let new = fold(held, value).unwrap();
                table.insert(row.key.clone(), new);
            }
            None => {
                table.remove(&row.key);
            }
        }
    }
    table
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()))
        .collect()
}
