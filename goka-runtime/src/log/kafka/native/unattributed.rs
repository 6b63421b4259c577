//! Errors of partitions that librdkafka gives to the error callback of the client, without the partition
//! as a field. They are collected for the thread that fetches.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};

use rdkafka::bindings as sys;

use super::fault::{Fault, string};
use crate::record::TopicPartition;

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

/// Takes what was collected on this thread.
pub(super) fn take() -> Vec<PartitionError> {
    ERRORS.take()
}
