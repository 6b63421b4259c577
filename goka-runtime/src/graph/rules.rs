//! The rules that need the whole program: one function each, with a rejected program above it. All rules are
//! checked, whatever was found before. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::application::{Application, ApplicationEdge, ApplicationGroup, EdgeShape};
use super::finding::{Declared, Finding};
use super::{Location, TopicKind};
use crate::codec::Codec;
use crate::core::metadata::MAX_INPUTS;
use crate::key::NoKey;

type Groups = [ApplicationGroup];

impl Application {
    /// The mistakes in the groups, alone and together, each with the place of its declaration; empty when the
    /// groups can run. In the order of the rules, and for each rule sorted by name.
    pub fn validate(&self) -> Vec<Finding> {
        let groups = self.groups();
        let mut findings = Vec::new();
        check_groups(groups, &mut findings);
        for group in groups {
            check_inputs(group, &mut findings);
            check_own_table(group, &mut findings);
        }
        check_reserved(groups, &mut findings);
        check_topics(groups, &mut findings);
        check_copartitioned(groups, &mut findings);
        check_writers(groups, &mut findings);
        check_tables(groups, &mut findings);
        check_cycles(groups, &mut findings);
        findings
    }
}

fn declared(what: impl Into<String>, location: Location) -> Declared {
    let what = what.into();
    Declared { what, location }
}

fn processor(group: &ApplicationGroup) -> Declared {
    declared(&group.processor, group.location)
}

/// A group, as the owner of a name or a table.
fn owner(group: &ApplicationGroup) -> Declared {
    declared(&group.group, group.location)
}

/// An edge, by its processor and its kind.
fn reader(group: &ApplicationGroup, edge: &ApplicationEdge) -> Declared {
    let what = format!("{} ({})", group.processor, edge.shape);
    declared(what, edge.location)
}

fn all(groups: &Groups) -> impl Iterator<Item = (&ApplicationGroup, &ApplicationEdge)> {
    groups
        .iter()
        .flat_map(|group| group.edges.iter().map(move |edge| (group, edge)))
}

fn table(group: &ApplicationGroup) -> Option<&ApplicationEdge> {
    group.edges_of(EdgeShape::Table).next()
}

/// The values of each key, in the order of the keys.
fn grouped<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, Vec<V>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// Whether an edge reads any group's table.
fn reads_table(edge: &ApplicationEdge) -> bool {
    matches!(edge.shape, EdgeShape::Join | EdgeShape::Lookup)
}

/// ```text
/// #[processor(group = "count")] fn count(..)     #[processor(group = "count")] fn again(..)
/// ```
fn check_groups(groups: &Groups, findings: &mut Vec<Finding>) {
    let named = groups.iter().map(|group| (&group.group, processor(group)));
    for (group, processors) in grouped(named) {
        if processors.len() > 1 {
            findings.push(Finding::GroupTwice {
                group: group.clone(),
                processors,
            });
        }
    }
}

/// Only definitions written by hand can have no input, or one input twice.
fn check_inputs(group: &ApplicationGroup, findings: &mut Vec<Finding>) {
    let inputs = group.edges_of(EdgeShape::Input);
    let inputs = grouped(inputs.map(|edge| (&edge.topic, reader(group, edge))));
    if inputs.is_empty() {
        findings.push(Finding::NoInput {
            group: group.group.clone(),
            processor: processor(group),
        });
    }
    let own = [EdgeShape::Loopback, EdgeShape::Visit].map(|shape| {
        let topics = group.edges_of(shape).map(|edge| &edge.topic);
        topics.collect::<BTreeSet<_>>().len()
    });
    let count = inputs.len() + own.iter().sum::<usize>();
    if count > MAX_INPUTS {
        findings.push(Finding::TooManyInputs {
            group: group.group.clone(),
            inputs: count,
            limit: MAX_INPUTS,
            processor: processor(group),
        });
    }
    for (topic, inputs) in inputs {
        if inputs.len() > 1 {
            findings.push(Finding::InputTwice {
                group: group.group.clone(),
                topic: topic.clone(),
                inputs,
            });
        }
    }
}

/// ```text
/// #[table("count-state", value = i64)] struct Counts;
/// #[processor(group = "count", persist = i64)] #[join(Counts)] fn count(..)
/// ```
fn check_own_table(group: &ApplicationGroup, findings: &mut Vec<Finding>) {
    let Some(table) = table(group) else { return };
    for edge in &group.edges {
        if (edge.shape == EdgeShape::Input || reads_table(edge)) && edge.topic == table.topic {
            findings.push(Finding::OwnTable {
                group: group.group.clone(),
                topic: edge.topic.clone(),
                edge: reader(group, edge),
            });
        }
    }
}

/// ```text
/// #[stream("count-loop", value = String)] struct Again;     #[processor(group = "count")] fn count(..)
/// ```
fn check_reserved(groups: &Groups, findings: &mut Vec<Finding>) {
    use EdgeShape::{Loopback, Table, Visit};
    let is_stream = |edge: &ApplicationEdge| {
        edge.kind == TopicKind::Stream && !matches!(edge.shape, Loopback | Table | Visit)
    };
    let used = all(groups).filter(|(_, edge)| is_stream(edge));
    for (topic, uses) in grouped(used.map(|(group, edge)| (&edge.topic, (group, edge)))) {
        let mut owners = groups.iter().filter_map(|group| {
            let suffix = topic.strip_prefix(group.group.as_str())?;
            matches!(suffix, "-state" | "-loop" | "-visit").then_some((group, suffix))
        });
        let Some((group, suffix)) = owners.next() else {
            continue;
        };
        let edges: Vec<_> = uses
            .iter()
            .filter(|(user, edge)| {
                // Reported by the rules for tables.
                let named = suffix == "-state"
                    && match edge.shape {
                        EdgeShape::Output => table(group).is_some(),
                        EdgeShape::Join | EdgeShape::Lookup => true,
                        _ => user.group == group.group && table(group).is_some(),
                    };
                !named
            })
            .map(|(user, edge)| reader(user, edge))
            .collect();
        if !edges.is_empty() {
            findings.push(Finding::Reserved {
                topic: topic.clone(),
                owner: owner(group),
                edges,
            });
        }
    }
}

type Answer<'a> = &'a dyn Fn(&ApplicationEdge) -> Option<String>;

/// A property on which edges have to agree.
type Property = (&'static str, fn(&ApplicationEdge) -> Option<String>);

const KEY: Property = ("key codecs", |edge| Some(edge.key.clone()));
const VALUE: Property = ("value codecs", |edge| Some(edge.value.clone()));
const PARTITIONER: Property = ("partitioners", |edge| Some(edge.partitioner.clone()));
const COUNT: Property = ("partition counts", |edge| {
    edge.partitions.map(|count| count.to_string())
});

/// The different values of a property, each with the first edge that has it.
fn answers<'e>(
    edges: impl IntoIterator<Item = &'e ApplicationEdge>,
    of: impl Fn(&ApplicationEdge) -> Option<String>,
) -> Vec<(String, &'e ApplicationEdge)> {
    let mut answers = Vec::<(String, &ApplicationEdge)>::new();
    for edge in edges {
        if let Some(answer) = of(edge)
            && answers.iter().all(|(known, _)| *known != answer)
        {
            answers.push((answer, edge));
        }
    }
    answers
}

/// ```text
/// #[stream("clicks", value = String)] struct Clicks;     #[stream("clicks", value = i64)] struct Numbers;
/// ```
fn check_topics(groups: &Groups, findings: &mut Vec<Finding>) {
    // The values of a visit topic are those of the visit that a record's key names.
    let edges = all(groups).filter(|(_, edge)| edge.shape != EdgeShape::Visit);
    for (topic, edges) in grouped(edges.map(|(_, edge)| (&edge.topic, edge))) {
        for (property, of) in [KEY, VALUE, PARTITIONER, COUNT] {
            let answers = answers(edges.iter().copied(), of);
            if answers.len() > 1 {
                findings.push(Finding::TopicDiffers {
                    topic: topic.clone(),
                    property,
                    answers: answers
                        .into_iter()
                        .map(|(what, edge)| declared(what, edge.location))
                        .collect(),
                });
            }
        }
    }
}

/// ```text
/// #[table("profiles", key = u64, ..)] struct Profiles;
/// #[processor(group = "count", key = String)] #[join(Profiles)] fn count(..)
/// ```
fn check_copartitioned(groups: &Groups, findings: &mut Vec<Finding>) {
    let counts = counts(groups);
    for group in groups {
        let same_key = |edge: &&ApplicationEdge| {
            matches!(
                edge.shape,
                EdgeShape::Input | EdgeShape::Table | EdgeShape::Join | EdgeShape::Loopback
            )
        };
        // Without a table and a join the inputs need not be partitioned alike.
        let together =
            |edge: &ApplicationEdge| matches!(edge.shape, EdgeShape::Table | EdgeShape::Join);
        if !group.edges.iter().any(together) {
            continue;
        }
        let count = |edge: &ApplicationEdge| {
            let known = edge.partitions.or(counts.get(&edge.topic).copied())?;
            Some(known.to_string())
        };
        // A group with a table or a loopback may have keyless inputs: it gives their records keys.
        let rekeys = group
            .edges
            .iter()
            .any(|edge| matches!(edge.shape, EdgeShape::Table | EdgeShape::Loopback));
        let keyed = |edge: &ApplicationEdge| {
            !(rekeys && edge.shape == EdgeShape::Input && edge.key == <NoKey as Codec>::NAME)
        };
        let key = |edge: &ApplicationEdge| KEY.1(edge).filter(|_| keyed(edge));
        let partitioner = |edge: &ApplicationEdge| PARTITIONER.1(edge).filter(|_| keyed(edge));
        let properties: [(&str, Answer<'_>); 3] = [
            (KEY.0, &key),
            (PARTITIONER.0, &partitioner),
            (COUNT.0, &count),
        ];
        for (property, of) in properties {
            // A topic that is declared twice is another finding.
            let mut topics = BTreeSet::new();
            let edges = group.edges.iter().filter(same_key);
            let answers = answers(edges.filter(|edge| topics.insert(&edge.topic)), of);
            if answers.len() > 1 {
                findings.push(Finding::NotCopartitioned {
                    group: group.group.clone(),
                    property,
                    answers: answers
                        .into_iter()
                        .map(|(what, edge)| {
                            declared(format!("{what} (`{}`)", edge.topic), edge.location)
                        })
                        .collect(),
                });
            }
        }
    }
}

/// The partition count of each topic for which one is declared; a group table has that of the group's inputs.
fn counts(groups: &Groups) -> BTreeMap<&String, i32> {
    let mut counts = BTreeMap::new();
    for (_, edge) in all(groups) {
        if let Some(count) = edge.partitions {
            counts.entry(&edge.topic).or_insert(count);
        }
    }
    for group in groups {
        let mut inputs = group.edges_of(EdgeShape::Input);
        let count = inputs.find_map(|edge| counts.get(&edge.topic).copied());
        if let (Some(table), Some(count)) = (table(group), count) {
            counts.entry(&table.topic).or_insert(count);
        }
    }
    counts
}

/// ```text
/// #[processor(group = "count", persist = i64)] fn count(..)
/// #[stream("count-state", value = i64)] struct Counts;     #[output(Counts)] fn intruder(..)
/// ```
fn check_writers(groups: &Groups, findings: &mut Vec<Finding>) {
    let mut tables = BTreeMap::<_, (Vec<Declared>, Vec<Declared>)>::new();
    let mut declared = BTreeSet::new();
    for (group, edge) in all(groups) {
        let (tables, outputs) = tables.entry(&edge.topic).or_default();
        let writers = match edge.shape {
            EdgeShape::Table => tables,
            EdgeShape::Output => outputs,
            _ => continue,
        };
        if edge.kind != TopicKind::Stream || edge.shape == EdgeShape::Table {
            declared.insert(&edge.topic);
        }
        writers.push(self::declared(&group.processor, edge.location));
    }
    for (topic, (mut writers, mut outputs)) in tables {
        // A group with two processors is another finding.
        let of_one_group = outputs.is_empty()
            && all(groups)
                .filter(|(_, edge)| edge.shape == EdgeShape::Table && edge.topic == *topic)
                .map(|(group, _)| &group.group)
                .collect::<BTreeSet<_>>()
                .len()
                < 2;
        writers.append(&mut outputs);
        if declared.contains(topic) && writers.len() > 1 && !of_one_group {
            findings.push(Finding::TableWritten {
                topic: topic.clone(),
                writers,
            });
        }
    }
}

/// ```text
/// #[processor(group = "status")] #[join(Counter<Clicks>)] fn status(..)   // never registered
/// ```
fn check_tables(groups: &Groups, findings: &mut Vec<Finding>) {
    let read = all(groups).filter(|(_, edge)| reads_table(edge));
    for (topic, edges) in grouped(read.map(|(group, edge)| (&edge.topic, (group, edge)))) {
        let is_its =
            |edge: &ApplicationEdge| edge.shape == EdgeShape::Table && edge.topic == *topic;
        if all(groups).any(|(_, edge)| is_its(edge)) {
            continue;
        }
        let stateless = groups.iter().find(|group| {
            let suffix = topic.strip_prefix(group.group.as_str());
            suffix == Some("-state") && table(group).is_none()
        });
        let is_table = edges.iter().any(|(_, edge)| edge.kind == TopicKind::Table);
        if stateless.is_some() || !is_table {
            findings.push(Finding::NoSuchTable {
                topic: topic.clone(),
                stateless: stateless.map(owner),
                readers: edges
                    .into_iter()
                    .map(|(group, edge)| reader(group, edge))
                    .collect(),
            });
        }
    }
}

/// ```text
/// #[processor(group = "a", persist = i64)] #[join(B)] fn a(..)
/// #[processor(group = "b", persist = i64)] #[join(A)] fn b(..)
/// ```
fn check_cycles(groups: &Groups, findings: &mut Vec<Finding>) {
    let mut writers = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        for edge in group.edges_of(EdgeShape::Table) {
            writers.entry(&edge.topic).or_insert(at);
        }
    }
    let reads: Vec<Vec<(usize, &ApplicationEdge)>> = groups
        .iter()
        .enumerate()
        .map(|(at, group)| {
            let edges = group.edges.iter().filter(|edge| reads_table(edge));
            edges
                .filter_map(|edge| Some((*writers.get(&edge.topic)?, edge)))
                // A group that reads its own table is another finding.
                .filter(|(of, _)| *of != at)
                .collect()
        })
        .collect();
    let mut named = BTreeSet::new();
    for start in 0..groups.len() {
        if named.contains(&start) {
            continue;
        }
        if let Some(path) = back_to(start, &reads) {
            named.extend(path.iter().map(|(group, _)| *group));
            let edges = path.iter().map(|(at, edge)| {
                let what = format!("{} reads `{}`", groups[*at].processor, edge.topic);
                declared(what, edge.location)
            });
            findings.push(Finding::Cycle {
                edges: edges.collect(),
            });
        }
    }
}

/// The shortest circle from a group, by the tables that it reads, back to it.
fn back_to<'e>(
    start: usize,
    reads: &[Vec<(usize, &'e ApplicationEdge)>],
) -> Option<Vec<(usize, &'e ApplicationEdge)>> {
    let mut ways = VecDeque::from([(start, vec![])]);
    let mut seen = BTreeSet::new();
    while let Some((end, way)) = ways.pop_front() {
        for (next, edge) in &reads[end] {
            let mut longer = way.clone();
            longer.push((end, *edge));
            if *next == start {
                return Some(longer);
            }
            if seen.insert(*next) {
                ways.push_back((*next, longer));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
