//! When a copy's memtable goes to its store, and when a joined copy was level with its topic.

use std::time::Duration;

use super::reads::StoreFailures;
use crate::record::{Offset, Timestamp};
use crate::table::Durability;

/// How one copy's flushes stand.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    /// Since when something waits for the store.
    waits_since: Option<Duration>,
    last_synced: Option<Duration>,
    pub(super) failures: StoreFailures,
    /// Of a joined copy, where its topic was seen to end, and when: until the copy reaches it.
    seen_end: Option<(Offset, Timestamp)>,
    /// Of a joined copy, when it last held all of its topic.
    level_at: Option<Timestamp>,
}

impl Flushes {
    pub(super) fn is_due(&mut self, now: Duration, interval: Duration) -> bool {
        let since = *self.waits_since.get_or_insert(now);
        now.saturating_sub(since) >= interval
    }

    /// Whether the last flush failed and is not to be tried again yet.
    pub(super) fn awaits_retry(&mut self, now: Duration) -> bool {
        !self.failures.is_retry_due(now) && self.failures.is_retry_awaited()
    }

    /// A flush begins. What is not synced is lost with the process, so one flush in an interval is
    /// synced, and those between are cheaper: a restart replays what two intervals wrote at most.
    pub(super) fn begin(
        &mut self,
        now: Duration,
        interval: Duration,
        is_closing: bool,
    ) -> Durability {
        self.waits_since = None;
        self.failures.retry_at = None;
        let since = self.last_synced.map(|last| now.saturating_sub(last));
        if is_closing || since.is_none_or(|since| since >= interval) {
            self.last_synced = Some(now);
            Durability::Synced
        } else {
            Durability::Relaxed
        }
    }

    /// The topic of a joined copy ended there at that time. A copy that lags reaches the earlier end
    /// first, and is level as of then, so a later end does not replace it.
    pub(super) fn see_end(&mut self, end: Offset, at: Timestamp) {
        self.seen_end.get_or_insert((end, at));
    }

    /// When a joined copy that reaches an offset was level with its topic, if that is known.
    pub(super) fn level_at(&mut self, reached: Offset) -> Option<Timestamp> {
        if let Some((_, at)) = self.seen_end.take_if(|(end, _)| *end <= reached) {
            self.level_at = Some(at);
        }
        self.level_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flush_in_an_interval_is_synced() {
        let mut flushes = Flushes::default();
        let (interval, ms) = (Duration::from_millis(1000), Duration::from_millis);
        let rows = [
            (200, Durability::Synced),
            (400, Durability::Relaxed),
            (1_199, Durability::Relaxed),
            (1_200, Durability::Synced),
            (1_300, Durability::Relaxed),
            (9_000, Durability::Synced),
        ];
        for (at, expected) in rows {
            assert_eq!(flushes.begin(ms(at), interval, false), expected, "{at}");
        }
        assert_eq!(flushes.begin(ms(9_001), interval, true), Durability::Synced);
    }
}
