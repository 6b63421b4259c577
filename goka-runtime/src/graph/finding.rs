//! The mistakes that groups of one program can have, as messages: what, where, what to do.

use std::fmt;

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
    /// A group has no input.
    NoInput {
        /// The group.
        group: String,
        /// Its processor.
        processor: Declared,
    },
    /// A group has a topic as an input twice.
    InputTwice {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The inputs.
        inputs: Vec<Declared>,
    },
    /// A group has more inputs than the metadata of its committed offsets can name.
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
    OwnTable {
        /// The group.
        group: String,
        /// The table.
        topic: String,
        /// The edge.
        edge: Declared,
    },
    /// A stream has the name of a group's own table, loop topic or visit topic.
    Reserved {
        /// The topic.
        topic: String,
        /// The group that owns the name.
        owner: Declared,
        /// The edges that use it.
        edges: Vec<Declared>,
    },
    /// A topic is declared in several ways.
    TopicDiffers {
        /// The topic.
        topic: String,
        /// The property that differs, in the plural: `key codecs`, `value codecs`, `partitioners`, `partition counts`.
        property: &'static str,
        /// The different values of the property, each where it is first declared.
        answers: Vec<Declared>,
    },
    /// Topics that a group reads by the same key are declared in several ways.
    NotCopartitioned {
        /// The group.
        group: String,
        /// The property that differs, in the plural: `key codecs`, `partitioners`, `partition counts`.
        property: &'static str,
        /// The different values of the property, each with the topic and where it is first declared.
        answers: Vec<Declared>,
    },
    /// A table has several writers.
    TableWritten {
        /// The table.
        topic: String,
        /// The processor that owns the table, then the others.
        writers: Vec<Declared>,
    },
    /// No processor has, and no `#[table(..)]` declares, a table that is joined or looked up.
    NoSuchTable {
        /// The table.
        topic: String,
        /// The group whose table would have that name, if the program has such a group without a table.
        stateless: Option<Declared>,
        /// The edges that read it.
        readers: Vec<Declared>,
    },
    /// Groups read each other's tables in a circle: at the start each would wait for the next.
    Cycle {
        /// For each group of the circle its edge: each reads the table of the next, the last that of the first.
        edges: Vec<Declared>,
    },
}

impl Finding {
    /// What is wrong, the declarations that take part, and what to do.
    fn parts(&self) -> (String, &[Declared], String) {
        use std::slice::from_ref;
        match self {
            Self::Empty => (
                "no processor in this binary; if it lives in another crate, add `use that_crate as _;`"
                    .to_owned(),
                &[],
                String::new(),
            ),
            Self::GroupTwice { group, processors } => (
                format!("group `{group}` has {} processors", processors.len()),
                processors,
                "give each a group of its own".to_owned(),
            ),
            Self::NoInput { group, processor } => (
                format!("group `{group}` has no input"),
                from_ref(processor),
                "add `#[input(..)]`".to_owned(),
            ),
            Self::InputTwice {
                group,
                topic,
                inputs,
            } => (
                format!("topic `{topic}` is an input of group `{group}` {} times", inputs.len()),
                inputs,
                "leave one".to_owned(),
            ),
            Self::TooManyInputs {
                group,
                inputs,
                limit,
                processor,
            } => (
                format!(
                    "group `{group}` has {inputs} inputs, loop and visit topics counted, and at most \
                     {limit} fit"
                ),
                from_ref(processor),
                "divide it into several groups".to_owned(),
            ),
            Self::OwnTable { group, topic, edge } => (
                format!("group `{group}` reads its own table `{topic}` as another's"),
                from_ref(edge),
                "read it with `ctx.value()`".to_owned(),
            ),
            Self::Reserved {
                topic,
                owner,
                edges,
            } => (
                format!(
                    "the name `{topic}` belongs to group `{}` ({})",
                    owner.what, owner.location
                ),
                edges,
                "give the stream another name; for the group's table, name its processor or its \
                 `#[table(..)]`"
                    .to_owned(),
            ),
            Self::TopicDiffers {
                topic,
                property,
                answers,
            } => (
                format!("topic `{topic}` has {} {property}", answers.len()),
                answers,
                "declare it once, and share the declaration".to_owned(),
            ),
            Self::NotCopartitioned {
                group,
                property,
                answers,
            } => (
                format!(
                    "inputs, joins and table of group `{group}` have {} {property}",
                    answers.len()
                ),
                answers,
                "a key must lie in the same partition of all of them; `#[lookup(..)]` is exempt"
                    .to_owned(),
            ),
            Self::TableWritten { topic, writers } => (
                format!("table `{topic}` has {} writers", writers.len()),
                writers,
                "leave one, and send the others' changes to it by a stream".to_owned(),
            ),
            Self::NoSuchTable {
                topic,
                stateless,
                readers,
            } => (
                match stateless {
                    Some(group) => format!(
                        "no processor or `#[table(..)]` declares the table `{topic}`: group `{}` ({}) has no table",
                        group.what, group.location
                    ),
                    None => format!("no processor or `#[table(..)]` declares the table `{topic}`"),
                },
                readers,
                match stateless {
                    Some(_) => "add `persist = ..` to its processor".to_owned(),
                    None => format!(
                        "register its processor, or declare another program's table with \
                         `#[table(\"{topic}\", ..)]`"
                    ),
                },
            ),
            Self::Cycle { edges } => (
                format!("{} tables are read in a circle", edges.len()),
                edges,
                "each would wait for the next at start; send one of the values by a stream".to_owned(),
            ),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, takes_part, help) = self.parts();
        f.write_str(&what)?;
        for (at, item) in takes_part.iter().enumerate() {
            write!(f, "{}\n  {item}", if at == 0 { ":" } else { "," })?;
        }
        if help.is_empty() {
            Ok(())
        } else {
            write!(f, ";\n  help: {help}")
        }
    }
}
