//! The graph that the macros generate: the edges of a group as plain data, and the functions that call its
//! handlers. Pure. Read by the registry, the processor and the commands. Several groups together are an
//! [`Application`].

mod application;
mod draw;
mod finding;
#[cfg(any(feature = "cli", feature = "tester"))]
pub(crate) mod order;
mod rules;

use std::any::TypeId;

use serde::Serialize;

pub use self::application::{Application, ApplicationEdge, ApplicationGroup, ApplicationTopic};
pub use self::application::{EdgeShape, TopicShape};
pub use self::finding::{Declared, Finding};

use crate::codec::Codec;
pub use crate::codec::{Canonical, Format};
use crate::dispatch::{Call, ProcessorState};
use crate::key::NoKey;
use crate::record::Guarantee;
use crate::text::same;

/// A place in the user's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file, as rustc names it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    #[serde(skip)]
    pub column: u32,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// How a topic was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopicKind {
    /// By `#[stream(..)]`, or by its name alone.
    #[default]
    Stream,
    /// By `#[table(..)]`: a table that another program writes, or an emitter.
    Table,
    /// By `#[processor(persist = ..)]`: the table of that processor's group.
    GroupTable,
}

/// A topic, as plain data.
#[derive(Debug, Clone, Copy)]
pub struct TopicSpec {
    /// Its name.
    pub name: &'static str,
    /// How it was declared.
    pub kind: TopicKind,
    /// The codec of its keys.
    pub key: Format,
    /// The codec of its values.
    pub value: Format,
    /// The partitioner's name.
    pub partitioner: &'static str,
    /// The partition of a key, given the number of partitions.
    pub partition_of: fn(&[u8], i32) -> i32,
    /// The partition count, if one is declared.
    pub partitions: Option<i32>,
}

impl TopicSpec {
    /// Whether its records have no keys: a stream that is declared `keyless`.
    pub const fn is_keyless(&self) -> bool {
        same(self.key.codec, <NoKey as Codec>::NAME)
    }

    /// The definition of a table as text: local copies and committed offsets made under another one
    /// are not used. It names codecs, shapes and the partitioner, never Rust types: renaming or
    /// moving one changes nothing.
    ///
    /// Values of `Json<T>` have their fields in it when `T` derives [`Schema`](crate::schema::Schema):
    /// `value=json:{name:string,visits:integer}`; else they are opaque, `value=json`.
    ///
    /// ```
    /// # mod goka { pub use goka_runtime::{codec::CodecOf, partitioner::Murmur2, topic::Topic}; }
    /// use goka::Topic;
    /// # use goka::{CodecOf, Murmur2};
    /// # struct Counts;
    /// # impl Topic for Counts {
    /// #     type Key = String;
    /// #     type Value = i64;
    /// #     type Partitioner = Murmur2;
    /// #     const NAME: &'static str = "counts";
    /// #     const CODEC: CodecOf<i64> = CodecOf::new::<i64>();
    /// #     const PARTITIONS: Option<i32> = None;
    /// # }
    /// assert_eq!(Counts::SPEC.fingerprint(), "v1;key=utf8;value=integer;partitioner=murmur2");
    /// ```
    pub fn fingerprint(&self) -> String {
        format!(
            "v1;key={};value={};partitioner={}",
            self.key.text(),
            self.value.text(),
            self.partitioner
        )
    }
}

/// Where a group begins to read an input of which it has committed no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first record that the topic still has. The default, since a table that skips records is wrong.
    #[default]
    Earliest,
    /// After the last record.
    Latest,
}

/// The kind of an edge.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum EdgeKind {
    /// Records come in and are handled.
    Input {
        /// The dispatch shim.
        call: Call,
        /// Whether the handler accepts tombstones.
        tombstones: bool,
        /// Where reading begins when the group has committed no offset.
        start: Start,
    },
    /// Records go out.
    Output,
    /// The group table.
    Table,
    /// A table with the group's keys, read by the record's own key.
    Join,
    /// A table of which any key may be read.
    Lookup,
    /// Records to other keys of the group, by way of the group's own loop topic.
    Loopback {
        /// The dispatch shim.
        call: Call,
    },
    /// A walk over every key of the group table. A record in the group's visit topic, whose key is the name of
    /// the visit, asks for it; the shim is called with each key of the table and the value of that record.
    Visit {
        /// The dispatch shim.
        call: Call,
        /// The visit's name.
        name: &'static str,
    },
}

/// One edge of a group graph.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// Its kind.
    pub kind: EdgeKind,
    /// The topic at its end.
    pub topic: TopicSpec,
    /// Where it is declared.
    pub location: Location,
}

/// One group: its name and its edges, in the order of their declarations. Goka calls it so, too.
#[derive(Debug, Clone, Copy)]
pub struct GroupGraph {
    /// The processor's name: the Rust type's.
    pub name: &'static str,
    /// The group.
    pub group: &'static str,
    /// Where the processor is declared.
    pub location: Location,
    /// Its guarantee, unless the program or the command line sets another.
    pub guarantee: Guarantee,
    /// The edges.
    pub edges: &'static [Edge],
}

impl GroupGraph {
    /// The same with exactly once as the guarantee.
    #[doc(hidden)]
    pub const fn exactly_once(mut self) -> Self {
        self.guarantee = Guarantee::ExactlyOnce;
        self
    }

    /// The mistakes in this group alone: see [`Application::validate`].
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::graph::{Finding, GroupGraph, Location};
    ///
    /// let location = Location { file: "src/main.rs", line: 7, column: 1 };
    /// let graph = GroupGraph { name: "Count", group: "count", location, guarantee: Default::default(), edges: &[] };
    /// assert!(matches!(graph.validate()[..], [Finding::NoInput { .. }]));
    /// ```
    pub fn validate(&self) -> Vec<Finding> {
        Application::from(self).validate()
    }

    /// Several groups as one application.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::graph::GroupGraph;
    ///
    /// assert_eq!(GroupGraph::merge(&[]).groups(), []);
    /// ```
    pub fn merge<'g>(graphs: impl IntoIterator<Item = &'g GroupGraph>) -> Application {
        graphs.into_iter().collect()
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> impl Iterator<Item = &'static Edge> {
        self.edges
            .iter()
            .filter(|edge| matches!(edge.kind, EdgeKind::Input { .. }))
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> impl Iterator<Item = &'static Edge> {
        self.edges
            .iter()
            .filter(|edge| matches!(edge.kind, EdgeKind::Output))
    }

    /// The group table.
    pub fn table(&self) -> Option<&'static Edge> {
        self.edges
            .iter()
            .find(|edge| matches!(edge.kind, EdgeKind::Table))
    }

    /// Whether the group table has this topic.
    pub(crate) fn owns(&self, topic: &str) -> bool {
        self.table().is_some_and(|table| table.topic.name == topic)
    }

    /// Whether a topic of others is read: an input, or a table that is joined or looked up.
    #[cfg(any(feature = "cli", feature = "tester"))]
    pub(crate) fn reads(&self, topic: &str) -> bool {
        let mut edges = self.edges.iter().filter(|edge| edge.topic.name == topic);
        edges.any(|edge| {
            use EdgeKind::{Input, Join, Lookup};
            matches!(edge.kind, Input { .. } | Join | Lookup)
        })
    }
}

/// A processor in the registry.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its graph.
    pub graph: GroupGraph,
    /// Makes the value that its handlers share; `None` when the program has to give one.
    pub make: Option<fn() -> Box<ProcessorState>>,
    /// The processor's type.
    pub type_id: fn() -> TypeId,
}
