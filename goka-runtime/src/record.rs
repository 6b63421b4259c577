//! Records between the log engines and the rest: borrowed when read, collected in one arena when written.
//! Knows no topic types and no engine. Used by the core, every log engine, emitters and views.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// The position of a record in its partition.
pub type Offset = i64;

/// Milliseconds since the Unix epoch; -1 means no timestamp, as in Kafka.
pub type Timestamp = i64;

/// A partition of a topic.
///
/// ```
/// # use goka_runtime as goka;
/// let tp = goka::record::TopicPartition::new("user-clicks", 3);
/// assert_eq!(tp.to_string(), "user-clicks[3]");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The headers of a record in the form that an engine has; read only when they are used.
pub trait HeaderSource {
    /// How many headers there are.
    fn count(&self) -> usize;
    /// The header at `index`, in the order in which they were written; `None` past the end.
    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)>;
}

/// A record's headers, in the order in which they were written.
///
/// ```
/// # use goka_runtime as goka;
/// use goka::record::Headers;
/// assert_eq!(Headers::default().iter().count(), 0);
/// ```
#[derive(Clone, Copy, Default)]
pub struct Headers<'a>(Option<&'a dyn HeaderSource>);

impl<'a> Headers<'a> {
    /// Wraps the headers of an engine.
    pub fn new(source: &'a dyn HeaderSource) -> Self {
        Self(Some(source))
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let source = self.0;
        (0..source.map_or(0, HeaderSource::count)).filter_map(move |at| source?.at(at))
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// A record that was read from a log; borrowed from the buffer of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, or -1.
    pub timestamp: Timestamp,
    /// Its key; `None` is Kafka's null key, which is not the empty key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone, which is not the empty value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The number of a topic in its group's list of topics ([`crate::log::Group::topics`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u16);

/// A task, as in Kafka Streams: one partition number of all topics that are co-partitioned with `lead` (the
/// group table; in a stateless group one input). A group assigns whole tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The subscribed topic by whose assignment the task is assigned.
    pub lead: TopicId,
    /// The partition's number.
    pub partition: i32,
}

/// The guarantee of a processor about the effects of a record that is read again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Guarantee {
    /// No record is lost. After a crash the records since the last barrier are handled again, and what they
    /// wrote the first time stays beside what they write the second time.
    #[default]
    AtLeastOnce,
    /// The table updates, outputs and offsets of a barrier become visible together or not at all.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::AtLeastOnce => "at-least-once",
            Guarantee::ExactlyOnce => "exactly-once",
        })
    }
}

impl FromStr for Guarantee {
    type Err = String;

    /// Reads the text that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "at-least-once" => Ok(Guarantee::AtLeastOnce),
            "exactly-once" => Ok(Guarantee::ExactlyOnce),
            _ => Err(format!(
                "unknown guarantee `{text}`: `at-least-once` or `exactly-once`"
            )),
        }
    }
}

/// Why a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendKind {
    /// An update of the group table.
    Changelog,
    /// An output of a handler, or of an emitter.
    Output,
}

/// A record to be written, borrowed from [`Appends`].
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The task that handled the record that caused it.
    pub task: TaskId,
    /// Why it is written.
    pub kind: AppendKind,
    /// The topic that it goes to.
    pub topic: TopicId,
    /// The partition that it goes to.
    pub partition: i32,
    /// The key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The timestamp; with -1 the log sets one.
    pub timestamp: Timestamp,
    /// The headers, in order.
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// An [`Append`] whose key and value are ranges of the arena.
#[derive(Debug)]
struct AppendRanges {
    task: TaskId,
    kind: AppendKind,
    topic: TopicId,
    partition: i32,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    timestamp: Timestamp,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A length of [`Appends`], to drop all that a failed record added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    entries: usize,
}

impl Mark {
    /// How many records there were.
    pub(crate) fn place(self) -> usize {
        self.entries
    }
}

/// Records to be written, in order, in one arena: no allocation per record.
///
/// ```
/// # use goka_runtime as goka;
/// use goka::record::*;
/// let task = TaskId { lead: TopicId(0), partition: 0 };
/// let mut appends = Appends::default();
/// appends.push(Append { task, kind: AppendKind::Output, topic: TopicId(1), partition: 0,
///     key: Some(b"alice"), value: Some(b"1"), timestamp: 5, headers: &[] });
/// assert_eq!(appends.iter().next().map(|a| a.key), Some(Some(&b"alice"[..])));
/// ```
#[derive(Debug, Default)]
pub struct Appends {
    bytes: Vec<u8>,
    entries: Vec<AppendRanges>,
}

impl Appends {
    /// Adds a record by copying it.
    pub fn push(&mut self, append: Append<'_>) {
        let key = append.key.map(|key| self.bytes(key));
        let value = append.value.map(|value| self.bytes(value));
        self.entries.push(AppendRanges {
            task: append.task,
            kind: append.kind,
            topic: append.topic,
            partition: append.partition,
            key,
            value,
            timestamp: append.timestamp,
            headers: append.headers.to_vec(),
        });
    }

    fn bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        from..self.bytes.len()
    }

    /// The record at `index`, in the order in which they were pushed.
    pub fn at(&self, index: usize) -> Option<Append<'_>> {
        self.entries.get(index).map(|entry| self.view(entry))
    }

    /// All records, in order.
    pub fn iter(&self) -> impl Iterator<Item = Append<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    fn view<'a>(&'a self, entry: &'a AppendRanges) -> Append<'a> {
        Append {
            task: entry.task,
            kind: entry.kind,
            topic: entry.topic,
            partition: entry.partition,
            key: entry.key.clone().map(|range| &self.bytes[range]),
            value: entry.value.clone().map(|range| &self.bytes[range]),
            timestamp: entry.timestamp,
            headers: &entry.headers,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes of keys and values there are.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Its present length.
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            entries: self.entries.len(),
        }
    }

    /// Drops all records that were pushed since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.entries.truncate(mark.entries);
    }

    /// Drops all records, and keeps the memory for new ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}
