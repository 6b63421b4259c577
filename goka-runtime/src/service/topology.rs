//! The command `topology`: what this program reads and writes, in the format that was asked for.

use std::io::Write;

use crate::graph::Application;

/// How the graph is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
    /// For programs.
    Json,
}

/// What the formats are called.
pub(super) const FORMATS: [&str; 4] = ["text", "mermaid", "dot", "json"];

impl Format {
    /// The format of a name; one that is none of [`FORMATS`] is text.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "mermaid" => Self::Mermaid,
            "dot" => Self::Dot,
            "json" => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Prints the whole program's graph.
pub(super) fn print(
    application: &Application,
    format: Format,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let text = match format {
        Format::Text => application.text(),
        Format::Mermaid => application.mermaid(),
        Format::Dot => application.dot(),
        Format::Json => application.json(),
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}
