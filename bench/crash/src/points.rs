//! The fail points of the runtime at which a process may be killed, and the guarantee that each belongs
//! to. The names are those of `fail_point!` in goka-runtime.

use goka_runtime::record::Guarantee;

/// A fail point of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    /// The guarantee that it belongs to, if not to both.
    only: Option<Guarantee>,
    /// At which hit the process is killed: one of `1..=within`.
    pub(crate) within: u64,
    what: What,
}

/// What has to be in hand for a kill to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Records that were fetched, or handled since the last barrier: on a busy machine a barrier may
    /// come before each fetch.
    Fetched,
    /// Records handled since the last barrier.
    Unsettled,
    /// The same, and a batch of which some records have been appended.
    SomeAppended,
    /// Writes on their way to the store.
    Writes,
}

const fn point(name: &'static str, within: u64, what: What) -> Point {
    Point {
        name,
        only: None,
        within,
        what,
    }
}

const fn only(guarantee: Guarantee, point: Point) -> Point {
    Point {
        only: Some(guarantee),
        ..point
    }
}

const ALL: [Point; 9] = [
    point("after-fetch", 10, What::Fetched),
    point("after-handler", 300, What::Unsettled),
    point("mid-produce", 300, What::SomeAppended),
    point("after-acks", 8, What::Unsettled),
    only(
        Guarantee::AtLeastOnce,
        point("after-offset-commit", 8, What::Unsettled),
    ),
    only(
        Guarantee::ExactlyOnce,
        point("before-transaction-end", 8, What::Unsettled),
    ),
    only(
        Guarantee::ExactlyOnce,
        point("after-transaction-end", 8, What::Unsettled),
    ),
    point("mid-store-flush", 12, What::Writes),
    point("after-store-flush", 12, What::Writes),
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

    /// How many records a kill would hit, of those handled since the last barrier, those handled in
    /// this life, and what is in hand at the place.
    pub(crate) fn hits(&self, unsettled: u64, handled: u64, in_hand: u64) -> u64 {
        match self.what {
            What::Fetched => unsettled + in_hand,
            What::Unsettled => unsettled,
            What::SomeAppended if in_hand > 0 => unsettled,
            // A restore writes to stores too, before anything was handled.
            What::Writes if handled > 0 => in_hand,
            What::SomeAppended | What::Writes => 0,
        }
    }
}
