//! Finds the rows of a copy by their keys. The hash table is in parts which grow one at a time, since a large one
//! that grows at once holds its worker up.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::arena::Arena;
use super::row::RowId;

/// A power of two.
const PARTS: usize = 32;

/// One for all tables of the process: filters of a store's keys are made elsewhere.
fn hasher() -> &'static DefaultHashBuilder {
    static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    &HASHER
}

pub(super) fn hash(key: &[u8]) -> u64 {
    let mut hasher = hasher().build_hasher();
    hasher.write(key);
    hasher.finish()
}

#[derive(Debug, Default)]
pub(super) struct Index {
    parts: [HashTable<RowId>; PARTS],
    /// Their memory.
    bytes: usize,
    /// The key of a row whose hash is asked for.
    key: Vec<u8>,
}

impl Index {
    /// The table's own hash bits are the lowest and the highest seven.
    fn part(hash: u64) -> usize {
        (hash >> 40) as usize % PARTS
    }

    pub(super) fn find(&self, arena: &Arena, hash: u64, key: &[u8]) -> Option<RowId> {
        let found = self.parts[Self::part(hash)].find(hash, |id| arena.row(*id).key_is(key));
        found.copied()
    }

    /// Adds a row of a key that has none.
    pub(super) fn add(&mut self, arena: &Arena, hash: u64, id: RowId) {
        let key = RefCell::new(&mut self.key);
        let hash_of = |id: &RowId| self::hash(arena.row(*id).key(&mut key.borrow_mut()));
        let part = &mut self.parts[Self::part(hash)];
        let before = part.allocation_size();
        part.insert_unique(hash, id, hash_of);
        self.bytes += part.allocation_size() - before;
    }

    /// A row that is at `old` is at `new` now.
    pub(super) fn replace(&mut self, arena: &Arena, old: RowId, new: RowId) {
        let hash = self::hash(arena.row(old).key(&mut self.key));
        if let Some(id) = self.parts[Self::part(hash)].find_mut(hash, |id| *id == old) {
            *id = new;
        }
    }

    /// Removes a row, and returns the hash of its key.
    pub(super) fn remove(&mut self, arena: &Arena, id: RowId) -> u64 {
        let hash = self::hash(arena.row(id).key(&mut self.key));
        if let Ok(entry) = self.parts[Self::part(hash)].find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        hash
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }
}
