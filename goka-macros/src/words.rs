//! All words of the attributes: their names, and whether they work yet.

/// Whether a word works.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standing {
    /// It works.
    Known,
    /// It is planned and does nothing yet: refused, never ignored.
    Later,
    /// It is a word of Goka's, or belongs to another attribute: the message says what to write instead.
    Instead(&'static str),
}

use Standing::{Instead, Known, Later};

/// The ends of the names of a group's own topics, after the group.
pub(crate) const STATE: &str = "-state";
pub(crate) const LOOP: &str = "-loop";
pub(crate) const VISIT_TOPIC: &str = "-visit";

/// The options of an attribute.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    /// The attribute.
    pub(crate) attribute: &'static str,
    words: &'static [(&'static str, Standing)],
}

impl Vocabulary {
    /// Looks a word up.
    pub(crate) fn standing(&self, word: &str) -> Option<Standing> {
        let mut words = self.words.iter();
        words
            .find(|(known, _)| *known == word)
            .map(|(_, standing)| *standing)
    }

    /// The message about an unknown word.
    pub(crate) fn help(&self, word: &str) -> String {
        let known = self
            .words
            .iter()
            .filter(|(_, standing)| matches!(standing, Known))
            .map(|(known, _)| *known);
        if let Some(near) = known.clone().find(|known| is_near(known, word)) {
            return format!("did you mean `{near}`?");
        }
        let list: Vec<_> = known.map(|known| format!("`{known}`")).collect();
        if list.is_empty() {
            return format!("`#[{}]` has no options", self.attribute);
        }
        format!("known options: {}", list.join(", "))
    }
}

pub(crate) const PROCESSOR: Vocabulary = Vocabulary {
    attribute: "processor",
    words: &[
        ("group", Known),
        ("persist", Known),
        ("name", Known),
        ("key", Known),
        ("partitioner", Known),
        ("suffix", Known),
        ("guarantee", Known),
        ("on_misplaced", Known),
        ("on_error", Later),
        ("concurrency", Later),
        ("ttl", Later),
        ("window", Later),
        ("updates", Later),
        ("codec", Known),
        ("crate", Known),
        ("inputs", Instead("write one `#[input(..)]` for each topic")),
        ("input", Instead("write `#[input(..)]` above the function")),
        (
            "outputs",
            Instead("write one `#[output(..)]` for each topic"),
        ),
        (
            "output",
            Instead("write `#[output(..)]` above the function"),
        ),
        (
            "edges",
            Instead("write one attribute for each edge: `#[input(..)]`, `#[output(..)]`"),
        ),
        (
            "start",
            Instead("it is an option of the input: `#[input(.., start = earliest)]`"),
        ),
        ("value", Instead("write `persist = <type>`")),
        (
            "table",
            Instead("write `persist = <type>`; the group topic is `<group>-state`"),
        ),
        (
            "join",
            Instead("write `#[join(..)]` above the function or the `impl`"),
        ),
        (
            "lookup",
            Instead("write `#[lookup(..)]` above the function or the `impl`"),
        ),
        (
            "cross",
            Instead("write `#[lookup(..)]` above the function or the `impl`"),
        ),
        (
            "loopback",
            Instead("write `#[loopback]` above a method of the `impl`"),
        ),
    ],
};

const TOPIC: &[(&str, Standing)] = &[
    ("key", Known),
    ("value", Known),
    ("partitions", Known),
    ("partitioner", Known),
    ("codec", Known),
    ("keyless", Known),
    ("crate", Known),
    ("ttl", Later),
    ("window", Later),
    (
        "persist",
        Instead("a topic has `value = <type>`; `persist` belongs to `#[processor(..)]`"),
    ),
    (
        "name",
        Instead("the topic's name comes first, without a word: `(\"name\", ..)`"),
    ),
    (
        "topic",
        Instead("the topic's name comes first, without a word: `(\"name\", ..)`"),
    ),
];

pub(crate) const STREAM: Vocabulary = Vocabulary {
    attribute: "stream",
    words: TOPIC,
};

pub(crate) const TABLE: Vocabulary = Vocabulary {
    attribute: "table",
    words: TOPIC,
};

/// The options that have no value.
pub(crate) const FLAGS: &[&str] = &["keyless"];

pub(crate) const KEY: Vocabulary = Vocabulary {
    attribute: "key",
    words: &[("codec", Known), ("ordered", Known), ("crate", Known)],
};

pub(crate) const INPUT: Vocabulary = Vocabulary {
    attribute: "input",
    words: &[
        ("start", Known),
        ("on_error", Later),
        ("concurrency", Later),
        (
            "codec",
            Instead("it is an option of the stream: `#[stream(\"..\", value = .., codec = ..)]`"),
        ),
        (
            "key",
            Instead("it is an option of the stream: `#[stream(\"..\", key = .., value = ..)]`"),
        ),
        (
            "value",
            Instead("it is an option of the stream: `#[stream(\"..\", key = .., value = ..)]`"),
        ),
    ],
};

pub(crate) const OUTPUT: Vocabulary = Vocabulary {
    attribute: "output",
    words: &[
        (
            "codec",
            Instead("it is an option of the stream: `#[stream(\"..\", value = .., codec = ..)]`"),
        ),
        (
            "key",
            Instead("it is an option of the stream: `#[stream(\"..\", key = .., value = ..)]`"),
        ),
        (
            "value",
            Instead("it is an option of the stream: `#[stream(\"..\", key = .., value = ..)]`"),
        ),
    ],
};

pub(crate) const JOIN: Vocabulary = Vocabulary {
    attribute: "join",
    words: &[
        (
            "codec",
            Instead("it is an option of the table's declaration"),
        ),
        (
            "key",
            Instead("a join reads the record's own key; `#[lookup(..)]` reads any"),
        ),
    ],
};

pub(crate) const LOOKUP: Vocabulary = Vocabulary {
    attribute: "lookup",
    words: &[(
        "codec",
        Instead("it is an option of the table's declaration"),
    )],
};

pub(crate) const LOOPBACK: Vocabulary = Vocabulary {
    attribute: "loopback",
    words: &[
        ("on_error", Later),
        ("concurrency", Later),
        ("codec", Later),
        (
            "value",
            Instead("the handler's parameter says what travels: `value: Json<T>`"),
        ),
    ],
};

pub(crate) const VISIT: Vocabulary = Vocabulary {
    attribute: "visit",
    words: &[("name", Known), ("on_error", Later), ("codec", Later)],
};

pub(crate) const SIMULATE: Vocabulary = Vocabulary {
    attribute: "simulate",
    words: &[
        ("instances", Known),
        ("seeds", Known),
        ("faults", Known),
        ("crate", Known),
        (
            "partitions",
            Instead("it is of the workload: `Workload::of::<..>().partitions(..)`"),
        ),
        (
            "guarantee",
            Instead("it is of the workload: `Workload::of::<..>().guarantee(..)`"),
        ),
    ],
};

/// The options that have a list.
pub(crate) const LISTS: &[&str] = &["faults"];

/// The faults of a simulation, with their names in the runtime.
pub(crate) const FAULTS: &[(&str, &str)] = &[
    ("crash", "Crash"),
    ("rebalance", "Rebalance"),
    ("duplicate", "Duplicate"),
    ("zombie", "Zombie"),
    ("torn_write", "TornWrite"),
    ("outage", "Outage"),
    ("slow", "Slow"),
    ("compaction", "Compaction"),
    ("absence", "Absence"),
    ("clock_jump", "ClockJump"),
    ("lost_offsets", "LostOffsets"),
];

/// The kind of an attribute of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EdgeWord {
    Input,
    Output,
    Join,
    Lookup,
    Loopback,
    Visit,
}

impl EdgeWord {
    pub(crate) fn vocabulary(self) -> &'static Vocabulary {
        match self {
            Self::Input => &INPUT,
            Self::Output => &OUTPUT,
            Self::Join => &JOIN,
            Self::Lookup => &LOOKUP,
            Self::Loopback => &LOOPBACK,
            Self::Visit => &VISIT,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.vocabulary().attribute
    }

    /// Whether it calls a handler.
    pub(crate) fn has_handler(self) -> bool {
        matches!(self, Self::Input | Self::Loopback | Self::Visit)
    }

    /// Whether its topic is one of the group's own, so that the attribute names none.
    pub(crate) fn is_own(self) -> bool {
        matches!(self, Self::Loopback | Self::Visit)
    }

    /// With its article: `an input`.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Self::Input => "an input",
            Self::Output => "an output",
            Self::Join => "a join",
            Self::Lookup => "a lookup",
            Self::Loopback => "a loopback",
            Self::Visit => "a visit",
        }
    }
}

/// The meaning of an attribute of a processor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside {
    Edge(EdgeWord),
    Later,
    Instead(&'static str),
}

/// Looks up an attribute of a processor; `None` for an attribute of another crate.
pub(crate) fn beside(attribute: &str) -> Option<Beside> {
    Some(match attribute {
        "input" => Beside::Edge(EdgeWord::Input),
        "output" => Beside::Edge(EdgeWord::Output),
        "join" => Beside::Edge(EdgeWord::Join),
        "lookup" => Beside::Edge(EdgeWord::Lookup),
        "loopback" => Beside::Edge(EdgeWord::Loopback),
        "visit" => Beside::Edge(EdgeWord::Visit),
        "timer" => Beside::Later,
        "persist" => Beside::Instead("write `#[processor(group = \"..\", persist = <type>)]`"),
        "cross" => Beside::Instead("write `#[lookup(..)]` to read any key of a table"),
        "loops" => Beside::Instead("write `#[loopback]` above a method of the `impl`"),
        "visitor" => Beside::Instead("write `#[visit]` above a method of the `impl`"),
        "inputs" => Beside::Instead("write one `#[input(..)]` for each topic"),
        "outputs" => Beside::Instead("write one `#[output(..)]` for each topic"),
        "joins" => Beside::Instead("write one `#[join(..)]` for each table"),
        "lookups" => Beside::Instead("write one `#[lookup(..)]` for each table"),
        _ => return None,
    })
}

/// Whether two words differ by a typing mistake: at most two letters (Levenshtein).
fn is_near(known: &str, word: &str) -> bool {
    let (known, word): (Vec<_>, Vec<_>) = (known.chars().collect(), word.chars().collect());
    if known.len().min(word.len()) < 3 {
        return false;
    }
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (i, a) in known.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in word.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1)
                .min(row[j] + 1)
                .min(diagonal + usize::from(a != b));
            diagonal = above;
        }
    }
    row[word.len()] <= 2
}

#[cfg(test)]
mod tests {
    use super::{PROCESSOR, STREAM, beside, is_near};

    #[test]
    fn slips_are_near_and_others_are_not() {
        for (known, word, near) in [
            ("persist", "persists", true),
            ("persist", "presist", true),
            ("group", "grp", true),
            ("key", "kye", true),
            ("name", "window", false),
            ("group", "topic", false),
        ] {
            assert_eq!(is_near(known, word), near, "{known} {word}");
        }
    }

    #[test]
    fn help_names_what_is_known() {
        assert_eq!(PROCESSOR.help("presist"), "did you mean `persist`?");
        assert_eq!(
            STREAM.help("retention"),
            "known options: `key`, `value`, `partitions`, `partitioner`, `codec`, `keyless`, \
             `crate`"
        );
        assert!(beside("derive").is_none());
    }
}
