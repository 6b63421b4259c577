//! 200 flipped bits in the files of a view, of a looked-up table and of a joined one, one bit in each
//! partition's file per start: no read returns a wrong value, and damaged copies are rebuilt.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, Processor, Topic, View, ViewError};
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, NewTopic};
use goka_runtime::processor::{ProcessorOptions, Running, start};
use goka_runtime::record::TopicPartition;
use goka_runtime::simulation::Dice;
use goka_runtime::table::redb::RedbStores;
use goka_runtime::table::{Flow, StoreError, Stores};

use crate::support::{TIMEOUT, wait_until};

const PARTITIONS: i32 = 8;
const FLIPS: usize = 200;
const ROWS: usize = 800;
const BLOCK: usize = 4096;

#[table("flipped-rows", key = String, value = String)]
#[derive(Debug)]
struct Rows;

/// Requests to look up the row whose key is the value.
#[stream("flipped-lookups", key = String, value = String)]
#[derive(Debug)]
struct Lookups;

/// Requests to join the row of the same key.
#[stream("flipped-joins", key = String, value = String)]
#[derive(Debug)]
struct Joins;

fn key(row: usize) -> String {
    format!("row {row:05}")
}

fn row(key: &str) -> usize {
    key["row ".len()..].parse().unwrap()
}

/// Values have different lengths; one in a hundred is longer than a block.
fn value(row: usize) -> String {
    let long = if row.is_multiple_of(100) { 6_000 } else { 40 };
    format!("{row}:").repeat(1 + row % 5) + &"x".repeat(long)
}

/// How many values that handlers read were right, and those that were wrong.
struct Seen {
    right: AtomicUsize,
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    const fn new() -> Self {
        Self {
            right: AtomicUsize::new(0),
            wrong: Mutex::new(Vec::new()),
        }
    }

    fn check(&self, key: &str, found: Option<&str>) {
        if found == Some(&value(row(key))) {
            self.right.fetch_add(1, Ordering::Relaxed);
        } else {
            self.wrong.lock().unwrap().push(format!("{key}: {found:?}"));
        }
    }
}

static LOOKED_UP: Seen = Seen::new();
static JOINED: Seen = Seen::new();

#[processor(group = "flipped-looker")]
#[input(Lookups)]
#[lookup(Rows)]
fn flipped_looker(ctx: &mut Context, key: String) -> Result<()> {
    let found = ctx.lookup(Rows, &key)?;
    LOOKED_UP.check(&key, found.as_deref());
    Ok(())
}

#[processor(group = "flipped-joiner", persist = String)]
#[join(Rows)]
#[input(Joins)]
fn flipped_joiner(ctx: &mut Context, _request: String) -> Result<()> {
    let found = ctx.join(Rows)?;
    JOINED.check(ctx.key(), found.as_deref());
    Ok(())
}

struct Rig {
    log: Arc<dyn Log>,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let log = Embedded::in_memory().unwrap();
        for (name, compact) in [
            ("flipped-rows", true),
            ("flipped-lookups", false),
            ("flipped-joins", false),
        ] {
            let topic = NewTopic {
                name: name.into(),
                partitions: PARTITIONS,
                compact,
                retention: None,
            };
            log.create(&topic).unwrap();
        }
        let rig = Self {
            log: Arc::new(log),
            dir: tempfile::tempdir().unwrap(),
        };
        rig.emit::<Rows>((0..ROWS).map(|row| (key(row), value(row))));
        rig
    }

    fn emit<T: Topic<Key = String, Value = String>>(
        &self,
        records: impl Iterator<Item = (String, String)>,
    ) {
        let topic = Emitter::<T>::new(self.log.clone()).unwrap();
        for (key, value) in records {
            topic.emit(&key, &value).unwrap();
        }
        topic.close(TIMEOUT).unwrap();
    }

    fn stores(&self) -> Arc<RedbStores> {
        Arc::new(RedbStores::new(self.dir.path().to_owned(), 8 << 20))
    }

    fn start<P: Processor>(&self) -> Running {
        let shared = P::DEFINITION.make.expect("it has a default")();
        let options = ProcessorOptions {
            barrier_interval: Duration::from_millis(5),
            ..ProcessorOptions::default()
        };
        let (log, stores) = (self.log.clone(), self.stores());
        start(P::DEFINITION, Arc::from(shared), log, stores, &options).unwrap()
    }

    /// Waits until a group has committed all of its input.
    fn wait_handled(&self, group: &str, input: &str) {
        let partitions: Vec<_> = (0..PARTITIONS)
            .map(|partition| TopicPartition::new(input, partition))
            .collect();
        let ends = self.log.ranges(&partitions).unwrap();
        let ends: Vec<_> = ends.iter().map(|range| range.high).collect();
        wait_until("its input is handled", TIMEOUT, || {
            let committed = self.log.committed(group, &partitions).unwrap();
            let committed = committed.into_iter().map(|at| at.map_or(0, |at| at.offset));
            committed.collect::<Vec<_>>() == ends
        });
    }

    /// Handles one request for each row, and checks the values that were found.
    fn ask<P: Processor, T: Topic<Key = String, Value = String>>(&self, seen: &Seen) {
        let before = seen.right.load(Ordering::Relaxed);
        let requests = (0..ROWS).map(|row| (key(row), key(row)));
        self.emit::<T>(requests);
        let running = self.start::<P>();
        self.wait_handled(P::DEFINITION.graph.group, T::NAME);
        running.stop();
        running.join().unwrap();
        let wrong = seen.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");
        let right = seen.right.load(Ordering::Relaxed) - before;
        assert!(right >= ROWS, "{right}");
    }

    /// Reads every row by its key and by an iterator. Errors of the damaged copy are retried until it is
    /// rebuilt.
    fn view(&self) {
        let view = View::<Rows>::start(self.log.clone(), self.stores()).unwrap();
        let is_passing = |error: &ViewError| {
            matches!(
                error,
                ViewError::NotReady { .. } | ViewError::Store(StoreError::Unreadable { .. })
            )
        };
        let expected: BTreeMap<_, _> = (0..ROWS).map(|row| (key(row), value(row))).collect();
        let gets = || {
            for (key, value) in &expected {
                assert_eq!(view.get(key)?.as_ref(), Some(value), "{key}");
            }
            Ok(())
        };
        let walk = || {
            let mut found = BTreeSet::new();
            for entry in view.iter()? {
                let (key, value) = entry?;
                assert_eq!(Some(&value), expected.get(&key), "{key}");
                found.insert(key);
            }
            assert_eq!(found.len(), ROWS);
            Ok(())
        };
        let reads: [&dyn Fn() -> Result<(), ViewError>; 2] = [&gets, &walk];
        for read in reads {
            wait_until("the copy is read", TIMEOUT, || match read() {
                Ok(()) => true,
                Err(error) => {
                    assert!(is_passing(&error), "{error}");
                    false
                }
            });
        }
    }

    /// The file of a copy.
    fn file(&self, table: &str, partition: i32) -> PathBuf {
        self.dir
            .path()
            .join(table)
            .join(format!("{partition}.redb"))
    }

    /// The rows in a file of a copy.
    fn rows(&self, table: &str, partition: i32) -> BTreeMap<String, String> {
        let store = self.stores().open(table, partition).unwrap();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let mut rows = BTreeMap::new();
        let read = store.range(everything, &mut |key, stored| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            rows.insert(text(key), text(stored.value));
            Flow::Continue(())
        });
        read.unwrap();
        rows
    }

    /// Flips a bit in each file of an undamaged copy and reads the copy, again and again until there were
    /// `FLIPS`. A file whose damage was noticed has all rows again afterwards.
    fn flip(&self, table: &str, read: impl Fn()) {
        read();
        let expected: Vec<_> = (0..PARTITIONS).map(|at| self.rows(table, at)).collect();
        let rows = expected.iter().flatten();
        assert!(rows.clone().all(|(key, found)| *found == value(row(key))));
        assert_eq!(rows.count(), ROWS);
        let files: Vec<_> = (0..PARTITIONS)
            .map(|partition| self.file(table, partition))
            .collect();
        let whole: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        let mut dice = Dice::new(11);
        let (mut flips, mut noticed) = (0, 0);
        while flips < FLIPS {
            let mut places = Vec::new();
            for (file, whole) in files.iter().zip(&whole) {
                let (at, bit) = place(&mut dice, flips, whole.len());
                let mut bytes = whole.clone();
                bytes[at] ^= bit;
                fs::write(file, bytes).unwrap();
                places.push((at, bit));
                flips += 1;
            }
            eprintln!("bytes and bits of {table}: {places:?}");
            read();
            for ((partition, file), expected) in (0..).zip(&files).zip(&expected) {
                if was_set_aside(file) {
                    noticed += 1;
                    assert_eq!(self.rows(table, partition), *expected);
                }
            }
        }
        assert!(noticed > FLIPS / 4, "{noticed} noticed");
        eprintln!("{table}: {noticed} of {flips} flipped bits were noticed");
    }
}

/// A byte and a bit in a file of `len` bytes. Every fifth is in the first blocks, where checksums and redb's
/// header are.
fn place(dice: &mut Dice, flip: usize, len: usize) -> (usize, u8) {
    let mut below = |end: usize| usize::try_from(dice.below(end as u64)).unwrap();
    let (start, end) = match flip % 10 {
        0 => (0, (16 * BLOCK).min(len)),
        1 => (3 * BLOCK, (4 * BLOCK).min(len)),
        _ => (0, len),
    };
    (start + below(end - start), 1 << below(8))
}

/// Whether the file was moved aside; removes the files that were.
fn was_set_aside(file: &Path) -> bool {
    let name = format!("{}.bad-", file.file_name().unwrap().to_str().unwrap());
    let beside = fs::read_dir(file.parent().unwrap()).unwrap();
    let aside = beside.map(|entry| entry.unwrap());
    let aside: Vec<_> = aside
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with(&name))
        .collect();
    aside
        .iter()
        .for_each(|entry| fs::remove_file(entry.path()).unwrap());
    !aside.is_empty()
}

#[test]
fn flipped_bits_in_a_view_are_never_returned() {
    let rig = Rig::new();
    rig.flip("flipped-rows", || rig.view());
}

#[test]
fn flipped_bits_in_a_looked_up_table_are_never_returned() {
    let rig = Rig::new();
    rig.flip("flipped-rows@lookup", || {
        rig.ask::<FlippedLooker, Lookups>(&LOOKED_UP)
    });
}

#[test]
fn flipped_bits_in_a_joined_table_are_never_returned() {
    let rig = Rig::new();
    rig.flip("flipped-rows@flipped-joiner", || {
        rig.ask::<FlippedJoiner, Joins>(&JOINED);
    });
}
