//! Why a record could not be emitted, or was not delivered.

use std::time::Duration;

use crate::codec::CodecError;
use crate::log::{LogError, after};

/// Why a record is not where it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The topic does not exist, and is not ours to make.
    #[error(
        "topic `{topic}` does not exist on {log}{}; create it: \
         kafka-topics.sh --bootstrap-server <brokers> --create --topic {topic} --partitions {partitions}",
        after(*.waited)
    )]
    MissingTopic {
        /// Which.
        topic: String,
        /// Where.
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
        /// Of which topic.
        topic: String,
        /// The codec's word.
        source: CodecError,
    },
    /// The log refused records that were under way.
    #[error("{records} record(s) were not delivered to topic `{topic}`: {reason}")]
    NotDelivered {
        /// Which topic.
        topic: String,
        /// How many.
        records: usize,
        /// Why the first was not.
        reason: String,
    },
    /// The outcome is still open: the records may or may not arrive.
    #[error(
        "{records} record(s) for topic `{topic}` are not acknowledged after {} ms; they may still arrive",
        .after.as_millis()
    )]
    Pending {
        /// Which topic.
        topic: String,
        /// How many.
        records: usize,
        /// How long was waited.
        after: Duration,
    },
    /// The emitter was closed.
    #[error("the emitter of topic `{topic}` is closed")]
    Closed {
        /// Which topic.
        topic: String,
    },
    /// The log does not do what was asked.
    #[error(transparent)]
    Log(#[from] LogError),
}
