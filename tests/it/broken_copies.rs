//! Copies of tables whose disk is full for a while, or that are found damaged while they are read: what
//! views and lookups serve meanwhile, and how they recover.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, Processor, View, ViewError, ViewState};
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, NewTopic};
use goka_runtime::processor::{ProcessorError, ProcessorOptions, Running, start};
use goka_runtime::table::memory::MemoryStores;
use goka_runtime::table::{
    Checkpoint, Durability, Flow, KeyRange, SortedWrites, Store, StoreError, StoreRead, Stored,
    StoredRef, Stores,
};

use crate::support::{TIMEOUT, wait_until};

#[table("broken-places", key = String, value = String)]
#[derive(Debug)]
struct Places;

#[stream("broken-visits", key = String, value = String)]
#[derive(Debug)]
struct Visits;

/// Keeps the name of the place where each visitor was last.
#[processor(group = "broken-visitors", persist = String)]
#[input(Visits)]
#[lookup(Places)]
fn broken_visitors(ctx: &mut Context, place: String) -> Result<()> {
    let name = ctx.lookup(Places, &place)?.unwrap_or_default();
    ctx.set_value(&name)?;
    Ok(())
}

/// The fault of the copies of the table of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Nothing can be written.
    Full,
    /// Everything that is read from a copy is damaged, until the copy is moved aside.
    Damaged,
    /// The store panics.
    Panics,
}

/// Stores in memory whose copies of `broken-places` have a fault that can be set.
#[derive(Debug, Clone)]
struct Faulty {
    stores: MemoryStores,
    fault: Arc<Mutex<Fault>>,
    aside: Arc<AtomicUsize>,
}

impl Faulty {
    fn new() -> Self {
        Self {
            stores: MemoryStores::default(),
            fault: Arc::new(Mutex::new(Fault::None)),
            aside: Arc::default(),
        }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Stores for Faulty {
    fn open(&self, table: &str, partition: i32) -> std::result::Result<Box<dyn Store>, StoreError> {
        let store = self.stores.open(table, partition)?;
        if !table.starts_with("broken-places") {
            return Ok(store);
        }
        Ok(Box::new(FaultyStore {
            store,
            fault: self.fault.clone(),
        }))
    }

    fn set_aside(&self, table: &str, partition: i32) -> std::result::Result<String, StoreError> {
        self.aside.fetch_add(1, Ordering::Relaxed);
        self.set(Fault::None);
        self.stores.set_aside(table, partition)
    }
}

struct FaultyStore<S: ?Sized> {
    fault: Arc<Mutex<Fault>>,
    store: Box<S>,
}

impl<S: StoreRead + ?Sized> FaultyStore<S> {
    fn check(&self) -> std::result::Result<(), StoreError> {
        let path = "broken-places".to_owned();
        match *self.fault.lock().unwrap() {
            Fault::Damaged => Err(StoreError::Unreadable {
                path,
                source: "a checksum does not fit".into(),
            }),
            _ => Ok(()),
        }
    }
}

impl<S: StoreRead + ?Sized> StoreRead for FaultyStore<S> {
    fn checkpoint(&self) -> std::result::Result<Option<Checkpoint>, StoreError> {
        self.store.checkpoint()
    }

    fn get(&self, key: &[u8]) -> std::result::Result<Option<Stored>, StoreError> {
        self.check()?;
        self.store.get(key)
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> std::result::Result<(), StoreError> {
        self.check()?;
        self.store.range(keys, each)
    }
}

impl Store for FaultyStore<dyn Store> {
    fn apply(
        &mut self,
        sorted: &dyn SortedWrites,
        checkpoint: &Checkpoint,
        durability: Durability,
    ) -> std::result::Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::Full => Err(StoreError::Io {
                path: "broken-places".into(),
                source: "no space left on device".into(),
            }),
            Fault::Panics => panic!("the store panics"),
            _ => self.store.apply(sorted, checkpoint, durability),
        }
    }

    fn clear(&mut self) -> std::result::Result<(), StoreError> {
        self.store.clear()
    }

    fn snapshot(&self) -> std::result::Result<Box<dyn StoreRead + Send>, StoreError> {
        Ok(Box::new(FaultyStore {
            fault: self.fault.clone(),
            store: self.store.snapshot()?,
        }))
    }
}

struct Rig {
    log: Arc<dyn Log>,
    stores: Faulty,
}

impl Rig {
    fn new() -> Self {
        let log = Embedded::in_memory().unwrap();
        for (name, compact) in [("broken-places", true), ("broken-visits", false)] {
            let topic = NewTopic {
                name: name.into(),
                partitions: 1,
                compact,
                retention: None,
            };
            log.create(&topic).unwrap();
        }
        Self {
            log: Arc::new(log),
            stores: Faulty::new(),
        }
    }

    fn name(&self, place: &str, name: &str) {
        let places = Emitter::<Places>::new(self.log.clone()).unwrap();
        places.emit(place, &name.to_owned()).unwrap();
        places.close(TIMEOUT).unwrap();
    }

    fn visit(&self, visitor: &str, place: &str) {
        let visits = Emitter::<Visits>::new(self.log.clone()).unwrap();
        visits.emit(visitor, &place.to_owned()).unwrap();
        visits.close(TIMEOUT).unwrap();
    }

    fn view(&self) -> View<Places> {
        let view = View::start(self.log.clone(), Arc::new(self.stores.clone())).unwrap();
        view.wait_level(TIMEOUT).unwrap();
        view
    }

    fn start(&self) -> Running {
        let definition = BrokenVisitors::DEFINITION;
        let shared = definition.make.expect("it has a default")();
        let options = ProcessorOptions {
            barrier_interval: Duration::from_millis(20),
            ..ProcessorOptions::default()
        };
        let (log, stores) = (self.log.clone(), Arc::new(self.stores.clone()));
        start(definition, Arc::from(shared), log, stores, &options).unwrap()
    }

    /// Waits until a visitor was seen at a place of that name.
    fn wait_visitor(&self, visitor: &str, name: &str) {
        let view = View::<BrokenVisitors>::start(self.log.clone(), Arc::<MemoryStores>::default());
        let view = view.unwrap();
        wait_until("the visitor is where it went", TIMEOUT, || {
            view.get(visitor)
                .is_ok_and(|found| found.as_deref() == Some(name))
        });
    }
}

#[test]
fn a_view_whose_disk_is_full_reports_it_and_resumes_when_there_is_room() {
    let rig = Rig::new();
    rig.name("a", "old");
    let view = rig.view();
    rig.stores.set(Fault::Full);
    rig.name("a", "new");
    wait_until(
        "the view is failing",
        TIMEOUT,
        || matches!(view.state(), ViewState::Failing { reason } if reason.contains("no space left")),
    );
    assert_eq!(view.get("a").unwrap().as_deref(), Some("old"));
    rig.stores.set(Fault::None);
    wait_until("the view has the new name", TIMEOUT, || {
        view.get("a").unwrap().as_deref() == Some("new")
    });
    assert_eq!(view.state(), ViewState::Following);
    assert_eq!(rig.stores.aside.load(Ordering::Relaxed), 0);
}

#[test]
fn a_view_whose_copy_is_damaged_rebuilds_it() {
    let rig = Rig::new();
    rig.name("a", "right");
    let view = rig.view();
    rig.stores.set(Fault::Damaged);
    let error = view.get("a").unwrap_err();
    assert!(
        matches!(error, ViewError::Store(StoreError::Unreadable { .. })),
        "{error}"
    );
    wait_until("it is read again", TIMEOUT, || {
        view.get("a")
            .is_ok_and(|found| found.as_deref() == Some("right"))
    });
    assert_eq!(rig.stores.aside.load(Ordering::Relaxed), 1);
    // The new copy follows the topic.
    rig.name("a", "newer");
    view.wait_level(TIMEOUT).unwrap();
    assert_eq!(view.get("a").unwrap().as_deref(), Some("newer"));
}

#[test]
fn a_view_that_has_stopped_answers_with_an_error() {
    let rig = Rig::new();
    rig.name("a", "old");
    let view = rig.view();
    rig.stores.set(Fault::Panics);
    rig.name("a", "new");
    wait_until("it has stopped", TIMEOUT, || {
        matches!(view.state(), ViewState::Stopped { .. })
    });
    let stopped = |error: ViewError| matches!(error, ViewError::Stopped { .. });
    assert!(view.get("a").is_err_and(stopped));
    assert!(view.iter().is_err_and(stopped));
}

#[test]
fn a_handler_waits_for_a_looked_up_table_that_is_rebuilt() {
    let rig = Rig::new();
    rig.name("a", "right");
    let running = rig.start();
    rig.visit("v", "a");
    rig.wait_visitor("v", "right");
    rig.stores.set(Fault::Damaged);
    rig.visit("w", "a");
    rig.wait_visitor("w", "right");
    assert_eq!(rig.stores.aside.load(Ordering::Relaxed), 1);
    running.stop();
    running.join().unwrap();
}

#[test]
fn a_group_whose_looked_up_table_has_stopped_ends_with_an_error() {
    let rig = Rig::new();
    rig.name("a", "right");
    let running = rig.start();
    rig.visit("v", "a");
    rig.wait_visitor("v", "right");
    rig.stores.set(Fault::Panics);
    rig.name("a", "wrong");
    let error: ProcessorError = running.join().unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("broken-places") && error.contains("panicked"),
        "{error}"
    );
    // A record whose lookup failed is not handled.
    rig.visit("w", "a");
    rig.stores.set(Fault::None);
    let running = rig.start();
    rig.wait_visitor("w", "wrong");
    running.stop();
    running.join().unwrap();
}
