//! Messages, lent by librdkafka until their batch or event is dropped.

use std::ffi::{CStr, c_void};
use std::{ptr, slice};

use rdkafka::bindings as sys;

use super::fault::{Code, code, string};
use crate::record::{HeaderSource, Headers, Record, Timestamp};

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
