//! Topics as types: what a declaration with `#[stream(..)]`, `#[table(..)]` or
//! `#[processor(persist = ..)]` implements. Pure.

use crate::codec::CodecOf;
use crate::graph::{TopicKind, TopicSpec};
use crate::key::{Key, format_of_key};
use crate::partitioner::Partitioner;

/// A topic, known at compile time: its name, its types, and where its keys live.
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
    /// The type of its values, as handlers take and give them.
    type Value: 'static;
    /// The function from a key to its partition.
    type Partitioner: Partitioner;
    /// Its name in the log.
    const NAME: &'static str;
    /// How its values travel.
    const CODEC: CodecOf<Self::Value>;
    /// The declared partition count.
    const PARTITIONS: Option<i32>;
    /// How it was declared.
    const KIND: TopicKind = TopicKind::Stream;
    /// All of that as plain data.
    const SPEC: TopicSpec = TopicSpec {
        name: Self::NAME,
        kind: Self::KIND,
        key: format_of_key::<Self::Key>(),
        value: Self::CODEC.format(),
        partitioner: Self::Partitioner::NAME,
        place: Self::Partitioner::partition,
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
