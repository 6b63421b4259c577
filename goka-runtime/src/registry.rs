//! The processors of this program: those that the macros submitted and those registered by hand,
//! in an order that does not depend on the build, and the rules that only the whole program shows.
//! Pure. Read by everything that runs processors.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::edges::Processor;
use crate::graph::{Definition, Edge, EdgeKind, Location, TopicSpec};

/// A processor that a macro submitted.
#[doc(hidden)]
#[derive(Debug)]
pub struct Entry(pub &'static Definition);

inventory::collect!(Entry);

/// The processors of a program.
///
/// ```
/// use goka_runtime::registry::{Finding, Registry};
///
/// let error = Registry::new().check().expect_err("there is none");
/// assert_eq!(error.findings, [Finding::Empty]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Registry {
    definitions: Vec<&'static Definition>,
}

impl Registry {
    /// An empty one, to register by hand.
    pub fn new() -> Self {
        Self::default()
    }

    /// All processors of this binary. Those of a library crate are among them only when the binary
    /// names the crate: `use that_crate as _;`.
    pub fn collect() -> Self {
        let mut registry = Self::new();
        for entry in inventory::iter::<Entry> {
            registry.definitions.push(entry.0);
        }
        registry
    }

    /// Adds a processor; once is enough, twice is the same.
    #[must_use]
    pub fn with<P: Processor>(mut self) -> Self {
        self.definitions.push(P::DEFINITION);
        self
    }

    /// The processors, each once, sorted by group, name, file and line; not checked.
    pub fn definitions(&self) -> Vec<&'static Definition> {
        let mut definitions = self.definitions.clone();
        let mut seen = HashSet::new();
        definitions.retain(|definition| seen.insert((definition.type_id)()));
        definitions.sort_by_key(|definition| {
            let graph = &definition.graph;
            (
                graph.group,
                graph.name,
                graph.location.file,
                graph.location.line,
            )
        });
        definitions
    }

    /// The processors, sorted, when they can live in one program.
    ///
    /// # Errors
    /// Everything that is wrong with them, at once.
    pub fn check(&self) -> Result<Vec<&'static Definition>, RegistryError> {
        let definitions = self.definitions();
        let mut findings = Vec::new();
        if definitions.is_empty() {
            findings.push(Finding::Empty);
        }
        check_groups(&definitions, &mut findings);
        check_topics(&definitions, &mut findings);
        if findings.is_empty() {
            Ok(definitions)
        } else {
            Err(RegistryError { findings })
        }
    }
}

fn check_groups(definitions: &[&'static Definition], findings: &mut Vec<Finding>) {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for definition in definitions {
        let graph = &definition.graph;
        let processors = groups.entry(graph.group).or_default();
        processors.push(Declared {
            what: graph.name.to_owned(),
            location: graph.location,
        });
    }
    for (group, processors) in groups {
        if processors.len() > 1 {
            findings.push(Finding::GroupTwice {
                group: group.to_owned(),
                processors,
            });
        }
    }
}

/// A property on which all edges of a topic have to agree.
type Property = (&'static str, fn(&TopicSpec) -> Option<String>);

const PROPERTIES: [Property; 4] = [
    ("key codecs", |topic| Some(topic.key.codec.to_owned())),
    ("value codecs", |topic| Some(topic.value.codec.to_owned())),
    ("partitioners", |topic| Some(topic.partitioner.to_owned())),
    ("partition counts", |topic| {
        topic.partitions.map(|count| count.to_string())
    }),
];

fn check_topics(definitions: &[&'static Definition], findings: &mut Vec<Finding>) {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for definition in definitions {
        // The values of a visit topic are those of the visit that a record's key names.
        let visit = |edge: &&Edge| matches!(edge.kind, EdgeKind::Visit { .. });
        for edge in definition.graph.edges.iter().filter(|edge| !visit(edge)) {
            topics.entry(edge.topic.name).or_default().push(edge);
        }
    }
    for (topic, edges) in topics {
        for (property, of) in PROPERTIES {
            // The first edge of each answer speaks for the others.
            let mut answers = Vec::<Declared>::new();
            for edge in &edges {
                if let Some(what) = of(&edge.topic)
                    && answers.iter().all(|answer| answer.what != what)
                {
                    answers.push(Declared {
                        what,
                        location: edge.location,
                    });
                }
            }
            if answers.len() > 1 {
                findings.push(Finding::TopicDiffers {
                    topic: topic.to_owned(),
                    property,
                    answers,
                });
            }
        }
        check_writers(topic, definitions, findings);
    }
}

/// A group table is written by its group alone.
fn check_writers(topic: &str, definitions: &[&'static Definition], findings: &mut Vec<Finding>) {
    let mut tables = Vec::new();
    let mut outputs = Vec::new();
    for definition in definitions {
        for edge in definition.graph.edges {
            let writers = match edge.kind {
                EdgeKind::Table => &mut tables,
                EdgeKind::Output => &mut outputs,
                _ => continue,
            };
            if edge.topic.name == topic {
                writers.push(Declared {
                    what: definition.graph.name.to_owned(),
                    location: edge.location,
                });
            }
        }
    }
    if !tables.is_empty() && !outputs.is_empty() {
        tables.append(&mut outputs);
        findings.push(Finding::TableWritten {
            topic: topic.to_owned(),
            writers: tables,
        });
    }
}

/// Something declared somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What: a processor's name, a codec's name, a number.
    pub what: String,
    /// Where.
    pub location: Location,
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.location)
    }
}

/// One thing that is wrong with the processors of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// There is no processor.
    Empty,
    /// Several processors have the same group.
    GroupTwice {
        /// The group.
        group: String,
        /// The processors.
        processors: Vec<Declared>,
    },
    /// A topic is declared in several ways.
    TopicDiffers {
        /// The topic.
        topic: String,
        /// In what, in the plural: `key codecs`, `value codecs`, `partitioners`, `partition counts`.
        property: &'static str,
        /// The different answers, each where it was first given.
        answers: Vec<Declared>,
    },
    /// A group table is the output of a processor.
    TableWritten {
        /// The group table.
        topic: String,
        /// Its processor, then the others.
        writers: Vec<Declared>,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self {
            Self::Empty => {
                return f.write_str(
                    "no processor in this binary; if it lives in another crate, add `use that_crate as _;`",
                );
            }
            Self::GroupTwice { group, processors } => {
                write!(f, "group `{group}` has {} processors:", processors.len())?;
                processors
            }
            Self::TopicDiffers {
                topic,
                property,
                answers,
            } => {
                write!(f, "topic `{topic}` has {} {property}:", answers.len())?;
                answers
            }
            Self::TableWritten { topic, writers } => {
                write!(f, "group table `{topic}` has {} writers:", writers.len())?;
                writers
            }
        };
        list.iter().try_for_each(|item| write!(f, "\n  {item}"))
    }
}

/// Why the processors of a program cannot run together: everything at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    /// What is wrong, never empty.
    pub findings: Vec<Finding>,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut findings = self.findings.iter();
        if let Some(first) = findings.next() {
            write!(f, "{first}")?;
        }
        findings.try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl std::error::Error for RegistryError {}
