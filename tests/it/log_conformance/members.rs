//! One member of a group: assignment, fetching, settling.

use std::time::Instant;

use goka_runtime::log::{Failure, Log, LogError};
use goka_runtime::record::{AppendKind, TaskId, TopicId};

use super::rig::*;

use AppendKind::{Changelog, Output};

pub fn join_assigns_all_tasks(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 3)], 3);
    let seat = Seat::owning(log, &group, 3);
    for partition in 0..3 {
        let (_, committed) = &seat.tape.owned[&task(partition)];
        assert!(committed.is_empty(), "nothing was ever committed");
    }
}

pub fn settled_offsets_come_with_the_next_assignment(log: &dyn Log) {
    let inputs = [stream(log, 2), stream(log, 2)];
    let group = stateful(log, &inputs, 2);
    let mut seat = Seat::owning(log, &group, 2);
    let settlement = seat.settle(&[(task(0), 1, 5), (task(0), 2, 9)]);
    assert_settled(&settlement, task(0));
    seat.member.close(soon()).expect("it leaves in peace");
    let seat = Seat::owning(log, &group, 2);
    let expected = [(TopicId(1), at(5)), (TopicId(2), at(9))];
    assert_eq!(seat.tape.owned[&task(0)].1, expected.into());
    assert!(seat.tape.owned[&task(1)].1.is_empty());
}

pub fn committed_is_seen_from_outside(log: &dyn Log) {
    let input = stream(log, 2);
    let group = stateful(log, std::slice::from_ref(&input), 2);
    let mut seat = Seat::owning(log, &group, 2);
    assert_settled(&seat.settle(&[(task(1), 1, 7)]), task(1));
    let asked = [tp(&input, 0), tp(&input, 1)];
    let found = log.committed(&group.name, &asked).expect("told");
    assert_eq!(found, [None, Some(at(7))]);
    assert_settled(&seat.settle(&[(task(1), 1, 3)]), task(1));
    let found = log.committed(&group.name, &asked).expect("told");
    assert_eq!(found, [None, Some(at(3))], "offsets may go back");
    let unknown = log.committed(&unique("nobody"), &asked).expect("told");
    assert_eq!(unknown, [None, None]);
}

pub fn a_batch_begins_where_it_was_asked(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..20);
    let group = stateful(log, &[input], 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 1, 12);
    seat.poll_until("the rest arrives", |tape| {
        tape.records(task(0), TopicId(1)).len() == 8
    });
    let records = seat.tape.records(task(0), TopicId(1));
    assert_eq!(offsets(&records), (12..20).collect::<Vec<_>>());
    assert_eq!(
        texts(&records),
        (12..20).map(|n| n.to_string()).collect::<Vec<_>>()
    );
}

pub fn a_batch_says_whose_it_is(log: &dyn Log) {
    let input = stream(log, 2);
    write(log, &input, 0, 0..3);
    write(log, &input, 1, 10..12);
    let group = stateful(log, &[input], 2);
    let mut seat = Seat::owning(log, &group, 2);
    seat.fetch(task(0), 1, 0);
    seat.fetch(task(1), 1, 0);
    seat.poll_until("both tasks' records arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() == 3 && tape.records(task(1), TopicId(1)).len() == 2
    });
    for (of, epoch, topic, _) in &seat.tape.batches {
        assert_eq!((*epoch, *topic), (seat.tape.owned[of].0, TopicId(1)));
    }
    assert_eq!(texts(&seat.tape.records(task(1), TopicId(1))), ["10", "11"]);
}

pub fn nothing_is_fetched_before_it_was_asked(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..3);
    let group = stateful(log, &[input], 1);
    let mut seat = Seat::owning(log, &group, 1);
    for _ in 0..5 {
        seat.poll();
    }
    assert!(seat.tape.batches.is_empty());
}

pub fn two_inputs_are_one_task(log: &dyn Log) {
    let inputs = [stream(log, 1), stream(log, 1)];
    write(log, &inputs[0], 0, 0..5);
    write(log, &inputs[1], 0, 10..15);
    let group = stateful(log, &inputs, 1);
    let mut seat = Seat::owning(log, &group, 1);
    let positions = [(TopicId(1), 2), (TopicId(2), 4)];
    seat.member.fetch(task(0), &positions).expect("fetched");
    seat.poll_until("both inputs arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() + tape.records(task(0), TopicId(2)).len() == 4
    });
    assert_eq!(
        texts(&seat.tape.records(task(0), TopicId(1))),
        ["2", "3", "4"]
    );
    assert_eq!(texts(&seat.tape.records(task(0), TopicId(2))), ["14"]);
}

pub fn a_joined_topic_is_fetched_beside_the_inputs(log: &dyn Log) {
    let topics = [stream(log, 1), stream(log, 1)];
    write(log, &topics[0], 0, 0..2);
    write(log, &topics[1], 0, 10..13);
    let mut group = stateful(log, &topics, 1);
    // The second one is no input: nothing is committed for it, and it is fetched all the same.
    group.inputs = vec![TopicId(1)];
    let mut seat = Seat::owning(log, &group, 1);
    let positions = [(TopicId(1), 0), (TopicId(2), 1)];
    seat.member.fetch(task(0), &positions).expect("fetched");
    seat.poll_until("both arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() + tape.records(task(0), TopicId(2)).len() == 4
    });
    assert_eq!(texts(&seat.tape.records(task(0), TopicId(2))), ["11", "12"]);
}

pub fn new_records_arrive_while_polling(log: &dyn Log) {
    let input = stream(log, 1);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 1, 0);
    seat.poll();
    write(log, &input, 0, 0..2);
    seat.poll_until("they arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() == 2
    });
    write(log, &input, 0, 2..4);
    seat.poll_until("more arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() == 4
    });
    assert_eq!(
        texts(&seat.tape.records(task(0), TopicId(1))),
        ["0", "1", "2", "3"]
    );
}

pub fn acks_are_contiguous(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 2)], 2);
    let mut seat = Seat::owning(log, &group, 2);
    let of = |task: TaskId, value| (task, Changelog, 0, task.partition, value);
    seat.append(&[
        of(task(0), "a"),
        of(task(1), "x"),
        of(task(0), "b"),
        of(task(0), "c"),
    ]);
    let settlement = seat.settle(&[(task(0), 1, 1), (task(1), 1, 1)]);
    let changelog = |task| {
        settlement.acks[&task]
            .as_ref()
            .expect("acknowledged")
            .changelog
    };
    assert_eq!(
        (changelog(task(0)), changelog(task(1))),
        (Some((0, 2, 3)), Some((0, 0, 1)))
    );
    seat.append(&[of(task(0), "d"), of(task(0), "e")]);
    let settlement = seat.settle(&[(task(0), 1, 2)]);
    assert_eq!(
        settlement.acks[&task(0)]
            .as_ref()
            .expect("acknowledged")
            .changelog,
        Some((3, 4, 2))
    );
    assert_settled(&settlement, task(0));
    let table = group.topic(TopicId(0));
    assert_eq!(texts(&read(log, table, 0, 0)), ["a", "b", "c", "d", "e"]);
}

pub fn outputs_are_not_counted_as_changelog(log: &dyn Log) {
    let (input, output) = (stream(log, 1), stream(log, 3));
    let mut group = stateful(log, &[input], 1);
    group.topics.push(output.as_str().into());
    let mut seat = Seat::owning(log, &group, 1);
    seat.append(&[
        (task(0), Output, 2, 2, "one"),
        (task(0), Changelog, 0, 0, "state"),
        (task(0), Output, 2, 0, "other"),
        (task(0), Output, 2, 2, "two"),
    ]);
    let settlement = seat.settle(&[(task(0), 1, 1)]);
    assert_eq!(
        settlement.acks[&task(0)]
            .as_ref()
            .expect("acknowledged")
            .changelog,
        Some((0, 0, 1))
    );
    assert_eq!(texts(&read(log, &output, 2, 0)), ["one", "two"]);
    assert_eq!(texts(&read(log, &output, 0, 0)), ["other"]);
}

pub fn a_loop_comes_back(log: &dyn Log) {
    let inputs = [stream(log, 1), stream(log, 1)];
    let group = stateful(log, &inputs, 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 2, 0);
    seat.append(&[(task(0), Output, 2, 0, "to myself")]);
    assert_settled(&seat.settle(&[(task(0), 1, 0)]), task(0));
    seat.poll_until("it comes back", |tape| !tape.batches.is_empty());
    assert_eq!(
        texts(&seat.tape.records(task(0), TopicId(2))),
        ["to myself"]
    );
}

pub fn release_and_fetch_elsewhere(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..6);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 1, 0);
    seat.poll_until("records arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() == 6
    });
    seat.member.release(task(0));
    seat.tape.batches.clear();
    write(log, &input, 0, 6..8);
    for _ in 0..5 {
        seat.poll();
    }
    assert!(
        seat.tape.batches.is_empty(),
        "released, yet {:?}",
        seat.tape.batches
    );
    assert!(
        seat.tape.owned.contains_key(&task(0)),
        "a released task stays owned"
    );
    seat.fetch(task(0), 1, 4);
    seat.poll_until("it starts again", |tape| {
        tape.records(task(0), TopicId(1)).len() == 4
    });
    assert_eq!(
        offsets(&seat.tape.records(task(0), TopicId(1))),
        [4, 5, 6, 7]
    );
}

pub fn pause_and_resume(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..3);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 1, 0);
    seat.poll_until("records arrive", |tape| {
        tape.records(task(0), TopicId(1)).len() == 3
    });
    seat.member.pause(true);
    write(log, &input, 0, 3..6);
    for _ in 0..5 {
        seat.poll();
    }
    assert_eq!(seat.tape.records(task(0), TopicId(1)).len(), 3, "paused");
    seat.member.pause(false);
    seat.poll_until("the rest arrives", |tape| {
        tape.records(task(0), TopicId(1)).len() == 6
    });
    assert_eq!(
        offsets(&seat.tape.records(task(0), TopicId(1))),
        (0..6).collect::<Vec<_>>()
    );
}

pub fn an_input_out_of_range_is_broken(log: &dyn Log) {
    let inputs = [stream(log, 1), stream(log, 1)];
    write(log, &inputs[1], 0, 0..2);
    let group = stateful(log, &inputs, 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.member
        .fetch(task(0), &[(TopicId(1), 50), (TopicId(2), 0)])
        .expect("fetched");
    seat.poll_until("one input is broken, the other arrives", |tape| {
        !tape.broken.is_empty() && tape.records(task(0), TopicId(2)).len() == 2
    });
    let (of, topic, error) = &seat.tape.broken[0];
    assert_eq!((*of, *topic), (task(0), TopicId(1)));
    let expected = LogError::OutOfRange {
        topic: inputs[0].clone(),
        partition: 0,
        offset: 50,
    };
    assert_eq!(*error, expected);
}

pub fn a_refused_record_fails_its_task_only(log: &dyn Log) {
    let input = stream(log, 2);
    let group = stateful(log, std::slice::from_ref(&input), 2);
    let mut seat = Seat::owning(log, &group, 2);
    let large = "x".repeat(2 << 20);
    seat.append(&[
        (task(0), Changelog, 0, 0, &large),
        (task(1), Changelog, 0, 1, "small"),
    ]);
    let settlement = seat.settle(&[(task(0), 1, 3), (task(1), 1, 4)]);
    match &settlement.acks[&task(0)] {
        Err(Failure::Refused { topic, key, .. }) => {
            assert_eq!(
                (topic.as_str(), key.as_str()),
                (&**group.topic(TopicId(0)), "key")
            );
        }
        other => panic!("a record of 2 MiB was not refused: {other:?}"),
    }
    assert_ne!(settlement.offsets.get(&task(0)), Some(&Ok(())));
    assert_settled(&settlement, task(1));
    let found = log
        .committed(&group.name, &[tp(&input, 0), tp(&input, 1)])
        .expect("told");
    assert_eq!(found, [None, Some(at(4))]);
    assert_eq!(texts(&read(log, group.topic(TopicId(0)), 1, 0)), ["small"]);
}

pub fn a_unit_settled_twice(log: &dyn Log) {
    let input = stream(log, 1);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.append(&[(task(0), Changelog, 0, 0, "once")]);
    let unit = unit(1, &[(task(0), 1, 8)]);
    assert_settled(&seat.member.commit(&unit, soon()), task(0));
    let again = seat.member.commit(&unit, soon());
    assert_settled(&again, task(0));
    assert!(again.acks.is_empty(), "nothing was appended since");
    assert_eq!(texts(&read(log, group.topic(TopicId(0)), 0, 0)), ["once"]);
    let found = log.committed(&group.name, &[tp(&input, 0)]).expect("told");
    assert_eq!(found, [Some(at(8))]);
}

pub fn an_empty_unit(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut seat = Seat::owning(log, &group, 1);
    let settlement = seat.settle(&[]);
    assert!(settlement.acks.is_empty() && settlement.offsets.is_empty());
}

pub fn rebuild_goes_on(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.append(&[(task(0), Changelog, 0, 0, "early")]);
    seat.member.rebuild().expect("rebuilt");
    seat.append(&[
        (task(0), Changelog, 0, 0, "later"),
        (task(0), Changelog, 0, 0, "last"),
    ]);
    let settlement = seat.settle(&[(task(0), 1, 2)]);
    assert_settled(&settlement, task(0));
    let (first, last, count) = settlement.acks[&task(0)]
        .as_ref()
        .expect("acknowledged")
        .changelog
        .expect("two");
    assert_eq!(
        (last - first, count),
        (1, 2),
        "only what was appended since counts"
    );
    // An engine may have sent `early` before: it then lies before, once.
    let texts = texts(&read(log, group.topic(TopicId(0)), 0, 0));
    let rest = texts.strip_prefix(&["early".to_owned()]).unwrap_or(&texts);
    assert_eq!(rest, ["later", "last"]);
    let end = high(log, group.topic(TopicId(0)), 0);
    assert_eq!(last + 1, end);
}

pub fn records_that_are_not_taken_come_again(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..20);
    let group = stateful(log, &[input], 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 1, 0);
    let seen = |seat: &Seat| offsets(&seat.tape.records(task(0), TopicId(1)));
    wait_until("all records are taken, some in each poll", || {
        let before = seen(&seat).len();
        seat.tape.room = Some(3);
        seat.poll();
        assert!(seen(&seat).len() <= before + 3);
        seen(&seat).len() == 20
    });
    assert_eq!(seen(&seat), (0..20).collect::<Vec<_>>());
    // Nothing that was in hand is ever said to hold nothing.
    for (_, _, _, nothing) in &seat.tape.passed {
        assert!(nothing.start >= 20, "{nothing:?}");
    }
    assert_settled(&seat.settle(&[(task(0), 1, 20)]), task(0));
}

pub fn records_that_are_not_taken_let_other_inputs_pass(log: &dyn Log) {
    let input = stream(log, 2);
    write(log, &input, 0, 0..30);
    write(log, &input, 1, 0..30);
    let group = stateful(log, &[input], 2);
    let mut seat = Seat::owning(log, &group, 2);
    let seen = |seat: &Seat, at| offsets(&seat.tape.records(task(at), TopicId(1)));
    // A client may have fetched one input well before the other; once both are in hand they take turns.
    wait_until("two inputs take turns", || {
        seat.tape.batches.clear();
        seat.fetch(task(0), 1, 0);
        seat.fetch(task(1), 1, 0);
        wait_until("all records are taken, one in each poll", || {
            seat.tape.room = Some(1);
            seat.poll();
            seen(&seat, 0).len() + seen(&seat, 1).len() == 60
        });
        for partition in 0..2 {
            assert_eq!(seen(&seat, partition), (0..30).collect::<Vec<_>>());
        }
        let order: Vec<_> = seat.tape.batches.iter().map(|(task, ..)| *task).collect();
        order.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 10
    });
}

pub fn records_that_are_not_taken_are_dropped_by_a_move(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..20);
    let group = stateful(log, &[input], 1);
    let mut seat = Seat::owning(log, &group, 1);
    let seen = |seat: &Seat| offsets(&seat.tape.records(task(0), TopicId(1)));
    for (from, expected) in [(0, 0), (5, 5), (2, 2)] {
        seat.tape.room = Some(1);
        let before = seen(&seat).len();
        seat.fetch(task(0), 1, from);
        wait_until("the first record from there", || {
            seat.poll();
            seen(&seat).len() > before
        });
        assert_eq!(seen(&seat)[before], expected);
    }
    // Released, what is left does not come; fetched again it does.
    seat.member.release(task(0));
    seat.tape.room = None;
    let before = seen(&seat).len();
    for _ in 0..5 {
        seat.poll();
    }
    assert_eq!(seen(&seat).len(), before);
    seat.fetch(task(0), 1, 18);
    wait_until("the rest", || {
        seat.poll();
        seen(&seat).len() == before + 2
    });
    assert_eq!(seen(&seat)[before..], [18, 19]);
}

pub fn a_member_that_is_kept_alive_keeps_its_tasks(log: &dyn Log) {
    let mut group = stateful(log, &[stream(log, 1)], 1);
    group.max_poll_interval = group.session_timeout;
    let mut seat = Seat::owning(log, &group, 1);
    let alive = seat.member.keep_alive();
    let began = Instant::now();
    while began.elapsed() < group.session_timeout * 2 {
        std::thread::park_timeout(group.session_timeout / 10);
        alive.beat();
    }
    for _ in 0..5 {
        seat.poll();
    }
    assert!(seat.tape.lost.is_empty() && seat.tape.revoked.is_empty());
    assert_settled(&seat.settle(&[(task(0), 1, 5)]), task(0));
}
