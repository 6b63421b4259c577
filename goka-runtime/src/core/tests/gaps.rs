//! Gaps: offsets that hold nothing to handle, mostly control records. An input is committed behind a gap
//! once everything before it is handled, with the next ordinary barrier; a joined copy skips it, too.

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

/// Two records that are handled and committed, and a control record that is not reported yet.
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
fn a_gap_is_committed_with_the_next_barrier_and_no_commit_follows() {
    both(|world| {
        let mut world = begun(world);
        let commits = world.commits;
        let written = world.changelog[&task(0)].len();
        world.deliver(10);
        assert_eq!(world.commits, commits, "no barrier of its own");
        let wait = world.core.next_tick(world.now.monotonic);
        assert_eq!(wait, Duration::from_millis(100), "since the last barrier");
        world.tick();
        assert_eq!((committed(&world), world.commits), (3, commits + 1));
        for _ in 0..5 {
            world.deliver(10);
            world.tick();
        }
        assert_eq!(world.commits, commits + 1, "nothing is committed");
        assert_eq!(world.changelog[&task(0)].len(), written, "nothing written");
    });
}

#[test]
fn a_record_that_was_not_handled_holds_the_gap_back() {
    both(|world| {
        let mut world = begun(world);
        world.input.get_mut(&task(0)).unwrap().pop();
        world.feed("a", Some("3"));
        world.feed_marker(task(0));
        // The record before the gap was not handed over.
        world.report_gap(task(0), INPUT, 3..4);
        world.tick();
        assert_eq!(committed(&world), 2);
        world.deliver(1);
        world.tick();
        assert_eq!(committed(&world), 3);
        world.report_gap(task(0), INPUT, 3..4);
        world.tick();
        assert_eq!(committed(&world), 4);
    });
}

#[test]
fn a_position_never_goes_back_and_other_assignments_do_not_count() {
    both(|world| {
        let mut world = begun(world);
        for nothing in [0..1, 0..2, 1..2, 7..9] {
            world.report_gap(task(0), INPUT, nothing);
        }
        world.epoch += 1;
        world.report_gap(task(0), INPUT, 2..3);
        world.epoch -= 1;
        world.report_gap(task(1), INPUT, 2..3);
        world.report_gap(task(0), OUTPUT, 0..3);
        world.tick();
        assert_eq!(committed(&world), 2);
        // A gap that begins before the position is skipped to its end.
        world.report_gap(task(0), INPUT, 1..3);
        world.tick();
        assert_eq!(committed(&world), 3);
    });
}

#[test]
fn a_failed_record_is_not_skipped() {
    let mut world = begun(World::in_memory(1));
    world.feed("a", Some("no number"));
    world.feed_marker(task(0));
    world.deliver(10);
    world.report_gap(task(0), INPUT, 4..5);
    world.tick();
    assert_eq!((world.stopped.len(), committed(&world)), (1, 3));
}

#[test]
fn a_guard_holds_the_gap_back() {
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
fn after_an_abort_the_gap_has_to_be_reported_again() {
    let mut world = begun(World::exactly_once(1));
    world.deliver(10);
    world.next_commit = NextCommit::CommitFails(Failure::Abortable("told to".into()));
    let fetches = world.fetches.len();
    world.tick();
    assert_eq!((world.aborts, committed(&world)), (1, 2));
    assert_eq!(world.fetches[fetches..], [(task(0), vec![(INPUT, 2)])]);
    for _ in 0..3 {
        world.tick();
    }
    assert_eq!(
        committed(&world),
        2,
        "the report before the abort does not count"
    );
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 3);
}

#[test]
fn a_commit_in_doubt_stays_as_it_was_and_the_next_one_has_the_gap() {
    for outcome in [true, false] {
        let mut world = World::exactly_once(1);
        world.feed("a", Some("1"));
        world.deliver(10);
        world.next_commit = NextCommit::InDoubt(2, outcome);
        world.tick();
        world.feed_marker(task(0));
        world.report_gap(task(0), INPUT, 1..2);
        world.tick();
        world.tick();
        assert_eq!(committed(&world), i64::from(outcome));
        world.finish();
        assert_eq!(committed(&world), 2);
    }
}

#[test]
fn a_walk_under_way_holds_back_a_gap_behind_its_record() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    world.report_gap(task(0), VISIT, 1..2);
    world.tick();
    assert_eq!(visited().len(), 500);
    assert_eq!(world.others[&(task(0), VISIT)].offset, 0, "it is not over");
    world.tick();
    world.tick();
    assert_eq!(world.fetches.last(), Some(&(task(0), vec![(VISIT, 1)])));
    world.report_gap(task(0), VISIT, 1..2);
    world.finish();
    assert_eq!(world.others[&(task(0), VISIT)].offset, 2);
}

#[test]
fn a_joined_copy_skips_the_gap() {
    let (mut world, copy, epoch) = following();
    world.step(Event::Restored(copy, epoch, Ok(7)));
    world.tick();
    // The record before the gap was not applied.
    world.report_gap(task(0), JOINED, 8..9);
    world.tick();
    assert_eq!(world.joined, []);
    world.hand(task(0), JOINED, record(7, b"a", b"profile"));
    world.report_gap(task(0), JOINED, 8..9);
    world.tick();
    assert_eq!(world.joined.last(), Some(&(copy, 9)));
    // A record without a key is no row; the copy goes on behind it all the same.
    let keyless = Record {
        key: None,
        ..record(9, b"", b"profile")
    };
    world.hand(task(0), JOINED, keyless);
    world.tick();
    assert_eq!(world.joined.last(), Some(&(copy, 10)));
    let flushes = world.joined.len();
    world.tick();
    assert_eq!(world.joined.len(), flushes, "nothing is committed");
}
