//! The declarations of a processor as traits of its type: its group, its table, its edges. The macros implement
//! them, and the methods of [`Context`](crate::context::Context) require them, so that the use of an undeclared
//! edge does not compile.

use std::marker::PhantomData;

use crate::codec::CodecOf;
use crate::graph::{Definition, Edge};
use crate::key::Key;
use crate::partitioner::{Murmur2, Partitioner};
use crate::topic::{Table, Topic};

/// A processor: the type that `#[processor(..)]` defines.
pub trait Processor: 'static {
    /// The type of its group's keys.
    type Key: Key;
    /// The function from a key to its partition.
    type Partitioner: Partitioner;
    /// The names of the group and of its own topics.
    #[doc(hidden)]
    const OWN: OwnNames<Self> = OwnNames::new("", "", "", "");
    /// The edges of its graph.
    #[doc(hidden)]
    const EDGES: &'static [Edge] = &[];
    /// Its graph, and the value that its handlers share.
    const DEFINITION: &'static Definition;
}

/// The names of the group of the processor `P` and of its own topics, which no other edge may use.
#[doc(hidden)]
#[derive(Debug)]
pub struct OwnNames<P: ?Sized> {
    pub(crate) group: &'static str,
    pub(crate) table: &'static str,
    pub(crate) loopback: &'static str,
    pub(crate) visit: &'static str,
    processor: PhantomData<fn() -> P>,
}

impl<P: ?Sized> OwnNames<P> {
    /// From the names.
    pub const fn new(
        group: &'static str,
        table: &'static str,
        loopback: &'static str,
        visit: &'static str,
    ) -> Self {
        Self {
            group,
            table,
            loopback,
            visit,
            processor: PhantomData,
        }
    }
}

impl<P: ?Sized> Clone for OwnNames<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: ?Sized> Copy for OwnNames<P> {}

/// A processor that declares `T` as an output.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare `{T}` as an output",
    label = "undeclared output",
    note = "add `#[output({T})]` to the processor"
)]
pub trait Emits<T> {}

/// A processor with a group table whose values are `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no group table",
    label = "a stateless processor has no value",
    note = "add `persist = <type>` to `#[processor(..)]`"
)]
pub trait Persists<V> {
    /// The group table.
    type Table: Table<Value = V>;
}

/// A processor that joins the table `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not join `{T}`",
    label = "undeclared join",
    note = "add `#[join({T})]` to the processor"
)]
pub trait Joins<T> {}

/// A processor that looks up the table `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not look up `{T}`",
    label = "undeclared lookup",
    note = "add `#[lookup({T})]` to the processor"
)]
pub trait LooksUp<T> {}

/// Says that a processor has a loopback of values `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no loopback",
    label = "undeclared loopback",
    note = "add a `#[loopback]` handler, whose parameter says what travels"
)]
pub trait Loops<V> {
    /// The loop topic's name.
    const LOOP: &'static str;
    /// The codec of its values.
    const CODEC: CodecOf<V>;
}

/// The key type of the topic `T`, if it is that of the group of `P`.
#[diagnostic::on_unimplemented(
    message = "`{T}` is keyed by `{Self}`, `{P}` by `{K}`",
    label = "its key is `{Self}`, not `{K}`",
    note = "all inputs of a group have its key type: that of the first, or `key = ..`"
)]
pub trait SameKey<K, T, P> {}

impl<K, T, P> SameKey<K, T, P> for K {}

/// The key type of the joined table `T`, if it is that of the group of `P`.
#[diagnostic::on_unimplemented(
    message = "`{T}` is keyed by `{Self}`, `{P}` by `{K}`",
    label = "its key is `{Self}`, not `{K}`",
    note = "a join reads the record's own key; to read by another key use `#[lookup({T})]`"
)]
pub trait JoinedKey<K, T, P> {}

impl<K, T, P> JoinedKey<K, T, P> for K {}

/// Never an edge. If a trait has a single impl, rustc takes that one for what was meant; with two more, which it
/// does not recommend, it reports a missing impl with the message of the trait.
#[doc(hidden)]
#[derive(Debug)]
pub enum Decoy<const N: u8> {}

impl<const N: u8> Topic for Decoy<N> {
    type Key = String;
    type Value = ();
    type Partitioner = Murmur2;
    const NAME: &'static str = "";
    const CODEC: CodecOf<()> = CodecOf::new::<()>();
    const PARTITIONS: Option<i32> = None;
}

macro_rules! decoys {
    ($($edge:ident)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<P: Processor> $edge<Decoy<0>> for P {}

        #[diagnostic::do_not_recommend]
        impl<P: Processor> $edge<Decoy<1>> for P {}
    )*};
}

decoys!(Emits Joins LooksUp);
