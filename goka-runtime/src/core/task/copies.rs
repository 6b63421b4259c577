//! The local copies of a task: its own table's and those of joined tables. Each is a buffer over a
//! store, with the state of its flushes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::flushes::Flushes;
use super::reads::StoreFailure;
use crate::core::ids::Now;
use crate::core::table_buffer::{FlushBatch, StoredKeys, TableBuffer};
use crate::record::{Offset, Timestamp, TopicId};

/// How many damaged copies of a task are rebuilt before it stops.
const MAX_DAMAGES: u32 = 3;

#[derive(Debug, Default)]
struct LocalCopy {
    buffer: TableBuffer,
    flushes: Flushes,
}

/// Which flushes are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlushRules {
    /// What has waited for so long is flushed.
    pub(crate) after: Duration,
    /// One flush in so long is synced.
    pub(crate) sync_interval: Duration,
    /// Everything is flushed now.
    pub(crate) is_urgent: bool,
    /// Everything is flushed and synced now, failed flushes included.
    pub(crate) is_closing: bool,
}

/// The order in which copies are flushed: what waited long enough, then what is fullest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlushRank {
    is_due: bool,
    bytes: usize,
}

/// The copies of one task.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The topic of the task's own table; `None` in a stateless group.
    table: Option<TopicId>,
    own: LocalCopy,
    joined: JoinedCopies,
    /// How many copies were damaged while the task ran.
    damages: u32,
    /// The stores are given up: what is acknowledged stays in the changelog alone.
    is_storeless: bool,
}

/// The copies of joined tables.
#[derive(Debug, Default)]
pub(crate) struct JoinedCopies(BTreeMap<TopicId, LocalCopy>);

impl JoinedCopies {
    pub(crate) fn buffer(&self, table: TopicId) -> Option<&TableBuffer> {
        Some(&self.0.get(&table)?.buffer)
    }
}

impl Copies {
    pub(super) fn new(table: Option<TopicId>) -> Self {
        Self {
            table,
            ..Self::default()
        }
    }

    /// The buffer of the task's own table.
    pub(crate) fn own(&self) -> &TableBuffer {
        &self.own.buffer
    }

    pub(super) fn own_mut(&mut self) -> &mut TableBuffer {
        &mut self.own.buffer
    }

    /// What a handler reads and writes.
    pub(crate) fn split(&mut self) -> (&mut TableBuffer, &JoinedCopies) {
        (&mut self.own.buffer, &self.joined)
    }

    pub(crate) fn joined_mut(&mut self, table: TopicId) -> Option<&mut TableBuffer> {
        Some(&mut self.joined.0.get_mut(&table)?.buffer)
    }

    fn copy(&mut self, table: TopicId) -> Option<&mut LocalCopy> {
        match self.table == Some(table) {
            true => Some(&mut self.own),
            false => self.joined.0.get_mut(&table),
        }
    }

    fn all(&self) -> impl Iterator<Item = &LocalCopy> {
        std::iter::once(&self.own).chain(self.joined.0.values())
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut LocalCopy> {
        std::iter::once(&mut self.own).chain(self.joined.0.values_mut())
    }

    /// Joins a table: its copy is empty until it is restored.
    pub(super) fn join(&mut self, table: TopicId) {
        self.joined.0.entry(table).or_default().buffer = TableBuffer::default();
    }

    /// The store of a copy reaches a changelog offset. With `expects_markers` control records may lie
    /// between it and the next record.
    pub(super) fn restored(&mut self, table: TopicId, offset: Offset, expects_markers: bool) {
        if let Some(copy) = self.copy(table) {
            copy.buffer = TableBuffer::over(offset);
            if expects_markers {
                copy.buffer.expect_anything();
            }
        }
    }

    /// What the store of a copy had when it was restored.
    pub(crate) fn know_stored(&mut self, table: TopicId, keys: StoredKeys) {
        if let Some(copy) = self.copy(table) {
            copy.buffer.know_stored(keys);
        }
    }

    /// The next record of each joined table.
    pub(super) fn joined_positions(&self) -> impl Iterator<Item = (TopicId, Offset)> {
        let joined = self.joined.0.iter();
        joined.map(|(topic, copy)| (*topic, copy.buffer.acknowledged()))
    }

    /// Skips offsets of a joined table that hold nothing, once all records before them are applied.
    pub(super) fn skip_gap(&mut self, table: TopicId, gap: &Range<Offset>) {
        if let Some(buffer) = self.joined_mut(table)
            && gap.contains(&buffer.acknowledged())
        {
            buffer.advance_to(gap.end);
        }
    }

    /// The joined copies are read again from where their stores are.
    pub(super) fn drop_joined(&mut self) {
        for copy in self.joined.0.values_mut() {
            copy.buffer = TableBuffer::default();
        }
    }

    /// The store of a copy went back, or was moved aside: nothing is known of it any more.
    pub(super) fn drop_copy(&mut self, table: TopicId) {
        if let Some(copy) = self.copy(table) {
            *copy = LocalCopy::default();
        }
    }

    /// Nothing is written to the stores any more.
    pub(crate) fn give_up_stores(&mut self) {
        self.is_storeless = true;
        for copy in self.all_mut() {
            copy.buffer = TableBuffer::default();
        }
    }

    pub(crate) fn is_storeless(&self) -> bool {
        self.is_storeless
    }

    /// A copy is damaged. Returns whether it is to be rebuilt: a disk that damages whatever is written
    /// would be filled with the copies that were moved aside.
    pub(crate) fn damaged(&mut self) -> bool {
        self.damages += 1;
        self.damages <= MAX_DAMAGES
    }

    /// Whether everything acknowledged of the task's own table is in the store.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_storeless || self.own.buffer.is_flushed()
    }

    /// The copies to be flushed, each with its rank among them.
    pub(super) fn due_flushes(&mut self, now: Now, rules: FlushRules) -> Vec<(FlushRank, TopicId)> {
        if self.is_storeless {
            return Vec::new();
        }
        let own = self.table.map(|table| (table, &mut self.own));
        let joined = self.joined.0.iter_mut();
        let all = own
            .into_iter()
            .chain(joined.map(|(table, copy)| (*table, copy)));
        all.filter_map(|(table, copy)| Some((copy.flush_rank(now, rules)?, table)))
            .collect()
    }

    /// The copy to be flushed first.
    pub(crate) fn next_flush(
        &mut self,
        now: Now,
        rules: FlushRules,
    ) -> Option<(FlushRank, TopicId)> {
        self.due_flushes(now, rules).into_iter().max()
    }

    pub(super) fn start_flush(
        &mut self,
        table: TopicId,
        now: Now,
        rules: FlushRules,
    ) -> Option<FlushBatch> {
        let is_joined = self.table != Some(table);
        Some(self.copy(table)?.start_flush(now, rules, is_joined))
    }

    /// Whether a store has rows on their way to it.
    pub(crate) fn is_flushing(&self) -> bool {
        self.all().any(|copy| copy.buffer.is_flushing())
    }

    /// How many changelog offsets the stores are behind what is acknowledged.
    pub(crate) fn behind(&self) -> Offset {
        match self.is_storeless {
            true => 0,
            false => self.all().map(|copy| copy.buffer.behind()).sum(),
        }
    }

    /// A flush of a copy has ended.
    pub(crate) fn flushed(&mut self, table: TopicId, is_done: bool) {
        if let Some(copy) = self.copy(table) {
            copy.buffer.flushed(is_done);
        }
    }

    /// The store of a copy has taken a flush. Returns whether it refused those before.
    pub(crate) fn flush_succeeded(&mut self, table: TopicId) -> bool {
        self.copy(table)
            .is_some_and(|copy| copy.flushes.failures.succeeded())
    }

    /// The store of a copy has refused a flush.
    pub(crate) fn flush_failed(
        &mut self,
        table: TopicId,
        now: Duration,
        timeout: Duration,
    ) -> StoreFailure {
        let copy = self.copy(table);
        copy.map_or(StoreFailure::First, |copy| {
            copy.flushes.failures.failed(now, timeout)
        })
    }

    /// The topic of a joined table ended there at that time.
    pub(crate) fn see_end(&mut self, table: TopicId, end: Offset, at: Timestamp) {
        if let Some(copy) = self.joined.0.get_mut(&table) {
            copy.flushes.see_end(end, at);
        }
    }

    /// The memory of all copies: all of it, and what waits for the stores.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        self.all().fold((0, 0), |(all, unstored), copy| {
            let (bytes, waits) = copy.buffer.bytes();
            (all + bytes, unstored + waits)
        })
    }

    pub(crate) fn buffers_mut(&mut self) -> impl Iterator<Item = &mut TableBuffer> {
        self.all_mut().map(|copy| &mut copy.buffer)
    }
}

impl LocalCopy {
    /// How urgently it is to be flushed; `None` if it is not.
    fn flush_rank(&mut self, now: Now, rules: FlushRules) -> Option<FlushRank> {
        // Most copies have nothing, at most ticks.
        if !self.buffer.can_flush() {
            return None;
        }
        let is_due = self.flushes.is_due(now.monotonic, rules.after);
        let awaits_retry = self.flushes.awaits_retry(now.monotonic);
        if rules.is_closing || ((is_due || rules.is_urgent) && !awaits_retry) {
            return Some(FlushRank {
                is_due,
                bytes: self.buffer.bytes().1,
            });
        }
        None
    }

    fn start_flush(&mut self, now: Now, rules: FlushRules, is_joined: bool) -> FlushBatch {
        let durability = self
            .flushes
            .begin(now.monotonic, rules.sync_interval, rules.is_closing);
        // The group alone writes its own table; other groups' records may be on their way to a joined one.
        let synced_at = match is_joined {
            true => self.flushes.level_at(self.buffer.acknowledged()),
            false => Some(now.wall),
        };
        self.buffer.start_flush(synced_at, durability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: TopicId = TopicId(0);
    const JOINED: TopicId = TopicId(5);

    fn flush(copies: &mut Copies, at: u64) -> Vec<(TopicId, Option<Timestamp>)> {
        let now = Now {
            monotonic: Duration::from_millis(at),
            wall: 1_000,
        };
        let rules = FlushRules {
            after: Duration::ZERO,
            sync_interval: Duration::from_secs(1),
            is_urgent: false,
            is_closing: false,
        };
        let due = copies.due_flushes(now, rules).into_iter();
        due.filter_map(|(_, table)| {
            let batch = copies.start_flush(table, now, rules)?;
            Some((table, batch.synced_at))
        })
        .collect()
    }

    fn copies() -> Copies {
        let mut copies = Copies::new(Some(OWN));
        copies.join(JOINED);
        copies.restored(OWN, 3, false);
        copies.restored(JOINED, 7, false);
        copies
    }

    fn row(copies: &mut Copies, next: Offset) {
        let joined = copies.joined_mut(JOINED).unwrap();
        joined.apply(b"k", 1, Some(b"v"));
        joined.advance_to(next);
    }

    #[test]
    fn a_flush_that_fails_is_tried_again_later() {
        let mut copies = copies();
        assert_eq!(flush(&mut copies, 0), []);
        row(&mut copies, 8);
        assert_eq!(flush(&mut copies, 0), [(JOINED, None)], "no end was seen");
        assert_eq!(flush(&mut copies, 0), [], "one at a time");
        copies.flushed(JOINED, false);
        let fail = |copies: &mut Copies, at| {
            let (at, timeout) = (Duration::from_millis(at), Duration::from_secs(1));
            copies.flush_failed(JOINED, at, timeout)
        };
        assert_eq!(fail(&mut copies, 0), StoreFailure::First);
        assert_eq!(flush(&mut copies, 199), []);
        copies.see_end(JOINED, 8, 500);
        assert_eq!(flush(&mut copies, 200), [(JOINED, Some(500))]);
        copies.flushed(JOINED, false);
        assert_eq!(fail(&mut copies, 200), StoreFailure::Repeated);
        assert_eq!(flush(&mut copies, 400), [(JOINED, Some(500))]);
        copies.flushed(JOINED, false);
        assert_eq!(fail(&mut copies, 1_000), StoreFailure::TimedOut);
        assert_eq!(flush(&mut copies, 1_200), [(JOINED, Some(500))]);
        copies.flushed(JOINED, true);
        assert!(copies.flush_succeeded(JOINED) && !copies.flush_succeeded(JOINED));
    }

    #[test]
    fn stores_that_are_given_up_are_flushed_no_more() {
        let mut copies = copies();
        row(&mut copies, 8);
        let own = copies.own_mut();
        own.write(b"k", None, 1, Some(b"v"));
        own.acknowledge(4, 0);
        assert!(!copies.is_flushed());
        copies.give_up_stores();
        assert!(copies.is_flushed() && copies.bytes() == (0, 0));
        row(&mut copies, 9);
        assert_eq!(flush(&mut copies, 0), []);
    }

    #[test]
    fn a_task_with_too_many_damaged_copies_stops() {
        let mut copies = copies();
        assert!((0..MAX_DAMAGES).all(|_| copies.damaged()));
        assert!(!copies.damaged());
    }
}
