//! Between a handler's [`Context`](crate::context::Context) and the core: the record, and what may be done
//! with it, in bytes. The typed layer above knows codecs, the core below knows neither types nor
//! codecs; one indirect call a record crosses it.

use std::any::Any;
use std::fmt;
use std::pin::Pin;

use crate::error::{HandlerError, SharedError};
use crate::record::{Headers, Offset, Timestamp};
use crate::table::{StoreError, StoredRef};

/// The record that a handler was called for.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'r> {
    /// The group.
    pub group: &'r str,
    /// The topic it was read from.
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

/// An output: where its records go.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// The topic.
    pub topic: &'static str,
    /// The partition of a key among so many.
    pub place: fn(&[u8], i32) -> i32,
}

/// What a handler may do beyond looking at its record. Kept whole when the handler returns `Ok`,
/// dropped whole otherwise.
pub trait Scope {
    /// The value of the record's key, with this record's own changes seen.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(&mut self) -> Result<Option<StoredRef<'_>>, ContextError>;
    /// Sets the value of the record's key, or deletes it (`None`).
    ///
    /// # Errors
    /// When the value does not encode, or its record would be larger than the log takes.
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
    /// Holds the record's commit back until the guard is told that it is done; what the handler
    /// wrote and emitted is kept as with any other record.
    fn defer(&mut self) -> Deferred;
    /// Emits a record; a key that is not there goes to the partition of the record at hand.
    /// Without a timestamp of its own it inherits the record's.
    ///
    /// # Errors
    /// When key or value do not encode, or the record would be larger than the log takes.
    fn emit(
        &mut self,
        to: &Destination,
        key: Option<Encode<'_>>,
        value: Option<Encode<'_>>,
        timestamp: Option<Timestamp>,
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), ContextError>;
}

/// A record and its scope: what a dispatch shim gets.
pub struct RawRecord<'r> {
    /// The record.
    pub record: Incoming<'r>,
    /// What may be done.
    pub scope: &'r mut dyn Scope,
}

impl fmt::Debug for RawRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// The state that handlers share: the processor's own value.
pub type ProcessorState = dyn Any + Send + Sync;

/// A dispatch shim: decodes the value, makes the context, calls the handler.
pub type SyncCall = for<'r> fn(&'r ProcessorState, RawRecord<'r>) -> Result<(), HandlerError>;

/// What an asynchronous handler's shim returns; it stays on the worker's thread.
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

/// Holds one record's commit back: see [`Context::defer`](crate::context::Context::defer). May be
/// sent to another thread. Dropped without [`done`](Deferred::done) it fails the record.
#[must_use = "dropping it fails the record"]
pub struct Deferred(Option<Box<DeferCallback>>);

type DeferCallback = dyn FnOnce(Result<(), HandlerError>) + Send;

impl Deferred {
    /// A guard that tells `settle` once.
    pub fn new(settle: impl FnOnce(Result<(), HandlerError>) + Send + 'static) -> Self {
        Self(Some(Box::new(settle)))
    }

    /// What was deferred is done: the record may be committed.
    pub fn done(mut self) {
        if let Some(settle) = self.0.take() {
            settle(Ok(()));
        }
    }

    /// What was deferred failed: the partition stops at this record.
    pub fn fail(mut self, error: impl Into<HandlerError>) {
        if let Some(settle) = self.0.take() {
            settle(Err(error.into()));
        }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            settle(Err(
                "what was deferred was dropped before it was done".into()
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

/// What a [`Context`](crate::context::Context) answers when it cannot do what was asked.
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
        /// The codec's word.
        source: CodecError,
    },
    /// The record has no key, and the group's key type has no way to say so.
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
    /// The record would be larger than its topic takes.
    #[error(
        "topic `{topic}` takes records of at most {limit} bytes, the one of key `{key}` has {size}; \
         raise the topic's `max.message.bytes`, or keep less in one value"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// The key, as text.
        key: String,
        /// The record's size in bytes.
        size: usize,
        /// What the topic takes.
        limit: usize,
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
