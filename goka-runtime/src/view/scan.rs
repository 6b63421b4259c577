//! Walks all partitions of a view at once, in key order, over one frozen copy of each. Reads page
//! by page: its memory is bounded, and other readers wait for one page at most.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::table::{StoreError, StoreRead, Stored};

/// How many entries of a partition are read at once.
const PAGE: usize = 256;

/// A frozen copy of one partition, shared by its readers.
pub(super) type Frozen = Arc<Mutex<Box<dyn StoreRead + Send>>>;

/// The entries of a range, in the order of the keys' bytes. Made by [`RawView`](super::RawView).
pub(crate) struct RawScan {
    cursors: Vec<Cursor>,
}

struct Cursor {
    frozen: Frozen,
    page: VecDeque<(Vec<u8>, Stored)>,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    done: bool,
}

impl RawScan {
    pub(super) fn new(
        parts: impl Iterator<Item = Frozen>,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
    ) -> Self {
        // An empty range given the wrong way round is empty, not the store's panic.
        let empty = match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from >= to,
            _ => false,
        };
        Self {
            cursors: parts
                .map(|frozen| Cursor {
                    frozen,
                    page: VecDeque::new(),
                    from: from.clone(),
                    to: to.clone(),
                    done: empty,
                })
                .collect(),
        }
    }
}

impl Cursor {
    fn fill(&mut self) -> Result<(), StoreError> {
        if self.done || !self.page.is_empty() {
            return Ok(());
        }
        let page = &mut self.page;
        let keys = (borrowed(&self.from), borrowed(&self.to));
        self.frozen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .range(keys, &mut |key, stored| {
                let value = Stored {
                    timestamp: stored.timestamp,
                    value: stored.value.to_vec(),
                };
                page.push_back((key.to_vec(), value));
                if page.len() < PAGE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        match self.page.back() {
            Some((last, _)) if self.page.len() == PAGE => {
                let at_end = matches!(&self.to, Bound::Included(to) if to == last);
                self.done = at_end;
                self.from = Bound::Excluded(last.clone());
            }
            _ => self.done = true,
        }
        Ok(())
    }
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

impl Iterator for RawScan {
    type Item = Result<(Vec<u8>, Stored), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        for cursor in &mut self.cursors {
            if let Err(error) = cursor.fill() {
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
