//! What a view is doing, and why one does not start, or cannot answer.

use std::time::Duration;

use crate::codec::CodecError;
use crate::log::{LogError, after};
use crate::table::StoreError;

/// What a view is doing.
///
/// ```
/// use goka_runtime::view::ViewState;
///
/// fn is_ready(state: &ViewState) -> bool {
///     matches!(state, ViewState::Following | ViewState::Away { .. })
/// }
/// assert!(!is_ready(&ViewState::Restoring));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewState {
    /// It reads what the table's topic holds; a partition is readable as soon as it is done.
    Restoring,
    /// It follows the table.
    Following,
    /// The log does not answer: it serves what it has read, and tries again every second.
    Away {
        /// The error of the log.
        reason: String,
    },
    /// A copy cannot be written, as on a full disk: it serves what it has read, and tries again every
    /// second.
    Failing {
        /// The error of the store.
        reason: String,
    },
    /// It cannot go on: reads answer [`ViewError::Stopped`].
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a view cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The table's topic does not exist.
    #[error("table `{topic}` does not exist on {log}{}; run the processor of its group first", after(*.waited))]
    MissingTable {
        /// The table.
        topic: String,
        /// The log.
        log: String,
        /// How long it was waited for; zero where nothing that is missing appears.
        waited: Duration,
    },
    /// The table's topic would lose rows.
    #[error(
        "table `{topic}` on {log} is not compacted (cleanup.policy={policy}), so its rows would expire; \
         have its owner set cleanup.policy=compact"
    )]
    NotCompacted {
        /// The table.
        topic: String,
        /// The log.
        log: String,
        /// Its policy.
        policy: &'static str,
    },
    /// A partition was never level with its topic: a missing row may only not be read yet.
    #[error(
        "view of `{topic}`: partition {partition} is not restored yet ({state:?}); wait for it with `wait_ready`"
    )]
    NotReady {
        /// The table.
        topic: String,
        /// The partition.
        partition: i32,
        /// What the view is doing.
        state: ViewState,
    },
    /// This program has a view of the table already, which holds the local copy.
    #[error(
        "this program has a view of `{topic}` already; use that one in all places: `View::clone` gives another \
         handle on it"
    )]
    InUse {
        /// The table.
        topic: String,
    },
    /// The view cannot go on.
    #[error("view of `{topic}`: {reason}")]
    Stopped {
        /// The table.
        topic: String,
        /// Why.
        reason: String,
    },
    /// What is stored is not what the codec expects, or a key does not encode.
    #[error("{what} of {topic}: {source}")]
    Codec {
        /// `key` or `value`.
        what: &'static str,
        /// The table.
        topic: String,
        /// The error of the codec.
        source: CodecError,
    },
    /// The copy cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log fails.
    #[error(transparent)]
    Log(#[from] LogError),
}
