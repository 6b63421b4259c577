//! Workloads that make no sense: told before anything runs, and what to write instead.

use super::workload::Workload;
use crate::graph::{Definition, Edge, EdgeKind};

impl Workload {
    /// Panics when there is nothing to be learnt from a simulation.
    pub(super) fn check_sense(&self) {
        if let Err(told) = self.validate() {
            panic!("the workload makes no sense: {told}");
        }
    }

    fn validate(&self) -> Result<(), String> {
        let definitions = self.registry.check().map_err(|error| error.to_string())?;
        if self.partitions < 1 {
            return Err(format!("it has {} partitions", self.partitions));
        }
        for definition in &definitions {
            self.shared_sense(definition)?;
        }
        self.feeds_sense(&definitions)?;
        self.loads_sense(&definitions)?;
        for definition in &definitions {
            self.reads_sense(definition, &definitions)?;
        }
        Ok(())
    }

    fn shared_sense(&self, definition: &Definition) -> Result<(), String> {
        if definition.make.is_some() || self.shared.contains_key(&(definition.type_id)()) {
            return Ok(());
        }
        let (name, location) = (definition.graph.name, definition.graph.location);
        Err(format!(
            "`{name}` ({location}) has no `Default`: say how it is made: `.with(|| {name} ..)`"
        ))
    }

    fn feeds_sense(&self, definitions: &[&'static Definition]) -> Result<(), String> {
        if self.feeds.is_empty() {
            return Err(format!(
                "nothing is fed to {}: add `.input(Topic, 300, |dice| (key, value))`",
                names(definitions)
            ));
        }
        for feed in &self.feeds {
            let name = feed.topic.name;
            if feed.count == 0 {
                return Err(format!(
                    "topic `{name}` is fed 0 records: `.input(.., count, ..)` with a few hundred"
                ));
            }
            fits(name, "fed", definitions)?;
        }
        Ok(())
    }

    fn loads_sense(&self, definitions: &[&'static Definition]) -> Result<(), String> {
        for load in &self.loads {
            let name = load.topic.name;
            fits(name, "there before the start", definitions)?;
            if self.is_fed(name) {
                return Err(format!(
                    "table `{name}` is said not to change by `.table(..)`, and fed by `.input(..)`: \
                     leave one out"
                ));
            }
        }
        Ok(())
    }

    fn is_fed(&self, topic: &str) -> bool {
        self.feeds.iter().any(|feed| feed.topic.name == topic)
    }

    fn is_given(&self, topic: &str) -> bool {
        self.is_fed(topic) || self.loads.iter().any(|load| load.topic.name == topic)
    }

    /// Everything that a processor reads comes from somewhere.
    fn reads_sense(
        &self,
        definition: &Definition,
        definitions: &[&'static Definition],
    ) -> Result<(), String> {
        let comes = |edge: &Edge| {
            let topic = edge.topic.name;
            let mut others = definitions
                .iter()
                .filter(|other| other.graph.group != definition.graph.group);
            self.is_given(topic) || others.any(|other| writes(other, topic))
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
                    "nothing comes from topic `{topic}`, {what} of `{name}` ({location}): add `{add}` \
                     of its topic, or its processor by `.and::<..>()`"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a topic of the workload's is one that it may write: read by a processor, and no table of one.
fn fits(topic: &str, how: &str, definitions: &[&'static Definition]) -> Result<(), String> {
    let reads = |edge: &Edge| {
        let reads = matches!(
            edge.kind,
            EdgeKind::Input { .. } | EdgeKind::Join | EdgeKind::Lookup
        );
        reads && edge.topic.name == topic
    };
    let owns = |definition: &&&'static Definition| {
        let table = definition.graph.table();
        table.is_some_and(|table| table.topic.name == topic)
    };
    if let Some(owner) = definitions.iter().find(owns) {
        let (name, location) = (owner.graph.name, owner.graph.location);
        return Err(format!(
            "topic `{topic}` is the table of `{name}` ({location}), which alone writes it: feed its \
             inputs"
        ));
    }
    if definitions
        .iter()
        .any(|found| found.graph.edges.iter().any(reads))
    {
        return Ok(());
    }
    Err(format!(
        "topic `{topic}` is {how}, and none of {} reads it: leave it out, or add its reader by \
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

    fn told(workload: &Workload) -> String {
        let told = workload.validate().expect_err("it makes no sense");
        // Without the lines of the processor's declaration.
        let place = "goka-runtime/src/tester/doc.rs:";
        match told.split_once(place) {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}doc.rs{after}")
            }
            None => told,
        }
    }

    fn clicks(count: usize) -> Workload {
        Workload::of::<ClickCount>().input(Clicks, count, |_| ("alice", "x"))
    }

    #[test]
    fn what_can_be_run_makes_sense() {
        clicks(1).check_sense();
    }

    #[test]
    fn what_cannot_says_what_to_write() {
        let alerts = |workload: Workload| workload.input(Alerts, 1, |_| ("alice", 1));
        let table = |workload: Workload| workload.input(ClickCount, 1, |_| ("alice", 1));
        let loaded = |workload: Workload| workload.table(ClickCount, [("alice", 1)]);
        for (workload, expected) in [
            (
                Workload::of::<ClickCount>(),
                "nothing is fed to `ClickCount`: add `.input(Topic, 300, |dice| (key, value))`",
            ),
            (
                clicks(0),
                "topic `clicks` is fed 0 records: `.input(.., count, ..)` with a few hundred",
            ),
            (clicks(1).partitions(0), "it has 0 partitions"),
            (
                alerts(clicks(1)),
                "topic `alerts` is fed, and none of `ClickCount` reads it: leave it out, or add its \
                 reader by `.and::<..>()`",
            ),
            (
                table(clicks(1)),
                "topic `click-count-state` is the table of `ClickCount` (doc.rs), which alone writes \
                 it: feed its inputs",
            ),
            (
                loaded(clicks(1)),
                "topic `click-count-state` is the table of `ClickCount` (doc.rs), which alone writes \
                 it: feed its inputs",
            ),
        ] {
            assert_eq!(told(&workload), expected);
        }
    }
}
