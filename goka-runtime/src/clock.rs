//! The time: the machine's, or a simulated one that moves only when it is advanced. Code that decides by time
//! is given a clock; the core is given the time itself.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lock::lock;
use crate::record::Timestamp;

/// The machine's wall clock: milliseconds since the Unix epoch.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}

/// A clock; clones show the same time.
///
/// ```
/// use goka_runtime::clock::Clock;
/// use std::time::Duration;
///
/// let clock = Clock::simulated(1_000);
/// let same = clock.clone();
/// clock.advance(Duration::from_millis(250));
/// assert_eq!(same.monotonic(), Duration::from_millis(250));
/// assert_eq!(same.wall(), 1_250);
/// ```
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Machine {
        began: Instant,
        coarse: coarse::Moment,
    },
    Simulated(Arc<Mutex<Shown>>),
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    monotonic: Duration,
    wall: Timestamp,
}

impl Default for Clock {
    fn default() -> Self {
        Self(Kind::Machine {
            began: Instant::now(),
            coarse: coarse::now(),
        })
    }
}

impl Clock {
    /// A clock that stands still until it is advanced; `wall` is its wall time, in milliseconds
    /// since the Unix epoch.
    pub fn simulated(wall: Timestamp) -> Self {
        let monotonic = Duration::ZERO;
        Self(Kind::Simulated(Arc::new(Mutex::new(Shown {
            monotonic,
            wall,
        }))))
    }

    /// Since some fixed moment; never goes back.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Kind::Machine { began, .. } => began.elapsed(),
            Kind::Simulated(shown) => lock(shown).monotonic,
        }
    }

    /// The same, at most a few milliseconds late: cheap enough to be asked for with each record.
    #[inline]
    pub(crate) fn coarse(&self) -> Duration {
        match &self.0 {
            Kind::Machine { coarse, .. } => coarse::since(coarse),
            Kind::Simulated(shown) => lock(shown).monotonic,
        }
    }

    /// Milliseconds since the Unix epoch.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Kind::Machine { .. } => wall_clock(),
            Kind::Simulated(shown) => lock(shown).wall,
        }
    }

    /// Whether it moves only when it is advanced.
    pub fn is_simulated(&self) -> bool {
        matches!(self.0, Kind::Simulated(_))
    }

    /// Advances a simulated clock; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Kind::Simulated(shown) = &self.0 {
            let mut shown = lock(shown);
            shown.monotonic += by;
            let millis = Timestamp::try_from(by.as_millis()).unwrap_or(Timestamp::MAX);
            shown.wall = shown.wall.saturating_add(millis);
        }
    }

    /// Sets the wall time of a simulated clock, as when a machine's clock is corrected; does nothing to the
    /// machine's.
    pub fn set_wall(&self, wall: Timestamp) {
        if let Kind::Simulated(shown) = &self.0 {
            lock(shown).wall = wall;
        }
    }
}

/// The time of the last tick of Linux (4 ms apart at most, with `CONFIG_HZ` at 250) costs a third of what
/// the exact time costs.
#[cfg(target_os = "linux")]
mod coarse {
    use std::time::Duration;

    use rustix::time::{ClockId, Timespec, clock_gettime};

    pub(super) type Moment = Timespec;

    pub(super) fn now() -> Moment {
        clock_gettime(ClockId::MonotonicCoarse)
    }

    pub(super) fn since(began: &Moment) -> Duration {
        let now = now();
        let nanos = (now.tv_sec - began.tv_sec) * 1_000_000_000 + (now.tv_nsec - began.tv_nsec);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}

#[cfg(not(target_os = "linux"))]
mod coarse {
    use std::time::{Duration, Instant};

    pub(super) type Moment = Instant;

    pub(super) fn now() -> Moment {
        Instant::now()
    }

    pub(super) fn since(began: &Moment) -> Duration {
        began.elapsed()
    }
}
