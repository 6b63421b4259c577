//! Reading partitions without a group.

use std::time::Duration;

use super::error::LogError;
use crate::record::{Offset, Record};

/// Which records a reader sees, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Committed records only; the reader stops at the first record of an open transaction.
    ReadCommitted,
    /// All records.
    ReadUncommitted,
}

/// What a reader calls with records: the index of the partition in the list that the reader was made
/// with, and the records.
pub type Each<'e> = &'e mut dyn FnMut(usize, &[Record<'_>]);

/// Reads partitions without a group: used by restores, views, `get` and `scan`.
pub trait Reader: Send {
    /// Waits at most `max` for records and hands them over.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when the log no longer holds the position; whatever ends the client.
    fn poll(&mut self, max: Duration, each: Each<'_>) -> Result<(), LogError>;
    /// The next offset to be read, of the partition at `index`. It moves over control records and over
    /// aborted and compacted ones, and is never before the offset that the reader started at.
    fn position(&mut self, index: usize) -> Offset;
}
