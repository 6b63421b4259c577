//! Records that a test sends.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::{Stopped, Tester};
use crate::codec::{AsValue, CodecError};
use crate::context::Emit;
use crate::emitter::{Ack, Delivered, EmitError, RawEmitter};
use crate::key::{AsKey, Key, NoKey};
use crate::log::TopicWait;
use crate::topic::Topic;

/// A topic to send records to. When a call returns, everything that follows from its record has happened,
/// in other processors, too.
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let mut app = Tester::of::<ClickCount>();
/// let mut clicks = app.input(Clicks);
/// clicks.send("alice", "x");
/// clicks.send("bob", "x");
/// ```
pub struct Input<'t, T> {
    tester: &'t mut Tester,
    topic: PhantomData<fn() -> T>,
}

impl<'t, T: Topic> Input<'t, T> {
    #[track_caller]
    pub(super) fn new(tester: &'t mut Tester) -> Self {
        let name = T::NAME;
        if let Some(owner) = tester.graphs().find(|graph| graph.owns(name)) {
            panic!(
                "topic `{name}` is the table of `{}`, and only that processor writes it; send to its inputs",
                owner.name
            );
        }
        if !tester.graphs().any(|graph| graph.reads(name)) {
            let names = tester.names();
            panic!("topic `{name}` is read by no processor of this tester, which has {names}");
        }
        let topic = PhantomData;
        Self { tester, topic }
    }

    /// Sends a record.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// ```
    ///
    /// # Panics
    /// When a partition stops, or stopped before: with the topic, partition, offset and key of the
    /// record and what the handler failed with. When key or value do not encode.
    #[track_caller]
    pub fn send(&mut self, key: impl AsKey<T::Key>, value: &(impl AsValue<T::Value> + ?Sized)) {
        self.send_with(key, value, &Emit::new());
    }

    /// Sends a record with headers or a timestamp. Without one it has the time of the tester's clock.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// # use goka_runtime::context::Emit;
    /// let mut app = Tester::of::<ClickCount>();
    /// let options = Emit::new().timestamp(7).header("trace", "1");
    /// app.input(Clicks).send_with("alice", "x", &options);
    /// ```
    ///
    /// # Panics
    /// As [`send`](Input::send).
    #[track_caller]
    pub fn send_with(
        &mut self,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
        options: &Emit,
    ) {
        let sent = self.emit(key, Some(&encoded::<T>(value)), options);
        self.follow(&sent).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Sends the deletion of a key.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send_tombstone("alice");
    /// ```
    ///
    /// # Panics
    /// As [`send`](Input::send).
    #[track_caller]
    pub fn send_tombstone(&mut self, key: impl AsKey<T::Key>) {
        let sent = self.emit(key, None, &Emit::new());
        self.follow(&sent).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Sends a record whose handler may fail; returns its partition and offset.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// let stopped = app.input(Clicks).try_send("alice", "bad").unwrap_err();
    /// assert!(stopped.to_string().contains("offset 0, key `alice`: a bad click"));
    /// ```
    ///
    /// # Errors
    /// What stopped because of the record, or had stopped before and so does not handle it.
    ///
    /// # Panics
    /// When key or value do not encode.
    #[track_caller]
    pub fn try_send(
        &mut self,
        key: impl AsKey<T::Key>,
        value: &(impl AsValue<T::Value> + ?Sized),
    ) -> Result<Delivered, Stopped> {
        let sent = self.emit(key, Some(&encoded::<T>(value)), &Emit::new());
        self.follow(&sent).map(|()| sent)
    }

    #[track_caller]
    fn emit(&mut self, key: impl AsKey<T::Key>, value: Option<&[u8]>, options: &Emit) -> Delivered {
        let emitter = self.emitter();
        let emitted = if <T::Key as Key>::IS_NONE {
            emitter.emit_anywhere(value, options)
        } else {
            let mut bytes = Vec::new();
            key.put(&mut bytes).unwrap_or_else(refused::<T, _>("key"));
            emitter.emit(&bytes, value, options)
        };
        written::<T>(emitted)
    }

    fn emitter(&mut self) -> &RawEmitter {
        let log = &self.tester.log;
        let emitter = self.tester.emitters.entry(T::NAME);
        emitter.or_insert_with(|| {
            RawEmitter::of(log, &T::SPEC, &TopicWait::default())
                .unwrap_or_else(|error| panic!("{error}"))
        })
    }

    /// Runs until everything that follows from a record has happened.
    #[track_caller]
    fn follow(&mut self, sent: &Delivered) -> Result<(), Stopped> {
        self.tester.drive()?;
        let failures = self.tester.failures_at(T::NAME, sent.partition);
        Stopped::of(failures).map_or(Ok(()), Err)
    }
}

/// Inputs that are declared `keyless`.
impl<T: Topic<Key = NoKey>> Input<'_, T> {
    /// Sends a record without a key. Such records go to the partitions in turn.
    ///
    /// ```
    /// # use goka_runtime::{key::NoKey, tester::Tester, topic::Topic};
    /// fn measure<T: Topic<Key = NoKey, Value = i64>>(app: &mut Tester) {
    ///     app.input_of::<T>().send_value(&17);
    /// }
    /// ```
    ///
    /// # Panics
    /// As [`send`](Input::send).
    #[track_caller]
    pub fn send_value(&mut self, value: &(impl AsValue<T::Value> + ?Sized)) {
        self.send(NoKey, value);
    }
}

#[track_caller]
fn encoded<T: Topic>(value: &(impl AsValue<T::Value> + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = value.put(&T::CODEC, &mut bytes);
    encoded.unwrap_or_else(refused::<T, _>("value"));
    bytes
}

fn refused<T: Topic, R>(what: &'static str) -> impl FnOnce(CodecError) -> R {
    move |error| panic!("{what} of a record for topic `{}`: {error}", T::NAME)
}

#[track_caller]
fn written<T: Topic>(emitted: Result<Ack, EmitError>) -> Delivered {
    let delivered = emitted.and_then(|ack| ack.wait(Duration::ZERO));
    delivered.unwrap_or_else(|error| panic!("sending to topic `{}`: {error}", T::NAME))
}

impl<T: Topic> fmt::Debug for Input<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Input").field(&T::NAME).finish()
    }
}
