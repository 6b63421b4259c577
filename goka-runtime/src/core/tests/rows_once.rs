//! The rows of "when it fails" exactly once. After every step the world checks that what is visible of
//! the table is the fold of exactly the committed inputs, each once.

use super::*;
use crate::dispatch::Call;

/// A world in which `a` was counted twice and committed, and once more in the open transaction.
fn running() -> World {
    begun(World::exactly_once(1))
}

fn begun(mut world: World) -> World {
    world.feed("a", Some("1"));
    world.feed("a", Some("2"));
    world.deliver(10);
    world.tick();
    assert_eq!(world.committed[&task(0)].offset, 2);
    world.feed("a", Some("3"));
    world.deliver(10);
    world
}

fn state(world: &World) -> State {
    let (_, state, _) = world.core.tasks().next().expect("one task");
    state
}

fn value(world: &World) -> String {
    String::from_utf8(world.table(task(0))[&b"a"[..].to_vec()].clone()).unwrap()
}

fn committed(world: &World) -> Offset {
    world.committed[&task(0)].offset
}

#[test]
fn an_abortable_failure_rewinds_without_a_restore() {
    for failure in [
        Failure::Abortable("told to".into()),
        Failure::Stale("generation".into()),
        Failure::Retriable("disk".into()),
        Failure::Unknown("no ack".into()),
    ] {
        let mut world = running();
        let fetches = world.fetches.len();
        world.next_commit = NextCommit::CommitFails(failure);
        world.tick();
        assert_eq!((world.aborts, world.rebuilds), (1, 0));
        assert_eq!(state(&world), State::Running);
        assert_eq!(value(&world), "2/2", "the copy is as it was");
        assert_eq!(world.fetches[fetches..], [(task(0), vec![(INPUT, 2)])]);
        world.finish();
        assert_eq!(value(&world), "3/3");
        assert_eq!(world.aborts, 1);
    }
}

#[test]
fn a_produce_that_fails_halfway_is_aborted() {
    for landed in [0, 1] {
        let mut world = running();
        world.next_commit = NextCommit::ProduceFails(landed);
        world.tick();
        assert_eq!(world.aborts, 1);
        world.finish();
        assert_eq!(value(&world), "3/3");
    }
}

#[test]
fn a_refused_record_stops_the_task_and_nothing_of_the_barrier_is_visible() {
    let mut world = running();
    world.next_commit = NextCommit::Refused;
    world.tick();
    assert_eq!((world.aborts, committed(&world)), (1, 2));
    assert_eq!(state(&world), State::Stopped);
    world.tick();
    assert_eq!(world.commits, 3, "it is not tried again");
}

#[test]
fn an_unknown_outcome_is_asked_for_until_it_is_known() {
    for outcome in [true, false] {
        let mut world = running();
        world.next_commit = NextCommit::InDoubt(3, outcome);
        world.tick();
        assert!(world.paused);
        assert_eq!(value(&world), "2/2", "the overlay has not moved");
        // What comes meanwhile joins no transaction, and is not lost.
        world.feed("a", Some("4"));
        world.paused = false;
        world.deliver(10);
        world.paused = true;
        world.tick();
        world.tick();
        assert!(world.paused);
        assert_eq!(world.aborts, 0);
        world.tick();
        assert!(!world.paused);
        assert_eq!(world.aborts, usize::from(!outcome));
        assert_eq!(committed(&world), if outcome { 3 } else { 2 });
        world.finish();
        assert_eq!(value(&world), "4/4");
    }
}

#[test]
fn a_task_that_is_revoked_in_doubt_is_read_from_its_committed_offset() {
    for outcome in [true, false] {
        let mut world = running();
        world.next_commit = NextCommit::InDoubt(2, outcome);
        world.tick();
        world.revoke_all();
        assert_eq!(world.core.tasks().count(), 0);
        world.tick();
        assert!(!world.paused);
        world.assign_all();
        world.finish();
        assert_eq!(value(&world), "3/3");
    }
}

#[test]
fn a_dead_client_and_a_duplicate_instance_end_the_worker() {
    for (failure, says) in [
        (
            Failure::InstanceFenced("newer".into()),
            "in use by another process",
        ),
        (
            Failure::ProducerFenced("newer".into()),
            "taken over by another producer",
        ),
        (
            Failure::Fatal("epoch".into()),
            "committing a transaction of group `group`",
        ),
    ] {
        let mut world = running();
        world.next_commit = NextCommit::CommitFails(failure);
        world.tick();
        let text = world.failed.as_ref().map(ToString::to_string);
        let text = text.unwrap_or_default();
        assert!(text.contains(says), "{text}");
        assert_eq!(committed(&world), 2);
    }
}

#[test]
fn revoked_commits_first() {
    let mut world = running();
    world.revoke_all();
    assert_eq!((committed(&world), world.aborts), (3, 0));
    world.assign_all();
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn lost_aborts_what_the_others_did_in_the_same_transaction() {
    let mut world = World::exactly_once(2);
    world.feed("a", Some("1"));
    world.feed("b", Some("1"));
    world.deliver(10);
    world.step(Event::Lost(&[task(0)]));
    assert_eq!(world.aborts, 1);
    world.tick();
    assert_eq!(world.committed[&task(0)].offset, 0);
    world.lose_all();
    world.assign_all();
    world.finish();
    assert_eq!(world.table(task(0)), fold_input(&world.input[&task(0)]));
    assert_eq!(world.table(task(1)), fold_input(&world.input[&task(1)]));
}

#[test]
fn a_kill_at_any_moment_counts_nothing_twice() {
    let mut world = running();
    world.crash(0);
    world.assign_all();
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn handler_errors_keep_the_earlier_records() {
    let mut world = running();
    world.feed("a", Some("fail after a write"));
    world.deliver(10);
    world.tick();
    assert_eq!((committed(&world), world.aborts), (3, 0));
    assert_eq!(state(&world), State::Stopped);
    assert_eq!(value(&world), "3/3");
}

#[test]
fn a_store_that_rolled_back_aborts_the_open_transaction() {
    let mut world = running();
    world.wipe(task(0));
    world.step(Event::StoreRolledBack(own(task(0))));
    assert_eq!(world.aborts, 1);
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn control_records_are_no_foreign_writer_and_a_foreign_writer_is_seen() {
    let mut world = running();
    for number in 0..5 {
        world.feed("a", Some(&number.to_string()));
        world.deliver(10);
        world.tick();
    }
    let restored = world.epoch;
    assert_eq!(world.fetches.len(), 1, "nothing was restored again");
    let foreign = Row {
        key: b"z".to_vec(),
        value: Some(b"1/1".to_vec()),
        timestamp: 7,
        kind: Kind::Aborted,
    };
    world.changelog.get_mut(&task(0)).unwrap().push(foreign);
    world.feed("a", Some("9"));
    world.deliver(10);
    world.tick();
    world.tick();
    assert_eq!(world.fetches.len(), 2, "restored over the gap");
    assert_eq!(world.epoch, restored);
    world.finish();
}

fn deferring(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    std::mem::forget(raw.scope.defer());
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(b"1/1");
        Ok(())
    }))?;
    Ok(())
}

fn with_guards() -> World {
    handled_by(deferring, 1)
}

fn handled_by(
    handler: fn(&ProcessorState, RawRecord<'_>) -> Result<(), HandlerError>,
    partitions: i32,
) -> World {
    let mut plan = plan(partitions);
    plan.group.guarantee = Guarantee::ExactlyOnce;
    plan.inputs[0].call = Call::Sync(handler);
    World::of(plan, partitions, Arc::new(MemoryStores::default()))
}

#[test]
fn a_guard_holds_the_whole_transaction_back() {
    let mut world = with_guards();
    world.feed("a", Some("1"));
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 0);
    assert!(world.paused, "nothing joins it meanwhile");
    let record = world.deferred()[0];
    world.step(Event::Deferred(record, Ok(())));
    world.tick();
    assert_eq!((committed(&world), world.aborts), (1, 0));
    world.tick();
    assert!(!world.paused);
}

#[test]
fn a_guard_that_fails_or_takes_too_long_aborts() {
    let mut world = with_guards();
    world.feed("a", Some("1"));
    world.deliver(10);
    let record = world.deferred()[0];
    world.step(Event::Deferred(record, Err("no".into())));
    assert_eq!((world.aborts, world.stopped.len()), (1, 1));
    world.tick();
    assert_eq!(committed(&world), 0);

    let mut world = with_guards();
    world.feed("a", Some("1"));
    world.deliver(10);
    for _ in 0..4 * 5 + 1 {
        world.tick();
    }
    assert_eq!(world.aborts, 1);
    assert!(!world.paused, "it is read again");
    world.deliver(10);
    assert_eq!(world.deferred().len(), 2);
    let again = world.deferred()[1];
    world.step(Event::Deferred(again, Ok(())));
    world.tick();
    assert_eq!(committed(&world), 1);
}

/// Defers and writes nothing.
fn only_deferring(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    if raw.record.value == Some(b"later") {
        std::mem::forget(raw.scope.defer());
        return Ok(());
    }
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(b"1/1");
        Ok(())
    }))?;
    Ok(())
}

#[test]
fn a_guard_of_a_task_that_wrote_nothing_holds_no_task_back() {
    let mut world = handled_by(only_deferring, 2);
    world.feed("a", Some("1")); // task 1
    world.feed("b", Some("later")); // task 0
    world.deliver(10);
    world.tick();
    assert_eq!(world.committed[&task(1)].offset, 1);
    assert_eq!(world.committed[&task(0)].offset, 0);
    let record = world.deferred()[0];
    world.step(Event::Deferred(record, Err("gave up".into())));
    for _ in 0..100 {
        world.tick();
    }
    assert_eq!(world.stopped.len(), 1);
    assert!(!world.paused, "the others go on");
}

fn walk(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    std::mem::forget(raw.scope.defer());
    let to = crate::dispatch::Destination {
        topic: "output",
        partition_of: |_, _| 0,
    };
    raw.scope.emit(&to, None, None, None, &[])?;
    Ok(())
}

/// The writes of a walk are in the transaction, so its last key is, too.
#[test]
fn a_walk_with_guards_commits_where_it_is() {
    const VISIT: TopicId = TopicId(3);
    let mut plan = plan(1);
    plan.group.guarantee = Guarantee::ExactlyOnce;
    plan.group.topics.push("group-visit".into());
    plan.group.inputs.push(VISIT);
    plan.visits = Some(VisitPlan {
        topic: VISIT,
        calls: vec![("walk", Call::Sync(walk))],
    });
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    for key in 0..700 {
        world.feed(&format!("a{key:04}"), Some("1"));
    }
    world.deliver(2_000);
    world.tick();
    let asked = Record {
        offset: 0,
        timestamp: 1,
        key: Some(b"walk"),
        value: None,
        headers: Headers::default(),
    };
    world.hand(task(0), VISIT, asked);
    world.tick();
    for record in world.deferred() {
        world.step(Event::Deferred(record, Ok(())));
    }
    world.tick();
    let metadata = &world.others[&(task(0), VISIT)].metadata;
    assert_eq!(VisitedKey::read(metadata), Some(VisitedKey::of(b"a0499")));
}

#[test]
fn offsets_of_a_stopped_task_never_go_back() {
    for mut world in [running(), begun(World::in_memory(1))] {
        let gap = Row {
            key: b"z".to_vec(),
            value: None,
            timestamp: 7,
            kind: Kind::Aborted,
        };
        // The gap is before what the open barrier wrote.
        let log = world.changelog.get_mut(&task(0)).unwrap();
        let open = log.iter().position(|row| row.kind == Kind::Open);
        let at = open.unwrap_or(log.len());
        log.insert(at, gap);
        world.feed("a", Some("fail after a write"));
        world.deliver(10);
        for _ in 0..5 {
            world.tick();
            assert_eq!(committed(&world), 3);
        }
        assert_eq!(state(&world), State::Stopped);
    }
}

#[test]
fn a_store_that_rolls_back_in_doubt_is_inspected_once_the_outcome_is_known() {
    let mut world = running();
    world.next_commit = NextCommit::InDoubt(2, true);
    world.tick();
    world.wipe(task(0));
    world.step(Event::StoreRolledBack(own(task(0))));
    assert_eq!(world.aborts, 0);
    for _ in 0..5 {
        world.tick();
    }
    assert!(!world.paused);
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn an_idle_copy_is_level_with_its_topic() {
    let mut world = World::exactly_once(1);
    world.feed("a", Some("1"));
    world.deliver(10);
    for _ in 0..4 * 65 {
        world.tick();
    }
    let found = world.inspection(task(0));
    let end = found.table.map(|table| table.range.high);
    assert_eq!(found.checkpoint.map(|checkpoint| checkpoint.offset), end);
}
