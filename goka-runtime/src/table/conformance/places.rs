//! Several stores beside each other, and who holds them.

use super::*;

pub(super) fn partitions_are_apart(stores: &dyn Stores) {
    apart(
        stores,
        "partitions-are-apart",
        ["partitions-are-apart"; 2],
        [0, 1],
    );
}

pub(super) fn tables_are_apart(stores: &dyn Stores) {
    apart(
        stores,
        "tables-are-apart",
        ["tables-are-apart", "tables-are-apart.2"],
        [0, 0],
    );
}

pub(super) fn apart(
    stores: &dyn Stores,
    case: &'static str,
    tables: [&str; 2],
    partitions: [i32; 2],
) {
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

pub(super) fn one_holder_at_a_time(stores: &dyn Stores) {
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

pub(super) fn set_aside_makes_room(stores: &dyn Stores) {
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

pub(super) fn moves_between_threads(stores: &dyn Stores) {
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
