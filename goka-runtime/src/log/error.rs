//! What goes wrong at a log, and what each class of failure leads to.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::record::{Offset, TopicPartition};
use crate::shared_error::SharedError;

/// How a step towards durability failed; the class decides what the core does (ARCHITECTURE.md).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
#[non_exhaustive]
pub enum Failure {
    /// Nothing happened and the same step may be tried again.
    Retriable(String),
    /// The group is in a newer generation, though the task may still be owned: read again, retry.
    Stale(String),
    /// The task is not owned any more.
    Lost(String),
    /// It may or may not have happened.
    Unknown(String),
    /// The transaction has to be aborted.
    Abortable(String),
    /// Another process joined the group under this member's instance name, and replaced it.
    InstanceFenced(String),
    /// Another producer took the transactional id over, or the broker aborted a transaction that was
    /// open for too long: its error is the same.
    ProducerFenced(String),
    /// The client has ended and must be rebuilt.
    Fatal(String),
    /// The log refuses a record for good: too large, no right.
    #[error("topic `{topic}` refuses the record of key `{key}`: {reason}")]
    Refused {
        /// The topic that it was for.
        topic: String,
        /// Its key, as text.
        key: String,
        /// Why the log refuses it.
        reason: String,
    },
}

impl Failure {
    /// The log refuses a record for good.
    pub(super) fn refused(topic: &str, key: Option<&[u8]>, reason: String) -> Self {
        let key = key.map_or("(none)".into(), String::from_utf8_lossy);
        Failure::Refused {
            topic: topic.to_owned(),
            key: key.into_owned(),
            reason,
        }
    }
}

/// What went wrong at the log: each says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No broker answers.
    #[error(
        "no broker answers at `{brokers}`: {reason}; start Kafka there, or correct the address"
    )]
    Unreachable {
        /// The addresses tried.
        brokers: String,
        /// The last error of a connection.
        reason: String,
    },
    /// A topic does not exist.
    #[error("topic `{topic}` does not exist")]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// The program ends while it waits for a topic.
    #[error("the program ends while it waits for topic `{topic}`")]
    Stopping {
        /// The topic.
        topic: String,
    },
    /// A partition does not exist.
    #[error("topic `{topic}` has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A topic to be created exists.
    #[error("topic `{topic}` exists already")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// The log does not hold that offset.
    #[error("{topic}[{partition}] holds no offset {offset}")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: Offset,
    },
    /// Something took longer than its deadline.
    #[error("{what} took longer than {}", millis(.after))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Another process joined the group under the same instance name, and replaced this member.
    #[error(
        "{who} is in use by another process, which joined later: {reason}; give each process its own \
         data directory"
    )]
    InstanceFenced {
        /// The instance name that is used twice.
        who: String,
        /// The broker's error.
        reason: String,
    },
    /// Another producer took the transactional id over. The broker says the same of a transaction that
    /// was open for too long.
    #[error(
        "{who} was taken over by another producer: {reason}; give each process its own data directory"
    )]
    ProducerFenced {
        /// The transactional id.
        who: String,
        /// The broker's error.
        reason: String,
    },
    /// The broker refuses.
    #[error("{what}: the log refuses: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why, and what to do.
        reason: String,
        /// The broker's error, where there is one.
        source: Option<SharedError>,
    },
    /// The broker does not take a timeout of a member.
    #[error("{timeout} of {} ms for group `{group}`: the log refuses: {reason}", .given.as_millis())]
    TimeoutRefused {
        /// The timeout.
        timeout: MemberTimeout,
        /// Its value.
        given: Duration,
        /// The group of the member.
        group: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The client cannot go on.
    #[error("{what}: {reason}")]
    Client {
        /// What was tried.
        what: String,
        /// Why it failed.
        reason: String,
        /// The client's error, where there is one.
        source: Option<SharedError>,
    },
    /// The embedded log's file cannot be used.
    #[error("embedded log `{path}`: {reason}")]
    Storage {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        reason: String,
        /// The error of the file system or the database, where there is one.
        source: Option<SharedError>,
    },
}

/// A timeout of a member that the broker limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberTimeout {
    /// How long the group waits for a member that sends no heartbeat.
    Session,
    /// How long a transaction may stay open.
    Transaction,
}

impl fmt::Display for MemberTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemberTimeout::Session => "a session timeout (session.timeout.ms)",
            MemberTimeout::Transaction => "a transaction timeout (transaction.timeout.ms)",
        })
    }
}

impl LogError {
    /// Why an instance of a group cannot go on after a failure of what it was `doing`.
    pub(crate) fn of_instance(group: &str, instance: &str, doing: &str, failure: Failure) -> Self {
        match failure {
            Failure::InstanceFenced(reason) => LogError::InstanceFenced {
                who: format!("group instance `{instance}`"),
                reason,
            },
            Failure::ProducerFenced(reason) => LogError::ProducerFenced {
                who: format!("the producer of instance `{instance}`"),
                reason,
            },
            failure => LogError::client(format!("{doing} of group `{group}`"), failure),
        }
    }

    pub(crate) fn client(
        what: impl Into<String>,
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        LogError::Client {
            what: what.into(),
            reason: error.to_string(),
            source: Some(SharedError::from(error)),
        }
    }

    pub(super) fn out_of_range(tp: &TopicPartition, offset: Offset) -> Self {
        let (topic, partition) = (tp.topic.to_string(), tp.partition);
        LogError::OutOfRange {
            topic,
            partition,
            offset,
        }
    }

    pub(crate) fn unknown_topic(topic: &str) -> Self {
        let topic = topic.to_owned();
        LogError::UnknownTopic { topic }
    }

    pub(super) fn topic_exists(topic: &str) -> Self {
        let topic = topic.to_owned();
        LogError::TopicExists { topic }
    }

    pub(super) fn unknown_partition(topic: &str, partition: i32) -> Self {
        let topic = topic.to_owned();
        LogError::UnknownPartition { topic, partition }
    }

    pub(super) fn late(what: impl Into<String>, after: Duration) -> Self {
        let what = what.into();
        LogError::Timeout { what, after }
    }

    /// What was tried failed for a reason that is no other error.
    pub(super) fn failed(what: String, reason: impl Into<String>) -> Self {
        let (reason, source) = (reason.into(), None);
        LogError::Client {
            what,
            reason,
            source,
        }
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn refused(
        what: impl Into<String>,
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        let reason = error.to_string();
        Self::refused_for(what, reason, Some(SharedError::from(error)))
    }

    pub(super) fn refused_for(
        what: impl Into<String>,
        reason: impl Into<String>,
        source: Option<SharedError>,
    ) -> Self {
        let (what, reason) = (what.into(), reason.into());
        LogError::Refused {
            what,
            reason,
            source,
        }
    }
}

fn millis(after: &Duration) -> String {
    format!("{} ms", after.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_cause_as_source_and_stays_comparable() {
        let io = || std::io::Error::other("no threads left");
        let error = LogError::client("starting a thread", io());
        assert_eq!(error.to_string(), "starting a thread: no threads left");
        assert_eq!(error, LogError::client("starting a thread", io()));
        let cause = error.source().expect("the thread's error");
        assert!(cause.is::<std::io::Error>());
    }
}
