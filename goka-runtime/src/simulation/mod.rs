//! Processors under everything that can go wrong, a schedule by seed at a time: several instances on a
//! log and disks in memory, a clock that moves when the schedule says so, one thread, no waiting. What
//! is right is known beforehand: see [`oracles`]. Used by `#[goka::simulate]`.

mod caught;
mod end;
mod fed;
mod front;
#[cfg(feature = "fail-points")]
mod hunt;
mod oracles;
mod process;
mod report;
mod run;
mod schedule;
mod sense;
mod shrink;
mod strikes;
#[cfg(test)]
mod tests;
mod workload;

pub use self::end::End;
pub use self::fed::Fed;
#[doc(hidden)]
pub use self::front::simulate;
#[cfg(feature = "fail-points")]
pub use self::hunt::{Caught, hunt};
pub use self::schedule::FaultKind;
pub use self::workload::Workload;
pub use crate::dice::Dice;
