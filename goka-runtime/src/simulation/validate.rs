//! Rejects invalid workloads before anything runs; each message says what to write instead.

use super::workload::Workload;
use crate::graph::{Definition, Edge, EdgeKind};

impl Workload {
    /// Panics when the workload is invalid, for example because an input gets no records.
    pub(super) fn assert_valid(&self) {
        if let Err(reason) = self.validate() {
            panic!("invalid workload: {reason}");
        }
    }

    fn validate(&self) -> Result<(), String> {
        let definitions = self.registry.check().map_err(|error| error.to_string())?;
        if self.partitions < 1 {
            return Err(format!("it has {} partitions", self.partitions));
        }
        for definition in &definitions {
            self.validate_shared(definition)?;
        }
        self.validate_fed_topics(&definitions)?;
        self.validate_loaded_tables(&definitions)?;
        for definition in &definitions {
            self.validate_sources(definition, &definitions)?;
        }
        Ok(())
    }

    fn validate_shared(&self, definition: &Definition) -> Result<(), String> {
        if definition.make.is_some() || self.shared.contains_key(&(definition.type_id)()) {
            return Ok(());
        }
        let (name, location) = (definition.graph.name, definition.graph.location);
        Err(format!(
            "`{name}` ({location}) has no `Default`; say how to make it: `.with(|| {name} ..)`"
        ))
    }

    fn validate_fed_topics(&self, definitions: &[&'static Definition]) -> Result<(), String> {
        if self.fed_topics.is_empty() {
            return Err(format!(
                "no topic of {} gets records: add `.input(Topic, 300, |dice| (key, value))`",
                names(definitions)
            ));
        }
        for feed in &self.fed_topics {
            let name = feed.topic.name;
            if feed.count == 0 {
                return Err(format!(
                    "topic `{name}` gets 0 records: use `.input(.., count, ..)` with a few hundred"
                ));
            }
            validate_topic(name, "is an input of the workload", definitions)?;
        }
        Ok(())
    }

    fn validate_loaded_tables(&self, definitions: &[&'static Definition]) -> Result<(), String> {
        for load in &self.loaded_tables {
            let name = load.topic.name;
            validate_topic(name, "is a table of the workload", definitions)?;
            if self.is_fed(name) {
                return Err(format!(
                    "table `{name}` is declared as unchanging by `.table(..)`, but gets records from \
                     `.input(..)`: leave one out"
                ));
            }
        }
        Ok(())
    }

    fn is_fed(&self, topic: &str) -> bool {
        self.fed_topics.iter().any(|feed| feed.topic.name == topic)
    }

    fn has_records(&self, topic: &str) -> bool {
        let mut loaded = self.loaded_tables.iter();
        self.is_fed(topic) || loaded.any(|load| load.topic.name == topic)
    }

    /// Checks that every topic that a processor reads gets records.
    fn validate_sources(
        &self,
        definition: &Definition,
        definitions: &[&'static Definition],
    ) -> Result<(), String> {
        let comes = |edge: &Edge| {
            let topic = edge.topic.name;
            let mut others = definitions
                .iter()
                .filter(|other| other.graph.group != definition.graph.group);
            self.has_records(topic) || others.any(|other| writes(other, topic))
        };
        let has_start = definition.graph.inputs().any(comes);
        for edge in definition.graph.edges {
            let topic = edge.topic.name;
            let (what, add) = match edge.kind {
                EdgeKind::Input { .. } if has_start && writes(definition, topic) => continue,
                EdgeKind::Input { .. } => ("input", ".input(.., 300, |dice| (key, value))"),
                EdgeKind::Join => ("joined table", ".table(.., [(key, value)])"),
                EdgeKind::Lookup => ("table to look up", ".table(.., [(key, value)])"),
                _ => continue,
            };
            if !comes(edge) {
                let (name, location) = (definition.graph.name, definition.graph.location);
                return Err(format!(
                    "topic `{topic}`, {what} of `{name}` ({location}), gets no records: add `{add}` \
                     for it, or the processor that writes it by `.and::<..>()`"
                ));
            }
        }
        Ok(())
    }
}

/// Checks that the workload may write to a topic: a processor reads it, and it is no processor's table.
fn validate_topic(
    topic: &str,
    how: &str,
    definitions: &[&'static Definition],
) -> Result<(), String> {
    let owns = |definition: &&&'static Definition| definition.graph.owns(topic);
    if let Some(owner) = definitions.iter().find(owns) {
        let (name, location) = (owner.graph.name, owner.graph.location);
        return Err(format!(
            "topic `{topic}` is the table of `{name}` ({location}), and only that processor writes it: \
             give records to its inputs"
        ));
    }
    if definitions.iter().any(|found| found.graph.reads(topic)) {
        return Ok(());
    }
    Err(format!(
        "topic `{topic}` {how}, but none of {} reads it: leave it out, or add its reader by \
         `.and::<..>()`",
        names(definitions)
    ))
}

fn writes(definition: &Definition, topic: &str) -> bool {
    let mut edges = definition.graph.edges.iter();
    edges.any(|edge| {
        let writes = matches!(edge.kind, EdgeKind::Output | EdgeKind::Table);
        writes && edge.topic.name == topic
    })
}

fn names(definitions: &[&'static Definition]) -> String {
    let names = definitions.iter();
    let names = names.map(|found| format!("`{}`", found.graph.name));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::Workload;
    use crate::tester::doc::{Alerts, ClickCount, Clicks};

    /// The error, without the line number of the processor's declaration.
    fn error(workload: &Workload) -> String {
        let error = workload.validate().expect_err("the workload is invalid");
        let place = "goka-runtime/src/tester/doc.rs:";
        match error.split_once(place) {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}doc.rs{after}")
            }
            None => error,
        }
    }

    fn clicks(count: usize) -> Workload {
        Workload::of::<ClickCount>().input(Clicks, count, |_| ("alice", "x"))
    }

    #[test]
    fn a_valid_workload_passes() {
        clicks(1).assert_valid();
    }

    #[test]
    fn the_error_of_an_invalid_workload_says_what_to_write() {
        let alerts = |workload: Workload| workload.input(Alerts, 1, |_| ("alice", 1));
        let table = |workload: Workload| workload.input(ClickCount, 1, |_| ("alice", 1));
        let loaded = |workload: Workload| workload.table(ClickCount, [("alice", 1)]);
        for (workload, expected) in [
            (
                Workload::of::<ClickCount>(),
                "no topic of `ClickCount` gets records: add `.input(Topic, 300, |dice| (key, value))`",
            ),
            (
                clicks(0),
                "topic `clicks` gets 0 records: use `.input(.., count, ..)` with a few hundred",
            ),
            (clicks(1).partitions(0), "it has 0 partitions"),
            (
                alerts(clicks(1)),
                "topic `alerts` is an input of the workload, but none of `ClickCount` reads it: leave it \
                 out, or add its reader by `.and::<..>()`",
            ),
            (
                table(clicks(1)),
                "topic `click-count-state` is the table of `ClickCount` (doc.rs), and only that \
                 processor writes it: give records to its inputs",
            ),
            (
                loaded(clicks(1)),
                "topic `click-count-state` is the table of `ClickCount` (doc.rs), and only that \
                 processor writes it: give records to its inputs",
            ),
        ] {
            assert_eq!(error(&workload), expected);
        }
    }
}
