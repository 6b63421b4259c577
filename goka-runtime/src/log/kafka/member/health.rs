//! Whether the member is degraded: a failure that may pass is reported to the driver once, and once more
//! when it has passed. It knows no client; what is observed is given to it.

use std::time::{Duration, Instant};

use super::super::super::{Driver, MemberEvent};

/// How long a probe of the brokers waits for its answer.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long after a probe that failed the next one is sent.
const PROBE_AGAIN: Duration = Duration::from_millis(500);

/// After so long without a failed fetch, fetches count as recovered. librdkafka waits half a second
/// between two attempts.
const FETCHES_RECOVERED: Duration = Duration::from_secs(5);

/// A failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Degraded {
    /// No broker answers; a probe shows when one does.
    Brokers,
    /// A subscribed topic is missing; an assignment ends it.
    Subscription,
    /// Committed offsets cannot be read; the answer ends it.
    Lookup,
    /// Records cannot be fetched; some time without such a failure ends it.
    Fetch,
}

#[derive(Default)]
pub(super) struct Health {
    /// How long fetches may fail before that is reported.
    timeout: Duration,
    /// What was reported and has not recovered. One failure is reported at a time.
    degraded: Option<Degraded>,
    /// When fetches failed for the first time and for the last, while the client makes them again.
    failing_fetches: Option<(Instant, Instant)>,
    /// When the brokers are probed next, while none answers and no probe is in flight.
    next_probe: Option<Instant>,
    /// The last error of a connection to a broker: the reason why all of them are down.
    last_error: Option<String>,
}

impl Health {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            ..Self::default()
        }
    }

    pub(super) fn is_without_brokers(&self) -> bool {
        self.degraded == Some(Degraded::Brokers)
    }

    /// Reports a failure, unless one is reported already; returns whether it did.
    pub(super) fn degrade(
        &mut self,
        degraded: Degraded,
        reason: String,
        driver: &mut dyn Driver,
    ) -> bool {
        if self.degraded.is_some() {
            return false;
        }
        self.degraded = Some(degraded);
        self.next_probe = (degraded == Degraded::Brokers).then(Instant::now);
        driver.event(MemberEvent::Degraded(Some(reason)));
        true
    }

    /// Reports that a failure has passed, if it was reported; returns whether it did.
    pub(super) fn recover(&mut self, degraded: Degraded, driver: &mut dyn Driver) -> bool {
        if self.degraded != Some(degraded) {
            return false;
        }
        self.degraded = None;
        self.next_probe = None;
        self.last_error = None;
        driver.event(MemberEvent::Degraded(None));
        true
    }

    /// A connection to a broker failed. Others may work, so nothing is reported yet.
    pub(super) fn broker_failed(&mut self, reason: String) {
        self.last_error = Some(reason);
    }

    /// All connections to brokers failed.
    pub(super) fn all_brokers_failed(&mut self, reason: String, driver: &mut dyn Driver) -> bool {
        let reason = self.last_error.clone().unwrap_or(reason);
        self.degrade(Degraded::Brokers, reason, driver)
    }

    /// Whether a probe is due; it then counts as sent.
    pub(super) fn starts_probe(&mut self, now: Instant) -> bool {
        let is_due = self.next_probe.is_some_and(|next| next <= now);
        if is_due {
            self.next_probe = None;
        }
        is_due
    }

    /// A probe was answered, or failed.
    pub(super) fn probed(&mut self, is_answered: bool, driver: &mut dyn Driver) -> bool {
        if is_answered {
            return self.recover(Degraded::Brokers, driver);
        }
        if self.is_without_brokers() {
            self.next_probe = Some(Instant::now() + PROBE_AGAIN);
        }
        false
    }

    /// A fetch failed that the client makes again. Reported when that goes on for too long.
    pub(super) fn fetch_failed(
        &mut self,
        reason: String,
        now: Instant,
        driver: &mut dyn Driver,
    ) -> bool {
        let (since, last) = self.failing_fetches.get_or_insert((now, now));
        *last = now;
        if now.duration_since(*since) < self.timeout {
            tracing::debug!(reason, "fetch failed, and is retried");
            return false;
        }
        self.degrade(Degraded::Fetch, reason, driver)
    }

    /// Reports that fetches succeed again, if it was reported that they fail.
    pub(super) fn check_fetches(&mut self, now: Instant, driver: &mut dyn Driver) -> bool {
        let is_recent = |(_, last)| now.duration_since(last) < FETCHES_RECOVERED;
        if self.failing_fetches.is_none_or(is_recent) {
            return false;
        }
        self.failing_fetches = None;
        self.recover(Degraded::Fetch, driver)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Recorder;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn degraded(reason: &str) -> Option<String> {
        Some(reason.to_owned())
    }

    #[test]
    fn one_failure_is_reported_at_a_time_and_only_its_own_recovery_ends_it() {
        let (mut health, mut driver) = (Health::new(TIMEOUT), Recorder::default());
        assert!(health.degrade(Degraded::Lookup, "slow".to_owned(), &mut driver));
        assert!(!health.degrade(Degraded::Subscription, "gone".to_owned(), &mut driver));
        assert!(!health.recover(Degraded::Subscription, &mut driver));
        assert!(health.recover(Degraded::Lookup, &mut driver));
        assert!(!health.recover(Degraded::Lookup, &mut driver));
        assert_eq!(driver.degraded, [degraded("slow"), None]);
    }

    #[test]
    fn brokers_that_are_down_are_reported_with_their_last_error_and_probed() {
        let (mut health, mut driver) = (Health::new(TIMEOUT), Recorder::default());
        assert!(!health.starts_probe(Instant::now()));
        health.broker_failed("connection refused".to_owned());
        assert!(health.all_brokers_failed("all down".to_owned(), &mut driver));
        assert!(health.is_without_brokers());
        assert!(health.starts_probe(Instant::now()));
        assert!(!health.starts_probe(Instant::now()), "one is in flight");
        assert!(!health.probed(false, &mut driver));
        assert!(!health.starts_probe(Instant::now()), "not at once");
        assert!(health.starts_probe(Instant::now() + PROBE_AGAIN));
        assert!(health.probed(true, &mut driver));
        assert_eq!(driver.degraded, [degraded("connection refused"), None]);
        assert!(health.all_brokers_failed("all down".to_owned(), &mut driver));
        assert_eq!(driver.degraded.pop(), Some(degraded("all down")));
    }

    #[test]
    fn fetches_that_fail_are_reported_after_the_timeout_and_recover_after_a_while() {
        let (mut health, mut driver) = (Health::new(TIMEOUT), Recorder::default());
        let start = Instant::now();
        let fail = |health: &mut Health, at: Duration, driver: &mut Recorder| {
            health.fetch_failed("timed out".to_owned(), start + at, driver)
        };
        assert!(!fail(&mut health, Duration::ZERO, &mut driver));
        assert!(!fail(&mut health, TIMEOUT / 2, &mut driver));
        assert!(fail(&mut health, TIMEOUT, &mut driver));
        let soon = start + TIMEOUT + FETCHES_RECOVERED / 2;
        assert!(!health.check_fetches(soon, &mut driver));
        let later = start + TIMEOUT + FETCHES_RECOVERED;
        assert!(health.check_fetches(later, &mut driver));
        assert_eq!(driver.degraded, [degraded("timed out"), None]);
        assert!(!fail(&mut health, TIMEOUT * 3, &mut driver), "counted anew");
    }
}
