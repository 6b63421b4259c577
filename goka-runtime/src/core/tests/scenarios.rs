//! Failures that once happened, each named for what must not happen again: barriers between the batches
//! of one poll, pauses whose cause is over, walks and guards that were lost.

use super::edges::*;
use super::*;
use crate::dispatch::Call;

/// The Kafka member hands over several batches of one poll before any effect is performed.
#[test]
fn two_batches_of_one_poll_across_a_due_barrier() {
    let mut world = World::in_memory(1);
    world.tick();
    world.feed("a", Some("1"));
    world.feed("a", Some("1"));
    world.now.monotonic += Duration::from_secs(1); // the barrier is due
    let mut effects = Vec::new();
    for offset in 0..2 {
        let records = [record(offset, b"a", b"1")];
        let batch = Fetched {
            task: task(0),
            epoch: Epoch(1),
            topic: INPUT,
            records: &records,
        };
        world
            .core
            .batch(world.now, batch, &world.open, &(), &mut effects);
    }
    world.fetched.insert(task(0), 2);
    let fetches = world.fetches.len();
    for effect in effects {
        world.perform(effect);
    }
    world.finish();
    assert_eq!(world.table(task(0))[&b"a"[..].to_vec()], b"2/1");
    assert_eq!(
        world.fetches.len(),
        fetches,
        "no fault, so nothing is restored"
    );
}

#[test]
fn updates_without_an_acknowledgement_are_not_committed() {
    let mut world = World::in_memory(1);
    world.tick();
    let mut effects = Vec::new();
    let records = [record(0, b"a", b"1")];
    let batch = Fetched {
        task: task(0),
        epoch: Epoch(1),
        topic: INPUT,
        records: &records,
    };
    world
        .core
        .batch(world.now, batch, &world.open, &(), &mut effects);
    world.now.monotonic += Duration::from_secs(1);
    world
        .core
        .step(world.now, Event::Tick, &world.open, &(), &mut effects);
    let batch = effects
        .iter()
        .find_map(|e| match e {
            Effect::Commit(u) => Some(u.clone()),
            _ => None,
        })
        .unwrap();
    // The producer was rebuilt meanwhile: it knows of no record of this task.
    let mut outcome = CommitOutcome::default();
    outcome.offsets.insert(task(0), Ok(()));
    effects.clear();
    world.core.step(
        world.now,
        Event::CommitEnded(batch.id, outcome),
        &world.open,
        &(),
        &mut effects,
    );
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Inspect(..))),
        "{effects:?}"
    );
}

/// A world that may keep nothing in memory, and whose disk takes nothing of task 0.
fn out_of_memory() -> World {
    let mut plan = plan(2);
    plan.memory = 0;
    let mut world = World::of(plan, 2, Arc::new(MemoryStores::default()));
    world.tick();
    world.feed("b", Some("1")); // 98 % 2 = 0
    world.flush_fails = true;
    world.deliver(10);
    world.tick();
    assert!(world.paused);
    world
}

#[test]
fn intake_goes_on_when_the_task_that_stopped_it_is_gone() {
    let mut world = out_of_memory();
    world.step(Event::Lost(&[task(0)]));
    world.fetched.remove(&task(0));
    world.flush_fails = false;
    for _ in 0..40 {
        world.tick();
    }
    assert!(!world.paused, "lost: task 1 never gets another record");
}

#[test]
fn intake_goes_on_when_the_task_that_stopped_it_is_revoked() {
    let mut world = out_of_memory();
    world.step(Event::Revoking(&[task(0)]));
    world.step(Event::Revoked(&[task(0)]));
    world.fetched.remove(&task(0));
    world.flush_fails = false;
    for _ in 0..40 {
        world.tick();
    }
    assert!(!world.paused, "revoked: task 1 never gets another record");
}

#[test]
fn intake_goes_on_when_the_task_with_an_unknown_commit_is_lost() {
    let mut world = World::in_memory(2);
    world.tick();
    world.feed("b", Some("1"));
    world.deliver(10);
    world.next_commit = NextCommit::CommitFails(Failure::Unknown("late".into()));
    world.tick();
    assert!(world.paused);
    world.step(Event::Lost(&[task(0)]));
    world.fetched.remove(&task(0));
    for _ in 0..40 {
        world.tick();
    }
    assert!(!world.paused);
}

#[test]
fn a_failed_visit_does_not_spin() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"fail at a0007"));
    world.tick();
    assert_eq!(world.stopped.len(), 1);
    for _ in 0..10 {
        world.tick();
    }
    assert_ne!(world.core.next_tick(world.now.monotonic), Duration::ZERO);
}

#[test]
fn a_visit_behind_an_unknown_one_in_the_same_batch_is_not_lost() {
    let mut world = visiting();
    let records = [record(0, b"nobody", b""), record(1, b"reset", b"0/0")];
    world.batch(Fetched {
        task: task(0),
        epoch: Epoch(1),
        topic: VISIT,
        records: &records,
    });
    let asked_again = |world: &World| world.fetches.iter().any(|(_, p)| p == &vec![(VISIT, 1)]);
    for _ in 0..5 {
        world.tick();
    }
    // The member fetches from offset 2 now: it has handed over both.
    world.hand(task(0), VISIT, record(2, b"nobody", b""));
    for _ in 0..5 {
        world.tick();
    }
    assert!(
        visited().len() == 1_200 || asked_again(&world),
        "request 1 was never run, and {} is committed",
        world.others[&(task(0), VISIT)].offset
    );
}

#[test]
fn the_last_key_of_a_walk_survives_two_crashes() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    world.tick();
    world.tick();
    assert_eq!(visited().len(), 1_000);
    for _ in 0..2 {
        world.crash(usize::MAX);
        world.assign_all(); // started; the visit record has not come yet
    }
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    for _ in 0..5 {
        world.tick();
    }
    let again = visited().len();
    assert!(again <= 700, "{again} keys visited again");
}

#[test]
fn joined_copies_are_synced_too() {
    let mut plan = plan(1);
    plan.group
        .topics
        .extend(["group-visit".into(), "joined".into()]);
    plan.joins = vec![JoinPlan {
        name: "joined",
        topic: JOINED,
        key: crate::key::format_of_key::<String>(),
        fingerprint: FINGERPRINT.into(),
    }];
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    world.tick();
    let copy = CopyId {
        task: task(0),
        table: JOINED,
    };
    let (_, epoch) = world.follows[0];
    world.step(Event::Restored(copy, epoch, Ok(0)));
    world.tick();
    let (mut synced, mut owns) = (0, 0);
    for round in 0..400 {
        world.feed("a", Some("1"));
        world.deliver(1);
        let records = [record(round, b"a", b"x")];
        // The joined record waits in the memtable when the barrier's flush comes.
        let mut effects = Vec::new();
        world.core.batch(
            world.now,
            Fetched {
                task: task(0),
                epoch: Epoch(1),
                topic: JOINED,
                records: &records,
            },
            &world.open,
            &(),
            &mut effects,
        );
        world.now.monotonic += Duration::from_millis(250);
        let mut queue: std::collections::VecDeque<_> = effects.into();
        let mut out = Vec::new();
        world
            .core
            .step(world.now, Event::Tick, &world.open, &(), &mut out);
        queue.extend(out);
        while let Some(effect) = queue.pop_front() {
            if let Effect::Flush(of, batch) = &effect
                && batch.durability == Durability::Synced
            {
                if *of == copy {
                    synced += 1;
                } else {
                    owns += 1;
                }
            }
            if let Effect::Commit(batch) = &effect {
                let s = world.commit_at_least_once(batch);
                let mut out = Vec::new();
                world.core.step(
                    world.now,
                    Event::CommitEnded(batch.id, s),
                    &world.open,
                    &(),
                    &mut out,
                );
                queue.extend(out);
                continue;
            }
            world.perform(effect);
        }
    }
    assert!(
        synced > 10 && owns > 10,
        "synced in 100 s: {synced} flushes of the joined copy, {owns} of the own table"
    );
}

fn emitting(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    if raw.record.value == Some(b"later") {
        raw.scope.defer().done();
    }
    let to = crate::dispatch::Destination {
        topic: "output",
        partition_of,
    };
    raw.scope.emit(&to, None, None, None, &[])?;
    Ok(())
}

#[test]
fn a_failed_output_of_a_task_that_a_guard_holds_back_is_not_lost() {
    let mut plan = plan(2);
    plan.inputs[0].call = Call::Sync(emitting);
    let mut world = World::of(plan, 2, Arc::new(MemoryStores::default()));
    world.tick();
    // A guard holds task 0 at offset 0, and it has emitted; task 1 makes the barrier run.
    world.hand(task(0), INPUT, record(0, b"b", b"later"));
    let mut effects = Vec::new();
    let records = [record(0, b"a", b"now")];
    world.core.batch(
        world.now,
        Fetched {
            task: task(1),
            epoch: Epoch(1),
            topic: INPUT,
            records: &records,
        },
        &world.open,
        &(),
        &mut effects,
    );
    world.now.monotonic += Duration::from_secs(1);
    world
        .core
        .step(world.now, Event::Tick, &world.open, &(), &mut effects);
    let batch = effects
        .iter()
        .find_map(|e| match e {
            Effect::Commit(u) => Some(u.clone()),
            _ => None,
        })
        .unwrap();
    let mut s = CommitOutcome::default();
    s.acks
        .insert(task(0), Err(Failure::Unknown("its output failed".into())));
    s.acks.insert(task(1), Ok(TaskAcks::default()));
    s.offsets.insert(task(1), Ok(()));
    effects.clear();
    world.core.step(
        world.now,
        Event::CommitEnded(batch.id, s),
        &world.open,
        &(),
        &mut effects,
    );
    for e in effects {
        world.perform(e);
    }
    let guard = world.deferred()[0];
    world.step(Event::Deferred(guard, Ok(())));
    world.tick();
    world.tick();
    assert!(
        world.committed.get(&task(0)).is_none_or(|c| c.offset == 0) || world.rebuilds > 0,
        "committed {} though its output failed",
        world.committed[&task(0)].offset
    );
}

#[test]
fn a_store_that_rolls_back_while_its_task_waits_to_be_inspected() {
    let mut world = World::in_memory(1);
    world.tick();
    world.feed("a", Some("1"));
    world.deliver(1);
    world.flush_fails = true;
    world.tick(); // acknowledged, cannot be flushed
    world.feed("a", Some("2"));
    // intake is paused: what fails is the next barrier of what came before
    let mut effects = Vec::new();
    let records = [record(1, b"a", b"2")];
    world.core.batch(
        world.now,
        Fetched {
            task: task(0),
            epoch: Epoch(1),
            topic: INPUT,
            records: &records,
        },
        &world.open,
        &(),
        &mut effects,
    );
    for e in effects {
        world.perform(e);
    }
    world.next_commit = NextCommit::ProduceFails(0);
    world.tick(); // reopens, and waits for the flush
    assert_eq!(world.core.tasks().next().unwrap().1, State::Inspecting);
    world.step(Event::StoreRolledBack(own(task(0))));
    world.flush_fails = false;
    for _ in 0..40 {
        world.tick();
    }
    assert_eq!(world.core.tasks().next().unwrap().1, State::Running);
}

/// Performs effects as the worker does: in rounds, and a rebuilt producer loses its queue.
fn perform_as_the_worker(world: &mut World, mut effects: Vec<Effect>) {
    while !effects.is_empty() {
        let mut next = Vec::new();
        for effect in effects {
            match effect {
                Effect::Commit(batch) => {
                    let s = world.commit_at_least_once(&batch);
                    world.core.step(
                        world.now,
                        Event::CommitEnded(batch.id, s),
                        &world.open,
                        &(),
                        &mut next,
                    );
                }
                Effect::RecreateProducer => {
                    world.rebuilds += 1;
                    world.in_flight.clear();
                }
                Effect::Flush(copy, batch) => {
                    let r = world.flush(copy.task, &batch);
                    world.core.step(
                        world.now,
                        Event::Flushed(copy, r),
                        &world.open,
                        &(),
                        &mut next,
                    );
                }
                Effect::Inspect(task, epoch) => {
                    let found = world.inspection(task);
                    world.core.step(
                        world.now,
                        Event::Inspected(task, epoch, Ok(found)),
                        &world.open,
                        &(),
                        &mut next,
                    );
                }
                Effect::Restore(task, epoch, at) => {
                    let r = world.restore(task, at.from, at.rebuild.is_some());
                    world.core.step(
                        world.now,
                        Event::Restored(own(task), epoch, Ok(r)),
                        &world.open,
                        &(),
                        &mut next,
                    );
                }
                other => world.perform(other),
            }
        }
        effects = next;
    }
}

#[test]
fn a_rebuild_does_not_lose_what_another_task_appended_meanwhile() {
    let mut world = World::in_memory(2);
    world.tick();
    world.feed("b", Some("1")); // task 0
    world.feed("a", Some("1")); // task 1
    world.now.monotonic += Duration::from_secs(1);
    let mut effects = Vec::new();
    for (of, key) in [(0, b"b"), (1, b"a")] {
        let records = [record(0, key, b"1")];
        let batch = Fetched {
            task: task(of),
            epoch: Epoch(1),
            topic: INPUT,
            records: &records,
        };
        world
            .core
            .batch(world.now, batch, &world.open, &(), &mut effects);
        world.fetched.insert(task(of), 1);
    }
    world
        .core
        .step(world.now, Event::Tick, &world.open, &(), &mut effects);
    world.next_commit = NextCommit::ProduceFails(0);
    perform_as_the_worker(&mut world, effects);
    assert_eq!(world.rebuilds, 1);
    world.finish();
    assert_eq!(world.committed[&task(1)].offset, 1);
    assert_eq!(
        world.changelog[&task(1)].len(),
        1,
        "its update is lost, its offset is committed"
    );
}
