//! Why a program does not start, or does not end well, and why a wait for its processors ends without success.
//! Names no options of the command line: `cli` adds them.

use super::data_dir::DataDirError;
use crate::log::LogError;
use crate::processor::{StartError, StopReason};
use crate::record::TopicPartition;

/// Why a program did not run, or did not end well. Several causes are reported together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log does not answer, or refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Brokers are named, and the binary cannot use them.
    #[cfg(not(feature = "kafka"))]
    #[error(
        "brokers `{brokers}` are named, but this binary is built without Kafka; build it with goka's \
         feature `kafka`"
    )]
    NoKafka { brokers: String },
    #[error("signal {signal} cannot be handled: {source}")]
    Signal { signal: i32, source: std::io::Error },
    #[error("no thread for a background: {0}")]
    Thread(std::io::Error),
    /// Processors have no value for their handlers, each with its own line.
    #[error("{}", .0.join("; "))]
    NoValue(Vec<String>),
    #[error("{}", joined(.0))]
    Start(Vec<StartError>),
    /// Processors or background closures failed, or did not end in time, each with its own line.
    #[error("{}", .0.join("; "))]
    Ended(Vec<String>),
}

fn joined(errors: &[StartError]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Why [`AppHandle::wait_processed`](super::AppHandle::wait_processed) gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// A group did not commit the ends of its inputs in time.
    #[error("group `{group}` has committed {committed:?} of {end} records of {partition}")]
    Behind {
        /// The group.
        group: String,
        /// A partition of an input that is not committed to its end.
        partition: TopicPartition,
        /// The committed offset; `None` when none is committed.
        committed: Option<i64>,
        /// The end of the partition when the wait began.
        end: i64,
    },
    /// A partition has stopped, so its records would never be committed.
    #[error("partition {partition} of group `{group}` has stopped: {source}")]
    Stopped {
        /// The group.
        group: String,
        /// The partition.
        partition: i32,
        /// Why it stopped.
        source: StopReason,
    },
    /// A processor has ended, so its records would never be committed.
    #[error("the processor of group `{group}` has ended: {source}")]
    Ended {
        /// The group.
        group: String,
        /// Why it ended.
        source: StopReason,
    },
    /// The program is stopping.
    #[error("the program ends")]
    Stopping,
    /// The log does not answer, or refuses.
    #[error(transparent)]
    Log(#[from] LogError),
}
