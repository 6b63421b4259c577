//! Messages, lent by librdkafka until their batch or event is dropped; batches of fetched ones, and the errors of
//! partitions that a fetch meets.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, Fault, code, millis, string};
use super::handles::Queue;
use crate::record::{HeaderSource, Headers, Record, Timestamp, TopicPartition};

/// A message as long as its owner lives.
#[repr(transparent)]
pub(crate) struct Message(*mut sys::rd_kafka_message_t);

unsafe fn bytes<'a>(at: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller has a message that owns `len` bytes there, or null.
    (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast(), len) })
}

impl Message {
    pub(super) fn wrap(ptr: *mut sys::rd_kafka_message_t) -> Self {
        Self(ptr)
    }

    fn get(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the owner that lends a `Message` outlives it.
        unsafe { &*self.0 }
    }

    /// The error that it is, if it is no record.
    pub(crate) fn error(&self) -> Option<Code> {
        code(self.get().err)
    }

    /// The text of a fetched message's error. A delivery's error has none: its payload is the record's
    /// value, and `rd_kafka_message_produce_errstr` points into the broker's answer, which librdkafka
    /// 2.12.1 destroys right after it has queued the report (`rd_kafka_handle_Produce`).
    pub(crate) fn error_text(&self) -> String {
        // SAFETY: live message of a consumer, whose payload is the text; it lives as long.
        unsafe { string(sys::rd_kafka_message_errstr(self.0)) }
    }

    /// Its topic's name; empty where an error belongs to none.
    pub(crate) fn topic(&self) -> &str {
        if self.get().rkt.is_null() {
            return "";
        }
        // SAFETY: the message holds its topic, whose name is NUL-terminated ASCII.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.get().rkt)) }
            .to_str()
            .unwrap_or("")
    }

    pub(crate) fn same_partition(&self, other: &Message) -> bool {
        let (a, b) = (self.get(), other.get());
        a.partition == b.partition && a.rkt == b.rkt
    }

    pub(crate) fn partition(&self) -> i32 {
        self.get().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.get().offset
    }

    /// What was given to `Client::produce`, in a delivery report.
    pub(crate) fn opaque(&self) -> usize {
        self.get()._private as usize
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        // SAFETY: live message, which owns its key.
        unsafe { bytes(self.get().key, self.get().key_len) }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        // SAFETY: live message, which owns its payload.
        unsafe { bytes(self.get().payload, self.get().len) }
    }

    /// Its timestamp, -1 where it has none.
    fn timestamp(&self) -> Timestamp {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: live message.
        unsafe { sys::rd_kafka_message_timestamp(self.0, &raw mut kind) }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            offset: self.offset(),
            timestamp: self.timestamp(),
            key: self.key(),
            value: self.value(),
            headers: Headers::new(self),
        }
    }

    fn headers(&self) -> *mut sys::rd_kafka_headers_t {
        let mut headers = ptr::null_mut();
        // SAFETY: live message, which owns the headers that it parses at the first call. Messages
        // stay on one thread, since neither this type nor a batch is `Sync`.
        unsafe { sys::rd_kafka_message_headers(self.0, &raw mut headers) };
        headers
    }
}

impl HeaderSource for Message {
    fn count(&self) -> usize {
        let headers = self.headers();
        if headers.is_null() {
            return 0;
        }
        // SAFETY: live headers of a live message.
        unsafe { sys::rd_kafka_header_cnt(headers) }
    }

    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let headers = self.headers();
        if headers.is_null() {
            return None;
        }
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: live headers; what comes out lives as long as the message.
        unsafe {
            let (name_at, value_at) = (&raw mut name, &raw mut value);
            let err = sys::rd_kafka_header_get_all(headers, index, name_at, value_at, &raw mut len);
            if code(err).is_some() {
                return None;
            }
            Some((CStr::from_ptr(name).to_str().ok()?, bytes(value, len)))
        }
    }
}

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
