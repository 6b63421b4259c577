//! Asking a group to walk over its table: a record for each partition of the group's visit topic.
//! The walk itself is the core's. Called by programs and tests; the command `visit` does the same.

use std::sync::Arc;
use std::time::Duration;

use crate::context::Emit;
use crate::edges::Processor;
use crate::emitter::{EmitError, RawEmitter};
use crate::graph::EdgeKind;
use crate::log::{Log, TopicWait};

/// Why a walk was not asked for.
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
    /// The argument is not what the visit's handler takes.
    #[error("argument of visit `{name}`: {reason}")]
    Argument {
        /// The visit.
        name: String,
        /// The codec's word.
        reason: String,
    },
    /// It was not written.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// Asks the group of `P` to call its visit `name` for every key of its table, with an argument given
/// as text of the handler's codec. Returns when the log has the requests; the walk is done by
/// whoever owns each partition, under the processor's guarantees, and survives restarts.
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
    deadline: Duration,
) -> Result<(), VisitError> {
    let graph = &P::DEFINITION.graph;
    let named = |kind| matches!(kind, EdgeKind::Visit { name: found, .. } if found == name);
    let edge = graph.edges.iter().find(|edge| named(edge.kind));
    let edge = edge.ok_or_else(|| VisitError::Unknown {
        group: graph.group,
        name: name.to_owned(),
    })?;
    let value = (edge.topic.value.parse)(argument).map_err(|error| VisitError::Argument {
        name: name.to_owned(),
        reason: error.to_string(),
    })?;
    let emitter = RawEmitter::of(&*log, &edge.topic, &TopicWait::default())?;
    for partition in 0..emitter.partitions() {
        let (key, value) = (Some(name.as_bytes()), Some(value.as_slice()));
        emitter.emit_to(partition, key, value, &Emit::default())?;
    }
    emitter.close(deadline)?;
    Ok(())
}
