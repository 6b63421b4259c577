//! What the crash harness gets hold of: places where it ends the process, and mistakes that it plants
//! to see that it finds them. Only with the feature `fail-points`, which no program has.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::record::Offset;
use crate::table::Stamp;

/// Names the mistake that this process makes: see [`Planted`].
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// `store-ahead`: a flush takes what was written since the last barrier, too.
    StoreAhead,
    /// `stamp-ahead`: stores are stamped one changelog record further than they hold.
    StampAhead,
    /// `commit-ahead`: one more record is committed of each input than was handled.
    CommitAhead,
}

/// The mistake that the environment asks for.
///
/// # Panics
/// When it asks for one that there is not: a test that plants nothing would prove nothing.
pub fn planted() -> Option<Planted> {
    static PLANTED: OnceLock<Option<Planted>> = OnceLock::new();
    *PLANTED.get_or_init(|| match std::env::var(PLANT).ok()?.as_str() {
        "store-ahead" => Some(Planted::StoreAhead),
        "stamp-ahead" => Some(Planted::StampAhead),
        "commit-ahead" => Some(Planted::CommitAhead),
        other => panic!("{PLANT}={other}: no such mistake"),
    })
}

/// What a flush takes of a row: what is acknowledged, and not what is pending.
pub(crate) fn flushed<T>(acknowledged: Option<T>, pending: Option<T>) -> Option<T> {
    match planted() {
        Some(Planted::StoreAhead) => pending.or(acknowledged),
        _ => acknowledged,
    }
}

/// The stamp that a store gets.
pub(crate) fn stamp(right: &Stamp) -> Stamp {
    let ahead = i64::from(planted() == Some(Planted::StampAhead));
    Stamp {
        offset: right.offset + ahead,
        ..right.clone()
    }
}

/// The offset that is committed.
pub(crate) fn offset(right: Offset) -> Offset {
    right + i64::from(planted() == Some(Planted::CommitAhead))
}
