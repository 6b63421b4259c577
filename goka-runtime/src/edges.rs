//! What a processor type says of itself at compile time: its group, its table, its outputs. The
//! macros implement these traits; [`Context`](crate::context::Context) asks for them, so that an
//! undeclared edge does not compile.

use crate::codec::CodecOf;
use crate::graph::Definition;
use crate::key::Key;
use crate::partitioner::{Murmur2, Partitioner};
use crate::topic::Topic;

/// A processor: the type that `#[processor(..)]` defines.
pub trait Processor: 'static {
    /// The type of its group's keys.
    type Key: Key;
    /// The function from a key to its partition.
    type Partitioner: Partitioner;
    /// The names of the group's own topics: table, loop, visits. No other edge may have them.
    #[doc(hidden)]
    const OWN: [&'static str; 3] = [""; 3];
    /// Its graph and its handlers.
    const DEFINITION: &'static Definition;
}

/// Says that a processor has `T` as an output.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not declare `{T}` as an output",
    label = "undeclared output",
    note = "add `#[output({T})]` to the processor"
)]
pub trait Emits<T> {}

/// Says that a processor has a group table of `V`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no group table",
    label = "a stateless processor has no value",
    note = "add `persist = <type>` to `#[processor(..)]`"
)]
pub trait Persists<V> {
    /// The group table's name.
    const TABLE: &'static str;
    /// How its values travel.
    const CODEC: CodecOf<V>;
}

/// Says that a processor has `T` as a joined table.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not join `{T}`",
    label = "undeclared join",
    note = "add `#[join({T})]` to the processor"
)]
pub trait Joins<T> {}

/// Says that a processor looks `T` up.
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
    /// How its values travel.
    const CODEC: CodecOf<V>;
}

/// Says that `Self`, the key type of the topic `T`, is that of the group of `P`.
#[diagnostic::on_unimplemented(
    message = "`{T}` is keyed by `{Self}`, `{P}` by `{K}`",
    label = "its key is `{Self}`, not `{K}`",
    note = "all inputs of a group have its key type: that of the first, or `key = ..`"
)]
pub trait SameKey<K, T, P> {}

impl<K, T, P> SameKey<K, T, P> for K {}

/// Says that `Self`, the key type of the joined table `T`, is that of the group of `P`.
#[diagnostic::on_unimplemented(
    message = "`{T}` is keyed by `{Self}`, `{P}` by `{K}`",
    label = "its key is `{Self}`, not `{K}`",
    note = "a join reads the record's own key; to read by another key use `#[lookup({T})]`"
)]
pub trait JoinedKey<K, T, P> {}

impl<K, T, P> JoinedKey<K, T, P> for K {}

/// Never an edge of anything. Two impls that rustc does not recommend make it report the missing
/// one by the trait's own message, instead of assuming that the only impl there is was meant.
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
