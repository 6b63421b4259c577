//! What every kind of [`Stores`] must do, as named cases that panic on a violation. Both stores of
//! this crate pass; run it on one of your own. Each case uses a table of its own name, so one
//! [`Stores`] serves all; it must not hold them yet.

use std::ops::Bound;

use super::{
    Durability, FORMAT, Flow, KeyRange, Stamp, Store, StoreError, StoreRead, Stored, StoredRef,
    Stores, Write, prefix_range,
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
    ("new-is-empty", new_is_empty),
    ("get-finds-the-last-write", get_finds_the_last_write),
    ("empty-key-and-empty-value", empty_key_and_empty_value),
    ("large-value", large_value),
    ("any-bytes", any_bytes),
    ("timestamps", timestamps),
    ("range-in-key-order", range_in_key_order),
    ("range-bounds", range_bounds),
    ("range-of-nothing", range_of_nothing),
    ("prefix-ranges", prefix_ranges),
    ("range-breaks", range_breaks),
    ("range-may-read", range_may_read),
    ("stamp-comes-with-its-writes", stamp_comes_with_its_writes),
    ("stamp-alone", stamp_alone),
    ("stamp-is-kept-whole", stamp_is_kept_whole),
    ("snapshot-is-frozen", snapshot_is_frozen),
    ("clear-drops-everything", clear_drops_everything),
    ("reopen-finds-what-was-synced", reopen_finds_what_was_synced),
    (
        "reopen-finds-what-was-cleared",
        reopen_finds_what_was_cleared,
    ),
    ("partitions-are-apart", partitions_are_apart),
    ("tables-are-apart", tables_are_apart),
    ("one-holder-at-a-time", one_holder_at_a_time),
    ("set-aside-makes-room", set_aside_makes_room),
    ("moves-between-threads", moves_between_threads),
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

fn stamp(offset: Offset) -> Stamp {
    Stamp {
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
        let applied = self.store.apply(writes, &stamp(offset), durability);
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
    ok(case, "stamp", store.stamp()).map(|stamp| stamp.offset)
}

fn all(
    case: &str,
    store: &(impl StoreRead + ?Sized),
    keys: KeyRange<'_>,
) -> Vec<(Vec<u8>, Stored)> {
    let mut found = Vec::new();
    let walked = store.range(keys, &mut |key, stored| {
        let stored = Stored {
            timestamp: stored.timestamp,
            value: stored.value.to_vec(),
        };
        found.push((key.to_vec(), stored));
        Flow::Continue(())
    });
    ok(case, "range", walked);
    found
}

const EVERYTHING: KeyRange<'static> = (Bound::Unbounded, Bound::Unbounded);

fn new_is_empty(stores: &dyn Stores) {
    let partition = Partition::open(stores, "new-is-empty");
    assert_eq!(partition.offset(), None, "new-is-empty: it has a stamp");
    assert_eq!(partition.value(b"a"), None, "new-is-empty: it has a value");
    let keys = partition.keys(EVERYTHING);
    assert!(keys.is_empty(), "new-is-empty: it has keys {keys:?}");
    let snapshot = ok("new-is-empty", "snapshot", partition.store.snapshot());
    assert_eq!(value("new-is-empty", &*snapshot, b"a"), None);
    assert_eq!(offset("new-is-empty", &*snapshot), None);
}

fn get_finds_the_last_write(stores: &dyn Stores) {
    const CASE: &str = "get-finds-the-last-write";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b"1"), put(b"b", b"1")], 2);
    assert_eq!(partition.value(b"a").as_deref(), Some(&b"1"[..]), "{CASE}");
    assert_eq!(partition.value(b"c"), None, "{CASE}: absent");
    partition.apply(&[delete(b"a"), put(b"b", b"two"), delete(b"c")], 5);
    assert_eq!(partition.value(b"a"), None, "{CASE}: deleted");
    assert_eq!(
        partition.value(b"b").as_deref(),
        Some(&b"two"[..]),
        "{CASE}"
    );
    partition.apply(&[put(b"a", b"3")], 6);
    assert_eq!(
        partition.value(b"a").as_deref(),
        Some(&b"3"[..]),
        "{CASE}: written again"
    );
}

fn empty_key_and_empty_value(stores: &dyn Stores) {
    const CASE: &str = "empty-key-and-empty-value";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"", b"of the empty key"), put(b"a", b"")], 2);
    let empty = partition.value(b"");
    assert_eq!(empty.as_deref(), Some(&b"of the empty key"[..]), "{CASE}");
    assert_eq!(
        partition.value(b"a").as_deref(),
        Some(&b""[..]),
        "{CASE}: not a deletion"
    );
    assert_eq!(partition.keys(EVERYTHING), [&b""[..], b"a"], "{CASE}");
    partition.apply(&[delete(b"")], 3);
    assert_eq!(
        partition.keys(EVERYTHING),
        [b"a"],
        "{CASE}: empty key deleted"
    );
}

fn large_value(stores: &dyn Stores) {
    const CASE: &str = "large-value";
    let mut partition = Partition::open(stores, CASE);
    let large: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    partition.apply_as(&[put(b"a", &large), put(b"b", b"1")], 2, Durability::Synced);
    let partition = partition.reopen(stores);
    assert!(
        partition.value(b"a") == Some(large),
        "{CASE}: 1 MiB came back changed"
    );
    assert_eq!(partition.value(b"b").as_deref(), Some(&b"1"[..]), "{CASE}");
}

fn any_bytes(stores: &dyn Stores) {
    const CASE: &str = "any-bytes";
    let mut partition = Partition::open(stores, CASE);
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    let writes: Vec<_> = bytes.chunks(1).map(|byte| put(byte, &bytes)).collect();
    partition.apply(&writes, 256);
    for byte in bytes.chunks(1) {
        assert!(
            partition.value(byte).as_ref() == Some(&bytes),
            "{CASE}: key {byte:?}"
        );
    }
    partition.apply(&[put(&bytes, b"long key")], 257);
    assert_eq!(
        partition.value(&bytes).as_deref(),
        Some(&b"long key"[..]),
        "{CASE}"
    );
}

fn timestamps(stores: &dyn Stores) {
    const CASE: &str = "timestamps";
    let mut partition = Partition::open(stores, CASE);
    let rows = [-1, 0, 1, 1_700_000_000_000, Timestamp::MIN, Timestamp::MAX];
    for (at, timestamp) in rows.into_iter().enumerate() {
        let key = [at as u8];
        partition.apply(&[put_at(&key, b"v", timestamp)], at as Offset + 1);
        let stored = ok(CASE, "get", partition.store.get(&key));
        assert_eq!(
            stored.map(|stored| stored.timestamp),
            Some(timestamp),
            "{CASE}: get"
        );
    }
    let found = all(CASE, &*partition.store, EVERYTHING);
    let found: Vec<_> = found.iter().map(|(_, stored)| stored.timestamp).collect();
    assert_eq!(found, rows, "{CASE}: range");
}

fn range_in_key_order(stores: &dyn Stores) {
    const CASE: &str = "range-in-key-order";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"b", b"2"), put(b"b\0", b"3"), put(b"c", b"5")], 3);
    partition.apply(
        &[
            put(b"", b"0"),
            put(b"a", b"1"),
            put(b"ba", b"4"),
            put(b"\xff", b"6"),
        ],
        7,
    );
    let found = all(CASE, &*partition.store, EVERYTHING);
    let keys: Vec<_> = found.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(
        keys,
        [&b""[..], b"a", b"b", b"b\0", b"ba", b"c", b"\xff"],
        "{CASE}: keys"
    );
    let values: Vec<_> = found.iter().map(|(_, stored)| &stored.value[..]).collect();
    assert_eq!(
        values,
        [b"0", b"1", b"2", b"3", b"4", b"5", b"6"],
        "{CASE}: values"
    );
}

fn range_bounds(stores: &dyn Stores) {
    use Bound::{Excluded, Included, Unbounded};
    const CASE: &str = "range-bounds";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"b", b""), put(b"d", b""), put(b"f", b"")], 3);
    let rows: &[(KeyRange<'_>, &[&[u8]])] = &[
        ((Included(b"b"), Included(b"f")), &[b"b", b"d", b"f"]),
        ((Included(b"b"), Excluded(b"f")), &[b"b", b"d"]),
        ((Excluded(b"b"), Included(b"f")), &[b"d", b"f"]),
        ((Excluded(b"b"), Excluded(b"f")), &[b"d"]),
        ((Excluded(b"b"), Unbounded), &[b"d", b"f"]),
        ((Unbounded, Excluded(b"d")), &[b"b"]),
        ((Unbounded, Included(b"d")), &[b"b", b"d"]),
        ((Included(b"c"), Included(b"e")), &[b"d"]),
        ((Included(b"d"), Included(b"d")), &[b"d"]),
        ((Included(b"g"), Unbounded), &[]),
        ((Unbounded, Excluded(b"b")), &[]),
        ((Included(b""), Excluded(b"")), &[]),
    ];
    for (keys, expected) in rows {
        assert_eq!(partition.keys(*keys), *expected, "{CASE}: {keys:?}");
    }
}

fn range_of_nothing(stores: &dyn Stores) {
    use Bound::{Excluded, Included};
    const CASE: &str = "range-of-nothing";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b""), put(b"b", b""), put(b"c", b"")], 3);
    let rows: &[KeyRange<'_>] = &[
        (Included(b"c"), Included(b"a")),
        (Excluded(b"c"), Excluded(b"a")),
        (Excluded(b"b"), Excluded(b"b")),
        (Included(b"b"), Excluded(b"b")),
        (Excluded(b"b"), Included(b"b")),
    ];
    for keys in rows {
        let found = partition.keys(*keys);
        assert!(found.is_empty(), "{CASE}: {keys:?} gave {found:?}");
    }
}

fn prefix_ranges(stores: &dyn Stores) {
    const CASE: &str = "prefix-ranges";
    let mut partition = Partition::open(stores, CASE);
    let keys: [&[u8]; 7] = [
        b"",
        b"a",
        b"a\0",
        b"a\xff\xff",
        b"b",
        b"\xff",
        b"\xff\xff\x01",
    ];
    partition.apply(&keys.map(|key| put(key, b"v")), 7);
    let rows: &[(&[u8], &[&[u8]])] = &[
        (b"", &keys),
        (b"a", &[b"a", b"a\0", b"a\xff\xff"]),
        (b"a\xff", &[b"a\xff\xff"]),
        (b"b", &[b"b"]),
        (b"c", &[]),
        (b"\xff", &[b"\xff", b"\xff\xff\x01"]),
        (b"\xff\xff", &[b"\xff\xff\x01"]),
        (b"\xff\xff\xff", &[]),
    ];
    for (prefix, expected) in rows {
        let mut end = Vec::new();
        let found = partition.keys(prefix_range(prefix, &mut end));
        assert_eq!(found, *expected, "{CASE}: {prefix:?}");
    }
}

fn range_breaks(stores: &dyn Stores) {
    const CASE: &str = "range-breaks";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b""), put(b"b", b""), put(b"c", b"")], 3);
    let mut seen = Vec::new();
    let walked = partition.store.range(EVERYTHING, &mut |key, _| {
        seen.push(key.to_vec());
        if key == b"b" {
            Flow::Break(())
        } else {
            Flow::Continue(())
        }
    });
    ok(CASE, "range", walked);
    assert_eq!(seen, [b"a", b"b"], "{CASE}: it went on");
}

fn range_may_read(stores: &dyn Stores) {
    const CASE: &str = "range-may-read";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b"b"), put(b"b", b"a")], 2);
    let mut found = Vec::new();
    let walked = partition.store.range(EVERYTHING, &mut |_, stored| {
        found.extend(partition.value(stored.value));
        found.extend(partition.keys((Bound::Excluded(stored.value), Bound::Unbounded)));
        Flow::Continue(())
    });
    ok(CASE, "range", walked);
    assert_eq!(found, [b"a", b"b", b"b"], "{CASE}");
}

fn stamp_comes_with_its_writes(stores: &dyn Stores) {
    const CASE: &str = "stamp-comes-with-its-writes";
    let mut partition = Partition::open(stores, CASE);
    for (at, durability) in [Durability::Synced, Durability::Relaxed, Durability::Synced]
        .into_iter()
        .enumerate()
    {
        let (bytes, offset) = ([at as u8], at as Offset + 1);
        partition.apply_as(&[put(b"a", &bytes)], offset, durability);
        let snapshot = ok(CASE, "snapshot", partition.store.snapshot());
        for store in [&*snapshot as &dyn StoreRead, &*partition.store] {
            assert_eq!(
                self::offset(CASE, store),
                Some(offset),
                "{CASE}: {durability:?}"
            );
            let found = value(CASE, store, b"a");
            assert_eq!(found.as_deref(), Some(&bytes[..]), "{CASE}: {durability:?}");
        }
    }
}

fn stamp_alone(stores: &dyn Stores) {
    const CASE: &str = "stamp-alone";
    let mut partition = Partition::open(stores, CASE);
    partition.apply_as(&[], 0, Durability::Synced);
    let mut partition = partition.reopen(stores);
    assert_eq!(partition.offset(), Some(0), "{CASE}: before any value");
    partition.apply(&[put(b"a", b"1")], 1);
    partition.apply_as(&[], 9, Durability::Synced);
    let partition = partition.reopen(stores);
    assert_eq!(partition.offset(), Some(9), "{CASE}: after a value");
    assert_eq!(partition.value(b"a").as_deref(), Some(&b"1"[..]), "{CASE}");
}

fn stamp_is_kept_whole(stores: &dyn Stores) {
    const CASE: &str = "stamp-is-kept-whole";
    let mut partition = Partition::open(stores, CASE);
    let odd = Stamp {
        cluster: "ü".repeat(300),
        topic_id: String::new(),
        partition: i32::MAX,
        offset: Offset::MAX,
        fingerprint: "v1;\0".repeat(1000),
        synced_at: -1,
        ..stamp(0)
    };
    for expected in [odd, stamp(3)] {
        let applied = partition.store.apply(&[], &expected, Durability::Synced);
        ok(CASE, "apply", applied);
        partition = partition.reopen(stores);
        let found = ok(CASE, "stamp", partition.store.stamp());
        assert_eq!(found.as_ref(), Some(&expected), "{CASE}");
    }
}

fn snapshot_is_frozen(stores: &dyn Stores) {
    const CASE: &str = "snapshot-is-frozen";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b"1"), put(b"b", b"1")], 2);
    let before = ok(CASE, "snapshot", partition.store.snapshot());
    partition.apply_as(
        &[delete(b"a"), put(b"b", b"2"), put(b"c", b"2")],
        5,
        Durability::Synced,
    );
    let after = ok(CASE, "snapshot", partition.store.snapshot());
    ok(CASE, "clear", partition.store.clear());
    partition.apply(&[put(b"d", b"3")], 1);
    for (snapshot, at, expected) in [
        (before, 2, vec![("a", "1"), ("b", "1")]),
        (after, 5, vec![("b", "2"), ("c", "2")]),
    ] {
        let thread = std::thread::spawn(move || {
            let found = all(CASE, &*snapshot, EVERYTHING);
            let missing = value(CASE, &*snapshot, b"d");
            (found, missing, offset(CASE, &*snapshot))
        });
        let (found, missing, offset) = thread.join().expect("the reading thread lives");
        let found: Vec<_> = found
            .iter()
            .map(|(key, stored)| (&key[..], &stored.value[..]))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, value)| (key.as_bytes(), value.as_bytes()))
            .collect();
        assert_eq!(found, expected, "{CASE}: at {at}");
        assert_eq!((missing, offset), (None, Some(at)), "{CASE}: at {at}");
    }
}

fn clear_drops_everything(stores: &dyn Stores) {
    const CASE: &str = "clear-drops-everything";
    let mut partition = Partition::open(stores, CASE);
    ok(CASE, "clear of nothing", partition.store.clear());
    partition.apply_as(&[put(b"a", b"1"), put(b"b", b"1")], 2, Durability::Synced);
    ok(CASE, "clear", partition.store.clear());
    assert_eq!(partition.offset(), None, "{CASE}: the stamp is left");
    let keys = partition.keys(EVERYTHING);
    assert!(keys.is_empty(), "{CASE}: keys are left: {keys:?}");
    assert_eq!(partition.value(b"a"), None, "{CASE}: a value is left");
    partition.apply(&[put(b"b", b"2")], 1);
    assert_eq!(partition.keys(EVERYTHING), [b"b"], "{CASE}: written again");
    assert_eq!(partition.offset(), Some(1), "{CASE}: written again");
}

fn reopen_finds_what_was_synced(stores: &dyn Stores) {
    const CASE: &str = "reopen-finds-what-was-synced";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b"1"), put(b"b", b"1")], 2);
    partition.apply_as(&[delete(b"a"), put(b"c", b"2")], 4, Durability::Synced);
    let mut partition = partition.reopen(stores);
    assert_eq!(partition.keys(EVERYTHING), [b"b", b"c"], "{CASE}");
    assert_eq!(partition.offset(), Some(4), "{CASE}");
    partition.apply_as(&[put(b"d", b"3")], 5, Durability::Synced);
    let partition = partition.reopen(stores);
    assert_eq!(
        partition.keys(EVERYTHING),
        [b"b", b"c", b"d"],
        "{CASE}: second time"
    );
    assert_eq!(partition.offset(), Some(5), "{CASE}: second time");
}

fn reopen_finds_what_was_cleared(stores: &dyn Stores) {
    const CASE: &str = "reopen-finds-what-was-cleared";
    let mut partition = Partition::open(stores, CASE);
    partition.apply_as(&[put(b"a", b"1")], 2, Durability::Synced);
    ok(CASE, "clear", partition.store.clear());
    let partition = partition.reopen(stores);
    assert_eq!(partition.offset(), None, "{CASE}: the stamp came back");
    assert_eq!(partition.value(b"a"), None, "{CASE}: a value came back");
}

fn partitions_are_apart(stores: &dyn Stores) {
    apart(
        stores,
        "partitions-are-apart",
        ["partitions-are-apart"; 2],
        [0, 1],
    );
}

fn tables_are_apart(stores: &dyn Stores) {
    apart(
        stores,
        "tables-are-apart",
        ["tables-are-apart", "tables-are-apart.2"],
        [0, 0],
    );
}

fn apart(stores: &dyn Stores, case: &'static str, tables: [&str; 2], partitions: [i32; 2]) {
    let mut one = Partition::open_at(stores, case, tables[0], partitions[0]);
    let mut two = Partition::open_at(stores, case, tables[1], partitions[1]);
    one.apply(&[put(b"a", b"1"), put(b"b", b"1")], 2);
    assert_eq!(two.offset(), None, "{case}: a stamp of the neighbour");
    assert_eq!(two.value(b"a"), None, "{case}: a value of the neighbour");
    two.apply(&[put(b"a", b"2")], 1);
    ok(case, "clear", one.store.clear());
    assert_eq!(two.value(b"a").as_deref(), Some(&b"2"[..]), "{case}");
    assert_eq!((one.offset(), two.offset()), (None, Some(1)), "{case}");
}

fn one_holder_at_a_time(stores: &dyn Stores) {
    const CASE: &str = "one-holder-at-a-time";
    let mut partition = Partition::open(stores, CASE);
    partition.apply_as(&[put(b"a", b"1")], 1, Durability::Synced);
    match stores.open(CASE, 0) {
        Err(StoreError::Locked { .. }) => {}
        Err(other) => panic!("{CASE}: expected `Locked`, got: {other}"),
        Ok(_) => panic!("{CASE}: opened twice"),
    }
    partition.apply_as(&[put(b"b", b"1")], 2, Durability::Synced);
    let partition = partition.reopen(stores);
    assert_eq!(partition.keys(EVERYTHING), [b"a", b"b"], "{CASE}");
}

fn set_aside_makes_room(stores: &dyn Stores) {
    const CASE: &str = "set-aside-makes-room";
    let mut places = Vec::new();
    for _ in 0..2 {
        let mut partition = Partition::open(stores, CASE);
        assert_eq!(
            partition.offset(),
            None,
            "{CASE}: the old store is still there"
        );
        partition.apply_as(&[put(b"a", b"1")], 1, Durability::Synced);
        drop(partition);
        places.push(ok(CASE, "set_aside", stores.set_aside(CASE, 0)));
    }
    assert_ne!(
        places[0], places[1],
        "{CASE}: the first one was overwritten"
    );
}

fn moves_between_threads(stores: &dyn Stores) {
    const CASE: &str = "moves-between-threads";
    let mut partition = Partition::open(stores, CASE);
    partition.apply(&[put(b"a", b"1")], 1);
    let thread = std::thread::spawn(move || {
        partition.apply(&[put(b"b", b"2")], 2);
        partition
    });
    let partition = thread.join().expect("the writing thread lives");
    assert_eq!(partition.keys(EVERYTHING), [b"a", b"b"], "{CASE}");
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    type Batch = BTreeMap<Vec<u8>, Option<(Timestamp, Vec<u8>)>>;

    #[derive(Debug, Clone)]
    enum Step {
        Apply(Batch, bool),
        /// Syncs what was relaxed, then closes and opens.
        Reopen,
        Clear,
        Snapshot,
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 0..4)
    }

    fn step() -> impl Strategy<Value = Step> {
        let value = proptest::option::of((-1_i64..3, vec(any::<u8>(), 0..40)));
        prop_oneof![
            6 => (btree_map(key(), value, 0..12), any::<bool>())
                .prop_map(|(batch, synced)| Step::Apply(batch, synced)),
            1 => Just(Step::Reopen),
            1 => Just(Step::Clear),
            1 => Just(Step::Snapshot),
        ]
    }

    fn check(
        store: &(impl StoreRead + ?Sized),
        model: &BTreeMap<Vec<u8>, Stored>,
        offset: Option<Offset>,
        bounds: &(Vec<u8>, Vec<u8>),
    ) {
        const CASE: &str = "model";
        assert_eq!(super::offset(CASE, store), offset);
        let expected: Vec<_> = model.clone().into_iter().collect();
        assert_eq!(all(CASE, store, EVERYTHING), expected);
        let (from, to) = bounds;
        let keys = (Bound::Excluded(&from[..]), Bound::Included(&to[..]));
        let within: Vec<_> = expected
            .iter()
            .filter(|(key, _)| key > from && key <= to)
            .cloned()
            .collect();
        assert_eq!(all(CASE, store, keys), within);
        for key in [from, to] {
            assert_eq!(ok(CASE, "get", store.get(key)), model.get(key).cloned());
        }
    }

    /// Random steps on fresh stores against a map.
    pub(in crate::table) fn against_the_model<S: Stores>(fresh: impl Fn() -> S) {
        let mut config = ProptestConfig::with_cases(48);
        config.failure_persistence = None;
        proptest!(config, |(steps in vec(step(), 1..16), bounds in (key(), key()))| {
            let stores = fresh();
            let open = || ok("model", "open", stores.open("model", 0));
            let mut store = open();
            let mut model = BTreeMap::new();
            let mut offset = None;
            let mut frozen = Vec::new();
            for step in &steps {
                match step {
                    Step::Apply(batch, synced) => {
                        let writes: Vec<_> = batch.iter().map(|(key, value)| {
                            let value = value.as_ref();
                            let value = value.map(|(at, value)| StoredRef { timestamp: *at, value });
                            Write { key, value }
                        }).collect();
                        let next = offset.unwrap_or(0) + 1;
                        let durability =
                            if *synced { Durability::Synced } else { Durability::Relaxed };
                        ok("model", "apply", store.apply(&writes, &stamp(next), durability));
                        offset = Some(next);
                        for (key, value) in batch {
                            match value.clone() {
                                Some((timestamp, value)) => {
                                    model.insert(key.clone(), Stored { timestamp, value });
                                }
                                None => {
                                    model.remove(key);
                                }
                            }
                        }
                    }
                    Step::Reopen => {
                        if let Some(offset) = offset {
                            let synced = store.apply(&[], &stamp(offset), Durability::Synced);
                            ok("model", "apply", synced);
                        }
                        frozen.clear();
                        drop(store);
                        store = open();
                    }
                    Step::Clear => {
                        ok("model", "clear", store.clear());
                        model.clear();
                        offset = None;
                    }
                    Step::Snapshot => {
                        let snapshot = ok("model", "snapshot", store.snapshot());
                        frozen.push((snapshot, model.clone(), offset));
                    }
                }
                check(&*store, &model, offset, &bounds);
                for (snapshot, model, offset) in &frozen {
                    check(&**snapshot, model, *offset, &bounds);
                }
            }
        });
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CASES.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
    }
}
