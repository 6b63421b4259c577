//! The file: the only place that knows redb. Chunks of records, topics, partitions' offsets and
//! groups' offsets are in one database, so that one transaction covers a whole barrier. Keeps no
//! state of its own; [`super::shared`] calls it, one writer at a time.

#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::chunk::{Damaged, HEAD, Head};
use super::reasons::{check_place, damaged, refused, storage, unreadable};
use super::rows::{Catalog, Changes, NotWritten, Page, PartitionRow, TopicRow};
use crate::checked_file::{CheckedFile, panic_as_error};
use crate::log::{Committed, LogError};
use crate::newer::Newer;
use crate::record::{Offset, TopicPartition};
use crate::shared_error::SharedError;

const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
const TOPICS: TableDefinition<&str, &[u8]> = TableDefinition::new("topics");
/// Handle → (start, end, cleaned, kept): see [`PartitionRow`].
const PARTITIONS: TableDefinition<u32, (i64, i64, i64, u64)> = TableDefinition::new("partitions");
/// Handle and base offset → chunk.
const RECORDS: TableDefinition<u128, &[u8]> = TableDefinition::new("records");
/// (group, topic, partition) → (offset, metadata).
const OFFSETS: TableDefinition<(&str, &str, i32), (i64, &str)> = TableDefinition::new("offsets");

/// The version of the tables above, and of the chunks. A file of another one is refused.
const FORMAT: u16 = 1;
/// redb's page cache; its default of 1 GiB is for a database that owns the machine.
const CACHE_BYTES: usize = 64 << 20;

pub(super) struct File {
    path: Option<PathBuf>,
    open: Box<dyn Fn() -> Result<Database, LogError> + Send + Sync>,
    /// `None` while it is broken and could not be opened again.
    db: RwLock<Option<Database>>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish()
    }
}

impl File {
    /// Opens the file, made when it is missing.
    pub(super) fn open(path: &Path) -> Result<(Self, Catalog), LogError> {
        let at = path.to_owned();
        Self::new(Some(path.to_owned()), Box::new(move || open_at(&at)))
    }

    pub(super) fn in_memory() -> Result<(Self, Catalog), LogError> {
        Self::new(
            None,
            Box::new(|| {
                let backend = redb::backends::InMemoryBackend::new();
                let db = redb::Builder::new()
                    .set_cache_size(CACHE_BYTES)
                    .create_with_backend(backend);
                db.map_err(|error| unusable(None, error.into()))
            }),
        )
    }

    /// Opens whatever `open` gives: tests hand in backends that fail.
    pub(super) fn new(
        path: Option<PathBuf>,
        open: Box<dyn Fn() -> Result<Database, LogError> + Send + Sync>,
    ) -> Result<(Self, Catalog), LogError> {
        let (db, catalog) = guarded(path.as_deref(), || {
            let db = open()?;
            let catalog = catalog(&db).map_err(|error| match error {
                error @ redb::Error::Io(_) => unusable(path.as_deref(), error),
                error => damaged(path.as_deref(), &error.to_string()),
            })?;
            Ok((db, catalog))
        })?;
        let db = RwLock::new(Some(db));
        Ok((Self { path, open, db }, catalog))
    }

    /// Opens it again after an I/O error: redb refuses everything until then.
    pub(super) fn reopen(&self) -> Result<Catalog, LogError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        self.guarded(|| {
            *db = None;
            let opened = (self.open)()?;
            let catalog = catalog(&opened).map_err(|error| self.error(error))?;
            *db = Some(opened);
            Ok(catalog)
        })
    }

    /// Makes a topic, durably; its partitions are empty.
    pub(super) fn create(&self, name: &str, row: &TopicRow) -> Result<(), LogError> {
        self.with(|db| {
            let mut txn = db.begin_write()?;
            txn.set_quick_repair(self.path.is_some());
            let json = serde_json::to_vec(row).expect("a row of plain fields is JSON");
            txn.open_table(TOPICS)?.insert(name, json.as_slice())?;
            let mut partitions = txn.open_table(PARTITIONS)?;
            for handle in row.first..row.first + row.partitions.unsigned_abs() {
                partitions.insert(handle, stored(PartitionRow::default()))?;
            }
            drop(partitions);
            Ok(txn.commit()?)
        })
    }

    /// Writes all changes or none; durable when it returns, unless they are relaxed.
    pub(super) fn write(&self, changes: &Changes<'_>) -> Result<(), NotWritten> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = db.as_ref() else {
            return Err(NotWritten::Nothing(self.broken()));
        };
        let prepared =
            self.guarded(|| self.prepare(db, changes).map_err(|error| self.error(error)));
        let txn = prepared.map_err(NotWritten::Nothing)?;
        let done = self.guarded(|| txn.commit().map_err(|error| self.error(error)));
        done.map_err(NotWritten::Unknown)
    }

    fn prepare(
        &self,
        db: &Database,
        changes: &Changes<'_>,
    ) -> Result<redb::WriteTransaction, redb::Error> {
        let mut txn = db.begin_write()?;
        if changes.relaxed {
            txn.set_durability(Durability::None)?;
        } else {
            // Or opening after a kill would walk the whole file.
            txn.set_quick_repair(self.path.is_some());
        }
        if !changes.chunks.is_empty() || !changes.removed.is_empty() {
            let mut records = txn.open_table(RECORDS)?;
            for (handle, base) in &changes.removed {
                records.remove(place(*handle, *base))?;
            }
            for chunk in &changes.chunks {
                let length = chunk.pieces.iter().map(|piece| piece.len()).sum::<usize>() + HEAD;
                let mut room = records.insert_reserve(place(chunk.handle, chunk.base), length)?;
                let (head, mut rest) = room.as_mut().split_at_mut(HEAD);
                head.copy_from_slice(&chunk.head.bytes());
                for piece in &chunk.pieces {
                    let (here, after) = rest.split_at_mut(piece.len());
                    here.copy_from_slice(piece);
                    rest = after;
                }
            }
        }
        if !changes.partitions.is_empty() {
            let mut partitions = txn.open_table(PARTITIONS)?;
            for (handle, row) in &changes.partitions {
                partitions.insert(handle, stored(*row))?;
            }
        }
        if !changes.offsets.is_empty() {
            let mut offsets = txn.open_table(OFFSETS)?;
            for new in &changes.offsets {
                let of = (new.group, new.topic, new.partition);
                offsets.insert(of, (new.offset, new.metadata))?;
            }
        }
        Ok(txn)
    }

    /// Chunks of a partition that hold `from` and what follows before `end`: at least one when
    /// there is one, then while they stay within the limits.
    pub(super) fn read(
        &self,
        handle: u32,
        from: Offset,
        end: Offset,
        limit: (usize, u32),
    ) -> Result<Page, LogError> {
        self.with(|db| {
            let txn = db.begin_read()?;
            let records = txn.open_table(RECORDS)?;
            let asked = place(handle, from);
            let first = records.range(place(handle, 0)..=asked)?.next_back();
            let first = first.transpose()?.map_or(asked, |(key, _)| key.value());
            let mut page = Page {
                bytes: Vec::new(),
                chunks: Vec::new(),
                more: None,
                from,
                end,
            };
            let mut count = 0;
            for entry in records.range(first..place(handle, end))? {
                let (key, value) = entry?;
                let (base, chunk) = (base_of(key.value()), value.value());
                let held = Head::read(chunk).map_or(0, |head| head.count);
                if !page.chunks.is_empty()
                    && (page.bytes.len() + chunk.len() > limit.0 || count + held > limit.1)
                {
                    page.more = Some(base);
                    break;
                }
                count += held;
                let at = page.bytes.len();
                page.bytes.extend_from_slice(chunk);
                page.chunks.push((base, at..page.bytes.len()));
            }
            Ok(page)
        })
    }

    pub(super) fn committed<'p>(
        &self,
        group: &str,
        partitions: impl Iterator<Item = (&'p str, i32)>,
    ) -> Result<Vec<Option<Committed>>, LogError> {
        self.with(|db| {
            let txn = db.begin_read()?;
            let offsets = txn.open_table(OFFSETS)?;
            let mut all = Vec::new();
            for (topic, partition) in partitions {
                let found = offsets.get((group, topic, partition))?;
                all.push(found.map(|found| committed(found.value())));
            }
            Ok(all)
        })
    }

    pub(super) fn all_committed(
        &self,
        group: &str,
    ) -> Result<Vec<(TopicPartition, Committed)>, LogError> {
        self.with(|db| {
            let txn = db.begin_read()?;
            let offsets = txn.open_table(OFFSETS)?;
            let mut all = Vec::new();
            for row in offsets.range((group, "", i32::MIN)..)? {
                let (key, found) = row?;
                let (of, topic, partition) = key.value();
                if of != group {
                    break;
                }
                let at = TopicPartition::new(topic, partition);
                all.push((at, committed(found.value())));
            }
            Ok(all)
        })
    }

    fn with<R>(
        &self,
        act: impl FnOnce(&Database) -> Result<R, redb::Error>,
    ) -> Result<R, LogError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| self.broken())?;
        self.guarded(|| act(db).map_err(|error| self.error(error)))
    }

    fn guarded<R>(&self, call: impl FnOnce() -> Result<R, LogError>) -> Result<R, LogError> {
        guarded(self.path.as_deref(), call)
    }

    fn broken(&self) -> LogError {
        storage(
            self.path.as_deref(),
            "it could not be opened again after an I/O error".to_owned(),
            None,
        )
    }

    fn error(&self, error: impl Into<redb::Error>) -> LogError {
        unusable(self.path.as_deref(), error.into())
    }

    /// The error of a chunk that makes no sense.
    pub(super) fn damaged(&self, _: Damaged) -> LogError {
        damaged(self.path.as_deref(), "a chunk of records cannot be read")
    }
}

/// redb may panic over pages that make no sense.
impl Drop for File {
    fn drop(&mut self) {
        let db = self.db.get_mut().unwrap_or_else(PoisonError::into_inner);
        let db = db.take();
        let _ = guarded(None, || {
            drop(db);
            Ok(())
        });
    }
}

/// Turns a panic of redb into an error: it trusts a file that was closed in order, and one of an
/// earlier version has no checksums.
fn guarded<R>(
    path: Option<&Path>,
    call: impl FnOnce() -> Result<R, LogError>,
) -> Result<R, LogError> {
    panic_as_error(call, |_| damaged(path, "its pages make no sense"))
}

fn place(handle: u32, offset: Offset) -> u128 {
    u128::from(handle) << 64 | u128::from(offset.unsigned_abs())
}

fn base_of(place: u128) -> Offset {
    Offset::try_from(place & u128::from(u64::MAX)).unwrap_or(Offset::MAX)
}

fn stored(row: PartitionRow) -> (i64, i64, i64, u64) {
    (row.start, row.end, row.cleaned, row.kept)
}

fn committed((offset, metadata): (i64, &str)) -> Committed {
    let metadata = metadata.to_owned();
    Committed { offset, metadata }
}

/// Reads everything but the records; makes the tables of a new file.
fn catalog(db: &Database) -> Result<Catalog, redb::Error> {
    let mut txn = db.begin_write()?;
    // In two phases, as the checksums of the file need it.
    txn.set_quick_repair(true);
    let mut meta = txn.open_table(META)?;
    let known = meta.get("cluster")?.map(|id| id.value().to_owned());
    let format = meta.get("format")?.map(|format| format.value().to_owned());
    if let Some(found) = format.filter(|format| *format != FORMAT.to_string()) {
        let (format, known) = ("log", FORMAT);
        let newer = Newer {
            format,
            found,
            known,
        };
        return Err(redb::Error::Io(newer.into()));
    }
    let is_new = known.is_none();
    let cluster = known.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    if is_new {
        meta.insert("cluster", cluster.as_str())?;
        meta.insert("format", FORMAT.to_string().as_str())?;
    }
    drop(meta);
    let mut topics = Vec::new();
    for entry in txn.open_table(TOPICS)?.iter()? {
        let (name, row) = entry?;
        let row = serde_json::from_slice(row.value());
        let row = row.map_err(|error| redb::Error::Corrupted(format!("a topic's row: {error}")))?;
        topics.push((name.value().to_owned(), row));
    }
    let mut partitions = Vec::new();
    for entry in txn.open_table(PARTITIONS)?.iter()? {
        let (start, end, cleaned, kept) = entry?.1.value();
        partitions.push(PartitionRow {
            start,
            end,
            cleaned,
            kept,
        });
    }
    txn.open_table(RECORDS)?;
    txn.open_table(OFFSETS)?;
    if is_new {
        txn.commit()?;
    } else {
        txn.abort()?;
    }
    Ok(Catalog {
        cluster,
        topics,
        partitions,
    })
}

/// How long a lock may outlive its holder: a process that is just being started holds copies of all
/// open files until it has become its own program.
const LOCK_OUTLIVES: Duration = Duration::from_millis(500);

fn open_at(path: &Path) -> Result<Database, LogError> {
    check_place(path)?;
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let until = Instant::now() + LOCK_OUTLIVES;
    let opened = loop {
        let file = CheckedFile::open(path);
        match file.and_then(|file| builder.create_with_backend(file)) {
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => break opened,
        }
    };
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let reason = "is in use by another process; stop that one, or give this one its own data \
                directory";
            storage(Some(path), reason.to_owned(), Some(SharedError::from(error)))
        }
        error => unusable(Some(path), error.into()),
    })
}

/// The error of a file that cannot be used because of an error of redb: what it means, and what to do.
fn unusable(path: Option<&Path>, error: redb::Error) -> LogError {
    let reason = match &error {
        redb::Error::Io(io) => refused(io),
        redb::Error::Corrupted(what) => unreadable(what),
        redb::Error::UpgradeRequired(version) => unreadable(&format!("redb file format {version}")),
        error => error.to_string(),
    };
    storage(path, reason, Some(SharedError::from(error)))
}
