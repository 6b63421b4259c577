//! Mutation tests of the oracles: the engine runs with a known mistake, and a simulation has to find it.

use super::SimulationConfig;
use super::runner::Runner;
use super::{FaultKind, Workload};
use crate::fail_points::Mutant;

/// How a mutation was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed} by `{oracle}`: {what}")]
pub struct FoundMistake {
    /// The first seed that found it.
    pub seed: u64,
    /// The rule that was broken.
    pub oracle: &'static str,
    /// The message of the violation.
    pub what: String,
}

/// Runs a workload with a mutation of the engine, or without one, until a seed fails; `None` when none
/// does.
///
/// ```
/// use goka_runtime::fail_points::Mutant;
/// use goka_runtime::simulation::{FaultKind, Workload, find_mistake};
/// use goka_runtime::tester::doc::{ClickCount, Clicks};
///
/// let workload = || Workload::of::<ClickCount>().input(Clicks, 20, |_| ("alice", "x"));
/// assert_eq!(find_mistake(None, 3, 2, &[FaultKind::Rebalance], workload), None);
/// ```
pub fn find_mistake(
    mutant: Option<Mutant>,
    instances: usize,
    seeds: u64,
    faults: &[FaultKind],
    workload: impl FnOnce() -> Workload,
) -> Option<FoundMistake> {
    let workload = workload();
    let config = SimulationConfig {
        workload: &workload,
        instances,
        faults,
        traced: false,
        mutant,
    };
    let runner = Runner::of(mutant.map_or("none", Mutant::name), &config);
    let (seed, failure) = runner.run_seeds(1..=seeds).failed.pop_first()?;
    let first = failure.violations.into_iter().next()?;
    Some(FoundMistake {
        seed,
        oracle: first.oracle,
        what: first.what,
    })
}
