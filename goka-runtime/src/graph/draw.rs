//! Prints an [`Application`] as text, Mermaid, DOT and JSON; equal applications give equal texts. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::application::{
    Application, ApplicationEdge, ApplicationGroup, ApplicationTopic, EdgeShape, TopicShape,
};

/// Adds a line to a text.
macro_rules! line {
    ($out:expr, $($arguments:tt)*) => {
        writeln!($out, $($arguments)*).expect("writing to a String cannot fail")
    };
}

impl Application {
    /// Every group with its edges, one a line, each with the place of its declaration; then every
    /// topic with the groups that write and read it.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::graph::{Application, GroupGraph, Location};
    ///
    /// let location = Location { file: "src/main.rs", line: 7, column: 1 };
    /// let graph = GroupGraph { name: "Count", group: "count", location, guarantee: Default::default(), edges: &[] };
    /// let application = Application::from(&graph);
    /// assert_eq!(application.text(), "group count  processor Count  src/main.rs:7\n");
    /// ```
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (at, group) in self.groups().iter().enumerate() {
            if at > 0 {
                out.push('\n');
            }
            line!(
                out,
                "group {}  processor {}  {}",
                group.group,
                group.processor,
                group.location
            );
            let widest = widest(group.edges.iter().map(|edge| edge.topic.as_str()));
            for edge in &group.edges {
                let count = partitions(edge.partitions, "  partitions ");
                line!(
                    out,
                    "  {:<8} {:<widest$}  key {}  value {}  by {}{count}  {}",
                    edge.shape,
                    edge.topic,
                    edge.key,
                    edge.value,
                    edge.partitioner,
                    edge.location
                );
            }
        }
        self.topics_as_text(&mut out);
        out
    }

    fn topics_as_text(&self, out: &mut String) {
        let topics = self.topics();
        if !topics.is_empty() {
            out.push('\n');
        }
        let widest = widest(topics.iter().map(|topic| topic.topic.as_str()));
        for topic in &topics {
            let mut ends = Vec::new();
            for (what, is) in [
                ("written by", EdgeShape::is_written as fn(_) -> _),
                ("read by", EdgeShape::is_read),
            ] {
                let mut groups = Vec::new();
                for group in self.groups() {
                    let edges = group.edges.iter();
                    let mut edges =
                        edges.filter(|edge| edge.topic == topic.topic && is(edge.shape));
                    if edges.next().is_some() {
                        groups.push(group.group.as_str());
                    }
                }
                if !groups.is_empty() {
                    ends.push(format!("{what} {}", groups.join(", ")));
                }
            }
            let (shape, name, ends) = (topic.shape, &topic.topic, ends.join("; "));
            line!(out, "{shape:<6} {name:<widest$}  {ends}");
        }
    }

    /// As a [Mermaid](https://mermaid.js.org/syntax/flowchart.html) flowchart: groups are boxes, streams have
    /// round ends, tables are cylinders, loop and visit topics are circles.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::graph::{Application, GroupGraph, Location};
    ///
    /// let location = Location { file: "src/main.rs", line: 7, column: 1 };
    /// let graph = GroupGraph { name: "Count", group: "count", location, guarantee: Default::default(), edges: &[] };
    /// let application = Application::from(&graph);
    /// assert_eq!(application.mermaid(), "flowchart LR\n  g0[\"count\"]\n");
    /// ```
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let topics = self.topics();
        for (at, topic) in topics.iter().enumerate() {
            let label = mermaid_text(&topic_label(topic).join("\n"));
            let (open, close) = match topic.shape {
                TopicShape::Stream => ("([", "])"),
                TopicShape::Table => ("[(", ")]"),
                TopicShape::Loop => ("((", "))"),
            };
            line!(out, "  t{at}{open}{label}{close}");
        }
        for (at, group) in self.groups().iter().enumerate() {
            line!(out, "  g{at}[{}]", mermaid_text(&group.group));
        }
        self.each_arrow(&topics, |from, to, edge| {
            let arrow = match edge.shape {
                EdgeShape::Join | EdgeShape::Lookup => "-.->",
                _ => "-->",
            };
            let label = mermaid_text(&edge_label(edge, &topics));
            line!(out, "  {from} {arrow}|{label}| {to}");
        });
        out
    }

    /// As a [DOT](https://graphviz.org/doc/info/lang.html) digraph.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::graph::Application;
    ///
    /// assert!(Application::new().dot().starts_with("digraph goka {\n"));
    /// ```
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph goka {\n  rankdir=LR;\n");
        let topics = self.topics();
        for (at, topic) in topics.iter().enumerate() {
            let label = dot_text(&topic_label(topic).join("\n"));
            let shape = match topic.shape {
                TopicShape::Stream => "cds",
                TopicShape::Table => "cylinder",
                TopicShape::Loop => "circle",
            };
            line!(out, "  t{at} [label={label}, shape={shape}];");
        }
        for (at, group) in self.groups().iter().enumerate() {
            let label = dot_text(&group.group);
            line!(out, "  g{at} [label={label}, shape=box];");
        }
        self.each_arrow(&topics, |from, to, edge| {
            let label = dot_text(&edge_label(edge, &topics));
            let style = match edge.shape {
                EdgeShape::Join | EdgeShape::Lookup => ", style=dashed",
                _ => "",
            };
            line!(out, "  {from} -> {to} [label={label}{style}];");
        });
        out.push_str("}\n");
        out
    }

    /// As JSON: `groups`, each with its `edges`, and `topics`.
    ///
    /// ```
    /// # use goka_runtime as goka;
    /// use goka::graph::Application;
    ///
    /// assert_eq!(Application::new().json(), "{\n  \"groups\": [],\n  \"topics\": []\n}\n");
    /// ```
    pub fn json(&self) -> String {
        let document = Document {
            groups: self.groups(),
            topics: self.topics(),
        };
        let mut text = serde_json::to_string_pretty(&document)
            .expect("the document has only text and numbers");
        text.push('\n');
        text
    }

    /// Calls `each` for every arrow with the names of its two nodes, in the direction of the records.
    fn each_arrow(
        &self,
        topics: &[ApplicationTopic],
        mut each: impl FnMut(&str, &str, &ApplicationEdge),
    ) {
        let at: BTreeMap<&str, usize> = topics
            .iter()
            .enumerate()
            .map(|(at, topic)| (topic.topic.as_str(), at))
            .collect();
        for (number, group) in self.groups().iter().enumerate() {
            let mut drawn = Vec::new();
            for edge in &group.edges {
                // Several visits have one topic, and so have several loopbacks.
                if drawn.contains(&(edge.shape, &edge.topic)) {
                    continue;
                }
                drawn.push((edge.shape, &edge.topic));
                let topic = format!("t{}", at[edge.topic.as_str()]);
                let group = format!("g{number}");
                if edge.shape.is_read() {
                    each(&topic, &group, edge);
                }
                if edge.shape.is_written() {
                    each(&group, &topic, edge);
                }
            }
        }
    }
}

fn widest<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    names.map(str::len).max().unwrap_or(0)
}

fn partitions(count: Option<i32>, before: &str) -> String {
    count.map_or_else(String::new, |count| format!("{before}{count}"))
}

fn topic_label(topic: &ApplicationTopic) -> [String; 2] {
    let count = partitions(topic.partitions, " × ");
    [
        topic.topic.clone(),
        format!("{}: {}{count}", topic.key, topic.value),
    ]
}

/// The kind of the edge, and its codecs if they are not those of the topic.
fn edge_label(edge: &ApplicationEdge, topics: &[ApplicationTopic]) -> String {
    let mut topics = topics.iter().filter(|topic| topic.topic == edge.topic);
    let same = topics.any(|topic| topic.key == edge.key && topic.value == edge.value);
    if same {
        edge.shape.to_string()
    } else {
        format!("{} {}: {}", edge.shape, edge.key, edge.value)
    }
}

/// A text in quotes; special characters are entities.
fn mermaid_text(text: &str) -> String {
    let text = text.replace('#', "#35;").replace('"', "#quot;");
    let text = text.replace('<', "#lt;").replace('>', "#gt;");
    format!("\"{}\"", text.replace('\n', "<br/>"))
}

/// A text in quotes; special characters are escaped.
fn dot_text(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', r"\n"))
}

#[derive(Serialize)]
struct Document<'a> {
    groups: &'a [ApplicationGroup],
    topics: Vec<ApplicationTopic>,
}

#[cfg(test)]
mod tests;
