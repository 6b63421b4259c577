//! Deterministic simulation of processors with injected faults. Each seed gives one schedule, and each
//! run of a schedule is one thread: several instances on a log and disks in memory, with a clock that
//! only the schedule moves. The [`oracles`] check each run afterwards. Used by `#[goka::simulate]`.

mod config;
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
