//! Why a task stops, or the whole worker: what, where, what to do.

use std::fmt;

use super::recovery::RecoveryReason;
use crate::log::{Failure, LogError};
use crate::record::Offset;
use crate::shared_error::{HandlerError, SharedError};
use crate::table::StoreError;

/// A key as an error shows it.
pub(crate) fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).escape_debug().to_string()
}

/// The record at which a task stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRecord {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
    /// Its key, as text.
    pub key: String,
}

impl FailedRecord {
    pub(crate) fn new(topic: &str, partition: i32, offset: Offset, key: &[u8]) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            offset,
            key: key_text(key),
        }
    }
}

impl fmt::Display for FailedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (topic, partition, offset) = (&self.topic, self.partition, self.offset);
        write!(
            f,
            "{topic}[{partition}] offset {offset}, key `{}`",
            self.key
        )
    }
}

/// Why a task stopped: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// The handler failed or panicked, or its record does not decode.
    #[error(
        "{record}: {error:#}; correct the handler or the record: after \
         a restart it is read again"
    )]
    Handler {
        /// The record.
        record: FailedRecord,
        /// What the handler failed with.
        #[source]
        error: HandlerError,
    },
    /// The process died twice while a handler ran with this record.
    #[error(
        "{record}: the process died twice while its handler ran \
         with this record (an abort, a stack overflow or a fault), so it is not handled a third time; \
         correct the handler or the record, then start with `--retry {}:{}:{}`",
        .record.topic,
        .record.partition,
        .record.offset
    )]
    Died {
        /// The record.
        record: FailedRecord,
    },
    /// A record without a key came into a group with a table.
    #[error(
        "{topic}[{partition}] offset {offset} has a null key, and the group's table needs one; \
         give the records keys (an empty key is one)"
    )]
    NullKey {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The record.
        offset: Offset,
    },
    /// A key is in a partition where this group's partitioner would not have put it.
    #[error(
        "{record}: {partitioner} places this key in \
         partition {expected}; write the topic with that partitioner, or declare the one that wrote it"
    )]
    Misplaced {
        /// The record.
        record: FailedRecord,
        /// The declared partitioner.
        partitioner: &'static str,
        /// The partition where it belongs.
        expected: i32,
    },
    /// A handler that was called for a visit failed or panicked.
    #[error(
        "{topic}[{partition}] offset {offset}, a visit, at key `{}`: {error:#}; correct the handler: \
         after a restart the visit goes on at this key. To give up the rest of this visit in this \
         partition, on Kafka: stop all instances of the group and set the group's offset behind the \
         request (kafka-consumer-groups.sh --group {group} --topic {topic}:{partition} \
         --reset-offsets --to-offset {next} --execute)",
        .record.key,
        topic = .record.topic,
        partition = .record.partition,
        offset = .record.offset,
        group = .record.topic.strip_suffix("-visit").unwrap_or(&.record.topic),
        next = .record.offset + 1
    )]
    Visit {
        /// The record that asked for the visit, with the key that was visited.
        record: FailedRecord,
        /// What the handler failed with.
        #[source]
        error: HandlerError,
    },
    /// The group's offsets were committed by a newer build.
    #[error(
        "{topic}[{partition}]: what group `{group}` committed with its offset has version {found}, \
         written by a newer build of goka, and this one knows versions up to {known}; run a build that \
         knows it; nothing of it was changed"
    )]
    NewerMetadata {
        /// The group.
        group: String,
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The version found.
        found: String,
        /// The latest one that this build knows.
        known: u16,
    },
    /// A key decodes, but is not written as this program writes it.
    #[error(
        "{record}: this program writes this key as \
         `{expected}`, and rows are found by their bytes, so each form would have a row of its own; \
         correct the program that writes the topic, or declare a key type that has no other forms \
         (`String`, `Vec<u8>`)"
    )]
    OtherForm {
        /// The record, of an input or of a joined table.
        record: FailedRecord,
        /// The form expected, as text.
        expected: String,
    },
    /// Another program committed offsets under the group's name.
    #[error(
        "{at}: another program uses this group name: {found}{holder}; give this program a group name of \
         its own. (A new version of one program keeps the inputs that it had beside new ones, and may \
         drop them in the version after that.)"
    )]
    OtherProgram {
        /// The partition whose offset it committed, as `topic[partition]`.
        at: String,
        /// What it is.
        found: String,
        /// Where it runs.
        holder: String,
    },
    /// Another member of the group is led by another topic.
    #[error(
        "group `{group}` was led by topic `{found}`, this program leads it by `{expected}`; keep the \
         group's first input first, or give the group another name"
    )]
    OtherLead {
        /// The group.
        group: String,
        /// The lead that the committed offsets name.
        found: String,
        /// The lead of this program.
        expected: String,
    },
    /// An input of a group with a table was deleted and made again since its offset was committed.
    #[error(
        "{topic}[{partition}]: the committed offset {offset} is of a topic with id `{found}`, the topic \
         now has id `{expected}`: it was deleted and made again, and its records are others; set where \
         to go on, with all instances stopped (kafka-consumer-groups.sh --bootstrap-server <brokers> \
         --group <group> --topic {topic} --reset-offsets --to-earliest --execute)"
    )]
    InputMadeAgain {
        /// The input.
        topic: String,
        /// Its partition.
        partition: i32,
        /// What is committed.
        offset: Offset,
        /// The id that the offset carries.
        found: String,
        /// The topic's.
        expected: String,
    },
    /// The local copy, the topics and the committed offsets do not fit together.
    #[error(transparent)]
    Recovery(RecoveryReason),
    /// An input can no longer be read.
    #[error(transparent)]
    Input(LogError),
    /// The log refuses a record for good.
    #[error(transparent)]
    Append(Failure),
    /// The member cannot go on.
    #[error(transparent)]
    Member(LogError),
    /// The local storage fails.
    #[error(transparent)]
    Store(StoreError),
    /// An input of a group without a table was deleted and made again: the group reads the new one.
    #[error("input `{topic}` was deleted and made again")]
    NewInput {
        /// The input.
        topic: String,
    },
    /// A topic of the group is not what it was when the program started.
    #[error("{0}")]
    Topic(#[source] SharedError),
    /// A table that is looked up cannot be followed.
    #[error("{0}")]
    Lookup(#[source] SharedError),
}
