//! The embedded log: what a file keeps, errors of files that cannot be used, and members that stop polling
//! or crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{
    CommitBatch, CommitId, Committer, Driver, Failure, Fetched, Group, Isolation, Log, LogError,
    MemberEvent, NewTopic, Sent,
};
use goka_runtime::record::{Append, AppendKind, Appends, Offset, TaskId, TopicId};

use crate::log_conformance::rig::*;

fn storage_error(path: &Path) -> String {
    match Embedded::open(path) {
        Err(error @ LogError::Storage { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(&path.display().to_string()),
                "the path is missing in: {text}"
            );
            text
        }
        other => panic!("{} cannot be a log, yet: {other:?}", path.display()),
    }
}

#[test]
fn a_reopened_log_has_all_topics_records_and_offsets() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log.redb");
    let log = Embedded::open(&path).expect("a new log");
    let (input, empty) = (stream(&log, 2), stream(&log, 1));
    write(&log, &input, 1, 0..5_000);
    let group = stateful(&log, std::slice::from_ref(&input), 2);
    let mut member = TestMember::owning(&log, &group, 2);
    member.append(&[(task(1), AppendKind::Changelog, 0, 1, "state")]);
    assert_committed(&member.commit(&[(task(1), 1, 42)]), task(1));
    let (before, cluster) = (log.describe(&[&input, &empty]), log.cluster());
    let records = read(&log, &input, 1, 0);
    drop((log, member));

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
        "records of a topic created later are not in it"
    );
    let member = TestMember::owning(&log, &group, 2);
    assert_eq!(member.recorder.owned[&task(1)].1[&TopicId(1)], at(42));
}

#[test]
fn a_file_in_use_is_refused() {
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
fn a_directory_in_place_of_the_file_is_refused() {
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
fn a_file_that_is_not_a_log_is_left_unchanged() {
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
fn a_truncated_file_is_refused() {
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
fn a_member_that_stops_polling_loses_its_tasks() {
    let log = Embedded::in_memory().expect("a log in memory");
    let input = stream(&log, 1);
    let group = stateful(&log, std::slice::from_ref(&input), 1);
    let group = Group {
        session_timeout: Duration::from_secs(1),
        ..group
    };
    let mut silent = TestMember::owning(&log, &group, 1);
    silent.fetch(task(0), 1, 0);
    let mut other = TestMember::join(&log, &worker(&group, 1));
    other.poll_until("the task of the silent member is assigned", |recorder| {
        recorder.owned.len() == 1
    });

    silent.append(&[(task(0), AppendKind::Changelog, 0, 0, "zombie")]);
    let outcome = silent.commit(&[(task(0), 1, 9)]);
    assert!(
        matches!(outcome.acks[&task(0)], Err(Failure::Lost(_))),
        "{outcome:?}"
    );
    assert!(
        matches!(outcome.offsets[&task(0)], Err(Failure::Lost(_))),
        "{outcome:?}"
    );
    assert_eq!(log.committed(&group.name, &[tp(&input, 0)]), Ok(vec![None]));
    assert_eq!(
        high(&log, group.topic(TopicId(0)), 0),
        0,
        "a removed member writes nothing"
    );

    silent.poll();
    assert_eq!(silent.recorder.lost, [task(0)]);
    assert_committed(&other.commit(&[(task(0), 1, 3)]), task(0));
    drop(other);
    silent.poll_until("it has joined again", |recorder| recorder.owned.len() == 1);
    assert_eq!(silent.recorder.owned[&task(0)].1[&TopicId(1)], at(3));
}

#[test]
fn tasks_of_a_dropped_member_are_reassigned_at_once() {
    let log = Embedded::in_memory().expect("a log in memory");
    let group = stateful(&log, &[stream(&log, 2)], 2);
    let group = Group {
        session_timeout: Duration::from_secs(3_600),
        ..group
    };
    drop(TestMember::owning(&log, &group, 2));
    TestMember::owning(&log, &group, 2);
}

#[test]
fn members_that_join_before_they_poll_cause_no_revocation() {
    let log = Embedded::in_memory().expect("a log in memory");
    let group = stateful(&log, &[stream(&log, 4)], 4);
    let mut members: Vec<TestMember> = (0..4)
        .map(|at| TestMember::join(&log, &worker(&group, at)))
        .collect();
    for member in &mut members {
        member.poll_until("each has its share", |recorder| recorder.owned.len() == 1);
    }
    assert!(
        members
            .iter()
            .all(|member| member.recorder.revoked.is_empty())
    );
}

#[test]
fn a_member_waits_for_a_topic_that_is_created_later() {
    let log = Embedded::in_memory().expect("a log in memory");
    let mut group = stateful(&log, &[stream(&log, 1)], 1);
    let later = unique("later");
    group.topics[0] = later.as_str().into();
    let mut member = TestMember::join(&log, &group);
    member.poll();
    assert!(member.recorder.owned.is_empty());
    let new = NewTopic {
        name: later,
        partitions: 1,
        compact: true,
        retention: None,
    };
    log.create(&new).expect("made");
    member.poll_until("its task comes", |recorder| recorder.owned.len() == 1);
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
fn a_compacted_topic_refuses_a_null_key() {
    let log = Embedded::in_memory().expect("a log in memory");
    let table = topic(&log, "table", 1, true);
    let (appender, _) = appender(&log);
    let keyless = Sent {
        key: None,
        ..sent(&table, 0, "", "value")
    };
    assert!(matches!(
        appender.send(keyless, 1, deadline()),
        Err(LogError::Refused { .. })
    ));
}

#[test]
fn batches_are_bounded_and_complete() {
    let log = Embedded::in_memory().expect("a log in memory");
    let input = stream(&log, 1);
    write(&log, &input, 0, 0..9_000);
    let group = stateful(&log, &[input], 1);
    let mut member = TestMember::owning(&log, &group, 1);
    member.fetch(task(0), 1, 0);
    member.poll_until("all arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 9_000
    });
    assert!(
        member
            .recorder
            .batches
            .iter()
            .all(|batch| batch.3.len() <= 2_000)
    );
    assert_eq!(
        offsets(&member.recorder.records(task(0), TopicId(1))),
        (0..9_000).collect::<Vec<_>>()
    );
}

/// Copies its input to the output, and commits at random.
struct Copier {
    positions: BTreeMap<TaskId, Offset>,
    /// Tasks to be fetched.
    new: Vec<TaskId>,
    appends: Appends,
    dice: u64,
}

impl Copier {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.dice >> 33) % sides
    }

    fn commit(&mut self, committer: &mut dyn Committer) {
        committer.append(&self.appends);
        self.appends.clear();
        let offsets = self.positions.iter();
        let offsets = offsets.map(|(task, at)| (*task, TopicId(1), *at, String::new()));
        let batch = CommitBatch {
            id: CommitId(0),
            offsets: offsets.collect(),
        };
        for (task, outcome) in committer.commit(&batch, deadline()).acks {
            match outcome {
                Ok(_) => {}
                Err(Failure::Lost(_)) => drop(self.positions.remove(&task)),
                Err(failure) => panic!("{failure}"),
            }
        }
    }
}

impl Driver for Copier {
    fn event(&mut self, event: MemberEvent<'_>) {
        match event {
            MemberEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let committed = assignment.committed.get(&TopicId(1));
                    let from = committed.map_or(0, |committed| committed.offset);
                    self.positions.insert(assignment.task, from);
                    self.new.push(assignment.task);
                }
            }
            MemberEvent::Lost(tasks) => {
                self.positions.retain(|task, _| !tasks.contains(task));
                self.appends.clear();
                assert!(
                    self.positions.is_empty(),
                    "a member that is out of the group has no tasks"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes half of the records; the others have to be delivered again.
    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        let Fetched { task, records, .. } = fetched;
        // Without a position the task was lost in a commit, and `Lost` is reported by one of the next polls.
        let Some(position) = self.positions.get_mut(&task) else {
            return records.len();
        };
        let some = records.len().div_ceil(2);
        for record in &records[..some] {
            assert_eq!(
                record.offset, *position,
                "nothing is left out, nothing comes twice"
            );
            *position += 1;
            self.appends.push(Append {
                task,
                kind: AppendKind::Output,
                topic: TopicId(2),
                partition: task.partition,
                key: record.key,
                value: record.value,
                timestamp: record.timestamp,
                headers: &[],
            });
        }
        some
    }

    fn revoking(&mut self, tasks: &[TaskId], committer: &mut dyn Committer) {
        self.commit(committer);
        self.positions.retain(|task, _| !tasks.contains(task));
    }
}

#[test]
fn members_come_and_go_and_every_record_is_copied_once() {
    const ROUNDS: u64 = 150;
    let log = Embedded::in_memory().expect("a log in memory");
    let (input, output) = (stream(&log, 4), stream(&log, 4));
    let mut group = stateful(&log, std::slice::from_ref(&input), 4);
    group.topics.push(output.as_str().into());
    group.session_timeout = Duration::from_millis(40);
    let done = AtomicBool::new(false);
    let member = &|worker_number: u32| {
        let mut dice = u64::from(worker_number);
        while !done.load(Ordering::Relaxed) {
            let mut member = log.join(&worker(&group, worker_number)).expect("joined");
            let (positions, new, appends) = Default::default();
            let mut copier = Copier {
                positions,
                new,
                appends,
                dice,
            };
            for _ in 0..copier.roll(60) {
                member
                    .poll(Duration::from_millis(2), &mut copier)
                    .expect("goes on");
                for task in std::mem::take(&mut copier.new) {
                    if let Some(position) = copier.positions.get(&task) {
                        member
                            .fetch(task, &[(TopicId(1), *position)])
                            .expect("owned");
                    }
                }
                match copier.roll(40) {
                    0 => std::thread::park_timeout(Duration::from_millis(60)),
                    1..20 => copier.commit(&mut *member),
                    _ => {}
                }
            }
            dice = copier.dice;
        }
    };
    std::thread::scope(|scope| {
        let members: Vec<_> = (0..3)
            .map(|worker| scope.spawn(move || member(worker)))
            .collect();
        for round in 0..ROUNDS {
            for partition in 0..4 {
                write(&log, &input, partition, round * 5..(round + 1) * 5);
            }
        }
        wait_until("everything is copied", || {
            let stopped = members.iter().any(|member| member.is_finished());
            stopped || (0..4).all(|at| high(&log, &output, at) as u64 >= ROUNDS * 5)
        });
        done.store(true, Ordering::Relaxed);
    });
    let expected: Vec<_> = (0..ROUNDS * 5).map(|number| number.to_string()).collect();
    for partition in 0..4 {
        assert_eq!(texts(&read(&log, &output, partition, 0)), expected);
    }
}
