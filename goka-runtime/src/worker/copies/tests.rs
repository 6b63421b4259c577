//! The stores of a worker without a worker: who owns them, and what waits for whom.

use super::*;
use crate::clock::Clock;
use crate::core::tests::joining_plan;
use crate::log::embedded::Embedded;
use crate::log::{Log, NewTopic};
use crate::record::TopicId;
use crate::table::memory::MemoryStores;
use crate::table::{Durability, Stores};

/// Stores whose jobs and flushes run when they are asked for, and the joined copy of partition 0.
fn copies() -> (CopyStores, CopyId) {
    let plan = Arc::new(joining_plan());
    let log = Embedded::in_memory().unwrap();
    for (at, name) in plan.group.topics.iter().enumerate() {
        let new = NewTopic {
            name: name.to_string(),
            partitions: 1,
            compact: at == 0 || name.as_ref() == "joined",
            retention: None,
        };
        log.create(&new).unwrap();
    }
    let table = plan.joins[0].topic;
    let config = RestoreConfig {
        log: Arc::new(log),
        stores: Arc::new(MemoryStores::default()) as Arc<dyn Stores>,
        plan,
        clock: Clock::default(),
        is_verified: true,
    };
    let task = TaskId {
        lead: TopicId(0),
        partition: 0,
    };
    (CopyStores::new(config, 0), CopyId { task, table })
}

/// Opens the copy, as an assignment does.
fn open(copies: &mut CopyStores, copy: CopyId, epoch: Epoch) {
    copies.perform(Effect::Follow(copy, epoch));
    let job = copies.next_job().expect("the log answers");
    assert_eq!((job.copy, job.epoch), (copy, epoch));
    let event = copies.job_ended(job);
    assert!(
        matches!(event, Some(Event::Restored(of, _, Ok(0))) if of == copy),
        "{event:?}"
    );
}

fn batch(offset: Offset) -> FlushBatch {
    FlushBatch::empty(offset, Durability::Synced)
}

#[test]
fn a_store_is_read_while_it_is_flushed_and_flushed_again_afterwards() {
    let (mut copies, copy) = copies();
    assert!(copies.read(copy).is_none());
    open(&mut copies, copy, Epoch(1));
    for offset in [3, 5] {
        assert!(copies.flush(copy, batch(offset)).is_none(), "handed over");
        assert!(copies.is_flushing(copy) && copies.read(copy).is_some());
        let ended = copies.next_flush().unwrap();
        assert!(ended.waited.is_empty());
        assert!(
            matches!(&*ended.events, [Event::Flushed(of, Ok(()))] if *of == copy),
            "{:?}",
            ended.events
        );
        let found = copies.read(copy).unwrap().checkpoint().unwrap();
        assert_eq!(found.map(|found| found.offset), Some(offset));
    }
}

#[test]
fn a_flush_without_a_store_fails_at_once() {
    let (mut copies, copy) = copies();
    let event = copies.flush(copy, batch(3));
    assert!(
        matches!(event, Some(Event::Flushed(of, Err(StoreError::Io { .. }))) if of == copy),
        "{event:?}"
    );
    assert!(copies.next_flush().is_none());
}

#[test]
fn what_needs_a_store_waits_for_its_flush() {
    let (mut copies, copy) = copies();
    open(&mut copies, copy, Epoch(1));
    assert!(copies.flush(copy, batch(3)).is_none());
    copies.perform(Effect::Close(copy.task));
    assert!(copies.read(copy).is_none());
    copies.perform(Effect::Follow(copy, Epoch(2)));
    assert!(copies.next_job().is_none(), "the store is with the flusher");
    let ended = copies.next_flush().unwrap();
    assert!(ended.events.is_empty(), "its assignment is over");
    assert!(
        matches!(&*ended.waited, [Effect::Follow(of, Epoch(2))] if *of == copy),
        "{:?}",
        ended.waited
    );
    open(&mut copies, copy, Epoch(2));
}

#[test]
fn what_waits_for_a_task_is_forgotten_when_it_is_closed() {
    let (mut copies, copy) = copies();
    open(&mut copies, copy, Epoch(1));
    assert!(copies.flush(copy, batch(3)).is_none());
    copies.perform(Effect::Close(copy.task));
    copies.perform(Effect::Follow(copy, Epoch(2)));
    copies.perform(Effect::Close(copy.task));
    assert!(copies.next_flush().unwrap().waited.is_empty());
    assert!(copies.next_job().is_none());
}
