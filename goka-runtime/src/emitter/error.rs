//! Why a record could not be emitted, or was not delivered.

use std::time::Duration;

use crate::codec::CodecError;
use crate::log::{Failure, LogError, after};
use crate::text::counted;

/// Why a record is not where it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The topic does not exist, and this log does not create it.
    #[error(
        "topic `{topic}` does not exist on {log}{}; create it: \
         kafka-topics.sh --bootstrap-server <brokers> --create --topic {topic} --partitions {partitions}",
        after(*.waited)
    )]
    MissingTopic {
        /// The topic.
        topic: String,
        /// The log.
        log: String,
        /// The declared partition count, or the default.
        partitions: i32,
        /// How long it was waited for; zero where nothing that is missing appears.
        waited: Duration,
    },
    /// The key or the value does not encode.
    #[error("{what} of {topic}: {source}")]
    Codec {
        /// `key` or `value`.
        what: &'static str,
        /// The topic.
        topic: String,
        /// The error of the codec.
        source: CodecError,
    },
    /// The log refused records that were under way.
    #[error("{} not delivered to topic `{topic}`: {failure}", counted(*.records, "record"))]
    NotDelivered {
        /// The topic.
        topic: String,
        /// How many records.
        records: usize,
        /// Why the first was not.
        failure: Failure,
    },
    /// The outcome is not known yet: the records may or may not arrive.
    #[error(
        "{} for topic `{topic}` not acknowledged after {} ms, and may still arrive",
        counted(*.records, "record"), .after.as_millis()
    )]
    Pending {
        /// The topic.
        topic: String,
        /// How many records.
        records: usize,
        /// How long was waited.
        after: Duration,
    },
    /// The emitter was closed.
    #[error("the emitter of topic `{topic}` is closed")]
    Closed {
        /// The topic.
        topic: String,
    },
    /// The log fails.
    #[error(transparent)]
    Log(#[from] LogError),
}
