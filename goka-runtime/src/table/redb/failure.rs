//! How redb fails, and what that is for a store: its errors sorted, its panics caught.

use std::io;
use std::path::Path;

use super::super::{StoreError, layout};
use crate::checked_file::panic_as_error;
use crate::private_files;

/// What a call into redb came to, before the path is put to it.
#[derive(Debug, Clone)]
pub(super) enum RedbFailure {
    Unreadable(String),
    Locked,
    Link,
    Io(String),
    /// What was not synced is gone.
    RolledBack(String),
}

impl RedbFailure {
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            RedbFailure::Unreadable(reason) => StoreError::Unreadable { path, reason },
            RedbFailure::Locked => StoreError::Locked { path },
            RedbFailure::Link => StoreError::Link { path },
            RedbFailure::Io(reason) => StoreError::Io { path, reason },
            RedbFailure::RolledBack(reason) => StoreError::RolledBack { path, reason },
        }
    }
}

impl From<layout::Damaged> for RedbFailure {
    fn from(damaged: layout::Damaged) -> Self {
        RedbFailure::Unreadable(damaged.to_string())
    }
}

/// Calls into redb; a panic is [`RedbFailure::Unreadable`]. What it left behind is dropped by
/// [`RedbStore::on_file`](super::RedbStore), so nothing half done is seen again.
pub(super) fn call_redb<T>(
    call: impl FnOnce() -> Result<T, RedbFailure>,
) -> Result<T, RedbFailure> {
    panic_as_error(call, |text| RedbFailure::Unreadable(text.to_owned()))
}

impl<E: Into<redb::Error>> From<E> for RedbFailure {
    fn from(error: E) -> Self {
        use redb::Error;
        match error.into() {
            Error::Io(error) => from_io(&error),
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => RedbFailure::Locked,
            error @ (Error::PreviousIo | Error::Backend(_) | Error::ValueTooLarge(_)) => {
                RedbFailure::Io(error.to_string())
            }
            Error::DatabaseClosed => RedbFailure::Io("closed under its snapshot".to_owned()),
            error => RedbFailure::Unreadable(error.to_string()),
        }
    }
}

/// `InvalidData` is redb's "not a database"; the end of a file where a page should be shows that it
/// was cut; a directory can only be in the way.
pub(super) fn from_io(error: &io::Error) -> RedbFailure {
    match error.kind() {
        _ if private_files::is_link(error) => RedbFailure::Link,
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => {
            RedbFailure::Unreadable(error.to_string())
        }
        io::ErrorKind::UnexpectedEof => RedbFailure::Unreadable("the file is cut short".to_owned()),
        _ => RedbFailure::Io(error.to_string()),
    }
}
