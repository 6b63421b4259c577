//! Any store against a model of it: the same steps, the same answers.

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
        let mut snapshots = Vec::new();
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
                    ok("model", "apply", store.apply(&writes, &checkpoint(next), durability));
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
                        let synced = store.apply(&[], &checkpoint(offset), Durability::Synced);
                        ok("model", "apply", synced);
                    }
                    snapshots.clear();
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
                    snapshots.push((snapshot, model.clone(), offset));
                }
            }
            check(&*store, &model, offset, &bounds);
            for (snapshot, model, offset) in &snapshots {
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
