//! What all runs of a simulation have in common.

use super::fault_kind::FaultKind;
use super::workload::Workload;
use crate::record::Guarantee;

/// What all runs of a simulation have in common.
pub(super) struct SimulationConfig<'c> {
    pub(super) workload: &'c Workload,
    pub(super) instances: usize,
    pub(super) faults: &'c [FaultKind],
    /// Whether [`Outcome::full_trace`] is recorded.
    pub(super) traced: bool,
    /// A mistake that the engine makes on purpose.
    #[cfg(feature = "fail-points")]
    pub(super) mutant: Option<crate::fail_points::Mutant>,
}

impl SimulationConfig<'_> {
    /// Whether any processor writes in transactions.
    pub(super) fn is_exactly_once(&self) -> bool {
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
