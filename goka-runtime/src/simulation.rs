//! Deterministic simulation of processors with injected faults. Each seed gives one schedule, and each
//! run of a schedule is one thread: several instances on a log and disks in memory, with a clock that
//! only the schedule moves. The [`oracles`] check each run afterwards. Used by `#[goka::simulate]`.

mod dice;
mod disk;
mod end;
mod fault_injector;
mod fault_kind;
mod feed_value;
#[cfg(feature = "fail-points")]
mod mutation;
mod oracles;
mod panics;
mod process;
mod report;
mod run;
mod runner;
mod schedule;
mod shrink;
#[cfg(test)]
mod tests;
mod validate;
mod workload;

pub use self::dice::Dice;
pub use self::disk::{DiskFaults, SimulatedDisk};
pub use self::end::End;
pub use self::fault_kind::FaultKind;
pub use self::feed_value::FeedValue;
#[cfg(feature = "fail-points")]
pub use self::mutation::{FoundMistake, find_mistake};
#[doc(hidden)]
pub use self::runner::simulate;

pub use self::workload::Workload;
use crate::record::Guarantee;

/// What all runs of a simulation have in common.
struct SimulationConfig<'c> {
    workload: &'c Workload,
    instances: usize,
    faults: &'c [FaultKind],
    /// Whether the full trace of a run is recorded.
    traced: bool,
    /// A mistake that the engine makes on purpose.
    #[cfg(feature = "fail-points")]
    mutant: Option<crate::fail_points::Mutant>,
}

impl SimulationConfig<'_> {
    /// Whether any processor writes in transactions.
    fn is_exactly_once(&self) -> bool {
        let definitions = self.workload.registry.definitions();
        let mut promised = definitions
            .iter()
            .map(|definition| definition.graph.guarantee);
        let once = Guarantee::ExactlyOnce;
        match self.workload.guarantee {
            Some(guarantee) => guarantee == once,
            None => promised.any(|guarantee| guarantee == once),
        }
    }
}
