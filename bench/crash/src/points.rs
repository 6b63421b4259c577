//! The fail points of the runtime at which a process may be killed, and the guarantee that each belongs
//! to. The names are those of `fail_point!` in goka-runtime.

use goka_runtime::record::Guarantee;

/// A fail point of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    /// The guarantee that it belongs to, if not to both.
    only: Option<Guarantee>,
    /// The process is killed at one of its hits `1..=within`.
    pub(crate) within: u64,
    requires: Requires,
}

/// What a kill has to hit in order to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requires {
    /// Records that were fetched, or handled since the last barrier. On a busy machine a barrier may come
    /// before each fetch.
    Fetched,
    /// Records handled since the last barrier.
    Uncommitted,
    /// The same, and a batch of which some records have been appended.
    SomeAppended,
    /// Writes on their way to the store.
    Writes,
}

const fn point(name: &'static str, within: u64, requires: Requires) -> Point {
    Point {
        name,
        only: None,
        within,
        requires,
    }
}

const fn only(guarantee: Guarantee, point: Point) -> Point {
    Point {
        only: Some(guarantee),
        ..point
    }
}

const ALL: [Point; 9] = [
    point("after-fetch", 10, Requires::Fetched),
    point("after-handler", 300, Requires::Uncommitted),
    point("mid-produce", 300, Requires::SomeAppended),
    point("after-acks", 8, Requires::Uncommitted),
    only(
        Guarantee::AtLeastOnce,
        point("after-offset-commit", 8, Requires::Uncommitted),
    ),
    only(
        Guarantee::ExactlyOnce,
        point("before-transaction-end", 8, Requires::Uncommitted),
    ),
    only(
        Guarantee::ExactlyOnce,
        point("after-transaction-end", 8, Requires::Uncommitted),
    ),
    point("mid-store-flush", 12, Requires::Writes),
    point("after-store-flush", 12, Requires::Writes),
];

/// The fail points of a guarantee.
pub(crate) fn of(guarantee: Guarantee) -> impl Iterator<Item = &'static Point> {
    let belongs = move |point: &&Point| point.only.is_none_or(|only| only == guarantee);
    ALL.iter().filter(belongs)
}

impl Point {
    /// The fail point of a name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|point| point.name == name)
    }

    /// Whether a barrier has just ended at it.
    pub(crate) fn ends_a_barrier(&self) -> bool {
        matches!(self.name, "after-offset-commit" | "after-transaction-end")
    }

    /// How many records a kill would hit: given how many were handled since the last barrier and by this
    /// process, and how many records or writes are in hand at the fail point.
    pub(crate) fn hits(&self, uncommitted: u64, handled: u64, in_hand: u64) -> u64 {
        match self.requires {
            Requires::Fetched => uncommitted + in_hand,
            Requires::Uncommitted => uncommitted,
            Requires::SomeAppended if in_hand > 0 => uncommitted,
            // A restore writes to stores too, before anything was handled.
            Requires::Writes if handled > 0 => in_hand,
            Requires::SomeAppended | Requires::Writes => 0,
        }
    }
}
