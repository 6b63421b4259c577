//! Tasks that are refused or stopped though nothing failed: offsets that a newer build committed, keys in
//! another form, another program under the group's name.

use super::edges::{JOINED, following, record};
use super::*;
use crate::key::format_of_key;

fn cause(world: &World) -> String {
    match &world.stopped[..] {
        [(_, cause)] => cause.to_string(),
        stopped => panic!("one stops, not {stopped:?}"),
    }
}

fn leave_metadata(world: &mut World, task: TaskId, metadata: &str) -> Committed {
    let committed = world.committed.get_mut(&task).expect("started before");
    committed.metadata = metadata.to_owned();
    committed.clone()
}

#[test]
fn offsets_that_a_newer_build_committed_refuse_the_start() {
    for at in [INPUT, JOINED] {
        let mut world = World::in_memory(1);
        world.feed("a", Some("1"));
        world.deliver(10);
        world.finish();
        let left = Committed {
            offset: 1,
            metadata: "goka2;all=else".into(),
        };
        // One of several inputs is enough.
        match at {
            INPUT => world.committed.insert(task(0), left.clone()),
            topic => world.others.insert((task(0), topic), left.clone()),
        };
        let before = (world.committed.clone(), world.others.clone());
        world.crash(0);
        world.feed("a", Some("2"));
        world
            .core
            .tasks
            .plan
            .group
            .topics
            .extend(["visits".into(), "joined".into()]);
        world.assign_all();
        world.deliver(10);
        let why = world.failed.as_ref().expect("refused").to_string();
        for part in [
            "[0]: what group `group`",
            "has version 2",
            "versions up to 1",
        ] {
            assert!(why.contains(part), "{part} in: {why}");
        }
        assert_eq!((world.committed.clone(), world.others.clone()), before);
        assert_eq!(world.changelog[&task(0)].len(), 1, "nothing was handled");
    }
}

#[test]
fn offsets_that_a_newer_build_committed_meanwhile_stop_their_task_and_are_left_alone() {
    for once in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let mut plan = plan(2);
        plan.group.guarantee = once;
        let mut world = World::of(plan, 2, Arc::new(MemoryStores::default()));
        world.lose_all();
        let left = leave_metadata(&mut world, task(1), "goka2;all=else");
        world.assign_all();
        for key in ["a", "b"] {
            world.feed(key, Some("1"));
        }
        world.deliver(10);
        let why = cause(&world);
        assert!(why.contains("input[1]: what group `group`"), "{why}");
        // Offsets that do not move are committed again after some hours, except these.
        let commits = world.commits;
        for _ in 0..3 {
            world.now.monotonic += RECOMMIT;
            world.tick();
        }
        world.finish();
        assert!(world.commits > commits);
        assert_eq!(world.committed[&task(1)], left);
        assert_eq!(world.committed[&task(0)].offset, 1, "the other goes on");
        assert_eq!(world.changelog[&task(1)], []);
    }
}

#[test]
fn metadata_that_is_not_ours_is_ignored() {
    for text in ["", "NoMetadata", "goka", "gokart2;x=1"] {
        let mut world = World::in_memory(1);
        world.lose_all();
        leave_metadata(&mut world, task(0), text);
        world.assign_all();
        world.feed("a", Some("1"));
        world.finish();
        assert_eq!(
            (&world.failed, &world.stopped[..]),
            (&None, &[][..]),
            "{text}"
        );
        assert_eq!(world.committed[&task(0)].offset, 1);
    }
}

/// A world whose keys are numbers, each in the partition of its first byte.
fn numbers() -> World {
    let mut plan = plan(1);
    plan.inputs[0].key = format_of_key::<u64>();
    World::of(plan, 1, Arc::new(MemoryStores::default()))
}

#[test]
fn a_key_in_another_form_stops_its_task_at_its_record() {
    let mut world = numbers();
    for key in ["7", "007", "8"] {
        world.feed(key, Some("1"));
    }
    world.deliver(10);
    let why = cause(&world);
    for part in [
        "input[0] offset 1, key `007`",
        "this program writes this key as `7`",
    ] {
        assert!(why.contains(part), "{part} in: {why}");
    }
    world.finish();
    assert_eq!(world.committed[&task(0)].offset, 1);
    let table = world.table(task(0));
    assert_eq!(table.keys().collect::<Vec<_>>(), [&b"7".to_vec()]);
}

#[test]
fn a_key_that_does_not_decode_is_its_handlers_to_refuse() {
    let mut world = numbers();
    world.feed("seven", Some("1"));
    world.finish();
    assert_eq!(world.stopped, [], "this handler takes any");
    assert_eq!(world.committed[&task(0)].offset, 1);
}

#[test]
fn a_group_that_only_joins_needs_its_keys_form_too() {
    let (mut world, ..) = following();
    world.core.tasks.plan.table = None;
    world.core.tasks.plan.inputs[0].key = format_of_key::<u64>();
    let input = world.core.tasks.plan.inputs[0].clone();
    let tasks = &mut world.core.tasks;
    let mut env = handler_call::HandlerEnv {
        plan: &tasks.plan,
        services: &Disk::default(),
        state: &(),
        appends: &mut Appends::default(),
        scratch: &mut crate::core::scope::Scratch::default(),
        turn: &mut crate::core::turn_limit::Turn::new(&tasks.plan, SlowCalls::default()),
    };
    let task = tasks.all.get_mut(&task(0)).expect("assigned");
    let records = [record(0, b"007", b"1")];
    let outcome = handler_call::handle(task, &input, &records, &mut env);
    let Err(handler_call::CallError::Stop(reason)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        matches!(&reason, StopReason::OtherForm { record, .. } if record.offset == 0),
        "{reason:?}"
    );
}

#[test]
fn a_joined_row_whose_key_has_another_form_stops_the_task() {
    let (mut world, copy, epoch) = following();
    world.core.tasks.plan.joins[0].key = format_of_key::<u64>();
    world.step(Event::Restored(copy, epoch, Ok(7)));
    world.tick();
    world.hand(task(0), JOINED, record(7, b"7", b"profile"));
    // Deleting such a row is no mistake.
    let deleted = Record {
        value: None,
        ..record(8, b"007", b"")
    };
    world.hand(task(0), JOINED, deleted);
    assert_eq!(world.stopped, []);
    world.hand(task(0), JOINED, record(9, b"+7", b"profile"));
    let why = cause(&world);
    assert!(why.contains("joined[0] offset 9, key `+7`"), "{why}");
    world.finish();
    let flushed = world.joined.last().expect("flushed");
    assert_eq!(flushed.1, 9, "it is read again after a restart");
}

/// A world of a group whose other programs are looked for.
fn verifying() -> World {
    let mut plan = plan(2);
    plan.verifies = true;
    let mut world = World::of(plan, 2, Arc::new(MemoryStores::default()));
    world.feed("a", Some("1"));
    world.deliver(10);
    world.tick();
    world
}

#[test]
fn nothing_is_handled_before_it_is_known_that_no_other_program_uses_the_groups_name() {
    let mut world = verifying();
    assert_eq!(
        world.committed.len(),
        2,
        "the start offsets are there to be found"
    );
    assert_eq!(
        (world.fetches.len(), world.changelog[&task(1)].len()),
        (0, 0)
    );
    for (task, epoch) in std::mem::take(&mut world.verifies) {
        world.step(Event::Verified(task, epoch, Ok(())));
    }
    world.finish();
    assert_eq!(world.committed[&task(1)].offset, 1);
    // An inspection of a task that runs goes by what is committed.
    for task in world.core.tasks.all.values() {
        assert!(task.offsets.metadata().is_some());
    }
    // Once is enough: a program that starts later finds this one.
    world.lose_all();
    world.assign_all();
    assert_eq!(world.verifies, []);
}

#[test]
fn a_program_that_finds_another_one_withdraws_its_start_offsets_metadata() {
    let mut world = verifying();
    let (found, epoch) = world.verifies[0];
    let other = StopReason::OtherProgram {
        at: "others[0]".into(),
        found: "one".into(),
        holder: String::new(),
    };
    world.step(Event::Verified(found, epoch, Err(other.clone())));
    assert_eq!(world.failed, Some(other));
    for _ in 0..3 {
        world.step(Event::Drain);
    }
    for committed in world.committed.values() {
        assert_eq!((committed.offset, &*committed.metadata), (0, ""));
    }
    assert_eq!(world.changelog[&task(1)].len(), 0);
}
