//! Walks all partitions of a view at once, in key order. Each page is read from the present snapshot of its
//! copy, and none is held between two pages: so the store can reuse the pages of overwritten rows however
//! long a walk stays open, its memory is bounded, and other readers wait for one page at most.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::ops::ControlFlow;

use super::error::ViewError;
use super::shared::ReadSnapshot;
use crate::lock::lock;
use crate::table::{StoreError, StoreRead, Stored, holds_no_key};

/// How many entries of a partition are read at once, and how many bytes, exceeded by one entry at most.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 256 << 10;

/// Gives the present snapshot of a partition.
pub(super) type CurrentSnapshot = Box<dyn Fn(i32) -> Result<ReadSnapshot, ViewError> + Send>;

/// The entries of a range, in the order of the keys' bytes. Made by [`RawView`](super::RawView).
pub(crate) struct RawScan {
    present: CurrentSnapshot,
    cursors: Vec<Cursor>,
}

struct Cursor {
    partition: i32,
    page: VecDeque<(Vec<u8>, Stored)>,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    done: bool,
}

impl RawScan {
    pub(super) fn new(
        partitions: i32,
        present: CurrentSnapshot,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
    ) -> Self {
        let is_empty = holds_no_key((borrowed(from), borrowed(to)));
        let cursors = (0..partitions).map(|partition| Cursor {
            partition,
            page: VecDeque::new(),
            from: from.clone(),
            to: to.clone(),
            done: is_empty,
        });
        Self {
            present,
            cursors: cursors.collect(),
        }
    }
}

impl Cursor {
    fn fill(&mut self, present: &CurrentSnapshot) -> Result<(), ViewError> {
        if self.done || !self.page.is_empty() {
            return Ok(());
        }
        let snapshot = present(self.partition)?;
        let read = self.read(&**lock(&snapshot));
        let is_whole = read?;
        match self.page.back() {
            Some((last, _)) if !is_whole => {
                let at_end = matches!(&self.to, Bound::Included(to) if to == last);
                self.done = at_end;
                self.from = Bound::Excluded(last.clone());
            }
            _ => self.done = true,
        }
        Ok(())
    }

    /// Reads a page; `true` if it is the last one.
    fn read(&mut self, snapshot: &(dyn StoreRead + Send)) -> Result<bool, StoreError> {
        let (page, mut bytes) = (&mut self.page, 0);
        let keys = (borrowed(&self.from), borrowed(&self.to));
        let mut is_whole = true;
        snapshot.range(keys, &mut |key, stored| {
            bytes += key.len() + stored.value.len();
            page.push_back((key.to_vec(), stored.to_stored()));
            if page.len() < PAGE && bytes < PAGE_BYTES {
                ControlFlow::Continue(())
            } else {
                is_whole = false;
                ControlFlow::Break(())
            }
        })?;
        Ok(is_whole)
    }
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

impl Iterator for RawScan {
    type Item = Result<(Vec<u8>, Stored), ViewError>;

    fn next(&mut self) -> Option<Self::Item> {
        for cursor in &mut self.cursors {
            if let Err(error) = cursor.fill(&self.present) {
                self.cursors.clear();
                return Some(Err(error));
            }
        }
        self.cursors
            .iter_mut()
            .filter(|cursor| !cursor.page.is_empty())
            .min_by(|one, other| {
                let key = |cursor: &Cursor| cursor.page.front().map(|(key, _)| key.clone());
                key(one).cmp(&key(other))
            })
            .and_then(|cursor| cursor.page.pop_front())
            .map(Ok)
    }
}

impl fmt::Debug for RawScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawScan")
            .field("partitions", &self.cursors.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::shared::ViewShared;
    use super::*;
    use crate::table::redb::RedbStores;
    use crate::table::{Checkpoint, Durability, FORMAT, Store, StoredRef, Stores, Write};

    const KEYS: usize = 4_000;
    const VALUE: usize = 1_000;
    const ROUNDS: u8 = 20;

    fn write(store: &mut dyn Store, shared: &ViewShared, round: u8) {
        let keys: Vec<_> = (0..KEYS).map(|at| format!("{at:04}")).collect();
        let value = StoredRef {
            timestamp: 1,
            value: &[round; VALUE],
        };
        let write = |key| Write {
            key,
            value: Some(value),
        };
        let writes: Vec<_> = keys.iter().map(|key| write(key.as_bytes())).collect();
        let checkpoint = Checkpoint {
            format: FORMAT,
            cluster: "c".into(),
            topic_id: "t".into(),
            partition: 0,
            offset: i64::from(round),
            fingerprint: "f".into(),
            synced_at: 0,
        };
        store
            .apply(&writes, &checkpoint, Durability::Synced)
            .unwrap();
        shared.publish(0, store.snapshot().unwrap());
    }

    #[test]
    fn a_walk_that_stays_open_does_not_make_the_file_grow() {
        let temp = tempfile::tempdir().unwrap();
        let stores = RedbStores::new(temp.path().to_owned(), 1 << 20);
        let mut store = stores.open("t", 0).unwrap();
        let shared = Arc::new(ViewShared::new("t".into(), 1));
        write(&mut *store, &shared, 0);
        shared.advance(0, 1, 0, true);
        let present = {
            let shared = Arc::clone(&shared);
            move |partition| Ok(shared.ready(|_| partition)?.1)
        };
        let (from, to) = (Bound::Unbounded, Bound::Unbounded);
        let mut walk = RawScan::new(1, Box::new(present), &from, &to);
        let mut values = vec![walk.next().unwrap().unwrap()];
        let path = temp.path().join("t/0.redb");
        for round in 1..=ROUNDS {
            write(&mut *store, &shared, round);
        }
        let size = std::fs::metadata(&path).unwrap().len();
        let rows = u64::try_from(KEYS * VALUE).unwrap();
        eprintln!("{size} bytes of file for {rows} bytes of rows");
        assert!(size < rows * u64::from(ROUNDS) / 3, "{size} bytes of file");
        values.extend(walk.map(Result::unwrap));
        assert_eq!(values.len(), KEYS);
        assert!(values.is_sorted_by(|one, next| one.0 < next.0));
        let rounds: Vec<_> = values.iter().map(|(_, stored)| stored.value[0]).collect();
        // The page that was read ahead is of the first round, all later ones are of the last.
        assert!(rounds.is_sorted() && rounds[0] == 0 && rounds[KEYS - 1] == ROUNDS);
        assert!(rounds.iter().all(|round| [0, ROUNDS].contains(round)));
    }
}
