//! The record that a worker's thread calls a handler with: written by that thread, read by the threads that
//! watch it and by the signal handler of [`crate::crash`].

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::core::RecordId;
pub use crate::core::deaths::RecordAt as RecordInHand;
use crate::log::Group;
use crate::record::Offset;

/// The record that a worker's thread has in hand. Written with every record, so without a lock.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    /// Counts calls and returns: odd while a handler runs.
    calls: AtomicU64,
    topic: AtomicU32,
    partition: AtomicI32,
    offset: AtomicI64,
}

impl InHand {
    /// A handler is called. Only for the worker's thread.
    pub(crate) fn begin(&self, record: &RecordId) {
        self.topic.store(record.topic.0.into(), Ordering::Relaxed);
        self.partition
            .store(record.task.partition, Ordering::Relaxed);
        self.offset.store(record.offset, Ordering::Relaxed);
        self.step();
    }

    /// It has returned.
    pub(crate) fn end(&self) {
        self.step();
    }

    fn step(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Release);
    }

    /// The number of the call under way.
    pub(crate) fn call(&self) -> Option<u64> {
        let calls = self.calls.load(Ordering::Acquire);
        (calls % 2 == 1).then_some(calls)
    }

    /// The record of the call under way: the number of its topic, its partition, its offset. Takes no
    /// lock and allocates nothing, so a signal handler may call it.
    pub(crate) fn numbers(&self) -> Option<(u32, i32, Offset)> {
        let call = self.call()?;
        let topic = self.topic.load(Ordering::Relaxed);
        let partition = self.partition.load(Ordering::Relaxed);
        let offset = self.offset.load(Ordering::Relaxed);
        // Otherwise another call may have overwritten some of it.
        (self.call() == Some(call)).then_some((topic, partition, offset))
    }

    /// The record of the call under way.
    pub(crate) fn read(&self, group: &Group) -> Option<RecordInHand> {
        let (topic, partition, offset) = self.numbers()?;
        let topic = group.topics.get(usize::try_from(topic).ok()?)?;
        Some(RecordInHand {
            topic: topic.to_string(),
            partition,
            offset,
        })
    }
}
