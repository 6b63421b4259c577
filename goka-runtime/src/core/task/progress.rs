//! What a task wrote since the last barrier, and how the commit of its offsets stands.

use std::time::Duration;

/// Offsets that do not move are committed again so often: the coordinator expires those of topics
/// that no member subscribes to, `offsets.retention.minutes` after their last commit.
pub(crate) const RECOMMIT: Duration = Duration::from_secs(2 * 3600);

/// What was written since the last barrier, and how the last commit ended.
#[derive(Debug, Default)]
pub(crate) struct CommitProgress {
    /// How many changelog records were made.
    updates: u64,
    /// Whether any records were appended, outputs among them.
    has_appended: bool,
    /// A commit is due even if no position moved.
    is_owed: bool,
    /// The outcome of the last commit is not known yet.
    is_unknown: bool,
    last_commit: Duration,
}

impl CommitProgress {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            last_commit: now,
            ..Self::default()
        }
    }

    /// A record was handled.
    pub(crate) fn wrote(&mut self, updates: u64, has_appended: bool) {
        self.updates += updates;
        self.has_appended |= has_appended;
    }

    pub(crate) fn has_written(&self) -> bool {
        self.has_appended || self.updates > 0
    }

    /// The next barrier commits the offsets, whether they moved or not.
    pub(crate) fn owe(&mut self) {
        self.is_owed = true;
    }

    pub(super) fn owe_if_old(&mut self, now: Duration) {
        self.is_owed |= self.age(now) >= RECOMMIT;
    }

    pub(super) fn is_owed(&self) -> bool {
        self.is_owed
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// How long ago the offsets were committed.
    pub(crate) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last_commit)
    }

    /// The log has acknowledged what was written. Returns how many changelog records that is.
    pub(super) fn take_written(&mut self) -> u64 {
        self.has_appended = false;
        std::mem::take(&mut self.updates)
    }

    pub(super) fn committed(&mut self, now: Duration) {
        (self.is_owed, self.is_unknown) = (false, false);
        self.last_commit = now;
    }

    /// The offsets are to be committed again.
    pub(crate) fn failed(&mut self, is_unknown: bool) {
        (self.is_owed, self.is_unknown) = (true, is_unknown);
    }

    /// Forgets what was written. Returns whether changelog records were among it.
    pub(super) fn rewind(&mut self) -> bool {
        self.is_unknown = false;
        self.take_written() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_settles_what_was_owed_and_a_rewind_what_was_written() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let mut progress = CommitProgress::new(hours(0));
        progress.wrote(0, true);
        assert!(progress.has_written());
        assert!(!progress.rewind(), "an output is no changelog record");
        progress.wrote(2, true);
        progress.failed(true);
        assert!(progress.is_owed() && progress.is_unknown());
        assert!(progress.rewind());
        assert!(progress.is_owed() && !progress.is_unknown() && !progress.has_written());
        progress.committed(hours(1));
        progress.owe_if_old(hours(2));
        assert!(!progress.is_owed());
        progress.owe_if_old(hours(3));
        assert!(progress.is_owed());
    }
}
