//! The state of a store over time: checkpoints, snapshots, clearing, opening again.

use super::*;

pub(super) fn checkpoint_comes_with_its_writes(stores: &dyn Stores) {
    const CASE: &str = "checkpoint-comes-with-its-writes";
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

pub(super) fn checkpoint_alone(stores: &dyn Stores) {
    const CASE: &str = "checkpoint-alone";
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

pub(super) fn checkpoint_is_kept_whole(stores: &dyn Stores) {
    const CASE: &str = "checkpoint-is-kept-whole";
    let mut partition = Partition::open(stores, CASE);
    let odd = Checkpoint {
        cluster: "ü".repeat(300),
        topic_id: String::new(),
        partition: i32::MAX,
        offset: Offset::MAX,
        fingerprint: "v1;\0".repeat(1000),
        synced_at: -1,
        ..checkpoint(0)
    };
    for expected in [odd, checkpoint(3)] {
        let applied = partition.store.apply(&[], &expected, Durability::Synced);
        ok(CASE, "apply", applied);
        partition = partition.reopen(stores);
        let found = ok(CASE, "checkpoint", partition.store.checkpoint());
        assert_eq!(found.as_ref(), Some(&expected), "{CASE}");
    }
}

pub(super) fn snapshot_is_frozen(stores: &dyn Stores) {
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

pub(super) fn clear_drops_everything(stores: &dyn Stores) {
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

pub(super) fn reopen_finds_what_was_synced(stores: &dyn Stores) {
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

pub(super) fn reopen_finds_what_was_cleared(stores: &dyn Stores) {
    const CASE: &str = "reopen-finds-what-was-cleared";
    let mut partition = Partition::open(stores, CASE);
    partition.apply_as(&[put(b"a", b"1")], 2, Durability::Synced);
    ok(CASE, "clear", partition.store.clear());
    let partition = partition.reopen(stores);
    assert_eq!(partition.offset(), None, "{CASE}: the stamp came back");
    assert_eq!(partition.value(b"a"), None, "{CASE}: a value came back");
}
