//! Reads the stores of the group table of a process that is not running.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use goka_runtime::table::Stores as _;
use goka_runtime::table::redb::RedbStores;

use super::Result;
use crate::child::TABLE;
use crate::oracle::Rows;

/// The cache of the stores that are read, in bytes.
const CACHE: usize = 8 << 20;

/// Copies the stores of the group table and reads the copies; returns partition, offset and rows of each.
pub(super) fn read_stores(tables: &Path, copy: &Path) -> Result<Vec<(i32, i64, Rows)>> {
    let from = tables.join(TABLE);
    if !from.exists() {
        return Ok(Vec::new());
    }
    std::fs::create_dir(copy.join(TABLE))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&from)? {
        files.push(entry?.path());
    }
    files.sort();
    let stores = RedbStores::new(copy.to_owned(), CACHE);
    let mut read = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(&file, copy.join(TABLE).join(name))?;
        let Some(partition) = file
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok())
        else {
            continue;
        };
        let store = stores.open(TABLE, partition)?;
        let mut rows = Rows::new();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        store.range(everything, &mut |key, stored| {
            rows.insert(key.to_vec(), stored.value.to_vec());
            ControlFlow::Continue(())
        })?;
        let checkpoint = store
            .checkpoint()?
            .map_or(0, |checkpoint| checkpoint.offset);
        read.push((partition, checkpoint, rows));
    }
    Ok(read)
}
