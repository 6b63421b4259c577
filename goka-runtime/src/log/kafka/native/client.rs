//! Clients. One is thread-safe and destroyed when the last of its queues and topics is gone. Destroying
//! never leaves a group: that is `close`, with a deadline.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int};
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicI16, Ordering};
use std::thread;
#[cfg(test)]
use std::time::Duration;

use rdkafka::bindings as sys;

use super::fault::{Code, Fault, Words, code, name};
use super::message;

/// What a client is for: a consumer fetches, in a group or not; a producer produces, or only asks.
pub(crate) use sys::rd_kafka_type_t as Kind;

struct Handle {
    client: *mut sys::rd_kafka_t,
    log_lines: Arc<LogLines>,
}

/// What brokers reported when the client connected to them, read from its log lines: see [`log`].
struct LogLines {
    /// The least of their newest versions of `TxnOffsetCommit`; `i16::MAX` until one is known.
    txn_offset_commit: AtomicI16,
    /// For how many milliseconds the client's own thread stands still at each of its log lines.
    #[cfg(test)]
    pause: AtomicU64,
}

// SAFETY: librdkafka's client handle may be used from any thread at once (its introduction says so).
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // Destroying joins the client's threads, and one of them may be in a name lookup, so
        // a thread does it. If none can be started, the client is leaked.
        let last = Last(self.client);
        let name = "kafka-destroy".to_owned();
        drop(
            thread::Builder::new()
                .name(name)
                .spawn(move || last.destroy()),
        );
    }
}

struct Last(*mut sys::rd_kafka_t);

// SAFETY: as for `Handle`.
unsafe impl Send for Last {}

impl Last {
    fn destroy(self) {
        // SAFETY: the last reference: every queue and topic held one, and they are destroyed. Its
        // opaque is a reference of its own to its `LogLines`, which is not used once the client is destroyed.
        // NO_CONSUMER_CLOSE: a consumer that was not closed goes without waiting for its group.
        unsafe {
            let log_lines = sys::rd_kafka_opaque(self.0).cast::<LogLines>().cast_const();
            sys::rd_kafka_destroy_flags(self.0, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
            drop(Arc::from_raw(log_lines));
        }
    }
}

/// A client of librdkafka: its threads and connections.
#[derive(Clone)]
pub(crate) struct Client(Arc<Handle>);

/// Sends librdkafka's log lines to `tracing`, most below the levels that people see: what matters of
/// them comes as an event too. With `debug=feature` they have the versions that brokers speak of each
/// request, which librdkafka 2.12.1 shows in no other way.
unsafe extern "C" fn log(
    client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: librdkafka passes two NUL-terminated strings that live during the call.
    let (facility, line) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(line)) };
    let (facility, line) = (facility.to_string_lossy(), line.to_string_lossy());
    if level == 2 {
        // Critical: a bug of its own, which it names before it aborts the process.
        tracing::error!(target: "librdkafka", level, %facility, "{line}");
    } else if level <= 4 {
        tracing::debug!(target: "librdkafka", level, %facility, "{line}");
    } else {
        tracing::trace!(target: "librdkafka", level, %facility, "{line}");
    }
    // SAFETY: a live client, whose connection's or own line it is; its opaque is a reference of its own to
    // its `LogLines`.
    let Some(found) = (unsafe { sys::rd_kafka_opaque(client).cast::<LogLines>().as_ref() }) else {
        return;
    };
    if let Some(newest) = txn_offset_commit(&line) {
        found.txn_offset_commit.fetch_min(newest, Ordering::Relaxed);
    }
    #[cfg(test)]
    if line.starts_with("[thrd:main]") {
        thread::sleep(Duration::from_millis(found.pause.load(Ordering::Relaxed)));
    }
}

/// The newest version of `TxnOffsetCommit` that a broker speaks, where a log line has it.
fn txn_offset_commit(line: &str) -> Option<i16> {
    let (_, versions) = line.split_once("ApiKey TxnOffsetCommit (28) Versions ")?;
    let (_, newest) = versions.split_once("..")?;
    newest.trim().parse().ok()
}

impl Client {
    /// Makes a client; no broker is asked yet.
    pub(crate) fn new(kind: Kind, properties: &BTreeMap<String, String>) -> Result<Client, Fault> {
        let mut words = Words::new();
        // SAFETY: takes nothing; the configuration is ours until `rd_kafka_new` takes it.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        for (property, value) in properties {
            let set = name(property).and_then(|property| {
                let value = name(value)?;
                // SAFETY: live configuration, NUL-terminated strings, buffer with its length.
                let done = unsafe {
                    let (words_ptr, len) = words.room();
                    sys::rd_kafka_conf_set(conf, property.as_ptr(), value.as_ptr(), words_ptr, len)
                };
                match done {
                    sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
                    _ => Err(words.fault(Code::InvalidArgument)),
                }
            });
            if let Err(fault) = set {
                // SAFETY: still ours, destroyed once.
                unsafe { sys::rd_kafka_conf_destroy(conf) };
                return Err(fault);
            }
        }
        let events = sys::RD_KAFKA_EVENT_DR
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_REBALANCE
            | sys::RD_KAFKA_EVENT_OFFSET_COMMIT;
        let log_lines = Arc::new(LogLines {
            txn_offset_commit: AtomicI16::new(i16::MAX),
            #[cfg(test)]
            pause: AtomicU64::new(0),
        });
        let opaque = Arc::into_raw(Arc::clone(&log_lines));
        // SAFETY: live configuration; the callbacks are plain functions without state; the opaque is a
        // reference that the client gives back when it is destroyed; `rd_kafka_new` takes the
        // configuration when it succeeds, else both stay ours.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf, opaque.cast_mut().cast());
            sys::rd_kafka_conf_set_events(conf, events);
            sys::rd_kafka_conf_set_log_cb(conf, Some(log));
            sys::rd_kafka_conf_set_error_cb(conf, Some(message::on_error));
            let (words_ptr, len) = words.room();
            let client = sys::rd_kafka_new(kind, conf, words_ptr, len);
            if client.is_null() {
                sys::rd_kafka_conf_destroy(conf);
                drop(Arc::from_raw(opaque));
                return Err(words.fault(Code::Fail));
            }
            Ok(Client(Arc::new(Handle { client, log_lines })))
        }
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.0.client
    }

    /// The newest version of `TxnOffsetCommit` that all brokers speak which the client connected to so
    /// far. Needs the property `debug` with `feature`.
    pub(crate) fn txn_offset_commit(&self) -> Option<i16> {
        let newest = self.0.log_lines.txn_offset_commit.load(Ordering::Relaxed);
        (newest < i16::MAX).then_some(newest)
    }

    /// What ended the client for good, if anything.
    pub(crate) fn fatal(&self) -> Option<Fault> {
        let mut words = Words::new();
        let (ptr, len) = words.room();
        // SAFETY: live client, buffer with its length.
        let code = code(unsafe { sys::rd_kafka_fatal_error(self.ptr(), ptr, len) })?;
        Some(words.fault(code))
    }

    /// From now on the client's own thread stands still for so long at each of its log lines, as on a
    /// machine that has no time for it. Needs the property `debug`.
    #[cfg(test)]
    pub(crate) fn slow_down(&self, pause: Duration) {
        let millis = u64::try_from(pause.as_millis()).expect("a short pause");
        self.0.log_lines.pause.store(millis, Ordering::Relaxed);
    }

    /// Ends the client as an error would that it cannot recover from.
    #[cfg(test)]
    pub(crate) fn end(&self, code: Code, reason: &str) {
        let reason = name(reason).expect("a text without a NUL character");
        let code = sys::rd_kafka_resp_err_t::try_from(code as c_int).expect("a code of librdkafka");
        // SAFETY: live client and string, which is copied.
        unsafe { sys::rd_kafka_test_fatal_error(self.ptr(), code, reason.as_ptr()) };
    }
}
