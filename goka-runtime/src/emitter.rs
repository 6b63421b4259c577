//! Emitters write records to topics from outside a processor: typed by the topic, in order, with
//! back-pressure, and with an error for each record that was not delivered. Knows no engine.

mod ack;
mod error;
mod raw;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

pub use self::ack::{Ack, Delivered};
pub use self::error::EmitError;
pub(crate) use self::raw::RawEmitter;
#[cfg(feature = "cli")]
pub(crate) use self::raw::{Declared, target};
use crate::codec::{AsValue, CodecError};
use crate::context::Emit;
use crate::key::{AsKey, Key, NoKey};
use crate::log::{Log, TopicWait};
use crate::topic::Topic;

/// Writes records to the topic `T`.
///
/// Shared between threads by reference; the records of one thread keep their order.
///
/// ```
/// # use goka_runtime::{codec::CodecOf, emitter::Emitter, log::{Log, embedded::Embedded}, partitioner::Murmur2, topic::Topic};
/// # use std::{sync::Arc, time::Duration};
/// # struct UserClicks;
/// # impl Topic for UserClicks {
/// #     type Key = String;
/// #     type Value = String;
/// #     type Partitioner = Murmur2;
/// #     const NAME: &'static str = "user-clicks";
/// #     const CODEC: CodecOf<String> = CodecOf::new::<String>();
/// #     const PARTITIONS: Option<i32> = None;
/// # }
/// let log: Arc<dyn Log> = Arc::new(Embedded::in_memory()?);
/// let clicks = Emitter::<UserClicks>::new(log)?;
/// let ack = clicks.emit("alice", "2026-01-01 12:00")?;
/// let at = ack.wait(Duration::from_secs(5))?;
/// assert_eq!(at.offset, 0);
/// clicks.close(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Emitter<T: Topic> {
    raw: RawEmitter,
    topic: PhantomData<fn() -> T>,
}

impl<T: Topic> Emitter<T> {
    /// Connects to the topic. The embedded log creates it when it is missing, with the declared
    /// partition count or 4; on Kafka streams are created by their owners, and a missing one is
    /// waited for as long as the log says ([`Log::topic_timeout`]).
    ///
    /// # Errors
    /// [`EmitError::MissingTopic`] with the command that creates it; what the log answers.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the log is shared by handing it out"
    )]
    pub fn new(log: Arc<dyn Log>) -> Result<Self, EmitError> {
        Self::unless(&*log, &TopicWait::default())
    }

    /// The same for a program that may be stopped meanwhile.
    pub(crate) fn unless(log: &dyn Log, wait: &TopicWait<'_>) -> Result<Self, EmitError> {
        Ok(Self {
            raw: RawEmitter::of(log, &T::SPEC, wait)?,
            topic: PhantomData,
        })
    }

    /// Sets how long `emit` waits for room when records leave slower than they come; 10 s unless set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.raw.set_timeout(timeout);
        self
    }

    /// Emits a record: it is on its way, in order, when this returns.
    ///
    /// # Errors
    /// When it is not on its way: key or value do not encode, the log refuses, or there was no room
    /// in time.
    pub fn emit(
        &self,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
    ) -> Result<Ack, EmitError> {
        self.emit_with(key, value, &Emit::new())
    }

    /// Emits a record with headers or a timestamp of its own; without one the log gives it one.
    ///
    /// # Errors
    /// See [`emit`](Emitter::emit).
    pub fn emit_with(
        &self,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
        options: &Emit,
    ) -> Result<Ack, EmitError> {
        let bytes = value_bytes::<T>(value)?;
        if <T::Key as Key>::IS_NONE {
            return self.raw.emit_anywhere(Some(&bytes), options);
        }
        self.raw.emit(&key_bytes::<T>(&key)?, Some(&bytes), options)
    }

    /// Emits a tombstone: the deletion of a key.
    ///
    /// # Errors
    /// See [`emit`](Emitter::emit).
    pub fn emit_tombstone(&self, key: impl AsKey<T::Key>) -> Result<Ack, EmitError> {
        self.raw.emit(&key_bytes::<T>(&key)?, None, &Emit::new())
    }

    /// Waits until everything emitted is delivered or has failed, at most so long.
    ///
    /// # Errors
    /// [`EmitError::NotDelivered`] when a record failed since the last flush, whether anybody waited
    /// for it or not; [`EmitError::Pending`] when some are still under way.
    pub fn flush(&self, timeout: Duration) -> Result<(), EmitError> {
        self.raw.flush(timeout)
    }

    /// Flushes and disconnects. An emitter that is dropped instead flushes too, and can only log what
    /// went wrong.
    ///
    /// # Errors
    /// See [`flush`](Emitter::flush).
    pub fn close(self, timeout: Duration) -> Result<(), EmitError> {
        self.raw.close(timeout)
    }
}

/// For a stream that is declared `keyless`.
///
/// ```
/// # use goka_runtime::{codec::CodecOf, emitter::Emitter, key::NoKey, log::{Log, embedded::Embedded}, partitioner::Murmur2, topic::Topic};
/// # use std::{sync::Arc, time::Duration};
/// # struct Measurements;
/// # impl Topic for Measurements {
/// #     type Key = NoKey;
/// #     type Value = i64;
/// #     type Partitioner = Murmur2;
/// #     const NAME: &'static str = "measurements";
/// #     const CODEC: CodecOf<i64> = CodecOf::new::<i64>();
/// #     const PARTITIONS: Option<i32> = Some(2);
/// # }
/// # let log: Arc<dyn Log> = Arc::new(Embedded::in_memory()?);
/// let measurements = Emitter::<Measurements>::new(log)?;
/// let mut partitions = Vec::new();
/// for value in 0..4 {
///     partitions.push(measurements.emit_value(&value)?.wait(Duration::from_secs(5))?.partition);
/// }
/// assert_eq!(partitions, [0, 1, 0, 1]);
/// let at = measurements.emit_to(1, &17)?.wait(Duration::from_secs(5))?;
/// assert_eq!(at.partition, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T: Topic<Key = NoKey>> Emitter<T> {
    /// Emits a record without a key: each goes to the partition after that of the one before.
    ///
    /// # Errors
    /// See [`emit`](Emitter::emit).
    pub fn emit_value(&self, value: &(impl AsValue<T::Value> + ?Sized)) -> Result<Ack, EmitError> {
        self.emit(NoKey, value)
    }

    /// Emits a record without a key to the partition that the caller chooses.
    ///
    /// # Errors
    /// See [`emit`](Emitter::emit); when there is no such partition.
    pub fn emit_to(
        &self,
        partition: i32,
        value: &(impl AsValue<T::Value> + ?Sized),
    ) -> Result<Ack, EmitError> {
        let bytes = value_bytes::<T>(value)?;
        self.raw
            .emit_to(partition, None, Some(&bytes), &Emit::new())
    }
}

fn value_bytes<T: Topic>(value: &(impl AsValue<T::Value> + ?Sized)) -> Result<Vec<u8>, EmitError> {
    let mut bytes = Vec::new();
    let put = value.put(&T::CODEC, &mut bytes);
    put.map(|()| bytes).map_err(refused::<T>("value"))
}

fn key_bytes<T: Topic>(key: &impl AsKey<T::Key>) -> Result<Vec<u8>, EmitError> {
    let mut bytes = Vec::new();
    key.put(&mut bytes).map_err(refused::<T>("key"))?;
    Ok(bytes)
}

fn refused<T: Topic>(what: &'static str) -> impl FnOnce(CodecError) -> EmitError {
    move |source| EmitError::Codec {
        what,
        topic: T::NAME.to_owned(),
        source,
    }
}

impl<T: Topic> fmt::Debug for Emitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Emitter").field(&self.raw).finish()
    }
}
