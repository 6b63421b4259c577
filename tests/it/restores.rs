//! What becomes of a local copy when a group starts, on every log: it is caught up, rebuilt or refused. A
//! refusal changes no offset and writes nothing. Cases that need a broker (transactions, compaction, deleted
//! records) are in `restores_on_kafka`.

pub mod rig;

use std::fs;
use std::sync::Arc;

use goka::View;
use goka::prelude::*;
use goka_runtime::clock::Clock;
use goka_runtime::log::Log;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::simulated::Simulated;
use goka_runtime::processor::State;
use goka_runtime::table::{Durability, StoredRef, Stores, Write};

use self::rig::*;
use crate::support::kafka::broker;
use crate::support::{events, kafka_log, wait_until};

const DAY: i64 = 86_400_000;

/// Runs a case on every engine; its group has the case's name.
fn on_every_log(case: &str, run: fn(Rig)) {
    run(Rig::new(Arc::new(Embedded::in_memory().unwrap()), case));
    let simulated = Arc::new(Simulated::new(Clock::default()));
    run(Rig::new(simulated, &format!("{case}-simulated")));
    let Some(broker) = broker() else { return };
    let kafka: Arc<dyn Log> = Arc::new(kafka_log(broker.bootstrap()));
    run(Rig::new(kafka, &format!("{case}-on-kafka")));
}

#[test]
fn an_empty_topic_is_restored() {
    on_every_log("restores-empty", |rig| {
        let machine = machine();
        rig.make(&rig.table, true);
        let running = rig.start(machine.path());
        wait_until("it runs", TIMEOUT, || {
            running
                .status()
                .iter()
                .any(|task| task.state == State::Running)
        });
        assert!(rig.rebuilt("no local copy yet"));
        let line = rig.restored().expect("a restore was logged");
        assert!(line.contains("from=0 end=0 records=0"), "{line}");
        rig.write(adds(&[("a", 1), ("b", 2), ("a", 10)]));
        rig.wait_level(&running);
        stop(running);
        rig.assert_rows(machine.path(), &[("a", 11), ("b", 2)]);
    });
}

#[test]
fn a_topic_of_tombstones_is_an_empty_table() {
    on_every_log("restores-tombstones", |rig| {
        let (first, second) = (machine(), machine());
        rig.write(adds(&[("a", 1), ("b", 2)]));
        rig.write([("a", None), ("b", None), ("c", None)]);
        rig.run(first.path());
        rig.assert_rows(first.path(), &[]);
        let end = rig.range(&rig.table).high;

        rig.run(second.path());
        let line = rig.restored().expect("a restore was logged");
        assert!(line.contains(&format!("from=0 end={end}")), "{line}");
        rig.assert_rows(second.path(), &[]);
        rig.write(adds(&[("a", 5)]));
        rig.run(second.path());
        rig.assert_rows(second.path(), &[("a", 5)]);
    });
}

#[test]
fn a_copy_is_caught_up_from_its_own_offset() {
    on_every_log("restores-behind", |rig| {
        let (here, elsewhere) = (machine(), machine());
        rig.write(adds(&[("a", 1), ("b", 2), ("c", 3)]));
        rig.run(here.path());
        // Meanwhile another machine handles more input.
        rig.write([("a", Some(10)), ("b", None), ("d", Some(4))]);
        rig.run(elsewhere.path());
        // A row that only this copy has shows whether it is rebuilt.
        let mut copy = rig.copy(here.path());
        let checkpoint = copy.checkpoint().unwrap().unwrap();
        let value = StoredRef {
            timestamp: 0,
            value: b"7",
        };
        let marker = Write {
            key: b"marker",
            value: Some(value),
        };
        copy.apply(&[marker], &checkpoint, Durability::Synced)
            .unwrap();
        drop(copy);

        rig.run(here.path());
        let line = rig.restored().expect("a restore was logged");
        let from = format!(
            "from={} end={} records=3",
            checkpoint.offset,
            checkpoint.offset + 3
        );
        assert!(line.contains(&from), "{line}");
        let mut rows = rig.rows(here.path());
        assert_eq!(rows.remove("marker"), Some(7), "the copy is not rebuilt");
        assert_eq!(rows, rig.fold());
        assert_eq!(rows.get("b"), None, "what was deleted stays deleted");
    });
}

#[test]
fn a_copy_ahead_of_its_topic_is_refused() {
    on_every_log("restores-ahead", |rig| {
        let machine = machine();
        rig.write(adds(&[("a", 1), ("b", 2)]));
        rig.run(machine.path());
        rig.forge(machine.path(), |checkpoint| checkpoint.offset += 10);
        rig.refused(
            machine.path(),
            &[
                "the local copy reaches offset 12, past the topic's end 2",
                "reset",
            ],
        );
        let kept = rig.copy(machine.path()).checkpoint().unwrap().unwrap();
        assert_eq!(kept.offset, 12, "the copy is left as it was");
        assert_eq!(rig.rows(machine.path()).len(), 2);
    });
}

#[test]
fn a_copy_older_than_tombstones_are_kept_is_rebuilt() {
    on_every_log("restores-stale", |rig| {
        let (here, elsewhere) = (machine(), machine());
        rig.write(adds(&[("a", 1), ("b", 2)]));
        rig.run(here.path());
        rig.forge(here.path(), |checkpoint| checkpoint.synced_at -= 2 * DAY);
        // The copy is level with its topic, so that it has missed nothing.
        rig.run(here.path());
        assert!(!rig.rebuilt("longer ago than"));

        rig.write([("b", None)]);
        rig.run(elsewhere.path());
        rig.forge(here.path(), |checkpoint| checkpoint.synced_at -= 2 * DAY);
        rig.run(here.path());
        assert!(rig.rebuilt("longer ago than the 77760 s for which deletions are kept"));
        rig.assert_rows(here.path(), &[("a", 1)]);
    });
}

#[test]
fn a_copy_of_a_newer_format_or_of_another_partition_is_refused() {
    on_every_log("restores-moved", |rig| {
        let machine = machine();
        rig.write(adds(&[("a", 1)]));
        rig.run(machine.path());
        let file = machine.path().join(&rig.table).join("0.redb");
        let whole = fs::read(&file).unwrap();
        rig.forge(machine.path(), |checkpoint| checkpoint.format += 1);
        rig.refused(
            machine.path(),
            &[
                "0.redb` has table copy version 2",
                "run a build that knows version 2",
            ],
        );
        let beside = fs::read_dir(file.parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1, "the copy is not moved aside");
        assert!(
            stores(machine.path()).open(&rig.table, 0).is_err(),
            "nor rebuilt"
        );
        fs::write(&file, whole).unwrap();
        rig.forge(machine.path(), |checkpoint| checkpoint.partition = 3);
        rig.refused(machine.path(), &["the local copy is of partition 3"]);
    });
}

/// A file of a store that was truncated, as by a crash.
#[test]
fn a_torn_store_is_rebuilt() {
    on_every_log("restores-torn", |rig| {
        let machine = machine();
        let keys: Vec<_> = (0..500).map(|at| format!("key-{at}")).collect();
        rig.write(keys.iter().map(|key| (&**key, Some(1))));
        rig.run(machine.path());
        let file = machine.path().join(&rig.table).join("0.redb");
        let whole = fs::read(&file).unwrap();
        let (size, mut moved) = (whole.len(), Vec::new());
        for kept in [0, 1, 100, 4096, size / 4, size / 2, size - 4096, size - 1] {
            fs::write(&file, &whole[..kept]).unwrap();
            rig.write([("key-0", Some(1))]);
            rig.run(machine.path());
            let rows = rig.rows(machine.path());
            assert_eq!(rows.len(), 500, "{kept} of {size} bytes");
            assert_eq!(rows, rig.fold(), "{kept} of {size} bytes");
            let kept_aside = fs::read_dir(file.parent().unwrap()).unwrap().flatten();
            let aside = kept_aside.filter_map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                name.strip_prefix("0.redb.bad-")?.parse::<u32>().ok()
            });
            moved = aside.collect();
            assert!(moved.len() <= 1, "only the newest is kept: {moved:?}");
        }
        assert!(moved.first() >= Some(&6), "moved aside: {moved:?}");
    });
}

/// Another client writes to the group topic: the table becomes the fold of the topic, and updates continue
/// from it.
#[test]
fn writes_of_another_client_are_noticed_and_restored() {
    on_every_log("restores-foreign", |rig| {
        let machine = machine();
        rig.write(adds(&[("a", 1), ("b", 2)]));
        let running = rig.start(machine.path());
        rig.wait_level(&running);
        rig.write_to(&rig.table, adds(&[("a", 100), ("c", 7)]));
        // It is noticed when the next record is written.
        rig.write(adds(&[("b", 20)]));
        let topic = format!("topic={:?}", rig.table);
        wait_until("the foreign writes are restored", TIMEOUT, || {
            events::logged(&["restored", &topic, "from=2 end=5 records=3"])
        });
        rig.wait_level(&running);
        rig.write(adds(&[("a", 10), ("c", 10)]));
        rig.wait_level(&running);
        stop(running);
        rig.assert_rows(machine.path(), &[("a", 110), ("b", 22), ("c", 17)]);
    });
}

#[table("restores-following-state", key = String, value = i64)]
#[derive(Debug)]
struct Following;

#[table("restores-following-simulated-state", key = String, value = i64)]
#[derive(Debug)]
struct FollowingSimulated;

#[table("restores-following-on-kafka-state", key = String, value = i64)]
#[derive(Debug)]
struct FollowingOnKafka;

/// The same table, as a program declares it that does not know of a change.
#[table("restores-following-state", key = String, value = String)]
#[derive(Debug)]
struct Misread;

#[table("restores-following-simulated-state", key = String, value = String)]
#[derive(Debug)]
struct MisreadSimulated;

#[table("restores-following-on-kafka-state", key = String, value = String)]
#[derive(Debug)]
struct MisreadOnKafka;

/// A copy for which an owner would be refused is rebuilt by a view, which only loses time.
#[test]
fn a_view_rebuilds_its_copy() {
    on_every_log("restores-following", |rig| {
        if rig.group.ends_with("kafka") {
            follow::<FollowingOnKafka, MisreadOnKafka>(&rig);
        } else if rig.group.ends_with("simulated") {
            follow::<FollowingSimulated, MisreadSimulated>(&rig);
        } else {
            follow::<Following, Misread>(&rig);
        }
    });
}

fn follow<T, M>(rig: &Rig)
where
    T: goka::Table<Key = String, Value = i64>,
    M: goka::Table<Key = String, Value = String>,
{
    let (owner, follower) = (machine(), machine());
    rig.write(adds(&[("a", 1), ("b", 2)]));
    rig.run(owner.path());
    let check = |expected: Rows<'_>| assert_view::<T>(rig, follower.path(), expected);
    check(&[("a", 1), ("b", 2)]);
    rig.forge(follower.path(), |checkpoint| checkpoint.offset += 10);
    check(&[("a", 1), ("b", 2)]);
    assert!(rig.rebuilt("past the topic's end 2; it is rebuilt"));
    // A copy that ends before a deletion, and is older than tombstones are kept.
    rig.write([("b", None)]);
    rig.run(owner.path());
    rig.forge(follower.path(), |checkpoint| {
        checkpoint.synced_at -= 2 * DAY
    });
    check(&[("a", 1)]);
    assert!(rig.rebuilt("longer ago than"));
    // The topic is another program's table. A changed declaration costs the view its copy only.
    let view = View::<M>::start(Arc::clone(&rig.log), Arc::new(stores(follower.path()))).unwrap();
    view.wait_level(TIMEOUT).unwrap();
    assert_eq!(view.get("a").unwrap().as_deref(), Some("1"));
    assert!(rig.rebuilt("it is now declared as"));
}
