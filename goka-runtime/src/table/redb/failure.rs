//! How redb fails, and what that is for a store: its errors sorted, its panics caught.

use std::io;
use std::path::Path;

use super::super::{StoreError, layout};
use crate::checked_file::panic_as_error;
use crate::newer::is_newer;
use crate::private_files;
use crate::shared_error::SharedError;

/// A failed call into redb, before the path is added.
#[derive(Debug, Clone)]
pub(super) enum RedbFailure {
    Unreadable(SharedError),
    Locked,
    Link,
    Newer(SharedError),
    Io(SharedError),
    /// Commits that were not synced are gone.
    RolledBack(SharedError),
}

impl RedbFailure {
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            RedbFailure::Unreadable(source) => StoreError::Unreadable { path, source },
            RedbFailure::Locked => StoreError::Locked { path },
            RedbFailure::Link => StoreError::Link { path },
            RedbFailure::Newer(source) => StoreError::Newer { path, source },
            RedbFailure::Io(source) => StoreError::Io { path, source },
            RedbFailure::RolledBack(source) => StoreError::RolledBack { path, source },
        }
    }
}

impl From<layout::Damaged> for RedbFailure {
    fn from(damaged: layout::Damaged) -> Self {
        match damaged {
            layout::Damaged::Newer(newer) => RedbFailure::Newer(newer.into()),
            damaged => RedbFailure::Unreadable(damaged.into()),
        }
    }
}

/// Calls into redb; a panic is [`RedbFailure::Unreadable`]. What it left behind is dropped by
/// [`RedbStore::on_file`](super::RedbStore), so nothing half done is seen again.
pub(super) fn call_redb<T>(
    call: impl FnOnce() -> Result<T, RedbFailure>,
) -> Result<T, RedbFailure> {
    panic_as_error(call, |text| RedbFailure::Unreadable(text.into()))
}

impl<E: Into<redb::Error>> From<E> for RedbFailure {
    fn from(error: E) -> Self {
        use redb::Error;
        match error.into() {
            Error::Io(error) => from_io(error),
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => RedbFailure::Locked,
            error @ (Error::PreviousIo | Error::Backend(_) | Error::ValueTooLarge(_)) => {
                RedbFailure::Io(SharedError::from(error))
            }
            Error::DatabaseClosed => RedbFailure::Io("closed under its snapshot".into()),
            error => RedbFailure::Unreadable(SharedError::from(error)),
        }
    }
}

/// `InvalidData` is redb's "not a database"; the end of a file where a page should be means that it was
/// truncated; a directory is in the file's place.
pub(super) fn from_io(error: io::Error) -> RedbFailure {
    match error.kind() {
        _ if private_files::is_link(&error) => RedbFailure::Link,
        _ if is_newer(&error) => RedbFailure::Newer(error.into()),
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => {
            RedbFailure::Unreadable(error.into())
        }
        io::ErrorKind::UnexpectedEof => RedbFailure::Unreadable("the file is cut short".into()),
        _ => RedbFailure::Io(error.into()),
    }
}
