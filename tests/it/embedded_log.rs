//! The embedded log's own promises: what a file keeps, how it says that it cannot be used, and
//! what becomes of members that fall silent or crash.

use std::path::Path;
use std::time::Duration;

use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Failure, Group, Isolation, Log, LogError, NewTopic, Sent};
use goka_runtime::record::{AppendKind, TopicId};

use crate::log_conformance::rig::*;

fn storage_error(path: &Path) -> String {
    match Embedded::open(path) {
        Err(error @ LogError::Storage { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(&path.display().to_string()),
                "it says where: {text}"
            );
            text
        }
        other => panic!("{} cannot be a log, yet: {other:?}", path.display()),
    }
}

#[test]
fn a_log_that_is_opened_again_has_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.redb");
    let log = Embedded::open(&path).expect("a new log");
    let (input, empty) = (stream(&log, 2), stream(&log, 1));
    write(&log, &input, 1, 0..5_000);
    let group = stateful(&log, std::slice::from_ref(&input), 2);
    let mut seat = Seat::owning(&log, &group, 2);
    seat.append(&[(task(1), AppendKind::Changelog, 0, 1, "state")]);
    assert_settled(&seat.settle(&[(task(1), 1, 42)]), task(1));
    let (before, cluster) = (log.describe(&[&input, &empty]), log.cluster());
    let records = read(&log, &input, 1, 0);
    drop((log, seat));

    let log = Embedded::open(&path).expect("the log that was closed");
    assert_eq!(
        (log.describe(&[&input, &empty]), log.cluster()),
        (before, cluster)
    );
    assert_eq!(read(&log, &input, 1, 0), records);
    assert_eq!(texts(&read(&log, group.topic(TopicId(0)), 1, 0)), ["state"]);
    assert_eq!(
        log.committed(&group.name, &[tp(&input, 1)]),
        Ok(vec![Some(at(42))])
    );
    write(&log, &input, 1, 0..1);
    assert_eq!(high(&log, &input, 1), 5_001);
    let another = stream(&log, 1);
    write(&log, &another, 0, 0..1);
    assert_eq!(
        read(&log, &empty, 0, 0),
        [],
        "topics made later have a place of their own"
    );
    let seat = Seat::owning(&log, &group, 2);
    assert_eq!(seat.tape.owned[&task(1)].1[&TopicId(1)], at(42));
}

#[test]
fn a_file_in_use_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.redb");
    let log = Embedded::open(&path).expect("a new log");
    let reader = log.reader(&[], Isolation::ReadCommitted).expect("a reader");
    drop(log);
    let text = storage_error(&path);
    assert!(
        text.contains("in use") && text.contains("own data directory"),
        "{text}"
    );
    drop(reader);
    Embedded::open(&path).expect("free again when the last user is gone");
}

#[test]
fn a_directory_is_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = storage_error(directory.path());
    assert!(
        text.contains("is a directory") && text.contains("log.redb"),
        "{text}"
    );
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = storage_error(&directory.path().join("missing").join("log.redb"));
    assert!(
        text.contains("missing`, or choose another data directory"),
        "{text}"
    );
    let file = directory.path().join("file");
    std::fs::write(&file, "text").expect("written");
    let text = storage_error(&file.join("log.redb"));
    assert!(text.contains("data directory"), "{text}");
}

#[test]
fn what_is_no_log_is_not_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.redb");
    let content = "not a log ".repeat(10_000);
    std::fs::write(&path, &content).expect("written");
    let text = storage_error(&path);
    assert!(
        text.contains("is not a log, or is damaged") && text.contains("move it away"),
        "{text}"
    );
    assert_eq!(
        std::fs::read_to_string(&path).expect("still there"),
        content
    );
}

#[test]
fn a_file_that_was_cut_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.redb");
    let log = Embedded::open(&path).expect("a new log");
    let input = stream(&log, 1);
    write(&log, &input, 0, 0..2_000);
    drop(log);
    let length = std::fs::metadata(&path).expect("there").len();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("opened");
    file.set_len(length / 3).expect("cut");
    drop(file);
    let text = storage_error(&path);
    assert!(
        text.contains("damaged") || text.contains("look after the disk"),
        "{text}"
    );
}

#[test]
fn a_member_that_falls_silent_is_out() {
    let log = Embedded::in_memory().expect("a log in memory");
    let input = stream(&log, 1);
    let group = stateful(&log, std::slice::from_ref(&input), 1);
    let group = Group {
        session: Duration::from_millis(300),
        ..group
    };
    let mut silent = Seat::owning(&log, &group, 1);
    silent.fetch(task(0), 1, 0);
    let mut other = Seat::join(&log, &worker(&group, 1));
    other.poll_until("the silent one's task is taken over", |tape| {
        tape.owned.len() == 1
    });

    silent.append(&[(task(0), AppendKind::Changelog, 0, 0, "zombie")]);
    let settlement = silent.settle(&[(task(0), 1, 9)]);
    assert!(
        matches!(settlement.acks[&task(0)], Err(Failure::Lost(_))),
        "{settlement:?}"
    );
    assert!(
        matches!(settlement.offsets[&task(0)], Err(Failure::Lost(_))),
        "{settlement:?}"
    );
    assert_eq!(log.committed(&group.name, &[tp(&input, 0)]), Ok(vec![None]));
    assert_eq!(
        high(&log, group.topic(TopicId(0)), 0),
        0,
        "a zombie writes nothing"
    );

    silent.poll();
    assert_eq!(silent.tape.lost, [task(0)]);
    assert_settled(&other.settle(&[(task(0), 1, 3)]), task(0));
    drop(other);
    silent.poll_until("it is in again", |tape| tape.owned.len() == 1);
    assert_eq!(silent.tape.owned[&task(0)].1[&TopicId(1)], at(3));
}

#[test]
fn a_crashed_members_tasks_are_free_at_once() {
    let log = Embedded::in_memory().expect("a log in memory");
    let group = stateful(&log, &[stream(&log, 2)], 2);
    let group = Group {
        session: Duration::from_secs(3_600),
        ..group
    };
    drop(Seat::owning(&log, &group, 2));
    Seat::owning(&log, &group, 2);
}

#[test]
fn members_that_join_before_they_poll_disturb_nobody() {
    let log = Embedded::in_memory().expect("a log in memory");
    let group = stateful(&log, &[stream(&log, 4)], 4);
    let mut seats: Vec<Seat> = (0..4)
        .map(|at| Seat::join(&log, &worker(&group, at)))
        .collect();
    for seat in &mut seats {
        seat.poll_until("each has its share", |tape| tape.owned.len() == 1);
    }
    assert!(seats.iter().all(|seat| seat.tape.revoked.is_empty()));
}

#[test]
fn a_member_waits_for_a_topic_that_is_made_later() {
    let log = Embedded::in_memory().expect("a log in memory");
    let mut group = stateful(&log, &[stream(&log, 1)], 1);
    let later = unique("later");
    group.topics[0] = later.as_str().into();
    let mut seat = Seat::join(&log, &group);
    seat.poll();
    assert!(seat.tape.owned.is_empty());
    let new = NewTopic {
        name: later,
        partitions: 1,
        compact: true,
        retention: None,
    };
    log.create(&new).expect("made");
    seat.poll_until("its task comes", |tape| tape.owned.len() == 1);
}

#[test]
fn names_and_counts_that_kafka_refuses_are_refused() {
    let log = Embedded::in_memory().expect("a log in memory");
    for (name, partitions) in [
        ("", 1),
        ("..", 1),
        ("a/b", 1),
        ("a b", 1),
        ("a", 0),
        ("a", -1),
    ] {
        let new = NewTopic {
            name: name.to_owned(),
            partitions,
            compact: false,
            retention: None,
        };
        assert!(
            matches!(log.create(&new), Err(LogError::Refused { .. })),
            "{new:?}"
        );
    }
}

#[test]
fn a_compacted_topic_takes_no_null_key() {
    let log = Embedded::in_memory().expect("a log in memory");
    let table = topic(&log, "table", 1, true);
    let (appender, _) = appender(&log);
    let keyless = Sent {
        key: None,
        ..sent(&table, 0, "", "value")
    };
    assert!(matches!(
        appender.send(keyless, 1, soon()),
        Err(LogError::Refused { .. })
    ));
}

#[test]
fn a_batch_is_bounded_and_nothing_is_left_out() {
    let log = Embedded::in_memory().expect("a log in memory");
    let input = stream(&log, 1);
    write(&log, &input, 0, 0..9_000);
    let group = stateful(&log, &[input], 1);
    let mut seat = Seat::owning(&log, &group, 1);
    seat.fetch(task(0), 1, 0);
    seat.poll_until("all arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() == 9_000
    });
    assert!(seat.tape.batches.iter().all(|batch| batch.3.len() <= 2_000));
    assert_eq!(
        offsets(&seat.tape.records(task(0), TopicId(1))),
        (0..9_000).collect::<Vec<_>>()
    );
}
