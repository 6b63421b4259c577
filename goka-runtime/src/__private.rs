//! All items that generated code names. Not a part of the public API: only the macros of the same version use it,
//! by the name of this module that says the version.

use std::any::TypeId;
use std::marker::PhantomData;

/// This module under the name that the macros of this version have for it: those of another version do not find theirs.
#[doc(hidden)]
pub use crate::__private as macros_0_1_0;

pub use inventory;
pub use std::string::String;

pub use crate::__goka_codec as codec;
pub use crate::__goka_ordered_codec as ordered_codec;
pub use crate::__goka_own as own;
pub use crate::codec::{Codec, CodecError, CodecFor, CodecOf, Fits, Known, Opaque, Shape};
pub use crate::context::{Context, WithKey, WithoutKey};
pub use crate::dispatch::{
    AsyncCall, Call, ContextError, Deferred, Handling, ProcessorState, RawRecord, SyncCall,
};
pub use crate::edges::{
    Emits, JoinedKey, Joins, LooksUp, Loops, OwnNames, Persists, Processor, SameKey,
};
pub use crate::graph::{
    Definition, Edge, EdgeKind, Format, GroupGraph, Location, Start, TopicKind, TopicSpec,
};
pub use crate::handler_parameter::{
    FromRecordValue, enter, enter_named, input, join, latest, lookup, loopback, named, named_input,
    output, parameter, table, visit,
};
pub use crate::here;
pub use crate::key::ordered::{
    ORDERED, Part, decode_ordered, describe_ordered, encode_ordered, parse_ordered,
    part_of as part, show_ordered,
};
pub use crate::key::{Composite, Key, NoKey, OrderedKey};
pub use crate::partitioner::{Murmur2, Partitioner};
pub use crate::record::Guarantee;
pub use crate::registry::Entry;
pub use crate::schema::{Describer, Schema, Tag};
use crate::shared_error::HandlerError;
#[cfg(feature = "tester")]
pub use crate::simulation::{FaultKind, simulate};
pub use crate::topic::{Table, Topic};

use crate::text::{Text, same};

/// The place in the user's source that the span of the call has.
#[doc(hidden)]
#[macro_export]
macro_rules! here {
    () => {
        $crate::__private::Location {
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
        }
    };
}

/// The names of a group and its own topics. The macros have the same suffixes in `words`.
#[doc(hidden)]
#[macro_export]
macro_rules! __goka_own {
    ($group:literal, $suffix:literal) => {
        $crate::__private::OwnNames::new(
            $group,
            ::core::concat!($group, $suffix),
            ::core::concat!($group, "-loop"),
            ::core::concat!($group, "-visit"),
        )
    };
}

/// The only place where generated code requires a codec, so that one missing codec is one error.
pub const fn codec_of<C: CodecFor<V>, V>() -> CodecOf<V> {
    C::CODEC
}

/// The same for a topic, with the shape of its values, if it is known.
pub const fn codec_with<C: CodecFor<V>, V>(schema: fn(&mut Describer) -> bool) -> CodecOf<V> {
    C::CODEC.with_schema(schema)
}

/// The only place where generated code requires that `codec = ..` fits.
pub const fn codec_given<C: Fits<V>, V>(schema: fn(&mut Describer) -> bool) -> CodecOf<V> {
    C::CODEC.with_schema(schema)
}

/// The return types of handlers.
#[diagnostic::on_unimplemented(
    message = "a handler returns `Result<()>`, this one returns `{Self}`",
    label = "expected `Result<()>`"
)]
pub trait Returns {
    /// Converts the error.
    fn finish(self) -> Result<(), HandlerError>;
}

impl<E: Into<HandlerError>> Returns for Result<(), E> {
    fn finish(self) -> Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

/// The value that handlers share, by its type.
pub fn this<P: 'static>(shared: &ProcessorState) -> &P {
    let this = shared.downcast_ref();
    this.expect("a processor's handlers are called with its own value")
}

/// The future that an asynchronous handler's shim returns.
pub fn handling<'r>(handled: impl Future<Output = Result<(), HandlerError>> + 'r) -> Handling<'r> {
    Box::pin(handled)
}

/// The graph of a processor, at least once.
pub const fn graph<P>(
    name: &'static str,
    own: OwnNames<P>,
    edges: &'static [Edge],
    location: Location,
) -> GroupGraph {
    GroupGraph {
        name,
        group: own.group,
        location,
        guarantee: Guarantee::AtLeastOnce,
        edges,
    }
}

/// Finds out properties of a type without requiring them: an inherent constant, if its bounds hold, hides that of
/// [`ProbeFallback`].
#[derive(Debug)]
pub struct TypeProbe<T>(PhantomData<T>);

impl<P: Default + Send + Sync + 'static> TypeProbe<P> {
    /// The definition of a processor without its graph, with the function that makes the value that handlers share.
    pub const MADE: Definition = Definition {
        make: Some(|| Box::new(P::default())),
        ..<Self as ProbeFallback>::MADE
    };
}

impl<T: Topic> TypeProbe<T> {
    /// Whether a topic's records have no keys.
    pub const IS_KEYLESS: bool = <T::Key as Key>::IS_NONE;
}

/// The constants of a [`TypeProbe`] whose bounds do not hold.
pub trait ProbeFallback {
    /// Also for a type that is not a topic, which is an error elsewhere.
    const IS_KEYLESS: bool = false;
    /// The definition of a processor whose value the user has to give.
    const MADE: Definition;
}

impl<P: 'static> ProbeFallback for TypeProbe<P> {
    const MADE: Definition = Definition {
        type_id: TypeId::of::<P>,
        ..BROKEN
    };
}

/// A table, in places where a stream does not fit: a stream is one error there, and so is a type that is not a topic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a table",
    label = "not a table",
    note = "tables are declared with `#[table(..)]` or `#[processor(persist = ..)]`"
)]
pub trait ReadTable {
    /// See [`Topic::Key`].
    type Key;
    /// See [`Topic::Partitioner`].
    type Partitioner;
    /// See [`Topic::SPEC`].
    const SPEC: TopicSpec;
}

#[diagnostic::do_not_recommend]
impl<T: Table> ReadTable for T {
    type Key = <T as Topic>::Key;
    type Partitioner = <T as Topic>::Partitioner;
    const SPEC: TopicSpec = <T as Topic>::SPEC;
}

/// The definition of a processor with mistakes; its program does not compile.
pub const BROKEN: Definition = Definition {
    graph: GroupGraph {
        name: "",
        group: "",
        location: Location {
            file: "",
            line: 0,
            column: 0,
        },
        guarantee: Guarantee::AtLeastOnce,
        edges: &[],
    },
    make: None,
    type_id: TypeId::of::<()>,
};

/// Checks a declared partition count.
#[track_caller]
pub const fn partitions(count: i32) -> Option<i32> {
    assert!(count > 0, "a topic has at least one partition");
    Some(count)
}

/// Checks that two inputs are not one topic under two names.
#[track_caller]
pub const fn distinct(a: &str, b: &str) {
    if same(a, b) {
        let text = Text::new().str("topic `").str(a).str("` is an input twice");
        panic!("{}", text.as_str());
    }
}

/// Checks that two co-partitioned topics of a group do not declare different partition counts.
#[track_caller]
pub const fn copartitioned(a: TopicSpec, b: TopicSpec, who: &str) {
    if let (Some(first), Some(second)) = (a.partitions, b.partitions)
        && first != second
    {
        let text = Text::new()
            .str("`")
            .str(a.name)
            .str("` has ")
            .num(first)
            .str(" partitions and `")
            .str(b.name)
            .str("` has ")
            .num(second)
            .str(": ")
            .str(who)
            .str(" need equal counts");
        panic!("{}", text.as_str());
    }
}

/// Checks that an input has the group's key type.
pub const fn same_key<A: SameKey<K, T, P>, K, T, P>() {}

/// Checks that a topic has the group's partitioner: by name, since a function that is given twice is two types.
#[track_caller]
pub const fn same_partitioner<A: Partitioner, K: Partitioner, T, P>() {
    if !same(A::NAME, K::NAME) {
        let text = Text::new()
            .str("placed by `")
            .str(A::NAME)
            .str("`, the group by `")
            .str(K::NAME)
            .str("`: a key must lie in the same partition of all inputs and the group table");
        panic!("{}", text.as_str());
    }
}

/// Whether the records of a processor's handler have keys. A trait of the processor, so that a mistake in the topic
/// is not reported at the handler's signature.
pub trait Handler<const AT: usize> {
    /// `WithKey` or `WithoutKey`.
    type Keying;
}

/// Chooses between a type for records with keys and one for records without.
#[derive(Debug)]
pub struct Choice<const IS_KEYLESS: bool>;

/// See [`Choice`].
pub trait Choose<Keyed, Keyless> {
    /// The chosen type.
    type Chosen;
}

impl<Keyed, Keyless> Choose<Keyed, Keyless> for Choice<false> {
    type Chosen = Keyed;
}

impl<Keyed, Keyless> Choose<Keyed, Keyless> for Choice<true> {
    type Chosen = Keyless;
}

/// [`WithKey`] or [`WithoutKey`], for the records of a topic.
pub type KeyingOf<const IS_KEYLESS: bool> =
    <Choice<IS_KEYLESS> as Choose<WithKey, WithoutKey>>::Chosen;

/// The key type of a topic; for a keyless stream `Else`.
pub type KeyOf<const IS_KEYLESS: bool, T, Else = String> =
    <Choice<IS_KEYLESS> as Choose<<T as Topic>::Key, Else>>::Chosen;

/// The partitioner of a topic; for a keyless stream `Else`.
pub type PartitionerOf<const IS_KEYLESS: bool, T, Else = Murmur2> =
    <Choice<IS_KEYLESS> as Choose<<T as Topic>::Partitioner, Else>>::Chosen;

/// Checks that a group with a table has keys.
#[track_caller]
pub const fn keyed(inputs: &[TopicSpec]) {
    let mut at = 0;
    while at < inputs.len() {
        if !inputs[at].is_keyless() {
            return;
        }
        at += 1;
    }
    panic!(
        "a group table needs keys, and this stream has none: give its records keys by a `#[loopback]`, \
         or emit them to a stream with keys"
    );
}

/// Checks that the topics of a handler all have keys, or all have none.
#[track_caller]
pub const fn keyed_alike(is_keyless: bool, other: TopicSpec) {
    if other.is_keyless() != is_keyless {
        let text = Text::new()
            .str("`")
            .str(other.name)
            .str(if is_keyless {
                "` has keys"
            } else {
                "` has no keys"
            })
            .str(", unlike what else its handler is called for: write a handler for each");
        panic!("{}", text.as_str());
    }
}

/// A comma between the parts of a key's description.
pub fn comma(to: &mut Describer) {
    to.raw(",");
}

/// Returns the partition that a user's function chose.
///
/// # Panics
/// When the topic has no such partition.
pub fn placed(partition: i32, count: i32, name: &str) -> i32 {
    assert!(
        (0..count).contains(&partition),
        "partitioner `{name}` chose partition {partition} of {count}"
    );
    partition
}

/// The codec of a key that is made of parts.
#[doc(hidden)]
#[macro_export]
macro_rules! __goka_ordered_codec {
    ([$($parameters:tt)*] $type:ty) => {
        impl<$($parameters)*> $crate::__private::Codec for $type {
            type Value = Self;
            const NAME: &'static str = $crate::__private::ORDERED;

            fn encode(
                value: &Self,
                out: &mut ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<(), $crate::__private::CodecError> {
                $crate::__private::encode_ordered(value, out)
            }

            fn decode(
                bytes: &[u8],
            ) -> ::core::result::Result<Self, $crate::__private::CodecError> {
                $crate::__private::decode_ordered(bytes)
            }

            fn parse(
                text: &str,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::__private::CodecError> {
                $crate::__private::parse_ordered::<Self>(text)
            }

            fn show(
                bytes: &[u8],
            ) -> ::core::result::Result<$crate::__private::String, $crate::__private::CodecError> {
                $crate::__private::show_ordered::<Self>(bytes)
            }

            fn describe(to: &mut $crate::__private::Describer) {
                $crate::__private::describe_ordered::<Self>(to);
            }
        }

        impl<$($parameters)*> $crate::__private::Key for $type {
            type Ref<'r> = Self;

            fn view(
                bytes: &[u8],
            ) -> ::core::result::Result<Self, $crate::__private::CodecError> {
                $crate::__private::decode_ordered(bytes)
            }
        }
    };
}

/// The codec of a topic's values, with the function that finds out their shape: see [`Shape`].
#[doc(hidden)]
#[macro_export]
macro_rules! __goka_codec {
    (of $codec:ty) => {
        $crate::__private::codec_with::<$codec, _>($crate::__private::codec!(shape $codec))
    };
    (given $codec:ty, $value:ty) => {
        $crate::__private::codec_given::<$codec, $value>($crate::__private::codec!(shape $codec))
    };
    (shape $codec:ty) => {
        |to: &mut $crate::__private::Describer| {
            use $crate::__private::{Known as _, Opaque as _};
            (&$crate::__private::Shape::<$codec>::ASK).describe(to)
        }
    };
}

/// Checks that a joined table has the key type of the group, and its partitioner, by name.
#[track_caller]
pub const fn joined<K, A: Partitioner, T, P>()
where
    P: Processor,
    K: JoinedKey<P::Key, T, P>,
{
    if !same(A::NAME, P::Partitioner::NAME) {
        let text = Text::new()
            .str("placed by `")
            .str(A::NAME)
            .str("`, the group by `")
            .str(P::Partitioner::NAME)
            .str("`: the key would lie in another partition; to read any partition use `#[lookup(..)]`");
        panic!("{}", text.as_str());
    }
}

/// Checks that the value that handlers share can be shared between threads.
pub const fn shared<P: Sync>() {}

/// The codec of a loopback whose handler has mistakes.
///
/// # Panics
/// Always: its program does not compile.
pub const fn broken<V>() -> CodecOf<V> {
    panic!("the loopback's handler has mistakes")
}
