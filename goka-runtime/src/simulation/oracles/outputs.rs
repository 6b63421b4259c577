//! Checks `outputs once`: compares what members emitted with what the models emitted.

use std::collections::{BTreeSet, HashMap};

use super::index::{Index, LogRecord};
use super::model::{Emitted, ModelResult};
use super::text::{self, Values, describe};
use super::{Place, ProcessorRun, Violation};
use crate::graph::{Edge, EdgeKind};

/// The outputs of one task with one key: the group, the input if the group is stateless, the input's
/// partition, the output's partition, and the key.
type OutputSequence<'o> = (&'o str, Option<&'o str>, i32, i32, Option<&'o [u8]>);
type Content<'o> = (i32, Option<&'o [u8]>, Option<&'o [u8]>);

/// A topic that processors emit to, with what they should have emitted.
struct OutputTopic<'o, 'e> {
    topic: &'static str,
    index: &'o Index<'e>,
    writers: Vec<(&'o ProcessorRun<'e>, &'o ModelResult)>,
    values: Values<'o>,
}

fn emits_to(edge: &Edge) -> bool {
    matches!(edge.kind, EdgeKind::Output | EdgeKind::Loopback { .. })
}

pub(super) fn judge(
    index: &Index<'_>,
    processors: &[ProcessorRun<'_>],
    models: &[Option<ModelResult>],
    found: &mut Vec<Violation>,
) {
    let edges = processors
        .iter()
        .flat_map(|processor| processor.definition.graph.edges);
    let topics: BTreeSet<&'static str> = edges
        .filter(|edge| emits_to(edge))
        .map(|edge| edge.topic.name)
        .collect();
    for topic in topics {
        let writes = |processor: &ProcessorRun<'_>| {
            let mut edges = processor.definition.graph.edges.iter();
            edges.any(|edge| emits_to(edge) && edge.topic.name == topic)
        };
        let writers = processors
            .iter()
            .zip(models)
            .filter(|(processor, _)| writes(processor));
        let writers: Option<Vec<_>> = writers
            .map(|(processor, model)| Some((processor, model.as_ref()?)))
            .collect();
        if let Some(writers) = writers {
            let output = OutputTopic {
                topic,
                index,
                writers,
                values: Values(
                    processors
                        .iter()
                        .map(|processor| processor.definition)
                        .collect(),
                ),
            };
            output.judge(found);
        }
    }
}

impl<'o, 'e> OutputTopic<'o, 'e> {
    fn judge(&self, found: &mut Vec<Violation>) {
        let before = found.len();
        let is_exact = self
            .writers
            .iter()
            .all(|(processor, _)| processor.is_exactly_once());
        let mut records = self.by_content();
        for (processor, emitted) in self.emitted() {
            let content = (
                emitted.partition,
                emitted.key.as_deref(),
                emitted.value.as_deref(),
            );
            let is_there = match records.get_mut(&content) {
                Some(all) if is_exact => all.pop().is_some(),
                found => found.is_some(),
            };
            if !is_there {
                found.push(self.missing(processor, emitted));
            }
        }
        if !is_exact {
            return;
        }
        let mut extra: Vec<&LogRecord<'_>> = records.into_values().flatten().collect();
        extra.sort_by_key(|record| (record.place.partition, record.place.offset));
        found.extend(extra.into_iter().map(|record| self.extra(record)));
        // Where a record is missing or extra, the order says nothing more.
        if found.len() == before {
            self.order(found);
        }
    }

    /// The visible records of members, by content; of equal ones the first is the last in its list.
    fn by_content(&self) -> HashMap<Content<'o>, Vec<&'o LogRecord<'e>>> {
        let mut records: HashMap<Content<'o>, Vec<&'o LogRecord<'e>>> = HashMap::new();
        for record in self.of_members() {
            let content = (record.place.partition, record.key(), record.value());
            records.entry(content).or_default().push(record);
        }
        for all in records.values_mut() {
            all.reverse();
        }
        records
    }

    fn of_members(&self) -> impl Iterator<Item = &'o LogRecord<'e>> {
        let partitions = self.index.partitions(self.topic);
        let all = partitions.flat_map(|partition| self.index.visible(self.topic, partition));
        all.filter(|record| record.client.is_some())
    }

    fn emitted(&self) -> impl Iterator<Item = (&'o ProcessorRun<'e>, &'o Emitted)> {
        let topic = self.topic;
        self.writers.iter().flat_map(move |(processor, model)| {
            let emitted = model.emitted.iter();
            let emitted = emitted.filter(move |emitted| emitted.topic == topic);
            emitted.map(|emitted| (*processor, emitted))
        })
    }

    fn show(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
        format!(
            "{} = {}",
            text::key(key),
            self.values.show(self.topic, value)
        )
    }

    fn missing(&self, processor: &ProcessorRun<'_>, emitted: &Emitted) -> Violation {
        let (key, value) = (emitted.key.as_deref(), emitted.value.as_deref());
        let (topic, partition) = (self.topic, emitted.partition);
        let by = processor.effective.get(emitted.by);
        let by = by.map_or_else(String::new, |by| describe(&by.record));
        let what = format!(
            "{topic}[{partition}] {} is missing: {} should have emitted it for {by}",
            self.show(key, value),
            processor.definition.graph.name
        );
        let place = Place::of(topic, partition).keyed(key);
        Violation::at("outputs once", place, what)
    }

    fn extra(&self, record: &LogRecord<'_>) -> Violation {
        let who = record
            .client
            .map_or_else(String::new, |client| self.index.display_name(client));
        let what = format!(
            "{}[{}]@{} {} is an extra record, written by {who}",
            record.topic(),
            record.place.partition,
            record.place.offset,
            self.show(record.key(), record.value())
        );
        Violation::at("outputs once", Place::of_record(record), what)
    }

    /// Checks that the outputs of each task with one key are in the order in which it emitted them.
    fn order(&self, found: &mut Vec<Violation>) {
        let mut records: HashMap<(i32, Option<&[u8]>), Vec<&LogRecord<'_>>> = HashMap::new();
        for record in self.of_members() {
            let key = (record.place.partition, record.key());
            records.entry(key).or_default().push(record);
        }
        // How many records of its key each sequence has been matched with.
        let mut matched: HashMap<OutputSequence<'_>, usize> = HashMap::new();
        for (processor, emitted) in self.emitted() {
            let Some(by) = processor.effective.get(emitted.by) else {
                continue;
            };
            let (partition, key) = (emitted.partition, emitted.key.as_deref());
            // Without a table each input is a task of its own.
            let lead = processor
                .definition
                .graph
                .table()
                .is_none()
                .then_some(by.record.topic());
            let sequence = (
                processor.group(),
                lead,
                by.record.place.partition,
                partition,
                key,
            );
            let matched = matched.entry(sequence).or_default();
            let all = records.get(&(partition, key)).map(Vec::as_slice);
            let rest = all.and_then(|all| all.get(*matched..)).unwrap_or_default();
            let value = emitted.value.as_deref();
            match rest.iter().position(|record| record.value() == value) {
                Some(skipped) => *matched += skipped + 1,
                None => {
                    found.push(self.misplaced(emitted, &describe(&by.record)));
                    return;
                }
            }
        }
    }

    fn misplaced(&self, emitted: &Emitted, by: &str) -> Violation {
        let (key, value) = (emitted.key.as_deref(), emitted.value.as_deref());
        let (topic, partition) = (self.topic, emitted.partition);
        let what = format!(
            "{topic}[{partition}] {}, emitted for {by}, is before what its task emitted earlier",
            self.show(key, value)
        );
        let place = Place::of(topic, partition).keyed(key);
        Violation::at("outputs once", place, what)
    }
}
