//! The rows of "when it fails", one each: what happens to overlay, memtable, input position, client
//! and task. ([`recovery::decide`] has rows of its own.)

use super::*;

/// A world in which `a` was counted twice and committed, and once more in the overlay.
fn running() -> World {
    begun(World::in_memory(1))
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
    world
        .core
        .tasks()
        .next()
        .map(|(_, state, _)| state)
        .expect("one task")
}

fn value(world: &World) -> String {
    String::from_utf8(world.table(task(0))[&b"a"[..].to_vec()].clone()).unwrap()
}

fn committed(world: &World) -> Offset {
    world.committed[&task(0)].offset
}

#[test]
fn start_offsets_are_committed_with_metadata_before_the_first_handler() {
    let mut world = World::in_memory(1);
    assert_eq!(committed(&world), 0);
    let metadata = metadata::OffsetMetadata::parse(&world.committed[&task(0)].metadata).unwrap();
    assert_eq!(metadata.inputs, ["input"]);
    assert_eq!(metadata.table_id, "table");
    assert_eq!(
        metadata.fingerprint,
        metadata::fingerprint_hash(FINGERPRINT)
    );
    // As long as they are not committed, nothing is fetched.
    world.committed.clear();
    world.lose_all();
    world.next_commit = NextCommit::CommitFails(Failure::Stale("moved".into()));
    world.feed("a", Some("1"));
    world.epoch += 1;
    let committed = BTreeMap::new();
    let assignment = Assignment {
        task: task(0),
        epoch: Epoch(world.epoch),
        committed,
    };
    world.step(Event::Assigned(&[assignment]));
    world.tick();
    world.deliver(10);
    assert_eq!(state(&world), State::Starting);
    assert_eq!(world.commits, 2);
    world.tick();
    world.deliver(10);
    assert_eq!(state(&world), State::Running);
    world.finish();
    assert_eq!(value(&world), "1/1");
}

#[test]
fn handler_error_drops_that_record_and_stops_the_task() {
    for bad in ["fail after a write", "panic", "no number"] {
        let mut world = running();
        world.feed("a", Some(bad));
        world.feed("a", Some("5"));
        world.deliver(10);
        let (at, cause) = &world.stopped[0];
        assert_eq!(*at, task(0));
        let text = cause.to_string();
        assert!(text.contains("input[0] offset 3, key `a`"), "{text}");
        assert!(bad == "no number" || text.contains("as asked"), "{text}");
        world.tick();
        assert_eq!(committed(&world), 3, "exactly at the failed record");
        assert_eq!(value(&world), "3/3", "the earlier ones are kept");
        assert_eq!(
            world.changelog[&task(0)].len(),
            3,
            "nothing of it was written"
        );
        assert_eq!(state(&world), State::Stopped);
    }
}

#[test]
fn other_tasks_go_on_when_one_stops() {
    let mut world = World::in_memory(2);
    world.feed("a", Some("no number"));
    world.feed("b", Some("1"));
    world.deliver(10);
    world.feed("b", Some("2"));
    world.deliver(10);
    world.finish();
    assert_eq!(world.stopped.len(), 1);
    assert_eq!(world.table(task(0)), fold_input(&world.input[&task(0)]));
    assert_eq!(world.committed[&task(0)].offset, 2);
    assert_eq!(world.committed[&task(1)].offset, 0);
}

#[test]
fn produce_failed_restores_from_the_stores_offset() {
    // None of the records was written, or all were.
    for (landed, counted) in [(0, "3/3"), (1, "4/3")] {
        let mut world = running();
        world.next_commit = NextCommit::ProduceFails(landed);
        world.tick();
        assert_eq!(world.rebuilds, 1, "the producer is rebuilt");
        assert_eq!(committed(&world), 2, "the input is at the last committed");
        world.tick();
        world.finish();
        assert_eq!(
            value(&world),
            counted,
            "restored, then read again: at least once"
        );
        assert_eq!(committed(&world), 3);
        assert_eq!(world.stopped, []);
    }
}

#[test]
fn a_record_refused_for_good_stops_the_task_without_a_restore_loop() {
    let mut world = running();
    world.next_commit = NextCommit::Refused;
    world.tick();
    assert_eq!(state(&world), State::Stopped);
    assert!(
        world.stopped[0]
            .1
            .to_string()
            .contains("`group-state` refuses the record of key `a`")
    );
    let commits = world.commits;
    world.tick();
    world.tick();
    assert_eq!((world.rebuilds, world.commits), (0, commits));
    assert_eq!(committed(&world), 2);
    assert_eq!(value(&world), "2/2");
}

#[test]
fn stale_commit_is_retried_and_nothing_rewinds() {
    let mut world = running();
    world.next_commit = NextCommit::CommitFails(Failure::Stale("generation".into()));
    world.tick();
    assert_eq!(committed(&world), 2);
    assert_eq!(value(&world), "3/3", "moved already: the changelog has it");
    assert!(!world.paused);
    world.tick();
    assert_eq!(committed(&world), 3);
    assert_eq!(world.changelog[&task(0)].len(), 3);
}

#[test]
fn commit_with_unknown_outcome_pauses_intake_and_is_repeated() {
    let mut world = running();
    world.next_commit = NextCommit::CommitFails(Failure::Unknown("timed out".into()));
    world.tick();
    assert!(world.paused);
    world.tick();
    assert!(!world.paused);
    assert_eq!(committed(&world), 3);
    assert_eq!(world.rebuilds, 0);
}

#[test]
fn stale_and_lost_drops_everything_of_the_task() {
    let mut world = running();
    world.next_commit = NextCommit::CommitFails(Failure::Lost("not ours".into()));
    world.tick();
    assert_eq!(state(&world), State::Gone);
    world.feed("a", Some("9"));
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 2);
    world.lose_all();
    assert_eq!(world.core.tasks().count(), 0);
}

#[test]
fn a_duplicate_instance_ends_the_worker() {
    let mut world = running();
    world.next_commit = NextCommit::CommitFails(Failure::InstanceFenced("newer".into()));
    world.tick();
    let text = world
        .failed
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(text.contains("in use by another process"), "{text}");
}

#[test]
fn revoked_commits_first_and_flushes_what_is_acknowledged() {
    let mut world = running();
    world.revoke_all();
    assert_eq!(committed(&world), 3);
    assert_eq!(world.core.tasks().count(), 0);
    let store = world.stores.open("group-state", 0).unwrap();
    assert_eq!(
        store
            .checkpoint()
            .unwrap()
            .map(|checkpoint| checkpoint.offset),
        Some(3)
    );
    drop(store);
    world.assign_all();
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn lost_drops_the_overlay_and_keeps_the_store() {
    let mut world = running();
    world.lose_all();
    assert_eq!(committed(&world), 2);
    let store = world.stores.open("group-state", 0).unwrap();
    assert_eq!(
        store
            .checkpoint()
            .unwrap()
            .map(|checkpoint| checkpoint.offset),
        Some(2)
    );
    drop(store);
    world.in_flight.clear();
    world.assign_all();
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn killed_restores_from_the_stores_offset() {
    for (landed, counted) in [(0, "3/3"), (1, "4/3")] {
        let mut world = running();
        world.crash(landed);
        world.assign_all();
        world.finish();
        assert_eq!(value(&world), counted);
    }
}

#[test]
fn a_full_disk_pauses_intake_at_the_memory_budget_and_loses_nothing() {
    let mut plan = plan(1);
    plan.memory = 12 << 10;
    let mut world = begun(World::of(plan, 1, Arc::new(MemoryStores::default())));
    world.flush_fails = true;
    world.tick();
    assert!(!world.paused, "there is memory left");
    assert_eq!(committed(&world), 3, "the changelog has it");
    assert_eq!(value(&world), "2/2");
    for _ in 0..5 {
        world.tick();
    }
    assert_eq!(world.stopped, []);
    for number in 0..1_000 {
        world.feed(&format!("a{number}"), Some("1"));
    }
    world.deliver(500);
    world.tick();
    assert!(world.paused, "the input waits for the disk");
    world.deliver(10);
    world.tick();
    assert_eq!(committed(&world), 503);
    world.flush_fails = false;
    world.tick();
    world.tick();
    assert!(!world.paused);
    world.finish();
    assert_eq!(value(&world), "3/3");
    assert_eq!(world.table(task(0)).len(), 1_001);
}

#[test]
fn a_store_that_rolled_back_is_restored_from_the_changelog() {
    let mut world = running();
    world.flush_fails = true;
    world.tick();
    world.flush_fails = false;
    world.wipe(task(0));
    world.step(Event::StoreRolledBack(own(task(0))));
    world.tick();
    assert_eq!(state(&world), State::Running);
    assert!(!world.paused);
    assert_eq!(value(&world), "3/3");
    world.finish();
    assert_eq!(
        world.changelog[&task(0)].len(),
        3,
        "nothing was handled again"
    );
}

#[test]
fn a_disk_that_stays_full_stops_the_task() {
    let mut world = running();
    world.flush_fails = true;
    for _ in 0..4 * 59 {
        world.tick();
    }
    assert_eq!(world.stopped, [], "a disk may be full for a while");
    for _ in 0..4 * 2 {
        world.tick();
    }
    assert!(world.stopped[0].1.to_string().contains("full"));
    assert!(!world.paused, "the others go on");
}

#[test]
fn another_writer_in_the_changelog_is_restored_over() {
    let mut world = running();
    let foreign = Row {
        key: b"z".to_vec(),
        value: Some(b"1/1".to_vec()),
        timestamp: 7,
        kind: Kind::Data,
    };
    world.changelog.get_mut(&task(0)).unwrap().push(foreign);
    world.tick();
    world.tick();
    assert_eq!(state(&world), State::Running);
    assert_eq!(world.table(task(0)), fold_rows(&world.changelog[&task(0)]));
    assert_eq!(world.table(task(0)).len(), 2);
    assert_eq!(committed(&world), 3);
}

#[test]
fn a_mismatch_refuses_the_start_and_stops_one_task_later() {
    let mut world = World::in_memory(1);
    world.feed("a", Some("1"));
    world.deliver(10);
    world.finish();
    // The committed offsets have expired, the table is there.
    world.crash(0);
    world.committed.clear();
    world.assign_all();
    assert!(matches!(world.failed, Some(StopReason::Recovery(_))));
    assert_eq!(world.stopped, []);
    assert_eq!(world.committed.len(), 0, "offsets stay where they were");

    let mut world = running();
    world.lose_all();
    world.in_flight.clear();
    world.committed.clear();
    world.assign_all();
    assert_eq!(world.failed, None);
    assert!(matches!(world.stopped[0].1, StopReason::Recovery(_)));
}

#[test]
fn a_null_key_and_a_misplaced_one_stop_the_task_there() {
    let mut world = running();
    let null = Record {
        offset: 3,
        timestamp: 1,
        key: None,
        value: Some(b"1"),
        headers: Headers::default(),
    };
    let epoch = Epoch(world.epoch);
    let records = [null];
    world.batch(Fetched {
        task: task(0),
        epoch,
        topic: INPUT,
        records: &records,
    });
    assert!(matches!(
        world.stopped[0].1,
        StopReason::NullKey { offset: 3, .. }
    ));

    let mut world = World::in_memory(2);
    let odd = Record {
        offset: 0,
        timestamp: 1,
        key: Some(b"a"),
        value: Some(b"1"),
        headers: Headers::default(),
    };
    let epoch = Epoch(world.epoch);
    let records = [odd];
    world.batch(Fetched {
        task: task(0),
        epoch,
        topic: INPUT,
        records: &records,
    });
    let text = world.stopped[0].1.to_string();
    assert!(text.contains("places this key in partition 1"), "{text}");
}

#[test]
fn records_of_an_older_assignment_are_dropped() {
    let mut world = running();
    world.lose_all();
    world.in_flight.clear();
    world.assign_all();
    let late = Record {
        offset: 2,
        timestamp: 1,
        key: Some(b"a"),
        value: Some(b"9"),
        headers: Headers::default(),
    };
    let records = [late];
    let epoch = Epoch(world.epoch - 1);
    world.batch(Fetched {
        task: task(0),
        epoch,
        topic: INPUT,
        records: &records,
    });
    world.finish();
    assert_eq!(value(&world), "3/3");
}

#[test]
fn unmoved_offsets_are_committed_again_after_hours() {
    let mut world = running();
    world.tick();
    let before = world.commits;
    world.tick();
    assert_eq!(world.commits, before);
    world.now.monotonic += RECOMMIT;
    world.tick();
    assert_eq!(world.commits, before + 1);
}

#[test]
fn a_task_without_a_disk_takes_no_memory_from_the_others() {
    let mut plan = plan(2);
    plan.memory = 20_000;
    let mut world = World::of(plan, 2, Arc::new(MemoryStores::default()));
    world.flush_fails = true;
    for key in 0..1_000 {
        world.feed(&format!("b{key}"), Some("1"));
    }
    world.deliver(1_000);
    world.tick();
    assert!(world.paused);
    for _ in 0..4 * 62 {
        world.tick();
    }
    assert_eq!(world.stopped.len(), 1);
    assert!(!world.paused, "the other goes on");
    world.flush_fails = false;
    world.step(Event::Drain);
    world.step(Event::Drain);
    assert!(world.core.is_durable());
}

#[test]
fn a_store_that_cannot_be_read_now_is_read_again() {
    let mut plan = plan(1);
    // Nothing is kept in memory.
    plan.memory = 0;
    let mut world = begun(World::of(plan, 1, Arc::new(MemoryStores::default())));
    world.tick();
    world.tick();
    world.open.is_unreadable.set(true);
    world.feed("a", Some("4"));
    world.deliver(10);
    world.tick();
    world.tick();
    assert_eq!((world.stopped.len(), committed(&world)), (0, 3));
    world.open.is_unreadable.set(false);
    for _ in 0..3 {
        world.tick();
        world.deliver(10);
    }
    for _ in 0..4 {
        world.tick();
    }
    assert_eq!(value(&world), "4/4");

    world.open.is_unreadable.set(true);
    world.feed("a", Some("5"));
    for _ in 0..4 * 62 {
        world.deliver(10);
        world.tick();
    }
    assert!(matches!(world.stopped[0].1, StopReason::Store(_)));
    assert_eq!(committed(&world), 4);
}

/// Its rows come from the changelog; the store of the other task is kept.
#[test]
fn a_store_that_is_damaged_is_rebuilt_while_the_others_run() {
    let mut plan = plan(2);
    // Nothing is kept in memory.
    plan.memory = 0;
    let mut world = World::of(plan, 2, Arc::new(MemoryStores::default()));
    for round in 0..6 {
        // The key `a` is of this task.
        let damaged = task(1);
        world.open.damaged.set((round > 0).then_some(damaged));
        world.feed("a", Some("4"));
        world.feed("b", Some("2"));
        for _ in 0..6 {
            world.deliver(10);
            world.tick();
        }
        if round < 4 {
            let found = String::from_utf8(world.table(damaged)[&b"a"[..].to_vec()].clone());
            let expected = format!("{}/4", 1 + round);
            assert_eq!((world.set_aside, found.unwrap()), (round, expected));
            assert_eq!(world.stopped, []);
        }
        let other = usize::try_from(world.committed[&task(0)].offset).unwrap();
        assert_eq!(other, 1 + round, "the other one goes on");
    }
    // The disk damages everything that is written.
    assert_eq!((world.set_aside, world.stopped.len()), (3, 1));
    assert!(matches!(world.stopped[0].1, StopReason::Store(_)));
}

#[test]
fn a_store_whose_flush_finds_damage_is_rebuilt() {
    let mut world = running();
    world.flush_damages = true;
    for _ in 0..4 {
        world.deliver(10);
        world.tick();
    }
    assert_eq!((world.set_aside, value(&world)), (1, "3/3".to_owned()));
    assert_eq!((state(&world), committed(&world)), (State::Running, 3));
    assert_eq!(world.stopped, []);
}
