//! Groups: who owns what, and who is out.

use super::*;

use Guarantee::AtLeastOnce;

#[test]
fn only_what_moves_is_given_back() {
    let rig = Rig::new(4);
    let (mut first, mut second) = two(&rig, AtLeastOnce);
    assert_eq!(first.tape.revoked.len(), 2);
    assert!(second.tape.revoked.is_empty() && first.tape.lost.is_empty());
    let mut third = rig.join(&Group {
        worker: 2,
        ..Rig::group(AtLeastOnce)
    });
    for _ in 0..10 {
        third.poll().expect("it goes on");
        first.poll().expect("it goes on");
        second.poll().expect("it goes on");
    }
    let owned = [&first, &second, &third].map(|seat| seat.tape.owned.len());
    assert_eq!(owned.iter().sum::<usize>(), 4);
    assert!(owned.iter().all(|count| (1..=2).contains(count)));
    let moved = first.tape.revoked.len() + second.tape.revoked.len();
    assert_eq!(moved, 3, "one more moved");
}

#[test]
fn a_rebalance_waits_for_all_members() {
    let rig = Rig::new(4);
    let mut first = rig.owning(AtLeastOnce);
    let mut second = rig.join(&Group {
        worker: 1,
        ..Rig::group(AtLeastOnce)
    });
    second.polls();
    assert!(second.tape.owned.is_empty(), "the first did not poll");
    // Meanwhile the first goes on as it did.
    assert_settled(&first.settle(&[(task(3), 1, 5)]));
    first.tape.on_revoke = (0..4).map(|number| (task(number), 1, 9)).collect();
    first.poll().expect("it goes on");
    assert_settled(first.tape.settled.as_ref().expect("settled while revoked"));
    second.polls();
    assert!(second.tape.owned.is_empty(), "the first joins anew first");
    first.polls();
    second.polls();
    assert_eq!(second.tape.owned.len(), 2);
    for committed in second.tape.owned.values() {
        assert_eq!(committed[&TopicId(1)].offset, 9);
    }
}

#[test]
fn a_session_ends_by_the_clock() {
    let rig = Rig::new(4);
    let (mut first, mut second) = two(&rig, AtLeastOnce);
    let theirs: Vec<TaskId> = second.tape.owned.keys().copied().collect();
    rig.clock.advance(SESSION);
    first.polls();
    rig.clock.advance(Duration::from_millis(1));
    first.polls();
    assert_eq!(first.tape.owned.len(), 4, "the silent one is out");
    let settlement = second.settle(&[(theirs[0], 1, 5)]);
    let outcome = &settlement.offsets[&theirs[0]];
    assert!(matches!(outcome, Err(Failure::Stale(_))), "{outcome:?}");
    assert!(rig.log.offsets_of("g").is_empty());
    second.poll().expect("it goes on");
    assert_eq!(second.tape.lost, theirs);
    let settlement = second.settle(&[(theirs[0], 1, 5)]);
    let outcome = &settlement.offsets[&theirs[0]];
    assert!(matches!(outcome, Err(Failure::Lost(_))), "{outcome:?}");
    for _ in 0..10 {
        second.poll().expect("it goes on");
        first.poll().expect("it goes on");
    }
    assert_eq!(second.tape.owned.len(), 2, "it comes back");
}

#[test]
fn who_settles_is_not_silent() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    for _ in 0..3 {
        rig.clock.advance(SESSION - seconds(1));
        assert_settled(&seat.settle(&[(task(0), 1, 1)]));
    }
    seat.polls();
    assert!(seat.tape.lost.is_empty());
}

#[test]
fn a_static_member_comes_back_to_its_tasks() {
    let rig = Rig::new(4);
    let (mut first, second) = two(&rig, AtLeastOnce);
    first.tape.revoked.clear();
    let theirs: Vec<TaskId> = second.tape.owned.keys().copied().collect();
    second.member.close(Instant::now()).expect("it leaves");
    first.polls();
    let mut second = rig.join(&Group {
        worker: 1,
        ..Rig::group(AtLeastOnce)
    });
    second.polls();
    first.polls();
    let owned: Vec<TaskId> = second.tape.owned.keys().copied().collect();
    assert_eq!(owned, theirs);
    assert!(first.tape.revoked.is_empty() && first.tape.lost.is_empty());
}

#[test]
fn a_static_member_that_gives_its_place_up_is_gone_at_once() {
    let rig = Rig::new(4);
    let (mut first, second) = two(&rig, AtLeastOnce);
    second.member.leave(Instant::now()).expect("it leaves");
    first.polls();
    assert_eq!(first.tape.owned.len(), 4);
}

#[test]
fn a_member_without_an_instance_is_gone_when_it_leaves() {
    let rig = Rig::new(2);
    let group = Group {
        instance: String::new(),
        ..Rig::group(AtLeastOnce)
    };
    let mut first = rig.join(&group);
    first.polls();
    drop(first);
    let mut second = rig.join(&group);
    second.polls();
    assert_eq!(second.tape.owned.len(), 2);
}

#[test]
fn who_is_killed_does_not_say_so() {
    let rig = Rig::new(4);
    let (mut first, mut second) = two(&rig, AtLeastOnce);
    assert_eq!(rig.log.kill("g/i/1"), 1);
    let theirs = second.tape.owned.keys().next().copied().expect("two");
    second.append(0, theirs.partition, "nothing arrives");
    second.settle(&[(theirs, 1, 5)]);
    drop(second);
    first.polls();
    assert_eq!(first.tape.owned.len(), 2, "its session goes on");
    rig.clock.advance(SESSION);
    first.polls();
    rig.clock.advance(seconds(1));
    first.polls();
    assert_eq!(first.tape.owned.len(), 4);
    assert!(rig.log.offsets_of("g").is_empty());
    assert!(rig.log.records("t", theirs.partition).is_empty());
}

#[test]
fn a_topic_with_another_number_of_partitions_is_another() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    assert_settled(&seat.settle(&[(task(0), 1, 0)]));
    seat.member
        .fetch(task(0), &[(TopicId(1), 0)])
        .expect("fetched");
    let id = |log: &Simulated| log.describe(&["in"]).expect("told")[0].clone();
    let before = id(&rig.log).expect("there").id;
    rig.log.delete("in");
    assert!(rig.log.offsets_of("g").is_empty(), "offsets go with it");
    seat.polls();
    assert!(matches!(
        &*seat.tape.broken,
        [LogError::UnknownTopic { .. }]
    ));
    let again = NewTopic {
        name: "in".to_owned(),
        partitions: 3,
        compact: false,
        retention: None,
    };
    rig.log.create(&again).expect("made again");
    let info = id(&rig.log).expect("there");
    assert_ne!(info.id, before);
    assert_eq!(info.partitions, 3);
}
