//! The latest change of each key in changelog records, sorted by key as stores take them.

use std::collections::BTreeMap;

use super::{Flow, SortedWrites, Stored, Write};
use crate::record::Record;

/// What a key takes beside its bytes, about.
const ENTRY_BYTES: usize = 64;

/// A batch of changelog records, of which only the last one of each key counts.
#[derive(Debug, Default)]
pub(crate) struct LatestWrites {
    writes: BTreeMap<Vec<u8>, Option<Stored>>,
    /// What the records took together, also those that were replaced.
    bytes: usize,
}

impl LatestWrites {
    pub(crate) fn take(&mut self, record: &Record<'_>) {
        // A record without a key is in no table; only a foreign program writes one.
        let Some(key) = record.key else { return };
        self.bytes += key.len() + record.value.map_or(0, <[u8]>::len) + ENTRY_BYTES;
        let stored = record.value.map(|value| Stored {
            timestamp: record.timestamp,
            value: value.to_vec(),
        });
        self.writes.insert(key.to_vec(), stored);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl SortedWrites for LatestWrites {
    fn count(&self) -> usize {
        self.writes.len()
    }

    fn each(&self, each: &mut dyn FnMut(Write<'_>) -> Flow) {
        let mut writes = self.writes.iter().map(|(key, stored)| Write {
            key,
            value: stored.as_ref().map(Stored::view),
        });
        let _ = writes.try_for_each(each);
    }
}
