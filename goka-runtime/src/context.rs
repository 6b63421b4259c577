//! [`Context`], the first argument of a handler: the record, the group table's value for its key, and the
//! declared edges, with types and codecs. The [`Scope`](crate::dispatch::Scope) below it has bytes.

use std::fmt;
use std::marker::PhantomData;

use crate::codec::{AsValue, CodecError, CodecOf};
use crate::dispatch::{ContextError, Deferred, Destination, Encode, Incoming, RawRecord};
use crate::edges::{Emits, Joins, LooksUp, Loops, Persists, Processor};
use crate::key::{AsKey, Key};
use crate::partitioner::Partitioner;
use crate::record::{Headers, Offset, Timestamp};
use crate::table::StoredRef;
use crate::topic::Topic;

/// The processor of a `Context` in which neither the macro nor the user has put one. rustc shows the line of its
/// definition, with the advice at its end.
#[doc(hidden)]
#[derive(Debug)]
pub enum ProcessorNotNamed {} // write the processor: `&mut Context<'_, MyProcessor>`

/// Records come with a key: see [`Context`].
#[derive(Debug)]
pub enum WithKey {}

/// Records of a keyless stream: see [`Context`].
#[derive(Debug)]
pub enum WithoutKey {}

/// Says whether records come with a key.
#[doc(hidden)]
pub trait Keying {
    /// Whether they do.
    const HAS_KEY: bool;
}

impl Keying for WithKey {
    const HAS_KEY: bool = true;
}

impl Keying for WithoutKey {
    const HAS_KEY: bool = false;
}

/// Says that records come with a key.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a record of a keyless stream has no key, and so no value in a table",
    label = "not for a keyless stream",
    note = "give it a key: `ctx.loopback(key, &value)` calls the group's `#[loopback]` handler, which has one"
)]
pub trait HasKey {}

#[diagnostic::do_not_recommend]
impl HasKey for WithKey {}

/// The record that a handler is called for, and the operations on the group table and the declared edges.
///
/// Handlers take `ctx: &mut Context` without parameters. The macro adds the processor, whose declaration says
/// which key type, table and outputs the methods accept. A function that a handler calls names it:
/// `ctx: &mut Context<'_, MyProcessor>`. All that a handler wrote and emitted is kept when it
/// returns `Ok`, and none of it otherwise.
///
/// In a group with keys the handler of a keyless stream is given a `Context<.., WithoutKey>`, which
/// has no key and so no [`value`](Context::value), but can [`loopback`](Context::loopback).
pub struct Context<'r, P: ?Sized = ProcessorNotNamed, W = WithKey> {
    raw: RawRecord<'r>,
    key: &'r [u8],
    keying: PhantomData<fn() -> W>,
    processor: PhantomData<fn() -> P>,
}

impl<P: ?Sized, W> fmt::Debug for Context<'_, P, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("record", &self.raw.record)
            .finish_non_exhaustive()
    }
}

impl<'r, P: Processor, W: Keying> Context<'r, P, W> {
    /// Wraps a record, after a check that its key is one of the group's; a keyless handler's is not checked.
    #[inline]
    pub(crate) fn new(raw: RawRecord<'r>) -> Result<Self, ContextError> {
        let key = if W::HAS_KEY {
            Self::viewed(&raw.record)?
        } else {
            &[]
        };
        Ok(Self {
            raw,
            key,
            keying: PhantomData,
            processor: PhantomData,
        })
    }

    /// The bytes of a record's key, if they decode.
    #[inline]
    fn viewed(record: &Incoming<'r>) -> Result<&'r [u8], ContextError> {
        let key = match record.key {
            Some(key) => key,
            None if P::Key::IS_NONE => &[],
            None => {
                return Err(ContextError::NoKey {
                    topic: record.topic.to_owned(),
                });
            }
        };
        if let Err(source) = P::Key::view(key) {
            return Err(ContextError::Codec {
                what: "key",
                topic: record.topic.to_owned(),
                source,
            });
        }
        Ok(key)
    }
}

impl<'r, P: Processor, W> Context<'r, P, W> {
    /// The record's key: `&str` for `String`, `&[u8]` for `Vec<u8>`, other types by value.
    pub fn key(&self) -> <P::Key as Key>::Ref<'r>
    where
        W: HasKey,
    {
        P::Key::view(self.key).expect("the key was viewed before the handler ran")
    }

    /// The group table's value for the record's key; `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot be read, or the value does not decode.
    pub fn value<V>(&mut self) -> Result<Option<V>, ContextError>
    where
        P: Persists<V>,
        W: HasKey,
    {
        decoded(&P::Table::CODEC, P::Table::NAME, self.raw.scope.load()?)
    }

    /// Sets the group table's value for the record's key.
    ///
    /// # Errors
    /// When the value does not encode, or its record would be larger than the topic allows.
    pub fn set_value<V>(&mut self, value: &(impl AsValue<V> + ?Sized)) -> Result<(), ContextError>
    where
        P: Persists<V>,
        W: HasKey,
    {
        let codec: CodecOf<V> = P::Table::CODEC;
        self.raw
            .scope
            .store(Some(&mut |out: &mut Vec<u8>| value.put(&codec, out)))
    }

    /// Deletes the group table's value for the record's key: the changelog gets a tombstone.
    ///
    /// # Errors
    /// When its record would be larger than the topic allows.
    pub fn delete<V>(&mut self) -> Result<(), ContextError>
    where
        P: Persists<V>,
        W: HasKey,
    {
        self.raw.scope.store(None)
    }

    /// Computes a new value from the old one, sets it and returns it.
    ///
    /// # Errors
    /// Those of [`value`](Context::value) and [`set_value`](Context::set_value).
    pub fn update<V>(&mut self, make: impl FnOnce(Option<V>) -> V) -> Result<V, ContextError>
    where
        P: Persists<V>,
        W: HasKey,
    {
        let value = make(self.value()?);
        self.set_value::<V>(&value)?;
        Ok(value)
    }

    /// Emits a record to an output, with the timestamp of the record that is handled.
    ///
    /// # Errors
    /// When key or value do not encode, or the record would be larger than the topic allows.
    pub fn emit<T: Topic>(
        &mut self,
        topic: T,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
    ) -> Result<(), ContextError>
    where
        P: Emits<T>,
    {
        self.emit_with(topic, key, value, &Emit::new())
    }

    /// Emits a record to an output, with headers or a timestamp of its own.
    ///
    /// # Errors
    /// When key or value do not encode, or the record would be larger than the topic allows.
    pub fn emit_with<T: Topic>(
        &mut self,
        _topic: T,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
        options: &Emit,
    ) -> Result<(), ContextError>
    where
        P: Emits<T>,
    {
        self.put::<T>(
            &mut |out| key.put(out),
            Some(&mut |out: &mut Vec<u8>| value.put(&T::CODEC, out)),
            options,
        )
    }

    /// Emits a tombstone to an output: the deletion of a key.
    ///
    /// # Errors
    /// When the key does not encode.
    pub fn emit_tombstone<T: Topic>(
        &mut self,
        _topic: T,
        key: impl AsKey<T::Key>,
    ) -> Result<(), ContextError>
    where
        P: Emits<T>,
    {
        self.put::<T>(&mut |out| key.put(out), None, &Emit::new())
    }

    fn put<T: Topic>(
        &mut self,
        key: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), CodecError>,
        value: Option<Encode<'_>>,
        options: &Emit,
    ) -> Result<(), ContextError> {
        let key: Option<Encode<'_>> = if T::Key::IS_NONE { None } else { Some(key) };
        let to = Destination {
            topic: T::NAME,
            partition_of: T::Partitioner::partition,
        };
        self.raw
            .scope
            .emit(&to, key, value, options.timestamp, &options.headers)
    }

    /// The value of the record's key in a joined table, as of the last update of the table that this process
    /// has read.
    ///
    /// # Errors
    /// When the local copy cannot be read, or the value does not decode.
    pub fn join<T: Topic>(&mut self, _table: T) -> Result<Option<T::Value>, ContextError>
    where
        P: Joins<T>,
        W: HasKey,
    {
        self.join_of::<T>()
    }

    /// The same as [`join`](Context::join), for a table whose type is not a unit: the processor of
    /// an `impl`.
    ///
    /// # Errors
    /// Those of [`join`](Context::join).
    pub fn join_of<T: Topic>(&mut self) -> Result<Option<T::Value>, ContextError>
    where
        P: Joins<T>,
        W: HasKey,
    {
        decoded(&T::CODEC, T::NAME, self.raw.scope.join(T::NAME)?)
    }

    /// The value of any key of a table that is looked up, as of the last update that this process has read.
    ///
    /// # Errors
    /// When the key does not encode, the copy cannot be read, or the value does not decode.
    pub fn lookup<T: Topic>(
        &mut self,
        _table: T,
        key: impl AsKey<T::Key>,
    ) -> Result<Option<T::Value>, ContextError>
    where
        P: LooksUp<T>,
    {
        self.lookup_of::<T>(key)
    }

    /// The same as [`lookup`](Context::lookup), for a table whose type is not a unit: the processor
    /// of an `impl`.
    ///
    /// # Errors
    /// Those of [`lookup`](Context::lookup).
    pub fn lookup_of<T: Topic>(
        &mut self,
        key: impl AsKey<T::Key>,
    ) -> Result<Option<T::Value>, ContextError>
    where
        P: LooksUp<T>,
    {
        let stored = self.raw.scope.lookup(T::NAME, &mut |out| key.put(out))?;
        decoded(&T::CODEC, T::NAME, stored)
    }

    /// Sends a value to another key of the group: its `#[loopback]` handler is called for it.
    ///
    /// # Errors
    /// When key or value do not encode, or the record would be larger than the topic allows.
    pub fn loopback<V>(
        &mut self,
        key: impl AsKey<P::Key>,
        value: &(impl AsValue<V> + ?Sized),
    ) -> Result<(), ContextError>
    where
        P: Loops<V>,
    {
        let to = Destination {
            topic: P::LOOP,
            partition_of: P::Partitioner::partition,
        };
        let codec: CodecOf<V> = <P as Loops<V>>::CODEC;
        self.raw.scope.emit(
            &to,
            Some(&mut |out| key.put(out)),
            Some(&mut |out: &mut Vec<u8>| value.put(&codec, out)),
            None,
            &[],
        )
    }

    /// Holds back the commit of the record until [`Deferred::done`] is called, on any thread. What the handler
    /// wrote and emitted is kept as for any other record. For work that goes on after the handler has
    /// returned, such as a task that an asynchronous handler spawned.
    pub fn defer(&mut self) -> Deferred {
        self.raw.scope.defer()
    }

    /// The group.
    pub fn group(&self) -> &'r str {
        self.raw.record.group
    }

    /// The topic that the record was read from.
    pub fn topic(&self) -> &'r str {
        self.raw.record.topic
    }

    /// The record's partition.
    pub fn partition(&self) -> i32 {
        self.raw.record.partition
    }

    /// The record's offset.
    pub fn offset(&self) -> Offset {
        self.raw.record.offset
    }

    /// The record's timestamp: milliseconds since the Unix epoch, or -1 for none.
    pub fn timestamp(&self) -> Timestamp {
        self.raw.record.timestamp
    }

    /// The record's headers.
    pub fn headers(&self) -> Headers<'r> {
        self.raw.record.headers
    }

    /// The record as it was read, in bytes.
    pub fn record(&self) -> &Incoming<'r> {
        &self.raw.record
    }
}

/// Decodes a value of a table.
fn decoded<V>(
    codec: &CodecOf<V>,
    topic: &str,
    stored: Option<StoredRef<'_>>,
) -> Result<Option<V>, ContextError> {
    let value = stored.map(|stored| codec.decode(stored.value)).transpose();
    value.map_err(|source| ContextError::Codec {
        what: "value",
        topic: topic.to_owned(),
        source,
    })
}

/// Headers and a timestamp for [`Context::emit_with`].
///
/// ```
/// # use goka_runtime::context as goka;
/// use goka::Emit;
///
/// let options = Emit::new().timestamp(1_700_000_000_000).header("trace", "4bf92f");
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Emit {
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Emit {
    /// No headers, and the timestamp of the record that is handled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Adds a header; Kafka allows a name more than once.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Adds a header without a value.
    #[must_use]
    pub fn header_null(mut self, name: impl Into<String>) -> Self {
        self.headers.push((name.into(), None));
        self
    }
}
