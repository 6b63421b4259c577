//! Between a handler's [`Context`](crate::context::Context) and the core: the record, and what may be done
//! with it, in bytes. The typed layer above knows codecs, the core below knows neither types nor
//! codecs; one indirect call a record crosses it.

use std::any::Any;
use std::fmt;

use crate::record::{Headers, Offset, Timestamp};
use crate::table::{StoreError, StoredRef};

/// What a handler may fail with.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

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
pub struct Raw<'r> {
    /// The record.
    pub record: Incoming<'r>,
    /// What may be done.
    pub scope: &'r mut dyn Scope,
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// The state that handlers share: the processor's own value.
pub type Shared = dyn Any + Send + Sync;

/// A dispatch shim: decodes the value, makes the context, calls the handler.
pub type Call = for<'r> fn(&'r Shared, Raw<'r>) -> Result<(), HandlerError>;

/// Bytes that a codec cannot read, or a value that it cannot write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {codec}: {reason}")]
pub struct CodecError {
    /// The codec, as the fingerprint names it.
    pub codec: &'static str,
    /// What is wrong.
    pub reason: String,
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
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
