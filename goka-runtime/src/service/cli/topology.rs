//! The command `topology`: prints the groups of the program and the topics that they read and write.

use std::io::Write;

use crate::graph::Application;

/// The format of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    /// Plain lines.
    #[default]
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz digraph.
    Dot,
    /// JSON, for other programs.
    Json,
}

/// The names of the formats.
pub(super) const FORMATS: [&str; 4] = ["text", "mermaid", "dot", "json"];

impl Format {
    /// The format of that name; an unknown name is [`Text`](Self::Text).
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
