//! What every kind of [`Stores`] must do, as named cases that panic on a violation. Both stores of
//! this crate pass; run it on one of your own. Each case uses a table of its own name, so one
//! [`Stores`] serves all; it must not hold them yet.

mod places;
mod ranges;
mod states;
#[cfg(test)]
pub(super) mod tests;
mod values;

use std::ops::Bound;

use super::{
    Checkpoint, Durability, FORMAT, Flow, KeyRange, Store, StoreError, StoreRead, Stored,
    StoredRef, Stores, Write, prefix_range,
};
use crate::record::{Offset, Timestamp};

/// One named case.
pub type Case = (&'static str, fn(&dyn Stores));

/// All cases; each may be run alone, on stores that do not hold its table yet.
///
/// ```
/// use goka_runtime::table::{conformance::CASES, memory::MemoryStores};
/// let (name, case) = CASES[0];
/// assert_eq!(name, "new-is-empty");
/// case(&MemoryStores::default());
/// ```
pub const CASES: &[Case] = &[
    ("new-is-empty", values::new_is_empty),
    ("get-finds-the-last-write", values::get_finds_the_last_write),
    (
        "empty-key-and-empty-value",
        values::empty_key_and_empty_value,
    ),
    ("large-value", values::large_value),
    ("any-bytes", values::any_bytes),
    ("timestamps", values::timestamps),
    ("range-in-key-order", ranges::range_in_key_order),
    ("range-bounds", ranges::range_bounds),
    ("range-of-nothing", ranges::range_of_nothing),
    ("prefix-ranges", ranges::prefix_ranges),
    ("range-breaks", ranges::range_breaks),
    ("range-may-read", ranges::range_may_read),
    (
        "checkpoint-comes-with-its-writes",
        states::checkpoint_comes_with_its_writes,
    ),
    ("checkpoint-alone", states::checkpoint_alone),
    ("checkpoint-is-kept-whole", states::checkpoint_is_kept_whole),
    ("snapshot-is-frozen", states::snapshot_is_frozen),
    ("clear-drops-everything", states::clear_drops_everything),
    (
        "reopen-finds-what-was-synced",
        states::reopen_finds_what_was_synced,
    ),
    (
        "reopen-finds-what-was-cleared",
        states::reopen_finds_what_was_cleared,
    ),
    ("partitions-are-apart", places::partitions_are_apart),
    ("tables-are-apart", places::tables_are_apart),
    ("one-holder-at-a-time", places::one_holder_at_a_time),
    ("set-aside-makes-room", places::set_aside_makes_room),
    ("moves-between-threads", places::moves_between_threads),
];

/// Runs all cases, telling each name on standard error before it runs.
///
/// # Panics
/// At the first violation.
///
/// ```
/// use goka_runtime::table::{conformance::conformance, memory::MemoryStores};
/// conformance(&MemoryStores::default());
/// ```
pub fn conformance(stores: &dyn Stores) {
    for (name, case) in CASES {
        eprintln!("conformance of {stores:?}: {name}");
        case(stores);
    }
}

/// A value for key `key` at timestamp 7.
fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Write<'a> {
    put_at(key, value, 7)
}

fn put_at<'a>(key: &'a [u8], value: &'a [u8], timestamp: Timestamp) -> Write<'a> {
    let value = Some(StoredRef { timestamp, value });
    Write { key, value }
}

fn delete(key: &[u8]) -> Write<'_> {
    Write { key, value: None }
}

pub(crate) fn checkpoint(offset: Offset) -> Checkpoint {
    Checkpoint {
        format: FORMAT,
        cluster: "cluster".to_owned(),
        topic_id: "topic-id".to_owned(),
        partition: 0,
        offset,
        fingerprint: "v1;key=string;value=i64;partitioner=murmur2".to_owned(),
        synced_at: 1_700_000_000_000,
    }
}

/// Tells the case in every message.
struct Partition {
    case: &'static str,
    store: Box<dyn Store>,
}

impl Partition {
    fn open(stores: &dyn Stores, case: &'static str) -> Self {
        Self::open_at(stores, case, case, 0)
    }

    fn open_at(stores: &dyn Stores, case: &'static str, table: &str, partition: i32) -> Self {
        let store = ok(case, "open", stores.open(table, partition));
        Self { case, store }
    }

    fn reopen(self, stores: &dyn Stores) -> Self {
        let case = self.case;
        drop(self);
        Self::open(stores, case)
    }

    fn apply(&mut self, writes: &[Write<'_>], offset: Offset) {
        self.apply_as(writes, offset, Durability::Relaxed);
    }

    fn apply_as(&mut self, writes: &[Write<'_>], offset: Offset, durability: Durability) {
        let applied = self.store.apply(&writes, &checkpoint(offset), durability);
        ok(self.case, "apply", applied);
    }

    fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        value(self.case, &*self.store, key)
    }

    fn keys(&self, keys: KeyRange<'_>) -> Vec<Vec<u8>> {
        all(self.case, &*self.store, keys)
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    }

    fn offset(&self) -> Option<Offset> {
        offset(self.case, &*self.store)
    }
}

fn ok<T>(case: &str, what: &str, result: Result<T, StoreError>) -> T {
    result.unwrap_or_else(|error| panic!("{case}: {what} failed: {error}"))
}

fn value(case: &str, store: &(impl StoreRead + ?Sized), key: &[u8]) -> Option<Vec<u8>> {
    ok(case, "get", store.get(key)).map(|stored| stored.value)
}

fn offset(case: &str, store: &(impl StoreRead + ?Sized)) -> Option<Offset> {
    ok(case, "checkpoint", store.checkpoint()).map(|checkpoint| checkpoint.offset)
}

fn all(
    case: &str,
    store: &(impl StoreRead + ?Sized),
    keys: KeyRange<'_>,
) -> Vec<(Vec<u8>, Stored)> {
    let mut found = Vec::new();
    let walked = store.range(keys, &mut |key, stored| {
        found.push((key.to_vec(), stored.to_stored()));
        Flow::Continue(())
    });
    ok(case, "range", walked);
    found
}

const EVERYTHING: KeyRange<'static> = (Bound::Unbounded, Bound::Unbounded);
