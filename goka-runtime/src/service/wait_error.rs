//! Why a wait for the program's processors ended without success.

use crate::log::LogError;
use crate::processor::StopReason;
use crate::record::TopicPartition;

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
