//! A processor for the examples of this module's items, written by hand: the macros know the facade
//! alone.

use std::any::TypeId;

use crate::codec::CodecOf;
use crate::dispatch::{Call, Destination, ProcessorState, RawRecord};
use crate::edges::Processor;
use crate::graph::{Definition, Edge, EdgeKind, GroupGraph, Location, Start, TopicKind, TopicSpec};
use crate::partitioner::{Murmur2, Partitioner};
use crate::record::Guarantee;
use crate::shared_error::HandlerError;
use crate::topic::{Table, Topic};

macro_rules! topic {
    ($type:ident, $name:literal, $value:ty, $kind:ident) => {
        impl Topic for $type {
            type Key = String;
            type Value = $value;
            type Partitioner = Murmur2;
            const NAME: &'static str = $name;
            const CODEC: CodecOf<$value> = CodecOf::new::<$value>();
            const PARTITIONS: Option<i32> = None;
            const KIND: TopicKind = TopicKind::$kind;
        }
    };
}

/// Clicks, keyed by user.
#[derive(Debug)]
pub struct Clicks;

/// Every second click of a user.
#[derive(Debug)]
pub struct Alerts;

/// Counts clicks.
#[derive(Debug)]
pub struct ClickCount;

topic!(Clicks, "clicks", String, Stream);
topic!(Alerts, "alerts", i64, Stream);
topic!(ClickCount, "click-count-state", i64, GroupTable);

impl Table for ClickCount {}

impl Processor for ClickCount {
    type Key = String;
    type Partitioner = Murmur2;
    const DEFINITION: &'static Definition = &DEFINITION;
}

const HERE: Location = crate::here!();

const fn edge(kind: EdgeKind, topic: TopicSpec) -> Edge {
    Edge {
        kind,
        topic,
        location: HERE,
    }
}

static EDGES: [Edge; 3] = [
    edge(
        EdgeKind::Input {
            call: Call::Sync(on_click),
            tombstones: true,
            start: Start::Earliest,
        },
        Clicks::SPEC,
    ),
    edge(EdgeKind::Table, ClickCount::SPEC),
    edge(EdgeKind::Output, Alerts::SPEC),
];

static DEFINITION: Definition = Definition {
    graph: GroupGraph {
        name: "ClickCount",
        group: "click-count",
        location: HERE,
        guarantee: Guarantee::AtLeastOnce,
        edges: &EDGES,
    },
    make: Some(|| Box::new(())),
    type_id: TypeId::of::<ClickCount>,
};

fn on_click(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let key = raw.record.key.unwrap_or_default();
    match raw.record.value {
        None => return Ok(raw.scope.store(None)?),
        Some(b"bad") => return Err("a bad click".into()),
        Some(_) => {}
    }
    let held = raw.scope.load()?;
    let held = held.map(|held| ClickCount::CODEC.decode(held.value));
    let count = held.transpose()?.unwrap_or(0) + 1;
    raw.scope
        .store(Some(&mut |out| ClickCount::CODEC.encode(&count, out)))?;
    if count % 2 == 0 {
        let to = Destination {
            topic: Alerts::NAME,
            partition_of: Murmur2::partition,
        };
        let mut key_to = |out: &mut Vec<u8>| {
            out.extend_from_slice(key);
            Ok(())
        };
        let mut value_to = |out: &mut Vec<u8>| Alerts::CODEC.encode(&count, out);
        raw.scope
            .emit(&to, Some(&mut key_to), Some(&mut value_to), None, &[])?;
    }
    Ok(())
}
