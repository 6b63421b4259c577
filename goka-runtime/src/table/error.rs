//! Why a store did not do what it was asked for, with the error that led to it.

use crate::private_files;
use crate::shared_error::SharedError;

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// What is there is not a store, or is damaged.
    #[error("store `{path}` cannot be read: {source}")]
    Unreadable {
        /// The store.
        path: String,
        /// What is wrong.
        source: SharedError,
    },
    /// Another process has it.
    #[error(
        "store `{path}` is in use by another process; give each process its own data directory"
    )]
    Locked {
        /// The store.
        path: String,
    },
    /// The store, or its directory, is a symbolic link.
    #[error("store `{path}` {}", private_files::IsLink)]
    Link {
        /// The link.
        path: String,
    },
    /// A newer build wrote it.
    #[error("store `{path}` {source}")]
    Newer {
        /// The store.
        path: String,
        /// The version found, and the one that this build knows.
        source: SharedError,
    },
    /// It lost commits that it had: it is to be opened anew and inspected.
    #[error("store `{path}` fell back: {source}")]
    RolledBack {
        /// The store.
        path: String,
        /// What was lost.
        source: SharedError,
    },
    /// The disk or the file system refuses.
    #[error("store `{path}`: {source}")]
    Io {
        /// The store.
        path: String,
        /// The error of the system.
        source: SharedError,
    },
}

impl StoreError {
    pub(crate) fn io(path: String, source: impl Into<SharedError>) -> Self {
        let source = source.into();
        Self::Io { path, source }
    }

    /// Whether a retry may succeed: as the store is, or once it is opened anew and inspected.
    pub(crate) fn may_recover(&self) -> bool {
        matches!(self, StoreError::Io { .. } | StoreError::RolledBack { .. })
    }
}
