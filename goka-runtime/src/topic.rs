//! Topics as types: what a declaration with `#[stream(..)]`, `#[table(..)]` or
//! `#[processor(persist = ..)]` implements. Pure.

use crate::codec::CodecOf;
use crate::graph::{TopicKind, TopicSpec};
use crate::key::{Key, format_of_key};
use crate::partitioner::Partitioner;

/// A topic as a type: its name, the types of its keys and values, and its partitioner.
///
/// `#[stream(..)]`, `#[table(..)]` and `#[processor(persist = ..)]` implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a topic",
    label = "not a topic",
    note = "topics are declared with `#[stream(..)]`, `#[table(..)]` or `#[processor(persist = ..)]`"
)]
pub trait Topic: 'static {
    /// The type of its keys.
    type Key: Key;
    /// The type of its values, as handlers take and return them.
    type Value: 'static;
    /// The function from a key to its partition.
    type Partitioner: Partitioner;
    /// Its name in Kafka.
    const NAME: &'static str;
    /// The codec of its values.
    const CODEC: CodecOf<Self::Value>;
    /// The partition count, if one is declared.
    const PARTITIONS: Option<i32>;
    /// How it was declared.
    const KIND: TopicKind = TopicKind::Stream;
    /// All of this as plain data.
    const SPEC: TopicSpec = TopicSpec {
        name: Self::NAME,
        kind: Self::KIND,
        key: format_of_key::<Self::Key>(),
        value: Self::CODEC.format(),
        partitioner: Self::Partitioner::NAME,
        partition_of: Self::Partitioner::partition,
        partitions: Self::PARTITIONS,
    };
}

/// A topic that keeps the last value of each key: declared with `#[table(..)]`, or the group table
/// of a processor with `persist = ..`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a table",
    label = "not a table",
    note = "tables are declared with `#[table(..)]` or `#[processor(persist = ..)]`"
)]
pub trait Table: Topic {}
