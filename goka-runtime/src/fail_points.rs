//! For the crash harness and mutation tests: fail points at which the harness ends the process, and
//! mutations, known mistakes that harness and simulation have to find. Only with the feature
//! `fail-points`, which no program has.

use std::cell::Cell;
use std::sync::OnceLock;

#[cfg(feature = "kafka")]
use crate::record::Offset;
use crate::table::Checkpoint;
use crate::text::named_variants;

/// The environment variable with the mutation of a process: a [`Mutant::name`].
pub const MUTANT: &str = "GOKA_MUTANT";

thread_local! {
    static RECORDS: Cell<usize> = const { Cell::new(0) };
}

/// Called at each fail point: does what is configured for it in the crate `fail`.
pub fn reached(name: &str, records: usize) {
    RECORDS.set(records);
    fail::fail_point!(name);
}

/// How many records were in hand at the last fail point of this thread.
///
/// ```
/// use goka_runtime::fail_points::{reached, records};
///
/// reached("somewhere", 3);
/// assert_eq!(records(), 3);
/// ```
pub fn records() -> usize {
    RECORDS.get()
}

named_variants! {
    /// A known mistake of the engine, made on purpose; the names are those in [`MUTANT`].
    ///
    /// ```
    /// use goka_runtime::fail_points::Mutant;
    ///
    /// assert_eq!(Mutant::StoreAhead.name(), "store-ahead");
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[non_exhaustive]
    pub enum Mutant {
        /// A flush includes writes since the last barrier.
        StoreAhead = "store-ahead",
        /// The checkpoint of a store has an offset one record too high.
        CheckpointAhead = "checkpoint-ahead",
        /// One more record is committed of each input than was handled.
        CommitAhead = "commit-ahead",
        /// The group accepts offsets from members that it has removed.
        NoFence = "no-fence",
        /// Offsets are committed before the records that belong to them are acknowledged.
        CommitBeforeAcks = "commit-before-acks",
        /// A deletion is not written to the changelog.
        LostTombstone = "lost-tombstone",
        /// After an abort its writes can still be read.
        OverlayKept = "overlay-kept",
        /// A restore ends at the offset of a record instead of the reader's position.
        RestoreByRecord = "restore-by-record",
        /// Writes for a partition that was lost are committed with those of the others.
        StaleWrites = "stale-writes",
        /// Records of loopbacks are written outside the transaction.
        LoopbackOutside = "loopback-outside",
        /// A local copy is used however long ago it was level.
        TrustedTooLong = "trusted-too-long",
        /// A restore ends at the last stable offset.
        RestoreToStable = "restore-to-stable",
        /// An input whose offset is missing is read from its beginning.
        MissingFromStart = "missing-from-start",
        /// Everything that was fetched is handled before the member is polled again.
        EndlessTurn = "endless-turn",
    }
}

thread_local! {
    static CURRENT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Sets the mutation of this thread, or none. A simulation runs on one thread.
///
/// ```
/// use goka_runtime::fail_points::{Mutant, mutant, set_mutant};
///
/// set_mutant(Some(Mutant::StoreAhead));
/// assert_eq!(mutant(), Some(Mutant::StoreAhead));
/// set_mutant(None);
/// ```
pub fn set_mutant(mutant: Option<Mutant>) {
    CURRENT.set(mutant);
}

/// The mutation of this thread, or else the one of the process by [`MUTANT`].
///
/// # Panics
/// When [`MUTANT`] names no mutation: a test without its mutation would prove nothing.
pub fn mutant() -> Option<Mutant> {
    static OF_PROCESS: OnceLock<Option<Mutant>> = OnceLock::new();
    let of_process = || {
        let name = std::env::var(MUTANT).ok()?;
        let found = Mutant::ALL.into_iter().find(|mutant| mutant.name() == name);
        Some(found.unwrap_or_else(|| panic!("{MUTANT}={name}: no such mutation")))
    };
    CURRENT
        .get()
        .or_else(|| *OF_PROCESS.get_or_init(of_process))
}

/// The checkpoint that a store gets.
pub(crate) fn stamp(right: &Checkpoint) -> Checkpoint {
    let ahead = i64::from(mutant() == Some(Mutant::CheckpointAhead));
    Checkpoint {
        offset: right.offset + ahead,
        ..right.clone()
    }
}

/// The offset that is committed.
#[cfg(feature = "kafka")]
pub(crate) fn offset(right: Offset) -> Offset {
    right + i64::from(mutant() == Some(Mutant::CommitAhead))
}
