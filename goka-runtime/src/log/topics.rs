//! Topics as a log describes and creates them.

use std::time::Duration;

use super::error::LogError;
use crate::record::Offset;

/// Partitions of a topic that the embedded log creates, where none are declared.
pub const DEFAULT_PARTITIONS: i32 = 4;

/// Kafka's `retention.ms` by default.
pub(super) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Kafka's `delete.retention.ms` by default.
pub(super) const DELETE_RETENTION: Duration = Duration::from_secs(24 * 3_600);
/// Kafka's `max.message.bytes` by default.
pub(super) const MAX_MESSAGE_BYTES: usize = 1_048_588;
/// More than one process needs; keeps the numbers of the embedded log's partitions small.
const MAX_PARTITIONS: i32 = 10_000;

/// What happens to old records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Only the last record of each key is kept for ever; a record without a key is refused.
    pub compact: bool,
    /// Records past the retention are deleted.
    pub delete: bool,
}

impl CleanupPolicy {
    /// Whether a topic keeps the last record of each key for ever, as a table needs it.
    pub(crate) fn is_of_a_table(self) -> bool {
        self.compact && !self.delete
    }

    /// Its `cleanup.policy`, as Kafka writes it.
    pub(crate) fn name(self) -> &'static str {
        match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            (false, _) => "delete",
        }
    }
}

/// The offsets of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OffsetRange {
    /// The first offset that the log still holds.
    pub start: Offset,
    /// Where read-committed readers stop: the last stable offset.
    pub stable: Offset,
    /// The offset of the next record: the high watermark.
    pub high: Offset,
}

/// A topic as the log describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its identity: a topic that is deleted and created again has another one.
    pub id: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// What happens to its old records.
    pub policy: CleanupPolicy,
    /// How long records are kept where the policy deletes; `None` is for ever.
    pub retention: Option<Duration>,
    /// How long a tombstone survives compaction (`delete.retention.ms`).
    pub delete_retention: Duration,
    /// The largest record batch it takes, in bytes.
    pub max_message_bytes: usize,
    /// The number of replicas, of the partition with the fewest.
    pub replicas: usize,
    /// The number of in-sync replicas, of the partition with the fewest.
    pub in_sync: usize,
    /// How many replicas must have a record before it counts as written (`min.insync.replicas`).
    pub min_in_sync: usize,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: i32,
    /// Whether it is compacted (a table) or deleted by age (a stream).
    pub compact: bool,
    /// How long records are kept; `None` leaves it to the log.
    pub retention: Option<Duration>,
}

impl NewTopic {
    /// Refuses what Kafka would, so that a program that works on a log of ours works there.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name = self.name.as_str();
        let is_short = (1..=249).contains(&name.len());
        if !is_short || name == "." || name == ".." || !name.chars().all(is_legal) {
            return Err(self.refused("a name has 1 to 249 letters, digits, `.`, `_` or `-`"));
        }
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            return Err(self.refused(&format!("a topic has 1 to {MAX_PARTITIONS} partitions")));
        }
        Ok(())
    }

    /// Why it is not made.
    pub(super) fn refused(&self, reason: &str) -> LogError {
        LogError::refused_for(format!("making topic `{}`", self.name), reason, None)
    }
}
