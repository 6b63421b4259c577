//! The kinds of faults.

use std::fmt;

use crate::text::named_variants;

named_variants! {
    /// The kinds of faults that a schedule may have; the names are the words in `faults(..)` of `#[goka::simulate]`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[non_exhaustive]
    pub enum FaultKind {
        /// Processes are killed, at any log operation, and start again on their disk or an empty one.
        Crash = "crash",
        /// Processes stop cleanly and start again.
        Rebalance = "rebalance",
        /// Acknowledgements are lost or late, commits are not answered, and records are reported as failed
        /// though they were written.
        Duplicate = "duplicate",
        /// Members that the group has removed do not notice, go on, and join again.
        Zombie = "zombie",
        /// A loss of power leaves torn files; syncs fail; disks are full.
        TornWrite = "torn_write",
        /// Brokers are unavailable, leaders move, coordinators refuse, control records are late.
        Outage = "outage",
        /// Fetches are slow or return few records.
        Slow = "slow",
        /// Compaction and retention delete records.
        Compaction = "compaction",
        /// An instance is down for longer than tombstones are kept.
        Absence = "absence",
        /// The wall clocks of all machines jump.
        ClockJump = "clock_jump",
        /// The group's committed offsets are deleted, as Kafka does for a group that was down for long.
        LostOffsets = "lost_offsets",
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
