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
    known: &'static [&'static str],
    later: &'static [&'static str],
    instead: fn(&str) -> Option<&'static str>,
}

impl Vocabulary {
    /// Looks a word up.
    pub(crate) fn standing(&self, word: &str) -> Option<Standing> {
        if self.known.contains(&word) {
            return Some(Known);
        }
        let later = self.later.contains(&word).then_some(Later);
        later.or_else(|| (self.instead)(word).map(Instead))
    }

    /// The message about an unknown word.
    pub(crate) fn help(&self, word: &str) -> String {
        if let Some(near) = self.known.iter().find(|known| is_near(known, word)) {
            return format!("did you mean `{near}`?");
        }
        if self.known.is_empty() {
            return format!("`#[{}]` has no options", self.attribute);
        }
        format!("known options: `{}`", self.known.join("`, `"))
    }
}

pub(crate) const PROCESSOR: Vocabulary = Vocabulary {
    attribute: "processor",
    known: &[
        "group",
        "persist",
        "name",
        "key",
        "partitioner",
        "suffix",
        "guarantee",
        "on_misplaced",
        "codec",
        "crate",
    ],
    later: &["on_error", "concurrency", "ttl", "window", "updates"],
    instead: |word| {
        Some(match word {
            "inputs" => "write one `#[input(..)]` for each topic",
            "input" => "write `#[input(..)]` above the function",
            "outputs" => "write one `#[output(..)]` for each topic",
            "output" => "write `#[output(..)]` above the function",
            "edges" => "write one attribute for each edge: `#[input(..)]`, `#[output(..)]`",
            "start" => "it is an option of the input: `#[input(.., start = earliest)]`",
            "value" => "write `persist = <type>`",
            "table" => "write `persist = <type>`; the group topic is `<group>-state`",
            "join" => "write `#[join(..)]` above the function or the `impl`",
            "lookup" | "cross" => "write `#[lookup(..)]` above the function or the `impl`",
            "loopback" => "write `#[loopback]` above a method of the `impl`",
            _ => return None,
        })
    },
};

pub(crate) const STREAM: Vocabulary = Vocabulary {
    attribute: "stream",
    known: &[
        "key",
        "value",
        "partitions",
        "partitioner",
        "codec",
        "keyless",
        "crate",
    ],
    later: &["ttl", "window"],
    instead: |word| match word {
        "persist" => Some("a topic has `value = <type>`; `persist` belongs to `#[processor(..)]`"),
        "name" | "topic" => Some("the topic's name comes first, without a word: `(\"name\", ..)`"),
        _ => None,
    },
};

pub(crate) const TABLE: Vocabulary = Vocabulary {
    attribute: "table",
    ..STREAM
};

/// The options that have no value.
pub(crate) const FLAGS: &[&str] = &["keyless"];

pub(crate) const KEY: Vocabulary = Vocabulary {
    attribute: "key",
    known: &["codec", "ordered", "crate"],
    later: &[],
    instead: |_| None,
};

pub(crate) const INPUT: Vocabulary = Vocabulary {
    attribute: "input",
    known: &["start"],
    later: &["on_error", "concurrency"],
    instead: |word| match word {
        "codec" => {
            Some("it is an option of the stream: `#[stream(\"..\", value = .., codec = ..)]`")
        }
        "key" | "value" => {
            Some("it is an option of the stream: `#[stream(\"..\", key = .., value = ..)]`")
        }
        _ => None,
    },
};

pub(crate) const OUTPUT: Vocabulary = Vocabulary {
    attribute: "output",
    known: &[],
    later: &[],
    ..INPUT
};

pub(crate) const JOIN: Vocabulary = Vocabulary {
    attribute: "join",
    instead: |word| match word {
        "key" => Some("a join reads the record's own key; `#[lookup(..)]` reads any"),
        _ => (LOOKUP.instead)(word),
    },
    ..LOOKUP
};

pub(crate) const LOOKUP: Vocabulary = Vocabulary {
    attribute: "lookup",
    known: &[],
    later: &[],
    instead: |word| (word == "codec").then_some("it is an option of the table's declaration"),
};

pub(crate) const LOOPBACK: Vocabulary = Vocabulary {
    attribute: "loopback",
    known: &[],
    later: &["on_error", "concurrency", "codec"],
    instead: |word| {
        let help = "the handler's parameter says what travels: `value: Json<T>`";
        (word == "value").then_some(help)
    },
};

pub(crate) const VISIT: Vocabulary = Vocabulary {
    attribute: "visit",
    known: &["name"],
    later: &["on_error", "codec"],
    instead: |_| None,
};

pub(crate) const SIMULATE: Vocabulary = Vocabulary {
    attribute: "simulate",
    known: &["instances", "seeds", "faults", "crate"],
    later: &[],
    instead: |word| match word {
        "partitions" => Some("it is of the workload: `Workload::of::<..>().partitions(..)`"),
        "guarantee" => Some("it is of the workload: `Workload::of::<..>().guarantee(..)`"),
        _ => None,
    },
};

/// The options that have a list.
pub(crate) const LISTS: &[&str] = &["faults"];

/// The faults of a simulation; their names in the runtime are the same in upper camel case.
pub(crate) const FAULTS: &[&str] = &[
    "crash",
    "rebalance",
    "duplicate",
    "zombie",
    "torn_write",
    "outage",
    "slow",
    "compaction",
    "absence",
    "clock_jump",
    "lost_offsets",
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
pub(crate) enum ProcessorAttribute {
    Edge(EdgeWord),
    Later,
    Instead(&'static str),
}

/// Looks up an attribute of a processor; `None` for an attribute of another crate.
pub(crate) fn processor_attribute(attribute: &str) -> Option<ProcessorAttribute> {
    Some(match attribute {
        "input" => ProcessorAttribute::Edge(EdgeWord::Input),
        "output" => ProcessorAttribute::Edge(EdgeWord::Output),
        "join" => ProcessorAttribute::Edge(EdgeWord::Join),
        "lookup" => ProcessorAttribute::Edge(EdgeWord::Lookup),
        "loopback" => ProcessorAttribute::Edge(EdgeWord::Loopback),
        "visit" => ProcessorAttribute::Edge(EdgeWord::Visit),
        "timer" => ProcessorAttribute::Later,
        "persist" => {
            ProcessorAttribute::Instead("write `#[processor(group = \"..\", persist = <type>)]`")
        }
        "cross" => ProcessorAttribute::Instead("write `#[lookup(..)]` to read any key of a table"),
        "loops" => ProcessorAttribute::Instead("write `#[loopback]` above a method of the `impl`"),
        "visitor" => ProcessorAttribute::Instead("write `#[visit]` above a method of the `impl`"),
        "inputs" => ProcessorAttribute::Instead("write one `#[input(..)]` for each topic"),
        "outputs" => ProcessorAttribute::Instead("write one `#[output(..)]` for each topic"),
        "joins" => ProcessorAttribute::Instead("write one `#[join(..)]` for each table"),
        "lookups" => ProcessorAttribute::Instead("write one `#[lookup(..)]` for each table"),
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
    use super::{PROCESSOR, STREAM, is_near, processor_attribute};

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
        assert!(processor_attribute("derive").is_none());
    }
}
