//! What only shows from inside: compaction and retention with clocks moved, and a disk that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::clean::clean;
use super::file::tests::Disk;
use super::shared::CLEAN_AFTER;
use super::*;
use crate::log::{CommitBatch, CommitId, Committer, Driver, Failure, Fetched, MemberEvent, Sent};
use crate::record::{Append, AppendKind, Appends, Guarantee, Record, TaskId, TopicId};

type Row = (Offset, String, Option<String>);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn table(log: &Embedded, compact: bool) {
    let new = NewTopic {
        name: "t".to_owned(),
        partitions: 1,
        compact,
        retention: None,
    };
    log.create(&new).expect("made");
}

fn change(log: &Embedded, act: impl FnOnce(&mut TopicRow)) {
    let mut state = log.shared().state();
    let row = state.topics.get_mut("t").expect("made before");
    act(Arc::make_mut(row));
}

fn put<'a>(log: &Embedded, rows: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
    let appender = log
        .appender(Arc::new(|_, outcome| {
            outcome.expect("written");
        }))
        .expect("one");
    for (key, value) in rows {
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        let sent = Sent {
            topic: "t",
            partition: 0,
            key,
            value,
            timestamp: 1,
            headers: &[],
        };
        appender.send(sent, 0, soon()).expect("there is room");
    }
    appender.flush(soon()).expect("written");
}

/// Everything from `from` to the end, which the reader's position has to reach.
fn rows(log: &Embedded, from: Offset) -> Vec<Row> {
    let tp = TopicPartition::new("t", 0);
    let end = log.ranges(std::slice::from_ref(&tp)).expect("there")[0].high;
    let mut reader = log
        .reader(&[(tp, from)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut rows = Vec::new();
    while reader.position(0) < end {
        let each = &mut |_: usize, records: &[Record<'_>]| {
            rows.extend(records.iter().map(|record| {
                (
                    record.offset,
                    text(record.key.expect("keyed")),
                    record.value.map(text),
                )
            }));
        };
        reader.poll(Duration::from_secs(1), each).expect("readable");
    }
    rows
}

fn row(offset: Offset, key: &str, value: Option<&str>) -> Row {
    (offset, key.to_owned(), value.map(str::to_owned))
}

#[test]
fn compaction_keeps_the_last_of_each_key_and_its_offset() {
    let log = Embedded::in_memory().expect("a log");
    table(&log, true);
    put(&log, [("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
    put(&log, [("c", Some("1")), ("b", None), ("c", Some("2"))]);
    clean(log.shared(), true).expect("cleaned");
    let kept = [
        row(2, "a", Some("2")),
        row(4, "b", None),
        row(5, "c", Some("2")),
    ];
    assert_eq!(rows(&log, 0), kept);
    assert_eq!(rows(&log, 3), kept[1..], "from inside a hole");
    put(&log, [("c", None), ("a", Some("3"))]);
    clean(log.shared(), true).expect("cleaned");
    assert_eq!(
        rows(&log, 0),
        [row(4, "b", None), row(6, "c", None), row(7, "a", Some("3"))]
    );
    assert_eq!(
        log.ranges(&[TopicPartition::new("t", 0)]).expect("there")[0].high,
        8
    );
}

#[test]
fn a_tombstone_goes_after_its_retention_and_the_position_still_reaches_the_end() {
    let log = Embedded::in_memory().expect("a log");
    table(&log, true);
    put(&log, [("a", Some("1")), ("b", Some("1"))]);
    put(&log, [("b", Some("2")), ("b", None)]);
    let young = rows(&log, 0);
    clean(log.shared(), true).expect("cleaned");
    assert_eq!(
        rows(&log, 0),
        [young[0].clone(), young[3].clone()],
        "kept while it is young"
    );
    change(&log, |topic| topic.delete_retention_ms = 0);
    let made = shared::now_millis();
    while shared::now_millis() <= made {
        std::hint::spin_loop();
    }
    clean(log.shared(), true).expect("cleaned");
    assert_eq!(rows(&log, 0), [young[0].clone()]);
    assert_eq!(rows(&log, 3), []);
}

#[test]
fn compaction_equals_a_fold_of_the_log() {
    let log = Embedded::in_memory().expect("a log");
    table(&log, true);
    let mut expected = BTreeMap::new();
    let mut number = 7_u64;
    let mut offset = 0;
    for _ in 0..4 {
        let mut batch = Vec::new();
        for _ in 0..4_000 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let key = (number >> 33) % 997;
            batch.push((
                format!("k{key}"),
                (!(number >> 50).is_multiple_of(5)).then(|| format!("v{offset}")),
            ));
            offset += 1;
        }
        for (at, (key, value)) in (offset - 4_000..).zip(&batch) {
            expected.insert(key.clone(), (at, value.clone()));
        }
        put(
            &log,
            batch
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_deref())),
        );
        clean(log.shared(), true).expect("cleaned");
        let mut left = rows(&log, 0);
        left.sort_by(|one, two| one.1.cmp(&two.1));
        let expected = expected
            .iter()
            .map(|(key, (at, value))| (*at, key.clone(), value.clone()));
        assert_eq!(left, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_dirty_partition_is_compacted_by_itself() {
    let log = Embedded::in_memory().expect("a log");
    table(&log, true);
    let count = CLEAN_AFTER + 10;
    put(&log, (0..count).map(|_| ("a", Some("1"))));
    let deadline = soon();
    while rows(&log, 0).len() as Offset > 1_000 {
        assert!(Instant::now() < deadline, "nothing was compacted");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(rows(&log, 0).last(), Some(&row(count - 1, "a", Some("1"))));
}

#[test]
fn old_records_go_and_offsets_stay() {
    let log = Embedded::in_memory().expect("a log");
    table(&log, false);
    put(&log, [("a", Some("1")), ("b", Some("1"))]);
    clean(log.shared(), true).expect("cleaned");
    assert_eq!(rows(&log, 0).len(), 2);
    change(&log, |topic| topic.retention_ms = Some(0));
    let made = shared::now_millis();
    while shared::now_millis() <= made {
        std::hint::spin_loop();
    }
    clean(log.shared(), true).expect("cleaned");
    let tp = TopicPartition::new("t", 0);
    let range = log.ranges(std::slice::from_ref(&tp)).expect("there")[0];
    assert_eq!((range.start, range.high), (2, 2));
    let mut reader = log
        .reader(&[(tp, 0)], Isolation::ReadCommitted)
        .expect("a reader");
    let gone = reader.poll(Duration::ZERO, &mut |_, _| {});
    assert!(
        matches!(gone, Err(LogError::OutOfRange { offset: 0, .. })),
        "{gone:?}"
    );
    put(&log, [("c", Some("1"))]);
    assert_eq!(rows(&log, 2), [row(2, "c", Some("1"))]);
}

#[test]
fn what_was_compacted_is_there_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.redb");
    let log = Embedded::open(&path).expect("a new log");
    table(&log, true);
    put(&log, [("a", Some("1")), ("a", Some("2")), ("b", None)]);
    clean(log.shared(), true).expect("cleaned");
    let kept = rows(&log, 0);
    put(&log, [("c", Some("1"))]);
    drop(log);
    let log = Embedded::open(&path).expect("opened again");
    assert_eq!(rows(&log, 0)[..2], kept);
    assert_eq!(log.shared().state().partitions[0].cleaned, 3);
}

/// Counts records, and writes down troubles and what is passed.
#[derive(Default)]
struct Notes {
    records: usize,
    passed: Vec<(Offset, Offset)>,
    troubles: Vec<bool>,
}

impl Driver for Notes {
    fn event(&mut self, event: MemberEvent<'_>) {
        match event {
            MemberEvent::OffsetGap(gap) => self.passed.push((gap.from, gap.to)),
            MemberEvent::Degraded(trouble) => self.troubles.push(trouble.is_some()),
            _ => {}
        }
    }

    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        self.records += fetched.records.len();
        fetched.records.len()
    }

    fn revoking(&mut self, _: &[TaskId], _: &mut dyn Committer) {}
}

const TASK: TaskId = TaskId {
    lead: TopicId(0),
    partition: 0,
};

/// A member that owns the only task of table `t`, which is its own input.
fn member(log: &Embedded) -> Box<dyn Member> {
    let group = Group {
        name: "g".into(),
        topics: vec!["t".into()],
        inputs: vec![TopicId(0)],
        lead: Some(TopicId(0)),
        instance: "i".to_owned(),
        worker: 0,
        session_timeout: Duration::from_secs(60),
        max_poll_interval: Duration::from_secs(300),
        guarantee: Guarantee::AtLeastOnce,
        transaction_timeout: Duration::from_secs(10),
    };
    let mut member = log.join(&group).expect("joined");
    let assigned = member.poll(Duration::from_secs(1), &mut Notes::default());
    assigned.expect("assigned");
    member
}

#[test]
fn a_member_passes_a_tail_that_was_compacted_away() {
    let log = Embedded::in_memory().expect("a log");
    table(&log, true);
    change(&log, |topic| topic.delete_retention_ms = 0);
    put(&log, [("a", Some("1")), ("b", Some("1")), ("b", None)]);
    let made = shared::now_millis();
    while shared::now_millis() <= made {
        std::hint::spin_loop();
    }
    clean(log.shared(), true).expect("cleaned");
    assert_eq!(rows(&log, 0), [row(0, "a", Some("1"))]);
    for (from, records, passed) in [(0, 1, (1, 3)), (2, 0, (2, 3))] {
        let (mut member, mut notes) = (member(&log), Notes::default());
        member.fetch(TASK, &[(TopicId(0), from)]).expect("fetched");
        for _ in 0..3 {
            let polled = member.poll(Duration::ZERO, &mut notes);
            polled.expect("goes on");
        }
        assert_eq!((notes.records, notes.passed), (records, vec![passed]));
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_one_trouble() {
    let disk = Disk::default();
    let file = disk.file().expect("a new log");
    let log = Embedded::start(file, "the log on a disk".to_owned()).expect("started");
    table(&log, true);
    put(&log, [("a", Some("1")), ("b", Some("1"))]);
    let (mut member, mut notes) = (member(&log), Notes::default());
    member.fetch(TASK, &[(TopicId(0), 0)]).expect("fetched");
    disk.fails.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let polled = member.poll(Duration::from_millis(5), &mut notes);
        polled.expect("the member waits");
    }
    assert_eq!((notes.records, &*notes.troubles), (0, &[true][..]));
    disk.fails.store(false, Ordering::Relaxed);
    let deadline = soon();
    while notes.records < 2 {
        assert!(
            Instant::now() < deadline,
            "the disk is well, yet nothing comes"
        );
        member
            .poll(Duration::from_secs(1), &mut notes)
            .expect("goes on");
    }
    let polled = member.poll(Duration::ZERO, &mut notes);
    polled.expect("goes on");
    assert_eq!(notes.troubles, [true, false]);
}

#[test]
fn an_assignment_waits_for_a_disk_that_cannot_be_read() {
    let disk = Disk::default();
    let file = disk.file().expect("a new log");
    let log = Embedded::start(file, "the log on a disk".to_owned()).expect("started");
    table(&log, true);
    put(&log, [("a", Some("1"))]);
    // Something is committed, so that there is something to read.
    drop(member(&log));
    disk.fails.store(true, Ordering::Relaxed);
    let (mut member, mut notes) = (member(&log), Notes::default());
    for _ in 0..3 {
        let polled = member.poll(Duration::from_millis(5), &mut notes);
        polled.expect("the member waits");
    }
    let fetched = member.fetch(TASK, &[(TopicId(0), 0)]);
    assert!(fetched.is_err(), "the task was not handed out");
    disk.fails.store(false, Ordering::Relaxed);
    let deadline = soon();
    while member.fetch(TASK, &[(TopicId(0), 0)]).is_err() {
        assert!(
            Instant::now() < deadline,
            "the disk is well, yet no task comes"
        );
        let polled = member.poll(Duration::from_millis(20), &mut notes);
        polled.expect("goes on");
    }
}

#[test]
fn a_disk_that_fails_and_heals_loses_nothing_acknowledged() {
    let disk = Disk::default();
    let file = disk.file().expect("a new log");
    let log = Embedded::start(file, "the log on a disk".to_owned()).expect("started");
    table(&log, true);
    let task = TASK;
    let mut member = member(&log);
    let mut settle = |value: &str, offset: Offset| {
        let mut appends = Appends::default();
        appends.push(Append {
            task,
            kind: AppendKind::Changelog,
            topic: TopicId(0),
            partition: 0,
            key: Some(value.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp: -1,
            headers: &[],
        });
        member.append(&appends);
        let unit = CommitBatch {
            id: CommitId(0),
            offsets: vec![(task, TopicId(0), offset, String::new())],
        };
        let mut settlement = member.commit(&unit, soon());
        let outcome = settlement.acks.remove(&task).expect("settled");
        if outcome.is_err() {
            assert!(
                settlement.offsets[&task].is_err(),
                "offsets go with the records"
            );
            member.rebuild().expect("rebuilt");
        }
        outcome
    };
    assert!(settle("one", 1).is_ok());
    disk.fails.store(true, Ordering::Relaxed);
    let failure = settle("two", 2).expect_err("the disk fails");
    assert!(
        matches!(failure, Failure::Unknown(_) | Failure::Retriable(_)),
        "{failure:?}"
    );
    assert!(settle("two", 2).is_err(), "still");
    disk.fails.store(false, Ordering::Relaxed);
    let acked = settle("three", 3).expect("the disk is well again");
    let (first, last, count) = acked.changelog.expect("one record");
    assert_eq!((first, count), (last, 1));
    let left = rows(&log, 0);
    assert_eq!(left.first(), Some(&row(0, "one", Some("one"))));
    assert_eq!(left.last(), Some(&row(last, "three", Some("three"))));
    let committed = log
        .committed("g", &[TopicPartition::new("t", 0)])
        .expect("told");
    assert_eq!(
        committed[0].as_ref().map(|committed| committed.offset),
        Some(3)
    );
}
