//! What a store says of single keys.

use super::*;

pub(super) fn new_is_empty(stores: &dyn Stores) {
    let partition = Partition::open(stores, "new-is-empty");
    assert_eq!(partition.offset(), None, "new-is-empty: it has a stamp");
    assert_eq!(partition.value(b"a"), None, "new-is-empty: it has a value");
    let keys = partition.keys(EVERYTHING);
    assert!(keys.is_empty(), "new-is-empty: it has keys {keys:?}");
    let snapshot = ok("new-is-empty", "snapshot", partition.store.snapshot());
    assert_eq!(value("new-is-empty", &*snapshot, b"a"), None);
    assert_eq!(offset("new-is-empty", &*snapshot), None);
}

pub(super) fn get_finds_the_last_write(stores: &dyn Stores) {
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

pub(super) fn empty_key_and_empty_value(stores: &dyn Stores) {
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

pub(super) fn large_value(stores: &dyn Stores) {
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

pub(super) fn any_bytes(stores: &dyn Stores) {
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

pub(super) fn timestamps(stores: &dyn Stores) {
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
