//! One run: a workload under a schedule.

use super::oracles::Violation;
use super::schedule::Schedule;
