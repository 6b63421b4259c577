//! Stateful stream processing on Apache Kafka as a library.

pub use goka_macros::{input, output, processor, stream, table};

pub use goka_runtime::Result;
pub use goka_runtime::codec::{AsValue, Codec, CodecError, CodecOf, Json, Serde};
pub use goka_runtime::context::{Context, Emit};
pub use goka_runtime::dispatch::{ContextError, HandlerError};
pub use goka_runtime::edges::{Emits, Persists, Processor};
pub use goka_runtime::emitter::{Ack, Delivered, EmitError, Emitter};
pub use goka_runtime::key::{AsKey, Key};
pub use goka_runtime::partitioner::{Crc32, Fnv1a, Murmur2, Partitioner};
pub use goka_runtime::record::{Headers, Offset, Timestamp};
#[cfg(feature = "cli")]
pub use goka_runtime::service::{Background, Service, WaitError, main};
pub use goka_runtime::topic::{Table, Topic};
pub use goka_runtime::view::{Entries, Read, View, ViewError, ViewState};
pub use goka_runtime::{dispatch, graph, record, registry, table, testing};

#[doc(hidden)]
pub use goka_runtime::__private;

/// What a program with processors needs: `use goka::prelude::*;`.
pub mod prelude {
    pub use std::process::ExitCode;

    #[cfg(feature = "cli")]
    pub use crate::Service;
    pub use crate::{Context, Emit, Emitter, Json, Result, View};
    pub use crate::{input, output, processor, stream, table};
}

#[cfg(all(doctest, feature = "cli"))]
#[doc = include_str!("../README.md")]
struct Readme;
