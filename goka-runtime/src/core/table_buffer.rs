//! What is in memory of one copy, over its store: the *overlay* (written since the last barrier), the
//! *memtable* (acknowledged, not on disk), what is being flushed, and a cache of the store. Each key has one
//! row, with its acknowledged value; pending values are apart, so an abort forgets exactly those. Knows no
//! record and no log.

mod arena;
mod filter;
mod flush_batch;
mod index;
mod memory;
mod pending;
mod row;

use std::collections::BinaryHeap;

use self::arena::Arena;
use self::filter::Filter;
pub(crate) use self::filter::StoredKeys;
pub(crate) use self::flush_batch::FlushBatch;
use self::index::{Index, hash};
use self::pending::Pending;
pub(crate) use self::row::RowId;
use self::row::{Flags, Held, RowState};
use crate::record::{Offset, Timestamp};
use crate::table::{Durability, Stored, StoredRef};

/// The rows in memory over one store.
#[derive(Debug)]
pub(crate) struct TableBuffer {
    arena: Arena,
    index: Index,
    pending: Pending,
    /// The rows to be flushed, and places that such rows have left.
    memtable: Vec<RowId>,
    /// The rows that are being flushed; one that was written since lies elsewhere, too.
    flushing: Vec<RowId>,
    is_flushing: Option<Offset>,
    /// The changelog offset that memtable and flush reach; the store is behind it or level.
    acknowledged: Offset,
    /// Where the next changelog record of ours must land, if that is known.
    expected: Option<Offset>,
    /// The changelog offset of the store.
    stored: Offset,
    /// The memory of what waits for the store or is on its way.
    unstored: usize,
    /// Of it, that of places which rows of the memtable have left.
    left: usize,
    /// The keys that the store may have and no row has: those that were forgotten.
    forgotten: Filter,
    /// Whether there are no others: what the store had when the buffer was made is known, if it had anything.
    knows_all: bool,
    /// How much memory may be taken before cached rows are forgotten for new ones.
    limit: usize,
    /// The key of a row that is moved or forgotten.
    key: Vec<u8>,
}

impl Default for TableBuffer {
    fn default() -> Self {
        Self {
            arena: Arena::default(),
            index: Index::default(),
            pending: Pending::default(),
            memtable: Vec::new(),
            flushing: Vec::new(),
            is_flushing: None,
            acknowledged: 0,
            expected: None,
            stored: 0,
            unstored: 0,
            left: 0,
            forgotten: Filter::default(),
            knows_all: false,
            limit: usize::MAX,
            key: Vec::new(),
        }
    }
}

impl TableBuffer {
    /// Nothing but a store that reaches `stored`.
    pub(crate) fn over(stored: Offset) -> Self {
        Self {
            acknowledged: stored,
            expected: Some(stored),
            stored,
            knows_all: stored == 0,
            ..Self::default()
        }
    }

    /// The row of a key, if there is one.
    pub(crate) fn find(&self, key: &[u8]) -> Option<RowId> {
        self.index.find(&self.arena, hash(key), key)
    }

    /// The row of a key that is used now, if there is one.
    pub(crate) fn touch(&mut self, key: &[u8]) -> Option<RowId> {
        let id = self.find(key)?;
        let flags = self.arena.flags(id);
        if !flags.is_recent {
            let is_recent = true;
            self.arena.row(id).set_flags(Flags { is_recent, ..flags });
        }
        Some(id)
    }

    /// Whether a key that has no row may have a value in the store.
    pub(crate) fn may_be_stored(&self, key: &[u8]) -> bool {
        !self.knows_all || self.forgotten.may_have(hash(key))
    }

    /// What the store had when the buffer was made.
    pub(crate) fn know_stored(&mut self, keys: StoredKeys) {
        self.forgotten.merge(keys);
        self.knows_all = true;
    }

    /// The value of a row. Its bytes are put into `buffer`.
    pub(crate) fn read<'b>(&'b self, id: RowId, buffer: &'b mut Vec<u8>) -> Option<StoredRef<'b>> {
        let row = self.arena.row(id);
        let flags = row.flags();
        if flags.is_pending {
            return self.pending.get(id);
        }
        (flags.held == Held::Value).then(|| StoredRef {
            timestamp: row.timestamp(),
            value: row.value(buffer),
        })
    }

    /// Whether the key has no value, whatever the store has for it.
    pub(crate) fn is_deleted(&self, key: &[u8]) -> bool {
        self.find(key).is_some_and(|id| !self.lives(id))
    }

    fn lives(&self, id: RowId) -> bool {
        let flags = self.arena.flags(id);
        match flags.is_pending {
            true => self.pending.get(id).is_some(),
            false => flags.held == Held::Value,
        }
    }

    /// Keeps what the store has for a key that has no row: a key that it does not have is like a deleted one.
    pub(crate) fn remember(&mut self, key: &[u8], stored: Option<&Stored>) -> RowId {
        let value = stored.map(|stored| &*stored.value);
        let id = self.add(key, value.map_or(0, <[u8]>::len));
        let timestamp = stored.map_or(-1, |stored| stored.timestamp);
        self.arena.row(id).set_value(timestamp, value);
        id
    }

    /// Takes one record's write into the overlay.
    pub(crate) fn write(
        &mut self,
        key: &[u8],
        row: Option<RowId>,
        timestamp: Timestamp,
        value: Option<&[u8]>,
    ) {
        let row = row.or_else(|| self.find(key));
        let id = row.unwrap_or_else(|| self.add(key, value.map_or(0, <[u8]>::len)));
        self.pending.put(id, timestamp, value);
        let flags = self.arena.flags(id);
        if !(flags.is_pending && flags.is_recent) {
            let flags = Flags {
                is_pending: true,
                is_recent: true,
                ..flags
            };
            self.arena.row(id).set_flags(flags);
        }
    }

    /// Takes a record of a followed table: it is acknowledged as it comes.
    pub(crate) fn apply(&mut self, key: &[u8], timestamp: Timestamp, value: Option<&[u8]>) {
        let id = self.find(key);
        let id = id.unwrap_or_else(|| self.add(key, value.map_or(0, <[u8]>::len)));
        self.settle(id, timestamp, value);
    }

    /// Everything of a followed table before `next` was taken.
    pub(crate) fn advance_to(&mut self, next: Offset) {
        self.acknowledged = self.acknowledged.max(next);
    }

    /// A row for a key that has none.
    fn add(&mut self, key: &[u8], room: usize) -> RowId {
        self.make_place(key.len(), room);
        let id = self.arena.add(key, room);
        self.index.add(&self.arena, hash(key), id);
        id
    }

    fn forget(&mut self, id: RowId) {
        let hash = self.index.remove(&self.arena, id);
        if self.arena.flags(id).held == Held::Value {
            self.forgotten.add(hash);
        }
        self.arena.remove(id);
    }

    /// The acknowledged value of a row, which the store does not have yet.
    fn settle(&mut self, id: RowId, timestamp: Timestamp, value: Option<&[u8]>) {
        let flags = self.arena.flags(id);
        let stays = flags.state != RowState::Flushing;
        if stays && self.arena.row(id).set_value(timestamp, value) {
            if flags.state == RowState::Clean {
                let flags = Flags {
                    state: RowState::Memtable,
                    ..self.arena.flags(id)
                };
                self.arena.row(id).set_flags(flags);
                self.unstored += self.arena.row(id).bytes();
                self.memtable.push(id);
            }
            return;
        }
        // One that grew is likely to grow again.
        let length = value.map_or(0, <[u8]>::len);
        let room = if stays { length + length / 4 } else { length };
        let mut key = std::mem::take(&mut self.key);
        self.arena.row(id).key(&mut key);
        let new = self.arena.add(&key, room);
        self.key = key;
        self.arena.row(new).set_value(timestamp, value);
        self.index.replace(&self.arena, id, new);
        let flags = Flags {
            state: RowState::Memtable,
            ..flags
        };
        let held = self.arena.flags(new).held;
        self.arena.row(new).set_flags(Flags { held, ..flags });
        self.unstored += self.arena.row(new).bytes();
        self.memtable.push(new);
        self.leave(id);
    }

    /// The first keys after `from`, at most `max`, that live here and may not be in the store yet.
    pub(crate) fn unstored_after(&self, from: Option<&[u8]>, max: usize) -> Vec<Vec<u8>> {
        let acknowledged = self.memtable.iter().chain(&self.flushing).copied();
        // A row with a pending value is in that list, whatever else it is in.
        let acknowledged = acknowledged.filter(|id| {
            let flags = self.arena.flags(*id);
            flags.state != RowState::Moved && !flags.is_pending
        });
        let mut first = BinaryHeap::with_capacity(max + 1);
        let mut key = Vec::new();
        for id in self.pending.rows().chain(acknowledged) {
            if !self.lives(id) {
                continue;
            }
            self.arena.row(id).key(&mut key);
            let is_before = first.peek().is_none_or(|last| key < *last);
            if from.is_some_and(|from| &*key <= from) || (first.len() >= max && !is_before) {
                continue;
            }
            first.push(key.clone());
            if first.len() > max {
                first.pop();
            }
        }
        first.into_sorted_vec()
    }

    /// Forgets everything since the last barrier.
    pub(crate) fn drop_overlay(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for id in pending.rows() {
            let flags = Flags {
                is_pending: false,
                ..self.arena.flags(id)
            };
            self.arena.row(id).set_flags(flags);
            if flags.held == Held::Unknown {
                self.forget(id);
            }
        }
        self.reuse(pending);
    }

    /// Takes the writes of a barrier that is over, for its memory.
    fn reuse(&mut self, mut pending: Pending) {
        pending.clear();
        self.pending = pending;
        self.compact(false);
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
        self.settle_overlay();
    }

    fn settle_overlay(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for (id, timestamp, value) in pending.iter() {
            let flags = Flags {
                is_pending: false,
                ..self.arena.flags(id)
            };
            self.arena.row(id).set_flags(flags);
            self.settle(id, timestamp, value.map(|stored| stored.value));
        }
        self.reuse(pending);
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

    /// How many offsets the store is behind what is acknowledged.
    pub(crate) fn behind(&self) -> Offset {
        self.acknowledged - self.stored
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.is_flushing.is_some()
    }

    pub(crate) fn can_flush(&self) -> bool {
        self.is_flushing.is_none() && self.stored < self.acknowledged
    }

    /// Takes the memtable out to be flushed; it stays readable.
    pub(crate) fn start_flush(
        &mut self,
        synced_at: Option<Timestamp>,
        durability: Durability,
    ) -> FlushBatch {
        if mutant!(StoreAhead) {
            self.settle_overlay();
        }
        self.sweep();
        self.flushing = std::mem::take(&mut self.memtable);
        self.is_flushing = Some(self.acknowledged);
        for id in &self.flushing {
            let state = RowState::Flushing;
            let flags = self.arena.flags(*id);
            self.arena.row(*id).set_flags(Flags { state, ..flags });
            self.arena.pin(*id);
        }
        FlushBatch {
            chunks: self.arena.share(),
            rows: self.flushing.clone(),
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
        for id in std::mem::take(&mut self.flushing) {
            self.arena.unpin(id);
            let (flags, bytes) = (self.arena.flags(id), self.arena.row(id).bytes());
            if flags.state == RowState::Moved {
                self.unstored -= bytes;
                self.arena.remove(id);
            } else if done {
                self.unstored -= bytes;
                let state = RowState::Clean;
                self.arena.row(id).set_flags(Flags { state, ..flags });
            } else {
                let state = RowState::Memtable;
                self.arena.row(id).set_flags(Flags { state, ..flags });
                self.memtable.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
