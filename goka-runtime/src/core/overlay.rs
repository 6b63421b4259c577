//! The writes of one task that are not on disk: the overlay (since the last barrier), the memtable
//! (acknowledged), and what is being flushed. Reads go through them in that order, then to the store.
//! Knows no record and no log; the task moves writes from layer to layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::record::{Offset, Timestamp};
use crate::table::{Durability, StoredRef, Write};

/// A value, or a deletion, with the timestamp of the record that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) timestamp: Timestamp,
    pub(crate) value: Option<Box<[u8]>>,
}

impl Entry {
    pub(crate) fn view(&self) -> Option<StoredRef<'_>> {
        self.value.as_deref().map(|value| StoredRef {
            timestamp: self.timestamp,
            value,
        })
    }
}

type Map = HashMap<Box<[u8]>, Entry>;

/// Acknowledged writes on their way to the store: sorted, with the changelog offset they reach.
#[derive(Debug, PartialEq, Eq)]
pub struct Frozen {
    entries: Vec<(Box<[u8]>, Entry)>,
    /// The changelog offset that the store reaches with them.
    pub offset: Offset,
    /// When the copy was level with the topic, wall clock.
    pub synced_at: Timestamp,
    /// How durable the store's commit must be.
    pub durability: Durability,
}

impl Frozen {
    /// The writes, sorted by key.
    pub fn writes(&self) -> Vec<Write<'_>> {
        self.entries
            .iter()
            .map(|(key, entry)| Write {
                key,
                value: entry.view(),
            })
            .collect()
    }

    fn get(&self, key: &[u8]) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|(held, _)| (**held).cmp(key))
            .ok()?;
        Some(&self.entries[at].1)
    }
}

/// The layers over one store.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    overlay: Map,
    memtable: Map,
    flushing: Option<Arc<Frozen>>,
    /// The changelog offset that memtable and flush reach; the store is behind it or level.
    acknowledged: Offset,
    /// The changelog offset of the store.
    stored: Offset,
}

impl Layers {
    /// Nothing but a store that reaches `stored`.
    pub(crate) fn over(stored: Offset) -> Self {
        Self {
            acknowledged: stored,
            stored,
            ..Self::default()
        }
    }

    /// What the layers know of a key; `None` leaves it to the store.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.overlay
            .get(key)
            .or_else(|| self.memtable.get(key))
            .or_else(|| self.flushing.as_ref().and_then(|frozen| frozen.get(key)))
    }

    /// Takes one record's write into the overlay.
    pub(crate) fn write(&mut self, key: &[u8], entry: Entry) {
        match self.overlay.get_mut(key) {
            Some(held) => *held = entry,
            None => {
                self.overlay.insert(key.into(), entry);
            }
        }
    }

    /// Takes a record of a followed table: it is acknowledged as it comes.
    pub(crate) fn follow(&mut self, key: &[u8], entry: Entry, next: Offset) {
        self.memtable.insert(key.into(), entry);
        self.acknowledged = next;
    }

    /// The keys after `from` that the layers know, sorted, with whether they have a value.
    pub(crate) fn keys_after(&self, from: Option<&[u8]>) -> BTreeMap<Box<[u8]>, bool> {
        let after = |key: &[u8]| from.is_none_or(|from| key > from);
        let frozen = self
            .flushing
            .iter()
            .flat_map(|frozen| frozen.entries.iter());
        let frozen = frozen.map(|(key, entry)| (key, entry));
        // Older layers first: newer ones have the last word.
        frozen
            .chain(&self.memtable)
            .chain(&self.overlay)
            .filter(|(key, _)| after(key))
            .map(|(key, entry)| (key.clone(), entry.value.is_some()))
            .collect()
    }

    /// Forgets everything since the last barrier.
    pub(crate) fn drop_overlay(&mut self) {
        self.overlay.clear();
    }

    /// The overlay is acknowledged up to `offset`: it becomes memtable.
    pub(crate) fn acknowledge(&mut self, offset: Offset) {
        self.acknowledged = offset;
        if self.memtable.is_empty() {
            std::mem::swap(&mut self.memtable, &mut self.overlay);
        } else {
            self.memtable.extend(self.overlay.drain());
        }
    }

    /// Where the next changelog record of ours must land.
    pub(crate) fn acknowledged(&self) -> Offset {
        self.acknowledged
    }

    /// Whether everything acknowledged is in the store.
    pub(crate) fn is_flushed(&self) -> bool {
        self.stored == self.acknowledged && self.memtable.is_empty() && self.flushing.is_none()
    }

    /// Whether a flush can begin.
    pub(crate) fn can_freeze(&self) -> bool {
        self.flushing.is_none() && self.stored < self.acknowledged
    }

    /// Freezes the memtable to be flushed; it stays readable until [`Layers::flushed`].
    pub(crate) fn freeze(&mut self, synced_at: Timestamp, durability: Durability) -> Arc<Frozen> {
        let mut entries: Vec<_> = self.memtable.drain().collect();
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let frozen = Arc::new(Frozen {
            entries,
            offset: self.acknowledged,
            synced_at,
            durability,
        });
        self.flushing = Some(Arc::clone(&frozen));
        frozen
    }

    /// The frozen writes are in the store, or (`false`) are not: then they are memtable again,
    /// under what was acknowledged meanwhile.
    pub(crate) fn flushed(&mut self, done: bool) {
        let Some(frozen) = self.flushing.take() else {
            return;
        };
        if done {
            self.stored = frozen.offset;
            return;
        }
        for (key, entry) in &frozen.entries {
            if !self.memtable.contains_key(key) {
                self.memtable.insert(key.clone(), entry.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        Entry {
            timestamp: 1,
            value: Some(value.as_bytes().into()),
        }
    }

    fn read(layers: &Layers, key: &str) -> Option<String> {
        let entry = layers.get(key.as_bytes())?;
        entry
            .value
            .as_ref()
            .map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn newer_layers_hide_older_ones() {
        let mut layers = Layers::over(10);
        layers.write(b"a", entry("1"));
        layers.acknowledge(11);
        let frozen = layers.freeze(0, Durability::Relaxed);
        assert_eq!((frozen.offset, frozen.writes().len()), (11, 1));
        layers.write(b"a", entry("2"));
        layers.acknowledge(12);
        layers.write(b"a", entry("3"));
        assert_eq!(read(&layers, "a").as_deref(), Some("3"));
        layers.drop_overlay();
        assert_eq!(read(&layers, "a").as_deref(), Some("2"));
        layers.flushed(true);
        assert_eq!(read(&layers, "a").as_deref(), Some("2"));
        assert!(layers.can_freeze() && !layers.is_flushed());
    }

    #[test]
    fn a_failed_flush_stays_readable_and_does_not_hide_newer_writes() {
        let mut layers = Layers::over(0);
        layers.write(b"a", entry("1"));
        layers.write(b"b", entry("1"));
        layers.acknowledge(2);
        let _ = layers.freeze(0, Durability::Relaxed);
        layers.write(b"a", entry("2"));
        layers.acknowledge(3);
        layers.flushed(false);
        assert_eq!(read(&layers, "a").as_deref(), Some("2"));
        assert_eq!(read(&layers, "b").as_deref(), Some("1"));
        let again = layers.freeze(0, Durability::Relaxed);
        assert_eq!((again.offset, again.writes().len()), (3, 2));
        layers.flushed(true);
        assert!(layers.is_flushed());
    }
}
