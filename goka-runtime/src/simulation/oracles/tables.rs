//! `table`: the group table against the model, and what is left of it against what it was.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::model::{Modelled, Rows, folded};
use super::text::{Values, key};
use super::{Case, Evidence, Place, Violation};
use crate::log::simulated::Simulated;

type Plain<'r> = BTreeMap<&'r [u8], &'r [u8]>;

pub(super) fn judge(
    evidence: &Evidence<'_>,
    index: &Index<'_>,
    case: &Case<'_>,
    modelled: Option<&Modelled>,
    found: &mut Vec<Violation>,
) {
    let Some(table) = case.definition.graph.table() else {
        return;
    };
    let topic = table.topic.name;
    let mut partitions: BTreeSet<i32> = index.partitions(topic).collect();
    partitions.extend(modelled.iter().flat_map(|modelled| modelled.rows.keys()));
    let mut judged = Judged {
        topic,
        values: Values(vec![case.definition]),
        found,
    };
    for partition in partitions {
        let told = folded(index, topic, partition);
        let kept = kept(evidence.log, topic, partition);
        let told = values(&told);
        if let Some(modelled) = modelled {
            let none = Rows::new();
            let expected = modelled.rows.get(&partition).unwrap_or(&none);
            judged.compare(partition, &values(expected), &told, "the table has");
        }
        let kept = kept.iter().map(|(key, value)| (&key[..], &value[..]));
        judged.compare(partition, &told, &kept.collect(), "the log now tells");
    }
}

fn values(rows: &Rows) -> Plain<'_> {
    let rows = rows.iter();
    rows.map(|(key, stored)| (&key[..], &stored.value[..]))
        .collect()
}

/// What the log still tells of a table.
fn kept(log: &Simulated, topic: &str, partition: i32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    log.read_committed(topic, partition, 0, &mut |_, record| {
        let Some(key) = record.key else { return };
        match record.value {
            Some(value) => drop(rows.insert(key.to_vec(), value.to_vec())),
            None => drop(rows.remove(key)),
        }
    });
    rows
}

struct Judged<'j> {
    topic: &'static str,
    values: Values<'j>,
    found: &'j mut Vec<Violation>,
}

impl Judged<'_> {
    fn compare(&mut self, partition: i32, expected: &Plain<'_>, found: &Plain<'_>, who: &str) {
        let keys: BTreeSet<&[u8]> = expected.keys().chain(found.keys()).copied().collect();
        for name in keys {
            let (expected, found) = (expected.get(name).copied(), found.get(name).copied());
            if expected == found {
                continue;
            }
            let show = |value: Option<&[u8]>| match value {
                Some(_) => self.values.show(self.topic, value),
                None => "nothing".to_owned(),
            };
            let what = format!(
                "{}[{partition}] {}: expected {}, {who} {}",
                self.topic,
                key(Some(name)),
                show(expected),
                show(found)
            );
            let place = Place::of(self.topic, partition).keyed(Some(name));
            self.found.push(Violation::at("table", place, what));
        }
    }
}
