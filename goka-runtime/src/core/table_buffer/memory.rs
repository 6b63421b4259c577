//! How much memory a buffer takes, and how it is given back: cached rows are forgotten, places that rows have left are
//! used again, and chunks with few rows are emptied.

use super::TableBuffer;
use super::row::{Flags, RowId, RowState};

/// How many rows are looked at, at most, to find a place for another when the memory is used up.
const LOOKS_FOR_A_PLACE: usize = 64;
/// How many bytes of rows are moved at a time, at most, to give memory back.
const MAX_MOVED: usize = 2 << 20;
/// Said of a buffer that can take hardly another large value; sums of it fit.
const FULL: usize = 1 << 48;
/// Less than this is not worth moving rows.
const MIN_UNUSED: usize = 64 << 10;

impl TableBuffer {
    /// Forgets a few cached rows if there is no place for another one and no memory for more.
    pub(super) fn make_place(&mut self, key: usize, value: usize) {
        if self.arena.has_place(key, value) || self.bytes().0 < self.limit {
            return;
        }
        for _ in 0..LOOKS_FOR_A_PLACE {
            self.look();
            if self.arena.has_place(key, value) {
                return;
            }
        }
    }

    /// Looks at the next row and forgets it if it is cached and was not used lately.
    fn look(&mut self) {
        let Some(id) = self.arena.look() else { return };
        let flags = self.arena.flags(id);
        if !flags.is_cached() {
            return;
        }
        if flags.is_recent {
            let flags = Flags {
                is_recent: false,
                ..flags
            };
            self.arena.row(id).set_flags(flags);
        } else {
            self.forget(id);
        }
    }

    /// The row of this place lies elsewhere now.
    pub(super) fn leave(&mut self, id: RowId) {
        let flags = self.arena.flags(id);
        if flags.state == RowState::Clean {
            self.arena.remove(id);
            return;
        }
        let state = RowState::Moved;
        self.arena.row(id).set_flags(Flags { state, ..flags });
        if flags.state == RowState::Memtable {
            self.left += self.arena.row(id).bytes();
            if self.left > MIN_UNUSED.max(self.unstored / 4) {
                self.sweep();
            }
        }
    }

    /// Gives the places back that rows of the memtable have left.
    pub(super) fn sweep(&mut self) {
        let (arena, unstored) = (&mut self.arena, &mut self.unstored);
        self.memtable.retain(|id| {
            let is_here = arena.flags(*id).state != RowState::Moved;
            if !is_here {
                *unstored -= arena.row(*id).bytes();
                arena.remove(*id);
            }
            is_here
        });
        self.left = 0;
    }

    /// The memory taken: all of it, and what waits for the store. More than there can be once hardly another
    /// large value finds a place.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        if self.arena.is_full() {
            return (FULL, FULL);
        }
        let lists = (self.memtable.capacity() + self.flushing.capacity()) * size_of::<RowId>();
        let beside = self.index.bytes() + self.pending.memory() + self.forgotten.bytes() + lists;
        (self.arena.bytes().0 + beside, self.unstored)
    }

    /// Beyond so many bytes, cached rows that were not used lately are forgotten for new ones.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Cached rows that were not used lately are forgotten for new ones beyond `limit` bytes, and at once, looking at
    /// no more than `looks` rows, as long as more is taken.
    pub(crate) fn evict(&mut self, limit: usize, looks: usize) {
        self.limit = limit;
        for _ in 0..looks.min(2 * self.index.len()) {
            let (taken, unused) = (self.bytes().0, self.arena.bytes().1);
            if taken - unused.min(taken) <= limit - limit / 8 {
                break;
            }
            self.look();
        }
        self.compact(self.bytes().0 > limit);
    }

    /// Gives memory back that has no row any more: if it is a good part of all, or at once when it `is_urgent`. Not
    /// while something is pending, which names the places of its rows.
    pub(super) fn compact(&mut self, is_urgent: bool) {
        let (bytes, unused) = self.arena.bytes();
        let is_worth_it = is_urgent || unused >= MIN_UNUSED.max(bytes / 4);
        if !is_worth_it || !self.pending.is_empty() {
            return;
        }
        let index = &mut self.index;
        let eighths = if is_urgent { 8 } else { 6 };
        let released = self.arena.compact(eighths, MAX_MOVED, |arena, old, new| {
            index.replace(arena, old, new);
        });
        let (arena, unstored, left) = (&self.arena, &mut self.unstored, &mut self.left);
        self.memtable.retain_mut(|id| {
            if !released.has(*id) {
                return true;
            }
            let bytes = arena.row(*id).bytes();
            *unstored -= bytes;
            match arena.moved_to(*id) {
                Some(new) => {
                    *unstored += arena.row(new).bytes();
                    *id = new;
                    true
                }
                None => {
                    *left -= bytes;
                    false
                }
            }
        });
        self.arena.release_all(&released);
    }
}
