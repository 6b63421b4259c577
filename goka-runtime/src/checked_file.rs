//! A redb storage backend that verifies every read, below the stores (`table/redb.rs`) and the embedded log. redb
//! has checksums of its pages, but checks them only when it repairs a file, so a flipped bit would otherwise
//! be a wrong value, a missing row or a panic.
//!
//! # What is stored
//! The file that redb sees is cut into blocks of [`BLOCK`] bytes, redb's page size: redb reads and writes
//! whole pages, so a block is never read in order to update its checksum. The CRC-32 of a block is over its
//! number and its bytes, so a block that was written to the wrong place does not verify either.
//!
//! ```text
//! magic | group 0 | group 1 | ...     group: checksums | checksums | 1020 blocks
//! ```
//!
//! The magic has a block of its own. A group begins with two copies of its checksums, one block each; the
//! copy with the higher generation is the newer one. With a checksum beside each block, blocks would not be
//! aligned: each write of a page would read, change and write two pages of the system's cache, and two of the
//! disk. The checksums of groups in use are in memory, four bytes a block: a thousandth of the file.
//!
//! # Why a crash leaves no committed block that cannot be verified
//! - Checksums that changed are written before redb's header is, and before a sync. So when a commit's
//!   `sync_data` returns they are on the disk, and after a kill no header names a block whose checksum
//!   is missing. What redb wrote and did not commit may have no checksum: it is never read again.
//! - A copy is overwritten only while the other one is synced, and holds all checksums as of that
//!   sync. A torn copy does not verify, and the other one has every block that is committed.
//!   So nothing is assumed about how many bytes a disk writes atomically.
//! - Commits must have two phases, as all of ours on disk do (`set_quick_repair`). After a crash in a
//!   one-phase commit, redb reads blocks that may not have been written, to decide whether to return to the
//!   commit before; here such a read would be reported as damage.
//!
//! # redb's header
//! The first block has redb's header, 320 bytes that are rewritten in place. Its checksum is in the same
//! sector of 512 bytes. A mismatch in a file that was closed cleanly is damage. In one that was not, it is
//! taken for a torn write, and left to redb's own checksums and its recovery.
//!
//! Opening writes nothing: the header that redb writes to say that the file is in use is held back
//! until the first change of anything else. So a file that is refused stays as it is.
//!
//! # Files of earlier versions
//! A file that begins with redb's own magic has no checksums, and is read and written as it is.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Result};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

use crate::lock::lock;
use crate::newer::Newer;
use crate::private_files;
use crate::shared_error::panic_text;

mod group;
#[cfg(test)]
mod tests;

use self::group::{
    BLOCK, BLOCK_LEN, COPIES, GROUP, Group, SUMS, block_offset, checksums_offset, index,
    logical_len, sum,
};

/// The start of a file with checksums; the last byte is the version of this layout, and of redb's own below it.
const MAGIC: [u8; 16] = *b"goka\x89sums\r\n\x1a\n\0\0\x01";
const VERSION_AT: usize = MAGIC.len() - 1;
const REDB_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// The length of the sector with redb's header, whose last four bytes are its checksum.
const HEAD: usize = 512;
const HEAD_SUM_AT: usize = HEAD - 4;
/// Where redb's header says how the file was closed.
const HEAD_FLAGS_AT: usize = 9;
const RECOVERY_REQUIRED: u8 = 2;

pub(crate) struct CheckedFile<B = FileBackend> {
    disk: B,
    /// Set at the first access, by when redb has locked the file; `None` inside for a file of an earlier version,
    /// without checksums.
    checks: OnceLock<Option<Checks>>,
}

struct Checks {
    state: Mutex<ChecksumState>,
    /// Held during a sync, so that there is one at a time; `state` is free meanwhile, for reads.
    syncs: Mutex<()>,
}

struct ChecksumState {
    head: [u8; HEAD],
    /// Whether `head` is newer than the one on the disk: it is written with the first change.
    is_head_held: bool,
    /// Whether something was written since the file was opened.
    is_changed: bool,
    /// The groups by number; `None` for one that was not read yet.
    groups: Vec<Option<Box<Group>>>,
    /// The groups to write before the next header.
    changed: BTreeSet<u64>,
    /// The groups written since the last sync.
    unsynced: BTreeSet<u64>,
}

impl CheckedFile {
    /// Opens the file at `path`, made when it is missing, for its owner alone.
    pub(crate) fn open(path: &Path) -> std::result::Result<Self, DatabaseError> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = private_files::open(path, options)?;
        Ok(Self::new(FileBackend::new(file)?))
    }
}

impl<B: StorageBackend> CheckedFile<B> {
    pub(crate) fn new(disk: B) -> Self {
        let checks = OnceLock::new();
        Self { disk, checks }
    }

    fn checks(&self) -> Result<Option<&Checks>> {
        if let Some(checks) = self.checks.get() {
            return Ok(checks.as_ref());
        }
        let checks = Checks::of(&self.disk)?;
        Ok(self.checks.get_or_init(|| checks).as_ref())
    }
}

impl Checks {
    /// Finds the format of a file: `None` if it is redb's own.
    fn of<B: StorageBackend>(disk: &B) -> Result<Option<Self>> {
        let len = disk.len()?;
        let mut magic = [0; MAGIC.len()];
        if len >= MAGIC.len() as u64 {
            disk.read(0, &mut magic)?;
        }
        if magic.starts_with(REDB_MAGIC) {
            return Ok(None);
        }
        if magic[..VERSION_AT] == MAGIC[..VERSION_AT] && magic[VERSION_AT] > MAGIC[VERSION_AT] {
            return Err(Error::from(Newer {
                format: "checksum layout",
                found: magic[VERSION_AT].to_string(),
                known: MAGIC[VERSION_AT].into(),
            }));
        }
        if len > 0 && magic != MAGIC {
            return Err(damaged("it begins with no known magic".to_owned()));
        }
        if len > 0 && logical_len(len) == 0 {
            return Err(damaged("it is truncated".to_owned()));
        }
        let state = ChecksumState {
            head: [0; HEAD],
            is_head_held: false,
            is_changed: len == 0,
            groups: Vec::new(),
            changed: BTreeSet::new(),
            unsynced: BTreeSet::new(),
        };
        Ok(Some(Self {
            state: Mutex::new(state),
            syncs: Mutex::new(()),
        }))
    }

    fn state(&self) -> MutexGuard<'_, ChecksumState> {
        lock(&self.state)
    }
}

impl ChecksumState {
    fn read_head<B: StorageBackend>(&mut self, disk: &B) -> Result<[u8; HEAD]> {
        if !self.is_head_held {
            let mut head = [0; HEAD];
            disk.read(block_offset(0), &mut head)?;
            let is_closed = head[HEAD_FLAGS_AT] & RECOVERY_REQUIRED == 0;
            if is_closed && head[HEAD_SUM_AT..] != head_sum(&head) {
                return Err(mismatch(block_offset(0)));
            }
            self.head = head;
        }
        Ok(self.head)
    }

    fn write_head<B: StorageBackend>(&mut self, disk: &B, offset: u64, data: &[u8]) -> Result<()> {
        self.head[within_head(offset, data.len())?].copy_from_slice(data);
        let sum = head_sum(&self.head);
        self.head[HEAD_SUM_AT..].copy_from_slice(&sum);
        if !self.is_changed {
            self.is_head_held = true;
            return Ok(());
        }
        self.write_sums(disk)?;
        disk.write(block_offset(0), &self.head)
    }

    /// Writes the header that was held back. Syncs, so that it is on the disk before any change, and that the
    /// checksums read so far are: a killed process may have left them in the system's cache.
    fn begin_change<B: StorageBackend>(&mut self, disk: &B) -> Result<()> {
        if self.is_changed {
            return Ok(());
        }
        if self.is_head_held {
            disk.write(block_offset(0), &self.head)?;
        }
        disk.sync_data()?;
        self.is_head_held = false;
        self.is_changed = true;
        Ok(())
    }

    fn group<B: StorageBackend>(&mut self, disk: &B, number: u64) -> Result<&mut Group> {
        let at = usize::try_from(number).map_err(Error::other)?;
        if self.groups.len() <= at {
            self.groups.resize_with(at + 1, || None);
        }
        let slot = &mut self.groups[at];
        if slot.is_none() {
            *slot = Some(Box::new(Group::read(disk, number)?));
        }
        slot.as_deref_mut().ok_or_else(|| Error::other("no group"))
    }

    fn write_sums<B: StorageBackend>(&mut self, disk: &B) -> Result<()> {
        while let Some(number) = self.changed.last().copied() {
            let group = self.group(disk, number)?;
            let target = COPIES - 1 - group.synced;
            disk.write(
                checksums_offset(number, target),
                &group.encode_newer(number),
            )?;
            self.unsynced.insert(number);
            self.changed.remove(&number);
        }
        Ok(())
    }

    /// Notes that everything written is on the disk.
    fn synced(&mut self) {
        for number in std::mem::take(&mut self.unsynced) {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            if let Some(group) = self.groups.get_mut(at).and_then(Option::as_mut) {
                group.generation += 1;
                group.synced = COPIES - 1 - group.synced;
            }
        }
    }
}

/// Cuts a read or write where groups end; yields the first block of each part, and its range of the data.
fn runs(offset: u64, len: usize) -> Result<impl Iterator<Item = (u64, std::ops::Range<usize>)>> {
    if !offset.is_multiple_of(BLOCK_LEN) || !len.is_multiple_of(BLOCK) {
        let text = format!("{len} bytes at {offset} are not whole blocks");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let mut at = 0;
    Ok(std::iter::from_fn(move || {
        let first = offset / BLOCK_LEN + (at / BLOCK) as u64;
        let fits = (SUMS - index(first)) * BLOCK;
        let run = at..len.min(at + fits);
        at = run.end;
        (!run.is_empty()).then_some((first, run))
    }))
}

fn within_head(offset: u64, len: usize) -> Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).unwrap_or(HEAD);
    match start + len <= HEAD_SUM_AT {
        true => Ok(start..start + len),
        false => {
            let text = format!("{len} bytes at {offset} are more than a header");
            Err(Error::new(ErrorKind::InvalidInput, text))
        }
    }
}

fn head_sum(head: &[u8; HEAD]) -> [u8; 4] {
    sum(0, &head[..HEAD_SUM_AT]).to_le_bytes()
}

fn mismatch(at: u64) -> Error {
    damaged(format!(
        "the checksum of its block at byte {at} does not match"
    ))
}

fn damaged(text: String) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}

/// Runs a call of redb; a panic becomes the error that `error` makes of its message. redb panics on some
/// damaged pages, since it checks their checksums only in a repair, and files of earlier versions have none of
/// ours. After a panic the caller must drop the database that the call used, which may be inconsistent. This
/// needs unwinding: with `panic = "abort"` the process ends.
pub(crate) fn panic_as_error<T, E>(
    call: impl FnOnce() -> std::result::Result<T, E>,
    error: impl FnOnce(&str) -> E,
) -> std::result::Result<T, E> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(error(panic_text(&*panic))))
}

impl<B> fmt::Debug for CheckedFile<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedFile").finish_non_exhaustive()
    }
}

type Locked<T> = std::result::Result<T, BackendError>;

impl<B: StorageBackend> StorageBackend for CheckedFile<B> {
    fn len(&self) -> Result<u64> {
        let len = self.disk.len()?;
        Ok(match self.checks()? {
            Some(_) => logical_len(len),
            None => len,
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let (disk, checks) = (&self.disk, self.checks()?);
        let Some(checks) = checks else {
            return disk.read(offset, out);
        };
        if offset < BLOCK_LEN {
            let head = checks.state().read_head(disk)?;
            out.copy_from_slice(&head[within_head(offset, out.len())?]);
            return Ok(());
        }
        for (first, range) in runs(offset, out.len())? {
            let out = &mut out[range];
            let mut sums = [0; 16];
            // Longer runs are rare: a value of more than 64 KiB.
            for (part, out) in out.chunks_mut(sums.len() * BLOCK).enumerate() {
                let first = first + (part * sums.len()) as u64;
                let count = out.len() / BLOCK;
                let at = index(first);
                let mut state = checks.state();
                let group = state.group(disk, first / GROUP)?;
                sums[..count].copy_from_slice(&group.sums[at..at + count]);
                drop(state);
                disk.read(block_offset(first), out)?;
                for ((number, block), expected) in (first..).zip(out.chunks(BLOCK)).zip(sums) {
                    if sum(number, block) != expected {
                        return Err(mismatch(block_offset(number)));
                    }
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let (disk, checks) = (&self.disk, self.checks()?);
        let Some(checks) = checks else {
            return disk.set_len(len);
        };
        let mut state = checks.state();
        state.begin_change(disk)?;
        let blocks = len.div_ceil(BLOCK_LEN);
        let groups = blocks.div_ceil(GROUP);
        let kept = usize::try_from(groups).unwrap_or(usize::MAX);
        state.groups.truncate(kept);
        state.changed.retain(|group| *group < groups);
        state.unsynced.retain(|group| *group < groups);
        let is_new = disk.len()? == 0;
        let last = blocks.checked_sub(1);
        disk.set_len(last.map_or(0, block_offset) + BLOCK_LEN)?;
        if is_new {
            disk.write(0, &MAGIC)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        let (disk, checks) = (&self.disk, self.checks()?);
        let Some(checks) = checks else {
            return disk.sync_data();
        };
        let _one = lock(&checks.syncs);
        let mut state = checks.state();
        if !state.is_changed {
            return Ok(());
        }
        state.write_sums(disk)?;
        drop(state);
        disk.sync_data()?;
        checks.state().synced();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let (disk, checks) = (&self.disk, self.checks()?);
        let Some(checks) = checks else {
            return disk.write(offset, data);
        };
        if offset < BLOCK_LEN {
            return checks.state().write_head(disk, offset, data);
        }
        for (first, range) in runs(offset, data.len())? {
            let data = &data[range];
            let mut state = checks.state();
            state.begin_change(disk)?;
            let number = first / GROUP;
            let group = state.group(disk, number)?;
            for (block, bytes) in (first..).zip(data.chunks(BLOCK)) {
                group.sums[index(block)] = sum(block, bytes);
            }
            state.changed.insert(number);
            drop(state);
            disk.write(block_offset(first), data)?;
        }
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.disk.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.disk.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.disk.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.disk.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.disk.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.disk.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.disk.query_lock_range(start, end)
    }
}
