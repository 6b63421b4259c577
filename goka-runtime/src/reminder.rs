//! When a failure that lasts is logged: at its beginning, then once a minute, and once when it is over.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// When a failure was last logged; `None` while there is none.
#[derive(Debug, Default)]
pub(crate) struct Reminder(Option<Instant>);

impl Reminder {
    /// Notes a failure; says whether it is to be logged now.
    pub(crate) fn is_due(&mut self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now - last >= INTERVAL);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }

    /// Notes that there is no failure; says whether there was one, whose end is to be logged.
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_logged_at_once_then_every_minute_and_when_it_is_over() {
        let (mut reminder, began) = (Reminder::default(), Instant::now());
        assert!(!reminder.is_over());
        let half_seconds = 0..2 * 150;
        let logged = half_seconds.filter(|at| {
            let now = began + Duration::from_millis(500) * *at;
            reminder.is_due_at(now)
        });
        assert_eq!(logged.collect::<Vec<_>>(), [0, 120, 240]);
        assert!(reminder.is_over() && !reminder.is_over());
        assert!(reminder.is_due_at(began), "another failure");
    }
}
