//! A table as the fold of the committed records of its topic, brought up to date with the simulated log
//! at each read. Tests read it, and handlers look up in it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::graph::TopicSpec;
use crate::lock::lock;
use crate::log::simulated::Simulated;
use crate::record::{Offset, Record};
use crate::table::Stored;
use crate::view::{LookedUp, ViewError};

pub(crate) type StoredRows = BTreeMap<Vec<u8>, Stored>;

/// Applies a record of a table's topic to its rows.
pub(crate) fn fold(rows: &mut StoredRows, record: &Record<'_>) {
    let (timestamp, value) = (record.timestamp, record.value.map(<[u8]>::to_vec));
    if let Some(key) = record.key {
        put(rows, key, value.map(|value| Stored { timestamp, value }));
    }
}

pub(crate) fn put(rows: &mut StoredRows, key: &[u8], stored: Option<Stored>) {
    match stored {
        Some(stored) => drop(rows.insert(key.to_vec(), stored)),
        None => drop(rows.remove(key)),
    }
}

#[derive(Debug, Default)]
struct FoldedPartition {
    next: Offset,
    rows: StoredRows,
}

#[derive(Debug)]
pub(crate) struct Folded {
    log: Simulated,
    topic: &'static str,
    place: fn(&[u8], i32) -> i32,
    parts: Mutex<Vec<FoldedPartition>>,
}

impl Folded {
    pub(crate) fn new(log: &Simulated, spec: &TopicSpec) -> Self {
        let partitions = 0..log.partitions_of(spec.name);
        let parts = partitions.map(|_| FoldedPartition::default()).collect();
        Self {
            log: log.clone(),
            topic: spec.name,
            place: spec.partition_of,
            parts: Mutex::new(parts),
        }
    }

    fn catch_up(&self, partition: i32, part: &mut FoldedPartition) {
        let rows = &mut part.rows;
        part.next = self
            .log
            .read_committed(self.topic, partition, part.next, &mut |_, record| {
                fold(rows, &record);
            });
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Stored> {
        let mut parts = lock(&self.parts);
        let count = i32::try_from(parts.len()).unwrap_or(i32::MAX);
        let partition = (self.place)(key, count);
        let part = parts.get_mut(usize::try_from(partition).ok()?)?;
        self.catch_up(partition, part);
        part.rows.get(key).cloned()
    }

    /// All rows, now, in the order of the keys' bytes.
    pub(crate) fn rows(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        for (partition, part) in (0..).zip(lock(&self.parts).iter_mut()) {
            self.catch_up(partition, part);
            let found = part.rows.iter();
            rows.extend(found.map(|(key, stored)| (key.clone(), stored.value.clone())));
        }
        rows
    }
}

impl LookedUp for Folded {
    fn stored(&self, key: &[u8]) -> Result<Option<Stored>, ViewError> {
        Ok(self.get(key))
    }
}
