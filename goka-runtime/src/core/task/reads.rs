//! A store that fails, and one that cannot be read: its record is handled again in a while, for as long as
//! is allowed.

use std::time::Duration;

use crate::core::plan::RETRY;

/// A store that fails, or does not.
#[derive(Debug, Default)]
pub(crate) struct StoreFailures {
    since: Option<Duration>,
    /// When what failed is tried again; `None` once it is.
    pub(super) retry_at: Option<Duration>,
}

/// A read or a flush that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFailure {
    /// The one before it did not fail.
    First,
    Repeated,
    /// All have failed for longer than is allowed.
    TimedOut,
}

impl StoreFailures {
    /// Returns whether those before failed.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(self).since.is_some()
    }

    pub(crate) fn failed(&mut self, now: Duration, timeout: Duration) -> StoreFailure {
        self.retry_at = Some(now + RETRY);
        let is_first = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        match is_first {
            _ if now.saturating_sub(since) >= timeout => StoreFailure::TimedOut,
            true => StoreFailure::First,
            false => StoreFailure::Repeated,
        }
    }

    /// Whether something waits to be tried again.
    pub(super) fn is_retry_awaited(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether what waits is to be tried again now; then it waits no more.
    pub(super) fn is_retry_due(&mut self, now: Duration) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_tried_again_until_they_failed_for_too_long() {
        let (ms, timeout) = (Duration::from_millis, Duration::from_secs(1));
        let mut reads = StoreFailures::default();
        assert_eq!(reads.failed(ms(0), timeout), StoreFailure::First);
        assert!(!reads.is_retry_due(ms(199)) && reads.is_retry_awaited());
        assert!(reads.is_retry_due(ms(200)) && !reads.is_retry_awaited());
        assert_eq!(reads.failed(ms(200), timeout), StoreFailure::Repeated);
        assert_eq!(reads.failed(ms(1_000), timeout), StoreFailure::TimedOut);
        reads.succeeded();
        assert_eq!(reads.failed(ms(2_000), timeout), StoreFailure::First);
    }
}
