//! Several members of one group, and groups without a table.

use std::time::{Duration, Instant};

use goka_runtime::log::{Group, Log};
use goka_runtime::record::{AppendKind, Guarantee, TaskId, TopicId};

use super::rig::*;

/// Polls two members in turn until a condition is true.
fn poll_both_until(
    what: &str,
    one: &mut TestMember,
    two: &mut TestMember,
    condition: impl Fn(&Recorder, &Recorder) -> bool,
) {
    wait_until(what, || {
        one.poll();
        two.poll();
        condition(&one.recorder, &two.recorder)
    });
}

fn join_second(log: &dyn Log, group: &Group, first: &mut TestMember) -> TestMember {
    let mut second = TestMember::join(log, &worker(group, 1));
    poll_both_until(
        "two members share four tasks",
        first,
        &mut second,
        |one, two| one.owned.len() == 2 && two.owned.len() == 2,
    );
    second
}

pub fn a_revoked_task_resumes_at_its_committed_offset(log: &dyn Log) {
    let input = stream(log, 4);
    for partition in 0..4 {
        write(log, &input, partition, 0..10);
    }
    let group = stateful(log, &[input], 4);
    let mut first = TestMember::owning(log, &group, 4);
    first.recorder.on_revoke = Some(Box::new(|tasks, committer| {
        let offsets: Vec<_> = tasks
            .iter()
            .map(|task| (*task, 1, 6 + i64::from(task.partition)))
            .collect();
        let outcome = committer.commit(&commit_batch(99, &offsets), deadline());
        for task in tasks {
            assert_committed(&outcome, *task);
        }
    }));
    let mut second = join_second(log, &group, &mut first);
    assert_eq!(first.recorder.revoked.len(), 2);
    for moved in first.recorder.revoked.clone() {
        let (_, committed) = &second.recorder.owned[&moved];
        let from = 6 + i64::from(moved.partition);
        assert_eq!(committed[&TopicId(1)], at(from));
        second.fetch(moved, 1, from);
    }
    let moved = first.recorder.revoked.clone();
    poll_both_until(
        "the new owner reads on",
        &mut first,
        &mut second,
        |_, two| {
            moved.iter().all(|task| {
                two.records(*task, TopicId(1))
                    .last()
                    .is_some_and(|last| last.offset == 9)
            })
        },
    );
    for task in moved {
        let first_offset = second.recorder.records(task, TopicId(1))[0].offset;
        assert_eq!(first_offset, 6 + i64::from(task.partition));
    }
}

pub fn a_task_that_stays_keeps_its_epoch_and_fetch(log: &dyn Log) {
    let input = stream(log, 4);
    let group = stateful(log, std::slice::from_ref(&input), 4);
    let mut first = TestMember::owning(log, &group, 4);
    for partition in 0..4 {
        first.fetch(task(partition), 1, 0);
    }
    let epochs: Vec<_> = first
        .recorder
        .owned
        .iter()
        .map(|(task, (epoch, _))| (*task, *epoch))
        .collect();
    let mut second = join_second(log, &group, &mut first);
    let stayed: Vec<TaskId> = first.recorder.owned.keys().copied().collect();
    for task in &stayed {
        assert!(
            epochs.contains(&(*task, first.recorder.owned[task].0)),
            "it was not assigned again"
        );
    }
    for partition in 0..4 {
        write(log, &input, partition, 0..3);
    }
    poll_both_until("its records arrive", &mut first, &mut second, |one, _| {
        stayed
            .iter()
            .all(|task| one.records(*task, TopicId(1)).len() == 3)
    });
    assert_eq!(
        first
            .recorder
            .batches
            .iter()
            .map(|batch| batch.3.len())
            .sum::<usize>(),
        6,
        "and no others"
    );
    assert_committed(&first.commit(&[(stayed[0], 1, 3)]), stayed[0]);
}

pub fn a_member_that_leaves_gives_its_tasks_away(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 4)], 4);
    let mut first = TestMember::owning(log, &group, 4);
    let second = join_second(log, &group, &mut first);
    second.inner.close(deadline()).expect("it leaves");
    first.poll_until("the remaining member has all tasks", |recorder| {
        recorder.owned.len() == 4
    });
}

pub fn a_member_that_crashes_gives_its_tasks_away(log: &dyn Log) {
    let input = stream(log, 4);
    let group = stateful(log, std::slice::from_ref(&input), 4);
    let mut first = TestMember::owning(log, &group, 4);
    let mut second = join_second(log, &group, &mut first);
    let theirs: Vec<TaskId> = second.recorder.owned.keys().copied().collect();
    assert_committed(&second.commit(&[(theirs[0], 1, 5)]), theirs[0]);
    second.append(&[(
        theirs[0],
        AppendKind::Changelog,
        0,
        theirs[0].partition,
        "uncommitted",
    )]);
    drop(second);
    first.poll_until("the remaining member has all tasks", |recorder| {
        recorder.owned.len() == 4
    });
    assert_eq!(first.recorder.owned[&theirs[0]].1[&TopicId(1)], at(5));
}

pub fn an_assignment_after_another_has_a_later_epoch(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 4)], 4);
    let mut first = TestMember::owning(log, &group, 4);
    let before = first.recorder.owned.clone();
    let second = join_second(log, &group, &mut first);
    let moved: Vec<TaskId> = first.recorder.revoked.clone();
    second.inner.close(deadline()).expect("it leaves");
    first.poll_until("its tasks come back", |recorder| recorder.owned.len() == 4);
    for task in moved {
        assert!(first.recorder.owned[&task].0 > before[&task].0);
    }
}

pub fn each_partition_of_a_stateless_input_is_a_task(log: &dyn Log) {
    let inputs = [stream(log, 2), stream(log, 3)];
    write(log, &inputs[0], 1, 0..2);
    write(log, &inputs[1], 2, 10..12);
    let group = stateless(&inputs);
    let mut member = TestMember::owning(log, &group, 5);
    let of = |lead, partition| TaskId {
        lead: TopicId(lead),
        partition,
    };
    let expected = [of(0, 0), of(0, 1), of(1, 0), of(1, 1), of(1, 2)];
    assert_eq!(
        member.recorder.owned.keys().copied().collect::<Vec<_>>(),
        expected
    );
    member.fetch(of(0, 1), 0, 0);
    member.fetch(of(1, 2), 1, 1);
    member.poll_until("both arrive", |recorder| {
        recorder.records(of(0, 1), TopicId(0)).len() == 2
            && recorder.records(of(1, 2), TopicId(1)).len() == 1
    });
    assert_committed(
        &member.commit(&[(of(0, 1), 0, 2), (of(1, 2), 1, 12)]),
        of(1, 2),
    );
    let found = log
        .committed(&group.name, &[tp(&inputs[0], 1), tp(&inputs[1], 2)])
        .expect("the log answers");
    assert_eq!(found, [Some(at(2)), Some(at(12))]);
    member.inner.close(deadline()).expect("it leaves");
    let member = TestMember::owning(log, &group, 5);
    assert_eq!(
        member.recorder.owned[&of(0, 1)].1,
        [(TopicId(0), at(2))].into()
    );
}

pub fn groups_do_not_see_each_other(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..2);
    let (one, two) = (
        stateless(std::slice::from_ref(&input)),
        stateless(std::slice::from_ref(&input)),
    );
    let mut members = [
        TestMember::owning(log, &one, 1),
        TestMember::owning(log, &two, 1),
    ];
    let of = task(0);
    assert_committed(&members[0].commit(&[(of, 0, 1)]), of);
    assert_eq!(log.committed(&two.name, &[tp(&input, 0)]), Ok(vec![None]));
    for member in &mut members {
        member.fetch(of, 0, 0);
        member.poll_until("each reads all", |recorder| {
            recorder.records(of, TopicId(0)).len() == 2
        });
    }
}

pub fn poll_returns_in_time(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 1, 0);
    let begun = Instant::now();
    member.poll();
    assert!(
        begun.elapsed() < TIMEOUT,
        "a poll of {TICK:?} took {:?}",
        begun.elapsed()
    );
}

fn stateless(inputs: &[String]) -> Group {
    Group {
        name: unique("stateless").into(),
        topics: inputs.iter().map(|name| name.as_str().into()).collect(),
        inputs: (0..inputs.len()).map(|at| TopicId(at as u16)).collect(),
        lead: None,
        instance: unique("instance"),
        worker: 0,
        session_timeout: SESSION,
        max_poll_interval: Duration::from_secs(300),
        guarantee: Guarantee::AtLeastOnce,
        transaction_timeout: Duration::from_secs(10),
    }
}
