//! Processors under everything that can go wrong, a schedule by seed at a time: several instances on a
//! log and disks in memory, a clock that moves when the schedule says so, one thread, no waiting. What
//! is right is known beforehand: see [`oracles`]. Used by `#[goka::simulate]`.

mod dice;
mod oracles;
mod process;
mod run;
mod schedule;
mod strikes;
#[cfg(test)]
mod tests;
mod workload;

pub use self::dice::Dice;
pub use self::schedule::FaultKind;
pub use self::workload::Workload;
