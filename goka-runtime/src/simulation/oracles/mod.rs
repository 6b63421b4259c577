//! What is right, whatever went wrong: the oracles of a run. They know the processors' definitions and
//! what happened, and nothing of the engine: neither its core nor its stores. Called by the run when
//! everything has come to rest.
//!
//! The rules, in the order in which they are told:
//! - `lost input`: what everybody sees of an input was committed past by somebody who handled it;
//! - `dirty read`: nobody handles what is not committed, or not yet;
//! - `key order`: what counts was handled in the order of the log;
//! - `durable writes`: what a handler wrote lay in the log when its record was committed past, exactly
//!   once in the transaction that did;
//! - `stale write`: exactly once, nobody's writes are seen but those of handlings that count;
//! - `handler`: a handler that succeeded does so again;
//! - `table`: a table is the fold of what counts, and compaction does not change it;
//! - `outputs once`: what counts was emitted once, in order.

mod index;
mod inputs;
mod model;
mod outputs;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod trace;
mod writes;

use std::sync::Arc;

use self::index::Index;
use self::inputs::Effective;
use self::model::Modelled;
pub(super) use self::trace::trace;
use crate::dispatch::ProcessorState;
use crate::graph::{Definition, Edge, EdgeKind};
use crate::log::simulated::{Moment, Simulated};
use crate::record::{Guarantee, Offset};

/// All that is known of a run that has come to rest, every instance stopped.
pub(super) struct Evidence<'e> {
    pub(super) log: &'e Simulated,
    /// In the order in which it happened.
    pub(super) history: &'e [Moment],
    /// The processors, each with a fresh value for its handlers and what it promised.
    pub(super) processors: &'e [(&'static Definition, Arc<ProcessorState>, Guarantee)],
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

/// A processor, and what counts of what it did.
struct Case<'e> {
    definition: &'static Definition,
    shared: &'e ProcessorState,
    guarantee: Guarantee,
    /// In the order in which it was handled.
    effective: Vec<Effective<'e>>,
    /// Whether it walked over its table: what it wrote then is nobody's input.
    visited: bool,
}

impl Case<'_> {
    fn group(&self) -> &'static str {
        self.definition.graph.group
    }

    fn is_exact(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }
}

/// The inputs of a processor, its loop topic among them.
fn inputs_of(definition: &'static Definition) -> impl Iterator<Item = &'static Edge> {
    let is_input = |edge: &&Edge| {
        matches!(
            edge.kind,
            EdgeKind::Input { .. } | EdgeKind::Loopback { .. }
        )
    };
    definition.graph.edges.iter().filter(is_input)
}

/// Judges a run: the root of an evil before what follows from it.
pub(super) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let index = Index::of(evidence.history);
    let mut verdict = Verdict::default();
    let cases = cases(evidence, &index, &mut verdict);
    let mut failed = Vec::new();
    let modelled: Vec<Option<Modelled>> = cases
        .iter()
        .map(|case| model::reckon(evidence, &index, case, &mut verdict.unjudged, &mut failed))
        .collect();
    writes::judge(&index, &cases, &modelled, &mut verdict.violations);
    verdict.violations.append(&mut failed);
    for (case, modelled) in cases.iter().zip(&modelled) {
        tables::judge(
            evidence,
            &index,
            case,
            modelled.as_ref(),
            &mut verdict.violations,
        );
    }
    outputs::judge(&index, &cases, &modelled, &mut verdict.violations);
    verdict
}

fn cases<'e>(evidence: &Evidence<'e>, index: &Index<'e>, verdict: &mut Verdict) -> Vec<Case<'e>> {
    let mut cases = Vec::with_capacity(evidence.processors.len());
    for (definition, shared, guarantee) in evidence.processors {
        let effective = inputs::judge(evidence, index, definition, verdict);
        let is_visit = |edge: &&Edge| matches!(edge.kind, EdgeKind::Visit { .. });
        let mut visits = definition.graph.edges.iter().filter(is_visit);
        cases.push(Case {
            definition,
            shared: &**shared,
            guarantee: *guarantee,
            effective,
            visited: visits.any(|edge| index.partitions(edge.topic.name).next().is_some()),
        });
    }
    cases
}
