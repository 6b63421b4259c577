//! Batches of fetched messages, and the errors of partitions that a fetch meets.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Fault, millis, string};
use super::handles::Queue;
use super::message::Message;
use crate::record::TopicPartition;

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
        ERRORS.take();
        self.messages.reserve(room);
        if !wait.is_zero() {
            self.take(queue, 1, wait);
        }
        if wait.is_zero() || !self.messages.is_empty() {
            self.take(queue, room - self.messages.len(), Duration::ZERO);
        }
        self.errors.extend(ERRORS.take());
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

/// An error of a partition: its topic was deleted, or never existed.
#[derive(Debug, Clone)]
pub(crate) struct PartitionError {
    pub(crate) at: TopicPartition,
    pub(crate) fault: Fault,
}

thread_local! {
    /// Filled by [`on_error`] while this thread takes a batch.
    static ERRORS: RefCell<Vec<PartitionError>> = const { RefCell::new(Vec::new()) };
}

/// The error callback: collects the errors of partitions. A batch fetch finds them in its queue and calls
/// this on the fetching thread, where an event queue would give them as events. They name their
/// partition in their text only: `topic [3]: desired partition is no longer available (..)`.
pub(super) unsafe extern "C" fn on_error(
    _: *mut sys::rd_kafka_t,
    err: c_int,
    reason: *const c_char,
    _: *mut c_void,
) {
    let partition_of = |text: &str| {
        let (topic, rest) = text.split_once(" [")?;
        let (partition, _) = rest.split_once(']')?;
        Some(TopicPartition::new(topic, partition.parse().ok()?))
    };
    // SAFETY: librdkafka passes a NUL-terminated string that lives during the call.
    let reason = unsafe { string(reason) };
    let known = sys::rd_kafka_resp_err_t::try_from(err);
    if let (Some(at), Ok(err)) = (partition_of(&reason), known) {
        let code = err.into();
        let fault = Fault { code, reason };
        ERRORS.with_borrow_mut(|all| {
            all.retain(|other| other.at != at);
            all.push(PartitionError { at, fault });
        });
    }
}
