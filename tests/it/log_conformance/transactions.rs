//! Exactly once: records and offsets of a commit become visible together, or never.

use goka_runtime::log::{Failure, Group, Isolation, Log};
use goka_runtime::record::{Append, AppendKind, Appends, Guarantee, Record, TaskId, TopicId};

use super::rig::*;

use AppendKind::{Changelog, Output};

/// The index of the output in the topics of the groups here.
const OUTPUT: u16 = 2;

/// A group of one input, table and output, with a partition for each task. Its transactions stay open for
/// longer than any case waits.
fn exactly_once(log: &dyn Log, partitions: i32) -> Group {
    let (input, output) = (stream(log, partitions), stream(log, partitions));
    let mut group = stateful(log, &[input], partitions);
    group.topics.push(output.as_str().into());
    group.guarantee = Guarantee::ExactlyOnce;
    group.transaction_timeout = 5 * TIMEOUT;
    group
}

fn committed(log: &dyn Log, group: &Group, partition: i32) -> Option<i64> {
    let input = group.topic(TopicId(1));
    let found = log.committed(&group.name, &[tp(input, partition)]);
    found.expect("the log answers")[0]
        .as_ref()
        .map(|at| at.offset)
}

fn seen(log: &dyn Log, group: &Group, topic: u16, partition: i32) -> Vec<String> {
    texts(&read(log, group.topic(TopicId(topic)), partition, 0))
}

pub fn records_and_offsets_of_a_commit_become_visible_together(log: &dyn Log) {
    let group = exactly_once(log, 2);
    let mut member = TestMember::owning(log, &group, 2);
    let records = [
        (task(0), Changelog, 0, 0, "state"),
        (task(0), Output, OUTPUT, 1, "out"),
        (task(1), Output, OUTPUT, 1, "of another task"),
    ];
    member.append(&records);
    let outside = [(tp(group.topic(TopicId(OUTPUT)), 1), 0)];
    let reader = |isolation| log.reader(&outside, isolation).expect("a reader");
    let mut early = reader(Isolation::ReadCommitted);
    for _ in 0..5 {
        let each = &mut |_: usize, _: &[Record<'_>]| panic!("seen before the commit");
        early.poll(TICK, each).expect("readable");
    }
    assert_eq!(
        (committed(log, &group, 0), committed(log, &group, 1)),
        (None, None)
    );
    let mut reader = reader(Isolation::ReadCommitted);
    std::thread::scope(|scope| {
        let group = &group;
        let seen_offsets = scope.spawn(move || {
            let mut any = false;
            wait_until("the reader sees the output", || {
                reader.poll(TICK, &mut |_, _| any = true).expect("readable");
                any
            });
            (committed(log, group, 0), committed(log, group, 1))
        });
        let outcome = member.commit(&[(task(0), 1, 3), (task(1), 1, 4)]);
        assert_committed(&outcome, task(0));
        assert_committed(&outcome, task(1));
        let seen_offsets = seen_offsets.join().expect("the reader does not panic");
        assert_eq!(
            seen_offsets,
            (Some(3), Some(4)),
            "a reader of a record sees the offsets"
        );
    });
    assert_eq!(seen(log, &group, 0, 0), ["state"]);
    assert_eq!(seen(log, &group, OUTPUT, 1).len(), 2);
}

pub fn an_aborted_transaction_leaves_nothing_visible(log: &dyn Log) {
    let group = exactly_once(log, 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[
        (task(0), Changelog, 0, 0, "dropped"),
        (task(0), Output, OUTPUT, 0, "dropped"),
    ]);
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    assert_eq!(committed(log, &group, 0), None);
    for round in 1..3 {
        member.append(&[
            (task(0), Changelog, 0, 0, "kept"),
            (task(0), Output, OUTPUT, 0, "kept"),
        ]);
        let outcome = member.commit(&[(task(0), 1, round)]);
        assert_committed(&outcome, task(0));
        let (first, last, count) = outcome.acks[&task(0)]
            .as_ref()
            .expect("acknowledged")
            .changelog
            .expect("one");
        assert_eq!(
            (last - first, count),
            (0, 1),
            "aborted records are not counted"
        );
        member.append(&[(task(0), Changelog, 0, 0, "dropped")]);
        assert_eq!(member.inner.abort(deadline()), Ok(()));
        assert_eq!(committed(log, &group, 0), Some(round));
    }
    assert_eq!(seen(log, &group, 0, 0), ["kept", "kept"]);
    assert_eq!(seen(log, &group, OUTPUT, 0), ["kept", "kept"]);
}

pub fn a_commit_with_a_refused_record_commits_nothing(log: &dyn Log) {
    let group = exactly_once(log, 1);
    let mut member = TestMember::owning(log, &group, 1);
    let large = "x".repeat(2 << 20);
    member.append(&[
        (task(0), Output, OUTPUT, 0, "before"),
        (task(0), Changelog, 0, 0, &large),
        (task(0), Output, OUTPUT, 0, "after"),
    ]);
    let outcome = member.commit(&[(task(0), 1, 3)]);
    match &outcome.acks[&task(0)] {
        Err(Failure::Refused { topic, key, .. }) => {
            let table: &str = group.topic(TopicId(0));
            assert_eq!((topic.as_str(), key.as_str()), (table, "key"));
        }
        other => panic!("a record of 2 MiB was not refused: {other:?}"),
    }
    assert_ne!(outcome.offsets.get(&task(0)), Some(&Ok(())));
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    assert_eq!(committed(log, &group, 0), None);
    member.append(&[(task(0), Output, OUTPUT, 0, "again")]);
    assert_committed(&member.commit(&[(task(0), 1, 2)]), task(0));
    assert_eq!(committed(log, &group, 0), Some(2));
    assert_eq!(seen(log, &group, OUTPUT, 0), ["again"]);
    assert!(seen(log, &group, 0, 0).is_empty());
}

pub fn a_commit_of_offsets_only(log: &dyn Log) {
    let group = exactly_once(log, 2);
    let mut member = TestMember::owning(log, &group, 2);
    for round in 1..4 {
        let outcome = member.commit(&[(task(0), 1, round), (task(1), 1, 10 * round)]);
        assert_committed(&outcome, task(0));
        assert_committed(&outcome, task(1));
        assert!(outcome.acks.is_empty(), "{outcome:?}");
        let found = (committed(log, &group, 0), committed(log, &group, 1));
        assert_eq!(found, (Some(round), Some(10 * round)));
    }
}

pub fn markers_count_the_offsets_before_the_next_commit(log: &dyn Log) {
    let group = exactly_once(log, 2);
    let mut member = TestMember::owning(log, &group, 2);
    let mut next = [0, 0];
    for round in 1..5 {
        // The second task has changelog records in every other commit only.
        let mut records = vec![
            (task(0), Changelog, 0, 0, "a"),
            (task(0), Changelog, 0, 0, "b"),
            (task(1), Output, OUTPUT, 0, "out"),
        ];
        if round % 2 == 0 {
            records.push((task(1), Changelog, 0, 1, "x"));
        }
        member.append(&records);
        let outcome = member.commit(&[(task(0), 1, round), (task(1), 1, round)]);
        for partition in 0..2 {
            assert_committed(&outcome, task(partition));
            let acked = outcome.acks[&task(partition)]
                .as_ref()
                .expect("acknowledged");
            let next = &mut next[usize::from(partition == 1)];
            match acked.changelog {
                Some((first, last, _)) => {
                    assert_eq!(first, *next, "{outcome:?}");
                    *next = last + 1 + i64::try_from(acked.markers).expect("few");
                    // A copy that reaches the last record is complete: only markers follow.
                    let table = group.topic(TopicId(0));
                    assert!(read(log, table, partition, last + 1).is_empty());
                }
                None => assert_eq!(acked.markers, 0),
            }
        }
    }
    assert_eq!(seen(log, &group, 0, 0).len(), 8);
    let highs = [0, 1].map(|partition| high(log, group.topic(TopicId(0)), partition));
    assert_eq!(highs, next, "no other offsets follow");
}

pub fn an_empty_commit_and_an_empty_abort(log: &dyn Log) {
    let group = exactly_once(log, 1);
    let mut member = TestMember::owning(log, &group, 1);
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    let outcome = member.commit(&[]);
    assert!(outcome.acks.is_empty() && outcome.offsets.is_empty());
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    assert_committed(&member.commit(&[(task(0), 1, 1)]), task(0));
    assert!(member.commit(&[]).acks.is_empty());
    member.inner.close(deadline()).expect("it leaves");
}

pub fn a_transaction_that_a_closed_member_left_open_blocks_no_reader(log: &dyn Log) {
    // No static members: each has a transactional id of its own, and aborts no transaction of another.
    let group = Group {
        instance: String::new(),
        ..exactly_once(log, 1)
    };
    for (worker_number, close) in [(0, true), (1, false)] {
        let mut member = TestMember::owning(log, &worker(&group, worker_number), 1);
        member.append(&[(task(0), Changelog, 0, 0, "uncommitted")]);
        match close {
            // An engine may return an error for the open transaction.
            true => drop(member.inner.close(deadline())),
            false => drop(member),
        }
    }
    let mut member = TestMember::owning(log, &worker(&group, 2), 1);
    assert!(member.recorder.owned[&task(0)].1.is_empty());
    member.append(&[(task(0), Changelog, 0, 0, "committed")]);
    assert_committed(&member.commit(&[(task(0), 1, 1)]), task(0));
    assert_eq!(seen(log, &group, 0, 0), ["committed"]);
}

pub fn a_commit_during_a_revocation_is_where_the_next_owner_starts(log: &dyn Log) {
    let group = exactly_once(log, 4);
    let mut first = TestMember::owning(log, &group, 4);
    let all: Vec<TaskId> = (0..4).map(task).collect();
    first.append(
        &all.iter()
            .map(|of| (*of, Changelog, 0, of.partition, "early"))
            .collect::<Vec<_>>(),
    );
    first.recorder.on_revoke = Some(Box::new(move |_, committer| {
        let mut appends = Appends::default();
        for of in &all {
            appends.push(Append {
                task: *of,
                kind: Changelog,
                topic: TopicId(0),
                partition: of.partition,
                key: Some(b"key"),
                value: Some(b"last"),
                timestamp: -1,
                headers: &[],
            });
        }
        committer.append(&appends);
        // The member has one transaction, which has the tasks that stay, too.
        let offsets: Vec<_> = all
            .iter()
            .map(|of| (*of, 1, 7 + i64::from(of.partition)))
            .collect();
        let outcome = committer.commit(&commit_batch(99, &offsets), deadline());
        for of in &all {
            assert_committed(&outcome, *of);
        }
    }));
    let mut second = TestMember::join(log, &worker(&group, 1));
    wait_until("two members share four tasks", || {
        first.poll();
        second.poll();
        first.recorder.owned.len() == 2 && second.recorder.owned.len() == 2
    });
    for moved in first.recorder.revoked.clone() {
        let at = 7 + i64::from(moved.partition);
        assert_eq!(second.recorder.owned[&moved].1[&TopicId(1)].offset, at);
        assert_eq!(seen(log, &group, 0, moved.partition), ["early", "last"]);
        second.append(&[(moved, Changelog, 0, moved.partition, "next")]);
        assert_committed(&second.commit(&[(moved, 1, at + 1)]), moved);
    }
    let stayed: Vec<TaskId> = first.recorder.owned.keys().copied().collect();
    first.append(&[(stayed[0], Changelog, 0, stayed[0].partition, "on")]);
    assert_committed(&first.commit(&[(stayed[0], 1, 20)]), stayed[0]);
    assert_eq!(
        seen(log, &group, 0, stayed[0].partition),
        ["early", "last", "on"]
    );
}
