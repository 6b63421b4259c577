//! The failures of the jobs for one copy: what is retried, and for how long. The log is waited for as long
//! as the task is owned; a store that fails for longer than the plan allows ends the job, as it ends a task
//! that runs.

use std::time::Duration;

use crate::record::Offset;
use crate::reminder::Reminder;

/// The failures of the jobs for one copy and assignment. Kept from one job to the next: a store that lost
/// commits is inspected again, which is no progress.
#[derive(Default)]
pub(super) struct CopyFailures {
    reminder: Reminder,
    /// Since when the store fails.
    store_since: Option<Duration>,
    /// The last changelog offset at which they failed.
    at: Offset,
}

impl CopyFailures {
    /// Notes a failure of the log at a changelog offset; says whether it is to be logged.
    pub(super) fn log_failed(&mut self, at: Offset) -> bool {
        self.at = self.at.max(at);
        self.reminder.is_due()
    }

    /// Notes a failure of the store; says whether it is to be logged, and for how long the store has failed.
    pub(super) fn store_failed(&mut self, at: Offset, now: Duration) -> (bool, Duration) {
        self.at = self.at.max(at);
        let since = *self.store_since.get_or_insert(now);
        (self.reminder.is_due(), now.saturating_sub(since))
    }

    /// Whether they are over for a copy that has come to a changelog offset, in memory or `in_store`.
    pub(super) fn are_over(&self, at: Offset, in_store: bool) -> bool {
        at > self.at && (in_store || self.store_since.is_none())
    }

    /// Ends them; says whether that is to be logged.
    pub(super) fn end(mut self) -> bool {
        self.reminder.is_over()
    }
}
