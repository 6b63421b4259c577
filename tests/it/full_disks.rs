//! Full disks under the store and under the embedded log: nothing is lost, processing resumes by itself when
//! there is room in time, and otherwise stops with an error that names the path.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, LogError, Sent};
use goka_runtime::processor::{Running, StopReason};
use goka_runtime::record::Guarantee;
use goka_runtime::table::StoreError;

use crate::restores::rig::{Rig, TIMEOUT, adds, machine, stop};
use crate::support::disk::SmallDisk;
use crate::support::kafka::broker;
use crate::support::{events, kafka_log, wait_until};

/// Longer than writes to a store on a full disk are retried.
const STOPS_WITHIN: Duration = Duration::from_secs(180);

/// So many long keys that a store of them does not fit into the room that is left.
const KEYS: usize = 10_000;

fn keys() -> Vec<String> {
    (0..KEYS).map(|at| format!("{at:0>200}")).collect()
}

fn add_to_all(rig: &Rig) {
    rig.write(keys().iter().map(|key| (&**key, Some(1))));
}

/// Runs a case on all logs at the same time, since they mostly wait.
fn on_every_log(case: &str, run: fn(Rig)) {
    let embedded = Arc::new(Embedded::in_memory().unwrap());
    let mut rigs = vec![Rig::new(embedded, case)];
    if let Some(broker) = broker() {
        let kafka: Arc<dyn Log> = Arc::new(kafka_log(broker.bootstrap()));
        let mut once = Rig::new(Arc::clone(&kafka), &format!("{case}-once"));
        once.guarantee = Guarantee::ExactlyOnce;
        rigs.push(once);
        rigs.push(Rig::new(kafka, &format!("{case}-on-kafka")));
    }
    std::thread::scope(|scope| {
        for rig in rigs {
            scope.spawn(move || run(rig));
        }
    });
}

/// Starts the group, fills its disk and writes; returns when a failed flush was logged. The path tells the
/// events of this group from those of others.
fn start_on_full(rig: &Rig, disk: &SmallDisk) -> Running {
    rig.write(adds(&[("a", 1)]));
    let running = rig.start(disk.path());
    rig.wait_level(&running);
    disk.fill();
    add_to_all(rig);
    let path = disk.path().display().to_string();
    wait_until("a full disk is logged", TIMEOUT, || {
        // Not every flush is synced to the disk.
        rig.write(adds(&[("a", 1)]));
        events::logged(&["retrying", &path, "No space left"])
    });
    running
}

fn assert_all(rig: &Rig, machine: &Path, each: i64) {
    let rows = rig.rows(machine);
    assert_eq!(rows, rig.fold());
    assert_eq!(rows.len(), KEYS + 1);
    assert!(keys().iter().all(|key| rows[key] == each));
}

#[test]
fn a_store_resumes_when_its_disk_has_room_again() {
    on_every_log("full-store", |rig| {
        let Some(disk) = SmallDisk::new(16) else {
            return;
        };
        let running = start_on_full(&rig, &disk);
        disk.free();
        let freed = Instant::now();
        rig.wait_level(&running);
        eprintln!("{}: resumed after {:?}", rig.group, freed.elapsed());
        stop(running);
        assert_all(&rig, disk.path(), 1);
    });
}

#[test]
fn a_store_whose_disk_stays_full_stops_and_loses_nothing() {
    on_every_log("full-for-good", |rig| {
        let Some(disk) = SmallDisk::new(16) else {
            return;
        };
        let running = start_on_full(&rig, &disk);
        wait_until("the partition stops", STOPS_WITHIN, || {
            running.status().iter().any(|task| task.stopped.is_some())
        });
        let stopped = running.status().remove(0).stopped;
        let Some(StopReason::Store(StoreError::Io { path, source })) = stopped else {
            panic!("{stopped:?}");
        };
        assert!(
            path.starts_with(&*disk.path().display().to_string()),
            "{path}"
        );
        assert!(source.to_string().contains("No space left"), "{source}");
        running.stop();
        let error = running.join().unwrap_err().to_string();
        assert!(
            error.contains(&rig.group) && error.contains(&path),
            "{error}"
        );
        // Started again on the full disk it stops with the same error.
        let running = rig.start(disk.path());
        wait_until("it stops again", STOPS_WITHIN, || {
            running.is_finished() || running.status().iter().any(|task| task.stopped.is_some())
        });
        running.stop();
        let error = running.join().unwrap_err().to_string();
        assert!(error.contains("No space left"), "{error}");

        disk.free();
        rig.run(disk.path());
        assert_all(&rig, disk.path(), 1);
    });
}

#[test]
fn a_restore_resumes_when_its_disk_has_room_again() {
    on_every_log("full-restore", |rig| {
        let Some(disk) = SmallDisk::new(16) else {
            return;
        };
        rig.write(adds(&[("a", 1)]));
        add_to_all(&rig);
        rig.run(machine().path());
        // There is room for a part of the copy.
        let room = disk.path().join("room");
        std::fs::write(&room, vec![0; 1 << 20]).unwrap();
        disk.fill();
        std::fs::remove_file(room).unwrap();

        let running = rig.start(disk.path());
        let path = disk.path().display().to_string();
        wait_until("a full disk is logged", TIMEOUT, || {
            events::logged(&["restore failed, trying again", &path, "No space left"])
        });
        assert!(!running.is_finished());
        disk.free();
        let freed = Instant::now();
        rig.wait_level(&running);
        eprintln!("{}: resumed after {:?}", rig.group, freed.elapsed());
        let topic = format!("topic={:?}", rig.table);
        assert_eq!(events::count(&["restore failed, trying again", &topic]), 1);
        assert_eq!(events::count(&["restore resumed", &topic]), 1);
        stop(running);
        assert_all(&rig, disk.path(), 1);
    });
}

/// The embedded log refuses what it cannot write, and writes no part of it.
#[test]
fn an_embedded_log_resumes_when_its_disk_has_room_again() {
    let Some(disk) = SmallDisk::new(24) else {
        return;
    };
    let file = disk.path().join("log.redb");
    let log: Arc<dyn Log> = Arc::new(Embedded::open(&file).unwrap());
    let rig = Rig::new(Arc::clone(&log), "full-log");
    let machine = machine();
    rig.make("full-log-other", false);
    rig.write(adds(&[("a", 1)]));
    rig.run(machine.path());
    add_to_all(&rig);
    disk.fill();

    // Writes fail once the file itself has no free pages. How many are left when the disk is full is chance.
    let failed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let failures = Arc::clone(&failed);
    let appender = log
        .appender(Arc::new(move |_, outcome| {
            failures.lock().unwrap().extend(outcome.err());
        }))
        .unwrap();
    let large = vec![b'x'; 100_000];
    let sent = Sent {
        topic: "full-log-other",
        partition: 0,
        key: Some(b"never read"),
        value: Some(&large),
        timestamp: -1,
        headers: &[],
    };
    wait_until("writes fail", TIMEOUT, || {
        let deadline = Instant::now() + TIMEOUT;
        appender.send(sent, 0, deadline).unwrap();
        appender.flush(deadline).unwrap();
        // The file may have shrunk meanwhile.
        disk.fill();
        failed.lock().unwrap().len() >= 3
    });
    drop(appender);
    let error = failed.lock().unwrap()[0].to_string();
    assert!(error.contains("No space left"), "{error}");
    // A topic is created or refused with the path; which, depends on the free pages of the file.
    let made = log.create(&goka_runtime::log::NewTopic {
        name: "one-more".to_owned(),
        partitions: 64,
        compact: false,
        retention: None,
    });
    if let Err(error) = made {
        let is_storage = matches!(&error, LogError::Storage { .. });
        assert!(
            is_storage && error.to_string().contains("log.redb"),
            "{error}"
        );
    }

    // A processor waits for room.
    let before = rig.committed();
    let running = rig.start(machine.path());
    let path = file.display().to_string();
    wait_until("a warning is logged", TIMEOUT, || {
        events::logged(&["writes not accepted, trying again", &path, "No space left"])
    });
    assert!(!running.is_finished());
    disk.free();
    let freed = Instant::now();
    rig.wait_level(&running);
    wait_until("the end of the outage is logged", TIMEOUT, || {
        events::logged(&["writes accepted again", "group=\"full-log\""])
    });
    eprintln!("full-log: resumed after {:?}", freed.elapsed());
    assert!(rig.committed() > before);
    stop(running);
    // Each record is counted once: a barrier of this log is one transaction.
    assert_all(&rig, machine.path(), 1);
}
