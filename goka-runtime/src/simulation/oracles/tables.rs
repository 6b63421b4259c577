//! `table`: the group table against the model, and what is left of it against what it was.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::model::{Modelled, Rows, folded};
use super::text::{Values, key, record};
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
    let judged = Judged {
        topic,
        values: Values(vec![case.definition]),
    };
    for partition in partitions {
        let told = folded(index, topic, partition);
        let kept = kept(evidence.log, topic, partition);
        let told = values(&told);
        if let Some(modelled) = modelled {
            let none = Rows::new();
            let expected = modelled.rows.get(&partition).unwrap_or(&none);
            for mut violation in
                judged.compare(partition, &values(expected), &told, "the table has")
            {
                judged.point(&mut violation, index, case, modelled);
                found.push(violation);
            }
        }
        let kept = kept.iter().map(|(key, value)| (&key[..], &value[..]));
        found.extend(judged.compare(partition, &told, &kept.collect(), "the log now tells"));
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
}

impl Judged<'_> {
    fn compare(
        &self,
        partition: i32,
        expected: &Plain<'_>,
        found: &Plain<'_>,
        who: &str,
    ) -> Vec<Violation> {
        let keys: BTreeSet<&[u8]> = expected.keys().chain(found.keys()).copied().collect();
        let mut violations = Vec::new();
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
            violations.push(Violation::at("table", place, what));
        }
        violations
    }

    /// Says which handling left the model first, and where in the table that lies.
    fn point(
        &self,
        violation: &mut Violation,
        index: &Index<'_>,
        case: &Case<'_>,
        modelled: &Modelled,
    ) -> Option<()> {
        let place = violation.place.as_mut()?;
        let apart = modelled.apart.get(&(place.partition, place.key.clone()?))?;
        let by = case.effective.get(apart.by)?;
        let wrote = by.wrote_to(self.topic);
        let show = |value: Option<Option<&[u8]>>| match value {
            Some(value) => self.values.show(self.topic, value),
            None => "nothing".to_owned(),
        };
        violation.what += &format!(
            "; apart since {} wrote {} for {}, and not {}",
            index.name(by.client),
            show(wrote.map(Option::as_deref)),
            record(&by.record),
            show(apart.expected.as_ref().map(Option::as_deref)),
        );
        let mut lying = index.seen(self.topic, place.partition);
        let lies = lying.find(|lies| {
            lies.at > by.at
                && lies.client == Some(by.client)
                && lies.key() == place.key.as_deref()
                && lies.value() == wrote.and_then(Option::as_deref)
        });
        place.offset = lies.map(|lies| lies.offset);
        Some(())
    }
}
