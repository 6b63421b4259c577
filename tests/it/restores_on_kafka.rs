//! Restores after changes that only a broker makes: control records and open transactions at the end of a
//! topic, compaction, deleted records, a recreated topic, deleted offsets, a truncated log. Most cases wait
//! for the broker, so they share one and run side by side.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use goka::View;
use goka::prelude::*;
use goka_runtime::log::Log;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::restores::rig::*;
use crate::support::cases::{Case, run_side_by_side};
use crate::support::kafka::{Broker, another};
use crate::support::program::Program;
use crate::support::{block_on, events, kafka_log, offsets, unique, wait_until};

const FREQUENT_CLEANING: &[(&str, &str)] = &[
    ("log.cleaner.backoff.ms", "100"),
    ("log.retention.check.interval.ms", "300"),
    ("log.initial.task.delay.ms", "100"),
    ("log.cleaner.threads", "2"),
];

/// The settings of a group topic that the cleaner compacts at once.
const COMPACTED_AT_ONCE: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "200"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("max.compaction.lag.ms", "1"),
];

fn log(broker: &Broker) -> Arc<dyn Log> {
    Arc::new(kafka_log(broker.bootstrap()))
}

#[test]
fn restores_after_changes_of_a_topic() {
    let cases: &[Case<Rig>] = &[
        ("tail-aborted", a_tail_of_an_aborted_transaction),
        ("tail-committed", a_tail_of_a_committed_transaction),
        ("tail-open", an_open_transaction_is_waited_for),
        ("compacted", a_compacted_tail),
        ("prefix-deleted", a_copy_behind_a_deleted_prefix),
        ("made-again", a_recreated_group_topic),
        ("offline", a_copy_offline_longer_than_tombstones_are_kept),
        ("no-offsets", a_group_without_its_offsets),
        ("one-offset-gone", a_known_input_without_its_offset),
        ("input-gone", an_input_that_lost_records),
    ];
    let Some(broker) = another(FREQUENT_CLEANING) else {
        return;
    };
    run_side_by_side(&broker, cases, |name| Rig::new(log(&broker), name));
}

/// A transactional producer of another program.
fn transactional(broker: &Broker) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("transactional.id", unique("foreign"))
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, key: &str, value: &str) {
    let record = BaseRecord::to(topic).partition(0).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(TIMEOUT).unwrap();
}

/// Deletes the records before `offset`. Of a compacted topic a broker does so only while its policy also
/// has `delete`, so that is set meanwhile.
fn delete_records(broker: &Broker, topic: &str, offset: i64) {
    let compacts = topic.ends_with("-state");
    if compacts {
        broker.configure(topic, "cleanup.policy", "compact,delete");
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    let deleted = block_on(broker.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    for deleted in deleted.elements() {
        deleted.error().unwrap();
    }
    if compacts {
        broker.configure(topic, "cleanup.policy", "compact");
    }
}

fn describe(log: &dyn Log, topic: &str) -> Option<String> {
    log.describe(&[topic])
        .unwrap()
        .remove(0)
        .map(|info| info.id)
}

/// Checks that a restore onto an empty machine reached the end of the topic, whose last offsets hold no
/// record.
#[track_caller]
fn assert_end_is_reached(rig: &Rig, records: usize) {
    let end = rig.range(&rig.table).high;
    let line = rig.restored().expect("a restore was logged");
    let expected = format!("from=0 end={end} records={records}");
    assert!(line.contains(&expected), "`{expected}` in {line}");
    assert!(i64::try_from(records).unwrap() < end);
}

fn a_tail_of_an_aborted_transaction(broker: &Broker, rig: Rig) {
    let (here, empty) = (machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(here.path());
    let foreign = transactional(broker);
    for _ in 0..3 {
        foreign.begin_transaction().unwrap();
        send(&foreign, &rig.table, "a", "999");
        foreign.abort_transaction(TIMEOUT).unwrap();
    }
    rig.run(empty.path());
    assert_end_is_reached(&rig, 2);
    rig.assert_rows(empty.path(), &[("a", 1), ("b", 2)]);
    // A copy that ends before the aborted records catches up beyond them, too.
    rig.write(adds(&[("a", 10)]));
    rig.run(here.path());
    let line = rig.restored().expect("a restore was logged");
    assert!(line.contains("from=2 end=8 records=0"), "{line}");
    rig.assert_rows(here.path(), &[("a", 11), ("b", 2)]);
}

fn a_tail_of_a_committed_transaction(broker: &Broker, rig: Rig) {
    let (here, empty) = (machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(here.path());
    let foreign = transactional(broker);
    foreign.begin_transaction().unwrap();
    send(&foreign, &rig.table, "c", "30");
    foreign.commit_transaction(TIMEOUT).unwrap();
    for machine in [&here, &empty] {
        rig.run(machine.path());
        let end = rig.range(&rig.table).high;
        assert_eq!(end, 4, "two rows, a foreign record, a control record");
        let checkpoint = rig.copy(machine.path()).checkpoint().unwrap().unwrap();
        assert_eq!(
            checkpoint.offset, end,
            "the copy is behind the control record"
        );
        rig.assert_rows(machine.path(), &[("a", 1), ("b", 2), ("c", 30)]);
    }
    assert_end_is_reached(&rig, 3);
}

fn an_open_transaction_is_waited_for(broker: &Broker, rig: Rig) {
    let (here, empty) = (machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(here.path());
    let foreign = transactional(broker);
    for (commits, rows) in [
        (true, &[("a", 1), ("b", 2), ("c", 30)][..]),
        (false, &[("a", 11), ("b", 2), ("c", 30)][..]),
    ] {
        let (start, disk) = match commits {
            true => (2, &here),
            false => (0, &empty),
        };
        foreign.begin_transaction().unwrap();
        send(
            &foreign,
            &rig.table,
            "c",
            if commits { "30" } else { "999" },
        );
        let stable = rig.range(&rig.table).stable;
        let running = rig.start(disk.path());
        if commits {
            let topic = format!("topic={:?}", rig.table);
            let places = format!("partition=0 position={start} target=3");
            wait_until("the watchdog reports it", TIMEOUT, || {
                events::logged(&["restore makes no progress", &topic, &places])
            });
        } else {
            let place = format!("{}[0]: ", rig.table);
            wait_until("it restores", TIMEOUT, || {
                events::logged(&["rebuilding", &place, "no local copy yet"])
            });
        }
        assert!(rig.range(&rig.table).stable == stable && !running.is_finished());
        let before = rig.restored();
        match commits {
            true => foreign.commit_transaction(TIMEOUT).unwrap(),
            false => foreign.abort_transaction(TIMEOUT).unwrap(),
        }
        wait_until("the restore ends", TIMEOUT, || rig.restored() != before);
        rig.wait_level(&running);
        stop(running);
        if !commits {
            rig.write(adds(&[("a", 10)]));
            rig.run(disk.path());
        }
        rig.assert_rows(disk.path(), rows);
    }
}

fn a_compacted_tail(broker: &Broker, rig: Rig) {
    let (here, empty) = (machine(), machine());
    broker.create_topic(&rig.table, 1, COMPACTED_AT_ONCE);
    for _ in 0..5 {
        rig.write(adds(&[("a", 1), ("b", 2), ("c", 3)]));
    }
    rig.write([("c", None)]);
    rig.run(here.path());
    let foreign = transactional(broker);
    wait_until("the topic is compacted", TIMEOUT, || {
        // The next record closes a segment. It is aborted, so that it adds no row.
        foreign.begin_transaction().unwrap();
        send(&foreign, &rig.table, "late", "0");
        foreign.abort_transaction(TIMEOUT).unwrap();
        thread::park_timeout(Duration::from_millis(250));
        rig.records(&rig.table).len() <= 3
    });
    rig.run(empty.path());
    rig.assert_rows(empty.path(), &[("a", 5), ("b", 10)]);
    // The cleaner works on, so the restore may have read other records than are there now.
    let end = rig.range(&rig.table).high;
    let line = rig.restored().expect("a restore was logged");
    assert!(
        line.contains(&format!("from=0 end={end} records=")),
        "{line}"
    );
    assert!(i64::try_from(rig.records(&rig.table).len()).unwrap() < end);
}

#[table("prefix-deleted-state", key = String, value = i64)]
#[derive(Debug)]
struct PrefixDeleted;

fn a_copy_behind_a_deleted_prefix(broker: &Broker, rig: Rig) {
    let (behind, level, follower, empty) = (machine(), machine(), machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(behind.path());
    assert_view::<PrefixDeleted>(&rig, follower.path(), &[("a", 1), ("b", 2)]);
    rig.write(adds(&[("a", 10), ("b", 20), ("c", 30)]));
    rig.run(level.path());
    delete_records(broker, &rig.table, 4);
    assert_eq!(rig.range(&rig.table).start, 4);

    let words = [
        "reaches offset 2, before the topic's start 4",
        "lack updates",
    ];
    rig.refused(behind.path(), &words);
    assert_eq!(
        rig.rows(behind.path()).len(),
        2,
        "the copy is left unchanged"
    );
    // A view does not answer with the rows that are left.
    let stores = Arc::new(stores(follower.path()));
    let view = View::<PrefixDeleted>::start(Arc::clone(&rig.log), stores);
    let refused = view.map(drop).unwrap_err().to_string();
    assert!(
        refused.contains("begins at offset 4: rows were deleted"),
        "{refused}"
    );
    // The copy that was level has missed nothing, and is used.
    rig.write(adds(&[("a", 100)]));
    rig.run(level.path());
    let rows = rig.rows(level.path());
    let rows: Vec<_> = rows.iter().map(|(key, value)| (&**key, *value)).collect();
    assert_eq!(rows, [("a", 111), ("b", 22), ("c", 30)]);
    let place = format!("{}[0]: ", rig.table);
    let left = "left in local copies only";
    assert!(events::logged(&[left, &place, "began at offset 0"]));
    // With an empty disk the table would lack the deleted rows.
    let words = ["began at offset 0", "begins at 4 now", "--to-current"];
    rig.refused(empty.path(), &words);
    // The command that the error suggests commits the offsets as they are, from outside.
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", &rig.group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    let committed = rig.committed().expect("it was committed");
    list.add_partition_offset(&rig.input, 0, Offset::Offset(committed))
        .unwrap();
    wait_until("the group is empty, and its offset is set", TIMEOUT, || {
        consumer.commit(&list, CommitMode::Sync).is_ok()
    });
    rig.run(empty.path());
    let line = rig.restored().expect("a restore was logged");
    assert!(line.contains("from=4 end=6 records=2"), "{line}");
    // Once accepted, it is not refused again.
    rig.write(adds(&[("d", 1)]));
    rig.run(machine().path());
}

#[table("made-again-state", key = String, value = i64)]
#[derive(Debug)]
struct MadeAgain;

fn a_recreated_group_topic(broker: &Broker, rig: Rig) {
    let (here, empty, follower) = (machine(), machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(here.path());
    assert_view::<MadeAgain>(&rig, follower.path(), &[("a", 1), ("b", 2)]);
    let before = describe(&*rig.log, &rig.table).unwrap();
    broker.delete_topic(&rig.table);
    wait_until("it is gone", TIMEOUT, || {
        describe(&*rig.log, &rig.table).is_none()
    });
    broker.create_topic(&rig.table, 1, &[("cleanup.policy", "compact")]);
    // As many records as before, so that offsets alone do not show the difference.
    rig.write_to(&rig.table, adds(&[("x", 1), ("y", 2)]));
    let now = describe(&*rig.log, &rig.table).unwrap();
    assert_ne!(before, now);
    for machine in [&here, &empty] {
        rig.refused(
            machine.path(),
            &[&before, &now, "its updates are lost", "reset"],
        );
    }
    assert_eq!(rig.rows(here.path()).len(), 2, "the copy is left unchanged");
    assert_view::<MadeAgain>(&rig, follower.path(), &[("x", 1), ("y", 2)]);
    assert!(rig.rebuilt(&format!("a topic with id `{before}`")));
}

#[table("offline-state", key = String, value = i64)]
#[derive(Debug)]
struct Offline;

fn a_copy_offline_longer_than_tombstones_are_kept(broker: &Broker, rig: Rig) {
    let kept = [("delete.retention.ms", "3000")];
    let settings: Vec<_> = COMPACTED_AT_ONCE.iter().chain(&kept).copied().collect();
    broker.create_topic(&rig.table, 1, &settings);
    let (offline, other, follower) = (machine(), machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2), ("c", 3)]));
    rig.run(offline.path());
    assert_view::<Offline>(&rig, follower.path(), &[("a", 1), ("b", 2), ("c", 3)]);
    let since = Instant::now();
    // Meanwhile another machine deletes a row, and compaction deletes value and tombstone.
    rig.write([("b", None)]);
    rig.run(other.path());
    wait_until("the tombstone is gone", TIMEOUT, || {
        rig.write(adds(&[("a", 1)]));
        rig.run(other.path());
        thread::park_timeout(Duration::from_millis(250));
        rig.records(&rig.table).iter().all(|(key, _)| key != "b")
    });
    assert!(
        since.elapsed() > Duration::from_millis(3000),
        "not before delete.retention.ms"
    );
    let expected = rig.rows(other.path());
    assert!(!expected.contains_key("b"));
    assert_eq!(
        rig.rows(offline.path()).get("b"),
        Some(&2),
        "its copy still has the row"
    );

    rig.run(offline.path());
    assert!(rig.rebuilt("longer ago than the 2 s for which deletions are kept"));
    assert_eq!(rig.rows(offline.path()), expected);
    let rows: Vec<_> = expected.iter().map(|(key, sum)| (&**key, *sum)).collect();
    assert_view::<Offline>(&rig, follower.path(), &rows);
}

fn a_group_without_its_offsets(broker: &Broker, rig: Rig) {
    let (here, empty) = (machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(here.path());
    // As if the offsets had expired while the group was down.
    wait_until("the group is deleted", TIMEOUT, || {
        let deleted = block_on(
            broker
                .admin()
                .delete_groups(&[&rig.group], &AdminOptions::new()),
        );
        deleted.unwrap().iter().all(Result::is_ok)
    });
    assert_eq!(rig.committed(), None);
    let input = format!("no committed offset for `{}`", rig.input);
    for machine in [&here, &empty] {
        let words = [&*input, "count records twice", "--reset-offsets", "reset"];
        rig.refused(machine.path(), &words);
    }
    assert_eq!(rig.rows(here.path()).len(), 2, "the copy is left unchanged");
}

#[stream("restores-more", key = String, value = i64)]
#[derive(Debug)]
struct More;

#[derive(Debug, Default)]
struct TwoInputs;

#[processor(group = "restores", persist = i64)]
impl TwoInputs {
    #[input(In)]
    fn first(&self, ctx: &mut Context, add: i64) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + add)?;
        Ok(())
    }

    #[input(More)]
    fn second(&self, ctx: &mut Context, add: i64) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + add)?;
        Ok(())
    }
}

fn a_known_input_without_its_offset(broker: &Broker, rig: Rig) {
    let rig = rig.of::<TwoInputs>();
    let more = format!("{}-more", rig.group);
    rig.make(&more, false);
    let (here, empty) = (machine(), machine());
    rig.write(adds(&[("a", 1)]));
    rig.write_to(&more, adds(&[("a", 10)]));
    let running = rig.start(here.path());
    rig.wait_level(&running);
    let offset_of_more = || offsets::committed(&*rig.log, &rig.group, &more, 1)[0];
    wait_until("the second input is counted", TIMEOUT, || {
        offset_of_more() == Some(1)
    });
    stop(running);
    wait_until("the offset is deleted", TIMEOUT, || {
        broker.consumer_groups(&["--delete-offsets", "--group", &rig.group, "--topic", &more]);
        offset_of_more().is_none()
    });
    let gone = format!("no committed offset for `{more}`");
    for machine in [&here, &empty] {
        rig.refused(machine.path(), &[&gone, "--reset-offsets"]);
        assert_eq!(offset_of_more(), None);
    }
}

fn an_input_that_lost_records(broker: &Broker, rig: Rig) {
    let (here, empty) = (machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(here.path());
    rig.write(adds(&[("a", 10), ("b", 20), ("c", 30)]));
    delete_records(broker, &rig.input, 4);
    let held = format!("committed offset 2 of input `{}`", rig.input);
    for machine in [&here, &empty] {
        let words = [&*held, "4 to 5", "records were lost", "--reset-offsets"];
        rig.refused(machine.path(), &words);
    }
    assert_eq!(rig.rows(here.path()).len(), 2, "the copy is left unchanged");
}

const CLICKS: &str = "user-clicks";
const COUNTS: &str = "my-group-state";

/// Writes `times` clicks of each of `keys` keys.
fn click(broker: &Broker, keys: usize, times: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("linger.ms", "5")
        .create()
        .unwrap();
    for at in 0..keys * times {
        let key = format!("user-{}", at % keys);
        let record = BaseRecord::to(CLICKS).partition(0).key(&key).payload("now");
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
}

fn counted(log: &dyn Log) -> Option<i64> {
    offsets::committed(log, "my-group", CLICKS, 1)[0]
}

fn end(log: &dyn Log, topic: &str) -> i64 {
    offsets::ends(log, topic, 1)[0]
}

/// A broker's disk comes back without the last records of the group topic, as after an unclean leader
/// election. The store is ahead of the topic, so the processor refuses to start.
#[test]
fn a_store_ahead_of_a_truncated_topic_refuses_to_start() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic(CLICKS, 1, &[]);
    broker.create_topic(COUNTS, 1, &[("cleanup.policy", "compact")]);
    let temp = machine();
    let dir = temp.path().join("data");
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let log = log(&broker);
    click(&broker, 1, 10);
    let mut running = clicks.start(["--no-simulate"]);
    wait_until("the first are counted", TIMEOUT, || {
        counted(&*log) == Some(10)
    });
    let segment = broker
        .data()
        .join(format!("{COUNTS}-0/00000000000000000000.log"));
    let kept = std::fs::metadata(&segment).unwrap().len();
    click(&broker, 1, 5);
    wait_until("all are counted", TIMEOUT, || counted(&*log) == Some(15));
    assert_eq!(running.stop().0, Some(0));

    broker.stop(false);
    let file = std::fs::OpenOptions::new().write(true).open(&segment);
    file.unwrap().set_len(kept).unwrap();
    broker.restart().unwrap();
    let left = end(&*log, COUNTS);
    assert!((10..15).contains(&left), "{left}");

    let mut running = clicks.start(["--no-simulate"]);
    // The program itself keeps running for its background closures.
    let (status, _) = {
        running.wait_err("this processor has ended");
        running.signal("TERM");
        running.end()
    };
    assert_eq!(status.code(), Some(2));
    let output = running.err().join("\n");
    let expected =
        format!("{COUNTS}[0]: the local copy reaches offset 15, past the topic's end {left}");
    assert!(
        output
            .lines()
            .any(|line| line.starts_with("error: ") && line.contains(&expected)),
        "{output}"
    );
    assert_eq!(counted(&*log), Some(15), "offsets stay where they were");
    assert_eq!(end(&*log, COUNTS), left, "nothing is written");
    assert!(dir.join(format!("tables/{COUNTS}/0.redb")).exists());
}

/// Images of a disk taken while the store was being written: each opens, is caught up or rebuilt, and has
/// the same table.
#[test]
fn a_store_copied_during_a_flush_is_restored() {
    const KEYS: usize = 2_000;
    const IMAGES: usize = 4;
    let Some(broker) = another(&[]) else { return };
    broker.create_topic(CLICKS, 1, &[]);
    let temp = machine();
    let dir = temp.path().join("data");
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let log = log(&broker);
    let mut running = clicks.start(["--no-simulate"]);
    running.wait_err("restored");
    let store = dir.join(format!("tables/{COUNTS}/0.redb"));
    let mut images: Vec<PathBuf> = Vec::new();
    while images.len() < IMAGES {
        let written = || std::fs::metadata(&store).and_then(|file| file.modified());
        let before = written().unwrap();
        // Clicks are written until a flush changes the file.
        while written().unwrap() == before {
            click(&broker, KEYS, 1);
        }
        running.signal("STOP");
        let image = temp.path().join(format!("image-{}", images.len()));
        let place = image.join("tables").join(COUNTS);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::copy(&store, place.join("0.redb")).unwrap();
        // With the same instance name it need not wait for the old session to time out.
        std::fs::copy(dir.join("instance"), image.join("instance")).unwrap();
        running.signal("CONT");
        images.push(image);
    }
    let all = end(&*log, CLICKS);
    let each = all / i64::try_from(KEYS).unwrap();
    wait_until("all are counted", TIMEOUT, || counted(&*log) == Some(all));
    assert_eq!(running.stop().0, Some(0));
    for image in images {
        let clicks = Program::new("clicks", &image).on(broker.bootstrap());
        let mut running = clicks.start(["--no-simulate"]);
        running.wait_err("restored");
        let output = running.err();
        for line in &output {
            let shown = ["aside", "rebuilding", "restored"];
            if shown.iter().any(|word| line.contains(word)) {
                eprintln!("{line}");
            }
        }
        assert_eq!(running.stop().0, Some(0), "{output:?}");
        let rows = rows_of(&image.join("tables"), COUNTS);
        assert_eq!(rows.len(), KEYS);
        assert!(rows.values().all(|count| *count == each), "{rows:?}");
    }
}
