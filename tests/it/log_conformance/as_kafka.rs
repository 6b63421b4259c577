//! Behaviour of logs whose members write before they commit: Kafka, and the simulated log. A case that fails
//! on one of them only shows that the simulation is wrong.

use std::time::Instant;

use goka_runtime::log::{CommitOutcome, Failure, Group, Isolation, Log, LogError, OffsetRange};
use goka_runtime::record::{AppendKind, Guarantee, Record, TaskId, TopicId};

use super::rig::*;

use AppendKind::{Changelog, Output};

/// The index of the output in the topics of the groups here.
const OUTPUT: u16 = 2;

/// A group of one task whose transactions stay open for longer than any test waits.
fn exactly_once(log: &dyn Log) -> Group {
    let (input, output) = (stream(log, 1), stream(log, 1));
    let mut group = stateful(log, &[input], 1);
    group.topics.push(output.as_str().into());
    group.guarantee = Guarantee::ExactlyOnce;
    group.transaction_timeout = 5 * TIMEOUT;
    group
}

pub fn committed(log: &dyn Log, group: &Group) -> Option<i64> {
    let found = log.committed(&group.name, &[tp(group.topic(TopicId(1)), 0)]);
    found.expect("the log answers")[0]
        .as_ref()
        .map(|at| at.offset)
}

pub fn table(log: &dyn Log, group: &Group) -> Vec<String> {
    texts(&read(log, group.topic(TopicId(0)), 0, 0))
}

/// Appends one record, and commits it with an offset.
pub fn append_and_commit(member: &mut TestMember, value: &str, offset: i64) -> CommitOutcome {
    member.append(&[(task(0), Changelog, 0, 0, value)]);
    member.commit(&[(task(0), 1, offset)])
}

/// The error of task 0 in a commit.
#[track_caller]
fn failure(outcome: &CommitOutcome) -> &Failure {
    let failure = outcome.acks[&task(0)].as_ref();
    failure.expect_err("it fails")
}

/// Waits until a topic's only partition has this last stable offset and this end.
fn wait_for_range(log: &dyn Log, topic: &str, stable: i64, high: i64) {
    let expected = OffsetRange {
        start: 0,
        stable,
        high,
    };
    wait_until(&format!("{expected:?}"), || {
        log.ranges(&[tp(topic, 0)]).expect("there") == [expected]
    });
}

/// The values that a reader gets from the beginning to `end`.
fn seen(log: &dyn Log, topic: &str, isolation: Isolation, end: i64) -> Vec<String> {
    let mut reader = log.reader(&[(tp(topic, 0), 0)], isolation).expect("made");
    let mut all = Vec::new();
    wait_until("the reader comes to the end", || {
        let each = &mut |_: usize, records: &[Record<'_>]| all.extend(records.iter().map(Rec::of));
        reader.poll(TICK, each).expect("readable");
        reader.position(0) == end
    });
    texts(&all)
}

pub fn records_are_in_the_log_before_they_are_committed(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[(task(0), Changelog, 0, 0, "early")]);
    wait_for_range(log, group.topic(TopicId(0)), 1, 1);
    assert_eq!(table(log, &group), ["early"]);
    assert_committed(&member.commit(&[(task(0), 1, 1)]), task(0));
}

pub fn an_open_transaction_blocks_readers(log: &dyn Log) {
    let group = exactly_once(log);
    let output = group.topic(TopicId(OUTPUT));
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[
        (task(0), Changelog, 0, 0, "state"),
        (task(0), Output, OUTPUT, 0, "out"),
    ]);
    wait_for_range(log, output, 0, 1);
    write(log, output, 0, 7..8);
    wait_for_range(log, output, 0, 2);
    let all = seen(log, output, Isolation::ReadUncommitted, 2);
    assert_eq!(all, ["out", "7"]);
    assert!(seen(log, output, Isolation::ReadCommitted, 0).is_empty());
    assert_committed(&member.commit(&[(task(0), 1, 1)]), task(0));
    wait_for_range(log, output, 3, 3);
    wait_for_range(log, group.topic(TopicId(0)), 2, 2);
    let all = seen(log, output, Isolation::ReadCommitted, 3);
    assert_eq!(all, ["out", "7"]);
}

pub fn an_aborted_transaction_stays_in_the_log(log: &dyn Log) {
    let group = exactly_once(log);
    let topic = group.topic(TopicId(0));
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[(task(0), Changelog, 0, 0, "dropped")]);
    wait_for_range(log, topic, 0, 1);
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    wait_for_range(log, topic, 2, 2);
    assert!(seen(log, topic, Isolation::ReadCommitted, 2).is_empty());
    let all = seen(log, topic, Isolation::ReadUncommitted, 2);
    assert_eq!(all, ["dropped"]);
    let outcome = append_and_commit(&mut member, "kept", 1);
    assert_committed(&outcome, task(0));
    let acked = outcome.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!((acked.changelog, acked.markers), (Some((2, 2, 1)), 1));
    assert_eq!(seen(log, topic, Isolation::ReadCommitted, 4), ["kept"]);
}

pub fn a_duplicate_instance_fences_the_transactions_of_the_first(log: &dyn Log) {
    let group = exactly_once(log);
    let mut first = TestMember::owning(log, &group, 1);
    assert_committed(&append_and_commit(&mut first, "first", 1), task(0));
    first.append(&[(task(0), Changelog, 0, 0, "open")]);
    // The duplicate takes over at once, without waiting for the open transaction of the first.
    let mut second = TestMember::owning(log, &group, 1);
    assert_eq!(second.recorder.owned[&task(0)].1[&TopicId(1)], at(1));
    let outcome = first.commit(&[(task(0), 1, 2)]);
    assert!(
        matches!(failure(&outcome), Failure::ProducerFenced(_)),
        "{outcome:?}"
    );
    let aborted = first.inner.abort(deadline());
    assert!(
        matches!(aborted, Err(Failure::ProducerFenced(_))),
        "{aborted:?}"
    );
    assert_committed(&append_and_commit(&mut second, "second", 3), task(0));
    assert_eq!(table(log, &group), ["first", "second"]);
    assert_eq!(committed(log, &group), Some(3));
}

pub fn a_restarted_member_aborts_the_transaction_that_was_left_open(log: &dyn Log) {
    let group = exactly_once(log);
    let mut member = TestMember::owning(log, &group, 1);
    assert_committed(&append_and_commit(&mut member, "committed", 1), task(0));
    member.append(&[(task(0), Changelog, 0, 0, "open")]);
    let end = || {
        log.ranges(&[tp(group.topic(TopicId(0)), 0)])
            .expect("there")[0]
    };
    wait_until("the open record is written", || end().high == 3);
    // As if it were killed: it neither leaves the group nor ends its transaction.
    std::mem::forget(member.inner);
    let mut member = TestMember::owning(log, &group, 1);
    assert_eq!(member.recorder.owned[&task(0)].1[&TopicId(1)], at(1));
    wait_until("it is aborted", || end().stable == 4);
    assert_committed(&append_and_commit(&mut member, "again", 2), task(0));
    assert_eq!(table(log, &group), ["committed", "again"]);
}

pub fn a_restarted_instance_gets_its_tasks_back_without_a_rebalance(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 4)], 4);
    let mut first = TestMember::owning(log, &group, 4);
    let mut second = TestMember::join(log, &worker(&group, 1));
    wait_until("two members share four tasks", || {
        first.poll();
        second.poll();
        first.recorder.owned.len() == 2 && second.recorder.owned.len() == 2
    });
    first.recorder.revoked.clear();
    let tasks: Vec<TaskId> = second.recorder.owned.keys().copied().collect();
    second.inner.close(deadline()).expect("it leaves");
    let mut second = TestMember::join(log, &worker(&group, 1));
    let began = Instant::now();
    wait_until("it has its tasks again", || {
        first.poll();
        second.poll();
        second.recorder.owned.len() == 2
    });
    assert!(began.elapsed() < SESSION, "it waited for the session");
    assert_eq!(
        second.recorder.owned.keys().copied().collect::<Vec<_>>(),
        tasks
    );
    assert!(first.recorder.revoked.is_empty() && first.recorder.lost.is_empty());
}

pub fn of_two_members_with_one_identity_the_older_is_fenced(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut first = TestMember::owning(log, &group, 1);
    let mut second = TestMember::join(log, &group);
    let mut error = None;
    wait_until("the older member is fenced", || {
        second.poll();
        error = first.inner.poll(TICK, &mut first.recorder).err();
        error.is_some()
    });
    match error {
        Some(LogError::InstanceFenced { who, .. }) => {
            assert!(who.contains(&group.instance), "{who}")
        }
        other => panic!("{other:?}"),
    }
    assert!(
        first.inner.poll(TICK, &mut first.recorder).is_err(),
        "it stays fenced"
    );
    second.poll_until("the newer member has the task", |recorder| {
        recorder.owned.len() == 1
    });
}
