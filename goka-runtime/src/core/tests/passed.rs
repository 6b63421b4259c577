//! Offsets that hold nothing to handle, mostly control records: an input is committed over them once
//! everything before is, at the ordinary time, and a followed copy reaches over them.

use super::edges::{JOINED, VISIT, deferring, following, record, visited, visiting};
use super::*;
use crate::dispatch::Call;

fn both(case: impl Fn(World)) {
    case(World::in_memory(1));
    case(World::exactly_once(1));
}

fn committed(world: &World) -> Offset {
    world.committed[&task(0)].offset
}

/// Two records, of which everything is handled and committed, and a control record not told of.
fn begun(mut world: World) -> World {
    world.feed("a", Some("1"));
    world.feed("a", Some("2"));
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 2);
    world.feed_marker(task(0));
    world
}

#[test]
fn what_holds_nothing_is_committed_at_the_ordinary_time_and_then_it_rests() {
    both(|world| {
        let mut world = begun(world);
        let settlements = world.settlements;
        let written = world.changelog[&task(0)].len();
        world.deliver(10);
        assert_eq!(world.settlements, settlements, "no barrier of its own");
        let wait = world.core.next_tick(world.now.monotonic);
        assert_eq!(wait, Duration::from_millis(100), "since the last barrier");
        world.tick();
        assert_eq!((committed(&world), world.settlements), (3, settlements + 1));
        for _ in 0..5 {
            world.deliver(10);
            world.tick();
        }
        assert_eq!(world.settlements, settlements + 1, "it rests");
        assert_eq!(world.changelog[&task(0)].len(), written, "nothing written");
    });
}

#[test]
fn a_record_that_was_not_handled_holds_it_back() {
    both(|world| {
        let mut world = begun(world);
        world.input.get_mut(&task(0)).unwrap().pop();
        world.feed("a", Some("3"));
        world.feed_marker(task(0));
        // The record before it was never handed over, or was dropped on the way.
        world.pass(task(0), INPUT, 3..4);
        world.tick();
        assert_eq!(committed(&world), 2);
        world.deliver(1);
        world.tick();
        assert_eq!(committed(&world), 3);
        world.pass(task(0), INPUT, 3..4);
        world.tick();
        assert_eq!(committed(&world), 4);
    });
}

#[test]
fn it_never_goes_back_and_never_counts_for_another_assignment() {
    both(|world| {
        let mut world = begun(world);
        for nothing in [0..1, 0..2, 1..2, 7..9] {
            world.pass(task(0), INPUT, nothing);
        }
        world.epoch += 1;
        world.pass(task(0), INPUT, 2..3);
        world.epoch -= 1;
        world.pass(task(1), INPUT, 2..3);
        world.pass(task(0), OUTPUT, 0..3);
        world.tick();
        assert_eq!(committed(&world), 2);
        // What is passed in part already is passed to its end.
        world.pass(task(0), INPUT, 1..3);
        world.tick();
        assert_eq!(committed(&world), 3);
    });
}

#[test]
fn a_failed_record_is_not_passed() {
    let mut world = begun(World::in_memory(1));
    world.feed("a", Some("no number"));
    world.feed_marker(task(0));
    world.deliver(10);
    world.pass(task(0), INPUT, 4..5);
    world.tick();
    assert_eq!((world.stopped.len(), committed(&world)), (1, 3));
}

#[test]
fn a_guard_holds_it_back() {
    let mut plan = plan(1);
    plan.inputs[0].call = Call::Sync(deferring);
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    world.feed("a", Some("now"));
    world.feed("a", Some("later"));
    world.feed_marker(task(0));
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 1);
    let waiting = world.deferred();
    world.step(Event::Deferred(waiting[0], Ok(())));
    world.tick();
    assert_eq!(committed(&world), 3);
}

#[test]
fn an_abort_takes_it_back_until_the_log_tells_it_again() {
    let mut world = begun(World::exactly_once(1));
    world.deliver(10);
    world.settles = Settles::CommitFails(Failure::Abortable("told to".into()));
    let fetches = world.fetches.len();
    world.tick();
    assert_eq!((world.aborts, committed(&world)), (1, 2));
    assert_eq!(world.fetches[fetches..], [(task(0), vec![(INPUT, 2)])]);
    for _ in 0..3 {
        world.tick();
    }
    assert_eq!(committed(&world), 2, "what is rewound counts no more");
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 3);
}

#[test]
fn a_doubtful_barrier_ends_as_it_was_and_the_next_one_has_it() {
    for outcome in [true, false] {
        let mut world = World::exactly_once(1);
        world.feed("a", Some("1"));
        world.deliver(10);
        world.settles = Settles::Doubt(2, outcome);
        world.tick();
        world.feed_marker(task(0));
        world.pass(task(0), INPUT, 1..2);
        world.tick();
        world.tick();
        assert_eq!(committed(&world), i64::from(outcome));
        world.finish();
        assert_eq!(committed(&world), 2);
    }
}

#[test]
fn a_walk_under_way_holds_back_what_lies_behind_its_record() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    world.pass(task(0), VISIT, 1..2);
    world.tick();
    assert_eq!(visited().len(), 500);
    assert_eq!(world.others[&(task(0), VISIT)].offset, 0, "it is not over");
    world.tick();
    world.tick();
    assert_eq!(world.fetches.last(), Some(&(task(0), vec![(VISIT, 1)])));
    world.pass(task(0), VISIT, 1..2);
    world.finish();
    assert_eq!(world.others[&(task(0), VISIT)].offset, 2);
}

#[test]
fn a_followed_copy_reaches_over_it() {
    let (mut world, copy, epoch) = following();
    world.step(Event::Restored(copy, epoch, Ok(7)));
    world.tick();
    // Not seen is not passed.
    world.pass(task(0), JOINED, 8..9);
    world.tick();
    assert_eq!(world.joined, []);
    world.hand(task(0), JOINED, record(7, b"a", b"profile"));
    world.pass(task(0), JOINED, 8..9);
    world.tick();
    assert_eq!(world.joined.last(), Some(&(copy, 9)));
    // A record without a key is nobody's row, and is behind the copy all the same.
    let keyless = Record {
        key: None,
        ..record(9, b"", b"profile")
    };
    world.hand(task(0), JOINED, keyless);
    world.tick();
    assert_eq!(world.joined.last(), Some(&(copy, 10)));
    let flushes = world.joined.len();
    world.tick();
    assert_eq!(world.joined.len(), flushes, "it rests");
}
