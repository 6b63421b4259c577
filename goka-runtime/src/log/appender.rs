//! Writing records outside a group.

use std::sync::Arc;
use std::time::Instant;

use super::error::{Failure, LogError};
use crate::record::{Append, Offset, Timestamp};

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

    pub(super) fn stamped(self, now: Timestamp) -> Self {
        let timestamp = match self.timestamp {
            -1 => now,
            timestamp => timestamp,
        };
        Self { timestamp, ..self }
    }

    /// About what a broker would count: the bytes plus the head of a batch of one record.
    pub(super) fn size(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        80 + length(self.key) + length(self.value) + headers.sum::<usize>()
    }

    /// Why a topic does not take it for good.
    pub(super) fn refusal(&self, is_compacted: bool, most: usize) -> Option<String> {
        match self.size() {
            size if size > most => Some(format!(
                "it has {size} bytes, the topic takes {most} (max.message.bytes)"
            )),
            _ if is_compacted && self.key.is_none() => {
                Some("a compacted topic takes no record without a key".to_owned())
            }
            _ => None,
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
