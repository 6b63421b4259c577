//! Reads and writes an open log for the commands `emit`, `get`, `scan` and `visit`.
//!
//! A command does it itself where it can open the log: Kafka, or the embedded log when no other process
//! has it. The process that holds the embedded log does it for the commands of others, which ask it over
//! a Unix socket. Either way the command's [`Request`](protocol::Request) is answered by
//! [`OpenLog::answer`](open_log::OpenLog::answer).

mod fold;
pub(crate) mod open_log;
pub(crate) mod protocol;
pub(crate) mod server;
pub(crate) mod socket;
#[cfg(test)]
mod test_log;

use crate::emitter::EmitError;
use crate::log::LogError;
use crate::record::{Offset, TopicPartition};

/// Why a request of a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error(
        "{partition} is read to {position} of {end}, and nothing has come for {} s: a broker may be away, \
         or a transaction open; try again",
        fold::STALL_TIMEOUT.as_secs()
    )]
    Stalled {
        /// The first partition that is not read to its end.
        partition: TopicPartition,
        /// The offset that would be read next.
        position: Offset,
        /// The end of the partition when the read began.
        end: Offset,
    },
    /// The topic is another one than the command has seen.
    #[error("topic `{topic}` has {found} partitions, the command asks for {asked}; try again")]
    OtherPartitions {
        topic: String,
        found: i32,
        asked: i32,
    },
    #[error("topic `{topic}` does not exist")]
    NoTopic { topic: String },
}
