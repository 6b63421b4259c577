//! Damaged files that were moved out of the way: the newest one of each partition is kept, so that the damage
//! can be examined.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::super::StoreError;
use super::RedbStores;
use super::failure::from_io;

impl RedbStores {
    /// Moves a file out of the way, and removes those that were moved before.
    pub(super) fn move_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let older = self.asides(path)?;
        let newest = older.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let aside = path.with_extension(format!("redb.bad-{}", newest.saturating_add(1)));
        let moved = self.disk.rename(path, &aside);
        moved.map_err(|error| from_io(error).at(path))?;
        for (_, old) in older {
            let shown = old.display();
            match self.disk.remove(&old) {
                Ok(()) => {
                    tracing::info!(path = %shown, kept = %aside.display(), "older damaged copy removed")
                }
                Err(error) => {
                    tracing::warn!(path = %shown, %error, "older damaged copy not removed")
                }
            }
        }
        Ok(aside)
    }

    /// The files that were moved aside for one, by number.
    fn asides(&self, path: &Path) -> Result<Vec<(u32, PathBuf)>, StoreError> {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let prefix = format!("{name}.bad-");
        let number = |other: &Path| {
            let other = other.file_name()?.to_str()?;
            other.strip_prefix(&prefix)?.parse::<u32>().ok()
        };
        let dir = path.parent().unwrap_or(Path::new(""));
        let all = self.disk.list(dir);
        let all = all.map_err(|error| from_io(error).at(path))?.into_iter();
        Ok(all
            .filter_map(|other| Some((number(&other)?, other)))
            .collect())
    }
}
