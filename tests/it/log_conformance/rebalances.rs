//! Several members of one group, and groups without a table.

use std::time::{Duration, Instant};

use goka_runtime::log::{Group, Log};
use goka_runtime::record::{AppendKind, Guarantee, TaskId, TopicId};

use super::rig::*;

/// Polls two members in turn until both are content.
fn both(what: &str, one: &mut Seat, two: &mut Seat, is_so: impl Fn(&Tape, &Tape) -> bool) {
    wait_until(what, || {
        one.poll();
        two.poll();
        is_so(&one.tape, &two.tape)
    });
}

fn share(log: &dyn Log, group: &Group, first: &mut Seat) -> Seat {
    let mut second = Seat::join(log, &worker(group, 1));
    both(
        "two members share four tasks",
        first,
        &mut second,
        |one, two| one.owned.len() == 2 && two.owned.len() == 2,
    );
    second
}

pub fn a_revoked_task_goes_on_where_it_was_settled(log: &dyn Log) {
    let input = stream(log, 4);
    for partition in 0..4 {
        write(log, &input, partition, 0..10);
    }
    let group = stateful(log, &[input], 4);
    let mut first = Seat::owning(log, &group, 4);
    first.tape.on_revoke = Some(Box::new(|tasks, settle| {
        let offsets: Vec<_> = tasks
            .iter()
            .map(|task| (*task, 1, 6 + i64::from(task.partition)))
            .collect();
        let settlement = settle.commit(&unit(99, &offsets), soon());
        for task in tasks {
            assert_settled(&settlement, *task);
        }
    }));
    let mut second = share(log, &group, &mut first);
    assert_eq!(first.tape.revoked.len(), 2);
    for moved in first.tape.revoked.clone() {
        let (_, committed) = &second.tape.owned[&moved];
        let from = 6 + i64::from(moved.partition);
        assert_eq!(committed[&TopicId(1)], at(from));
        second.fetch(moved, 1, from);
    }
    let moved = first.tape.revoked.clone();
    both(
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
        let first_offset = second.tape.records(task, TopicId(1))[0].offset;
        assert_eq!(first_offset, 6 + i64::from(task.partition));
    }
}

pub fn a_task_that_stays_goes_on(log: &dyn Log) {
    let input = stream(log, 4);
    let group = stateful(log, std::slice::from_ref(&input), 4);
    let mut first = Seat::owning(log, &group, 4);
    for partition in 0..4 {
        first.fetch(task(partition), 1, 0);
    }
    let epochs: Vec<_> = first
        .tape
        .owned
        .iter()
        .map(|(task, (epoch, _))| (*task, *epoch))
        .collect();
    let mut second = share(log, &group, &mut first);
    let stayed: Vec<TaskId> = first.tape.owned.keys().copied().collect();
    for task in &stayed {
        assert!(
            epochs.contains(&(*task, first.tape.owned[task].0)),
            "it was not assigned anew"
        );
    }
    for partition in 0..4 {
        write(log, &input, partition, 0..3);
    }
    both("its records arrive", &mut first, &mut second, |one, _| {
        stayed
            .iter()
            .all(|task| one.records(*task, TopicId(1)).len() == 3)
    });
    assert_eq!(
        first
            .tape
            .batches
            .iter()
            .map(|batch| batch.3.len())
            .sum::<usize>(),
        6,
        "and no others"
    );
    assert_settled(&first.settle(&[(stayed[0], 1, 3)]), stayed[0]);
}

pub fn a_member_that_leaves_gives_its_tasks_away(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 4)], 4);
    let mut first = Seat::owning(log, &group, 4);
    let second = share(log, &group, &mut first);
    let theirs: Vec<TaskId> = second.tape.owned.keys().copied().collect();
    let before: Vec<_> = theirs
        .iter()
        .map(|task| second.tape.owned[task].0)
        .collect();
    second.member.close(soon()).expect("it leaves in peace");
    first.poll_until("the one that stays has all tasks", |tape| {
        tape.owned.len() == 4
    });
    assert!(!before.is_empty());
}

pub fn a_member_that_crashes_gives_its_tasks_away(log: &dyn Log) {
    let input = stream(log, 4);
    let group = stateful(log, std::slice::from_ref(&input), 4);
    let mut first = Seat::owning(log, &group, 4);
    let mut second = share(log, &group, &mut first);
    let theirs: Vec<TaskId> = second.tape.owned.keys().copied().collect();
    assert_settled(&second.settle(&[(theirs[0], 1, 5)]), theirs[0]);
    second.append(&[(
        theirs[0],
        AppendKind::Changelog,
        0,
        theirs[0].partition,
        "unsettled",
    )]);
    drop(second);
    first.poll_until("the one that stays has all tasks", |tape| {
        tape.owned.len() == 4
    });
    assert_eq!(first.tape.owned[&theirs[0]].1[&TopicId(1)], at(5));
}

pub fn an_assignment_after_another_has_a_later_epoch(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 4)], 4);
    let mut first = Seat::owning(log, &group, 4);
    let before = first.tape.owned.clone();
    let second = share(log, &group, &mut first);
    let moved: Vec<TaskId> = first.tape.revoked.clone();
    second.member.close(soon()).expect("it leaves in peace");
    first.poll_until("its tasks come back", |tape| tape.owned.len() == 4);
    for task in moved {
        assert!(first.tape.owned[&task].0 > before[&task].0);
    }
}

pub fn stateless_inputs_are_tasks_apart(log: &dyn Log) {
    let inputs = [stream(log, 2), stream(log, 3)];
    write(log, &inputs[0], 1, 0..2);
    write(log, &inputs[1], 2, 10..12);
    let group = stateless(&inputs);
    let mut seat = Seat::owning(log, &group, 5);
    let of = |lead, partition| TaskId {
        lead: TopicId(lead),
        partition,
    };
    let expected = [of(0, 0), of(0, 1), of(1, 0), of(1, 1), of(1, 2)];
    assert_eq!(
        seat.tape.owned.keys().copied().collect::<Vec<_>>(),
        expected
    );
    seat.fetch(of(0, 1), 0, 0);
    seat.fetch(of(1, 2), 1, 1);
    seat.poll_until("both arrive", |tape| {
        tape.records(of(0, 1), TopicId(0)).len() == 2
            && tape.records(of(1, 2), TopicId(1)).len() == 1
    });
    assert_settled(
        &seat.settle(&[(of(0, 1), 0, 2), (of(1, 2), 1, 12)]),
        of(1, 2),
    );
    let found = log
        .committed(&group.name, &[tp(&inputs[0], 1), tp(&inputs[1], 2)])
        .expect("told");
    assert_eq!(found, [Some(at(2)), Some(at(12))]);
    seat.member.close(soon()).expect("it leaves in peace");
    let seat = Seat::owning(log, &group, 5);
    assert_eq!(seat.tape.owned[&of(0, 1)].1, [(TopicId(0), at(2))].into());
}

pub fn groups_do_not_see_each_other(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..2);
    let (one, two) = (
        stateless(std::slice::from_ref(&input)),
        stateless(std::slice::from_ref(&input)),
    );
    let mut seats = [Seat::owning(log, &one, 1), Seat::owning(log, &two, 1)];
    let of = task(0);
    assert_settled(&seats[0].settle(&[(of, 0, 1)]), of);
    assert_eq!(log.committed(&two.name, &[tp(&input, 0)]), Ok(vec![None]));
    for seat in &mut seats {
        seat.fetch(of, 0, 0);
        seat.poll_until("each reads all", |tape| {
            tape.records(of, TopicId(0)).len() == 2
        });
    }
}

pub fn poll_returns_in_time(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut seat = Seat::owning(log, &group, 1);
    seat.fetch(task(0), 1, 0);
    let begun = Instant::now();
    seat.poll();
    assert!(
        begun.elapsed() < PATIENCE,
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
