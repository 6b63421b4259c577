//! For unit tests of handlers: a [`Probe`] has a group table in memory and collects the emitted records. It has no
//! log, no store and no barrier.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use crate::codec::{AsValue, Codec, CodecError};
use crate::context::{Context, WithoutKey};
use crate::dispatch::{ContextError, Deferred, Destination, Encode, Incoming, RawRecord, Scope};
use crate::edges::{Loops, Persists, Processor};
use crate::key::AsKey;
use crate::record::{Headers, Timestamp};
use crate::table::StoredRef;
use crate::topic::Topic;

/// Makes contexts for the handlers of the processor `P`. Values that they set, and records that they emit, stay from
/// call to call.
///
/// The effects of a handler that fails stay, too: the probe does not drop them, as the engine does.
///
/// ```
/// # use goka_runtime as goka;
/// # use goka::{codec::CodecOf, context::Context, edges::*, graph::Definition, partitioner::Murmur2, topic::*};
/// # struct Count;
/// # impl Processor for Count {
/// #     type Key = String;
/// #     type Partitioner = Murmur2;
/// #     const DEFINITION: &'static Definition = &goka::__private::BROKEN;
/// # }
/// # impl Topic for Count {
/// #     type Key = String;
/// #     type Value = i64;
/// #     type Partitioner = Murmur2;
/// #     const NAME: &'static str = "count-state";
/// #     const CODEC: CodecOf<i64> = CodecOf::new::<i64>();
/// #     const PARTITIONS: Option<i32> = None;
/// # }
/// # impl Table for Count {}
/// # impl Persists<i64> for Count { type Table = Self; }
/// use goka::testing::Probe;
///
/// fn count(ctx: &mut Context<Count>, _click: String) -> goka::Result<()> {
///     ctx.update(|n| n.unwrap_or(0) + 1)?;
///     Ok(())
/// }
///
/// let mut probe = Probe::new();
/// count(&mut probe.context("alice")?, "a click".into())?;
/// count(&mut probe.context("alice")?, "a click".into())?;
/// assert_eq!(probe.value("alice")?, Some(2));
/// assert_eq!(probe.value("bob")?, None);
/// # Ok::<(), goka::error::HandlerError>(())
/// ```
pub struct Probe<P> {
    key: Vec<u8>,
    memory: Memory,
    processor: PhantomData<fn() -> P>,
}

impl<P> fmt::Debug for Probe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.memory).finish()
    }
}

impl<P> Default for Probe<P> {
    fn default() -> Self {
        Self {
            key: Vec::new(),
            memory: Memory::default(),
            processor: PhantomData,
        }
    }
}

impl<P: Processor> Probe<P> {
    /// A probe with an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of a record with this key: the first argument of a handler.
    ///
    /// # Errors
    /// When the key does not encode.
    pub fn context(&mut self, key: impl AsKey<P::Key>) -> Result<Context<'_, P>, ContextError> {
        self.key = encoded(&mut |out| key.put(out), "key", TOPIC)?;
        self.memory.key.clone_from(&self.key);
        Context::new(raw::<P>(Some(&self.key), &mut self.memory))
    }

    /// The context of a record without a key: the first argument of a keyless stream's handler, in
    /// a group with keys.
    pub fn context_without_key(&mut self) -> Context<'_, P, WithoutKey> {
        let context = Context::new(raw::<P>(None, &mut self.memory));
        context.expect("a context without a key has no key to decode")
    }

    /// Sets the group table's value for a key.
    ///
    /// # Errors
    /// When key or value do not encode.
    pub fn set_value<V>(
        &mut self,
        key: impl AsKey<P::Key>,
        value: &(impl AsValue<V> + ?Sized),
    ) -> Result<(), ContextError>
    where
        P: Persists<V>,
    {
        let (name, codec) = (P::Table::NAME, P::Table::CODEC);
        let key = encoded(&mut |out| key.put(out), "key", name)?;
        let value = encoded(&mut |out| value.put(&codec, out), "value", name)?;
        self.memory.table.insert(key, value);
        Ok(())
    }

    /// Sets the value of a key in a table that is joined or looked up.
    ///
    /// # Errors
    /// When key or value do not encode.
    pub fn set_in<T: Topic>(
        &mut self,
        _table: T,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
    ) -> Result<(), ContextError> {
        self.set_in_of::<T>(key, value)
    }

    /// The same as [`set_in`](Probe::set_in), for a table whose type is not a unit.
    ///
    /// # Errors
    /// When key or value do not encode.
    pub fn set_in_of<T: Topic>(
        &mut self,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
    ) -> Result<(), ContextError> {
        let key = encoded(&mut |out| key.put(out), "key", T::NAME)?;
        let value = encoded(&mut |out| value.put(&T::CODEC, out), "value", T::NAME)?;
        self.memory.others.insert((T::NAME, key), value);
        Ok(())
    }

    /// The keys and values sent to other keys of the group so far, in order. Their handler has not
    /// been called: call it with [`context`](Probe::context) of each key.
    ///
    /// # Errors
    /// When they do not decode.
    pub fn looped<V>(&self) -> Result<Vec<(P::Key, V)>, ContextError>
    where
        P: Loops<V>,
    {
        let emitted = self.memory.emitted.iter();
        let looped = emitted.filter(|record| record.topic == P::LOOP);
        let decoded = looped.map(|record| {
            let key = P::Key::decode(&record.key).map_err(refused("key", P::LOOP))?;
            let value = record.value.as_deref().unwrap_or_default();
            let value = P::CODEC.decode(value).map_err(refused("value", P::LOOP))?;
            Ok((key, value))
        });
        decoded.collect()
    }

    /// The group table's value for a key.
    ///
    /// # Errors
    /// When the key does not encode or the value does not decode.
    pub fn value<V>(&self, key: impl AsKey<P::Key>) -> Result<Option<V>, ContextError>
    where
        P: Persists<V>,
    {
        let key = encoded(&mut |out| key.put(out), "key", P::Table::NAME)?;
        let value = self.memory.table.get(&key);
        let value = value.map(|value| P::Table::CODEC.decode(value));
        value.transpose().map_err(refused("value", P::Table::NAME))
    }

    /// The keys and values emitted to a topic so far, in order; `None` is a tombstone.
    ///
    /// # Errors
    /// When they do not decode.
    pub fn emitted<T: Topic>(&self, _topic: T) -> Result<Vec<Pair<T>>, ContextError> {
        let emitted = self.memory.emitted.iter();
        let emitted = emitted.filter(|record| record.topic == T::NAME);
        let decoded = emitted.map(|record| {
            let key = T::Key::decode(&record.key).map_err(refused("key", T::NAME))?;
            let value = record.value.as_deref().map(|value| T::CODEC.decode(value));
            Ok((key, value.transpose().map_err(refused("value", T::NAME))?))
        });
        decoded.collect()
    }
}

/// The topic of the records in a context.
const TOPIC: &str = "probe";

fn raw<'r, P: Processor>(key: Option<&'r [u8]>, memory: &'r mut Memory) -> RawRecord<'r> {
    RawRecord {
        record: Incoming {
            group: P::DEFINITION.graph.group,
            topic: TOPIC,
            partition: 0,
            offset: 0,
            timestamp: -1,
            key,
            value: None,
            headers: Headers::default(),
        },
        scope: memory,
    }
}

/// A key and a value of a topic; `None` is a tombstone.
pub type Pair<T> = (<T as Topic>::Key, Option<<T as Topic>::Value>);

fn refused(what: &'static str, topic: &str) -> impl FnOnce(CodecError) -> ContextError {
    move |source| ContextError::Codec {
        what,
        topic: topic.to_owned(),
        source,
    }
}

#[derive(Debug, Default)]
struct Memory {
    key: Vec<u8>,
    table: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Tables that are joined or looked up, by topic and key.
    others: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    emitted: Vec<Emitted>,
}

#[derive(Debug)]
struct Emitted {
    topic: &'static str,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

pub(crate) fn encoded(
    encode: Encode<'_>,
    what: &'static str,
    topic: &str,
) -> Result<Vec<u8>, ContextError> {
    let mut bytes = Vec::new();
    encode(&mut bytes).map_err(refused(what, topic))?;
    Ok(bytes)
}

fn stored(value: &[u8]) -> StoredRef<'_> {
    StoredRef {
        timestamp: -1,
        value,
    }
}

impl Scope for Memory {
    fn load(&mut self) -> Result<Option<StoredRef<'_>>, ContextError> {
        let value = self.table.get(&self.key);
        Ok(value.map(|value| stored(value)))
    }

    fn store(&mut self, value: Option<Encode<'_>>) -> Result<(), ContextError> {
        match value {
            Some(value) => {
                let value = encoded(value, "value", "the group table")?;
                self.table.insert(self.key.clone(), value);
            }
            None => {
                self.table.remove(&self.key);
            }
        }
        Ok(())
    }

    fn join(&mut self, table: &'static str) -> Result<Option<StoredRef<'_>>, ContextError> {
        let value = self.others.get(&(table, self.key.clone()));
        Ok(value.map(|value| stored(value)))
    }

    fn lookup(
        &mut self,
        table: &'static str,
        key: Encode<'_>,
    ) -> Result<Option<StoredRef<'_>>, ContextError> {
        let key = encoded(key, "key", table)?;
        let value = self.others.get(&(table, key));
        Ok(value.map(|value| stored(value)))
    }

    fn defer(&mut self) -> Deferred {
        Deferred::new(|_| {})
    }

    fn emit(
        &mut self,
        to: &Destination,
        key: Option<Encode<'_>>,
        value: Option<Encode<'_>>,
        _timestamp: Option<Timestamp>,
        _headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<(), ContextError> {
        let key = key.map_or(Ok(Vec::new()), |key| encoded(key, "key", to.topic))?;
        let value = value.map(|value| encoded(value, "value", to.topic));
        self.emitted.push(Emitted {
            topic: to.topic,
            key,
            value: value.transpose()?,
        });
        Ok(())
    }
}
