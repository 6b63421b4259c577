//! Checks `table`: compares the group table with the model, and the compacted topic with all that was
//! written to it.

use std::collections::{BTreeMap, BTreeSet};

use super::index::Index;
use super::model::{ModelResult, folded};
use super::text::{Values, describe, key};
use super::{FinishedRun, Place, ProcessorRun, Violation};
use crate::log::simulated::Simulated;
use crate::tester::folded::{StoredRows as Rows, fold};

type Plain<'r> = BTreeMap<&'r [u8], &'r [u8]>;

pub(super) fn judge(
    run: &FinishedRun<'_>,
    index: &Index<'_>,
    processor: &ProcessorRun<'_>,
    model: Option<&ModelResult>,
    found: &mut Vec<Violation>,
) {
    let Some(table) = processor.definition.graph.table() else {
        return;
    };
    let topic = table.topic.name;
    let mut partitions: BTreeSet<i32> = index.partitions(topic).collect();
    partitions.extend(model.iter().flat_map(|model| model.rows.keys()));
    let comparison = TableComparison {
        topic,
        values: Values(vec![processor.definition]),
    };
    for partition in partitions {
        let written = folded(index, topic, partition);
        let kept = kept(run.log, topic, partition);
        let written = values(&written);
        if let Some(model) = model {
            let none = Rows::new();
            let expected = model.rows.get(&partition).unwrap_or(&none);
            for mut violation in
                comparison.compare(partition, &values(expected), &written, "the table has")
            {
                comparison.add_cause(&mut violation, index, processor, model);
                found.push(violation);
            }
        }
        let kept = values(&kept);
        found.extend(comparison.compare(partition, &written, &kept, "the compacted topic has"));
    }
}

fn values(rows: &Rows) -> Plain<'_> {
    let rows = rows.iter();
    rows.map(|(key, stored)| (&key[..], &stored.value[..]))
        .collect()
}

/// The fold of what the log still holds of a table.
fn kept(log: &Simulated, topic: &str, partition: i32) -> Rows {
    let mut rows = Rows::new();
    log.read_committed(topic, partition, 0, &mut |_, record| {
        fold(&mut rows, &record);
    });
    rows
}

struct TableComparison<'j> {
    topic: &'static str,
    values: Values<'j>,
}

impl TableComparison<'_> {
    fn compare(
        &self,
        partition: i32,
        expected: &Plain<'_>,
        found: &Plain<'_>,
        has: &str,
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
                "{}[{partition}] {}: expected {}, {has} {}",
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

    /// Adds to a violation the handling in which run and model first differ, and the record it wrote.
    fn add_cause(
        &self,
        violation: &mut Violation,
        index: &Index<'_>,
        processor: &ProcessorRun<'_>,
        model: &ModelResult,
    ) -> Option<()> {
        let place = violation.place.as_mut()?;
        let of = (place.partition, place.key.clone()?);
        let divergence = model.divergences.get(&of)?;
        let by = processor.effective.get(divergence.by)?;
        let wrote = by.wrote_to(self.topic);
        let show = |value: Option<Option<&[u8]>>| match value {
            Some(value) => self.values.show(self.topic, value),
            None => "nothing".to_owned(),
        };
        violation.what += &format!(
            "; the first difference: {} wrote {} for {} instead of {}",
            index.display_name(by.client),
            show(wrote.map(Option::as_deref)),
            describe(&by.record),
            show(divergence.expected.as_ref().map(Option::as_deref)),
        );
        let mut records = index.visible(self.topic, place.partition);
        let record = records.find(|record| {
            record.at > by.at
                && record.client == Some(by.client)
                && record.key() == place.key.as_deref()
                && record.value() == wrote.and_then(Option::as_deref)
        });
        place.offset = record.map(|record| record.place.offset);
        Some(())
    }
}
