//! Whether the oracles bite: a mistake is planted in the engine, and looked for.

use std::fmt;
use std::thread::available_parallelism;

use super::run::Case;
use super::runner::Runner;
use super::{FaultKind, Workload};
use crate::fail_points::Mutant;

/// How a planted mistake was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMistake {
    /// The first seed that found it: so many were needed.
    pub seed: u64,
    /// The rule that it broke.
    pub oracle: &'static str,
    /// What was told.
    pub what: String,
}

impl fmt::Display for FoundMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} by `{}`: {}", self.seed, self.oracle, self.what)
    }
}

/// Runs a workload with a mistake planted, or without one, until a seed fails; `None` when none does.
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
    planted: Option<Mutant>,
    instances: usize,
    seeds: u64,
    faults: &[FaultKind],
    workload: impl FnOnce() -> Workload,
) -> Option<FoundMistake> {
    let workload = workload();
    let case = Case {
        workload: &workload,
        instances,
        faults,
        traced: false,
        planted,
    };
    let front = Runner {
        name: planted.map_or("none", Mutant::name),
        instances,
        runner: &case,
        threads: available_parallelism().map_or(1, usize::from),
    };
    let (seed, trouble) = front.seek(1..=seeds).failed.pop_first()?;
    let first = trouble.violations.into_iter().next()?;
    Some(FoundMistake {
        seed,
        oracle: first.oracle,
        what: first.what,
    })
}
