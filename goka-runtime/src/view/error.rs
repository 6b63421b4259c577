//! Why a view does not start, or cannot answer.

use std::time::Duration;

use super::shared::ViewState;
use crate::codec::CodecError;
use crate::log::{LogError, after};
use crate::table::StoreError;

/// Why a view cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The table's topic does not exist.
    #[error("table `{topic}` does not exist on {log}{}; run the processor of its group first", after(*.waited))]
    MissingTable {
        /// Which.
        topic: String,
        /// Where.
        log: String,
        /// How long it was waited for; zero where nothing that is missing appears.
        waited: Duration,
    },
    /// The table's topic would lose rows.
    #[error(
        "table `{topic}` on {log} is not compacted (cleanup.policy={policy}), so its rows would expire; \
         whoever owns it sets cleanup.policy=compact"
    )]
    NotCompacted {
        /// Which.
        topic: String,
        /// Where.
        log: String,
        /// Its policy.
        policy: &'static str,
    },
    /// A partition was never level with its topic, so what is not there may only not be there yet.
    #[error(
        "view of `{topic}`: partition {partition} is not restored yet ({state:?}); wait for it with `wait_ready`"
    )]
    NotReady {
        /// Of which table.
        topic: String,
        /// Which.
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
        /// Of which table.
        topic: String,
    },
    /// The view cannot go on.
    #[error("view of `{topic}`: {reason}")]
    Stopped {
        /// Of which table.
        topic: String,
        /// Why.
        reason: String,
    },
    /// What is stored is not what the codec expects, or a key does not encode.
    #[error("{what} of {topic}: {source}")]
    Codec {
        /// `key` or `value`.
        what: &'static str,
        /// Of which table.
        topic: String,
        /// The codec's word.
        source: CodecError,
    },
    /// The copy cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not do what was asked.
    #[error(transparent)]
    Log(#[from] LogError),
}
