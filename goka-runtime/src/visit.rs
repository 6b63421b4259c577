//! Requests a visit: asks a group to call a handler for every key of its table, by a record for each
//! partition of the group's visit topic. Called by programs and tests; the command `visit` does the same.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::CodecError;
use crate::context::Emit;
use crate::edges::Processor;
use crate::emitter::{EmitError, RawEmitter};
use crate::graph::EdgeKind;
use crate::log::{Log, TopicWait};

/// Why a visit was not requested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitError {
    /// The processor has no visit of that name.
    #[error("group `{group}` has no visit `{name}`")]
    Unknown {
        /// The group.
        group: &'static str,
        /// The name asked for.
        name: String,
    },
    /// The argument does not parse as that of the handler.
    #[error("argument of visit `{name}`: {source}")]
    Argument {
        /// The visit.
        name: String,
        /// The error of the codec.
        source: CodecError,
    },
    /// The requests were not written.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// Asks the group of `P` to call its visit `name` for every key of its table, with an argument given
/// as text of the handler's codec. Returns when the log has the requests. The owner of each partition walks
/// over its keys, under the processor's guarantees and across restarts.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use goka_runtime::{edges::Processor, log::Log, visit::{VisitError, visit}};
/// fn clean<P: Processor>(log: Arc<dyn Log>) -> Result<(), VisitError> {
///     visit::<P>(log, "expire", "30", Duration::from_secs(10))
/// }
/// ```
///
/// # Errors
/// When there is no such visit, the argument does not parse, or the log does not take it in time.
pub fn visit<P: Processor>(
    log: Arc<dyn Log>,
    name: &str,
    argument: &str,
    timeout: Duration,
) -> Result<(), VisitError> {
    let graph = &P::DEFINITION.graph;
    let is_named = |kind| matches!(kind, EdgeKind::Visit { name: found, .. } if found == name);
    let edge = graph.edges.iter().find(|edge| is_named(edge.kind));
    let edge = edge.ok_or_else(|| VisitError::Unknown {
        group: graph.group,
        name: name.to_owned(),
    })?;
    let value = (edge.topic.value.parse)(argument).map_err(|source| VisitError::Argument {
        name: name.to_owned(),
        source,
    })?;
    let emitter = RawEmitter::of(&*log, &edge.topic, &TopicWait::default())?;
    for partition in 0..emitter.partitions() {
        let (key, value) = (Some(name.as_bytes()), Some(value.as_slice()));
        emitter.emit_to(partition, key, value, &Emit::default())?;
    }
    emitter.close(timeout)?;
    Ok(())
}
