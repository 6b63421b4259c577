//! The types that a handler may take for a record's value, how they are made from its bytes, and the edges of a graph
//! as the macros write them. Used by generated code alone.

#[cfg(feature = "protobuf")]
use crate::codec::Proto;
#[cfg(feature = "avro")]
use crate::codec::avro::Avro;
use crate::codec::{Be, Codec, CodecError, CodecOf, Json, format_of, utf8};
use crate::context::{Context, Keying};
use crate::dispatch::{Call, ContextError, RawRecord};
use crate::edges::{OwnNames, Processor};
use crate::graph::{Edge, EdgeKind, Format, Location, Start, TopicKind, TopicSpec};
use crate::key::format_of_key;
use crate::partitioner::Partitioner;
use crate::text::{Text, same};
use crate::topic::{Table, Topic};

/// A type that a handler may take for values of type `V`.
#[diagnostic::on_unimplemented(
    message = "this topic's value is `{V}`, the handler takes `{Self}`",
    label = "expected `{V}`, found `{Self}`",
    note = "also accepted: `&{V}`, `Option<{V}>` (tombstones); `&str` for `String`, `&[u8]` for `Vec<u8>`"
)]
pub trait FromRecordValue<'r, V>: Sized {
    /// Whether it accepts tombstones.
    const TOMBSTONES: bool = false;
    /// For a type that borrows from the record: the only codec whose bytes it can borrow.
    const BORROWS: Option<&'static str> = None;

    /// Makes the parameter from the bytes of a value.
    ///
    /// # Errors
    /// When they do not decode.
    fn some(bytes: &'r [u8], codec: &CodecOf<V>) -> Result<Self, CodecError>;

    /// Makes the parameter from a tombstone.
    fn none() -> Option<Self> {
        None
    }
}

impl<'r, V> FromRecordValue<'r, V> for V {
    fn some(bytes: &'r [u8], codec: &CodecOf<V>) -> Result<Self, CodecError> {
        codec.decode(bytes)
    }
}

const UTF8: Option<&str> = Some(<String as Codec>::NAME);
const BYTES: Option<&str> = Some(<Vec<u8> as Codec>::NAME);

impl<'r> FromRecordValue<'r, String> for &'r str {
    const BORROWS: Option<&'static str> = UTF8;

    fn some(bytes: &'r [u8], _: &CodecOf<String>) -> Result<Self, CodecError> {
        utf8(bytes)
    }
}

impl<'r> FromRecordValue<'r, Vec<u8>> for &'r [u8] {
    const BORROWS: Option<&'static str> = BYTES;

    fn some(bytes: &'r [u8], _: &CodecOf<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(bytes)
    }
}

/// With one impl for all `Option`s the compile error for a wrong `Option<&str>` would be about `&str`.
macro_rules! optional {
    ($([$($generics:tt)*] $value:ty, $param:ty, $borrows:expr;)*) => {$(
        impl<$($generics)*> FromRecordValue<'r, $value> for Option<$param> {
            const TOMBSTONES: bool = true;
            const BORROWS: Option<&'static str> = $borrows;

            fn some(bytes: &'r [u8], codec: &CodecOf<$value>) -> Result<Self, CodecError> {
                <$param as FromRecordValue<'r, $value>>::some(bytes, codec).map(Some)
            }

            fn none() -> Option<Self> {
                Some(None)
            }
        }
    )*};
}

optional! {
    ['r, V] V, V, None;
    ['r] String, &'r str, UTF8;
    ['r] Vec<u8>, &'r [u8], BYTES;
}

/// The library's wrappers around a value that has their codec.
macro_rules! wrappers {
    ($($wrapper:ident)*) => {$(
        impl<'r, T> FromRecordValue<'r, T> for $wrapper<T> {
            fn some(bytes: &'r [u8], codec: &CodecOf<T>) -> Result<Self, CodecError> {
                codec.decode(bytes).map(Self)
            }
        }

        optional! {
            ['r, T] T, $wrapper<T>, None;
        }
    )*};
}

wrappers!(Json Be);
#[cfg(feature = "protobuf")]
wrappers!(Proto);
#[cfg(feature = "avro")]
wrappers!(Avro);

/// What an edge has to know of a handler's parameter `P` that is made from the values `V` of the topic `T`.
///
/// # Panics
/// In a const context, when the topic is a table and the parameter does not accept tombstones, and when the parameter
/// borrows from the record and the codec makes values of its own.
#[track_caller]
pub const fn parameter<'r, T: Topic<Value = V>, V, P: FromRecordValue<'r, V>>() -> Parameter {
    let parameter = named::<V, P>(T::CODEC);
    if !matches!(T::KIND, TopicKind::Stream) && !parameter.tombstones {
        panic!("a table's keys may be deleted: take `Option<..>` for the value");
    }
    parameter
}

/// The same for a topic that is not a type.
///
/// # Panics
/// In a const context, when the parameter borrows from the record and the codec makes values of its own.
#[track_caller]
pub const fn named<'r, V, P: FromRecordValue<'r, V>>(codec: CodecOf<V>) -> Parameter {
    let format = codec.format();
    if let Some(borrowed) = P::BORROWS
        && !same(borrowed, format.codec)
    {
        let text = Text::new().str("the codec `").str(format.codec).str(
            "` makes values of its own: take the value itself, not a reference into the record",
        );
        panic!("{}", text.as_str());
    }
    Parameter {
        tombstones: P::TOMBSTONES,
        format,
    }
}

/// Makes the arguments of a handler from a record: its context and its [`parameter`].
///
/// # Errors
/// When key or value do not decode, or the value is missing and the parameter takes no tombstones.
#[inline]
pub fn enter<'r, T: Topic<Value = V>, V, P: FromRecordValue<'r, V>, C: FromRecord<'r>>(
    raw: RawRecord<'r>,
) -> Result<(C, P), ContextError> {
    arguments(raw, const { &T::CODEC })
}

/// The same for a topic that is not a type.
///
/// # Errors
/// See [`enter`].
#[inline]
pub fn enter_named<'r, V, P: FromRecordValue<'r, V>, C: FromRecord<'r>>(
    raw: RawRecord<'r>,
    codec: CodecOf<V>,
) -> Result<(C, P), ContextError> {
    arguments(raw, &codec)
}

/// The key is decoded first: if it is not one of the group's, an error about the value would mislead.
#[inline]
fn arguments<'r, V, P: FromRecordValue<'r, V>, C: FromRecord<'r>>(
    raw: RawRecord<'r>,
    codec: &CodecOf<V>,
) -> Result<(C, P), ContextError> {
    let (topic, value) = (raw.record.topic, raw.record.value);
    let context = C::from_record(raw)?;
    let value = match value {
        Some(bytes) => P::some(bytes, codec).map_err(|source| ContextError::Codec {
            what: "value",
            topic: topic.to_owned(),
            source,
        }),
        None => P::none().ok_or_else(|| ContextError::Tombstone {
            topic: topic.to_owned(),
        }),
    };
    Ok((context, value?))
}

/// A context, whose processor and whose keys are those in the handler's signature.
pub trait FromRecord<'r>: Sized {
    /// Makes it from a record.
    ///
    /// # Errors
    /// When the key does not decode.
    fn from_record(raw: RawRecord<'r>) -> Result<Self, ContextError>;
}

impl<'r, G: Processor, W: Keying> FromRecord<'r> for Context<'r, G, W> {
    #[inline]
    fn from_record(raw: RawRecord<'r>) -> Result<Self, ContextError> {
        Self::new(raw)
    }
}

/// What an edge has to know of its handler's parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Whether it accepts tombstones.
    tombstones: bool,
    /// The codec of the values that it is made from.
    format: Format,
}

impl Parameter {
    const fn edge(self, call: Call, topic: TopicSpec, location: Location) -> Edge {
        Edge {
            kind: EdgeKind::Input {
                call,
                tombstones: self.tombstones,
                start: Start::Earliest,
            },
            topic,
            location,
        }
    }

    /// A topic that is not a type: it has the keys and the partitioner of the group.
    const fn topic<G: Processor>(self, name: &'static str) -> TopicSpec {
        TopicSpec {
            name,
            kind: TopicKind::Stream,
            key: format_of_key::<G::Key>(),
            value: self.format,
            partitioner: G::Partitioner::NAME,
            partition_of: G::Partitioner::partition,
            partitions: None,
        }
    }
}

/// An input whose topic is a type.
///
/// # Panics
/// In a const context, when the topic is one of the group's own under another name.
#[track_caller]
pub const fn input<G>(
    own: OwnNames<G>,
    topic: TopicSpec,
    parameter: Parameter,
    call: Call,
    location: Location,
) -> Edge {
    check_not_own(own, topic);
    parameter.edge(call, topic, location)
}

/// An input given by name: it has the keys and the partitioner of the group.
pub const fn named_input<G: Processor>(
    _: OwnNames<G>,
    name: &'static str,
    parameter: Parameter,
    call: Call,
    location: Location,
) -> Edge {
    parameter.edge(call, parameter.topic::<G>(name), location)
}

/// An input that a new group reads from its end.
pub const fn latest(mut input: Edge) -> Edge {
    if let EdgeKind::Input { start, .. } = &mut input.kind {
        *start = Start::Latest;
    }
    input
}

/// The group's loop topic.
pub const fn loopback<G: Processor>(
    own: OwnNames<G>,
    parameter: Parameter,
    call: Call,
    location: Location,
) -> Edge {
    Edge {
        kind: EdgeKind::Loopback { call },
        topic: parameter.topic::<G>(own.loopback),
        location,
    }
}

/// A visit: its records are keyed by its name.
pub const fn visit<G: Processor>(
    own: OwnNames<G>,
    name: &'static str,
    parameter: Parameter,
    call: Call,
    location: Location,
) -> Edge {
    Edge {
        kind: EdgeKind::Visit { call, name },
        topic: TopicSpec {
            key: format_of::<String>(),
            ..parameter.topic::<G>(own.visit)
        },
        location,
    }
}

/// An output.
///
/// # Panics
/// In a const context, when the topic is one of the group's own under another name; [`join`] and [`lookup`],
/// too.
#[track_caller]
pub const fn output<G>(own: OwnNames<G>, topic: TopicSpec, location: Location) -> Edge {
    edge(own, EdgeKind::Output, topic, location)
}

/// A table that is joined.
#[track_caller]
pub const fn join<G>(own: OwnNames<G>, topic: TopicSpec, location: Location) -> Edge {
    edge(own, EdgeKind::Join, topic, location)
}

/// A table that is looked up.
#[track_caller]
pub const fn lookup<G>(own: OwnNames<G>, topic: TopicSpec, location: Location) -> Edge {
    edge(own, EdgeKind::Lookup, topic, location)
}

/// An edge whose topic is a type.
#[track_caller]
const fn edge<G>(own: OwnNames<G>, kind: EdgeKind, topic: TopicSpec, location: Location) -> Edge {
    check_not_own(own, topic);
    Edge {
        kind,
        topic,
        location,
    }
}

/// Checks that a topic that is a type is none of the group's own.
#[track_caller]
const fn check_not_own<G>(own: OwnNames<G>, topic: TopicSpec) {
    let name = topic.name;
    if same(name, own.table) || same(name, own.loopback) || same(name, own.visit) {
        let text = Text::new()
            .str("topic `")
            .str(name)
            .str("` is the group's own: the group alone reads and writes it");
        panic!("{}", text.as_str());
    }
}

/// The edge to the group table.
pub const fn table<G: Table>(location: Location) -> Edge {
    Edge {
        kind: EdgeKind::Table,
        topic: G::SPEC,
        location,
    }
}

#[cfg(test)]
mod tests {
    use super::FromRecordValue;
    use crate::codec::{CodecOf, Json};

    const TEXT: CodecOf<String> = CodecOf::new::<String>();
    const BYTES: CodecOf<Vec<u8>> = CodecOf::new::<Vec<u8>>();
    const LIST: CodecOf<Vec<i64>> = CodecOf::new::<Json<Vec<i64>>>();

    #[test]
    fn borrowing_parameters_are_the_records_own_bytes() {
        let record = *b"hello";
        let text: &str = FromRecordValue::some(&record, &TEXT).expect("it is UTF-8");
        let bytes: &[u8] = FromRecordValue::some(&record, &BYTES).expect("all bytes are");
        let some_text: Option<&str> = FromRecordValue::some(&record, &TEXT).expect("it is UTF-8");
        let some_bytes: Option<&[u8]> =
            FromRecordValue::some(&record, &BYTES).expect("all bytes are");
        for borrowed in [
            text.as_bytes(),
            bytes,
            some_text.expect("it is there").as_bytes(),
            some_bytes.expect("it is there"),
        ] {
            assert_eq!(borrowed.as_ptr_range(), record.as_ptr_range());
        }
    }

    #[test]
    fn values_are_decoded() {
        let owned: String = FromRecordValue::some(b"hello", &TEXT).expect("it is UTF-8");
        assert_eq!(owned, "hello");
        let bare: Vec<i64> = FromRecordValue::some(b"[1,2]", &LIST).expect("it is a list");
        assert_eq!(bare, [1, 2]);
        let Json(wrapped) = Json::<Vec<i64>>::some(b"[1,2]", &LIST).expect("it is a list");
        assert_eq!(wrapped, [1, 2]);
        let some = Option::<Json<Vec<i64>>>::some(b"[3]", &LIST).expect("it is a list");
        assert_eq!(some.map(|Json(list)| list), Some(vec![3]));
    }

    #[test]
    fn wrong_bytes_are_refused() {
        assert!(<&str as FromRecordValue<String>>::some(b"\xff", &TEXT).is_err());
        assert!(<Option<&str> as FromRecordValue<String>>::some(b"\xff", &TEXT).is_err());
        assert!(<Vec<i64> as FromRecordValue<Vec<i64>>>::some(b"{}", &LIST).is_err());
    }

    #[test]
    fn tombstones_are_none_where_they_are_accepted() {
        assert_eq!(
            <Option<String> as FromRecordValue<String>>::none(),
            Some(None)
        );
        assert_eq!(
            <Option<&str> as FromRecordValue<String>>::none(),
            Some(None)
        );
        assert_eq!(
            <Option<&[u8]> as FromRecordValue<Vec<u8>>>::none(),
            Some(None)
        );
        assert_eq!(<String as FromRecordValue<String>>::none(), None);
        assert_eq!(<&str as FromRecordValue<String>>::none(), None);
        let takes = [
            <Option<String> as FromRecordValue<String>>::TOMBSTONES,
            <Option<Json<i64>> as FromRecordValue<i64>>::TOMBSTONES,
            <String as FromRecordValue<String>>::TOMBSTONES,
        ];
        assert_eq!(takes, [true, true, false]);
    }
}
