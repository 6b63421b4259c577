//! Views on the embedded log: what they serve, the age of it, and what they do while the log cannot be
//! reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, View, ViewError, ViewState};
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{
    Appender, ClusterId, Committed, Each, Group, Isolation, Log, LogError, Member, NewTopic,
    OffsetRange, OnDelivery, Reader, TopicInfo,
};
use goka_runtime::record::{Offset, TopicPartition};
use goka_runtime::table::memory::MemoryStores;
use goka_runtime::table::redb::RedbStores;
use goka_runtime::table::{StoreError, Stores};

use crate::support::{TIMEOUT, wait_until};

#[derive(Debug)]
#[table("counts", key = String, value = i64)]
struct Counts;

/// The same topic, declared with another value type.
#[derive(Debug)]
#[table("counts", key = String, value = String)]
struct OtherCounts;

fn log() -> Arc<dyn Log> {
    let log = Embedded::in_memory().expect("in memory");
    log.create(&NewTopic {
        name: "counts".into(),
        partitions: 4,
        compact: true,
        retention: None,
    })
    .expect("made");
    Arc::new(log)
}

fn put(log: &Arc<dyn Log>, entries: impl IntoIterator<Item = (String, Option<i64>)>) {
    let counts = Emitter::<Counts>::new(log.clone()).expect("made");
    for (key, value) in entries {
        match value {
            Some(value) => counts.emit(key, &value).expect("sent"),
            None => counts.emit_tombstone(key).expect("sent"),
        };
    }
    counts.close(TIMEOUT).expect("delivered");
}

fn key(number: i64) -> String {
    format!("user-{number:04}")
}

fn collected(entries: Result<goka::Entries<Counts>, ViewError>) -> Vec<(String, i64)> {
    entries
        .expect("ready")
        .collect::<Result<_, _>>()
        .expect("read")
}

#[test]
fn a_view_serves_the_rows_of_the_topic_in_key_order() {
    let log = log();
    put(&log, (0..2_000).map(|number| (key(number), Some(number))));
    let view =
        View::<Counts>::start(log.clone(), Arc::new(MemoryStores::default())).expect("started");
    view.wait_ready(TIMEOUT).expect("ready");
    assert_eq!(view.get("user-0007").expect("read"), Some(7));
    assert_eq!(view.get("nobody").expect("read"), None);

    let all = collected(view.iter());
    assert!(all.len() == 2_000 && all.is_sorted());
    let some = collected(view.range(key(10)..key(13)));
    assert_eq!(some, [(key(10), 10), (key(11), 11), (key(12), 12)]);
    assert_eq!(collected(view.prefix("user-199")).len(), 10);
    assert!(collected(view.range(key(5)..key(3))).is_empty());

    let walk = view.iter().expect("ready");
    put(&log, (0..1_000).map(|number| (key(number), None)));
    put(&log, [("new".to_owned(), Some(-1))]);
    view.wait_level(TIMEOUT).expect("level");
    assert_eq!(view.get("user-0007").expect("read"), None);
    assert_eq!(view.get("new").expect("read"), Some(-1));
    assert_eq!(collected(view.iter()).len(), 1_001);
    assert_eq!(
        walk.count(),
        1_001,
        "an iterator reads the rows that are there when it gets to them"
    );
}

#[test]
fn an_iterator_that_stays_open_returns_each_key_once() {
    const KEYS: i64 = 1_000;
    let log = log();
    let rows = Emitter::<OtherCounts>::new(log.clone()).expect("made");
    let write = |round: u8| {
        let value = String::from_utf8(vec![b'0' + round; 4_096]).expect("text");
        for number in 0..KEYS {
            rows.emit(key(number), &value).expect("sent");
        }
        rows.flush(TIMEOUT).expect("delivered");
    };
    write(0);
    let temp = tempfile::tempdir().expect("a directory");
    let stores = Arc::new(RedbStores::new(temp.path().to_owned(), 16 << 20));
    let view = View::<OtherCounts>::start(log.clone(), stores).expect("started");
    view.wait_level(TIMEOUT).expect("level");
    let mut walk = view.iter().expect("ready");
    let mut seen = vec![walk.next().expect("an entry").expect("read")];
    for round in 1..=3 {
        write(round);
        view.wait_level(TIMEOUT).expect("level");
    }
    seen.extend(walk.map(|entry| entry.expect("read")));
    let keys: Vec<_> = seen.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, (0..KEYS).map(key).collect::<Vec<_>>());
    let (first, last) = (&seen[0].1, &seen[seen.len() - 1].1);
    assert!(
        first.starts_with('0') && last.starts_with('3'),
        "{first} {last}"
    );
    for (key, value) in &seen {
        let same = value.bytes().all(|byte| byte == value.as_bytes()[0]);
        assert!(same && value.len() == 4_096, "{key}: {value}");
    }
}

#[test]
fn a_second_view_of_a_table_is_refused_and_the_first_can_be_cloned() {
    let log = log();
    put(&log, [(key(1), Some(1))]);
    let temp = tempfile::tempdir().expect("a directory");
    let files =
        || -> Arc<dyn Stores> { Arc::new(RedbStores::new(temp.path().to_owned(), 1 << 20)) };
    let memory: Arc<dyn Stores> = Arc::new(MemoryStores::default());
    let on_disk = files();
    for (stores, same) in [
        (memory.clone(), memory),
        (on_disk.clone(), on_disk),
        (files(), files()),
    ] {
        let view = View::<Counts>::start(log.clone(), stores).expect("started");
        let refused = View::<Counts>::start(log.clone(), same.clone()).expect_err("in use");
        assert!(
            matches!(&refused, ViewError::InUse { topic } if topic == "counts"),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(
            text.contains("this program has a view of `counts` already"),
            "{text}"
        );
        let clone = view.clone();
        drop(view);
        clone.wait_level(TIMEOUT).expect("level");
        assert_eq!(clone.get(key(1)), Ok(Some(1)));
        View::<Counts>::start(log.clone(), same.clone()).expect_err("a clone has it");
        drop(clone);
        View::<Counts>::start(log.clone(), same).expect("free");
    }
    // Another user of the store, which is not a view.
    let held = files().open("counts", 0).expect("free");
    let refused = View::<Counts>::start(log, files()).expect_err("in use");
    assert!(
        matches!(refused, ViewError::Store(StoreError::Locked { .. })),
        "{refused}"
    );
    drop(held);
}

#[test]
fn a_view_catches_up_from_its_copy() {
    let log = log();
    let temp = tempfile::tempdir().expect("a directory");
    for round in 1..=3 {
        put(
            &log,
            (0..100).map(|number| (key(number), Some(number * round))),
        );
        let stores = Arc::new(RedbStores::new(temp.path().to_owned(), 16 << 20));
        let view = View::<Counts>::start(log.clone(), stores).expect("started");
        view.wait_level(TIMEOUT).expect("level");
        assert_eq!(view.get(key(7)).expect("read"), Some(7 * round));
        assert_eq!(collected(view.iter()).len(), 100);
    }
    let stores = Arc::new(RedbStores::new(temp.path().to_owned(), 16 << 20));
    // A copy of the table under another declaration is rebuilt from the topic.
    let view = View::<OtherCounts>::start(log, stores).expect("started");
    view.wait_level(TIMEOUT).expect("level");
    assert_eq!(view.get(key(7)).expect("read").as_deref(), Some("21"));
}

#[processor(group = "never-run", persist = i64)]
#[input("never-written")]
fn never_run(ctx: &mut Context, value: i64) -> Result<()> {
    ctx.set_value(&value)?;
    Ok(())
}

/// On the embedded log the topic of a declared table is created by a view, that of a group table only by its
/// processor.
#[test]
fn the_table_of_a_group_that_never_ran_is_refused() {
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().expect("in memory"));
    let stores = Arc::new(MemoryStores::default());
    let refused = View::<NeverRun>::start(log.clone(), stores.clone()).expect_err("no topic");
    assert!(
        matches!(refused, ViewError::MissingTable { .. }),
        "{refused}"
    );
    let declared = View::<Counts>::start(log, stores).expect("made");
    declared.wait_ready(TIMEOUT).expect("ready");
    assert_eq!(declared.get("alice").expect("read"), None);
}

#[test]
fn a_view_serves_while_the_log_is_unreachable_and_catches_up_later() {
    let inner = log();
    put(&inner, (0..100).map(|number| (key(number), Some(number))));
    let away = Arc::new(AtomicBool::new(false));
    let log: Arc<dyn Log> = Arc::new(Flaky {
        log: inner.clone(),
        away: away.clone(),
    });
    let view = View::<Counts>::start(log, Arc::new(MemoryStores::default())).expect("started");
    view.wait_ready(TIMEOUT).expect("ready");

    away.store(true, Ordering::Release);
    wait_until("the view is away", TIMEOUT, || {
        matches!(view.state(), ViewState::Away { .. })
    });
    put(&inner, [(key(1), Some(-1))]);
    let read = view.read(key(1)).expect("still served");
    assert_eq!(read.value, Some(1));
    assert!(matches!(read.state, ViewState::Away { .. }));
    assert!(read.timestamp.is_some() && read.offset > 0);
    let later = view.read(key(1)).expect("still served");
    assert!(later.age >= read.age);

    away.store(false, Ordering::Release);
    wait_until("the view has the new value", TIMEOUT, || {
        view.get(key(1)) == Ok(Some(-1))
    });
    assert_eq!(view.state(), ViewState::Following);
}

/// A log that can be unreachable.
#[derive(Debug)]
struct Flaky {
    log: Arc<dyn Log>,
    away: Arc<AtomicBool>,
}

impl Flaky {
    fn reachable(&self) -> Result<&dyn Log, LogError> {
        check(&self.away).map(|()| &*self.log)
    }
}

fn check(away: &AtomicBool) -> Result<(), LogError> {
    if away.load(Ordering::Acquire) {
        return Err(LogError::Unreachable {
            brokers: "here".into(),
            reason: "it is away".into(),
        });
    }
    Ok(())
}

impl Log for Flaky {
    fn describe_self(&self) -> String {
        self.log.describe_self()
    }
    fn creates_streams(&self) -> bool {
        self.log.creates_streams()
    }
    fn join(&self, group: &Group) -> Result<Box<dyn Member>, LogError> {
        self.reachable()?.join(group)
    }
    fn appender(&self, delivered: OnDelivery) -> Result<Box<dyn Appender>, LogError> {
        self.reachable()?.appender(delivered)
    }
    fn reader(
        &self,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(FlakyReader {
            reader: self.reachable()?.reader(from, isolation)?,
            away: self.away.clone(),
        }))
    }
    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        self.reachable()?.describe(topics)
    }
    fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetRange>, LogError> {
        self.reachable()?.ranges(partitions)
    }
    fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.reachable()?.create(topic)
    }
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError> {
        self.reachable()?.committed(group, partitions)
    }
    fn cluster(&self) -> Result<ClusterId, LogError> {
        self.reachable()?.cluster()
    }
}

struct FlakyReader {
    reader: Box<dyn Reader>,
    away: Arc<AtomicBool>,
}

impl Reader for FlakyReader {
    fn poll(&mut self, max: Duration, each: Each<'_>) -> Result<(), LogError> {
        check(&self.away)?;
        self.reader.poll(max, each)
    }
    fn position(&mut self, index: usize) -> Offset {
        self.reader.position(index)
    }
}
