//! When the client is asked for its positions, which show offset gaps.

use std::time::{Duration, Instant};

/// The interval while something is fetched.
const SHORTEST: Duration = Duration::from_millis(50);

/// While nothing is fetched, the interval is doubled up to this.
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct GapSchedule {
    next: Instant,
    interval: Duration,
}

impl GapSchedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            interval: SHORTEST,
        }
    }

    pub(super) fn made_progress(&mut self, now: Instant) {
        self.interval = SHORTEST;
        self.next = self.next.min(now + SHORTEST);
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// The client was asked, and a gap was found or not.
    pub(super) fn asked(&mut self, found: bool, now: Instant) {
        self.interval = match found {
            true => SHORTEST,
            false => (self.interval * 2).min(LONGEST),
        };
        self.next = now + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_asked_more_and_more_seldom_until_something_is_fetched() {
        let mut now = Instant::now();
        let mut schedule = GapSchedule::new(now);
        assert!(schedule.is_due(now));
        for millis in [100, 200, 400, 800, 1000, 1000] {
            schedule.asked(false, now);
            let interval = Duration::from_millis(millis);
            assert!(!schedule.is_due(now + interval - Duration::from_millis(1)));
            now += interval;
            assert!(schedule.is_due(now));
        }
        schedule.asked(false, now);
        schedule.made_progress(now);
        assert!(!schedule.is_due(now));
        assert!(schedule.is_due(now + SHORTEST));
        schedule.asked(true, now);
        assert!(schedule.is_due(now + SHORTEST));
    }
}
