//! What lies around redb's own work with a file: directories, opening, moving away. The machine does it, or, in
//! simulations, a disk in memory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError};

use crate::checked_file::CheckedFile;
use crate::private_files;

/// A disk with the files of tables.
pub(crate) trait Disk: Send + Sync {
    /// Makes the directory of all tables, if it is missing.
    ///
    /// # Errors
    /// Those of the disk.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the directory of one table in it. A symbolic link in its place is refused.
    ///
    /// # Errors
    /// Those of the disk.
    fn make_table(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file, made when missing.
    ///
    /// # Errors
    /// redb's.
    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError>;
    /// The files in a directory.
    ///
    /// # Errors
    /// Those of the disk.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Gives a file another name.
    ///
    /// # Errors
    /// Those of the disk.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Those of the disk.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The machine's disk. Directories and files are for their owner alone.
pub(super) struct MachineDisk;

impl Disk for MachineDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn make_table(&self, dir: &Path) -> io::Result<()> {
        private_files::make_dir(dir)
    }

    fn open(&self, path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
        let file = CheckedFile::open(path)?;
        Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
