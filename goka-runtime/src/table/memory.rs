//! Tables in memory: for tests, and for programs whose tables may be rebuilt at every start. A partition
//! outlives its [`Store`], as long as a [`MemoryStores`] exists. The rules are those of the file store, also
//! that of one holder at a time; both durabilities are the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{
    Checkpoint, Durability, Flow, KeyRange, SortedWrites, Store, StoreError, StoreRead, Stored,
    StoredRef, Stores, holds_no_key,
};
use crate::lock::lock;

/// One partition's contents; shared with snapshots, copied when written while one is alive.
#[derive(Debug, Clone, Default)]
struct Contents {
    values: BTreeMap<Vec<u8>, Stored>,
    checkpoint: Option<Checkpoint>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Empty while a store holds it.
    contents: Arc<Contents>,
    is_open: bool,
}

type Name = (String, i32);
type Partitions = Arc<Mutex<BTreeMap<Name, Partition>>>;

/// Partitions in memory; a clone is another handle on the same ones.
///
/// ```
/// use goka_runtime::table::{Stores, memory::MemoryStores};
/// let stores = MemoryStores::default();
/// let store = stores.open("clicks-state", 0)?;
/// assert_eq!(store.get(b"alice")?, None);
/// # Ok::<(), goka_runtime::table::StoreError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStores {
    partitions: Partitions,
}

impl Stores for MemoryStores {
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let name = (table.to_owned(), partition);
        let mut partitions = lock(&self.partitions);
        let entry = partitions.entry(name.clone()).or_default();
        if entry.is_open {
            return Err(StoreError::Locked { path: path(&name) });
        }
        entry.is_open = true;
        let contents = std::mem::take(&mut entry.contents);
        drop(partitions);
        Ok(Box::new(MemoryStore {
            contents,
            partitions: Arc::clone(&self.partitions),
            name,
        }))
    }

    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
        let name = (table.to_owned(), partition);
        let mut partitions = lock(&self.partitions);
        let Some(found) = partitions.get(&name) else {
            let reason = "nothing is there to set aside";
            return Err(StoreError::io(path(&name), reason));
        };
        if found.is_open {
            return Err(StoreError::Locked { path: path(&name) });
        }
        let prefix = format!("{table}.bad-");
        let number = |(other, of): &Name| {
            let number = other.strip_prefix(&prefix).filter(|_| *of == partition)?;
            number.parse::<u32>().ok()
        };
        let newest = partitions.keys().filter_map(number).max().unwrap_or(0);
        // Only the newest one is kept.
        partitions.retain(|other, _| number(other).is_none());
        let aside = (format!("{prefix}{}", newest.saturating_add(1)), partition);
        if let Some(moved) = partitions.remove(&name) {
            partitions.insert(aside.clone(), moved);
        }
        Ok(path(&aside))
    }
}

/// One partition in memory.
///
/// ```
/// use goka_runtime::table::{StoreRead, Stores, memory::{MemoryStore, MemoryStores}};
/// fn is_new(store: &MemoryStore) -> bool {
///     store.checkpoint() == Ok(None)
/// }
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    contents: Arc<Contents>,
    partitions: Partitions,
    name: Name,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        if let Some(partition) = lock(&self.partitions).get_mut(&self.name) {
            partition.is_open = false;
            partition.contents = std::mem::take(&mut self.contents);
        }
    }
}

impl StoreRead for MemoryStore {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.contents.checkpoint()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.contents.get(key)
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError> {
        self.contents.range(keys, each)
    }
}

impl Store for MemoryStore {
    fn apply(
        &mut self,
        sorted: &dyn SortedWrites,
        checkpoint: &Checkpoint,
        _durability: Durability,
    ) -> Result<(), StoreError> {
        let changed = Arc::make_mut(&mut self.contents);
        sorted.each(&mut |write| {
            match write.value {
                Some(stored) => changed
                    .values
                    .insert(write.key.to_vec(), stored.to_stored()),
                None => changed.values.remove(write.key),
            };
            Flow::Continue(())
        });
        changed.checkpoint = Some(checkpoint.clone());
        Ok(())
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.contents = Arc::default();
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn StoreRead + Send>, StoreError> {
        Ok(Box::new(Arc::clone(&self.contents)))
    }
}

impl StoreRead for Arc<Contents> {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.checkpoint.clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        Ok(self.values.get(key).cloned())
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError> {
        if holds_no_key(keys) {
            return Ok(());
        }
        for (key, stored) in self.values.range::<[u8], _>(keys) {
            if each(key, stored.view()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn path(name: &Name) -> String {
    format!("memory:{}/{}", name.0, name.1)
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[test]
    fn conforms() {
        conformance::conformance(&MemoryStores::default());
    }

    #[test]
    fn is_the_model() {
        conformance::tests::against_the_model(MemoryStores::default);
    }

    #[test]
    fn a_clone_finds_the_same_partitions() {
        let stores = MemoryStores::default();
        let held = stores.open("t", 0).expect("opens");
        let again = stores.clone().open("t", 0).err();
        assert!(
            matches!(again, Some(StoreError::Locked { .. })),
            "{again:?}"
        );
        drop(held);
        stores.clone().open("t", 0).expect("opens again");
    }
}
