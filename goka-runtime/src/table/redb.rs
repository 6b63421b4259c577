//! Tables on disk: one redb file per partition, `<dir>/<table>/<partition>.redb`. Owns the layout of that file
//! and the handling of redb's failures. Only this module and those below it may name redb in the table seam.
//!
//! Failures:
//! - A file that is not a store or is damaged is [`StoreError::Unreadable`]. Everything that is read from the
//!   file is verified ([`crate::checked_file`]), so damage is never a wrong value or a missing row. Files of
//!   earlier versions have no checksums and are read as they are; redb may panic over those, and a panic is
//!   `Unreadable` too.
//! - After an I/O error redb refuses everything until it is closed and opened again. So each call that fails
//!   by I/O opens the file again and retries once; a second failure is [`StoreError::Io`], and the next call
//!   begins by opening again. Snapshots of the closed file fail.
//! - Opening again after a failure loses what was not synced. New changes on that older state would be
//!   wrong: a counter of commits in the file shows it, and the store answers [`StoreError::RolledBack`]
//!   until it is opened through [`Stores::open`], whose caller reads the older checkpoint.

mod aside;
mod disk;
mod failure;
mod file;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::TableDefinition;

pub(crate) use self::disk::Disk;

use self::disk::MachineDisk;
use self::failure::{RedbFailure, call_redb, from_io};
use self::file::{File, Snapshot};

use super::{
    Checkpoint, Durability, Flow, KeyRange, SortedWrites, Store, StoreError, StoreRead, Stored,
    StoredRef, Stores, Write, layout,
};
use crate::shared_error::SharedError;

/// The table's keys to their values, as [`layout`] has them.
const VALUES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("values");
/// Metadata of the file: [`CHECKPOINT`] and [`COMMITS`].
const ABOUT: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("about");
const CHECKPOINT: &str = "stamp";
/// How many commits the file has seen, 8 bytes big-endian: fewer than before in a file that was rolled back.
const COMMITS: &str = "commits";

/// The cache budget is divided by at least so many files.
const EXPECTED_FILES: usize = 8;

/// How many files a process opens besides those of tables: connections, libraries, the log.
const OTHER_FILES: usize = 128;

/// A smaller cache does not hold the inner pages of a table of some million keys.
const SMALLEST_CACHE: usize = 1 << 20;

/// Partitions as redb files in a directory. Files, and the directories of tables, are for their owner
/// alone; a symbolic link in their place is refused.
///
/// The cache budget is shared: each file gets the budget divided by the number of files that are
/// [expected](Stores::expect), or are open if those are more, but at least 1 MiB. More files than the
/// process may open are refused when they are expected.
///
/// ```
/// use goka_runtime::table::{Stores, redb::RedbStores};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().to_path_buf();
/// let stores = RedbStores::new(path, 256 << 20);
/// stores.reserve(12)?;
/// let store = stores.open("clicks-state", 0)?;
/// assert_eq!(store.checkpoint()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RedbStores {
    dir: PathBuf,
    cache_bytes: usize,
    expected: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    disk: Arc<dyn Disk>,
}

impl RedbStores {
    /// Keeps partitions under `dir`, created when missing, with `cache_bytes` of cache in all.
    pub fn new(dir: PathBuf, cache_bytes: usize) -> Self {
        Self::on(Arc::new(MachineDisk), dir, cache_bytes)
    }

    /// The same on another disk.
    pub(crate) fn on(disk: Arc<dyn Disk>, dir: PathBuf, cache_bytes: usize) -> Self {
        Self {
            dir,
            cache_bytes,
            expected: Arc::default(),
            open: Arc::default(),
            disk,
        }
    }

    fn make_dirs(&self, path: &Path) -> Result<(), StoreError> {
        let made = self.disk.make_dir(&self.dir);
        made.map_err(|error| from_io(error).at(path))?;
        let Some(table) = path.parent() else {
            return Ok(());
        };
        let made = self.disk.make_table(table);
        made.map_err(|error| match from_io(error) {
            RedbFailure::Link => RedbFailure::Link.at(table),
            failure => failure.at(path),
        })
    }

    fn path(&self, table: &str, partition: i32) -> Result<PathBuf, StoreError> {
        let is_name = !table.contains(['/', '\\', '\0']) && !["", ".", ".."].contains(&table);
        let path = self.dir.join(table).join(format!("{partition}.redb"));
        if is_name {
            return Ok(path);
        }
        let reason = format!("`{}` cannot be a table's name", table.escape_debug());
        Err(RedbFailure::Io(reason.into()).at(&path))
    }
}

impl fmt::Debug for RedbStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStores")
            .field("dir", &self.dir)
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}

impl Stores for RedbStores {
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let path = self.path(table, partition)?;
        self.make_dirs(&path)?;
        let share = OpenCount::of(&self.open);
        let expected = self.expected.load(Ordering::Relaxed);
        let files = share.files.max(expected).max(EXPECTED_FILES);
        let cache = (self.cache_bytes / files).max(SMALLEST_CACHE);
        let file = File::open(&*self.disk, &path, cache);
        let file = file.map_err(|failure| failure.at(&path))?;
        Ok(Box::new(RedbStore {
            path,
            disk: Arc::clone(&self.disk),
            cache,
            state: RefCell::new(FileState::Open(file)),
            _share: share,
        }))
    }

    fn reserve(&self, partitions: usize) -> Result<(), StoreError> {
        let expected = self.expected.fetch_add(partitions, Ordering::Relaxed) + partitions;
        match open_files() {
            Some(limit) if expected + OTHER_FILES > limit => {
                let reason = format!(
                    "{expected} partitions of tables take as many files and about {OTHER_FILES} more \
                     are open, this process may open {limit}; raise its limit (`ulimit -n`)"
                );
                Err(RedbFailure::Io(reason.into()).at(&self.dir))
            }
            _ => Ok(()),
        }
    }

    fn location(&self, table: &str, partition: i32) -> Option<String> {
        let path = self.path(table, partition).ok()?;
        Some(path.display().to_string())
    }

    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
        let path = self.path(table, partition)?;
        Ok(self.move_aside(&path)?.display().to_string())
    }
}

/// How many files this process may have open; `None` for no limit.
fn open_files() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok())
}

/// Counts an open file while it lives.
struct OpenCount {
    open: Arc<AtomicUsize>,
    /// How many files were open when this one was, itself included.
    files: usize,
}

impl OpenCount {
    fn of(open: &Arc<AtomicUsize>) -> Self {
        let files = open.fetch_add(1, Ordering::Relaxed) + 1;
        let open = Arc::clone(open);
        Self { open, files }
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One partition in a redb file. Its snapshots end when it is dropped or had to open its file again:
/// they answer [`StoreError::Io`] from then on. While one lives, the pages that it reads are not
/// used again, and the file grows.
///
/// ```
/// use goka_runtime::table::{StoreRead, redb::RedbStore};
/// fn is_new(store: &RedbStore) -> bool {
///     store.checkpoint() == Ok(None)
/// }
/// ```
pub struct RedbStore {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    cache: usize,
    state: RefCell<FileState>,
    _share: OpenCount,
}

enum FileState {
    Open(File),
    /// Closed after an I/O error. Opened again, it must have seen so many commits.
    Closed {
        commits: u64,
        reason: String,
    },
    /// Not usable until it is opened through [`Stores::open`].
    Unusable(StoreError),
}

impl RedbStore {
    /// Runs `call` on the open file: opened again first if it failed before, and once more if it
    /// fails by I/O now.
    fn on_file<T>(
        &self,
        mut call: impl FnMut(&mut File) -> Result<T, RedbFailure>,
    ) -> Result<T, StoreError> {
        let state = &mut *self.state.borrow_mut();
        let mut is_retry = false;
        loop {
            let failure = match self.opened(state).and_then(&mut call) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let is_last = is_retry || !matches!(failure, RedbFailure::Io(_));
            let error = self.close_after(state, failure);
            if is_last {
                return Err(error);
            }
            is_retry = true;
        }
    }

    /// Closes the file after a failure; the next call opens it again, unless it is damaged or rolled back.
    fn close_after(&self, state: &mut FileState, failure: RedbFailure) -> StoreError {
        let commits = match state {
            FileState::Open(file) => file.commits,
            FileState::Closed { commits, .. } => *commits,
            FileState::Unusable(error) => return error.clone(),
        };
        let is_over = matches!(
            failure,
            RedbFailure::Unreadable(_) | RedbFailure::RolledBack(_)
        );
        let reason = match &failure {
            RedbFailure::Io(reason) => reason.to_string(),
            _ => String::new(),
        };
        let error = failure.at(&self.path);
        let next = if is_over {
            FileState::Unusable(error.clone())
        } else {
            FileState::Closed { commits, reason }
        };
        close(std::mem::replace(state, next));
        error
    }

    fn opened<'s>(&self, state: &'s mut FileState) -> Result<&'s mut File, RedbFailure> {
        if let FileState::Closed { commits, reason } = state {
            let file = File::open(&*self.disk, &self.path, self.cache)?;
            if file.commits < *commits {
                let offset = file
                    .reader()?
                    .checkpoint
                    .as_ref()
                    .map_or(0, |checkpoint| checkpoint.offset);
                let lost = format!(
                    "after an I/O error ({reason}) the file holds only what was synced, up to changelog \
                     offset {offset}; open the store again and read the changelog from there"
                );
                return Err(RedbFailure::RolledBack(lost.into()));
            }
            *state = FileState::Open(file);
        }
        match state {
            FileState::Open(file) => Ok(file),
            FileState::Closed { .. } => Err(RedbFailure::Io("the file is closed".into())),
            FileState::Unusable(error) => Err(RedbFailure::Io(SharedError::from(error.clone()))),
        }
    }
}

/// Closing a damaged file may panic as well.
fn close(state: FileState) {
    let _ = call_redb(|| {
        drop(state);
        Ok(())
    });
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        let closed = FileState::Closed {
            commits: 0,
            reason: String::new(),
        };
        close(std::mem::replace(self.state.get_mut(), closed));
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl StoreRead for RedbStore {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.on_file(|file| Ok(file.reader()?.checkpoint.clone()))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.on_file(|file| file.reader()?.get(key))
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError> {
        // `each` may read this store, so nothing is borrowed while it runs. It must not get a row twice, so
        // there is no retry after its first one.
        let mut has_called = false;
        let mut is_retry = false;
        loop {
            let reader = self.on_file(|file| file.reader().map(Arc::clone))?;
            let walked = reader.range(keys, &mut |key, stored| {
                has_called = true;
                each(key, stored)
            });
            let Err(failure) = walked else {
                return Ok(());
            };
            drop(reader);
            let is_last = is_retry || has_called || !matches!(failure, RedbFailure::Io(_));
            let error = self.close_after(&mut self.state.borrow_mut(), failure);
            if is_last {
                return Err(error);
            }
            is_retry = true;
        }
    }
}

impl Store for RedbStore {
    fn apply(
        &mut self,
        sorted: &dyn SortedWrites,
        checkpoint: &Checkpoint,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let checkpoint = mutation!(stamp(checkpoint));
        let checkpoint = layout::encode_checkpoint(&checkpoint);
        let applied = self.on_file(|file| {
            file.commit(durability, |transaction| {
                let mut values = transaction.open_table(VALUES)?;
                let mut put_all = Ok(());
                sorted.each(&mut |write| {
                    put_all = put(&mut values, &write);
                    match put_all {
                        Ok(()) => Flow::Continue(()),
                        Err(_) => Flow::Break(()),
                    }
                });
                put_all?;
                let mut about = transaction.open_table(ABOUT)?;
                about.insert(CHECKPOINT, &checkpoint[..])?;
                fail_point!("mid-store-flush", sorted.count());
                Ok(())
            })
        });
        fail_point!("after-store-flush", sorted.count());
        applied
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.on_file(|file| {
            file.commit(Durability::Synced, |transaction| {
                transaction.delete_table(VALUES)?;
                transaction.open_table(ABOUT)?.remove(CHECKPOINT)?;
                Ok(())
            })
        })
    }

    fn snapshot(&self) -> Result<Box<dyn StoreRead + Send>, StoreError> {
        let reader = self.on_file(|file| file.reader().map(Arc::clone))?;
        let path = self.path.clone();
        Ok(Box::new(Snapshot { path, reader }))
    }
}

fn put(values: &mut redb::Table<'_, &[u8], &[u8]>, write: &Write<'_>) -> Result<(), RedbFailure> {
    match write.value {
        Some(stored) => {
            let mut place = values.insert_reserve(write.key, layout::encoded_len(stored))?;
            layout::encode_stored(stored, place.as_mut());
        }
        None => {
            values.remove(write.key)?;
        }
    }
    Ok(())
}
