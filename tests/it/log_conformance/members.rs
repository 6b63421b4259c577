//! One member of a group: assignment, fetching, committing.

use std::time::Instant;

use goka_runtime::log::{Failure, Log, LogError};
use goka_runtime::record::{AppendKind, TaskId, TopicId};

use super::rig::*;

use AppendKind::{Changelog, Output};

pub fn join_assigns_all_tasks(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 3)], 3);
    let member = TestMember::owning(log, &group, 3);
    for partition in 0..3 {
        let (_, committed) = &member.recorder.owned[&task(partition)];
        assert!(committed.is_empty(), "nothing was ever committed");
    }
}

pub fn committed_offsets_come_with_the_next_assignment(log: &dyn Log) {
    let inputs = [stream(log, 2), stream(log, 2)];
    let group = stateful(log, &inputs, 2);
    let mut member = TestMember::owning(log, &group, 2);
    let outcome = member.commit(&[(task(0), 1, 5), (task(0), 2, 9)]);
    assert_committed(&outcome, task(0));
    member.inner.close(deadline()).expect("it leaves");
    let member = TestMember::owning(log, &group, 2);
    let expected = [(TopicId(1), at(5)), (TopicId(2), at(9))];
    assert_eq!(member.recorder.owned[&task(0)].1, expected.into());
    assert!(member.recorder.owned[&task(1)].1.is_empty());
}

pub fn committed_offsets_are_seen_by_others(log: &dyn Log) {
    let input = stream(log, 2);
    let group = stateful(log, std::slice::from_ref(&input), 2);
    let mut member = TestMember::owning(log, &group, 2);
    assert_committed(&member.commit(&[(task(1), 1, 7)]), task(1));
    let asked = [tp(&input, 0), tp(&input, 1)];
    let found = log.committed(&group.name, &asked).expect("the log answers");
    assert_eq!(found, [None, Some(at(7))]);
    assert_committed(&member.commit(&[(task(1), 1, 3)]), task(1));
    let found = log.committed(&group.name, &asked).expect("the log answers");
    assert_eq!(found, [None, Some(at(3))], "offsets may go back");
    let unknown = log
        .committed(&unique("nobody"), &asked)
        .expect("the log answers");
    assert_eq!(unknown, [None, None]);
}

pub fn a_fetch_begins_at_its_position(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..20);
    let group = stateful(log, &[input], 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 1, 12);
    member.poll_until("the rest arrives", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 8
    });
    let records = member.recorder.records(task(0), TopicId(1));
    assert_eq!(offsets(&records), (12..20).collect::<Vec<_>>());
    assert_eq!(
        texts(&records),
        (12..20).map(|n| n.to_string()).collect::<Vec<_>>()
    );
}

pub fn a_batch_names_its_task_and_epoch(log: &dyn Log) {
    let input = stream(log, 2);
    write(log, &input, 0, 0..3);
    write(log, &input, 1, 10..12);
    let group = stateful(log, &[input], 2);
    let mut member = TestMember::owning(log, &group, 2);
    member.fetch(task(0), 1, 0);
    member.fetch(task(1), 1, 0);
    member.poll_until("both tasks' records arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 3
            && recorder.records(task(1), TopicId(1)).len() == 2
    });
    for (of, epoch, topic, _) in &member.recorder.batches {
        assert_eq!((*epoch, *topic), (member.recorder.owned[of].0, TopicId(1)));
    }
    assert_eq!(
        texts(&member.recorder.records(task(1), TopicId(1))),
        ["10", "11"]
    );
}

pub fn nothing_is_fetched_unasked(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..3);
    let group = stateful(log, &[input], 1);
    let mut member = TestMember::owning(log, &group, 1);
    for _ in 0..5 {
        member.poll();
    }
    assert!(member.recorder.batches.is_empty());
}

pub fn two_inputs_are_one_task(log: &dyn Log) {
    let inputs = [stream(log, 1), stream(log, 1)];
    write(log, &inputs[0], 0, 0..5);
    write(log, &inputs[1], 0, 10..15);
    let group = stateful(log, &inputs, 1);
    let mut member = TestMember::owning(log, &group, 1);
    let positions = [(TopicId(1), 2), (TopicId(2), 4)];
    member.inner.fetch(task(0), &positions).expect("fetched");
    member.poll_until("both inputs arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() + recorder.records(task(0), TopicId(2)).len()
            == 4
    });
    assert_eq!(
        texts(&member.recorder.records(task(0), TopicId(1))),
        ["2", "3", "4"]
    );
    assert_eq!(texts(&member.recorder.records(task(0), TopicId(2))), ["14"]);
}

pub fn a_joined_topic_is_fetched_beside_the_inputs(log: &dyn Log) {
    let topics = [stream(log, 1), stream(log, 1)];
    write(log, &topics[0], 0, 0..2);
    write(log, &topics[1], 0, 10..13);
    let mut group = stateful(log, &topics, 1);
    // The second topic is no input: no offset is committed for it.
    group.inputs = vec![TopicId(1)];
    let mut member = TestMember::owning(log, &group, 1);
    let positions = [(TopicId(1), 0), (TopicId(2), 1)];
    member.inner.fetch(task(0), &positions).expect("fetched");
    member.poll_until("both arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() + recorder.records(task(0), TopicId(2)).len()
            == 4
    });
    assert_eq!(
        texts(&member.recorder.records(task(0), TopicId(2))),
        ["11", "12"]
    );
}

pub fn new_records_arrive_while_polling(log: &dyn Log) {
    let input = stream(log, 1);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 1, 0);
    member.poll();
    write(log, &input, 0, 0..2);
    member.poll_until("they arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 2
    });
    write(log, &input, 0, 2..4);
    member.poll_until("more arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 4
    });
    assert_eq!(
        texts(&member.recorder.records(task(0), TopicId(1))),
        ["0", "1", "2", "3"]
    );
}

pub fn acks_are_contiguous(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 2)], 2);
    let mut member = TestMember::owning(log, &group, 2);
    let of = |task: TaskId, value| (task, Changelog, 0, task.partition, value);
    member.append(&[
        of(task(0), "a"),
        of(task(1), "x"),
        of(task(0), "b"),
        of(task(0), "c"),
    ]);
    let outcome = member.commit(&[(task(0), 1, 1), (task(1), 1, 1)]);
    let changelog = |task| {
        outcome.acks[&task]
            .as_ref()
            .expect("acknowledged")
            .changelog
    };
    assert_eq!(
        (changelog(task(0)), changelog(task(1))),
        (Some((0, 2, 3)), Some((0, 0, 1)))
    );
    member.append(&[of(task(0), "d"), of(task(0), "e")]);
    let outcome = member.commit(&[(task(0), 1, 2)]);
    assert_eq!(
        outcome.acks[&task(0)]
            .as_ref()
            .expect("acknowledged")
            .changelog,
        Some((3, 4, 2))
    );
    assert_committed(&outcome, task(0));
    let table = group.topic(TopicId(0));
    assert_eq!(texts(&read(log, table, 0, 0)), ["a", "b", "c", "d", "e"]);
}

pub fn outputs_are_not_counted_as_changelog(log: &dyn Log) {
    let (input, output) = (stream(log, 1), stream(log, 3));
    let mut group = stateful(log, &[input], 1);
    group.topics.push(output.as_str().into());
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[
        (task(0), Output, 2, 2, "one"),
        (task(0), Changelog, 0, 0, "state"),
        (task(0), Output, 2, 0, "other"),
        (task(0), Output, 2, 2, "two"),
    ]);
    let outcome = member.commit(&[(task(0), 1, 1)]);
    assert_eq!(
        outcome.acks[&task(0)]
            .as_ref()
            .expect("acknowledged")
            .changelog,
        Some((0, 0, 1))
    );
    assert_eq!(texts(&read(log, &output, 2, 0)), ["one", "two"]);
    assert_eq!(texts(&read(log, &output, 0, 0)), ["other"]);
}

pub fn a_record_written_to_an_own_input_is_fetched(log: &dyn Log) {
    let inputs = [stream(log, 1), stream(log, 1)];
    let group = stateful(log, &inputs, 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 2, 0);
    member.append(&[(task(0), Output, 2, 0, "to myself")]);
    assert_committed(&member.commit(&[(task(0), 1, 0)]), task(0));
    member.poll_until("it comes back", |recorder| !recorder.batches.is_empty());
    assert_eq!(
        texts(&member.recorder.records(task(0), TopicId(2))),
        ["to myself"]
    );
}

pub fn a_released_task_can_be_fetched_from_another_offset(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..6);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 1, 0);
    member.poll_until("records arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 6
    });
    member.inner.release(task(0));
    member.recorder.batches.clear();
    write(log, &input, 0, 6..8);
    for _ in 0..5 {
        member.poll();
    }
    assert!(
        member.recorder.batches.is_empty(),
        "released, yet {:?}",
        member.recorder.batches
    );
    assert!(
        member.recorder.owned.contains_key(&task(0)),
        "a released task stays owned"
    );
    member.fetch(task(0), 1, 4);
    member.poll_until("it starts again", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 4
    });
    assert_eq!(
        offsets(&member.recorder.records(task(0), TopicId(1))),
        [4, 5, 6, 7]
    );
}

pub fn pause_and_resume(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..3);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 1, 0);
    member.poll_until("records arrive", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 3
    });
    member.inner.pause(true);
    write(log, &input, 0, 3..6);
    for _ in 0..5 {
        member.poll();
    }
    assert_eq!(
        member.recorder.records(task(0), TopicId(1)).len(),
        3,
        "paused"
    );
    member.inner.pause(false);
    member.poll_until("the rest arrives", |recorder| {
        recorder.records(task(0), TopicId(1)).len() == 6
    });
    assert_eq!(
        offsets(&member.recorder.records(task(0), TopicId(1))),
        (0..6).collect::<Vec<_>>()
    );
}

pub fn an_input_out_of_range_fails(log: &dyn Log) {
    let inputs = [stream(log, 1), stream(log, 1)];
    write(log, &inputs[1], 0, 0..2);
    let group = stateful(log, &inputs, 1);
    let mut member = TestMember::owning(log, &group, 1);
    member
        .inner
        .fetch(task(0), &[(TopicId(1), 50), (TopicId(2), 0)])
        .expect("fetched");
    member.poll_until("one input is broken, the other arrives", |recorder| {
        !recorder.failed_inputs.is_empty() && recorder.records(task(0), TopicId(2)).len() == 2
    });
    let (of, topic, error) = &member.recorder.failed_inputs[0];
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
    let mut member = TestMember::owning(log, &group, 2);
    let large = "x".repeat(2 << 20);
    member.append(&[
        (task(0), Changelog, 0, 0, &large),
        (task(1), Changelog, 0, 1, "small"),
    ]);
    let outcome = member.commit(&[(task(0), 1, 3), (task(1), 1, 4)]);
    match &outcome.acks[&task(0)] {
        Err(Failure::Refused { topic, key, .. }) => {
            assert_eq!(
                (topic.as_str(), key.as_str()),
                (&**group.topic(TopicId(0)), "key")
            );
        }
        other => panic!("a record of 2 MiB was not refused: {other:?}"),
    }
    assert_ne!(outcome.offsets.get(&task(0)), Some(&Ok(())));
    assert_committed(&outcome, task(1));
    let found = log
        .committed(&group.name, &[tp(&input, 0), tp(&input, 1)])
        .expect("the log answers");
    assert_eq!(found, [None, Some(at(4))]);
    assert_eq!(texts(&read(log, group.topic(TopicId(0)), 1, 0)), ["small"]);
}

pub fn a_batch_that_is_committed_twice(log: &dyn Log) {
    let input = stream(log, 1);
    let group = stateful(log, std::slice::from_ref(&input), 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[(task(0), Changelog, 0, 0, "once")]);
    let batch = commit_batch(1, &[(task(0), 1, 8)]);
    assert_committed(&member.inner.commit(&batch, deadline()), task(0));
    let again = member.inner.commit(&batch, deadline());
    assert_committed(&again, task(0));
    assert!(again.acks.is_empty(), "nothing was appended since");
    assert_eq!(texts(&read(log, group.topic(TopicId(0)), 0, 0)), ["once"]);
    let found = log
        .committed(&group.name, &[tp(&input, 0)])
        .expect("the log answers");
    assert_eq!(found, [Some(at(8))]);
}

pub fn an_empty_commit(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut member = TestMember::owning(log, &group, 1);
    let outcome = member.commit(&[]);
    assert!(outcome.acks.is_empty() && outcome.offsets.is_empty());
}

pub fn a_rebuilt_producer_continues(log: &dyn Log) {
    let group = stateful(log, &[stream(log, 1)], 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.append(&[(task(0), Changelog, 0, 0, "early")]);
    member.inner.rebuild().expect("rebuilt");
    member.append(&[
        (task(0), Changelog, 0, 0, "later"),
        (task(0), Changelog, 0, 0, "last"),
    ]);
    let outcome = member.commit(&[(task(0), 1, 2)]);
    assert_committed(&outcome, task(0));
    let (first, last, count) = outcome.acks[&task(0)]
        .as_ref()
        .expect("acknowledged")
        .changelog
        .expect("two");
    assert_eq!(
        (last - first, count),
        (1, 2),
        "only records appended since the rebuild are counted"
    );
    // An engine may have sent `early` before the rebuild; it is then in the log once.
    let texts = texts(&read(log, group.topic(TopicId(0)), 0, 0));
    let rest = texts.strip_prefix(&["early".to_owned()]).unwrap_or(&texts);
    assert_eq!(rest, ["later", "last"]);
    let end = high(log, group.topic(TopicId(0)), 0);
    assert_eq!(last + 1, end);
}

pub fn records_that_are_not_taken_are_delivered_again(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..20);
    let group = stateful(log, &[input], 1);
    let mut member = TestMember::owning(log, &group, 1);
    member.fetch(task(0), 1, 0);
    let seen = |member: &TestMember| offsets(&member.recorder.records(task(0), TopicId(1)));
    wait_until("all records are taken, some in each poll", || {
        let before = seen(&member).len();
        member.recorder.room = Some(3);
        member.poll();
        assert!(seen(&member).len() <= before + 3);
        seen(&member).len() == 20
    });
    assert_eq!(seen(&member), (0..20).collect::<Vec<_>>());
    // Records that were fetched are never reported as a gap.
    for (.., gap) in &member.recorder.gaps {
        assert!(gap.start >= 20, "{gap:?}");
    }
    assert_committed(&member.commit(&[(task(0), 1, 20)]), task(0));
}

pub fn records_that_are_not_taken_do_not_block_other_inputs(log: &dyn Log) {
    let input = stream(log, 2);
    write(log, &input, 0, 0..30);
    write(log, &input, 1, 0..30);
    let group = stateful(log, &[input], 2);
    let mut member = TestMember::owning(log, &group, 2);
    let seen = |member: &TestMember, at| offsets(&member.recorder.records(task(at), TopicId(1)));
    // A client may have fetched one input well before the other. Once both are fetched they take turns.
    wait_until("two inputs take turns", || {
        member.recorder.batches.clear();
        member.fetch(task(0), 1, 0);
        member.fetch(task(1), 1, 0);
        wait_until("all records are taken, one in each poll", || {
            member.recorder.room = Some(1);
            member.poll();
            seen(&member, 0).len() + seen(&member, 1).len() == 60
        });
        for partition in 0..2 {
            assert_eq!(seen(&member, partition), (0..30).collect::<Vec<_>>());
        }
        let order: Vec<_> = member
            .recorder
            .batches
            .iter()
            .map(|(task, ..)| *task)
            .collect();
        order.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 10
    });
}

pub fn records_that_are_not_taken_are_dropped_by_a_new_fetch(log: &dyn Log) {
    let input = stream(log, 1);
    write(log, &input, 0, 0..20);
    let group = stateful(log, &[input], 1);
    let mut member = TestMember::owning(log, &group, 1);
    let seen = |member: &TestMember| offsets(&member.recorder.records(task(0), TopicId(1)));
    for (from, expected) in [(0, 0), (5, 5), (2, 2)] {
        member.recorder.room = Some(1);
        let before = seen(&member).len();
        member.fetch(task(0), 1, from);
        wait_until("the first record from there", || {
            member.poll();
            seen(&member).len() > before
        });
        assert_eq!(seen(&member)[before], expected);
    }
    // After a release the other records are not delivered, after a new fetch they are.
    member.inner.release(task(0));
    member.recorder.room = None;
    let before = seen(&member).len();
    for _ in 0..5 {
        member.poll();
    }
    assert_eq!(seen(&member).len(), before);
    member.fetch(task(0), 1, 18);
    wait_until("the rest", || {
        member.poll();
        seen(&member).len() == before + 2
    });
    assert_eq!(seen(&member)[before..], [18, 19]);
}

pub fn a_member_that_is_kept_alive_keeps_its_tasks(log: &dyn Log) {
    let mut group = stateful(log, &[stream(log, 1)], 1);
    group.max_poll_interval = group.session_timeout;
    let mut member = TestMember::owning(log, &group, 1);
    let alive = member.inner.keep_alive();
    let began = Instant::now();
    while began.elapsed() < group.session_timeout * 2 {
        std::thread::park_timeout(group.session_timeout / 10);
        alive.beat();
    }
    for _ in 0..5 {
        member.poll();
    }
    assert!(member.recorder.lost.is_empty() && member.recorder.revoked.is_empty());
    assert_committed(&member.commit(&[(task(0), 1, 5)]), task(0));
}
