//! A store that fails, and one that cannot be read: its record is handled again in a while, for as long as
//! is allowed.

use std::time::Duration;

use crate::core::plan::RETRY;

/// How the reads of a task's stores stand.
#[derive(Debug, Default)]
pub(crate) struct StoreReads {
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Duration,
    /// When the record that could not read is handled again; `None` once it is.
    retry_at: Option<Duration>,
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

impl StoreFailure {
    /// One that follows failures `since` a time, if there were any.
    pub(super) fn new(since: Option<Duration>, now: Duration, timeout: Duration) -> Self {
        match since {
            _ if now.saturating_sub(since.unwrap_or(now)) >= timeout => Self::TimedOut,
            Some(_) => Self::Repeated,
            None => Self::First,
        }
    }
}

impl StoreReads {
    pub(crate) fn succeeded(&mut self) {
        self.failing = None;
    }

    pub(crate) fn failed(&mut self, now: Duration, timeout: Duration) -> StoreFailure {
        let since = self.failing.as_ref().map(|failing| failing.since);
        self.failing = Some(Failing {
            since: since.unwrap_or(now),
            retry_at: Some(now + RETRY),
        });
        StoreFailure::new(since, now, timeout)
    }

    /// Whether a record waits to be handled again.
    pub(super) fn are_awaited(&self) -> bool {
        let failing = self.failing.as_ref();
        failing.is_some_and(|failing| failing.retry_at.is_some())
    }

    /// Whether the record that waits is to be handled again now; then it waits no more.
    pub(super) fn is_retry_due(&mut self, now: Duration) -> bool {
        let retry_at = self.failing.as_mut().map(|failing| &mut failing.retry_at);
        let due = retry_at.and_then(|retry_at| retry_at.take_if(|at| *at <= now));
        due.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_tried_again_until_they_failed_for_too_long() {
        let (ms, timeout) = (Duration::from_millis, Duration::from_secs(1));
        let mut reads = StoreReads::default();
        assert_eq!(reads.failed(ms(0), timeout), StoreFailure::First);
        assert!(!reads.is_retry_due(ms(199)) && reads.are_awaited());
        assert!(reads.is_retry_due(ms(200)) && !reads.are_awaited());
        assert_eq!(reads.failed(ms(200), timeout), StoreFailure::Repeated);
        assert_eq!(reads.failed(ms(1_000), timeout), StoreFailure::TimedOut);
        reads.succeeded();
        assert_eq!(reads.failed(ms(2_000), timeout), StoreFailure::First);
    }
}
