//! The mistakes that groups of one program can have, as messages: what, where, what to do.

use std::fmt;
use std::slice::from_ref;

use super::Location;

/// A declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What is declared: the name of a processor or a codec, or a number.
    pub what: String,
    /// Its place.
    pub location: Location,
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.what, self.location)
    }
}

/// A mistake in the processors of a program.
///
/// As text it says what is wrong, where each declaration that takes part is (`file:line`), and what to do.
///
/// ```
/// # use goka_runtime as goka;
/// use goka::graph::Finding;
///
/// let text = Finding::Empty.to_string();
/// assert!(text.starts_with("no processor in this binary"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// There is no processor.
    #[error(
        "no processor in this binary; if it lives in another crate, add `use that_crate as _;`"
    )]
    Empty,
    /// Several processors have the same group.
    #[error(
        "group `{group}` has {} processors{}",
        processors.len(),
        at(processors, "give each a group of its own")
    )]
    GroupTwice {
        /// The group.
        group: String,
        /// The processors.
        processors: Vec<Declared>,
    },
    /// A group has no input.
    #[error(
        "group `{group}` has no input{}",
        at(from_ref(processor), "add `#[input(..)]`")
    )]
    NoInput {
        /// The group.
        group: String,
        /// Its processor.
        processor: Declared,
    },
    /// A group has a topic as an input twice.
    #[error("topic `{topic}` is an input of group `{group}` {} times{}", inputs.len(), at(inputs, "leave one"))]
    InputTwice {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The inputs.
        inputs: Vec<Declared>,
    },
    /// A group has more inputs than the metadata of its committed offsets can name.
    #[error(
        "group `{group}` has {inputs} inputs, loop and visit topics counted, and at most {limit} fit{}",
        at(from_ref(processor), "divide it into several groups")
    )]
    TooManyInputs {
        /// The group.
        group: String,
        /// How many it has; its loop topic and its visit topic count.
        inputs: usize,
        /// The largest possible number.
        limit: usize,
        /// Its processor.
        processor: Declared,
    },
    /// A group reads its own table by an input, a join or a lookup.
    #[error(
        "group `{group}` reads its own table `{topic}` as another's{}",
        at(from_ref(edge), "read it with `ctx.value()`")
    )]
    OwnTable {
        /// The group.
        group: String,
        /// The table.
        topic: String,
        /// The edge.
        edge: Declared,
    },
    /// A stream has the name of a group's own table, loop topic or visit topic.
    #[error(
        "the name `{topic}` belongs to group `{}` ({}){}",
        owner.what,
        owner.location,
        at(
            edges,
            "give the stream another name; for the group's table, name its processor or its `#[table(..)]`"
        )
    )]
    Reserved {
        /// The topic.
        topic: String,
        /// The group that owns the name.
        owner: Declared,
        /// The edges that use it.
        edges: Vec<Declared>,
    },
    /// A topic is declared in several ways.
    #[error(
        "topic `{topic}` has {} {property}{}",
        answers.len(),
        at(answers, "declare it once, and share the declaration")
    )]
    TopicDiffers {
        /// The topic.
        topic: String,
        /// The property that differs, in the plural: `key codecs`, `value codecs`, `partitioners`, `partition counts`.
        property: &'static str,
        /// The different values of the property, each where it is first declared.
        answers: Vec<Declared>,
    },
    /// Topics that a group reads by the same key are declared in several ways.
    #[error(
        "inputs, joins and table of group `{group}` have {} {property}{}",
        answers.len(),
        at(
            answers,
            "a key must lie in the same partition of all of them; `#[lookup(..)]` is exempt"
        )
    )]
    NotCopartitioned {
        /// The group.
        group: String,
        /// The property that differs, in the plural: `key codecs`, `partitioners`, `partition counts`.
        property: &'static str,
        /// The different values of the property, each with the topic and where it is first declared.
        answers: Vec<Declared>,
    },
    /// A table has several writers.
    #[error(
        "table `{topic}` has {} writers{}",
        writers.len(),
        at(writers, "leave one, and send the others' changes to it by a stream")
    )]
    TableWritten {
        /// The table.
        topic: String,
        /// The processor that owns the table, then the others.
        writers: Vec<Declared>,
    },
    /// No processor has, and no `#[table(..)]` declares, a table that is joined or looked up.
    #[error(
        "no processor or `#[table(..)]` declares the table `{topic}`{}{}",
        is_stateless(stateless.as_ref()),
        at(readers, declare(topic, stateless.as_ref()))
    )]
    NoSuchTable {
        /// The table.
        topic: String,
        /// The group whose table would have that name, if the program has such a group without a table.
        stateless: Option<Declared>,
        /// The edges that read it.
        readers: Vec<Declared>,
    },
    /// Groups read each other's tables in a circle: at the start each would wait for the next.
    #[error(
        "{} tables are read in a circle{}",
        edges.len(),
        at(edges, "each would wait for the next at start; send one of the values by a stream")
    )]
    Cycle {
        /// For each group of the circle its edge: each reads the table of the next, the last that of the first.
        edges: Vec<Declared>,
    },
}

/// The declarations that take part, and what to do.
fn at(takes_part: &[Declared], help: impl fmt::Display) -> String {
    let items: Vec<_> = takes_part.iter().map(Declared::to_string).collect();
    format!(":\n  {};\n  help: {help}", items.join(",\n  "))
}

fn is_stateless(group: Option<&Declared>) -> String {
    group.map_or_else(String::new, |group| {
        format!(": group `{}` ({}) has no table", group.what, group.location)
    })
}

fn declare(topic: &str, stateless: Option<&Declared>) -> String {
    match stateless {
        Some(_) => "add `persist = ..` to its processor".to_owned(),
        None => format!(
            "register its processor, or declare another program's table with `#[table(\"{topic}\", ..)]`"
        ),
    }
}
