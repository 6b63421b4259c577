//! A disk whose operations fail while a test wants that; it keeps its content.

use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{StorageBackend, backends::InMemoryBackend};

use super::{Catalog, File, LogError, unusable};

#[derive(Debug, Clone, Default)]
pub(in super::super) struct Disk {
    inner: Arc<InMemoryBackend>,
    pub(in super::super) fails: Arc<AtomicBool>,
}

impl Disk {
    /// A file on this disk, opened again when the log asks for it.
    pub(in super::super) fn file(&self) -> std::result::Result<(File, Catalog), LogError> {
        let disk = self.clone();
        File::new(
            None,
            Box::new(move || {
                let mut builder = redb::Builder::new();
                // Everything is read from the disk.
                let made = builder.set_cache_size(0).create_with_backend(disk.clone());
                made.map_err(|error| unusable(None, error.into()))
            }),
        )
    }

    fn check(&self) -> Result<()> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(Error::other("the disk is on fire")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.check()?;
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> Result<()> {
        self.check()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}
