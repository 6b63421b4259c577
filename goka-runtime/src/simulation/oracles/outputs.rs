//! `outputs once`: what members emitted against what the models did.

use std::collections::{BTreeSet, HashMap};

use super::index::{Index, Lies};
use super::model::{Emitted, Modelled};
use super::text::{self, Values, record};
use super::{Case, Place, Violation};
use crate::graph::{Edge, EdgeKind};

/// What one task emits to one key: its group, its input where that makes the task, its partition; then
/// the partition and the key.
type Strand<'o> = (&'o str, Option<&'o str>, i32, i32, Option<&'o [u8]>);
type Content<'o> = (i32, Option<&'o [u8]>, Option<&'o [u8]>);

/// The processors that emit to a topic, with what they should have emitted.
struct Output<'o, 'e> {
    topic: &'static str,
    index: &'o Index<'e>,
    writers: Vec<(&'o Case<'e>, &'o Modelled)>,
    values: Values<'o>,
}

fn emits_to(edge: &Edge) -> bool {
    matches!(edge.kind, EdgeKind::Output | EdgeKind::Loopback { .. })
}

pub(super) fn judge(
    index: &Index<'_>,
    cases: &[Case<'_>],
    modelled: &[Option<Modelled>],
    found: &mut Vec<Violation>,
) {
    let edges = cases.iter().flat_map(|case| case.definition.graph.edges);
    let topics: BTreeSet<&'static str> = edges
        .filter(|edge| emits_to(edge))
        .map(|edge| edge.topic.name)
        .collect();
    for topic in topics {
        let writes = |case: &Case<'_>| {
            let mut edges = case.definition.graph.edges.iter();
            edges.any(|edge| emits_to(edge) && edge.topic.name == topic)
        };
        let writers = cases.iter().zip(modelled).filter(|(case, _)| writes(case));
        let writers: Option<Vec<_>> = writers
            .map(|(case, modelled)| Some((case, modelled.as_ref()?)))
            .collect();
        if let Some(writers) = writers {
            let output = Output {
                topic,
                index,
                writers,
                values: Values(cases.iter().map(|case| case.definition).collect()),
            };
            output.judge(found);
        }
    }
}

impl<'o, 'e> Output<'o, 'e> {
    fn judge(&self, found: &mut Vec<Violation>) {
        let before = found.len();
        let is_exact = self.writers.iter().all(|(case, _)| case.is_exact());
        let mut lying = self.lying();
        for (case, emitted) in self.emitted() {
            let content = (
                emitted.partition,
                emitted.key.as_deref(),
                emitted.value.as_deref(),
            );
            let is_there = match lying.get_mut(&content) {
                Some(all) if is_exact => all.pop().is_some(),
                found => found.is_some(),
            };
            if !is_there {
                found.push(self.missing(case, emitted));
            }
        }
        if !is_exact {
            return;
        }
        let mut extra: Vec<&Lies<'_>> = lying.into_values().flatten().collect();
        extra.sort_by_key(|lies| (lies.partition, lies.offset));
        found.extend(extra.into_iter().map(|lies| self.extra(lies)));
        // Without the one or with another too many the order is lost anyway.
        if found.len() == before {
            self.order(found);
        }
    }

    /// What members wrote and everybody sees; the first of equal ones is the last in its list.
    fn lying(&self) -> HashMap<Content<'o>, Vec<&'o Lies<'e>>> {
        let mut lying: HashMap<Content<'o>, Vec<&'o Lies<'e>>> = HashMap::new();
        for lies in self.of_members() {
            let content = (lies.partition, lies.key(), lies.value());
            lying.entry(content).or_default().push(lies);
        }
        for all in lying.values_mut() {
            all.reverse();
        }
        lying
    }

    fn of_members(&self) -> impl Iterator<Item = &'o Lies<'e>> {
        let partitions = self.index.partitions(self.topic);
        let all = partitions.flat_map(|partition| self.index.seen(self.topic, partition));
        all.filter(|lies| lies.client.is_some())
    }

    fn emitted(&self) -> impl Iterator<Item = (&'o Case<'e>, &'o Emitted)> {
        let topic = self.topic;
        self.writers.iter().flat_map(move |(case, modelled)| {
            let emitted = modelled.emitted.iter();
            let emitted = emitted.filter(move |emitted| emitted.topic == topic);
            emitted.map(|emitted| (*case, emitted))
        })
    }

    fn told(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
        format!(
            "{} = {}",
            text::key(key),
            self.values.show(self.topic, value)
        )
    }

    fn missing(&self, case: &Case<'_>, emitted: &Emitted) -> Violation {
        let (key, value) = (emitted.key.as_deref(), emitted.value.as_deref());
        let (topic, partition) = (self.topic, emitted.partition);
        let by = case.effective.get(emitted.by);
        let by = by.map_or_else(String::new, |by| record(&by.record));
        let what = format!(
            "{topic}[{partition}] {} is missing: {} emits it for {by}",
            self.told(key, value),
            case.definition.graph.name
        );
        let place = Place::of(topic, partition).keyed(key);
        Violation::at("outputs once", place, what)
    }

    fn extra(&self, lies: &Lies<'_>) -> Violation {
        let who = lies
            .client
            .map_or_else(String::new, |client| self.index.name(client));
        let what = format!(
            "{}[{}]@{} {} is one too many, written by {who}",
            lies.topic,
            lies.partition,
            lies.offset,
            self.told(lies.key(), lies.value())
        );
        Violation::at("outputs once", Place::of_record(lies), what)
    }

    /// For each key, what one task emitted lies in its order.
    fn order(&self, found: &mut Vec<Violation>) {
        let mut lying: HashMap<(i32, Option<&[u8]>), Vec<&Lies<'_>>> = HashMap::new();
        for lies in self.of_members() {
            let place = (lies.partition, lies.key());
            lying.entry(place).or_default().push(lies);
        }
        // How far each task has come in the list of a key.
        let mut come: HashMap<Strand<'_>, usize> = HashMap::new();
        for (case, emitted) in self.emitted() {
            let Some(by) = case.effective.get(emitted.by) else {
                continue;
            };
            let (partition, key) = (emitted.partition, emitted.key.as_deref());
            // Without a table each input is a task of its own.
            let lead = case
                .definition
                .graph
                .table()
                .is_none()
                .then_some(by.record.topic);
            let task = (case.group(), lead, by.record.partition, partition, key);
            let come = come.entry(task).or_default();
            let all = lying.get(&(partition, key)).map(Vec::as_slice);
            let rest = all.and_then(|all| all.get(*come..)).unwrap_or_default();
            let value = emitted.value.as_deref();
            match rest.iter().position(|lies| lies.value() == value) {
                Some(skipped) => *come += skipped + 1,
                None => {
                    found.push(self.misplaced(emitted, &record(&by.record)));
                    return;
                }
            }
        }
    }

    fn misplaced(&self, emitted: &Emitted, by: &str) -> Violation {
        let (key, value) = (emitted.key.as_deref(), emitted.value.as_deref());
        let (topic, partition) = (self.topic, emitted.partition);
        let what = format!(
            "{topic}[{partition}] {}, emitted for {by}, lies before what its task emitted earlier",
            self.told(key, value)
        );
        let place = Place::of(topic, partition).keyed(key);
        Violation::at("outputs once", place, what)
    }
}
