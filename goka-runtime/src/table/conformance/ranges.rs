//! What a store says of ranges of keys.

use super::*;

pub(super) fn range_in_key_order(stores: &dyn Stores) {
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

pub(super) fn range_bounds(stores: &dyn Stores) {
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

pub(super) fn range_of_nothing(stores: &dyn Stores) {
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

pub(super) fn prefix_ranges(stores: &dyn Stores) {
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

pub(super) fn range_breaks(stores: &dyn Stores) {
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

pub(super) fn range_may_read(stores: &dyn Stores) {
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
