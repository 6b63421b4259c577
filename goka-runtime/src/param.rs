//! What a handler's parameter may be: how the bytes of a record become it. Used by the dispatch
//! shims, which the macros write.

use std::fmt;

use crate::codec::{Be, Codec, CodecError, CodecOf, Json, format_of, utf8};
use crate::dispatch::{Call, ContextError, Incoming};
use crate::edges::Processor;
use crate::graph::{Edge, EdgeKind, Format, Location, Start, TopicKind, TopicSpec};
use crate::partitioner::Partitioner;
use crate::text::{Text, same};

/// What a handler may take where values of type `V` travel.
#[diagnostic::on_unimplemented(
    message = "this topic's value is `{V}`, the handler takes `{Self}`",
    label = "expected `{V}`, found `{Self}`",
    note = "also accepted: `&{V}`, `Option<{V}>` (tombstones); `&str` for `String`, `&[u8]` for `Vec<u8>`"
)]
pub trait Param<'r, V>: Sized {
    /// Whether it takes tombstones.
    const TOMBSTONES: bool = false;
    /// The only codec whose bytes it can borrow, for a parameter that borrows.
    const BORROWS: Option<&'static str> = None;

    /// Makes the parameter of a value's bytes.
    ///
    /// # Errors
    /// When they do not decode.
    fn some(bytes: &'r [u8], codec: &CodecOf<V>) -> Result<Self, CodecError>;

    /// Makes the parameter of a tombstone.
    fn none() -> Option<Self> {
        None
    }
}

impl<'r, V> Param<'r, V> for V {
    fn some(bytes: &'r [u8], codec: &CodecOf<V>) -> Result<Self, CodecError> {
        codec.decode(bytes)
    }
}

impl<'r, T> Param<'r, T> for Json<T> {
    fn some(bytes: &'r [u8], codec: &CodecOf<T>) -> Result<Self, CodecError> {
        codec.decode(bytes).map(Json)
    }
}

impl<'r, T> Param<'r, T> for Be<T> {
    fn some(bytes: &'r [u8], codec: &CodecOf<T>) -> Result<Self, CodecError> {
        codec.decode(bytes).map(Be)
    }
}

const UTF8: Option<&str> = Some(<String as Codec>::NAME);
const BYTES: Option<&str> = Some(<Vec<u8> as Codec>::NAME);

impl<'r> Param<'r, String> for &'r str {
    const BORROWS: Option<&'static str> = UTF8;

    fn some(bytes: &'r [u8], _: &CodecOf<String>) -> Result<Self, CodecError> {
        utf8(bytes)
    }
}

impl<'r> Param<'r, Vec<u8>> for &'r [u8] {
    const BORROWS: Option<&'static str> = BYTES;

    fn some(bytes: &'r [u8], _: &CodecOf<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(bytes)
    }
}

/// One impl for all `Option`s would say that `&str` is missing where `Option<&str>` is.
macro_rules! optional {
    ($([$($generics:tt)*] $value:ty, $param:ty, $borrows:expr;)*) => {$(
        impl<$($generics)*> Param<'r, $value> for Option<$param> {
            const TOMBSTONES: bool = true;
            const BORROWS: Option<&'static str> = $borrows;

            fn some(bytes: &'r [u8], codec: &CodecOf<$value>) -> Result<Self, CodecError> {
                <$param as Param<'r, $value>>::some(bytes, codec).map(Some)
            }

            fn none() -> Option<Self> {
                Some(None)
            }
        }
    )*};
}

optional! {
    ['r, V] V, V, None;
    ['r, T] T, Json<T>, None;
    ['r, T] T, Be<T>, None;
    ['r] String, &'r str, UTF8;
    ['r] Vec<u8>, &'r [u8], BYTES;
}

/// How a record's value becomes the parameter `P`.
pub struct Taker<'r, P, V> {
    /// Whether it takes tombstones.
    pub tombstones: bool,
    /// The codec, as edges have it.
    pub format: Format,
    codec: CodecOf<V>,
    some: fn(&'r [u8], &CodecOf<V>) -> Result<P, CodecError>,
    none: fn() -> Option<P>,
}

impl<P, V> fmt::Debug for Taker<'_, P, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taker").field(&self.format.codec).finish()
    }
}

impl<'r, P, V> Taker<'r, P, V> {
    /// Makes the parameter of a record's value.
    ///
    /// # Errors
    /// When the value does not decode, or is missing and the parameter takes no tombstones.
    pub fn take(&self, record: &Incoming<'r>) -> Result<P, ContextError> {
        match record.value {
            Some(bytes) => (self.some)(bytes, &self.codec).map_err(|source| ContextError::Codec {
                what: "value",
                topic: record.topic.to_owned(),
                source,
            }),
            None => (self.none)().ok_or_else(|| ContextError::Tombstone {
                topic: record.topic.to_owned(),
            }),
        }
    }
}

/// Edges that call a handler: what the macros put into a graph.
impl<P, V> Taker<'_, P, V> {
    /// An input of a topic that is a type.
    ///
    /// # Panics
    /// In a const context, when the topic is a table and the parameter takes no tombstones.
    #[track_caller]
    pub const fn input(
        &self,
        call: Call,
        start: Start,
        topic: TopicSpec,
        is_table: bool,
        location: Location,
    ) -> Edge {
        if is_table && !self.tombstones {
            let text = Text::new()
                .str("`")
                .str(topic.name)
                .str("` is a table, whose keys may be deleted: take `Option<..>` for the value");
            panic!("{}", text.as_str());
        }
        let kind = EdgeKind::Input {
            call,
            tombstones: self.tombstones,
            start,
        };
        edge(kind, topic, location)
    }

    /// An input given by name: its keys and its partitioner are the group's.
    pub const fn named<G: Processor>(
        &self,
        call: Call,
        start: Start,
        name: &'static str,
        location: Location,
    ) -> Edge {
        let kind = EdgeKind::Input {
            call,
            tombstones: self.tombstones,
            start,
        };
        edge(kind, spec_named::<G>(name, self.format), location)
    }

    /// The group's loop topic.
    pub const fn loopback<G: Processor>(
        &self,
        call: Call,
        name: &'static str,
        location: Location,
    ) -> Edge {
        let topic = spec_named::<G>(name, self.format);
        edge(EdgeKind::Loopback { call }, topic, location)
    }

    /// A visit: its records are keyed by its name.
    pub const fn visit<G: Processor>(
        &self,
        call: Call,
        topic: &'static str,
        name: &'static str,
        location: Location,
    ) -> Edge {
        let topic = TopicSpec {
            key: format_of::<String>(),
            ..spec_named::<G>(topic, self.format)
        };
        edge(EdgeKind::Visit { call, name }, topic, location)
    }
}

/// An edge of a graph.
pub const fn edge(kind: EdgeKind, topic: TopicSpec, location: Location) -> Edge {
    Edge {
        kind,
        topic,
        location,
    }
}

/// A topic given by name: its keys and its partitioner are the group's.
const fn spec_named<G: Processor>(name: &'static str, value: Format) -> TopicSpec {
    TopicSpec {
        name,
        kind: TopicKind::Stream,
        key: format_of::<G::Key>(),
        value,
        partitioner: G::Partitioner::NAME,
        place: G::Partitioner::partition,
        partitions: None,
    }
}

/// The taker of a handler's parameter.
///
/// # Panics
/// In a const context, when the parameter borrows bytes that the codec would change.
#[track_caller]
pub const fn taker<'r, P: Param<'r, V>, V>(codec: CodecOf<V>) -> Taker<'r, P, V> {
    if let Some(borrowed) = P::BORROWS
        && !same(borrowed, codec.format().codec)
    {
        let text = Text::new()
            .str("the codec `")
            .str(codec.format().codec)
            .str(
                "` makes values of its own: take the value itself, not a reference into the record",
            );
        panic!("{}", text.as_str());
    }
    Taker {
        tombstones: P::TOMBSTONES,
        format: codec.format(),
        codec,
        some: P::some,
        none: P::none,
    }
}
