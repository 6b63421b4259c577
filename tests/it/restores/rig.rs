//! One group on one log for one case: it adds up numbers by key, and a tombstone deletes the key.
//! A *machine* is a directory that holds the group's local copies.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka::{Processor, View};
use goka_runtime::graph::Definition;
use goka_runtime::log::{Isolation, Log, NewTopic, OffsetRange, Sent};
use goka_runtime::processor::{ProcessorOptions, Running, StartError, State, start};
use goka_runtime::record::{Guarantee, TopicPartition};
use goka_runtime::table::redb::RedbStores;
use goka_runtime::table::{Checkpoint, Durability, Store, Stores};
use tempfile::TempDir;

pub use crate::support::TIMEOUT;
use crate::support::definition::renamed;
use crate::support::{events, offsets, wait_until};

/// Rows as a case writes and expects them.
pub type Rows<'a> = &'a [(&'a str, i64)];

#[stream("restores-in", key = String, value = i64)]
#[derive(Debug)]
pub struct In;

#[processor(group = "restores", persist = i64)]
#[input(In)]
fn sums(ctx: &mut Context, add: Option<i64>) -> Result<()> {
    match add {
        Some(add) => {
            ctx.update(|sum| sum.unwrap_or(0) + add)?;
        }
        None => ctx.delete()?,
    }
    Ok(())
}

/// The group of a case.
pub struct Rig {
    pub log: Arc<dyn Log>,
    pub group: String,
    pub input: String,
    pub table: String,
    /// At least once unless a case says otherwise.
    pub guarantee: Guarantee,
    definition: Definition,
}

impl Rig {
    /// The group `case`, its input made; it reads `case-in` and writes `case-state`.
    pub fn new(log: Arc<dyn Log>, case: &str) -> Self {
        let rig = Self::of_existing(log, case);
        rig.make(&rig.input, false);
        rig
    }

    /// The same for an input topic that exists already.
    pub fn of_existing(log: Arc<dyn Log>, case: &str) -> Self {
        events::listen();
        Self {
            log,
            group: case.to_owned(),
            input: format!("{case}-in"),
            table: format!("{case}-state"),
            guarantee: Guarantee::AtLeastOnce,
            definition: renamed(Sums::DEFINITION, "restores", case),
        }
    }

    pub fn make(&self, topic: &str, compact: bool) {
        let topic = NewTopic {
            name: topic.to_owned(),
            partitions: 1,
            compact,
            retention: None,
        };
        self.log.create(&topic).unwrap();
    }

    /// The same group with another processor.
    pub fn of<P: Processor>(mut self) -> Self {
        self.definition = renamed(P::DEFINITION, "restores", &self.group);
        self
    }

    /// The same group, by another client.
    pub fn beside(other: &Self, log: Arc<dyn Log>) -> Self {
        Self {
            log,
            group: other.group.clone(),
            input: other.input.clone(),
            table: other.table.clone(),
            guarantee: other.guarantee,
            definition: other.definition,
        }
    }

    /// Starts the processor on a machine.
    #[track_caller]
    pub fn start(&self, machine: &Path) -> Running {
        self.try_start(machine).unwrap()
    }

    pub fn try_start(&self, machine: &Path) -> Result<Running, StartError> {
        let shared = self.definition.make.expect("it has a default")();
        let options = ProcessorOptions {
            session_timeout: Duration::from_secs(6),
            barrier_interval: Duration::from_millis(20),
            // Shorter than the defaults, so that flushes and the end of a task whose disk is full come soon.
            flush_interval: Duration::from_millis(200),
            store_error_timeout: Duration::from_secs(5),
            // Long enough for the last flush of a stop on a slow machine.
            stop_timeout: TIMEOUT,
            guarantee: Some(self.guarantee),
            ..ProcessorOptions::default()
        };
        let (log, stores) = (Arc::clone(&self.log), Arc::new(stores(machine)));
        start(&self.definition, Arc::from(shared), log, stores, &options)
    }

    /// Lets it run on a machine until all input is counted, and stops it.
    #[track_caller]
    pub fn run(&self, machine: &Path) {
        let running = self.start(machine);
        self.wait_level(&running);
        stop(running);
    }

    #[track_caller]
    pub fn wait_level(&self, running: &Running) {
        wait_until("all input is handled", TIMEOUT, || {
            let status = running.status();
            assert!(!running.is_finished(), "{status:?}");
            // The committed offset may be that of an earlier process, so a task has to be running, too.
            status.iter().any(|task| task.state == State::Running)
                && self.committed() == Some(self.range(&self.input).high)
        });
    }

    /// Starts the group on a machine, and checks that it ends by itself with an error that has these words,
    /// without a change of offsets or of the group topic.
    #[track_caller]
    pub fn refused(&self, machine: &Path, words: &[&str]) {
        let (committed, table) = (self.committed(), self.range(&self.table));
        let running = self.start(machine);
        wait_until("it ends by itself", TIMEOUT, || running.is_finished());
        let error = running.join().unwrap_err().to_string();
        let places = [
            format!("{}[0]: ", self.table),
            format!("{}/0.redb`", self.table),
        ];
        assert!(
            places.iter().any(|place| error.contains(place)),
            "no place in: {error}"
        );
        for word in words.iter().chain([&&*self.group]) {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
        assert_eq!(self.committed(), committed, "offsets stay where they were");
        assert_eq!(self.range(&self.table), table, "nothing is written");
    }

    /// Writes the input: a number to add, or `None` to delete.
    pub fn write<'r>(&self, rows: impl IntoIterator<Item = (&'r str, Option<i64>)>) {
        self.write_to(&self.input, rows);
    }

    pub fn write_to<'r>(
        &self,
        topic: &str,
        rows: impl IntoIterator<Item = (&'r str, Option<i64>)>,
    ) {
        let delivered = Arc::new(|_, outcome: Result<(i32, i64), _>| {
            outcome.unwrap();
        });
        let appender = self.log.appender(delivered).unwrap();
        let deadline = Instant::now() + TIMEOUT;
        for (key, value) in rows {
            let value = value.map(|value| value.to_string());
            let record = record(topic, 0, key, value.as_deref());
            appender.send(record, 0, deadline).unwrap();
        }
        appender.flush(deadline).unwrap();
    }

    /// Writes one record to a partition; returns its offset.
    pub fn send(&self, topic: &str, partition: i32, key: &str, value: &str) -> i64 {
        let (report, reported) = channel();
        let delivered = Arc::new(move |_, outcome: Result<(i32, i64), _>| {
            report.send(outcome.unwrap().1).unwrap();
        });
        let appender = self.log.appender(delivered).unwrap();
        let record = record(topic, partition, key, Some(value));
        appender.send(record, 0, Instant::now() + TIMEOUT).unwrap();
        reported.recv_timeout(TIMEOUT).unwrap()
    }

    pub fn range(&self, topic: &str) -> OffsetRange {
        let partition = TopicPartition::new(topic, 0);
        self.log.ranges(&[partition]).unwrap()[0]
    }

    /// The committed offset of the input.
    pub fn committed(&self) -> Option<i64> {
        offsets::committed(&*self.log, &self.group, &self.input, 1)[0]
    }

    /// The committed records of a topic, tombstones included.
    pub fn records(&self, topic: &str) -> Vec<(String, Option<String>)> {
        let range = self.range(topic);
        let partition = TopicPartition::new(topic, 0);
        let mut reader = self
            .log
            .reader(&[(partition, range.start)], Isolation::ReadCommitted)
            .unwrap();
        let mut records = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        wait_until("all is read", TIMEOUT, || {
            let mut take = |_: usize, read: &[goka_runtime::record::Record<'_>]| {
                for record in read {
                    records.push((text(record.key.unwrap()), record.value.map(text)));
                }
            };
            reader.poll(Duration::from_millis(10), &mut take).unwrap();
            reader.position(0) >= range.high
        });
        records
    }

    /// The fold of the group topic.
    pub fn fold(&self) -> BTreeMap<String, i64> {
        let mut fold = BTreeMap::new();
        for (key, value) in self.records(&self.table) {
            match value {
                Some(value) => fold.insert(key, value.parse().unwrap()),
                None => fold.remove(&key),
            };
        }
        fold
    }

    /// Opens the local copy of a machine on which nothing runs.
    pub fn copy(&self, machine: &Path) -> Box<dyn Store> {
        stores(machine).open(&self.table, 0).unwrap()
    }

    /// The rows of the local copy of a machine.
    #[track_caller]
    pub fn rows(&self, machine: &Path) -> BTreeMap<String, i64> {
        rows_of(machine, &self.table)
    }

    #[track_caller]
    pub fn assert_rows(&self, machine: &Path, expected: Rows<'_>) {
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect();
        assert_eq!(self.rows(machine), expected, "{}: local copy", self.group);
        assert_eq!(self.fold(), expected, "{}: group topic", self.group);
    }

    /// Changes the checkpoint of the local copy of a machine.
    pub fn forge(&self, machine: &Path, change: impl FnOnce(&mut Checkpoint)) {
        let mut copy = self.copy(machine);
        let mut checkpoint = copy.checkpoint().unwrap().expect("it has a checkpoint");
        change(&mut checkpoint);
        copy.apply(&[], &checkpoint, Durability::Synced).unwrap();
    }

    /// The last log line about a restore of the group's table.
    pub fn restored(&self) -> Option<String> {
        let topic = format!("topic={:?}", self.table);
        events::line(&["restored", &topic])
    }

    /// Whether a rebuild of the group's table was logged, with this reason.
    pub fn rebuilt(&self, why: &str) -> bool {
        let place = format!("{}[0]: ", self.table);
        events::logged(&["rebuilding", &place, why])
    }
}

/// Checks the rows of a table in a view with a local copy of its own.
#[track_caller]
pub fn assert_view<T: goka::Table<Key = String, Value = i64>>(
    rig: &Rig,
    machine: &Path,
    expected: Rows<'_>,
) {
    let view = View::<T>::start(Arc::clone(&rig.log), Arc::new(stores(machine))).unwrap();
    view.wait_level(TIMEOUT).unwrap();
    let seen: Vec<_> = view.iter().unwrap().map(|row| row.unwrap()).collect();
    let seen: Vec<_> = seen.iter().map(|(key, value)| (&**key, *value)).collect();
    assert_eq!(seen, expected);
}

/// A record without headers, with the broker's timestamp.
fn record<'r>(topic: &'r str, partition: i32, key: &'r str, value: Option<&'r str>) -> Sent<'r> {
    Sent {
        topic,
        partition,
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        timestamp: -1,
        headers: &[],
    }
}

/// The rows of a table's local copy in a directory, of partition 0.
#[track_caller]
pub fn rows_of(machine: &Path, table: &str) -> BTreeMap<String, i64> {
    rows_at(machine, table, 0)
}

/// The same of any partition.
#[track_caller]
pub fn rows_at(machine: &Path, table: &str, partition: i32) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let copy = stores(machine).open(table, partition).unwrap();
    let walk = copy.range(all, &mut |key, stored| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        rows.insert(text(key), text(stored.value).parse().unwrap());
        ControlFlow::Continue(())
    });
    walk.unwrap();
    rows
}

/// A machine with an empty disk.
pub fn machine() -> TempDir {
    TempDir::with_prefix("goka-machine-").unwrap()
}

pub fn stores(machine: &Path) -> RedbStores {
    RedbStores::new(machine.to_owned(), 8 << 20)
}

#[track_caller]
pub fn stop(running: Running) {
    running.stop();
    running.join().unwrap();
}

/// Numbers to add.
pub fn adds<'r>(rows: Rows<'r>) -> impl Iterator<Item = (&'r str, Option<i64>)> {
    rows.iter().map(|(key, value)| (*key, Some(*value)))
}
