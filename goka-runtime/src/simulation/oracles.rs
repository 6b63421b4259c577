//! The oracles check a finished run against the processors' definitions and the history of the simulated
//! log. They know nothing of the engine's core or stores. `run/ending.rs` calls them when every instance has
//! stopped.
//!
//! A *handling* is one call of a handler for a record. A record may have several, after a crash or a
//! rebalance; one of them is *effective*: the last one by the member whose commit moved the group's offset
//! past the record.
//!
//! The rules, in the order in which violations are reported:
//! - `lost input`: every visible record of an input has an effective handling;
//! - `dirty read`: no handler gets a record before its transaction is committed;
//! - `key order`: effective handlings are in the order of the log;
//! - `durable writes`: what an effective handling wrote is in the log when the record's offset is
//!   committed; exactly once, in the transaction with that commit;
//! - `stale write`: exactly once, only writes of effective handlings are visible;
//! - `handler`: a handler that succeeded also succeeds in the model;
//! - `table`: a table is the fold of the effective handlings, and compaction does not change it;
//! - `outputs once`: effective handlings emitted their outputs once, in order.

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
use self::model::ModelResult;
pub(super) use self::trace::trace;
use crate::dispatch::ProcessorState;
use crate::graph::{Definition, Edge, EdgeKind};
use crate::log::simulated::{Moment, Simulated};
use crate::record::{Guarantee, Offset};

/// A run after its end, when every instance has stopped.
pub(super) struct FinishedRun<'e> {
    pub(super) log: &'e Simulated,
    pub(super) history: &'e [Moment],
    /// The processors, each with a new state for the model to call the handlers with, and its guarantee.
    pub(super) processors: &'e [(&'static Definition, Arc<ProcessorState>, Guarantee)],
    /// Whether handling a record twice has the same effect as handling it once.
    pub(super) idempotent: bool,
    /// The tables that were written before the start and do not change: the model can join and look up these.
    pub(super) loaded: &'e [&'static str],
}

/// The record, row or partition that a violation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: Option<Offset>,
    pub(super) key: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) oracle: &'static str,
    pub(super) what: String,
    pub(super) place: Option<Place>,
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) violations: Vec<Violation>,
    /// What the rules do not cover, and why (an asynchronous handler has no model, for instance); the same
    /// for every seed of a workload.
    pub(super) unjudged: Vec<String>,
}

/// A processor in a run, with what the oracles found out about it.
struct ProcessorRun<'e> {
    definition: &'static Definition,
    shared: &'e ProcessorState,
    guarantee: Guarantee,
    /// In the order of the handlings.
    effective: Vec<Effective<'e>>,
    /// Whether a visit walked over its table: what it wrote then follows from no input record.
    visited: bool,
}

impl ProcessorRun<'_> {
    fn group(&self) -> &'static str {
        self.definition.graph.group
    }

    fn is_exactly_once(&self) -> bool {
        self.guarantee == Guarantee::ExactlyOnce
    }
}

/// The inputs of a processor, its loopback among them.
pub(super) fn inputs_of(definition: &'static Definition) -> impl Iterator<Item = &'static Edge> {
    use EdgeKind::{Input, Loopback};
    let is_input = |edge: &&Edge| matches!(edge.kind, Input { .. } | Loopback { .. });
    definition.graph.edges.iter().filter(is_input)
}

/// Checks a run by all rules. Causes are reported before their consequences.
pub(super) fn judge(run: &FinishedRun<'_>) -> Findings {
    let index = Index::of(run.history);
    let mut findings = Findings::default();
    let processors = processor_runs(run, &index, &mut findings);
    let mut failed = Vec::new();
    let models: Vec<Option<ModelResult>> = processors
        .iter()
        .map(|processor| {
            model::compute(run, &index, processor, &mut findings.unjudged, &mut failed)
        })
        .collect();
    writes::judge(&index, &processors, &models, &mut findings.violations);
    let found = &mut findings.violations;
    found.append(&mut failed);
    for (processor, model) in processors.iter().zip(&models) {
        tables::judge(run, &index, processor, model.as_ref(), found);
    }
    outputs::judge(&index, &processors, &models, found);
    findings
}

fn processor_runs<'e>(
    run: &FinishedRun<'e>,
    index: &Index<'e>,
    findings: &mut Findings,
) -> Vec<ProcessorRun<'e>> {
    let mut processors = Vec::with_capacity(run.processors.len());
    for (definition, shared, guarantee) in run.processors {
        let effective = inputs::judge(run, index, definition, findings);
        let is_visit = |edge: &&Edge| matches!(edge.kind, EdgeKind::Visit { .. });
        let mut visits = definition.graph.edges.iter().filter(is_visit);
        processors.push(ProcessorRun {
            definition,
            shared: &**shared,
            guarantee: *guarantee,
            effective,
            visited: visits.any(|edge| index.partitions(edge.topic.name).next().is_some()),
        });
    }
    processors
}
