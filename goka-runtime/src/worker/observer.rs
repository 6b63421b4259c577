//! What a simulation sees of handlers, and how long they take in it.

use std::time::Duration;

use crate::core::RecordId;
use crate::record::Appends;

/// Sees what handlers did, in simulations.
pub(crate) trait HandlerObserver: Send + Sync {
    /// A handler returned `Ok`; what it wrote are the records from `first` on.
    fn handled(&self, record: RecordId, appends: &Appends, first: usize);
    /// How long the handler takes that is called with a record, on a simulated clock.
    fn handling_takes(&self, _record: &RecordId) -> Duration {
        Duration::ZERO
    }
}
