//! The kinds of faults.

use std::fmt;

/// The kinds of faults that a schedule may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// Processes are killed, at any log operation, and start again on their disk or an empty one.
    Crash,
    /// Processes stop cleanly and start again.
    Rebalance,
    /// Acknowledgements are lost or late, commits are not answered, and records are reported as failed
    /// though they were written.
    Duplicate,
    /// Members that the group has removed do not notice, go on, and join again.
    Zombie,
    /// A loss of power leaves torn files; syncs fail; disks are full.
    TornWrite,
    /// Brokers are unavailable, leaders move, coordinators refuse, control records are late.
    Outage,
    /// Fetches are slow or return few records.
    Slow,
    /// Compaction and retention delete records.
    Compaction,
    /// An instance is down for longer than tombstones are kept.
    Absence,
    /// The wall clocks of all machines jump.
    ClockJump,
    /// The group's committed offsets are deleted, as Kafka does for a group that was down for long.
    LostOffsets,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Crash,
        Self::Rebalance,
        Self::Duplicate,
        Self::Zombie,
        Self::TornWrite,
        Self::Outage,
        Self::Slow,
        Self::Compaction,
        Self::Absence,
        Self::ClockJump,
        Self::LostOffsets,
    ];

    /// The word for it in `faults(..)` of `#[goka::simulate]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Rebalance => "rebalance",
            Self::Duplicate => "duplicate",
            Self::Zombie => "zombie",
            Self::TornWrite => "torn_write",
            Self::Outage => "outage",
            Self::Slow => "slow",
            Self::Compaction => "compaction",
            Self::Absence => "absence",
            Self::ClockJump => "clock_jump",
            Self::LostOffsets => "lost_offsets",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
