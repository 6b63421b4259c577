//! librdkafka behind safe types: the one place with `unsafe`. It knows handles, queues, events,
//! lists and messages; it decides nothing. What is thread-safe and who frees what is said where the
//! pointer is made. Used by the rest of the Kafka engine only.
//!
//! Clients are made here, not with `rdkafka`'s wrappers, because every call of ours needs a deadline:
//! their consumers poll without end when dropped, their events lose the topic of an error, and batch
//! fetches, commits on a queue and most admin calls are not wrapped.

mod admin;
mod client;
mod event;
mod group;
mod handles;
mod list;
mod message;
mod produce;
mod transaction;

pub(super) use admin::{Ask, Described};
pub(super) use client::{Client, Kind};
pub(super) use event::{Event, EventKind};
pub(super) use handles::{Queue, Topic};
pub(super) use list::{List, Place};
pub(super) use message::{Adrift, Batch, Message};
pub(super) use produce::Outgoing;
pub(super) use rdkafka::types::RDKafkaErrorCode as Code;
pub(super) use transaction::{Failed, Membership, Remedy};

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

use rdkafka::bindings as sys;

/// A code of librdkafka, if it is an error.
fn code(err: sys::rd_kafka_resp_err_t) -> Option<Code> {
    match err {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
        err => Some(err.into()),
    }
}

/// What a code says, in librdkafka's words, without its `Broker: ` or `Local: `.
pub(super) fn text(code: Code) -> String {
    let text = code.to_string();
    let inner = text
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(&text);
    inner
        .trim_start_matches("Broker: ")
        .trim_start_matches("Local: ")
        .to_owned()
}

/// Copies a C string; null gives an empty one.
///
/// # Safety
/// `ptr` is null, or points to a NUL-terminated string whose owner is alive.
unsafe fn string(ptr: *const c_char) -> String {
    if ptr.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(ptr) }
        .to_string_lossy()
        .into_owned()
}

/// Milliseconds as librdkafka takes them, rounded up so that a short wait is not a busy loop.
fn millis(wait: Duration) -> c_int {
    c_int::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
}

/// What a native call failed with.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// Its code.
    pub(super) code: Code,
    /// The words that came with it.
    pub(super) reason: String,
}

impl Fault {
    fn of(code: Code) -> Self {
        Self {
            code,
            reason: text(code),
        }
    }

    /// Takes over an error object; null is success.
    fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Fault> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the object is ours, as every function that returns one says; read, then destroyed once.
        let (err, reason) = unsafe {
            let err = sys::rd_kafka_error_code(error);
            let reason = string(sys::rd_kafka_error_string(error));
            sys::rd_kafka_error_destroy(error);
            (err, reason)
        };
        Err(Fault {
            code: err.into(),
            reason,
        })
    }
}

/// Room for an error text that librdkafka writes.
struct Words([c_char; 512]);

impl Words {
    fn new() -> Self {
        Self([0; 512])
    }

    fn ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn text(&self) -> String {
        // SAFETY: our own memory. It begins as zeros, and librdkafka ends what it writes with one.
        unsafe { string(self.0.as_ptr()) }
    }
}
