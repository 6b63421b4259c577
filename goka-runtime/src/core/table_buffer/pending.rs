//! What was written since the last barrier, apart from the rows: a barrier that is aborted forgets it.

use hashbrown::HashTable;

use super::row::RowId;
use crate::record::Timestamp;
use crate::table::StoredRef;

/// What is kept of the memory from one barrier to the next.
const KEPT_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy)]
struct Write {
    row: RowId,
    timestamp: Timestamp,
    /// Where its value lies in `bytes`, and how long it is; `None` is a deletion.
    value: Option<(usize, usize)>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    writes: Vec<Write>,
    /// Finds the write of a row.
    index: HashTable<u32>,
    bytes: Vec<u8>,
}

impl Pending {
    fn at(&self, row: RowId) -> Option<usize> {
        let is_it = |at: &u32| self.writes[*at as usize].row == row;
        self.index.find(row.hash(), is_it).map(|at| *at as usize)
    }

    /// Takes the latest write of a row.
    pub(super) fn put(&mut self, row: RowId, timestamp: Timestamp, value: Option<&[u8]>) {
        let at = match self.at(row) {
            Some(at) => at,
            None => {
                let at = u32::try_from(self.writes.len()).expect("a barrier has fewer writes");
                let writes = &self.writes;
                let hash_of = |at: &u32| writes[*at as usize].row.hash();
                self.index.insert_unique(row.hash(), at, hash_of);
                self.writes.push(Write {
                    row,
                    timestamp,
                    value: None,
                });
                at as usize
            }
        };
        let write = &mut self.writes[at];
        write.timestamp = timestamp;
        write.value = value.map(|value| match write.value {
            Some((from, length)) if length >= value.len() => {
                self.bytes[from..from + value.len()].copy_from_slice(value);
                (from, value.len())
            }
            _ => {
                self.bytes.extend_from_slice(value);
                (self.bytes.len() - value.len(), value.len())
            }
        });
    }

    /// The latest write of a row that has one.
    pub(super) fn get(&self, row: RowId) -> Option<StoredRef<'_>> {
        self.view(&self.writes[self.at(row)?]).1
    }

    fn view(&self, write: &Write) -> (Timestamp, Option<StoredRef<'_>>) {
        let timestamp = write.timestamp;
        let value = write.value.map(|(from, length)| StoredRef {
            timestamp,
            value: &self.bytes[from..from + length],
        });
        (timestamp, value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = RowId> {
        self.writes.iter().map(|write| write.row)
    }

    /// Each write, with its timestamp.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RowId, Timestamp, Option<StoredRef<'_>>)> {
        let writes = self.writes.iter();
        writes.map(|write| {
            let (timestamp, value) = self.view(write);
            (write.row, timestamp, value)
        })
    }

    pub(super) fn clear(&mut self) {
        if self.memory() > KEPT_BYTES {
            *self = Self::default();
        } else {
            self.writes.clear();
            self.index.clear();
            self.bytes.clear();
        }
    }

    /// Its memory.
    pub(super) fn memory(&self) -> usize {
        let writes = self.writes.capacity() * size_of::<Write>();
        writes + self.index.allocation_size() + self.bytes.capacity()
    }
}
