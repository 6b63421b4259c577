//! Several groups as one graph: owned data, in an order that does not depend on the build. `rules` checks it,
//! `draw` prints it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Edge, EdgeKind, GroupGraph, Location, TopicKind};

/// The graph of a program, or of several: groups, and the topics between them.
///
/// ```
/// # use goka_runtime as goka;
/// use goka::graph::{Application, GroupGraph, Location};
///
/// let location = Location { file: "src/main.rs", line: 7, column: 1 };
/// let one = GroupGraph { name: "Count", group: "count", location, guarantee: Default::default(), edges: &[] };
/// let application = Application::new().merge(&one).merge(&one);
/// assert_eq!(application.groups().len(), 2);
/// let findings = application.validate();
/// assert!(findings[0].to_string().starts_with("group `count` has 2 processors:"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Application {
    groups: Vec<ApplicationGroup>,
}

/// A group of an [`Application`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationGroup {
    /// The group.
    pub group: String,
    /// Its processor's name.
    pub processor: String,
    /// Where the processor is declared.
    #[serde(flatten)]
    pub location: Location,
    /// Its edges, in the order of their declaration.
    pub edges: Vec<ApplicationEdge>,
}

impl ApplicationGroup {
    /// The edges of one shape, in order.
    pub fn edges_of(&self, shape: EdgeShape) -> impl Iterator<Item = &ApplicationEdge> {
        self.edges.iter().filter(move |edge| edge.shape == shape)
    }
}

/// An edge of an [`ApplicationGroup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationEdge {
    /// Its kind.
    #[serde(rename = "edge")]
    pub shape: EdgeShape,
    /// The topic at its end.
    pub topic: String,
    /// How the topic was declared.
    #[serde(skip)]
    pub kind: TopicKind,
    /// The codec of its keys.
    pub key: String,
    /// The codec of its values.
    pub value: String,
    /// Its partitioner.
    pub partitioner: String,
    /// Its declared partition count.
    pub partitions: Option<i32>,
    /// Where the edge is declared.
    #[serde(flatten)]
    pub location: Location,
}

/// The kind of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EdgeShape {
    /// The group handles the topic's records.
    Input,
    /// The group emits to it.
    Output,
    /// The topic is the group table.
    Table,
    /// The group reads the table's value for the key of the record.
    Join,
    /// The group reads the table's value for any key.
    Lookup,
    /// The topic has the records that the group sends to its own keys.
    Loopback,
    /// The topic has the requests for walks over the group table.
    Visit,
}

impl EdgeShape {
    /// Whether records go from the topic to the group.
    pub fn is_read(self) -> bool {
        !matches!(self, Self::Output | Self::Table)
    }

    /// Whether records go from the group to the topic.
    pub fn is_written(self) -> bool {
        matches!(self, Self::Output | Self::Table | Self::Loopback)
    }
}

impl fmt::Display for EdgeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A topic of an [`Application`], which several edges may have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApplicationTopic {
    /// Its name.
    pub topic: String,
    /// Its kind.
    pub shape: TopicShape,
    /// The codec of its keys, as its first edge declares it.
    pub key: String,
    /// The codec of its values, as its first edge declares it.
    pub value: String,
    /// Its partitioner, as its first edge declares it.
    pub partitioner: String,
    /// Its partition count, if an edge declares one.
    pub partitions: Option<i32>,
}

/// The kind of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TopicShape {
    /// Records in order.
    Stream,
    /// The last value of each key.
    Table,
    /// The loop topic or visit topic of a group: records that it sends to itself.
    Loop,
}

impl fmt::Display for TopicShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Application {
    /// Without a group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a group, or all groups of another application.
    #[must_use]
    pub fn merge(mut self, other: impl Into<Self>) -> Self {
        self.groups.append(&mut other.into().groups);
        self.sorted()
    }

    /// The groups, sorted by group, processor and place of declaration.
    pub fn groups(&self) -> &[ApplicationGroup] {
        &self.groups
    }

    /// The topics, each once, sorted by name.
    pub fn topics(&self) -> Vec<ApplicationTopic> {
        let mut topics = BTreeMap::<&str, ApplicationTopic>::new();
        for edge in self.groups.iter().flat_map(|group| &group.edges) {
            let shape = match (edge.shape, edge.kind) {
                (EdgeShape::Table | EdgeShape::Join | EdgeShape::Lookup, _) => TopicShape::Table,
                (EdgeShape::Loopback | EdgeShape::Visit, _) => TopicShape::Loop,
                (_, TopicKind::Stream) => TopicShape::Stream,
                (_, TopicKind::Table | TopicKind::GroupTable) => TopicShape::Table,
            };
            let topic = topics
                .entry(&edge.topic)
                .or_insert_with(|| ApplicationTopic {
                    topic: edge.topic.clone(),
                    shape,
                    key: edge.key.clone(),
                    value: edge.value.clone(),
                    partitioner: edge.partitioner.clone(),
                    partitions: edge.partitions,
                });
            topic.partitions = topic.partitions.or(edge.partitions);
            // An edge that has only the topic's name takes it for a stream.
            topic.shape = topic.shape.max(shape);
        }
        topics.into_values().collect()
    }

    fn sorted(mut self) -> Self {
        self.groups.sort_by(|a, b| {
            let of = |group: &ApplicationGroup| (group.location.file, group.location.line);
            let names = (&a.group, &a.processor).cmp(&(&b.group, &b.processor));
            names.then_with(|| of(a).cmp(&of(b)))
        });
        self
    }
}

impl From<&GroupGraph> for Application {
    fn from(graph: &GroupGraph) -> Self {
        Self {
            groups: vec![ApplicationGroup {
                group: graph.group.to_owned(),
                processor: graph.name.to_owned(),
                location: graph.location,
                edges: graph.edges.iter().map(ApplicationEdge::from).collect(),
            }],
        }
    }
}

impl From<&Edge> for ApplicationEdge {
    fn from(edge: &Edge) -> Self {
        let shape = match edge.kind {
            EdgeKind::Input { .. } => EdgeShape::Input,
            EdgeKind::Output => EdgeShape::Output,
            EdgeKind::Table => EdgeShape::Table,
            EdgeKind::Join => EdgeShape::Join,
            EdgeKind::Lookup => EdgeShape::Lookup,
            EdgeKind::Loopback { .. } => EdgeShape::Loopback,
            EdgeKind::Visit { .. } => EdgeShape::Visit,
        };
        Self {
            shape,
            topic: edge.topic.name.to_owned(),
            kind: edge.topic.kind,
            key: edge.topic.key.codec.to_owned(),
            value: edge.topic.value.codec.to_owned(),
            partitioner: edge.topic.partitioner.to_owned(),
            partitions: edge.topic.partitions,
            location: edge.location,
        }
    }
}

impl From<Vec<ApplicationGroup>> for Application {
    fn from(groups: Vec<ApplicationGroup>) -> Self {
        Self { groups }.sorted()
    }
}

impl<'g> FromIterator<&'g GroupGraph> for Application {
    fn from_iter<I: IntoIterator<Item = &'g GroupGraph>>(graphs: I) -> Self {
        let applications = graphs.into_iter().map(Self::from);
        let groups = applications.flat_map(|application| application.groups);
        Self {
            groups: groups.collect(),
        }
        .sorted()
    }
}
