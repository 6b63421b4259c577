//! The records that processors emitted. A test reads each once, in the order in which they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use super::Tester;
use crate::codec::{AsValue, Codec, CodecError, CodecOf};
use crate::graph::{EdgeKind, Format, TopicSpec};
use crate::key::AsKey;
use crate::log::simulated::Simulated;
use crate::record::{Offset, Record, Timestamp};
use crate::topic::Topic;

/// A topic that processors of the tester emit to.
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let mut app = Tester::of::<ClickCount>();
/// let mut alerts = app.output(Alerts);
/// alerts.expect_none();
/// ```
pub struct Output<'t, T> {
    tester: &'t mut Tester,
    topic: PhantomData<fn() -> T>,
}

/// An emitted record.
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let mut app = Tester::of::<ClickCount>();
/// app.input(Clicks).send("alice", "x");
/// app.input(Clicks).send("alice", "x");
/// let alerts = app.output(Alerts).take();
/// assert_eq!(alerts[0].value, Some(2));
/// assert_eq!(alerts[0].offset, 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received<K, V> {
    /// Its key.
    pub key: K,
    /// Its value; `None` is a tombstone.
    pub value: Option<V>,
    /// Its timestamp, in milliseconds since the Unix epoch.
    pub timestamp: Timestamp,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: Offset,
}

/// A type that a test may give as an expected value of type `V`: `V`, a reference to it, `&str` for a
/// `String`, and `Option<V>`, where `None` is a tombstone.
#[diagnostic::on_unimplemented(
    message = "a value of type `{Self}` cannot be expected where `{V}` travels",
    label = "expected `{V}`, found `{Self}`"
)]
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let mut app = Tester::of::<ClickCount>();
/// app.input(Clicks).send("alice", "x");
/// app.input(Clicks).send("alice", "x");
/// app.output(Alerts).expect([("alice", Some(2))]);
/// ```
pub trait Expected<V> {
    /// Appends the encoded value to `out`; returns `false` for a tombstone.
    ///
    /// # Errors
    /// When the codec refuses it.
    #[doc(hidden)]
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError>;
}

impl<V> Expected<V> for V {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        codec.encode(self, out).map(|()| true)
    }
}

impl<V> Expected<V> for &V {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        codec.encode(self, out).map(|()| true)
    }
}

impl<V> Expected<V> for Option<V> {
    fn put(&self, codec: &CodecOf<V>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        match self {
            Some(value) => codec.encode(value, out).map(|()| true),
            None => Ok(false),
        }
    }
}

impl Expected<String> for &str {
    fn put(&self, codec: &CodecOf<String>, out: &mut Vec<u8>) -> Result<bool, CodecError> {
        AsValue::<String>::put(*self, codec, out).map(|()| true)
    }
}

/// A record that was read, not decoded yet.
type ReadRecord = Received<Option<Vec<u8>>, Vec<u8>>;

impl ReadRecord {
    fn of(partition: i32, record: &Record<'_>) -> Self {
        let headers = record.headers.iter();
        let owned =
            |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), value.map(<[u8]>::to_vec));
        Self {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.map(owned).collect(),
        }
    }

    fn text(&self, spec: &TopicSpec) -> String {
        pair(spec, self.key.as_deref(), self.value.as_deref())
    }
}

/// The next offset to read of each partition.
pub(super) type NextOffsets = BTreeMap<(&'static str, i32), Offset>;

/// Reads the committed records of a topic from `next` on, in the order in which they were written.
fn read(log: &Simulated, topic: &'static str, next: &mut NextOffsets) -> Vec<ReadRecord> {
    let mut found = Vec::new();
    for partition in 0..log.partitions_of(topic) {
        let from = next.entry((topic, partition)).or_default();
        *from = log.read_committed(topic, partition, *from, &mut |written, record| {
            found.push((written, ReadRecord::of(partition, &record)));
        });
    }
    found.sort_by_key(|(written, _)| *written);
    found.into_iter().map(|(_, raw)| raw).collect()
}

impl Tester {
    fn unread(&mut self, topic: &'static str) -> Vec<ReadRecord> {
        read(&self.log, topic, &mut self.read)
    }

    /// Panics when unread outputs are left that no processor reads.
    pub(super) fn check_unread(&mut self) {
        let mut specs: Vec<TopicSpec> = Vec::new();
        let mut inner = BTreeSet::new();
        for edge in self.graphs().flat_map(|graph| graph.edges) {
            match edge.kind {
                EdgeKind::Output if specs.iter().all(|spec| spec.name != edge.topic.name) => {
                    specs.push(edge.topic);
                }
                EdgeKind::Output => {}
                _ => {
                    inner.insert(edge.topic.name);
                }
            }
        }
        let mut left = Vec::new();
        for spec in specs.iter().filter(|spec| !inner.contains(spec.name)) {
            let records = self.unread(spec.name);
            if !records.is_empty() {
                left.push(format!("topic `{}`:{}", spec.name, lines(spec, &records)));
            }
        }
        assert!(
            left.is_empty(),
            "the test is strict and left outputs unread:\n{}",
            left.join("\n")
        );
    }
}

#[track_caller]
pub(crate) fn read_all<T: Topic>(log: &Simulated) -> Vec<Received<T::Key, T::Value>> {
    let found = read(log, T::NAME, &mut NextOffsets::new());
    found.into_iter().map(received::<T>).collect()
}

impl<'t, T: Topic> Output<'t, T> {
    #[track_caller]
    pub(super) fn new(tester: &'t mut Tester) -> Self {
        let name = T::NAME;
        let mut outputs = tester.graphs().flat_map(|graph| graph.outputs());
        if !outputs.any(|edge| edge.topic.name == name) {
            let names = tester.names();
            panic!("no processor of this tester emits to topic `{name}`; it has {names}");
        }
        drop(outputs);
        let topic = PhantomData;
        Self { tester, topic }
    }

    /// The records that were not read yet, in the order in which they were written.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// assert!(app.output(Alerts).take().is_empty());
    /// ```
    ///
    /// # Panics
    /// When one does not decode.
    #[track_caller]
    pub fn take(&mut self) -> Vec<Received<T::Key, T::Value>> {
        let records = self.tester.unread(T::NAME).into_iter();
        records.map(received::<T>).collect()
    }

    /// Reads the records that were not read yet, and checks that they have exactly these keys and values,
    /// in this order.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// for _ in 0..4 {
    ///     app.input(Clicks).send("alice", "x");
    /// }
    /// app.output(Alerts).expect([("alice", 2), ("alice", 4)]);
    /// ```
    ///
    /// # Panics
    /// When they do not: with what was expected and what was found.
    #[track_caller]
    pub fn expect<K, V>(&mut self, expected: impl IntoIterator<Item = (K, V)>)
    where
        K: AsKey<T::Key>,
        V: Expected<T::Value>,
        T::Value: PartialEq,
    {
        let found = self.tester.unread(T::NAME);
        let expected: Vec<_> = expected.into_iter().map(encoded::<T, K, V>).collect();
        let is_same = |(expected, found): (&Pair, &ReadRecord)| matches::<T>(expected, found);
        if expected.len() == found.len() && expected.iter().zip(&found).all(is_same) {
            return;
        }
        let spec = T::SPEC;
        let wanted = expected.iter();
        let wanted = wanted.map(|(key, value)| pair(&spec, Some(key), value.as_deref()));
        let wanted: Vec<_> = wanted.map(|text| format!("\n  {text}")).collect();
        panic!(
            "topic `{}` does not hold what was expected\nexpected:{}\nfound:{}",
            T::NAME,
            if wanted.is_empty() {
                " nothing".to_owned()
            } else {
                wanted.concat()
            },
            lines(&spec, &found)
        );
    }

    /// Checks that no record is left to read.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// app.output(Alerts).expect_none();
    /// ```
    ///
    /// # Panics
    /// When there is one: with what was found.
    #[track_caller]
    pub fn expect_none(&mut self) {
        let found = self.tester.unread(T::NAME);
        assert!(
            found.is_empty(),
            "nothing was expected in topic `{}`, found:{}",
            T::NAME,
            lines(&T::SPEC, &found)
        );
    }
}

type Pair = (Vec<u8>, Option<Vec<u8>>);

#[track_caller]
fn encoded<T: Topic, K: AsKey<T::Key>, V: Expected<T::Value>>((key, value): (K, V)) -> Pair {
    let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
    let is_value = key
        .put(&mut key_bytes)
        .and_then(|()| value.put(&T::CODEC, &mut value_bytes));
    match is_value {
        Ok(is_value) => (key_bytes, is_value.then_some(value_bytes)),
        Err(error) => panic!("what is expected in topic `{}`: {error}", T::NAME),
    }
}

/// Compares values by their types' equality: equal maps may differ in the order of their bytes.
fn matches<T: Topic>(expected: &Pair, found: &ReadRecord) -> bool
where
    T::Value: PartialEq,
{
    let (key, value) = expected;
    if found.key.as_deref().unwrap_or_default() != *key {
        return false;
    }
    match (value, &found.value) {
        (Some(value), Some(found)) if value != found => {
            let (value, found) = (T::CODEC.decode(value), T::CODEC.decode(found));
            value.is_ok_and(|value| found.is_ok_and(|found| value == found))
        }
        (value, found) => value.is_some() == found.is_some(),
    }
}

#[track_caller]
fn received<T: Topic>(raw: ReadRecord) -> Received<T::Key, T::Value> {
    match decoded::<T>(raw.key.as_deref(), raw.value.as_deref()) {
        Ok((key, value)) => Received {
            key,
            value,
            timestamp: raw.timestamp,
            headers: raw.headers,
            partition: raw.partition,
            offset: raw.offset,
        },
        Err(error) => panic!(
            "{}[{}] offset {}: {error}",
            T::NAME,
            raw.partition,
            raw.offset
        ),
    }
}

pub(crate) fn decoded<T: Topic>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(T::Key, Option<T::Value>), CodecError> {
    let key = T::Key::decode(key.unwrap_or_default())?;
    let value = value.map(|value| T::CODEC.decode(value));
    Ok((key, value.transpose()?))
}

pub(super) fn shown(format: &Format, bytes: &[u8]) -> String {
    (format.show)(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned())
}

fn pair(spec: &TopicSpec, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    let key = key.map_or("(no key)".to_owned(), |key| shown(&spec.key, key));
    let value = value.map_or("(tombstone)".to_owned(), |value| shown(&spec.value, value));
    format!("{key}: {value}")
}

fn lines(spec: &TopicSpec, records: &[ReadRecord]) -> String {
    if records.is_empty() {
        return " nothing".to_owned();
    }
    let line = |raw: &ReadRecord| format!("\n  {}", raw.text(spec));
    records.iter().map(line).collect()
}

impl<T: Topic> fmt::Debug for Output<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Output").field(&T::NAME).finish()
    }
}
