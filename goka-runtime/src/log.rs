//! The broker seam: what a log engine does, at the level of batches of fetched records, appended
//! records and committed offsets. Engines are leaves: `embedded`, `kafka` and, for tests,
//! `simulated`. Nothing here knows a handler, a codec or a table. Called by the worker, the restorer,
//! emitters, views and commands.
//!
//! A [`Member`] is synchronous and used by one thread. Its `poll` never calls back while it holds
//! the client's lock, so a barrier runs between a revocation and its answer without re-entering it.

mod appender;
pub(crate) mod cancel;
mod commit;
pub mod embedded;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
mod member;
// Some of it only the simulated log does.
#[cfg_attr(not(feature = "tester"), allow(dead_code))]
mod seats;
#[cfg(feature = "tester")]
pub mod simulated;
mod topic_wait;
mod topics;
#[cfg(any(feature = "kafka", feature = "tester"))]
// Some of it only a real client does.
#[cfg_attr(not(feature = "kafka"), allow(dead_code))]
mod transactions;

use std::fmt;
use std::time::Duration;

pub use self::appender::{Appender, OnDelivery, Sent};
pub use self::commit::{CommitBatch, CommitId, CommitOutcome, Committer, TaskAcks};
pub use self::error::{Failure, LogError, MemberTimeout};
pub use self::member::{
    Assignment, Committed, Driver, Epoch, Fetched, Group, KeepAlive, Member, MemberEvent, OffsetGap,
};
pub(crate) use self::topic_wait::{TopicWait, after};
pub use self::topics::{CleanupPolicy, DEFAULT_PARTITIONS, NewTopic, OffsetRange, TopicInfo};
use crate::lock::lock;
use crate::record::{Offset, Record, TopicPartition};

/// The identity of the cluster of a log; a store is never moved between two of them.
pub type ClusterId = String;

/// A log engine.
pub trait Log: Send + Sync + fmt::Debug {
    /// Its name in messages: `the embedded log at .goka/log.redb`, `Kafka at localhost:9092`.
    fn describe_self(&self) -> String;
    /// Whether we may create streams that are missing (the embedded log), or never (Kafka).
    fn creates_streams(&self) -> bool {
        false
    }
    /// How long a start waits for a missing topic before it is refused: another program may be creating
    /// it, or some brokers know of it before others. Zero where a topic that is missing stays missing.
    fn topic_timeout(&self) -> Duration {
        Duration::ZERO
    }
    /// Joins a group.
    ///
    /// # Errors
    /// When no client can be made.
    fn join(&self, group: &Group) -> Result<Box<dyn Member>, LogError>;
    /// Writes outside a group.
    ///
    /// # Errors
    /// When no client can be made.
    fn appender(&self, delivered: OnDelivery) -> Result<Box<dyn Appender>, LogError>;
    /// Reads partitions from explicit offsets. An offset that is out of range is an error of the
    /// reader's polls.
    ///
    /// # Errors
    /// When no client can be made, or a partition does not exist (an engine may report that in a poll
    /// instead).
    fn reader(
        &self,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>, LogError>;
    /// Describes topics, in the order asked; `None` for one that does not exist.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or refuses.
    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError>;
    /// The offsets of partitions, in the order asked.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or a partition does not exist.
    fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetRange>, LogError>;
    /// Creates a topic.
    ///
    /// # Errors
    /// [`LogError::TopicExists`], or why it was refused.
    fn create(&self, topic: &NewTopic) -> Result<(), LogError>;
    /// What a group committed, for partitions in the order asked.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or refuses.
    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError>;
    /// Whether [`Log::all_committed`] answers.
    fn lists_groups(&self) -> bool {
        false
    }
    /// Everything that a group committed for topics with so many partitions, whichever program
    /// committed it under the group's name. Offsets in pending transactions do not count.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline, or refuses.
    fn all_committed(
        &self,
        _group: &str,
        _partitions: i32,
    ) -> Result<Vec<(TopicPartition, Committed)>, LogError> {
        Ok(Vec::new())
    }
    /// The member of a group that owns a partition of its lead, by its client and host, where the log
    /// can tell.
    fn holder(&self, _group: &str, _at: &TopicPartition) -> Option<String> {
        None
    }
    /// The cluster's identity.
    ///
    /// # Errors
    /// When the broker does not answer within the deadline.
    fn cluster(&self) -> Result<ClusterId, LogError>;
}

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
