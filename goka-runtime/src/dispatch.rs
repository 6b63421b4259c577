//! The boundary between a handler's [`Context`](crate::context::Context) and the core: a record as bytes, and
//! the operations on tables and outputs as bytes. The typed layer above knows types and codecs, the core
//! below knows neither. One indirect call for each record crosses the boundary.

use std::any::Any;
use std::fmt;
use std::pin::Pin;

use crate::record::{Headers, Offset, Timestamp};
use crate::shared_error::{HandlerError, SharedError};
use crate::table::{StoreError, StoredRef};

/// The record that a handler was called for.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'r> {
    /// The group.
    pub group: &'r str,
    /// The topic that it was read from.
    pub topic: &'r str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, or -1.
    pub timestamp: Timestamp,
    /// Its key; never `None` in a group with a table.
    pub key: Option<&'r [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'r [u8]>,
    /// Its headers.
    pub headers: Headers<'r>,
}

/// Writes one key or value to the end of a buffer.
pub type Encode<'e> = &'e mut dyn FnMut(&mut Vec<u8>) -> Result<(), CodecError>;

/// The topic that a record is emitted to.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// The topic.
    pub topic: &'static str,
    /// The partition of a key, given the number of partitions.
    pub partition_of: fn(&[u8], i32) -> i32,
}

/// The operations of a handler besides reading its record. All their effects are kept when the handler
/// returns `Ok`, and none otherwise.
pub trait Scope {
    /// The value of the record's key, with the changes that the handler has made for this record.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&mut self) -> Result<Option<StoredRef<'_>>, ContextError>;
    /// Sets the value of the record's key, or deletes it (`None`).
    ///
    /// # Errors
    /// When the value does not encode, or its record would be larger than the topic allows.
    fn store(&mut self, value: Option<Encode<'_>>) -> Result<(), ContextError>;
    /// The value of the record's key in a joined table: the group's own partition of it.
    ///
    /// # Errors
    /// When the local copy cannot be read.
    fn join(&mut self, table: &'static str) -> Result<Option<StoredRef<'_>>, ContextError>;
    /// The value of any key of a table that is looked up, from the copy that this process follows.
    ///
    /// # Errors
    /// When the key does not encode, or the copy cannot be read.
    fn lookup(
        &mut self,
        table: &'static str,
        key: Encode<'_>,
    ) -> Result<Option<StoredRef<'_>>, ContextError>;
    /// Holds back the commit of the record until [`Deferred::done`] is called. What the handler wrote and
    /// emitted is kept as for any other record.
    fn defer(&mut self) -> Deferred;
    /// Emits a record. Without a key it goes to the partition number of the record that is handled, and
    /// without a timestamp it gets that record's.
    ///
    /// # Errors
    /// When key or value do not encode, or the record would be larger than the topic allows.
    fn emit(
        &mut self,
        to: &Destination,
        key: Option<Encode<'_>>,
        value: Option<Encode<'_>>,
        timestamp: Option<Timestamp>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), ContextError>;
}

/// A record and its scope: the argument of a dispatch shim.
pub struct RawRecord<'r> {
    /// The record.
    pub record: Incoming<'r>,
    /// The operations of its handler.
    pub scope: &'r mut dyn Scope,
}

impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecord")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// The value of the processor's type, which its handlers share.
pub type ProcessorState = dyn Any + Send + Sync;

/// A dispatch shim: decodes the value, makes the context, calls the handler.
pub type SyncCall = for<'r> fn(&'r ProcessorState, RawRecord<'r>) -> Result<(), HandlerError>;

/// The future of an asynchronous handler's shim, which stays on the worker's thread.
pub type Handling<'r> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + 'r>>;

/// The shim of an asynchronous handler.
pub type AsyncCall = for<'r> fn(&'r ProcessorState, RawRecord<'r>) -> Handling<'r>;

/// How a handler is called.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// It returns when it is done.
    Sync(SyncCall),
    /// Its future is driven by the worker: the next record of the task waits for it.
    Async(AsyncCall),
}

/// Holds back the commit of one record: see [`Context::defer`](crate::context::Context::defer). It may be
/// sent to another thread. If it is dropped without [`done`](Deferred::done) the record fails.
#[must_use = "dropping it fails the record"]
pub struct Deferred(Option<Box<DeferCallback>>);

type DeferCallback = dyn FnOnce(Result<(), HandlerError>) + Send;

impl Deferred {
    /// A guard that calls `complete` once.
    pub fn new(complete: impl FnOnce(Result<(), HandlerError>) + Send + 'static) -> Self {
        Self(Some(Box::new(complete)))
    }

    /// The deferred work is done: the record may be committed.
    pub fn done(mut self) {
        if let Some(complete) = self.0.take() {
            complete(Ok(()));
        }
    }

    /// The deferred work failed: the partition stops at this record.
    pub fn fail(mut self, error: impl Into<HandlerError>) {
        if let Some(complete) = self.0.take() {
            complete(Err(error.into()));
        }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if let Some(complete) = self.0.take() {
            complete(Err(
                "the guard of `defer` was dropped before the deferred work was done".into(),
            ));
        }
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deferred")
    }
}

/// Bytes that a codec cannot read, or a value that it cannot write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {codec}: {reason}")]
pub struct CodecError {
    /// The codec, as the fingerprint names it.
    pub codec: &'static str,
    /// What is wrong: another library's error, or a text (`"..".into()`).
    #[source]
    pub reason: SharedError,
}

impl CodecError {
    #[cold]
    pub(crate) fn new(codec: &'static str, reason: impl Into<SharedError>) -> Self {
        let reason = reason.into();
        Self { codec, reason }
    }
}

/// Why an operation of a [`Context`](crate::context::Context) failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The record's or the table's bytes are not what the codec expects.
    #[error("{what} of {topic}: {source}")]
    Codec {
        /// `key` or `value`.
        what: &'static str,
        /// The topic.
        topic: String,
        /// The error of the codec.
        source: CodecError,
    },
    /// The record has no key, and the group's key type does not allow that.
    #[error("the record of {topic} has no key")]
    NoKey {
        /// The topic.
        topic: String,
    },
    /// The record has no value, and the handler takes no tombstones.
    #[error("the record of {topic} is a tombstone; take `Option<..>` to handle deletions")]
    Tombstone {
        /// The topic.
        topic: String,
    },
    /// The record would be larger than its topic allows.
    #[error(
        "topic `{topic}` takes records of at most {max_message_bytes} bytes, the one of key `{key}` has {size}; \
         raise the topic's `max.message.bytes`, or keep less in one value"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// The key, as text.
        key: String,
        /// The record's size in bytes.
        size: usize,
        /// The `max.message.bytes` of the topic.
        max_message_bytes: usize,
    },
    /// The copy of a table that is looked up cannot be read.
    #[error("looking up in `{table}`: {source}")]
    Lookup {
        /// The table's topic.
        table: String,
        /// The view's error.
        source: SharedError,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
