//! When memtables go to their stores, and what is read until then.

use super::edges::{JOINED, following, record};
use super::*;

/// Flushes every second, or when so many bytes wait.
fn world(flush_bytes: usize) -> World {
    let mut plan = plan(1);
    plan.flush_interval = Duration::from_secs(1);
    plan.flush_bytes = flush_bytes;
    World::of(plan, 1, Arc::new(MemoryStores::default()))
}

fn stored(world: &World) -> Offset {
    let checkpoint = world.inspection(task(0)).checkpoint;
    checkpoint.map_or(0, |checkpoint| checkpoint.offset)
}

fn feed(world: &mut World, keys: usize) {
    for key in 0..keys {
        world.feed(&format!("a{key}"), Some("1"));
    }
    world.deliver(keys);
    world.tick();
}

#[test]
fn writes_wait_for_the_interval_and_cost_the_store_once() {
    let mut world = world(1 << 20);
    world.tick();
    let mut behind = 0;
    for round in 1..=12 {
        feed(&mut world, 1);
        assert_eq!(world.committed[&task(0)].offset, round);
        behind = behind.max(round - stored(&world));
    }
    // A tick is 250 ms: four of them are a second.
    assert!((3..=5).contains(&behind), "{behind} behind at most");
    assert!(world.flushes <= 3, "{} flushes", world.flushes);
    world.finish();
    assert_eq!(stored(&world), 12);
    let table = world.table(task(0));
    assert_eq!(table[&b"a0"[..].to_vec()], b"12/1");
}

#[test]
fn many_bytes_that_wait_are_flushed_before_the_interval() {
    let mut world = world(20_000);
    feed(&mut world, 10);
    assert_eq!(stored(&world), 0);
    feed(&mut world, 1_000);
    assert_eq!(stored(&world), 1_010);
}

#[test]
fn a_restart_replays_what_was_not_flushed() {
    let mut world = world(1 << 20);
    feed(&mut world, 10);
    world.crash(0);
    world.assign_all();
    assert_eq!(stored(&world), 10, "from the changelog");
    world.finish();
    assert_eq!(world.changelog[&task(0)].len(), 10);
}

#[test]
fn memory_holds_no_more_than_its_budget() {
    let mut plan = plan(1);
    plan.memory = 20_000;
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    for _ in 0..20 {
        feed(&mut world, 100);
    }
    for _ in 0..5 {
        world.tick();
    }
    let (bytes, _) = world.core.memory();
    assert!(bytes <= 20_000, "{bytes}");
    world.finish();
    let table = world.table(task(0));
    assert!(table.values().all(|value| value == b"20/1"));
}

/// A copy that lags must not be noted as level with its topic: deletions that it has not seen may be
/// compacted away before it is opened again.
#[test]
fn a_joined_copy_is_level_only_as_of_an_end_that_it_has_reached() {
    let (mut world, copy, epoch) = following();
    world.step(Event::Restored(copy, epoch, Ok(7)));
    world.tick();
    let mut next = 7;
    let mut flushed_at = |world: &mut World| {
        world.hand(task(0), JOINED, record(next, b"a", b"profile"));
        next += 1;
        world.tick();
        *world.joined_level_at.last().expect("it was flushed")
    };
    assert_eq!(flushed_at(&mut world), None, "no end is known: 8");
    world.step(Event::SawEnd(copy, 10, 100));
    assert_eq!(flushed_at(&mut world), None, "it lags: 9");
    // A later end does not take the place of the one that is reached first.
    world.step(Event::SawEnd(copy, 20, 200));
    assert_eq!(flushed_at(&mut world), Some(100), "10");
    assert_eq!(flushed_at(&mut world), Some(100), "11");
    world.step(Event::SawEnd(copy, 11, 300));
    assert_eq!(flushed_at(&mut world), Some(300), "12");
}
