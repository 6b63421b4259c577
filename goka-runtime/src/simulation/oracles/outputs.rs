//! Checks `outputs once`: compares what members emitted with what the models emitted.

use std::collections::{BTreeSet, HashMap};

use super::index::{Index, LogRecord};
use super::model::{Emitted, ModelResult};
use super::text::{self, Values, describe};
use super::{Place, ProcessorRun, Violation};
use crate::graph::{Edge, EdgeKind};
use crate::log::simulated::{Content, Wrote};

/// The outputs of one task with one key: the group, the input if the group is stateless, the input's
/// partition, the output's partition, and the key.
type OutputSequence<'o> = (&'o str, Option<&'o str>, i32, i32, Option<&'o [u8]>);

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
    let edges = processors.iter();
    let edges = edges.flat_map(|processor| processor.definition.graph.edges);
    let outputs = edges.filter(|edge| emits_to(edge));
    let topics: BTreeSet<&'static str> = outputs.map(|edge| edge.topic.name).collect();
    for topic in topics {
        let writes = |processor: &ProcessorRun<'_>| {
            let mut edges = processor.definition.graph.edges.iter();
            edges.any(|edge| emits_to(edge) && edge.topic.name == topic)
        };
        let writers = processors.iter().zip(models);
        let writers = writers.filter(|(processor, _)| writes(processor));
        let writers = writers.map(|(processor, model)| Some((processor, model.as_ref()?)));
        if let Some(writers) = writers.collect() {
            let output = OutputTopic {
                topic,
                index,
                writers,
                values: Values::of(processors),
            };
            output.judge(found);
        }
    }
}

impl<'o, 'e> OutputTopic<'o, 'e> {
    fn judge(&self, found: &mut Vec<Violation>) {
        let before = found.len();
        let mut writers = self.writers.iter();
        let is_exact = writers.all(|(processor, _)| processor.is_exactly_once());
        let mut records = self.by_content();
        for (processor, emitted) in self.emitted() {
            let is_there = match records.get_mut(&emitted.wrote.content()) {
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
        for record in self.index.of_members(self.topic) {
            let of_its_content = records.entry(record.content());
            of_its_content.or_default().push(record);
        }
        for all in records.values_mut() {
            all.reverse();
        }
        records
    }

    fn emitted(&self) -> impl Iterator<Item = (&'o ProcessorRun<'e>, &'o Emitted)> {
        let topic = self.topic;
        self.writers.iter().flat_map(move |(processor, model)| {
            let emitted = model.emitted.iter();
            let emitted = emitted.filter(move |emitted| *emitted.wrote.topic == *topic);
            emitted.map(|emitted| (*processor, emitted))
        })
    }

    fn show(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
        let value = self.values.show(self.topic, value);
        format!("{} = {value}", text::key(key))
    }

    /// A violation about a record that should be there, or elsewhere.
    fn violation(&self, wrote: &Wrote, why: &str) -> Violation {
        let (topic, partition, key, value) = wrote.content();
        let what = format!("{topic}[{partition}] {}{why}", self.show(key, value));
        let place = Place::of(topic, partition).keyed(key);
        Violation::at("outputs once", place, what)
    }

    fn missing(&self, processor: &ProcessorRun<'_>, emitted: &Emitted) -> Violation {
        let name = processor.definition.graph.name;
        let by = processor.effective.get(emitted.by);
        let by = by.map_or_else(String::new, |by| describe(&by.record));
        let why = format!(" is missing: {name} should have emitted it for {by}");
        self.violation(&emitted.wrote, &why)
    }

    fn extra(&self, record: &LogRecord<'_>) -> Violation {
        let what = format!(
            "{} {} is an extra record, written by {}",
            record.place,
            self.show(record.key(), record.value()),
            self.index.writer(record)
        );
        Violation::at("outputs once", Place::of_record(record), what)
    }

    /// Checks that the outputs of each task with one key are in the order in which it emitted them.
    fn order(&self, found: &mut Vec<Violation>) {
        let mut records: HashMap<(i32, Option<&[u8]>), Vec<&LogRecord<'_>>> = HashMap::new();
        for record in self.index.of_members(self.topic) {
            let key = (record.place.partition, record.key());
            records.entry(key).or_default().push(record);
        }
        // How many records of its key each sequence has been matched with.
        let mut matched: HashMap<OutputSequence<'_>, usize> = HashMap::new();
        for (processor, emitted) in self.emitted() {
            let Some(by) = processor.effective.get(emitted.by) else {
                continue;
            };
            let (_, partition, key, value) = emitted.wrote.content();
            // Without a table each input is a task of its own.
            let table = processor.definition.graph.table();
            let lead = table.is_none().then_some(by.record.topic());
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
            match rest.iter().position(|record| record.value() == value) {
                Some(skipped) => *matched += skipped + 1,
                None => {
                    let by = describe(&by.record);
                    let why =
                        format!(", emitted for {by}, is before what its task emitted earlier");
                    found.push(self.violation(&emitted.wrote, &why));
                    return;
                }
            }
        }
    }
}
