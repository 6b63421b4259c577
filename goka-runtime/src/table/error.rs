//! Why a store did not do what it was asked for, with the error that led to it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::private_files;

/// The error that made a store fail, shared by its clones. Two are equal when they say the same.
///
/// ```
/// use goka_runtime::table::{Cause, StoreError};
/// use std::error::Error;
/// use std::io;
///
/// let full = io::Error::from(io::ErrorKind::StorageFull);
/// let error = StoreError::Io { path: "0.store".into(), source: full.into() };
/// let cause = error.source().and_then(|source| source.downcast_ref::<Cause>()).unwrap();
/// let io = cause.get().downcast_ref::<io::Error>().unwrap();
/// assert_eq!(io.kind(), io::ErrorKind::StorageFull);
/// ```
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Keeps an error, or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into().into())
    }

    /// The error itself.
    pub fn get(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Cause {}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

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
        source: Cause,
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
    /// It lost commits that it had: it is to be opened anew and inspected.
    #[error("store `{path}` fell back: {source}")]
    RolledBack {
        /// The store.
        path: String,
        /// What was lost.
        source: Cause,
    },
    /// The disk or the file system refuses.
    #[error("store `{path}`: {source}")]
    Io {
        /// The store.
        path: String,
        /// The error of the system.
        source: Cause,
    },
}

impl StoreError {
    /// Whether a retry may succeed: as the store is, or once it is opened anew and inspected.
    pub(crate) fn may_recover(&self) -> bool {
        matches!(self, StoreError::Io { .. } | StoreError::RolledBack { .. })
    }
}
