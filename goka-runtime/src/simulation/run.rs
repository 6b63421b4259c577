//! One run: a workload under a schedule.

use std::collections::BTreeMap;

use super::oracles::Violation;
use super::schedule::{FaultKind, Schedule};
use super::workload::Workload;

/// What is run, whatever the seed.
pub(super) struct Case<'c> {
    pub(super) workload: &'c Workload,
    pub(super) instances: usize,
    pub(super) faults: &'c [FaultKind],
}

/// What was counted, in one run or in many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) records: u64,
    pub(super) turns: u64,
    /// How often each fault fired.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// How often each step was taken.
    pub(super) steps: BTreeMap<String, u64>,
    /// At which steps processes died.
    pub(super) deaths: BTreeMap<String, u64>,
}

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) violations: Vec<Violation>,
    /// What happened to the place of the first violation, a line each.
    pub(super) story: Vec<String>,
    /// What could not be judged, and why: the same for every seed.
    pub(super) unjudged: Vec<String>,
    pub(super) counters: Counters,
    /// Everything that happened, a line each: the same for the same schedule.
    pub(super) trace: Vec<String>,
}

/// Runs a workload under a schedule; a panic in a handler or the engine is a violation, too.
pub(super) fn run(case: &Case<'_>, schedule: &Schedule) -> Outcome {
    let _ = (case.workload, case.instances, case.faults, schedule.seed);
    Outcome::default()
}
