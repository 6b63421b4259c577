//! Batches of fetched messages.

use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::millis;
use super::handles::Queue;
use super::message::Message;
use super::unattributed::{self, PartitionError};

/// Fetched messages, freed together.
#[derive(Default)]
pub(crate) struct Batch {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    errors: Vec<PartitionError>,
    /// The client of the messages, which must outlive them: they hold topics of it.
    client: Option<Client>,
}

// SAFETY: messages belong to no thread; a batch is used by one at a time.
unsafe impl Send for Batch {}

impl Batch {
    /// Frees what is in it and takes up to `room` messages that are there now, or the first one to
    /// come within `wait`. (The native call waits for a full batch until its time is over, so it is
    /// asked for one message first.)
    pub(crate) fn fill(&mut self, queue: &Queue, room: usize, wait: Duration) {
        self.clear();
        if room == 0 {
            return;
        }
        self.client = Some(queue.client().clone());
        // Of an earlier fetch.
        drop(unattributed::take());
        self.messages.reserve(room);
        if !wait.is_zero() {
            self.take(queue, 1, wait);
        }
        if wait.is_zero() || !self.messages.is_empty() {
            self.take(queue, room - self.messages.len(), Duration::ZERO);
        }
        self.errors.extend(unattributed::take());
    }

    fn take(&mut self, queue: &Queue, room: usize, wait: Duration) {
        // SAFETY: live queue; there is room for `room` pointers behind the length, and as many as it
        // says are filled with messages that are ours to destroy.
        unsafe {
            let at = self.messages.as_mut_ptr().add(self.messages.len());
            let got = sys::rd_kafka_consume_batch_queue(queue.ptr(), millis(wait), at, room);
            let got = usize::try_from(got).unwrap_or(0);
            self.messages.set_len(self.messages.len() + got);
        }
    }

    /// The messages.
    pub(crate) fn messages(&self) -> &[Message] {
        // SAFETY: `Message` is transparent over the pointer; the slice borrows the batch.
        unsafe { slice::from_raw_parts(self.messages.as_ptr().cast(), self.messages.len()) }
    }

    /// The messages in runs of records of one partition; each error is a run of its own.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[Message]> {
        let is_record = |it: &Message| it.error().is_none();
        let messages = self.messages();
        messages.chunk_by(move |a, b| a.same_partition(b) && is_record(a) && is_record(b))
    }

    /// Takes the errors of partitions that the fetch met, the last one of each partition.
    pub(crate) fn take_errors(&mut self) -> Vec<PartitionError> {
        std::mem::take(&mut self.errors)
    }

    /// Frees the messages, keeps the room. Their client stays, since the next batch is of it, too.
    pub(crate) fn clear(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: ours, destroyed once; nothing borrows the batch any more.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}
