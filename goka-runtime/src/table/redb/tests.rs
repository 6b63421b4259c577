//! What a store does when its disk or its file misbehaves, and how it opens again.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableHandle};

use super::super::{FORMAT, conformance};
use super::*;
use crate::checked_file::CheckedFile;
use crate::golden::{self, hex};

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
            .apply(&writes, &checkpoint(500), Durability::Synced)
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

fn checkpoint(offset: i64) -> Checkpoint {
    Checkpoint {
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
    store
        .checkpoint()
        .expect("readable")
        .map(|checkpoint| checkpoint.offset)
}

fn kind<T>(result: Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "fine",
        Err(StoreError::Unreadable { .. }) => "unreadable",
        Err(StoreError::Locked { .. }) => "locked",
        Err(StoreError::Link { .. }) => "link",
        Err(StoreError::Newer { .. }) => "newer",
        Err(StoreError::Io { .. } | StoreError::RolledBack { .. }) => "io",
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
    store.checkpoint()?;
    store.get(b"key 250")?;
    let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    store.range(everything, &mut |_, _| Flow::Continue(()))?;
    store.apply(
        &[put(b"key 250", b"new")],
        &checkpoint(501),
        Durability::Relaxed,
    )?;
    store.clear()?;
    store.apply(&[put(b"a", b"1")], &checkpoint(1), Durability::Synced)
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
    assert_eq!(names, ["0.redb", "0.redb.bad-6"], "the newest is kept");
}

/// A store that was cleared is as empty as a new file.
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

/// Every row of a file, as it is stored.
fn rows(path: &Path) -> String {
    let file = CheckedFile::open(path).expect("opens");
    let database = Database::builder()
        .create_with_backend(file)
        .expect("a store");
    let read = database.begin_read().expect("begins");
    let mut tables: Vec<_> = read.list_tables().expect("lists").collect();
    tables.sort_by_key(|table| table.name().to_owned());
    let names: Vec<_> = tables.iter().map(|table| table.name()).collect();
    assert_eq!(names, ["about", "values"]);
    let mut text = String::new();
    for row in read
        .open_table(ABOUT)
        .expect("is there")
        .iter()
        .expect("reads")
    {
        let (key, value) = row.expect("reads");
        text += &format!("about {} {}\n", key.value(), hex(value.value()));
    }
    for row in read
        .open_table(VALUES)
        .expect("is there")
        .iter()
        .expect("reads")
    {
        let (key, value) = row.expect("reads");
        text += &format!("values {} {}\n", hex(key.value()), hex(value.value()));
    }
    text
}

/// What the golden file of a table holds.
fn write_golden(store: &mut dyn Store) {
    let at = |key, timestamp, value| Write {
        key,
        value: Some(StoredRef { timestamp, value }),
    };
    let deleted = Write {
        key: b"deleted",
        value: None,
    };
    let writes = [at(b"", 258, b"one"), at(b"a\xff", -1, b""), deleted];
    let applied = store.apply(&writes, &checkpoint(258), Durability::Synced);
    applied.expect("applies");
}

#[test]
fn the_bytes_of_a_table_are_pinned() {
    let temporary = Temporary::new();
    write_golden(&mut *temporary.opened());
    golden::check("table-1-rows.txt", &rows(&temporary.file()));
}

/// What this build writes into a file of the first version has the form that the first version gave it.
#[test]
fn a_table_of_the_first_version_is_read_and_stays_one() {
    let temporary = Temporary::new();
    drop(temporary.opened());
    let file = golden::text("table-1.hex");
    fs::write(temporary.file(), golden::undump(&file)).expect("writes");
    let mut store = temporary.opened();
    assert_eq!(store.checkpoint(), Ok(Some(checkpoint(258))));
    let found = [&b""[..], b"a\xff", b"deleted"].map(|key| store.get(key).expect("reads"));
    let row = |timestamp, value: &[u8]| {
        let value = value.to_vec();
        Some(Stored { timestamp, value })
    };
    assert_eq!(found, [row(258, b"one"), row(-1, b""), None]);
    write_golden(&mut *store);
    drop(store);
    let first = golden::text("table-1-rows.txt");
    let commits = "about commits 000000000000000";
    let second = first.replace(&format!("{commits}1"), &format!("{commits}2"));
    assert_eq!(rows(&temporary.file()), second);
}

/// The copy of a newer build is neither read nor moved aside: that build may come back to it.
#[test]
fn a_newer_version_is_refused_and_left_as_it_is() {
    let (temporary, mut whole) = Temporary::filled();
    let newer = Checkpoint {
        format: FORMAT + 1,
        ..checkpoint(1)
    };
    let applied = temporary.opened().apply(&[], &newer, Durability::Synced);
    applied.expect("applies");
    let refused = |format| {
        let error = temporary.open().err().expect("refused");
        let expected = format!(
            "store `{}` has {format} version 2, written by a newer build of goka, and this one knows \
             versions up to 1; run a build that knows version 2; nothing was changed",
            temporary.file().display()
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(kind::<()>(Err(error)), "newer");
    };
    let before = rows(&temporary.file());
    refused("table copy");
    assert_eq!(rows(&temporary.file()), before);
    whole[15] += 1;
    fs::write(temporary.file(), &whole).expect("writes");
    refused("checksum layout");
    assert!(fs::read(temporary.file()).expect("is there") == whole);
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
            // The version of the file.
            "newer" if at == 15 => seen[1] += 1,
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
    let file = CheckedFile::open(&temporary.file()).expect("opens");
    let other = Database::builder().create_with_backend(file);
    assert_eq!(kind(temporary.open()), "locked");
    drop(other);
    temporary.opened();
}

#[test]
fn a_link_in_the_place_of_a_file_or_its_directory_is_refused() {
    let (temporary, whole) = Temporary::filled();
    let (file, elsewhere) = (temporary.file(), temporary.dir.path().join("elsewhere"));
    let table = file.parent().expect("has one");
    for place in [&*file, table] {
        fs::rename(place, &elsewhere).expect("moves");
        std::os::unix::fs::symlink(&elsewhere, place).expect("links");
        let error = temporary.open().err().expect("refused");
        let shown = format!("`{}` is a symbolic link", place.display());
        assert!(error.to_string().contains(&shown), "{error}");
        assert_eq!(kind::<()>(Err(error)), "link");
        fs::remove_file(place).expect("removes");
        fs::rename(&elsewhere, place).expect("moves back");
    }
    assert!(
        fs::read(&file).expect("reads") == whole,
        "it was written to"
    );
    // Who gives the directory may give a link.
    let stores = RedbStores::new(temporary.dir.path().join("link"), 1 << 20);
    let target = temporary.dir.path().join("tables");
    std::os::unix::fs::symlink(target, temporary.dir.path().join("link")).expect("links");
    assert!(
        stores
            .open("t", 0)
            .expect("opens")
            .checkpoint()
            .expect("reads")
            .is_some()
    );
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

/// The machine's disk, whose files are opened by a function.
struct OpenedBy<F>(F);

fn opened_by<F>(open: F) -> Arc<dyn Disk>
where
    F: Fn(&Path, usize) -> Result<Database, DatabaseError> + Send + Sync + 'static,
{
    Arc::new(OpenedBy(open))
}

impl<F> Disk for OpenedBy<F>
where
    F: Fn(&Path, usize) -> Result<Database, DatabaseError> + Send + Sync,
{
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        MachineDisk.make_dir(dir)
    }

    fn make_table(&self, dir: &Path) -> io::Result<()> {
        MachineDisk.make_table(dir)
    }

    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        (self.0)(path, cache_bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        MachineDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        MachineDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        MachineDisk.remove(path)
    }
}

/// A file whose writes and flushes fail while `is_full`.
#[derive(Debug)]
struct FailingFile {
    file: FileBackend,
    is_full: Arc<AtomicBool>,
}

impl FailingFile {
    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for FailingFile {
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
    temporary.stores.disk = opened_by(move |path, cache| {
        let mut options = fs::OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let disk = FailingFile {
            file: FileBackend::new(file)?,
            is_full: Arc::clone(&disk),
        };
        Database::builder()
            .set_cache_size(cache)
            .create_with_backend(CheckedFile::new(disk))
    });
    (temporary, is_full)
}

#[test]
fn a_disk_that_was_full_goes_on_where_everything_was_synced() {
    let (temporary, is_full) = on_a_disk();
    let mut store = temporary.opened();
    store
        .apply(&[put(b"a", b"1")], &checkpoint(1), Durability::Synced)
        .expect("applies");
    is_full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let full = store.apply(&[put(b"b", b"2")], &checkpoint(2), Durability::Synced);
        assert_eq!(kind(full), "io");
    }
    is_full.store(false, Ordering::SeqCst);
    store
        .apply(&[put(b"b", b"2")], &checkpoint(2), Durability::Synced)
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
fn a_rolled_back_store_answers_nothing_until_it_is_opened() {
    let (temporary, is_full) = on_a_disk();
    let mut store = temporary.opened();
    store
        .apply(&[put(b"a", b"1")], &checkpoint(1), Durability::Synced)
        .expect("applies");
    store
        .apply(&[put(b"a", b"2")], &checkpoint(2), Durability::Relaxed)
        .expect("applies");
    is_full.store(true, Ordering::SeqCst);
    let full = store.apply(&[put(b"b", b"3")], &checkpoint(3), Durability::Synced);
    assert_eq!(kind(full), "io");
    is_full.store(false, Ordering::SeqCst);
    let third = store.apply(&[put(b"b", b"3")], &checkpoint(3), Durability::Synced);
    let error = third.expect_err("refused").to_string();
    assert!(error.contains("up to changelog offset 1"), "{error}");
    assert_eq!(kind(store.get(b"a")), "io");
    assert_eq!(kind(store.checkpoint()), "io");
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

#[test]
fn the_cache_is_shared_by_all_that_are_expected() {
    let (told, caches) = (
        Temporary::new(),
        Arc::new(std::sync::Mutex::new(Vec::new())),
    );
    let (mut stores, noted) = (told.stores.clone(), caches.clone());
    stores.disk = opened_by(move |path, cache| {
        noted.lock().unwrap().push(cache);
        told.stores.disk.open(path, cache)
    });
    let open = |partition| stores.open("t", partition).expect("opens");
    let _first = open(0);
    stores.reserve(12).expect("they fit");
    stores.reserve(20).expect("they fit");
    let _second = open(1);
    let mib = 1 << 20;
    // No file has less than what is of use.
    assert_eq!(*caches.lock().unwrap(), [2 * mib, mib]);
}

#[test]
fn more_files_than_the_process_may_open_are_refused() {
    let Some(limit) = open_files() else {
        return;
    };
    let stores = Temporary::new().stores;
    stores.reserve(1).expect("one fits");
    let error = stores.reserve(limit).unwrap_err().to_string();
    for part in [&*limit.to_string(), &*(limit + 1).to_string(), "ulimit -n"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}
