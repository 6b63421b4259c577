//! Tables on disk: one redb file per partition, `<dir>/<table>/<partition>.redb`. Owns the layout of
//! that file and everything that redb does when a disk or a file misbehaves. The one place of the
//! table seam that may name redb.
//!
//! What is done about failures:
//! - A file that is not a store or is damaged is [`StoreError::Unreadable`]. redb trusts a file
//!   that was closed in order and may panic on one that was changed since: every call into it is
//!   guarded, and a panic is `Unreadable` too (so this needs unwinding, not `panic = "abort"`).
//!   Damage inside a value is not noticed: redb verifies checksums only when it repairs.
//! - After an I/O error redb refuses everything until it is closed and opened again. So each call
//!   that fails by I/O opens the file again and tries once more; a second failure is
//!   [`StoreError::Io`], and the next call begins by opening again. Snapshots end with the opening.
//! - Opening again after a failure takes back what was not synced. Then retrying would put new
//!   changes on an old state: a counter in the file tells, and the store answers nothing but
//!   `Io` until it is opened through [`Stores::open`], whose caller judges the older stamp.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, TableError, WriteTransaction,
};

use super::{
    Durability, Flow, KeyRange, Stamp, Store, StoreError, StoreRead, Stored, StoredRef, Stores,
    Write, layout,
};

/// The table's keys to their values, as [`layout`] has them.
const VALUES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("values");
/// What the file says of itself: [`STAMP`] and [`COMMITS`].
const ABOUT: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("about");
const STAMP: &str = "stamp";
/// How many commits the file has seen, 8 bytes big-endian: tells a file that fell back.
const COMMITS: &str = "commits";

/// How many open files the cache budget is first cut for.
const EXPECTED_FILES: usize = 8;

/// Below this a cache holds not even the inner pages of a table of some million keys.
const SMALLEST_CACHE: usize = 1 << 20;

type Opener = dyn Fn(&Path, usize) -> Result<Database, DatabaseError> + Send + Sync;

/// Partitions as redb files in a directory.
///
/// The cache budget is shared: each file gets the budget divided by the number of files open by
/// then, or by the number [expected](Self::expecting) if that is larger.
///
/// ```
/// use goka_runtime::table::{Stores, redb::RedbStores};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().to_path_buf();
/// let stores = RedbStores::new(path, 256 << 20).expecting(12);
/// let store = stores.open("clicks-state", 0)?;
/// assert_eq!(store.stamp()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RedbStores {
    dir: PathBuf,
    cache_bytes: usize,
    expected: usize,
    open: Arc<AtomicUsize>,
    opener: Arc<Opener>,
}

impl RedbStores {
    /// Keeps partitions under `dir`, made when missing, with `cache_bytes` of cache in all.
    pub fn new(dir: PathBuf, cache_bytes: usize) -> Self {
        Self {
            dir,
            cache_bytes,
            expected: EXPECTED_FILES,
            open: Arc::default(),
            opener: Arc::new(|path, cache| Database::builder().set_cache_size(cache).create(path)),
        }
    }

    /// Cuts the cache budget for `files` open partitions.
    #[must_use]
    pub fn expecting(mut self, files: usize) -> Self {
        self.expected = files;
        self
    }

    fn path(&self, table: &str, partition: i32) -> Result<PathBuf, StoreError> {
        let is_name = !table.contains(['/', '\\', '\0']) && !["", ".", ".."].contains(&table);
        let path = self.dir.join(table).join(format!("{partition}.redb"));
        if is_name {
            return Ok(path);
        }
        let reason = format!("`{}` cannot be a table's name", table.escape_debug());
        Err(Failure::Io(reason).at(&path))
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
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| of_io(&error).at(&path))?;
        }
        let share = Share::of(&self.open);
        let files = share.files.max(self.expected).max(1);
        let cache = (self.cache_bytes / files).max(SMALLEST_CACHE);
        let file = File::open(&*self.opener, &path, cache);
        let file = file.map_err(|failure| failure.at(&path))?;
        Ok(Box::new(RedbStore {
            path,
            opener: Arc::clone(&self.opener),
            cache,
            state: RefCell::new(State::Open(file)),
            _share: share,
        }))
    }

    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
        let path = self.path(table, partition)?;
        let aside = (1_u32..)
            .map(|at| path.with_extension(format!("redb.bad-{at}")))
            .find(|aside| !aside.exists())
            .expect("fewer files than numbers");
        fs::rename(&path, &aside).map_err(|error| of_io(&error).at(&path))?;
        Ok(aside.display().to_string())
    }
}

/// Counts an open file while it lives.
struct Share {
    open: Arc<AtomicUsize>,
    /// How many files were open when this one was, itself included.
    files: usize,
}

impl Share {
    fn of(open: &Arc<AtomicUsize>) -> Self {
        let files = open.fetch_add(1, Ordering::Relaxed) + 1;
        let open = Arc::clone(open);
        Self { open, files }
    }
}

impl Drop for Share {
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
///     store.stamp() == Ok(None)
/// }
/// ```
pub struct RedbStore {
    path: PathBuf,
    opener: Arc<Opener>,
    cache: usize,
    state: RefCell<State>,
    _share: Share,
}

enum State {
    Open(File),
    /// Closed after an I/O error: to be opened again, and to have seen so many commits.
    Closed {
        commits: u64,
    },
    /// Of no more use until it is opened through [`Stores::open`].
    Broken(StoreError),
}

impl RedbStore {
    /// Runs `call` on the open file: opened again first if it failed before, and once more if it
    /// fails by I/O now.
    fn with<T>(
        &self,
        mut call: impl FnMut(&mut File) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let state = &mut *self.state.borrow_mut();
        let mut is_retry = false;
        loop {
            let failure = match self.opened(state).and_then(&mut call) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let is_last = is_retry || !matches!(failure, Failure::Io(_));
            let error = self.fail(state, failure);
            if is_last {
                return Err(error);
            }
            is_retry = true;
        }
    }

    /// Closes the file after a failure: to be opened again by the next call, or not at all.
    fn fail(&self, state: &mut State, failure: Failure) -> StoreError {
        let commits = match state {
            State::Open(file) => file.commits,
            State::Closed { commits } => *commits,
            State::Broken(error) => return error.clone(),
        };
        let is_over = matches!(failure, Failure::Unreadable(_) | Failure::FellBack(_));
        let error = failure.at(&self.path);
        let next = if is_over {
            State::Broken(error.clone())
        } else {
            State::Closed { commits }
        };
        close(std::mem::replace(state, next));
        error
    }

    fn opened<'s>(&self, state: &'s mut State) -> Result<&'s mut File, Failure> {
        if let State::Closed { commits } = state {
            let file = File::open(&*self.opener, &self.path, self.cache)?;
            if file.commits < *commits {
                let offset = file
                    .reader()?
                    .stamp
                    .as_ref()
                    .map_or(0, |stamp| stamp.offset);
                return Err(Failure::FellBack(format!(
                    "after an I/O error the file holds only what was synced, up to changelog \
                     offset {offset}; open the store again and read the changelog from there"
                )));
            }
            *state = State::Open(file);
        }
        match state {
            State::Open(file) => Ok(file),
            State::Closed { .. } => Err(Failure::Io("the file is closed".to_owned())),
            State::Broken(error) => Err(Failure::Io(error.to_string())),
        }
    }
}

/// Closing a damaged file may panic as well.
fn close(state: State) {
    let _ = guarded(|| {
        drop(state);
        Ok(())
    });
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        let closed = State::Closed { commits: 0 };
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
    fn stamp(&self) -> Result<Option<Stamp>, StoreError> {
        self.with(|file| Ok(file.reader()?.stamp.clone()))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.with(|file| file.reader()?.get(key))
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), StoreError> {
        // `each` may read this store, so nothing is borrowed while it runs. What it was told once
        // it must not be told again.
        let mut was_told = false;
        let mut is_retry = false;
        loop {
            let reader = self.with(|file| file.reader().map(Arc::clone))?;
            let walked = reader.range(keys, &mut |key, stored| {
                was_told = true;
                each(key, stored)
            });
            let Err(failure) = walked else {
                return Ok(());
            };
            drop(reader);
            let is_last = is_retry || was_told || !matches!(failure, Failure::Io(_));
            let error = self.fail(&mut self.state.borrow_mut(), failure);
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
        sorted: &[Write<'_>],
        stamp: &Stamp,
        durability: Durability,
    ) -> Result<(), StoreError> {
        #[cfg(feature = "fail-points")]
        let stamp = &crate::fail_points::stamp(stamp);
        let stamp = layout::encode_stamp(stamp);
        let applied = self.with(|file| {
            file.commit(durability, |transaction| {
                let mut values = transaction.open_table(VALUES)?;
                for write in sorted {
                    put(&mut values, write)?;
                }
                let mut about = transaction.open_table(ABOUT)?;
                about.insert(STAMP, &stamp[..])?;
                fail_point!("mid-store-flush", sorted.len());
                Ok(())
            })
        });
        fail_point!("after-store-flush", sorted.len());
        applied
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.with(|file| {
            file.commit(Durability::Synced, |transaction| {
                transaction.delete_table(VALUES)?;
                transaction.open_table(ABOUT)?.remove(STAMP)?;
                Ok(())
            })
        })
    }

    fn snapshot(&self) -> Result<Box<dyn StoreRead + Send>, StoreError> {
        let reader = self.with(|file| file.reader().map(Arc::clone))?;
        let path = self.path.clone();
        Ok(Box::new(Snapshot { path, reader }))
    }
}

fn put(values: &mut redb::Table<'_, &[u8], &[u8]>, write: &Write<'_>) -> Result<(), Failure> {
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

/// An open file.
struct File {
    /// What is read between two commits; dropped for a commit, so that it can free pages. Before
    /// `database`: a transaction goes first.
    reader: OnceCell<Arc<Reader>>,
    commits: u64,
    database: Database,
}

impl File {
    fn open(opener: &Opener, path: &Path, cache: usize) -> Result<Self, Failure> {
        let mut file = Self {
            reader: OnceCell::new(),
            commits: 0,
            database: guarded(|| Ok(opener(path, cache)?))?,
        };
        file.commits = file.reader()?.commits;
        Ok(file)
    }

    fn reader(&self) -> Result<&Arc<Reader>, Failure> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let reader = guarded(|| Reader::new(self.database.begin_read()?))?;
        Ok(self.reader.get_or_init(|| Arc::new(reader)))
    }

    fn commit(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.reader.take();
        let commits = self.commits + 1;
        guarded(|| {
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
struct Reader {
    stamp: Option<Stamp>,
    commits: u64,
    /// `None` before the first value.
    values: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    _transaction: ReadTransaction,
}

impl Reader {
    fn new(transaction: ReadTransaction) -> Result<Self, Failure> {
        let about = existing(transaction.open_table(ABOUT))?;
        let bytes = |name| -> Result<Option<Vec<u8>>, Failure> {
            let Some(about) = &about else { return Ok(None) };
            Ok(ReadableTable::get(about, name)?.map(|bytes| bytes.value().to_vec()))
        };
        let stamp = bytes(STAMP)?
            .map(|bytes| layout::decode_stamp(&bytes))
            .transpose()?;
        let commits = match bytes(COMMITS)?.map(TryInto::try_into) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(layout::Damaged::Commits.into()),
        };
        Ok(Self {
            stamp,
            commits,
            values: existing(transaction.open_table(VALUES))?,
            _transaction: transaction,
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, Failure> {
        let Some(values) = &self.values else {
            return Ok(None);
        };
        guarded(|| {
            let Some(bytes) = ReadableTable::get(values, key)? else {
                return Ok(None);
            };
            let stored = layout::decode_stored(bytes.value())?;
            Ok(Some(Stored {
                timestamp: stored.timestamp,
                value: stored.value.to_vec(),
            }))
        })
    }

    /// Guards redb's steps and not `each`, whose panics are its own.
    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow,
    ) -> Result<(), Failure> {
        let Some(values) = &self.values else {
            return Ok(());
        };
        let mut entries = guarded(|| Ok(ReadableTable::range::<&[u8]>(values, keys)?))?;
        while let Some((key, bytes)) = guarded(|| Ok(entries.next().transpose()?))? {
            let (key, stored) =
                guarded(|| Ok((key.value(), layout::decode_stored(bytes.value())?)))?;
            if each(key, stored).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A reader for another thread.
struct Snapshot {
    path: PathBuf,
    reader: Arc<Reader>,
}

impl StoreRead for Snapshot {
    fn stamp(&self) -> Result<Option<Stamp>, StoreError> {
        Ok(self.reader.stamp.clone())
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

fn existing<T>(opened: Result<T, TableError>) -> Result<Option<T>, Failure> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a call into redb came to, before the path is put to it.
#[derive(Debug, Clone)]
enum Failure {
    Unreadable(String),
    Locked,
    Io(String),
    /// What was not synced is gone.
    FellBack(String),
}

impl Failure {
    fn at(self, path: &Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            Failure::Unreadable(reason) => StoreError::Unreadable { path, reason },
            Failure::Locked => StoreError::Locked { path },
            Failure::Io(reason) => StoreError::Io { path, reason },
            Failure::FellBack(reason) => StoreError::Regressed { path, reason },
        }
    }
}

impl From<layout::Damaged> for Failure {
    fn from(damaged: layout::Damaged) -> Self {
        Failure::Unreadable(damaged.to_string())
    }
}

/// Turns a panic of redb into [`Failure::Unreadable`]. Whatever it left behind is dropped by
/// [`RedbStore::with`], so nothing half done is seen again.
fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Failure::Unreadable(
            text.unwrap_or("reading it panics").to_owned(),
        ))
    })
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        use redb::Error;
        match error.into() {
            Error::Io(error) => of_io(&error),
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => Failure::Locked,
            error @ (Error::PreviousIo | Error::Backend(_) | Error::ValueTooLarge(_)) => {
                Failure::Io(error.to_string())
            }
            Error::DatabaseClosed => Failure::Io("closed under its snapshot".to_owned()),
            error => Failure::Unreadable(error.to_string()),
        }
    }
}

/// `InvalidData` is redb's "not a database"; the end of a file where a page should be shows that it
/// was cut; a directory can only be in the way.
fn of_io(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => {
            Failure::Unreadable(error.to_string())
        }
        io::ErrorKind::UnexpectedEof => Failure::Unreadable("the file is cut short".to_owned()),
        _ => Failure::Io(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use redb::StorageBackend;
    use redb::backends::FileBackend;

    use super::super::{FORMAT, conformance};
    use super::*;

    /// Stores in a directory that goes with them.
    #[derive(Debug)]
    struct Temporary {
        stores: RedbStores,
        dir: tempfile::TempDir,
    }

    impl Temporary {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let stores = RedbStores::new(dir.path().join("tables"), 16 << 20);
            Self { stores, dir }
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("tables/t/0.redb")
        }

        fn open(&self) -> Result<Box<dyn Store>, StoreError> {
            self.stores.open("t", 0)
        }

        fn opened(&self) -> Box<dyn Store> {
            self.open().expect("opens")
        }

        /// A closed store of 500 values, and its file's bytes.
        fn filled() -> (Self, Vec<u8>) {
            let temporary = Self::new();
            let keys: Vec<_> = (0..500).map(|at| format!("key {at:03}")).collect();
            let writes: Vec<_> = keys
                .iter()
                .map(|key| put(key.as_bytes(), &[7; 100]))
                .collect();
            let mut store = temporary.opened();
            store
                .apply(&writes, &stamp(500), Durability::Synced)
                .expect("applies");
            drop(store);
            let bytes = fs::read(temporary.file()).expect("is there");
            (temporary, bytes)
        }
    }

    impl Stores for Temporary {
        fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
            self.stores.open(table, partition)
        }

        fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
            self.stores.set_aside(table, partition)
        }
    }

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Write<'a> {
        let value = Some(StoredRef {
            timestamp: -1,
            value,
        });
        Write { key, value }
    }

    fn stamp(offset: i64) -> Stamp {
        Stamp {
            format: FORMAT,
            cluster: "cluster".into(),
            topic_id: "id".into(),
            partition: 0,
            offset,
            fingerprint: "v1".into(),
            synced_at: 5,
        }
    }

    fn offset(store: &dyn Store) -> Option<i64> {
        store.stamp().expect("readable").map(|stamp| stamp.offset)
    }

    fn kind<T>(result: Result<T, StoreError>) -> &'static str {
        match result {
            Ok(_) => "fine",
            Err(StoreError::Unreadable { .. }) => "unreadable",
            Err(StoreError::Locked { .. }) => "locked",
            Err(StoreError::Io { .. } | StoreError::Regressed { .. }) => "io",
        }
    }

    #[test]
    fn conforms() {
        conformance::conformance(&Temporary::new());
    }

    #[test]
    fn is_the_model() {
        conformance::tests::against_the_model(Temporary::new);
    }

    /// Everything that a program does with a store.
    fn use_it(temporary: &Temporary) -> Result<(), StoreError> {
        let mut store = temporary.open()?;
        store.stamp()?;
        store.get(b"key 250")?;
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        store.range(everything, &mut |_, _| Flow::Continue(()))?;
        store.apply(&[put(b"key 250", b"new")], &stamp(501), Durability::Relaxed)?;
        store.clear()?;
        store.apply(&[put(b"a", b"1")], &stamp(1), Durability::Synced)
    }

    #[test]
    fn a_file_that_is_no_store_is_unreadable_and_can_be_set_aside() {
        let (temporary, whole) = Temporary::filled();
        let garbage: Vec<u8> = (0..50_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let text = b"not a store\n".to_vec();
        let zeros = vec![0; 100_000];
        for (case, bytes) in [
            ("garbage", garbage),
            ("text", text),
            ("zeros", zeros),
            ("cut to 100 bytes", whole[..100].to_vec()),
            ("cut to a page", whole[..4096].to_vec()),
            ("cut to a half", whole[..whole.len() / 2].to_vec()),
        ] {
            fs::write(temporary.file(), bytes).expect("writes");
            assert_eq!(kind(temporary.open()), "unreadable", "{case}");
            let aside = temporary.stores.set_aside("t", 0).expect("moves");
            assert!(Path::new(&aside).exists(), "{case}: {aside}");
            assert_eq!(offset(&*temporary.opened()), None, "{case}: starts anew");
        }
        let asides = fs::read_dir(temporary.dir.path().join("tables/t")).expect("lists");
        let mut names: Vec<_> = asides
            .map(|entry| {
                entry
                    .expect("lists")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        assert_eq!(names[..3], ["0.redb", "0.redb.bad-1", "0.redb.bad-2"]);
    }

    /// What was emptied holds nothing, as a new file does: judged like one.
    #[test]
    fn an_empty_file_is_a_new_store() {
        let (temporary, _) = Temporary::filled();
        fs::write(temporary.file(), b"").expect("writes");
        assert_eq!(offset(&*temporary.opened()), None);
    }

    #[test]
    fn another_table_in_the_file_is_unreadable() {
        let temporary = Temporary::new();
        fs::create_dir_all(temporary.file().parent().expect("has one")).expect("makes");
        let database = Database::create(temporary.file()).expect("makes");
        let transaction = database.begin_write().expect("begins");
        let values: TableDefinition<'_, u64, u64> = TableDefinition::new("values");
        transaction.open_table(values).expect("opens");
        transaction.commit().expect("commits");
        drop(database);
        assert_eq!(kind(temporary.open()), "unreadable");
    }

    #[test]
    fn another_format_is_unreadable() {
        let temporary = Temporary::new();
        let newer = Stamp {
            format: FORMAT + 1,
            ..stamp(1)
        };
        let mut store = temporary.opened();
        store
            .apply(&[], &newer, Durability::Synced)
            .expect("applies");
        drop(store);
        let error = temporary.open().err().expect("refused").to_string();
        assert!(
            error.contains("has format 2, this program reads 1"),
            "{error}"
        );
    }

    /// Damage is noticed or it is not, but it never takes the process down, and what is found
    /// damaged can be set aside.
    #[test]
    fn flipped_bytes_never_panic() {
        let (temporary, whole) = Temporary::filled();
        let mut seen = [0; 2];
        let headers = 0..512;
        let everywhere = (512..whole.len()).step_by(977);
        for at in headers.step_by(3).chain(everywhere) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            fs::write(temporary.file(), bytes).expect("writes");
            match kind(use_it(&temporary)) {
                "fine" => seen[0] += 1,
                "unreadable" => {
                    seen[1] += 1;
                    let aside = temporary.stores.set_aside("t", 0).expect("moves");
                    fs::remove_file(aside).expect("removes");
                }
                other => panic!("byte {at}: {other}"),
            }
        }
        assert!(seen[1] > 0, "no damage was noticed: {seen:?}");
    }

    #[test]
    fn a_file_in_use_is_locked() {
        let temporary = Temporary::new();
        let held = temporary.opened();
        assert_eq!(kind(temporary.open()), "locked");
        drop(held);
        let other = Database::create(temporary.file()).expect("opens");
        assert_eq!(kind(temporary.open()), "locked");
        drop(other);
        temporary.opened();
    }

    #[test]
    fn what_the_system_refuses_is_io_and_names_the_path() {
        let temporary = Temporary::new();
        fs::write(temporary.dir.path().join("tables"), b"a file in the way").expect("writes");
        let error = temporary.open().err().expect("refused");
        assert!(error.to_string().contains("tables/t/0.redb"), "{error}");
        assert_eq!(kind::<()>(Err(error)), "io");
        for name in ["", "..", "a/b"] {
            assert_eq!(kind(temporary.stores.open(name, 0)), "io", "{name:?}");
        }
        assert_eq!(
            kind(temporary.stores.set_aside("t", 0)),
            "io",
            "nothing to set aside"
        );
    }

    /// A file whose writes and flushes fail while `is_full`.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        is_full: Arc<AtomicBool>,
    }

    impl Disk {
        fn room(&self) -> io::Result<()> {
            if self.is_full.load(Ordering::SeqCst) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            Ok(())
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.room()?;
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }

    fn on_a_disk() -> (Temporary, Arc<AtomicBool>) {
        let mut temporary = Temporary::new();
        let is_full = Arc::new(AtomicBool::new(false));
        let disk = Arc::clone(&is_full);
        temporary.stores.opener = Arc::new(move |path, cache| {
            let mut options = fs::OpenOptions::new();
            let file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let disk = Disk {
                file: FileBackend::new(file)?,
                is_full: Arc::clone(&disk),
            };
            Database::builder()
                .set_cache_size(cache)
                .create_with_backend(disk)
        });
        (temporary, is_full)
    }

    #[test]
    fn a_disk_that_was_full_goes_on_where_everything_was_synced() {
        let (temporary, is_full) = on_a_disk();
        let mut store = temporary.opened();
        store
            .apply(&[put(b"a", b"1")], &stamp(1), Durability::Synced)
            .expect("applies");
        is_full.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            let full = store.apply(&[put(b"b", b"2")], &stamp(2), Durability::Synced);
            assert_eq!(kind(full), "io");
        }
        is_full.store(false, Ordering::SeqCst);
        store
            .apply(&[put(b"b", b"2")], &stamp(2), Durability::Synced)
            .expect("applies");
        assert_eq!(offset(&*store), Some(2));
        assert_eq!(
            store.get(b"a").expect("reads").map(|found| found.value),
            Some(b"1".to_vec())
        );
        drop(store);
        assert_eq!(offset(&*temporary.opened()), Some(2));
    }

    #[test]
    fn a_snapshot_of_a_closed_store_is_io() {
        let (temporary, _) = Temporary::filled();
        let store = temporary.opened();
        let snapshot = store.snapshot().expect("reads");
        drop(store);
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let walked = snapshot.range(everything, &mut |_, _| Flow::Continue(()));
        assert_eq!(kind(walked), "io");
        temporary.opened();
    }

    /// Going on would put the third change on a table that lacks the second.
    #[test]
    fn a_store_that_fell_back_answers_nothing_until_it_is_opened() {
        let (temporary, is_full) = on_a_disk();
        let mut store = temporary.opened();
        store
            .apply(&[put(b"a", b"1")], &stamp(1), Durability::Synced)
            .expect("applies");
        store
            .apply(&[put(b"a", b"2")], &stamp(2), Durability::Relaxed)
            .expect("applies");
        is_full.store(true, Ordering::SeqCst);
        let full = store.apply(&[put(b"b", b"3")], &stamp(3), Durability::Synced);
        assert_eq!(kind(full), "io");
        is_full.store(false, Ordering::SeqCst);
        let third = store.apply(&[put(b"b", b"3")], &stamp(3), Durability::Synced);
        let error = third.expect_err("refused").to_string();
        assert!(error.contains("up to changelog offset 1"), "{error}");
        assert_eq!(kind(store.get(b"a")), "io");
        assert_eq!(kind(store.stamp()), "io");
        assert_eq!(kind(store.clear()), "io");
        drop(store);
        let store = temporary.opened();
        assert_eq!(offset(&*store), Some(1));
        assert_eq!(
            store.get(b"a").expect("reads").map(|found| found.value),
            Some(b"1".to_vec())
        );
    }

    #[test]
    fn a_panic_of_the_reader_is_its_own() {
        let (temporary, _) = Temporary::filled();
        let store = temporary.opened();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let walked = catch_unwind(AssertUnwindSafe(|| {
            store.range(everything, &mut |_, _| panic!("the reader's own"))
        }));
        assert!(walked.is_err(), "swallowed");
        assert_eq!(offset(&*store), Some(500));
    }
}
