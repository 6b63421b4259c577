//! What a handler's call needs of the worker: stores, followed tables, an executor and the clock.

use std::time::Duration;

use super::ids::{CopyId, RecordId};
use crate::dispatch::{ContextError, Deferred, Handling};
use crate::record::Appends;
use crate::shared_error::HandlerError;
use crate::table::{StoreRead, Stored};

/// What a handler needs beyond its task: stores, followed tables, an executor of futures, a clock.
pub(crate) trait HandlerServices {
    /// The store of a local copy; `None` where there is none.
    fn store(&self, copy: CopyId) -> Option<&dyn StoreRead>;
    /// The value of a key in a table that is looked up.
    ///
    /// # Errors
    /// When the copy cannot be read.
    fn lookup(&self, table: &'static str, key: &[u8]) -> Result<Option<Stored>, ContextError>;
    /// Drives a handler's future to its end.
    ///
    /// # Errors
    /// The handler's own.
    fn drive(&self, handling: Handling<'_>) -> Result<(), HandlerError>;
    /// A guard whose end comes back as [`Event::Deferred`].
    fn defer(&self, record: RecordId) -> Deferred;
    /// A handler is about to be called with a record. Returns whether it is to be told what the handler did.
    fn began(&self, record: &RecordId) -> bool;
    /// The handler has returned. Returns the time, on the clock of [`Now::monotonic`], a few milliseconds late at
    /// most.
    fn ended(&self) -> Duration;
    /// A handler returned `Ok`; it wrote the records from `first` on. Called where `began` asked for it.
    fn handled(&self, _record: RecordId, _appends: &Appends, _first: usize) {}
}
