//! A table in a store of the program's own. Each partition is one small file, which is read at the start and
//! rewritten at each synced flush. It suits tables of some thousand keys, and shows what a store has to do.
//! The test below runs `goka::table::conformance` on it.
//!
//! ```text
//! cargo run --example own_store
//! cargo run --example own_store -- emit visits alice /index.html
//! cargo test --example own_store
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goka::prelude::*;
use goka::table::{
    Checkpoint, Durability, FORMAT, Flow, KeyRange, SortedWrites, Store, StoreError, StoreRead,
    Stored, StoredRef, Stores, Write,
};

#[processor(group = "page-visits", persist = u64)]
#[input("visits")]
fn page_visits(ctx: &mut Context, _page: String) -> Result<()> {
    ctx.update(|visits| visits.unwrap_or(0) + 1)?;
    Ok(())
}

fn main() -> ExitCode {
    Service::new().stores(FileStores::below).main()
}

/// Opens `<table>.<partition>` in one directory.
#[derive(Debug)]
struct FileStores(PathBuf);

impl FileStores {
    fn below(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    fn path(&self, table: &str, partition: i32) -> PathBuf {
        self.0.join(format!("{table}.{partition}"))
    }
}

impl Stores for FileStores {
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let path = self.path(table, partition);
        let refused = |error| io(&path, error);
        fs::create_dir_all(&self.0).map_err(refused)?;
        let lock = File::create(path.with_extension(format!("{partition}.lock")));
        let lock = lock.map_err(refused)?;
        // A child process that is just starting has copies of all open files for a moment, so the lock is
        // retried.
        for tries in (0..50).rev() {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries > 0 => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let path = path.display().to_string();
                    return Err(StoreError::Locked { path });
                }
                Err(TryLockError::Error(error)) => return Err(refused(error)),
            }
        }
        let contents = match fs::read(&path) {
            Ok(bytes) => Contents::read(&bytes).ok_or_else(|| StoreError::Unreadable {
                path: path.display().to_string(),
                source: "it is damaged, or of another format".into(),
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(refused(error)),
        };
        Ok(Box::new(FileStore {
            contents: Arc::new(contents),
            is_written: true,
            path,
            _lock: lock,
        }))
    }

    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
        let path = self.path(table, partition);
        let aside = (1_u32..)
            .map(|at| self.0.join(format!("{table}.{partition}.bad-{at}")))
            .find(|aside| !aside.exists())
            .expect("there are fewer files than numbers");
        fs::rename(&path, &aside).map_err(|error| io(&path, error))?;
        Ok(aside.display().to_string())
    }
}

fn io(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::Io {
        path: path.display().to_string(),
        source: error.into(),
    }
}

/// One partition, in memory and in a file.
#[derive(Debug)]
struct FileStore {
    /// Shared with snapshots; a write copies it while there is a snapshot.
    contents: Arc<Contents>,
    is_written: bool,
    path: PathBuf,
    _lock: File,
}

impl FileStore {
    /// Replaces the file by a new one, so that a crash leaves one of the two.
    fn write(&mut self) -> Result<(), StoreError> {
        let draft = self.path.with_added_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&draft)?;
            file.write_all(&self.contents.to_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)?;
            File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| io(&self.path, error))?;
        self.is_written = true;
        Ok(())
    }
}

impl Store for FileStore {
    fn apply(
        &mut self,
        sorted: &dyn SortedWrites,
        checkpoint: &Checkpoint,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let before = Arc::clone(&self.contents);
        let contents = Arc::make_mut(&mut self.contents);
        sorted.each(&mut |Write { key, value }| {
            match value {
                Some(StoredRef { timestamp, value }) => {
                    let value = value.to_vec();
                    contents
                        .values
                        .insert(key.to_vec(), Stored { timestamp, value });
                }
                None => {
                    contents.values.remove(key);
                }
            }
            Flow::Continue(())
        });
        contents.checkpoint = Some(checkpoint.clone());
        self.is_written = false;
        if durability == Durability::Synced {
            // If the file cannot be written, the contents in memory stay as they were, too.
            self.write().inspect_err(|_| self.contents = before)?;
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.contents = Arc::default();
        self.write()
    }

    fn snapshot(&self) -> Result<Box<dyn StoreRead + Send>, StoreError> {
        Ok(Box::new(Snapshot(Arc::clone(&self.contents))))
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        // An error may be ignored: rows that are not durable can be restored from the group topic.
        if !self.is_written {
            let _ = self.write();
        }
    }
}

impl StoreRead for FileStore {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.contents.checkpoint()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.contents.get(key)
    }

    fn range(&self, keys: KeyRange<'_>, each: Each<'_>) -> Result<(), StoreError> {
        self.contents.range(keys, each)
    }
}

type Each<'e> = &'e mut dyn FnMut(&[u8], StoredRef<'_>) -> Flow;

struct Snapshot(Arc<Contents>);

impl StoreRead for Snapshot {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.0.checkpoint()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.0.get(key)
    }

    fn range(&self, keys: KeyRange<'_>, each: Each<'_>) -> Result<(), StoreError> {
        self.0.range(keys, each)
    }
}

/// The contents of a partition.
#[derive(Debug, Clone, Default)]
struct Contents {
    checkpoint: Option<Checkpoint>,
    values: BTreeMap<Vec<u8>, Stored>,
}

impl StoreRead for Contents {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.checkpoint.clone())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        Ok(self.values.get(key).cloned())
    }

    fn range(&self, keys: KeyRange<'_>, each: Each<'_>) -> Result<(), StoreError> {
        let (from, to) = keys;
        let after_start = |key: &[u8]| (from, std::ops::Bound::Unbounded).contains_key(key);
        let before_end = |key: &[u8]| (std::ops::Bound::Unbounded, to).contains_key(key);
        let values = self.values.iter().skip_while(|(key, _)| !after_start(key));
        for (key, stored) in values.take_while(|(key, _)| before_end(key)) {
            let (timestamp, value) = (stored.timestamp, &stored.value[..]);
            if each(key, StoredRef { timestamp, value }).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// `BTreeMap::range` panics on a range that ends before it starts; this does not.
trait ContainsKey {
    fn contains_key(&self, key: &[u8]) -> bool;
}

impl ContainsKey for KeyRange<'_> {
    fn contains_key(&self, key: &[u8]) -> bool {
        std::ops::RangeBounds::<[u8]>::contains(self, key)
    }
}

/// The file has the format, the checkpoint (if there is one), then timestamp, key and value of each row.
/// Every text and number is preceded by its length in 8 bytes.
impl Contents {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |field: &[u8]| {
            bytes.extend((field.len() as u64).to_be_bytes());
            bytes.extend(field);
        };
        put(&FORMAT.to_be_bytes());
        if let Some(checkpoint) = &self.checkpoint {
            put(&checkpoint.format.to_be_bytes());
            put(checkpoint.cluster.as_bytes());
            put(checkpoint.topic_id.as_bytes());
            put(&checkpoint.partition.to_be_bytes());
            put(&checkpoint.offset.to_be_bytes());
            put(checkpoint.fingerprint.as_bytes());
            put(&checkpoint.synced_at.to_be_bytes());
        }
        for (key, stored) in &self.values {
            put(&stored.timestamp.to_be_bytes());
            put(key);
            put(&stored.value);
        }
        bytes
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut contents = Self::default();
        if number(&mut bytes)? != FORMAT.to_be_bytes() {
            return None;
        }
        if bytes.is_empty() {
            return Some(contents);
        }
        contents.checkpoint = Some(Checkpoint {
            format: u16::from_be_bytes(number(&mut bytes)?),
            cluster: text(&mut bytes)?,
            topic_id: text(&mut bytes)?,
            partition: i32::from_be_bytes(number(&mut bytes)?),
            offset: i64::from_be_bytes(number(&mut bytes)?),
            fingerprint: text(&mut bytes)?,
            synced_at: i64::from_be_bytes(number(&mut bytes)?),
        });
        while !bytes.is_empty() {
            let timestamp = i64::from_be_bytes(number(&mut bytes)?);
            let key = field(&mut bytes)?.to_vec();
            let value = field(&mut bytes)?.to_vec();
            contents.values.insert(key, Stored { timestamp, value });
        }
        Some(contents)
    }
}

fn field<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (field, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(field)
}

fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    field(bytes)?.try_into().ok()
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    String::from_utf8(field(bytes)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_passes_the_conformance_suite() {
        let directory = tempfile::tempdir().expect("a directory");
        goka::table::conformance::conformance(&FileStores::below(directory.path()));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let stores = FileStores::below(directory.path());
        fs::write(stores.path("t", 0), b"not a store").expect("written");
        let refused = stores.open("t", 0).err().expect("it is damaged");
        assert!(
            matches!(refused, StoreError::Unreadable { .. }),
            "{refused}"
        );
        stores.set_aside("t", 0).expect("there is room");
        assert!(stores.open("t", 0).is_ok());
    }
}
