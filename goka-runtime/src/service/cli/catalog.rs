//! The codecs and partitioners of topics and groups, by name: those that the processors of this binary
//! declare. Keys and values of other topics are text, and keys have the partitions that Kafka's Java client
//! gives them.

use super::error::CliError;
use crate::codec::format_of;
use crate::emitter::Declared;
use crate::graph::{Definition, EdgeKind, Format, GroupGraph, TopicKind, TopicSpec};
use crate::partitioner::{Murmur2, Partitioner};

/// How keys and values of a topic are read from text and printed, and the partition of a key.
#[derive(Debug, Clone)]
pub(super) struct TopicCodecs {
    pub(super) topic: String,
    pub(super) key: Format,
    pub(super) value: Format,
    pub(super) partition_of: fn(&[u8], i32) -> i32,
    pub(super) declared: Declared,
}

impl TopicCodecs {
    fn of(spec: &TopicSpec) -> Self {
        Self {
            topic: spec.name.to_owned(),
            key: spec.key,
            value: spec.value,
            partition_of: spec.partition_of,
            declared: Declared::of(spec),
        }
    }

    fn text(topic: String) -> Self {
        Self {
            topic,
            key: TEXT,
            value: TEXT,
            partition_of: Murmur2::partition,
            declared: Declared::default(),
        }
    }
}

/// Bytes as text: what is not UTF-8 is escaped when printed, and unescaped when read.
const TEXT: Format = format_of::<Vec<u8>>();

pub(super) fn topic(definitions: &[&'static Definition], name: &str) -> TopicCodecs {
    definitions
        .iter()
        .flat_map(|definition| definition.graph.edges)
        .find(|edge| edge.topic.name == name)
        .map_or_else(
            || TopicCodecs::text(name.to_owned()),
            |edge| TopicCodecs::of(&edge.topic),
        )
}

/// The codecs of a group's table, or of a declared table of that name.
pub(super) fn table(
    definitions: &[&'static Definition],
    group: &str,
) -> Result<TopicCodecs, CliError> {
    let Some(graph) = graph_of(definitions, group) else {
        let mut edges = definitions.iter().flat_map(|it| it.graph.edges);
        let declared =
            edges.find(|edge| edge.topic.kind == TopicKind::Table && edge.topic.name == group);
        return Ok(declared.map_or_else(
            || TopicCodecs::text(format!("{group}-state")),
            |edge| TopicCodecs::of(&edge.topic),
        ));
    };
    match graph.table() {
        Some(edge) => Ok(TopicCodecs::of(&edge.topic)),
        None => Err(CliError::new(format!(
            "group `{group}` ({}) has no table; add `persist = <type>` to `#[processor(..)]`, or name \
             another group",
            graph.location
        ))),
    }
}

/// The codecs of a group's visit topic: the values are the arguments of the visit `name`.
pub(super) fn visit(
    definitions: &[&'static Definition],
    group: &str,
    name: &str,
) -> Result<TopicCodecs, CliError> {
    let Some(graph) = graph_of(definitions, group) else {
        return Err(CliError::new(format!(
            "group `{group}` is not in this program; {}",
            groups(definitions)
        )));
    };
    let mut known = Vec::new();
    for edge in graph.edges {
        match edge.kind {
            EdgeKind::Visit { name: visit, .. } if visit == name => {
                return Ok(TopicCodecs::of(&edge.topic));
            }
            EdgeKind::Visit { name: visit, .. } => known.push(format!("`{visit}`")),
            _ => {}
        }
    }
    Err(CliError::new(format!(
        "group `{group}` ({}) has no visit `{name}`; it has {}",
        graph.location,
        match known.is_empty() {
            true => "none".to_owned(),
            false => known.join(", "),
        }
    )))
}

fn graph_of(definitions: &[&'static Definition], group: &str) -> Option<&'static GroupGraph> {
    let mut graphs = definitions.iter().map(|definition| &definition.graph);
    graphs.find(|graph| graph.group == group)
}

/// The groups of this binary that have a table, for the error about another one.
pub(super) fn groups(definitions: &[&'static Definition]) -> String {
    let known: Vec<_> = definitions
        .iter()
        .map(|definition| &definition.graph)
        .filter(|graph: &&GroupGraph| graph.table().is_some())
        .map(|graph| format!("`{}`", graph.group))
        .collect();
    if known.is_empty() {
        "this program has no group with a table".to_owned()
    } else {
        format!("this program's groups: {}", known.join(", "))
    }
}
