//! What goes wrong at a log, and what each class of failure leads to.

use std::fmt;
use std::time::Duration;

use crate::record::Offset;

/// How a step towards durability failed; the class decides what the core does (ARCHITECTURE.md).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing happened and the same step may be tried again.
    Retriable(String),
    /// The group moved on (generation, epoch) though the task may still be owned: read afresh, retry.
    Stale(String),
    /// The task is not owned any more.
    Lost(String),
    /// It may or may not have happened.
    Unknown(String),
    /// The transaction has to be aborted.
    Abortable(String),
    /// Another process joined the group under this member's instance name, and replaced it.
    InstanceFenced(String),
    /// Another producer took the transactional id over, or the broker ended a transaction that was
    /// open for too long: it has one word for both.
    ProducerFenced(String),
    /// The client is of no more use and must be rebuilt.
    Fatal(String),
    /// The log refuses a record for good: too large, no right.
    Refused {
        /// The topic that it was for.
        topic: String,
        /// Its key, as text.
        key: String,
        /// Why.
        reason: String,
    },
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Retriable(why)
            | Failure::Stale(why)
            | Failure::Lost(why)
            | Failure::Unknown(why)
            | Failure::Abortable(why)
            | Failure::InstanceFenced(why)
            | Failure::ProducerFenced(why)
            | Failure::Fatal(why) => f.write_str(why),
            Failure::Refused { topic, key, reason } => {
                write!(
                    f,
                    "topic `{topic}` refuses the record of key `{key}`: {reason}"
                )
            }
        }
    }
}

/// What went wrong at the log: each says what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No broker answers.
    #[error(
        "no broker answers at `{brokers}`: {reason}; start Kafka there, or correct `--brokers` / GOKA_BROKERS"
    )]
    Unreachable {
        /// The addresses tried.
        brokers: String,
        /// The client's last word.
        reason: String,
    },
    /// A topic does not exist.
    #[error("topic `{topic}` does not exist")]
    UnknownTopic {
        /// Which.
        topic: String,
    },
    /// The program ends while it waits for a topic.
    #[error("the program ends while it waits for topic `{topic}`")]
    Stopping {
        /// Which.
        topic: String,
    },
    /// A partition does not exist.
    #[error("topic `{topic}` has no partition {partition}")]
    UnknownPartition {
        /// Of which topic.
        topic: String,
        /// Which.
        partition: i32,
    },
    /// A topic is there already.
    #[error("topic `{topic}` exists already")]
    TopicExists {
        /// Which.
        topic: String,
    },
    /// The log does not hold that offset.
    #[error("{topic}[{partition}] holds no offset {offset}")]
    OutOfRange {
        /// Of which topic.
        topic: String,
        /// Which partition.
        partition: i32,
        /// The offset asked for.
        offset: Offset,
    },
    /// Something took longer than its deadline.
    #[error("{what} took longer than {}", millis(.after))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
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
        /// The broker's word.
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
        /// The broker's word.
        reason: String,
    },
    /// The broker refuses.
    #[error("{what}: the log refuses: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// The broker's word.
        reason: String,
    },
    /// The client cannot go on.
    #[error("{what}: {reason}")]
    Client {
        /// What was tried.
        what: String,
        /// The client's word.
        reason: String,
    },
    /// The embedded log's file cannot be used.
    #[error("embedded log `{path}`: {reason}")]
    Storage {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

fn millis(after: &Duration) -> String {
    format!("{} ms", after.as_millis())
}
