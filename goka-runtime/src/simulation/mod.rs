//! Processors under everything that can go wrong, a schedule by seed at a time: several instances on a
//! log and disks in memory, a clock that moves when the schedule says so, one thread, no waiting. What
//! is right is known beforehand: see [`oracles`]. Used by `#[goka::simulate]`.

mod end;
mod fault_injector;
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

pub use self::end::End;
pub use self::feed_value::FeedValue;
#[cfg(feature = "fail-points")]
pub use self::mutation::{FoundMistake, find_mistake};
#[doc(hidden)]
pub use self::runner::simulate;
pub use self::schedule::FaultKind;
pub use self::workload::Workload;
pub use crate::dice::Dice;
