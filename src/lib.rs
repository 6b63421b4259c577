//! Stateful stream processing on Apache Kafka as a library.

pub use goka_macros::{input, output, processor, stream, table};

pub use goka_runtime::Result;
pub use goka_runtime::codec::{AsValue, Codec, CodecError, CodecOf, Json, Serde};
pub use goka_runtime::context::{Context, Emit};
pub use goka_runtime::dispatch::{ContextError, HandlerError};
pub use goka_runtime::edges::{Emits, Persists, Processor};
pub use goka_runtime::graph;
pub use goka_runtime::key::{AsKey, Key};
pub use goka_runtime::partitioner::{Crc32, Fnv1a, Murmur2, Partitioner};
pub use goka_runtime::record::{Headers, Offset, Timestamp};
pub use goka_runtime::registry;
pub use goka_runtime::topic::{Table, Topic};

#[doc(hidden)]
pub use goka_runtime::__private;

/// What a program with processors needs: `use goka::prelude::*;`.
pub mod prelude {
    pub use std::process::ExitCode;

    pub use crate::{Context, Emit, Json, Result};
    pub use crate::{input, output, processor, stream, table};
}
