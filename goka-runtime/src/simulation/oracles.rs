//! What is right, whatever went wrong: the oracles of a run.

use std::sync::Arc;

use crate::dispatch::Shared;
use crate::graph::Definition;
use crate::log::simulated::{Moment, Simulated};
use crate::record::{Guarantee, Offset};

/// All that is known of a run that has come to rest, every instance stopped.
pub(super) struct Evidence<'e> {
    pub(super) log: &'e Simulated,
    /// In the order in which it happened.
    pub(super) history: &'e [Moment],
    /// The processors, each with a fresh value for its handlers and what it promised.
    pub(super) processors: &'e [(&'static Definition, Arc<Shared>, Guarantee)],
    /// Whether handling a record twice is the same as once.
    pub(super) idempotent: bool,
    /// Tables that were there before the start and did not change.
    pub(super) loaded: &'e [&'static str],
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: Option<Offset>,
    pub(super) key: Option<Vec<u8>>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// Which rule.
    pub(super) oracle: &'static str,
    pub(super) what: String,
    pub(super) place: Option<Place>,
}

/// What the oracles say.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<Violation>,
    /// What could not be judged, and why; the same for every seed of a workload.
    pub(super) unjudged: Vec<String>,
}

pub(super) fn judge(_evidence: &Evidence<'_>) -> Verdict {
    Verdict::default()
}

/// What happened to the place of a violation, in order, a line each.
pub(super) fn story(_evidence: &Evidence<'_>, _violation: &Violation) -> Vec<String> {
    Vec::new()
}
