//! Guards of `defer`: handled records whose offsets are not committed before something else is done.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::record::{Offset, TopicId};

/// So many records of a task may wait for their guards before intake stops.
const MANY: usize = 10_000;

/// A handled record whose commit waits for a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HeldRecord {
    topic: TopicId,
    offset: Offset,
    /// The record's key as text, for the error of a guard that fails.
    key: String,
}

/// The guards of one assignment.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    held: BTreeMap<u64, HeldRecord>,
    /// The number of the next guard; never used twice by one assignment.
    next: u64,
}

impl Guards {
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// A handler took the guards before `next`. Returns those that are new.
    pub(crate) fn took(&mut self, next: u64) -> Range<u64> {
        std::mem::replace(&mut self.next, next)..next
    }

    /// The record is not committed before these guards are done.
    pub(crate) fn hold(
        &mut self,
        guards: Range<u64>,
        topic: TopicId,
        offset: Offset,
        key: impl Fn() -> String,
    ) {
        for guard in guards {
            let key = key();
            self.held.insert(guard, HeldRecord { topic, offset, key });
        }
    }

    /// The key of the record that a guard holds back; `None` if it holds none.
    pub(crate) fn key(&self, guard: u64) -> Option<&str> {
        self.held.get(&guard).map(|held| &*held.key)
    }

    pub(crate) fn release(&mut self, guard: u64) {
        self.held.remove(&guard);
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether intake is to wait for some of them.
    pub(super) fn are_many(&self) -> bool {
        self.held.len() >= MANY
    }

    /// The first record of a topic that may not be committed.
    pub(super) fn first_held(&self, topic: TopicId) -> Option<Offset> {
        let of_topic = self.held.values().filter(|held| held.topic == topic);
        of_topic.map(|held| held.offset).min()
    }

    /// Whether any record of a topic is held back.
    pub(crate) fn holds(&self, topic: TopicId) -> bool {
        self.held.values().any(|held| held.topic == topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_record_of_a_topic_decides_and_numbers_are_used_once() {
        let (one, other) = (TopicId(1), TopicId(2));
        let mut guards = Guards::default();
        let failed = guards.took(2);
        assert_eq!(failed, 0..2, "of a handler that failed: nothing is held");
        for (next, topic, offset) in [(3, one, 7), (4, one, 5), (5, other, 1)] {
            let new = guards.took(next);
            guards.hold(new, topic, offset, || format!("key {offset}"));
        }
        assert_eq!(guards.first_held(one), Some(5));
        assert_eq!(guards.key(3), Some("key 5"));
        guards.release(3);
        assert_eq!(guards.first_held(one), Some(7));
        guards.clear();
        assert!(guards.is_empty() && !guards.holds(other) && guards.next() == 5);
    }
}
