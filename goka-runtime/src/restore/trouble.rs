//! What a job does about failures that may pass: it tries again, and logs them now and then. The log is
//! waited for as long as the task is owned; a store that fails for longer than the plan's patience ends the
//! job, as it ends a task that runs.

use std::fmt::Display;
use std::time::Duration;

use super::Context;
use crate::core::CopyId;
use crate::log::{Epoch, LogError};
use crate::record::Offset;
use crate::reminder::Reminder;
use crate::table::StoreError;

/// What is wrong with getting a copy ready. Kept over the jobs of one assignment: a store that lost commits is
/// inspected again, which is no progress.
#[derive(Default)]
pub(super) struct Trouble {
    reminder: Reminder,
    /// Since when its store fails.
    store_since: Option<Duration>,
    /// The changelog offset that it did not get past.
    at: Offset,
}

/// A job, by its copy and assignment.
type Of = (CopyId, Epoch);

impl Context {
    /// Notes a failure at a changelog offset; `None` when nobody waits for the copy any more.
    fn note<T>(
        &self,
        (copy, epoch): Of,
        at: Offset,
        note: impl FnOnce(&mut Trouble) -> T,
    ) -> Option<T> {
        let mut queue = self.queue();
        if queue.current.get(&copy.task) != Some(&epoch) {
            return None;
        }
        let trouble = queue.troubles.entry(copy).or_default();
        trouble.at = trouble.at.max(at);
        Some(note(trouble))
    }

    /// Notes that the log did not help, and says whether that is to be logged.
    pub(super) fn reminds(&self, of: Of, at: Offset) -> bool {
        let is_due = self.note(of, at, |trouble| trouble.reminder.is_due());
        is_due.unwrap_or(false)
    }

    /// Notes that the log failed, which is tried again.
    pub(super) fn log_failed(&self, of: Of, at: Offset, doing: &str, error: &LogError) {
        if self.reminds(of, at) {
            self.warn(of.0, doing, error);
        }
    }

    /// Whether what failed at the store is tried again.
    pub(super) fn may_retry(&self, of: Of, at: Offset, doing: &str, error: &StoreError) -> bool {
        if !error.may_heal() {
            return false;
        }
        let now = self.clock.monotonic();
        let noted = self.note(of, at, |trouble| {
            let since = *trouble.store_since.get_or_insert(now);
            (trouble.reminder.is_due(), now.saturating_sub(since))
        });
        let (is_due, failing) = noted.unwrap_or_default();
        if is_due {
            self.warn(of.0, doing, error);
        }
        failing < self.plan.store_timeout
    }

    fn warn(&self, copy: CopyId, doing: &str, error: &dyn Display) {
        let (topic, partition) = (&**self.plan.group.topic(copy.table), copy.task.partition);
        tracing::warn!(topic, partition, doing, %error, "restore cannot go on, trying again");
    }

    /// The copy got to a changelog offset, in memory or `in_store`.
    pub(super) fn moved(&self, copy: CopyId, to: Offset, in_store: bool) {
        let queue = self.queue();
        let is_past = queue
            .troubles
            .get(&copy)
            .is_some_and(|trouble| to > trouble.at && (in_store || trouble.store_since.is_none()));
        drop(queue);
        if is_past {
            self.over(copy);
        }
    }

    /// The copy is ready, or goes on.
    pub(super) fn over(&self, copy: CopyId) {
        let trouble = self.queue().troubles.remove(&copy);
        if trouble.is_some_and(|mut trouble| trouble.reminder.is_over()) {
            let (topic, partition) = (&**self.plan.group.topic(copy.table), copy.task.partition);
            tracing::info!(topic, partition, "restore goes on");
        }
    }
}
