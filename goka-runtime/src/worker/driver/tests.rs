//! Copies whose task is given back, that are damaged, or that cannot be written for a while.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::clock::Clock;
use crate::core::tests::joining_plan;
use crate::core::{CopyId, State};
use crate::log::embedded::Embedded;
use crate::log::{Assignment, Driver, Epoch, Log, Member, MemberEvent, NewTopic, Sent};
use crate::table::memory::MemoryStores;
use crate::table::redb::RedbStores;
use crate::table::{
    Checkpoint, Durability, Flow, KeyRange, SortedWrites, Store, StoreError, StoreRead, Stored,
    StoredRef, Stores,
};
use crate::worker::state::WorkerState;

/// A worker whose restores and flushes are done when they are asked for, and its member.
fn worker(log: &Arc<dyn Log>) -> (Worker, Box<dyn Member>) {
    worker_on(log, Arc::new(MemoryStores::default()))
}

fn worker_on(log: &Arc<dyn Log>, stores: Arc<dyn Stores>) -> (Worker, Box<dyn Member>) {
    worker_of(joining_plan(), log, stores)
}

fn worker_of(plan: Plan, log: &Arc<dyn Log>, stores: Arc<dyn Stores>) -> (Worker, Box<dyn Member>) {
    for (at, name) in plan.group.topics.iter().enumerate() {
        let new = NewTopic {
            name: name.to_string(),
            partitions: 1,
            compact: at == 0 || name.as_ref() == "joined",
            retention: None,
        };
        log.create(&new).unwrap();
    }
    let member = log.join(&plan.group).unwrap();
    let config = Arc::new(WorkerConfig {
        plan: Arc::new(plan),
        log: Arc::clone(log),
        stores,
        processor_state: Arc::new(()),
        lookups: Vec::new(),
        stop_timeout: Duration::from_secs(10),
        on_stop: crate::worker::OnStop::default(),
        clock: Clock::default(),
        executor: Arc::default(),
        observer: None,
        state: Arc::new(WorkerState::default()),
    });
    let mut worker = Worker::new(&config);
    worker.services.copies = CopyStores::new(config.for_restores(), 0);
    (worker, member)
}

fn turn_until(worker: &mut Worker, member: &mut dyn Member, is_so: impl Fn(&Worker) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so(worker) {
        assert!(Instant::now() < deadline, "waited in vain");
        worker.turn(member).unwrap();
    }
}

fn state(worker: &Worker) -> Option<State> {
    worker.core.tasks().next().map(|(_, state, _)| state)
}

/// Does what the restorer has to do, and what follows from it.
fn restore(worker: &mut Worker, member: &mut dyn Member) {
    while let Some(job) = worker.services.copies.next_job() {
        let event = worker.services.copies.job_ended(job);
        worker.step(event.expect("no store is rolled back"));
        worker.perform(member);
    }
}

#[test]
fn a_copy_is_followed_again_once_the_flush_of_its_last_assignment_has_ended() {
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
    let (mut worker, mut member) = worker(&log);
    let member = &mut *member;
    turn_until(&mut worker, member, |worker| {
        state(worker) == Some(State::Running)
    });
    let task = worker.core.tasks().next().unwrap().0;
    let table = worker.config.plan.joins[0].topic;
    let copy = CopyId { task, table };

    let appender = log.appender(Arc::new(|_, _| {})).unwrap();
    let sent = Sent {
        topic: "joined",
        partition: 0,
        key: Some(b"a"),
        value: Some(b"profile"),
        timestamp: 1,
        headers: &[],
    };
    let by = Instant::now() + Duration::from_secs(10);
    appender.send(sent, 0, by).unwrap();
    appender.flush(by).unwrap();
    turn_until(&mut worker, member, |worker| {
        worker.services.copies.is_flushing(copy)
    });

    // The task is taken and given again; its copy is with the flusher all the while.
    let epoch = Epoch(worker.core.epoch(task).unwrap().0 + 1);
    worker.event(MemberEvent::Lost(&[task]));
    worker.perform(member);
    let assignment = Assignment {
        task,
        epoch,
        committed: BTreeMap::new(),
    };
    worker.event(MemberEvent::Assigned(&[assignment]));
    worker.perform(member);
    restore(&mut worker, member);
    assert!(
        matches!(worker.services.copies.waiting(), [Effect::Follow(of, at)] if (*of, *at) == (copy, epoch)),
        "{:?}",
        worker.services.copies.waiting()
    );
    assert_eq!(
        state(&worker),
        Some(State::Restoring),
        "its own table is there"
    );

    let ended = worker.services.copies.next_flush().unwrap();
    assert_eq!(
        ended.events.len(),
        0,
        "the copy is that of another assignment"
    );
    worker.effects.extend(ended.waited);
    worker.perform(member);
    restore(&mut worker, member);
    assert!(worker.services.copies.waiting().is_empty());
    assert_eq!(state(&worker), Some(State::Starting));
    assert!(!worker.services.copies.is_flushing(copy));
    let store = worker.services.copies.read(copy).expect("the copy is open");
    assert_eq!(
        store.checkpoint().unwrap().unwrap().offset,
        1,
        "what was flushed"
    );
    assert!(store.get(b"a").unwrap().is_some());
}

const KEYS: i32 = 500;

/// Stores in files, and the file of the joined copy.
struct Files {
    stores: RedbStores,
    path: PathBuf,
}

impl Files {
    /// Flips a bit of every block behind the first ones, and so of what a cache does not hold.
    fn damage(&self) {
        let mut bytes = std::fs::read(&self.path).unwrap();
        for byte in bytes[4 * 4096..].iter_mut().step_by(4096) {
            *byte ^= 1;
        }
        std::fs::write(&self.path, bytes).unwrap();
    }
}

#[test]
fn a_copy_that_is_damaged_while_it_is_used_is_moved_aside_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files {
        stores: RedbStores::new(dir.path().to_owned(), 1 << 20),
        path: dir.path().join("joined@group/0.redb"),
    };
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
    let (mut worker, mut member) = worker_on(&log, Arc::new(files.stores.clone()));
    let member = &mut *member;
    turn_until(&mut worker, member, |worker| {
        state(worker) == Some(State::Running)
    });
    let task = worker.core.tasks().next().unwrap().0;
    let table = worker.config.plan.joins[0].topic;
    let copy = CopyId { task, table };
    let profiles = |worker: &mut Worker, member: &mut dyn Member, fill: u8| {
        let appender = log.appender(Arc::new(|_, _| {})).unwrap();
        let by = Instant::now() + Duration::from_secs(60);
        for key in 0..KEYS {
            let sent = Sent {
                topic: "joined",
                partition: 0,
                key: Some(&key.to_be_bytes()),
                value: Some(&[fill; 4_000]),
                timestamp: 1,
                headers: &[],
            };
            appender.send(sent, 0, by).unwrap();
        }
        appender.flush(by).unwrap();
        turn_until(worker, member, |worker| {
            let Some(store) = worker.services.copies.read(copy) else {
                return false;
            };
            let last = store.get(&(KEYS - 1).to_be_bytes());
            let has = matches!(last, Ok(Some(found)) if found.value[0] == fill);
            state(worker) == Some(State::Running)
                && has
                && !worker.services.copies.is_flushing(copy)
        });
    };
    profiles(&mut worker, member, 1);
    files.damage();
    // Its flush reads pages that the cache does not hold.
    profiles(&mut worker, member, 2);
    let kept = files.path.with_extension("redb.bad-1");
    assert!(kept.exists(), "nothing was noticed");
    assert!(!worker.services.copies.is_flushing(copy));
    let store = worker.services.copies.read(copy).expect("the copy is open");
    for key in 0..KEYS {
        let found = store.get(&key.to_be_bytes()).unwrap();
        assert_eq!(found.map(|found| found.value), Some(vec![2; 4_000]));
    }
}

/// Stores of which those of one table fail for so many calls, from a moment in each restore on.
#[derive(Debug, Clone)]
struct Failing {
    stores: MemoryStores,
    table: String,
    call: Call,
    times: Arc<AtomicUsize>,
    error: StoreError,
    aside: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Open,
    Checkpoint,
    Clear,
    Apply,
}

impl Failing {
    fn check(&self, call: Call) -> Result<(), StoreError> {
        let less = |left: usize| (self.call == call).then(|| left.checked_sub(1)).flatten();
        match self
            .times
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        {
            Ok(_) => Err(self.error.clone()),
            Err(_) => Ok(()),
        }
    }
}

impl Stores for Failing {
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let store = self.stores.open(table, partition)?;
        if table != self.table {
            return Ok(store);
        }
        self.check(Call::Open)?;
        let stores = self.clone();
        Ok(Box::new(FailingStore { store, stores }))
    }

    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
        self.aside.fetch_add(1, Ordering::Relaxed);
        self.stores.set_aside(table, partition)
    }
}

struct FailingStore {
    store: Box<dyn Store>,
    stores: Failing,
}

impl StoreRead for FailingStore {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.stores.check(Call::Checkpoint)?;
        self.store.checkpoint()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.store.get(key)
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError> {
        self.store.range(keys, each)
    }
}

impl Store for FailingStore {
    fn apply(
        &mut self,
        sorted: &dyn SortedWrites,
        checkpoint: &Checkpoint,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.stores.check(Call::Apply)?;
        self.store.apply(sorted, checkpoint, durability)
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.stores.check(Call::Clear)?;
        self.store.clear()
    }

    fn snapshot(&self) -> Result<Box<dyn StoreRead + Send>, StoreError> {
        self.store.snapshot()
    }
}

fn full() -> StoreError {
    let (path, source) = ("copy".to_owned(), "no space left".into());
    StoreError::Io { path, source }
}

fn rolled_back() -> StoreError {
    let (path, source) = ("copy".to_owned(), "no space left".into());
    StoreError::RolledBack { path, source }
}

/// Each call of a restore, of the own table and of a joined one.
fn failing(times: usize) -> impl Iterator<Item = Failing> {
    let plan = joining_plan();
    let own = plan.table.as_ref().unwrap().topic;
    let own = plan.group.topic(own).to_string();
    let calls = [
        (Call::Open, full()),
        (Call::Checkpoint, full()),
        (Call::Checkpoint, rolled_back()),
        (Call::Clear, full()),
        (Call::Clear, rolled_back()),
        (Call::Apply, full()),
        (Call::Apply, rolled_back()),
    ];
    [own, "joined@group".to_owned()]
        .into_iter()
        .flat_map(move |table| {
            calls.clone().into_iter().map(move |(call, error)| Failing {
                stores: MemoryStores::default(),
                table: table.clone(),
                call,
                times: Arc::new(AtomicUsize::new(times)),
                error,
                aside: Arc::default(),
            })
        })
}

/// Turns until the task runs, or the worker ends.
fn turn_to_an_end(plan: Plan, stores: &Failing) -> Result<(), StopReason> {
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
    let (mut worker, mut member) = worker_of(plan, &log, Arc::new(stores.clone()));
    let deadline = Instant::now() + Duration::from_secs(30);
    while state(&worker) != Some(State::Running) {
        assert!(Instant::now() < deadline, "waited in vain: {stores:?}");
        worker.turn(&mut *member)?;
    }
    Ok(())
}

#[test]
fn a_restore_whose_store_fails_for_a_while_goes_on() {
    for failing in failing(3) {
        let ended = turn_to_an_end(joining_plan(), &failing);
        assert!(ended.is_ok(), "{failing:?}: {ended:?}");
        assert_eq!(failing.times.load(Ordering::Relaxed), 0, "{failing:?}");
        assert_eq!(
            failing.aside.load(Ordering::Relaxed),
            0,
            "nothing is damaged"
        );
    }
}

#[test]
fn a_restore_whose_store_fails_for_longer_ends_with_its_error() {
    for failing in failing(usize::MAX) {
        let mut plan = joining_plan();
        plan.store_timeout = Duration::from_millis(200);
        let began = Instant::now();
        let ended = turn_to_an_end(plan, &failing);
        assert!(began.elapsed() >= Duration::from_millis(200), "{failing:?}");
        let Err(StopReason::Store(error)) = ended else {
            panic!("{failing:?}: {ended:?}");
        };
        assert_eq!(error, failing.error);
        assert_eq!(
            failing.aside.load(Ordering::Relaxed),
            0,
            "nothing is damaged"
        );
    }
}
