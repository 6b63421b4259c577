//! The calls of a producer: records in, what is still under way, and transactions. Each call of a transaction
//! that asks a broker goes on in the background when its time is over, and is resumed by the same call: until
//! it has ended no other one of these may be made.
//!
//! A commit and an abort must not run out of time, though. Each is a row of questions to librdkafka's own
//! thread, and librdkafka 2.12.1 (`rdkafka_txnmgr.c`) does not tell their answers apart. When the first
//! one is not answered in time it forgets which call is under way: the coordinator's answer to a commit is
//! then taken for that to an abort, and an assertion ends the process. When a later one is not, its answer
//! is given to the next question: a commit returns before it is committed.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, Fault, code, millis, string};
use super::handles::Topic;
use super::list::List;
use crate::log::Sent;

/// What a commit or an abort may take: far more than librdkafka's own thread ever does, and an end for one
/// that nobody waits for any more, which keeps its client alive. One that is resumed after that gets a wrong
/// answer only if the coordinator's comes at that very moment.
const END: Duration = Duration::from_secs(60);

/// What is left to do about a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// None: the client is of no more use, the call was wrong, or librdkafka does not say.
    None,
    /// The transaction has to be aborted.
    Abort,
    /// The same call again.
    Again,
}

/// What a transaction's call failed with.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    pub(crate) remedy: Remedy,
}

impl Failed {
    fn check(error: *mut sys::rd_kafka_error_t) -> Result<(), Failed> {
        // SAFETY: the object is ours until `Fault::check` destroys it; only read here. Null is none of these.
        let (is_fatal, aborts, again) = unsafe {
            (
                sys::rd_kafka_error_is_fatal(error) == 1,
                sys::rd_kafka_error_txn_requires_abort(error) == 1,
                sys::rd_kafka_error_is_retriable(error) == 1,
            )
        };
        let remedy = match (aborts, again) {
            _ if is_fatal => Remedy::None,
            (true, _) => Remedy::Abort,
            (false, true) => Remedy::Again,
            (false, false) => Remedy::None,
        };
        Fault::check(error).map_err(|fault| Failed { fault, remedy })
    }
}

/// What a consumer is to its group at one moment: with it the group's coordinator tells whether
/// offsets come from a member of today.
pub(crate) struct Membership(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// SAFETY: a copy in memory of its own, reached by its owner only.
unsafe impl Send for Membership {}

impl Membership {
    /// Whether it names a member of a generation. One that names none is not checked by the broker.
    pub(crate) fn is_of_a_member(&self) -> bool {
        let it = self.0.as_ptr();
        // SAFETY: live metadata, which owns its strings; a member id is never null.
        unsafe {
            sys::rd_kafka_consumer_group_metadata_generation_id(it) >= 0
                && !string(sys::rd_kafka_consumer_group_metadata_member_id(it)).is_empty()
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

impl Client {
    /// Enqueues one record of a topic; the bytes are copied. The opaque comes back with the delivery report.
    pub(crate) fn produce(
        &self,
        topic: &Topic,
        record: &Sent<'_>,
        opaque: usize,
    ) -> Result<(), Code> {
        let (key, key_len) = bytes(record.key);
        let (value, value_len) = bytes(record.value);
        let headers = match record.headers {
            [] => ptr::null_mut(),
            headers => native_headers(headers),
        };
        // To librdkafka 0 is "now", as -1 is to us; the first millisecond of 1970 is the nearest to 0.
        let timestamp = match record.timestamp {
            ..=-1 => 0,
            0 => 1,
            later => later,
        };
        // SAFETY: live client and topic of it; each tag is followed by what rdkafka.h says it takes;
        // F_COPY leaves key and value ours. The headers are taken when it succeeds, else they stay ours.
        unsafe {
            use sys::rd_kafka_vtype_t as tag;
            let err = sys::rd_kafka_producev(
                self.ptr(),
                tag::RD_KAFKA_VTYPE_RKT,
                topic.ptr(),
                tag::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                tag::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                tag::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                tag::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                tag::RD_KAFKA_VTYPE_OPAQUE,
                opaque as *mut c_void,
                tag::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                tag::RD_KAFKA_VTYPE_HEADERS,
                headers,
                tag::RD_KAFKA_VTYPE_END,
            );
            match code(err) {
                None => Ok(()),
                Some(code) => {
                    if !headers.is_null() {
                        sys::rd_kafka_headers_destroy(headers);
                    }
                    Err(code)
                }
            }
        }
    }

    /// Wakes the senders; waits for nothing.
    pub(crate) fn nudge(&self) {
        // SAFETY: live producer.
        unsafe { sys::rd_kafka_flush(self.ptr(), 0) };
    }

    /// How many records and reports are under way.
    pub(crate) fn in_flight(&self) -> usize {
        // SAFETY: live client.
        usize::try_from(unsafe { sys::rd_kafka_outq_len(self.ptr()) }).unwrap_or(0)
    }

    /// Gives up everything that is not yet acknowledged.
    pub(crate) fn purge(&self) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE
            | sys::RD_KAFKA_PURGE_F_INFLIGHT
            | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: live producer.
        unsafe { sys::rd_kafka_purge(self.ptr(), flags) };
    }

    /// What this consumer is to its group now; `None` before it has ever asked to join. The client's
    /// own thread answers, no broker.
    pub(crate) fn membership(&self) -> Option<Membership> {
        // SAFETY: live consumer with a group; the metadata is ours to destroy.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata(self.ptr()) }).map(Membership)
    }

    /// Takes the transactional id over: the producer that had it is fenced, and what it left open is ended.
    pub(crate) fn init_transactions(&self, wait: Duration) -> Result<(), Failed> {
        // SAFETY: live producer; the error is ours.
        Failed::check(unsafe { sys::rd_kafka_init_transactions(self.ptr(), millis(wait)) })
    }

    /// Begins a transaction; no broker is asked.
    pub(crate) fn begin_transaction(&self) -> Result<(), Failed> {
        // SAFETY: live producer; the error is ours.
        Failed::check(unsafe { sys::rd_kafka_begin_transaction(self.ptr()) })
    }

    /// Makes offsets part of the transaction. This one is not resumed: librdkafka ends it by itself,
    /// after `wait` and at most one `socket.timeout.ms` more. Or never, when the group's coordinator
    /// died and has left the cluster's metadata (librdkafka issues 5456 and 5511).
    pub(crate) fn send_offsets(
        &self,
        offsets: &List,
        membership: &Membership,
        wait: Duration,
    ) -> Result<(), Failed> {
        // SAFETY: live producer, list and metadata, which are copied; the error is ours.
        Failed::check(unsafe {
            sys::rd_kafka_send_offsets_to_transaction(
                self.ptr(),
                offsets.ptr(),
                membership.0.as_ptr(),
                millis(wait).max(1),
            )
        })
    }

    /// Commits; everything has to be acknowledged, and its reports taken, before.
    pub(crate) fn commit_transaction(&self) -> Result<(), Failed> {
        // SAFETY: live producer; the error is ours.
        Failed::check(unsafe { sys::rd_kafka_commit_transaction(self.ptr(), millis(END)) })
    }

    /// Gives up what is not sent, waits for what is, and aborts. Delivery reports have to be taken
    /// meanwhile.
    pub(crate) fn abort_transaction(&self) -> Result<(), Failed> {
        // SAFETY: live producer; the error is ours.
        Failed::check(unsafe { sys::rd_kafka_abort_transaction(self.ptr(), millis(END)) })
    }
}

fn bytes(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| {
        (bytes.as_ptr().cast_mut().cast(), bytes.len())
    })
}

fn native_headers(headers: &[(String, Option<Vec<u8>>)]) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: a fresh list; names and values are copied with their lengths; null is a null value.
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            let (bytes, len) = bytes(value.as_deref());
            let (name_len, len) = (name.len().cast_signed(), len.cast_signed());
            sys::rd_kafka_header_add(list, name.as_ptr().cast(), name_len, bytes, len);
        }
        list
    }
}
