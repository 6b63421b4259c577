//! Writing records outside a group.

use std::sync::Arc;
use std::time::Instant;

use super::error::{Failure, LogError};
use crate::record::{Append, Offset};

/// A record that an emitter sends.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The topic to write to.
    pub topic: &'a str,
    /// The partition to write to.
    pub partition: i32,
    /// The key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp in milliseconds; -1 lets the log choose.
    pub timestamp: i64,
    /// The headers.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

impl<'a> Sent<'a> {
    /// The same record as an append, written to `topic`.
    pub fn of(append: &Append<'a>, topic: &'a str) -> Self {
        Sent {
            topic,
            partition: append.partition,
            key: append.key,
            value: append.value,
            timestamp: append.timestamp,
            headers: append.headers,
        }
    }
}

/// Called once for every record sent, with its token and either its partition and offset or why it was
/// not written.
pub type OnDelivery = Arc<dyn Fn(u64, Result<(i32, Offset), Failure>) + Send + Sync>;

/// Writes records outside a group; shared between threads. Dropping it waits until everything sent
/// is delivered or has failed.
pub trait Appender: Send + Sync {
    /// Enqueues one record, in order with the ones before it; waits for room until `deadline`.
    ///
    /// # Errors
    /// When the record was not enqueued: [`OnDelivery`] is not called for its token then. An engine may
    /// refuse a record that is too large here, or report it as failed.
    fn send(&self, record: Sent<'_>, token: u64, deadline: Instant) -> Result<(), LogError>;
    /// Waits until everything sent is delivered or has failed, at most until `deadline`.
    ///
    /// # Errors
    /// [`LogError::Timeout`] when records are still in flight.
    fn flush(&self, deadline: Instant) -> Result<(), LogError>;
}
