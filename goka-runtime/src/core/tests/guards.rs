//! Guards that fail, or whose task stops, while they hold back records of a transaction, and while it
//! is not known whether a transaction is committed.

use super::*;
use crate::dispatch::Call;

/// Counts as the others do. A negative value defers its commit and counts all the same; `later`
/// defers and writes nothing; `fail` fails.
fn guarding(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let value = raw.record.value.unwrap_or_default();
    if value == b"fail" {
        return Err("as asked".into());
    }
    if value == b"later" || value.starts_with(b"-") {
        // The test reports when the guard is done.
        std::mem::forget(raw.scope.defer());
    }
    if value == b"later" {
        return Ok(());
    }
    let held = raw
        .scope
        .load()?
        .map(|held| String::from_utf8_lossy(held.value).into_owned());
    let new = fold(held.as_deref(), value)?;
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(new.as_bytes());
        Ok(())
    }))?;
    Ok(())
}

/// Two tasks, exactly once: the keys `b` and `d` are of task 0, `a` and `c` of task 1.
fn guarded() -> World {
    let mut plan = plan(2);
    plan.group.guarantee = Guarantee::ExactlyOnce;
    plan.inputs[0].call = Call::Sync(guarding);
    World::of(plan, 2, Arc::new(MemoryStores::default()))
}

fn committed(world: &World, partition: i32) -> Offset {
    world.committed[&task(partition)].offset
}

fn state(world: &World, partition: i32) -> State {
    let mut tasks = world.core.tasks();
    let found = tasks.find(|(id, ..)| *id == task(partition));
    found.expect("the task").1
}

#[test]
fn a_guard_that_fails_in_doubt_aborts_nothing() {
    for outcome in [true, false] {
        let mut world = guarded();
        world.feed("a", Some("1"));
        world.feed("b", Some("later"));
        world.deliver(10);
        world.next_commit = NextCommit::InDoubt(2, outcome);
        world.tick();
        assert!(world.paused, "it is not known whether task 1 is committed");
        let guard = world.deferred()[0];
        world.step(Event::Deferred(guard, Err("gave up".into())));
        assert_eq!(world.aborts, 0, "what may be committed is not aborted");
        assert_eq!(state(&world, 0), State::Stopped);
        for _ in 0..3 {
            world.tick();
        }
        assert_eq!(world.aborts, usize::from(!outcome), "it is known now");
        world.finish();
        assert_eq!((committed(&world, 0), committed(&world, 1)), (0, 1));
        assert!(world.failed.is_none(), "{:?}", world.failed);
    }
}

#[test]
fn a_guard_that_fails_takes_nothing_from_the_others_if_its_task_wrote_nothing() {
    let mut world = guarded();
    world.feed("a", Some("1"));
    world.feed("b", Some("later"));
    world.deliver(10);
    let guard = world.deferred()[0];
    world.step(Event::Deferred(guard, Err("gave up".into())));
    assert_eq!(world.aborts, 0);
    world.tick();
    assert_eq!((committed(&world, 0), committed(&world, 1)), (0, 1));
}

#[test]
fn a_revocation_in_doubt_aborts_nothing() {
    let mut world = guarded();
    world.feed("a", Some("1"));
    world.feed("b", Some("later"));
    world.deliver(10);
    world.next_commit = NextCommit::InDoubt(2, true);
    world.tick();
    world.revoke_all();
    world.tick();
    assert_eq!(world.aborts, 0);
    assert_eq!(committed(&world, 1), 1);
}

#[test]
fn guards_of_a_task_that_stopped_hold_no_other_task_back() {
    let mut world = guarded();
    world.feed("b", Some("-1"));
    world.feed("b", Some("fail"));
    world.feed("a", Some("1"));
    world.deliver(10);
    assert_eq!(state(&world, 0), State::Stopped);
    for _ in 0..4 {
        world.tick();
        world.deliver(10);
    }
    assert_eq!(committed(&world, 1), 1, "the others go on at once");
    assert!(!world.paused);
    assert_eq!(
        committed(&world, 0),
        0,
        "what the guard held back is left to the next owner of the task"
    );
    world.finish();
    assert_eq!(world.table(task(1)), fold_input(&world.input[&task(1)]));
}

#[test]
fn the_guards_of_a_task_whose_input_failed_are_dropped() {
    let mut world = guarded();
    world.feed("b", Some("-1"));
    world.feed("a", Some("1"));
    world.deliver(10);
    let (topic, partition) = ("input".to_owned(), 0);
    let error = crate::log::LogError::UnknownPartition { topic, partition };
    world.step(Event::InputFailed(task(0), error));
    for _ in 0..4 {
        world.tick();
        world.deliver(10);
    }
    assert_eq!((committed(&world, 0), committed(&world, 1)), (0, 1));
    assert!(!world.paused);
}
