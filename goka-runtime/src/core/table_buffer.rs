//! What is in memory of one copy, over its store: the *overlay* (written since the last barrier), the
//! *memtable* (acknowledged, not on disk), what is being flushed, and a cache of the store. One hash
//! table holds them all: a row has its acknowledged value and, apart from it, its pending one, so an
//! abort forgets exactly the pending values. Knows no record and no log.

use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use crate::record::{Offset, Timestamp};
use crate::table::{Durability, Stored, StoredRef, Write};

/// Short keys and values lie in the row itself.
type Bytes = SmallVec<[u8; 24]>;

/// A value, or a deletion, with the timestamp of the record that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowValue {
    timestamp: Timestamp,
    value: Option<Bytes>,
}

impl RowValue {
    pub(crate) fn new(timestamp: Timestamp, value: Option<&[u8]>) -> Self {
        Self {
            timestamp,
            value: value.map(SmallVec::from_slice),
        }
    }

    /// What a store has for a key: a key that it does not have is like a deleted one.
    pub(crate) fn of(stored: Option<&Stored>) -> Self {
        match stored {
            Some(stored) => Self::new(stored.timestamp, Some(&stored.value)),
            None => Self::new(-1, None),
        }
    }

    pub(crate) fn view(&self) -> Option<StoredRef<'_>> {
        self.value.as_deref().map(|value| StoredRef {
            timestamp: self.timestamp,
            value,
        })
    }

    fn heap(&self) -> usize {
        self.value.as_ref().map_or(0, heap)
    }
}

fn heap(bytes: &Bytes) -> usize {
    if bytes.spilled() { bytes.capacity() } else { 0 }
}

/// How what a row holds relates to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowState {
    /// The store has the same.
    Clean,
    /// The store has an older one.
    Memtable,
    /// It is on its way to the store.
    Flushing,
}

#[derive(Debug)]
struct Row {
    key: Bytes,
    hash: u64,
    /// Written since the last barrier.
    pending: Option<RowValue>,
    /// Acknowledged, or as the store has it; `None`: only the store knows.
    held: Option<RowValue>,
    state: RowState,
    /// Whether it was used since the cache was last looked through.
    recent: bool,
    weight: usize,
}

impl Row {
    fn entry(&self) -> Option<&RowValue> {
        self.pending.as_ref().or(self.held.as_ref())
    }

    fn weigh(&self) -> usize {
        let entries = [&self.pending, &self.held].into_iter().flatten();
        size_of::<Self>() + heap(&self.key) + entries.map(RowValue::heap).sum::<usize>()
    }
}

/// Acknowledged writes on their way to the store, with the changelog offset that they reach.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FlushBatch {
    entries: Vec<(Bytes, RowValue)>,
    /// The changelog offset that the store reaches with them.
    pub(crate) offset: Offset,
    /// When the copy was level with the topic, wall clock; `None` leaves it as the store has it.
    pub(crate) synced_at: Option<Timestamp>,
    /// How durable the store's commit must be.
    pub(crate) durability: Durability,
}

impl FlushBatch {
    /// A batch without writes, which brings a store to an offset.
    #[cfg(test)]
    pub(crate) fn empty(offset: Offset, durability: Durability) -> Self {
        Self {
            entries: Vec::new(),
            offset,
            synced_at: None,
            durability,
        }
    }

    /// The writes, sorted by key. Sorting is the flush's work, not the worker's: call it there.
    pub(crate) fn writes(&self) -> Vec<Write<'_>> {
        let writes = self.entries.iter().map(|(key, entry)| Write {
            key,
            value: entry.view(),
        });
        let mut writes: Vec<_> = writes.collect();
        writes.sort_unstable_by_key(|write| write.key);
        writes
    }
}

/// A row, for as long as its record is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowId(u32);

/// The rows in memory over one store.
#[derive(Debug, Default)]
pub(crate) struct TableBuffer {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    rows: Vec<Row>,
    free: Vec<u32>,
    /// The rows with a pending value.
    overlay: Vec<u32>,
    /// The rows to be flushed.
    memtable: Vec<u32>,
    /// The rows that are being flushed; one that was written since is memtable again.
    flushing: Vec<u32>,
    is_flushing: Option<Offset>,
    /// The changelog offset that memtable and flush reach; the store is behind it or level.
    acknowledged: Offset,
    /// Where the next changelog record of ours must land, if that is known.
    expected: Option<Offset>,
    /// The changelog offset of the store.
    stored: Offset,
    bytes: usize,
    /// Of them, what waits for the store or is on its way.
    unstored: usize,
    /// Where the cache is looked through next.
    next_look: usize,
}

impl TableBuffer {
    /// Nothing but a store that reaches `stored`.
    pub(crate) fn over(stored: Offset) -> Self {
        Self {
            acknowledged: stored,
            expected: Some(stored),
            stored,
            ..Self::default()
        }
    }

    /// The row of a key, if there is one.
    pub(crate) fn find(&self, key: &[u8]) -> Option<RowId> {
        self.find_hashed(self.hasher.hash_one(key), key)
    }

    fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<RowId> {
        let is_it = |at: &u32| {
            let row = &self.rows[*at as usize];
            row.hash == hash && *row.key == *key
        };
        self.table.find(hash, is_it).copied().map(RowId)
    }

    /// The row of a key that is used now, if there is one.
    pub(crate) fn touch(&mut self, key: &[u8]) -> Option<RowId> {
        let found = self.find(key);
        if let Some(row) = found {
            self.rows[row.0 as usize].recent = true;
        }
        found
    }

    /// The value of a row; `None` leaves it to the store.
    pub(crate) fn entry(&self, row: RowId) -> Option<&RowValue> {
        self.rows[row.0 as usize].entry()
    }

    /// What the buffer knows of a key; `None` leaves it to the store.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&RowValue> {
        self.entry(self.find(key)?)
    }

    /// Keeps what the store has for a key.
    pub(crate) fn remember(&mut self, key: &[u8], entry: RowValue) -> RowId {
        let id = self.row(key);
        let row = &mut self.rows[id.0 as usize];
        if row.held.is_none() {
            row.held = Some(entry);
            self.reweigh(id.0);
        }
        id
    }

    /// Takes one record's write into the overlay.
    pub(crate) fn write(&mut self, key: &[u8], row: Option<RowId>, entry: RowValue) {
        let id = row.unwrap_or_else(|| self.row(key));
        let row = &mut self.rows[id.0 as usize];
        row.recent = true;
        if row.pending.replace(entry).is_none() {
            self.overlay.push(id.0);
        }
        self.reweigh(id.0);
    }

    /// Takes a record of a followed table: it is acknowledged as it comes.
    pub(crate) fn apply(&mut self, key: &[u8], entry: RowValue) {
        let id = self.row(key);
        self.rows[id.0 as usize].held = Some(entry);
        self.mark_dirty(id.0);
        self.reweigh(id.0);
    }

    /// Everything of a followed table before `next` was taken.
    pub(crate) fn advance_to(&mut self, next: Offset) {
        self.acknowledged = self.acknowledged.max(next);
    }

    fn row(&mut self, key: &[u8]) -> RowId {
        let hash = self.hasher.hash_one(key);
        if let Some(row) = self.find_hashed(hash, key) {
            return row;
        }
        let row = Row {
            key: SmallVec::from_slice(key),
            hash,
            pending: None,
            held: None,
            state: RowState::Clean,
            recent: false,
            weight: 0,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.rows[at as usize] = row;
                at
            }
            None => {
                self.rows.push(row);
                u32::try_from(self.rows.len() - 1).expect("memory ends before four billion rows")
            }
        };
        let rows = &self.rows;
        self.table
            .insert_unique(hash, at, |at| rows[*at as usize].hash);
        self.reweigh(at);
        RowId(at)
    }

    fn reweigh(&mut self, at: u32) {
        let row = &mut self.rows[at as usize];
        let (before, now) = (row.weight, row.weigh());
        row.weight = now;
        self.bytes = self.bytes + now - before;
        if row.state != RowState::Clean {
            self.unstored = self.unstored + now - before;
        }
    }

    /// What the row holds is newer than the store.
    fn mark_dirty(&mut self, at: u32) {
        let row = &mut self.rows[at as usize];
        if row.state == RowState::Clean {
            self.unstored += row.weight;
        }
        if row.state != RowState::Memtable {
            row.state = RowState::Memtable;
            self.memtable.push(at);
        }
    }

    fn forget(&mut self, at: u32) {
        let row = &mut self.rows[at as usize];
        let is_it = |held: &u32| *held == at;
        if let Ok(entry) = self.table.find_entry(row.hash, is_it) {
            entry.remove();
        }
        self.bytes -= row.weight;
        row.weight = 0;
        (row.key, row.held) = (SmallVec::new(), None);
        self.free.push(at);
    }

    /// The first keys after `from`, at most `max`, that live here and may not be in the store yet.
    pub(crate) fn unstored_after(&self, from: Option<&[u8]>, max: usize) -> Vec<&[u8]> {
        // A row is in several lists: each is taken from the one that its state names.
        let lists = [
            (&self.overlay, RowState::Clean),
            (&self.memtable, RowState::Memtable),
            (&self.flushing, RowState::Flushing),
        ];
        let all = lists
            .into_iter()
            .flat_map(|(list, state)| list.iter().map(move |at| (at, state)));
        let mut first = BinaryHeap::with_capacity(max + 1);
        for (at, state) in all {
            let row = &self.rows[*at as usize];
            let lives = row.entry().is_some_and(|entry| entry.value.is_some());
            let lives = lives && row.state == state;
            let key = &*row.key;
            if !lives || from.is_some_and(|from| key <= from) {
                continue;
            }
            if first.len() < max || first.peek().is_some_and(|last| key < *last) {
                first.push(key);
                if first.len() > max {
                    first.pop();
                }
            }
        }
        first.into_sorted_vec()
    }

    /// Forgets everything since the last barrier.
    pub(crate) fn drop_overlay(&mut self) {
        for at in std::mem::take(&mut self.overlay) {
            let row = &mut self.rows[at as usize];
            row.pending = None;
            if row.held.is_none() {
                self.forget(at);
            } else {
                self.reweigh(at);
            }
        }
    }

    /// The transaction that held changelog records of ours was aborted: where the next one lands
    /// depends on how much of it was written.
    pub(crate) fn expect_anything(&mut self) {
        self.expected = None;
    }

    /// Whether the next changelog record of ours may land there.
    pub(crate) fn expects(&self, first: Offset) -> bool {
        match self.expected {
            Some(expected) => first == expected,
            None => first >= self.acknowledged,
        }
    }

    /// The overlay is acknowledged up to `offset`: it becomes memtable. `markers` offsets of the log's
    /// own lie between it and the next record.
    pub(crate) fn acknowledge(&mut self, offset: Offset, markers: Offset) {
        self.acknowledged = offset;
        self.expected = Some(offset + markers);
        for at in std::mem::take(&mut self.overlay) {
            let row = &mut self.rows[at as usize];
            row.held = row.pending.take();
            self.mark_dirty(at);
            self.reweigh(at);
        }
    }

    /// Only control records lie behind the last write: the copy is level with its topic.
    pub(crate) fn pass_markers(&mut self) {
        if let Some(expected) = self.expected {
            self.acknowledged = self.acknowledged.max(expected);
        }
    }

    /// The changelog offset that the acknowledged writes reach.
    pub(crate) fn acknowledged(&self) -> Offset {
        self.acknowledged
    }

    /// Whether everything acknowledged is in the store.
    pub(crate) fn is_flushed(&self) -> bool {
        self.stored == self.acknowledged && self.memtable.is_empty() && self.is_flushing.is_none()
    }

    pub(crate) fn can_flush(&self) -> bool {
        self.is_flushing.is_none() && self.stored < self.acknowledged
    }

    /// The memory taken: all of it, and what waits for the store.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (self.bytes, self.unstored)
    }

    /// Takes the memtable out to be flushed; it stays readable.
    pub(crate) fn start_flush(
        &mut self,
        synced_at: Option<Timestamp>,
        durability: Durability,
    ) -> FlushBatch {
        self.flushing = std::mem::take(&mut self.memtable);
        self.is_flushing = Some(self.acknowledged);
        let mut entries = Vec::with_capacity(self.flushing.len());
        for at in &self.flushing {
            let row = &mut self.rows[*at as usize];
            row.state = RowState::Flushing;
            let held = mutation!(flushed(row.held.as_ref(), row.pending.as_ref()));
            entries.extend(held.map(|held| (row.key.clone(), held.clone())));
        }
        FlushBatch {
            entries,
            offset: self.acknowledged,
            synced_at,
            durability,
        }
    }

    /// A flush has ended: its writes are in the store, or (`false`) are not. Then they are memtable again,
    /// unless a later value was acknowledged meanwhile.
    pub(crate) fn flushed(&mut self, done: bool) {
        let Some(offset) = self.is_flushing.take() else {
            return;
        };
        if done {
            self.stored = offset;
        }
        for at in std::mem::take(&mut self.flushing) {
            let row = &mut self.rows[at as usize];
            if row.state != RowState::Flushing {
                continue;
            }
            if done {
                row.state = RowState::Clean;
                self.unstored -= row.weight;
            } else {
                row.state = RowState::Memtable;
                self.memtable.push(at);
            }
        }
    }

    /// Forgets clean rows that were not used lately until `most` bytes are left, looking at no more
    /// than `looks` rows.
    pub(crate) fn evict(&mut self, most: usize, looks: usize) {
        for _ in 0..looks.min(2 * self.rows.len()) {
            if self.bytes <= most {
                return;
            }
            self.next_look = (self.next_look + 1) % self.rows.len();
            let row = &mut self.rows[self.next_look];
            let is_cached =
                row.state == RowState::Clean && row.pending.is_none() && row.held.is_some();
            if is_cached && !std::mem::take(&mut row.recent) {
                self.forget(u32::try_from(self.next_look).unwrap_or(u32::MAX));
            }
        }
    }
}

#[cfg(test)]
mod tests;
