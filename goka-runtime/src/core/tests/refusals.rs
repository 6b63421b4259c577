//! What a task is refused for, or stops at, though nothing failed: offsets that a newer build committed.

use super::edges::JOINED;
use super::*;

fn cause(world: &World) -> String {
    match &world.stopped[..] {
        [(_, cause)] => cause.to_string(),
        stopped => panic!("one stops, not {stopped:?}"),
    }
}

fn leaves_behind(world: &mut World, task: TaskId, metadata: &str) -> Committed {
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
        let left = leaves_behind(&mut world, task(1), "goka2;all=else");
        world.assign_all();
        for key in ["a", "b"] {
            world.feed(key, Some("1"));
        }
        world.deliver(10);
        let why = cause(&world);
        assert!(why.contains("input[1]: what group `group`"), "{why}");
        // Offsets that do not move are committed again after some hours: not those.
        let settlements = world.settlements;
        for _ in 0..3 {
            world.now.monotonic += RECOMMIT;
            world.tick();
        }
        world.finish();
        assert!(world.settlements > settlements);
        assert_eq!(world.committed[&task(1)], left);
        assert_eq!(world.committed[&task(0)].offset, 1, "the other goes on");
        assert_eq!(world.changelog[&task(1)], []);
    }
}

#[test]
fn what_another_program_left_with_the_offsets_counts_for_nothing() {
    for text in ["", "NoMetadata", "goka", "gokart2;x=1"] {
        let mut world = World::in_memory(1);
        world.lose_all();
        leaves_behind(&mut world, task(0), text);
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
