//! The kinds of faults.

use std::fmt;

/// The kinds of faults that a schedule is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// Processes die, at any step, and start again on their disk or an empty one.
    Crash,
    /// Processes stop in order and start again.
    Rebalance,
    /// Acknowledgements are lost or late, commits are not answered, records are written and seem not
    /// to be, or the other way round.
    Duplicate,
    /// Members that the group put out go on as if nothing were, and come back.
    Zombie,
    /// The power goes and leaves torn files; syncs fail; disks are full.
    TornWrite,
    /// Brokers are away, leaders move, coordinators refuse, control records are late.
    Outage,
    /// Fetches are slow or short.
    Slow,
    /// Compaction strikes, and retention.
    Compaction,
    /// An instance is away for longer than tombstones are kept.
    Absence,
    /// Clocks are set.
    ClockJump,
    /// The group forgets offsets, as Kafka does for a group that was down for long.
    LostOffsets,
}

impl FaultKind {
    /// All of them.
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

    /// As `faults(..)` of `#[goka::simulate]` spells it.
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
