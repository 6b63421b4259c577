//! What only a log does whose members write before they settle: Kafka, and the simulation of it. Each
//! case holds on both, or the simulation is wrong.

use std::time::Instant;

use goka_runtime::log::{CommitOutcome, Failure, Group, Isolation, Log, LogError, OffsetRange};
use goka_runtime::record::{AppendKind, Guarantee, Record, TaskId, TopicId};

use super::rig::*;

use AppendKind::{Changelog, Output};

/// Where the output of the groups here is in their list.
const OUTPUT: u16 = 2;

/// A group of one task whose transactions stay open for longer than any test waits.
fn exactly_once(log: &dyn Log) -> Group {
    let (input, output) = (stream(log, 1), stream(log, 1));
    let mut group = stateful(log, &[input], 1);
    group.topics.push(output.as_str().into());
    group.guarantee = Guarantee::ExactlyOnce;
    group.transaction_timeout = 5 * PATIENCE;
    group
}

pub fn committed(log: &dyn Log, group: &Group) -> Option<i64> {
    let found = log.committed(&group.name, &[tp(group.topic(TopicId(1)), 0)]);
    found.expect("told")[0].as_ref().map(|at| at.offset)
}

pub fn table(log: &dyn Log, group: &Group) -> Vec<String> {
    texts(&read(log, group.topic(TopicId(0)), 0, 0))
}

/// Settles one record and an offset.
pub fn settle(seat: &mut Seat, value: &str, offset: i64) -> CommitOutcome {
    seat.append(&[(task(0), Changelog, 0, 0, value)]);
    seat.settle(&[(task(0), 1, offset)])
}

/// What task 0 failed with.
#[track_caller]
fn failure(settlement: &CommitOutcome) -> &Failure {
    let failure = settlement.acks[&task(0)].as_ref();
    failure.expect_err("it fails")
}

/// Waits until a topic's only partition is stable, and ends, there.
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

/// Everything that a reader sees from the beginning until it is at `end`.
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

pub fn records_lie_in_the_log_before_they_are_settled(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.append(&[(task(0), Changelog, 0, 0, "early")]);
    wait_for_range(log, group.topic(TopicId(0)), 1, 1);
    assert_eq!(table(log, &group), ["early"]);
    assert_settled(&seat.settle(&[(task(0), 1, 1)]), task(0));
}

pub fn an_open_unit_holds_readers_back(log: &dyn Log) {
    let group = exactly_once(log);
    let output = group.topic(TopicId(OUTPUT));
    let mut seat = Seat::owning(log, &group, 1);
    seat.append(&[
        (task(0), Changelog, 0, 0, "state"),
        (task(0), Output, OUTPUT, 0, "out"),
    ]);
    wait_for_range(log, output, 0, 1);
    write(log, output, 0, 7..8);
    wait_for_range(log, output, 0, 2);
    let all = seen(log, output, Isolation::ReadUncommitted, 2);
    assert_eq!(all, ["out", "7"]);
    assert!(seen(log, output, Isolation::ReadCommitted, 0).is_empty());
    assert_settled(&seat.settle(&[(task(0), 1, 1)]), task(0));
    wait_for_range(log, output, 3, 3);
    wait_for_range(log, group.topic(TopicId(0)), 2, 2);
    let all = seen(log, output, Isolation::ReadCommitted, 3);
    assert_eq!(all, ["out", "7"]);
}

pub fn an_aborted_unit_stays_in_the_log(log: &dyn Log) {
    let group = exactly_once(log);
    let topic = group.topic(TopicId(0));
    let mut seat = Seat::owning(log, &group, 1);
    seat.append(&[(task(0), Changelog, 0, 0, "dropped")]);
    wait_for_range(log, topic, 0, 1);
    assert_eq!(seat.member.abort(soon()), Ok(()));
    wait_for_range(log, topic, 2, 2);
    assert!(seen(log, topic, Isolation::ReadCommitted, 2).is_empty());
    let all = seen(log, topic, Isolation::ReadUncommitted, 2);
    assert_eq!(all, ["dropped"]);
    let settlement = settle(&mut seat, "kept", 1);
    assert_settled(&settlement, task(0));
    let acked = settlement.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!((acked.changelog, acked.markers), (Some((2, 2, 1)), 1));
    assert_eq!(seen(log, topic, Isolation::ReadCommitted, 4), ["kept"]);
}

pub fn a_twin_fences_the_transactions_of_the_first(log: &dyn Log) {
    let group = exactly_once(log);
    let mut first = Seat::owning(log, &group, 1);
    assert_settled(&settle(&mut first, "first", 1), task(0));
    first.append(&[(task(0), Changelog, 0, 0, "open")]);
    // The twin takes the name over, and waits for nothing that the first holds open.
    let mut second = Seat::owning(log, &group, 1);
    assert_eq!(second.tape.owned[&task(0)].1[&TopicId(1)], at(1));
    let settlement = first.settle(&[(task(0), 1, 2)]);
    assert!(
        matches!(failure(&settlement), Failure::ProducerFenced(_)),
        "{settlement:?}"
    );
    let aborted = first.member.abort(soon());
    assert!(
        matches!(aborted, Err(Failure::ProducerFenced(_))),
        "{aborted:?}"
    );
    assert_settled(&settle(&mut second, "second", 3), task(0));
    assert_eq!(table(log, &group), ["first", "second"]);
    assert_eq!(committed(log, &group), Some(3));
}

pub fn a_restarted_member_ends_what_its_predecessor_left_open(log: &dyn Log) {
    let group = exactly_once(log);
    let mut seat = Seat::owning(log, &group, 1);
    assert_settled(&settle(&mut seat, "settled", 1), task(0));
    seat.append(&[(task(0), Changelog, 0, 0, "open")]);
    let end = || {
        log.ranges(&[tp(group.topic(TopicId(0)), 0)])
            .expect("there")[0]
    };
    wait_until("the open record is written", || end().high == 3);
    // As if it were killed: nobody says a word.
    std::mem::forget(seat.member);
    let mut seat = Seat::owning(log, &group, 1);
    assert_eq!(seat.tape.owned[&task(0)].1[&TopicId(1)], at(1));
    wait_until("it is aborted", || end().stable == 4);
    assert_settled(&settle(&mut seat, "again", 2), task(0));
    assert_eq!(table(log, &group), ["settled", "again"]);
}

pub fn a_restarted_instance_has_its_tasks_again_and_moves_nothing(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 4)], 4);
    let mut first = Seat::owning(log, &group, 4);
    let mut second = Seat::join(log, &worker(&group, 1));
    wait_until("two members share four tasks", || {
        first.poll();
        second.poll();
        first.tape.owned.len() == 2 && second.tape.owned.len() == 2
    });
    first.tape.revoked.clear();
    let tasks: Vec<TaskId> = second.tape.owned.keys().copied().collect();
    second.member.close(soon()).expect("it leaves in peace");
    let mut second = Seat::join(log, &worker(&group, 1));
    let began = Instant::now();
    wait_until("it has its tasks again", || {
        first.poll();
        second.poll();
        second.tape.owned.len() == 2
    });
    assert!(began.elapsed() < SESSION, "it waited for the session");
    assert_eq!(second.tape.owned.keys().copied().collect::<Vec<_>>(), tasks);
    assert!(first.tape.revoked.is_empty() && first.tape.lost.is_empty());
}

pub fn of_two_twins_the_older_is_fenced(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut first = Seat::owning(log, &group, 1);
    let mut second = Seat::join(log, &group);
    let mut error = None;
    wait_until("the older is fenced", || {
        second.poll();
        error = first.member.poll(TICK, &mut first.tape).err();
        error.is_some()
    });
    match error {
        Some(LogError::InstanceFenced { who, .. }) => {
            assert!(who.contains(&group.instance), "{who}")
        }
        other => panic!("{other:?}"),
    }
    assert!(
        first.member.poll(TICK, &mut first.tape).is_err(),
        "it stays so"
    );
    second.poll_until("the newer has the task", |tape| tape.owned.len() == 1);
}
