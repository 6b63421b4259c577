//! Definitions of processors under other names, so that each case has a group and topics of its own.

use goka_runtime::graph::{Definition, Edge};

/// A definition whose group and topics have `to` in place of the first `from` of their names.
pub fn renamed(definition: &Definition, from: &str, to: &str) -> Definition {
    let name = |known: &str| -> &'static str { String::leak(known.replacen(from, to, 1)) };
    let mut renamed = *definition;
    renamed.graph.group = name(renamed.graph.group);
    let edges = renamed.graph.edges.iter().map(|edge| {
        let mut edge: Edge = *edge;
        edge.topic.name = name(edge.topic.name);
        edge
    });
    renamed.graph.edges = Vec::leak(edges.collect());
    renamed
}
