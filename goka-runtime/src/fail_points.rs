//! What the crash harness gets hold of: places where it ends the process, and mistakes that it plants
//! to see that it finds them. Only with the feature `fail-points`, which no program has.

use std::cell::Cell;
use std::sync::OnceLock;

#[cfg(feature = "kafka")]
use crate::record::Offset;
use crate::table::Checkpoint;

/// Names the mistake that this process makes: see [`Mutant`].
pub const PLANT: &str = "GOKA_PLANT";

thread_local! {
    static RECORDS: Cell<usize> = const { Cell::new(0) };
}

/// Called at each place: does what `fail` was told to do there.
pub fn reached(name: &str, records: usize) {
    RECORDS.set(records);
    fail::fail_point!(name);
}

/// How many records were in hand at the place that this thread has reached.
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

/// A mistake on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mutant {
    /// A flush takes what was written since the last barrier, too.
    StoreAhead,
    /// Stores are stamped one changelog record further than they hold.
    StampAhead,
    /// One more record is committed of each input than was handled.
    CommitAhead,
    /// The group takes offsets of members that it has put out.
    NoFence,
    /// Offsets are committed whatever became of the records before them.
    CommitBeforeAcks,
    /// A deletion is not written to the changelog.
    LostTombstone,
    /// After an abort, what it dropped is still read.
    OverlayKept,
    /// A restore ends by the offset of a record, not by its position.
    RestoreByRecord,
    /// What was written for a partition that is lost is committed with the others'.
    StaleWrites,
    /// Records of loopbacks are written outside the transaction.
    LoopbackOutside,
    /// A local copy is trusted however long ago it was level.
    TrustedTooLong,
    /// A restore ends at the last stable offset.
    RestoreToStable,
    /// An input whose offset is missing is read from its beginning.
    MissingFromStart,
    /// Everything that was fetched is handled before the member is polled again.
    EndlessTurn,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::StoreAhead,
        Self::StampAhead,
        Self::CommitAhead,
        Self::NoFence,
        Self::CommitBeforeAcks,
        Self::LostTombstone,
        Self::OverlayKept,
        Self::RestoreByRecord,
        Self::StaleWrites,
        Self::LoopbackOutside,
        Self::TrustedTooLong,
        Self::RestoreToStable,
        Self::MissingFromStart,
        Self::EndlessTurn,
    ];

    /// As [`PLANT`] spells it.
    ///
    /// ```
    /// use goka_runtime::fail_points::Mutant;
    ///
    /// assert_eq!(Mutant::StoreAhead.name(), "store-ahead");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::StoreAhead => "store-ahead",
            Self::StampAhead => "stamp-ahead",
            Self::CommitAhead => "commit-ahead",
            Self::NoFence => "no-fence",
            Self::CommitBeforeAcks => "commit-before-acks",
            Self::LostTombstone => "lost-tombstone",
            Self::OverlayKept => "overlay-kept",
            Self::RestoreByRecord => "restore-by-record",
            Self::StaleWrites => "stale-writes",
            Self::LoopbackOutside => "loopback-outside",
            Self::TrustedTooLong => "trusted-too-long",
            Self::RestoreToStable => "restore-to-stable",
            Self::MissingFromStart => "missing-from-start",
            Self::EndlessTurn => "endless-turn",
        }
    }
}

thread_local! {
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Has this thread make a mistake, or none: a simulation runs on one thread.
///
/// ```
/// use goka_runtime::fail_points::{Mutant, mutant, plant};
///
/// plant(Some(Mutant::StoreAhead));
/// assert_eq!(mutant(), Some(Mutant::StoreAhead));
/// plant(None);
/// ```
pub fn plant(mistake: Option<Mutant>) {
    PLANTED.set(mistake);
}

/// The mistake that this thread makes, or that the environment asks of the process.
///
/// # Panics
/// When it asks for one that there is not: a test that plants nothing would prove nothing.
pub fn mutant() -> Option<Mutant> {
    static OF_PROCESS: OnceLock<Option<Mutant>> = OnceLock::new();
    let of_process = || {
        let name = std::env::var(PLANT).ok()?;
        let found = Mutant::ALL.into_iter().find(|plant| plant.name() == name);
        Some(found.unwrap_or_else(|| panic!("{PLANT}={name}: no such mistake")))
    };
    PLANTED
        .get()
        .or_else(|| *OF_PROCESS.get_or_init(of_process))
}

/// What a flush takes of a row: what is acknowledged, and not what is pending.
pub(crate) fn flushed<T>(acknowledged: Option<T>, pending: Option<T>) -> Option<T> {
    match mutant() {
        Some(Mutant::StoreAhead) => pending.or(acknowledged),
        _ => acknowledged,
    }
}

/// The stamp that a store gets.
pub(crate) fn stamp(right: &Checkpoint) -> Checkpoint {
    let ahead = i64::from(mutant() == Some(Mutant::StampAhead));
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
