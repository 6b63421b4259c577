//! The traits of local storage, which keeps the partitions of tables: the core reads through [`StoreRead`],
//! flushes and restores write to a [`Store`], and [`Stores`] opens them. Knows no log and no codec: keys
//! and values are bytes, ordered by the key's bytes.

pub mod conformance;
mod error;
mod latest;
mod layout;
pub mod memory;
pub mod redb;

use std::fmt;
use std::ops::Bound;

pub use self::error::StoreError;
pub(crate) use self::latest::LatestWrites;
use crate::record::{Offset, Timestamp};

/// The layout of a [`Checkpoint`]; a store of a later one is refused, with [`StoreError::Newer`].
pub const FORMAT: u16 = 1;

/// A value as stored: with the timestamp of the record that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Milliseconds since the epoch, or -1.
    pub timestamp: Timestamp,
    /// The value's bytes.
    pub value: Vec<u8>,
}

/// A borrowed [`Stored`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRef<'a> {
    /// Milliseconds since the epoch, or -1.
    pub timestamp: Timestamp,
    /// The value's bytes.
    pub value: &'a [u8],
}

impl Stored {
    pub(crate) fn view(&self) -> StoredRef<'_> {
        let (timestamp, value) = (self.timestamp, &*self.value);
        StoredRef { timestamp, value }
    }
}

impl StoredRef<'_> {
    pub(crate) fn to_stored(self) -> Stored {
        let (timestamp, value) = (self.timestamp, self.value.to_vec());
        Stored { timestamp, value }
    }
}

/// One change: a value, or `None` for a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its new value.
    pub value: Option<StoredRef<'a>>,
}

/// Changes in the order of their keys, without repeats: those of a flush lie where they are, in other forms than
/// [`Write`], and are read one at a time.
///
/// ```
/// use goka_runtime::table::{SortedWrites, Write};
/// let deletions = [Write { key: b"a", value: None }, Write { key: b"b", value: None }];
/// let mut keys = Vec::new();
/// deletions.each(&mut |write| {
///     keys.push(write.key.to_vec());
///     std::ops::ControlFlow::Continue(())
/// });
/// assert_eq!((keys.len(), &keys[0][..]), (deletions.count(), &b"a"[..]));
/// ```
pub trait SortedWrites {
    /// How many there are.
    fn count(&self) -> usize;
    /// Walks them in order until `each` breaks.
    fn each(&self, each: &mut dyn FnMut(Write<'_>) -> Flow);
}

impl SortedWrites for &[Write<'_>] {
    fn count(&self) -> usize {
        self.len()
    }

    fn each(&self, each: &mut dyn FnMut(Write<'_>) -> Flow) {
        let _ = self.iter().copied().try_for_each(each);
    }
}

impl SortedWrites for Vec<Write<'_>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn each(&self, each: &mut dyn FnMut(Write<'_>) -> Flow) {
        self.as_slice().each(each);
    }
}

impl<const N: usize> SortedWrites for [Write<'_>; N] {
    fn count(&self) -> usize {
        N
    }

    fn each(&self, each: &mut dyn FnMut(Write<'_>) -> Flow) {
        self.as_slice().each(each);
    }
}

/// The state of a local copy, written in the same commit as its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The layout, [`FORMAT`].
    pub format: u16,
    /// The cluster that the topic lives in.
    pub cluster: String,
    /// The identity of the group topic.
    pub topic_id: String,
    /// The partition.
    pub partition: i32,
    /// The next changelog offset to apply: all before it are in.
    pub offset: Offset,
    /// The table's definition, as text.
    pub fingerprint: String,
    /// When the copy was last level with the topic: wall clock, milliseconds since the epoch.
    pub synced_at: Timestamp,
}

/// How durable a commit must be when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk.
    Synced,
    /// Atomic, but a crash may take it back together with everything since the last synced one.
    Relaxed,
}

/// Whether a walk goes on.
pub type Flow = std::ops::ControlFlow<()>;

/// A range of keys, by their bytes.
pub type KeyRange<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Whether the bounds cross or leave nothing between them: stores may panic on some of these.
pub(crate) fn holds_no_key(keys: KeyRange<'_>) -> bool {
    match keys {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

/// The range of all keys that begin with `prefix`; the bound's bytes are put into `end`.
///
/// ```
/// use goka_runtime::table::prefix_range;
/// use std::ops::Bound;
/// let mut end = Vec::new();
/// assert_eq!(prefix_range(b"ab", &mut end), (Bound::Included(&b"ab"[..]), Bound::Excluded(&b"ac"[..])));
/// ```
pub fn prefix_range<'a>(prefix: &'a [u8], end: &'a mut Vec<u8>) -> KeyRange<'a> {
    end.clear();
    end.extend_from_slice(prefix);
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return (Bound::Included(prefix), Bound::Excluded(end));
        }
        end.pop();
    }
    (Bound::Included(prefix), Bound::Unbounded)
}

/// Reads one partition of a table.
pub trait StoreRead {
    /// The checkpoint of the last commit; `None` when nothing was ever stored.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;
    /// The value of a key.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError>;
    /// Walks a range in key order until `each` breaks.
    ///
    /// # Errors
    /// When the storage cannot be read.
    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError>;
}

/// One partition of a table on local storage.
pub trait Store: StoreRead + Send {
    /// Applies changes, sorted by key without repeats, and the checkpoint behind them: all or nothing.
    ///
    /// # Errors
    /// When it was not applied; the store is then as it was before.
    fn apply(
        &mut self,
        sorted: &dyn SortedWrites,
        checkpoint: &Checkpoint,
        durability: Durability,
    ) -> Result<(), StoreError>;
    /// Removes every value and the checkpoint.
    ///
    /// # Errors
    /// When the storage refuses.
    fn clear(&mut self) -> Result<(), StoreError>;
    /// A snapshot to read from another thread.
    ///
    /// # Errors
    /// When the storage refuses.
    fn snapshot(&self) -> Result<Box<dyn StoreRead + Send>, StoreError>;
}

/// Opens the partitions of tables.
pub trait Stores: Send + Sync + fmt::Debug {
    /// Opens one partition, created when it is missing.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when what is stored cannot be used: see [`Stores::set_aside`].
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError>;
    /// Announces how many more partitions this process may open, before it opens the first of them.
    ///
    /// # Errors
    /// When they cannot all be open at once, with the number.
    fn reserve(&self, _partitions: usize) -> Result<(), StoreError> {
        Ok(())
    }
    /// The name of a partition in errors, if it is the same for all processes: that of a file.
    fn location(&self, _table: &str, _partition: i32) -> Option<String> {
        None
    }
    /// Moves an unusable partition out of the way, and gives its new name. What was moved there before may
    /// be removed, so that repeated damage does not fill the disk.
    ///
    /// # Errors
    /// When it cannot be moved.
    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError>;
}
