//! The command `topology`: what this program reads and writes, as text.

use std::io::Write;

use crate::graph::{Definition, EdgeKind};

/// Prints every group with its edges, one a line, each with the place of its declaration.
pub(super) fn print(
    definitions: &[&'static Definition],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    for (at, definition) in definitions.iter().enumerate() {
        let graph = &definition.graph;
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(
            out,
            "group {}  processor {}  {}",
            graph.group, graph.name, graph.location
        )?;
        let widest = graph.edges.iter().map(|edge| edge.topic.name.len()).max();
        let widest = widest.unwrap_or(0);
        for edge in graph.edges {
            let kind = match edge.kind {
                EdgeKind::Input { .. } => "input",
                EdgeKind::Output => "output",
                EdgeKind::Table => "table",
                EdgeKind::Join => "join",
                EdgeKind::Lookup => "lookup",
                EdgeKind::Loopback { .. } => "loopback",
                EdgeKind::Visit { .. } => "visit",
            };
            let topic = &edge.topic;
            let count = topic
                .partitions
                .map(|count| format!("  partitions {count}"));
            writeln!(
                out,
                "  {kind:<8} {:<widest$}  key {}  value {}  by {}{}  {}",
                topic.name,
                topic.key.codec,
                topic.value.codec,
                topic.partitioner,
                count.unwrap_or_default(),
                edge.location
            )?;
        }
    }
    out.flush()
}
