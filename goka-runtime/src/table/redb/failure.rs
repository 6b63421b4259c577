//! How redb fails, and what that is for a store: its errors sorted, its panics caught.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::super::{StoreError, layout};
use crate::private_files;

/// What a call into redb came to, before the path is put to it.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Unreadable(String),
    Locked,
    Link,
    Io(String),
    /// What was not synced is gone.
    FellBack(String),
}

impl Failure {
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.display().to_string();
        match self {
            Failure::Unreadable(reason) => StoreError::Unreadable { path, reason },
            Failure::Locked => StoreError::Locked { path },
            Failure::Link => StoreError::Link { path },
            Failure::Io(reason) => StoreError::Io { path, reason },
            Failure::FellBack(reason) => StoreError::RolledBack { path, reason },
        }
    }
}

impl From<layout::Damaged> for Failure {
    fn from(damaged: layout::Damaged) -> Self {
        Failure::Unreadable(damaged.to_string())
    }
}

/// Turns a panic of redb into [`Failure::Unreadable`]. Whatever it left behind is dropped by
/// [`RedbStore::with`](super::RedbStore), so nothing half done is seen again.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Failure::Unreadable(
            text.unwrap_or("reading it panics").to_owned(),
        ))
    })
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        use redb::Error;
        match error.into() {
            Error::Io(error) => of_io(&error),
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => Failure::Locked,
            error @ (Error::PreviousIo | Error::Backend(_) | Error::ValueTooLarge(_)) => {
                Failure::Io(error.to_string())
            }
            Error::DatabaseClosed => Failure::Io("closed under its snapshot".to_owned()),
            error => Failure::Unreadable(error.to_string()),
        }
    }
}

/// `InvalidData` is redb's "not a database"; the end of a file where a page should be shows that it
/// was cut; a directory can only be in the way.
pub(super) fn of_io(error: &io::Error) -> Failure {
    match error.kind() {
        _ if private_files::is_link(error) => Failure::Link,
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => {
            Failure::Unreadable(error.to_string())
        }
        io::ErrorKind::UnexpectedEof => Failure::Unreadable("the file is cut short".to_owned()),
        _ => Failure::Io(error.to_string()),
    }
}
