//! A machine's disk in memory, which does what disks do: it forgets or tears what was not synced when
//! the power goes, refuses when it is full, fails to sync. By a seed, so that it does so again.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::{Database, DatabaseError, StorageBackend};

use super::Dice;
use crate::checked_file::CheckedFile;
use crate::lock::lock;
use crate::table::redb::{Disk, RedbStores};

/// A disk with the files of [`RedbStores`] on it; clones are the same disk.
///
/// ```
/// use goka_runtime::simulation::SimulatedDisk;
/// use goka_runtime::table::Stores;
///
/// let disk = SimulatedDisk::new(7);
/// let store = disk.stores(1 << 20).open("clicks-state", 0)?;
/// drop(store);
/// disk.lose_power();
/// assert_eq!(disk.stores(1 << 20).open("clicks-state", 0)?.checkpoint()?, None);
/// # Ok::<(), goka_runtime::table::StoreError>(())
/// ```
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<Content>>);

/// How often each fault struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskFaults {
    /// Writes that were lost with the power.
    pub lost: u64,
    /// Writes of which the power left a part.
    pub torn: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Writes that a full disk refused.
    pub refused: u64,
}

#[derive(Default)]
struct Content {
    files: BTreeMap<PathBuf, Sheet>,
    dice: Dice,
    /// Counts the processes: what an older one has open is dead.
    life: u64,
    is_full: bool,
    /// After so many writes and syncs the power goes.
    power_lasts: Option<u64>,
    failing_syncs: u64,
    faults: DiskFaults,
}

/// One file: what a process reads, and what survives.
#[derive(Default)]
struct Sheet {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    holder: Option<u64>,
}

enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Length(len) => bytes.resize(*len, 0),
            Change::Write(at, data) => {
                let end = at + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(data);
            }
        }
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk")
            .field("faults", &self.faults())
            .finish_non_exhaustive()
    }
}

impl SimulatedDisk {
    /// An empty disk; what a loss of power takes is decided by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Content {
            dice: Dice::new(seed),
            ..Content::default()
        })))
    }

    /// Stores whose files lie on this disk.
    pub fn stores(&self, cache_bytes: usize) -> RedbStores {
        let process = ProcessDisk {
            life: lock(&self.0).life,
            disk: self.clone(),
        };
        RedbStores::on(Arc::new(process), PathBuf::from("simulated"), cache_bytes)
    }

    /// The process dies: its files are closed, and hold what it wrote.
    pub fn kill(&self) {
        lock(&self.0).life += 1;
    }

    /// The machine dies: what was not synced is kept, lost or torn, each write by itself.
    pub fn lose_power(&self) {
        lock(&self.0).lose_power();
    }

    /// The machine dies at the `steps`-th write or sync from now, in the middle of whatever that is.
    pub fn lose_power_after(&self, steps: u64) {
        lock(&self.0).power_lasts = Some(steps);
    }

    /// Whether it takes nothing more.
    pub fn set_full(&self, is_full: bool) {
        lock(&self.0).is_full = is_full;
    }

    /// The next `syncs` syncs fail; what they were to sync may be synced by a later one.
    pub fn fail_syncs(&self, syncs: u64) {
        lock(&self.0).failing_syncs = syncs;
    }

    /// Counts the processes that had it, and the times that the power went.
    pub(crate) fn life(&self) -> u64 {
        lock(&self.0).life
    }

    /// Nothing more goes wrong by itself.
    pub(crate) fn repair(&self) {
        let mut content = lock(&self.0);
        content.power_lasts = None;
        content.failing_syncs = 0;
        content.is_full = false;
    }

    pub(crate) fn wipe(&self) {
        let mut content = lock(&self.0);
        content.files.clear();
        content.life += 1;
    }

    /// How often each fault struck.
    pub fn faults(&self) -> DiskFaults {
        lock(&self.0).faults
    }

    fn hold(&self, path: &Path, life: u64) -> Result<(), DatabaseError> {
        let content = &mut *lock(&self.0);
        if content.life != life {
            return Err(DatabaseError::Storage(redb::StorageError::Io(dead())));
        }
        let sheet = content.files.entry(path.to_owned()).or_default();
        if sheet.holder == Some(life) {
            return Err(DatabaseError::DatabaseAlreadyOpen);
        }
        sheet.holder = Some(life);
        Ok(())
    }
}

/// The disk as one process has it.
struct ProcessDisk {
    disk: SimulatedDisk,
    life: u64,
}

impl Disk for ProcessDisk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn make_table(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        self.disk.hold(path, self.life)?;
        let backend = Backend {
            disk: self.disk.clone(),
            path: path.to_owned(),
            life: self.life,
        };
        Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(CheckedFile::new(backend))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let content = lock(&self.disk.0);
        let paths = content.files.keys();
        let paths = paths.filter(|path| path.parent() == Some(dir));
        Ok(paths.cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = &mut *lock(&self.disk.0);
        if let Some(sheet) = content.files.remove(from) {
            content.files.insert(to.to_owned(), sheet);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.disk.0).files.remove(path);
        Ok(())
    }
}

impl Content {
    fn lose_power(&mut self) {
        self.life += 1;
        self.power_lasts = None;
        for sheet in self.files.values_mut() {
            let mut left = std::mem::take(&mut sheet.synced);
            for change in sheet.unsynced.drain(..) {
                match (self.dice.below(4), change) {
                    (0, _) => self.faults.lost += 1,
                    (1, Change::Write(at, mut data)) => {
                        self.faults.torn += 1;
                        let kept = self.dice.below(data.len() as u64 + 1);
                        data.truncate(usize::try_from(kept).unwrap_or(0));
                        Change::Write(at, data).apply(&mut left);
                    }
                    (_, change) => change.apply(&mut left),
                }
            }
            sheet.bytes.clone_from(&left);
            sheet.synced = left;
        }
    }

    /// One write or sync: says whether the machine lives on.
    fn goes_on(&mut self) -> io::Result<()> {
        match &mut self.power_lasts {
            Some(0) => {
                self.lose_power();
                Err(dead())
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("its process is dead")
}

#[derive(Debug)]
struct Backend {
    disk: SimulatedDisk,
    path: PathBuf,
    life: u64,
}

impl Backend {
    fn with<T>(&self, act: impl FnOnce(&mut Content, &Path) -> io::Result<T>) -> io::Result<T> {
        let content = &mut *lock(&self.disk.0);
        if content.life != self.life {
            return Err(dead());
        }
        content.files.entry(self.path.clone()).or_default();
        act(content, &self.path)
    }

    fn change(&self, change: Change) -> io::Result<()> {
        self.with(|content, path| {
            content.goes_on()?;
            if content.is_full {
                content.faults.refused += 1;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            let sheet = content.files.entry(path.to_owned()).or_default();
            change.apply(&mut sheet.bytes);
            sheet.unsynced.push(change);
            Ok(())
        })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.with(|content, path| Ok(content.files[path].bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|content, path| {
            let at = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = content.files[path].bytes.get(at..at + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.change(Change::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content, path| {
            content.goes_on()?;
            if content.failing_syncs > 0 {
                content.failing_syncs -= 1;
                content.faults.failed_syncs += 1;
                return Err(io::Error::other("the disk did not sync"));
            }
            let sheet = content.files.entry(path.to_owned()).or_default();
            for change in sheet.unsynced.drain(..) {
                change.apply(&mut sheet.synced);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.change(Change::Write(at, data.to_vec()))
    }

    fn close(&self) -> io::Result<()> {
        let content = &mut *lock(&self.disk.0);
        if let Some(sheet) = content.files.get_mut(&self.path)
            && sheet.holder == Some(self.life)
        {
            sheet.holder = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{
        Checkpoint, Durability, FORMAT, Store, StoreError, StoredRef, Stores, Write, conformance,
    };

    fn checkpoint(offset: i64) -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            cluster: "cluster".into(),
            topic_id: "topic".into(),
            partition: 0,
            offset,
            fingerprint: "v1".into(),
            synced_at: 1,
        }
    }

    /// Commits one value for each of 200 keys, the number of the commit.
    fn commit(
        store: &mut dyn Store,
        number: i64,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let (keys, value): (Vec<_>, _) = (
            (0..200).map(|key| format!("key {key:03}")).collect(),
            number.to_string(),
        );
        let writes: Vec<_> = keys
            .iter()
            .map(|key| Write {
                key: key.as_bytes(),
                value: Some(StoredRef {
                    timestamp: 1,
                    value: value.as_bytes(),
                }),
            })
            .collect();
        store.apply(&writes, &checkpoint(number), durability)
    }

    /// The commit that a store holds, whole.
    fn held(store: &dyn Store) -> i64 {
        let offset = store
            .checkpoint()
            .unwrap()
            .map_or(0, |checkpoint| checkpoint.offset);
        let mut rows = 0;
        store
            .range(
                (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded),
                &mut |_, stored| {
                    assert_eq!(stored.value, offset.to_string().as_bytes(), "of one commit");
                    rows += 1;
                    std::ops::ControlFlow::Continue(())
                },
            )
            .unwrap();
        assert_eq!(rows, if offset == 0 { 0 } else { 200 });
        offset
    }

    #[test]
    fn conforms() {
        conformance::conformance(&SimulatedDisk::new(1).stores(1 << 20));
    }

    #[test]
    fn a_power_loss_leaves_one_whole_commit_that_was_synced_or_later() {
        let mut faults = DiskFaults::default();
        for seed in 0..25 {
            let disk = SimulatedDisk::new(seed);
            let mut number = 0;
            for round in 0..4 {
                let mut store = disk.stores(1 << 20).open("table", 0).unwrap();
                assert_eq!(held(&*store), number);
                disk.lose_power_after(5 + (seed * 7 + round * 13) % 40);
                let mut synced = number;
                loop {
                    let durability = match number % 3 {
                        0 => Durability::Synced,
                        _ => Durability::Relaxed,
                    };
                    if commit(&mut *store, number + 1, durability).is_err() {
                        break;
                    }
                    number += 1;
                    if durability == Durability::Synced {
                        synced = number;
                    }
                }
                drop(store);
                let after = held(&*disk.stores(1 << 20).open("table", 0).unwrap());
                assert!(
                    (synced..=number + 1).contains(&after),
                    "{synced} {after} {number}"
                );
                number = after;
            }
            let own = disk.faults();
            faults.lost += own.lost;
            faults.torn += own.torn;
        }
        assert!(faults.lost > 50 && faults.torn > 50, "{faults:?}");
    }

    #[test]
    fn a_disk_that_does_not_sync_or_is_full_loses_no_commit() {
        let disk = SimulatedDisk::new(3);
        let mut store = disk.stores(1 << 20).open("table", 0).unwrap();
        commit(&mut *store, 1, Durability::Synced).unwrap();
        disk.fail_syncs(10);
        assert!(commit(&mut *store, 2, Durability::Synced).is_err());
        disk.fail_syncs(0);
        disk.set_full(true);
        assert!(commit(&mut *store, 2, Durability::Synced).is_err());
        disk.set_full(false);
        commit(&mut *store, 3, Durability::Synced).unwrap();
        drop(store);
        disk.lose_power();
        assert_eq!(held(&*disk.stores(1 << 20).open("table", 0).unwrap()), 3);
        let faults = disk.faults();
        assert!(faults.failed_syncs > 0 && faults.refused > 0, "{faults:?}");
    }

    #[test]
    fn what_a_dead_process_has_open_is_dead() {
        let disk = SimulatedDisk::new(3);
        let mut store = disk.stores(1 << 20).open("table", 0).unwrap();
        commit(&mut *store, 1, Durability::Relaxed).unwrap();
        disk.kill();
        assert!(commit(&mut *store, 2, Durability::Synced).is_err());
        drop(store);
        let again = held(&*disk.stores(1 << 20).open("table", 0).unwrap());
        assert!(again <= 1, "an unsynced commit is redb's own to forget");
    }
}
