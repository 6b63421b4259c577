//! What simulations and testers ask a worker for, between its turns.

use super::Worker;

impl Worker {
    /// Whether anything happened since this was last asked, or a walk is under way.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.made_progress) || self.core.walks()
    }

    /// The memory of all copies, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.core.memory().0
    }

    /// Whether something that handlers deferred is not done.
    pub(crate) fn has_guards(&self) -> bool {
        self.core.has_guards()
    }
}
