//! Turns: handlers that take time or write much, and what is done between them.

use std::cell::RefCell;
use std::time::Duration;

use super::edges::{VISIT, looking, record, visited, visiting};
use super::*;
use crate::dispatch::Call;

const MILLI: Duration = Duration::from_millis(1);

fn taking(mut world: World, each: Duration) -> World {
    world.open.handler_takes.set(each);
    // Ends the turn that the start began.
    world.step(Event::Tick);
    world
}

fn fed(partitions: i32, records: usize) -> World {
    let mut world = World::in_memory(partitions);
    for number in 0..records {
        world.feed(&format!("a{number}"), Some("1"));
    }
    world
}

fn handled(world: &World) -> usize {
    let (_, _, positions) = world.core.tasks().next().unwrap();
    usize::try_from(positions[&INPUT]).unwrap()
}

#[test]
fn a_turn_ends_by_time_and_at_least_one_record_is_in_it() {
    for (each, expected) in [(8 * MILLI, 3), (170 * MILLI, 1), (3_000 * MILLI, 1)] {
        let mut world = taking(fed(1, 100), each);
        world.deliver(100);
        assert_eq!(handled(&world), expected, "{each:?}");
        // The member may offer more before the next tick.
        world.deliver(100);
        assert_eq!(handled(&world), expected, "{each:?}");
        world.step(Event::Tick);
        world.deliver(100);
        assert_eq!(handled(&world), 2 * expected, "{each:?}");
    }
    let mut world = taking(fed(1, 2_000), Duration::ZERO);
    world.deliver(2_000);
    assert_eq!(handled(&world), 2_000, "quick handlers take all");
}

#[test]
fn offsets_move_while_a_backlog_is_handled() {
    for each in [8 * MILLI, 170 * MILLI, 3_000 * MILLI] {
        let mut world = taking(fed(1, 100), each);
        let mut last = (world.now.monotonic, 0);
        while handled(&world) < 100 {
            world.deliver(100);
            world.step(Event::Tick);
            let committed = world.committed[&task(0)].offset;
            if committed > last.1 {
                last = (world.now.monotonic, committed);
            }
            let waited = world.now.monotonic - last.0;
            assert!(waited <= each + 130 * MILLI, "{waited:?} without a commit");
        }
    }
}

#[test]
fn a_turn_ends_by_bytes() {
    fn large(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
        raw.scope.store(Some(&mut |out| {
            out.resize(900_000, b'x');
            Ok(())
        }))?;
        Ok(())
    }
    let mut plan = plan(1);
    plan.inputs[0].call = Call::Sync(large);
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    for number in 0..200 {
        world.feed(&format!("a{number}"), Some("1"));
    }
    world.deliver(200);
    assert_eq!(handled(&world), 5, "4 MiB, and the record that filled them");
}

thread_local! {
    static CALLS: RefCell<Vec<Offset>> = const { RefCell::new(Vec::new()) };
}

/// What was written when each call was made.
fn noting(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    CALLS.with_borrow_mut(|calls| calls.push(raw.record.offset));
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(b"1/1");
        Ok(())
    }))?;
    Ok(())
}

#[test]
fn a_record_that_outlived_its_transaction_is_handled_again_in_one_of_its_own() {
    let mut plan = plan(1);
    plan.group.guarantee = Guarantee::ExactlyOnce;
    plan.inputs[0].call = Call::Sync(noting);
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    world.step(Event::Tick);
    for number in 0..4 {
        world.feed(&format!("a{number}"), Some("1"));
    }
    // Two quick records, then one of 15 s in the same transaction, which is over meanwhile.
    world.deliver(2);
    world.open.handler_takes.set(Duration::from_secs(15));
    world.step(Event::Tick);
    world.deliver(1);
    world.next_commit =
        NextCommit::CommitFails(Failure::Abortable("the transaction timed out".into()));
    world.step(Event::Tick);
    assert_eq!(world.aborts, 1);
    world.next_commit = NextCommit::Succeeds;
    world.open.handler_takes.set(Duration::ZERO);
    let before = world.commits;
    CALLS.with_borrow_mut(|calls| assert_eq!(calls[..], [0, 1, 2]));
    // The next client knows of it.
    let slow = world.core.take_slow_calls().expect("there is a slow call");
    world.crash(0);
    world.core = Core::new(world.core.plan().clone(), true, slow);
    world.assign_all();
    world.step(Event::Tick);
    world.deliver(4);
    CALLS.with_borrow(|calls| assert_eq!(calls[3..], [0, 1], "the slow one waits"));
    world.step(Event::Tick);
    assert!(world.commits > before, "the others are committed first");
    let committed = world.committed[&task(0)].offset;
    assert_eq!(committed, 2);
    world.open.handler_takes.set(Duration::from_secs(15));
    world.deliver(4);
    world.step(Event::Tick);
    CALLS.with_borrow(|calls| assert_eq!(calls[5..], [2], "alone"));
    assert_eq!(world.committed[&task(0)].offset, 3, "committed at once");
    world.finish();
}

#[test]
fn a_slow_walk_has_a_key_in_each_turn_and_keeps_its_place() {
    let mut world = taking(visiting(), Duration::from_millis(800));
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    for key in 0..5 {
        world.feed(&format!("b{key}"), Some("1"));
        world.deliver(1);
        world.step(Event::Tick);
    }
    assert_eq!(visited().len(), 5);
    assert!(handled(&world) >= 1_204, "other records have their turns");
    // A stop, a crash or another owner goes on behind the key in hand.
    world.step(Event::Drain);
    world.crash(usize::MAX);
    world.assign_all();
    world.open.handler_takes.set(Duration::from_millis(800));
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    world.step(Event::Tick);
    assert_eq!(visited(), ["a0005"]);
}

#[test]
fn a_key_that_outlived_its_transaction_is_visited_in_one_of_its_own() {
    let mut world = visiting();
    let mut plan = world.core.plan().clone();
    plan.group.guarantee = Guarantee::ExactlyOnce;
    plan.barrier = Duration::from_secs(4);
    if let Some(visits) = &mut plan.visits {
        visits.calls = vec![("reset", Call::Sync(looking))];
    }
    world.crash(usize::MAX);
    world.core = Core::new(plan, false, SlowCalls::default());
    world.assign_all();
    world.step(Event::Tick);
    visited();
    // The walk begins behind a record of the same transaction.
    world.feed("b", Some("1"));
    world.deliver(1);
    world.hand(task(0), VISIT, record(0, b"reset", b""));
    world.open.handler_takes.set(Duration::from_secs(12));
    world.next_commit =
        NextCommit::CommitFails(Failure::Abortable("the transaction timed out".into()));
    world.step(Event::Tick);
    assert_eq!((visited().len(), world.aborts), (1, 1));
    world.next_commit = NextCommit::Succeeds;
    world.open.handler_takes.set(Duration::ZERO);
    world.now.monotonic += Duration::from_secs(1);
    world.deliver(1);
    world.hand(task(0), VISIT, record(0, b"reset", b""));
    world.open.handler_takes.set(Duration::from_secs(12));
    let commits = world.commits;
    world.step(Event::Tick);
    assert_eq!(visited().len(), 0, "the record before is committed first");
    assert_eq!(world.commits, commits + 1);
    world.step(Event::Tick);
    assert_eq!(visited().len(), 1, "then the key, alone");
    assert_eq!(world.commits, commits + 2);
}
