//! Stateful stream processing on Apache Kafka as a library.
//!
//! - A *topic* is a type: [`#[stream]`](macro@stream) and [`#[table]`](macro@table) declare its name,
//!   its key and value types, and how its keys are spread over partitions.
//! - A *processor* is a function with a *group*, its inputs and its outputs:
//!   [`#[processor]`](macro@processor). The group is a Kafka consumer group. With `persist` it has a
//!   *group table*: one value for each key, which its handler reads and sets through the [`Context`],
//!   and whose updates are in a topic of its own, the *group topic* (changelog).
//! - An *emitter* writes records to streams: [`Emitter`]. A *view* reads a table: [`View`].
//! - A *codec* converts between values and the bytes of records: [`Codec`], [`Json`].
//!
//! The compiler checks the topics that a handler emits to, the types of keys and values, and whether the group has
//! a table. Rules that need the whole program are checked by the [`registry`], before anything runs.
//!
//! # Under another name
//!
//! Generated code names this crate as `::goka`. A program that depends on it under another name, such as
//! `streams = { package = "goka", version = ".." }`, needs one line at the root of its crate,
//! `extern crate streams as goka;`, or `crate = streams` at each attribute and derive:
//!
//! ```
//! # extern crate goka as streams;
//! use streams::prelude::*;
//!
//! #[derive(Debug, streams::Key)]
//! #[key(crate = streams)]
//! pub struct UserId(u64);
//!
//! #[stream("page-visits", key = UserId, value = String, crate = streams)]
//! pub struct PageVisits;
//!
//! #[processor(group = "visits", persist = i64, crate = streams)]
//! #[input(PageVisits)]
//! fn visits(ctx: &mut Context, _page: &str) -> Result<()> {
//!     ctx.update(|n| n.unwrap_or(0) + 1)?;
//!     Ok(())
//! }
//! ```

#[doc = include_str!("docs/input.md")]
pub use goka_macros::input;
#[doc = include_str!("docs/join.md")]
pub use goka_macros::join;
#[doc = include_str!("docs/lookup.md")]
pub use goka_macros::lookup;
#[doc = include_str!("docs/loopback.md")]
pub use goka_macros::loopback;
#[doc = include_str!("docs/output.md")]
pub use goka_macros::output;
#[doc = include_str!("docs/processor.md")]
pub use goka_macros::processor;
#[cfg(feature = "tester")]
#[doc = include_str!("docs/simulate.md")]
pub use goka_macros::simulate;
#[doc = include_str!("docs/stream.md")]
pub use goka_macros::stream;
#[doc = include_str!("docs/table.md")]
pub use goka_macros::table;
#[doc = include_str!("docs/visit.md")]
pub use goka_macros::visit;

#[doc = include_str!("docs/derive_codec.md")]
pub use goka_macros::Codec;
#[doc = include_str!("docs/derive_key.md")]
pub use goka_macros::Key;
#[doc = include_str!("docs/derive_schema.md")]
pub use goka_macros::Schema;

pub use goka_runtime::Result;
#[cfg(feature = "protobuf")]
pub use goka_runtime::codec::Proto;
#[cfg(feature = "avro")]
pub use goka_runtime::codec::avro::{self, Avro};
pub use goka_runtime::codec::{AsValue, Be, Codec, CodecError, CodecOf, Json, Serde};
pub use goka_runtime::context::{Context, Emit, WithKey, WithoutKey};
pub use goka_runtime::dispatch::{ContextError, Deferred};
pub use goka_runtime::edges::{Emits, Joins, LooksUp, Loops, Persists, Processor};
pub use goka_runtime::emitter::{Ack, Delivered, EmitError, Emitter};
pub use goka_runtime::error::{Error, HandlerError, HandlerPanic, SharedError};
pub use goka_runtime::key::{AsKey, Composite, Key, NoKey, Ordered, OrderedKey, PrefixOf, prefix};
pub use goka_runtime::partitioner::{Crc32, Fnv1a, Murmur2, Partitioner};
pub use goka_runtime::record::{Guarantee, Headers, Offset, Timestamp};
pub use goka_runtime::schema::{Describer, Schema};
#[cfg(feature = "cli")]
pub use goka_runtime::service::{AppHandle, Service, WaitError, main};
pub use goka_runtime::topic::{Table, Topic};
pub use goka_runtime::view::{Entries, Read, View, ViewError, ViewState};
pub use goka_runtime::{dispatch, graph, record, registry, schema, table, testing};
#[cfg(feature = "tester")]
pub use goka_runtime::{simulation, tester};

// These only report an error: the attributes that replace words of Goka's, and that timers are not available yet.
#[doc(hidden)]
pub use goka_macros::{cross, persist, timer};

#[doc(hidden)]
pub use goka_runtime::__private;

/// Pages that belong to no single item.
pub mod docs {
    #[doc = include_str!("docs/guarantees.md")]
    pub mod guarantees {}

    #[doc = include_str!("docs/generated/refusals.md")]
    pub mod refusals {}
}

/// The items that a program with processors needs: `use goka::prelude::*;`.
pub mod prelude {
    pub use std::process::ExitCode;

    #[cfg(feature = "cli")]
    pub use crate::Service;
    pub use crate::{Be, Context, Emit, Emitter, Json, Result, View};
    #[doc(hidden)]
    pub use crate::{cross, persist, timer};
    pub use crate::{input, join, lookup, loopback, output, processor, stream, table, visit};
}

#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
