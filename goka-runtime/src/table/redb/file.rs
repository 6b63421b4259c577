//! One open file: its commits, and the reader between two of them.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableError,
    WriteTransaction,
};

use super::super::{
    Checkpoint, Durability, Flow, KeyRange, StoreError, StoreRead, Stored, StoredRef, layout,
};
use super::failure::{RedbFailure, call_redb};
use super::{ABOUT, CHECKPOINT, COMMITS, Disk, VALUES};

/// An open file.
pub(super) struct File {
    /// The reader between two commits; dropped for a commit, so that pages can be freed. Declared before
    /// `database`, since its transaction has to be dropped first.
    reader: OnceCell<Arc<Reader>>,
    pub(super) commits: u64,
    database: Database,
}

impl File {
    pub(super) fn open(disk: &dyn Disk, path: &Path, cache: usize) -> Result<Self, RedbFailure> {
        let mut file = Self {
            reader: OnceCell::new(),
            commits: 0,
            database: call_redb(|| Ok(disk.open(path, cache)?))?,
        };
        file.commits = file.reader()?.commits;
        Ok(file)
    }

    pub(super) fn reader(&self) -> Result<&Arc<Reader>, RedbFailure> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let reader = call_redb(|| Reader::new(self.database.begin_read()?))?;
        Ok(self.reader.get_or_init(|| Arc::new(reader)))
    }

    pub(super) fn commit(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<(), RedbFailure>,
    ) -> Result<(), RedbFailure> {
        let commits = self.commits + 1;
        call_redb(|| {
            self.reader.take();
            let mut transaction = self.database.begin_write()?;
            match durability {
                Durability::Synced => {
                    transaction.set_durability(redb::Durability::Immediate)?;
                    transaction.set_quick_repair(true);
                }
                Durability::Relaxed => transaction.set_durability(redb::Durability::None)?,
            }
            change(&transaction)?;
            let mut about = transaction.open_table(ABOUT)?;
            about.insert(COMMITS, &commits.to_be_bytes()[..])?;
            drop(about);
            Ok(transaction.commit()?)
        })?;
        self.commits = commits;
        Ok(())
    }
}

/// The contents as of one commit.
pub(super) struct Reader {
    pub(super) checkpoint: Option<Checkpoint>,
    commits: u64,
    /// `None` before the first value.
    values: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    _transaction: ReadTransaction,
}

impl Reader {
    fn new(transaction: ReadTransaction) -> Result<Self, RedbFailure> {
        let about = existing(transaction.open_table(ABOUT))?;
        let bytes = |name| -> Result<Option<Vec<u8>>, RedbFailure> {
            let Some(about) = &about else { return Ok(None) };
            Ok(ReadableTable::get(about, name)?.map(|bytes| bytes.value().to_vec()))
        };
        let checkpoint = bytes(CHECKPOINT)?
            .map(|bytes| layout::decode_checkpoint(&bytes))
            .transpose()?;
        let commits = match bytes(COMMITS)?.map(TryInto::try_into) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(layout::Damaged::Commits.into()),
        };
        Ok(Self {
            checkpoint,
            commits,
            values: existing(transaction.open_table(VALUES))?,
            _transaction: transaction,
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Stored>, RedbFailure> {
        let Some(values) = &self.values else {
            return Ok(None);
        };
        call_redb(|| {
            let Some(bytes) = ReadableTable::get(values, key)? else {
                return Ok(None);
            };
            Ok(Some(layout::decode_stored(bytes.value())?.to_stored()))
        })
    }

    /// Catches panics of redb, but not those of `each`.
    pub(super) fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), RedbFailure> {
        let Some(values) = &self.values else {
            return Ok(());
        };
        let mut entries = call_redb(|| Ok(ReadableTable::range::<&[u8]>(values, keys)?))?;
        while let Some((key, bytes)) = call_redb(|| Ok(entries.next().transpose()?))? {
            let (key, stored) =
                call_redb(|| Ok((key.value(), layout::decode_stored(bytes.value())?)))?;
            if each(key, stored).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A reader for another thread.
pub(super) struct Snapshot {
    pub(super) path: PathBuf,
    pub(super) reader: Arc<Reader>,
}

impl StoreRead for Snapshot {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.reader.checkpoint.clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.reader
            .get(key)
            .map_err(|failure| failure.at(&self.path))
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError> {
        let walked = self.reader.range(keys, each);
        walked.map_err(|failure| failure.at(&self.path))
    }
}

fn existing<T>(opened: Result<T, TableError>) -> Result<Option<T>, RedbFailure> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
