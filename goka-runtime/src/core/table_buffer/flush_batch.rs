//! What a flush takes to a store: rows where they lie, sorted by the flush itself.

use super::row::{Held, Row, RowId, Words};
use crate::record::{Offset, Timestamp};
use crate::table::{Durability, Flow, SortedWrites, StoredRef, Write};

/// Acknowledged writes on their way to the store, with the changelog offset that they reach.
#[derive(Debug)]
pub(crate) struct FlushBatch {
    pub(super) chunks: Vec<Option<Words>>,
    pub(super) rows: Vec<RowId>,
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
            chunks: Vec::new(),
            rows: Vec::new(),
            offset,
            synced_at: None,
            durability,
        }
    }

    fn row(&self, id: RowId) -> Row<'_> {
        let chunk = self.chunks[id.chunk()].as_ref();
        chunk
            .expect("a row that is flushed keeps its chunk")
            .row(id)
    }

    /// The rows in the order of their keys.
    fn sorted(&self) -> Vec<RowId> {
        let rows = || self.rows.iter().map(|id| (self.row(*id), *id));
        // Keys often begin alike: the bytes behind that nearly always tell their order.
        let alike = rows().next().and_then(|(first, _)| {
            let alike = rows().map(|(row, _)| row.common_prefix(&first));
            alike.min()
        });
        let alike = alike.unwrap_or_default();
        let mut sorted: Vec<_> = rows().map(|(row, id)| (row.key_part(alike), id)).collect();
        sorted.sort_unstable_by(|(part, one), (other_part, other)| {
            let by_key = || self.row(*one).compare_keys(&self.row(*other));
            part.cmp(other_part).then_with(by_key)
        });
        sorted.into_iter().map(|(_, id)| id).collect()
    }
}

/// Sorting is the flush's work, not the worker's.
impl SortedWrites for FlushBatch {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn each(&self, each: &mut dyn FnMut(Write<'_>) -> Flow) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for id in self.sorted() {
            let row = self.row(id);
            let write = Write {
                key: row.key(&mut key),
                value: (row.flags().held == Held::Value).then(|| StoredRef {
                    timestamp: row.timestamp(),
                    value: row.value(&mut value),
                }),
            };
            if each(write).is_break() {
                return;
            }
        }
    }
}
