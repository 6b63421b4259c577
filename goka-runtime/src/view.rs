//! Views serve a table read-only: a copy of all its partitions on local storage, followed from the
//! group topic, readable when the log is away. Knows no engine and no processor.

mod error;
mod follow;
mod raw;
mod scan;
mod shared;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

pub use self::error::{ViewError, ViewState};
pub use self::raw::Read;
pub(crate) use self::raw::{LookedUp, Lookups, RawView};
use self::scan::RawScan;
use crate::codec::{Codec, CodecError};
use crate::key::AsKey;
use crate::log::{Log, TopicWait};
use crate::table::{Stores, prefix_range};
use crate::topic::{Table, Topic};

/// A read-only copy of the table `T`, kept level with its group topic by a thread of its own until
/// its last clone is dropped. A program has one view of a table, and clones it for all its readers.
///
/// What it serves is consistent for each key and eventually what the group wrote. A partition is
/// readable once it was level with its topic; from then on the view serves it whether the log
/// answers or not, and [`read`](View::read) tells how old the copy is. A copy that turns out to be
/// damaged is moved aside and rebuilt from the topic, and cannot be read meanwhile; one that cannot be
/// written is tried again every second.
///
/// ```
/// # use goka_runtime::{codec::CodecOf, emitter::Emitter, log::{Log, NewTopic, embedded::Embedded}, partitioner::Murmur2, table::memory::MemoryStores, topic::{Table, Topic}, view::View};
/// # use std::{sync::Arc, time::Duration};
/// # struct Counts;
/// # impl Topic for Counts {
/// #     type Key = String;
/// #     type Value = i64;
/// #     type Partitioner = Murmur2;
/// #     const NAME: &'static str = "counts";
/// #     const CODEC: CodecOf<i64> = CodecOf::new::<i64>();
/// #     const PARTITIONS: Option<i32> = None;
/// # }
/// # impl Table for Counts {}
/// # let log: Arc<dyn Log> = Arc::new(Embedded::in_memory()?);
/// # log.create(&NewTopic { name: "counts".into(), partitions: 2, compact: true, retention: None })?;
/// # let counts = Emitter::<Counts>::new(log.clone())?;
/// # counts.emit("alice", &7)?.wait(Duration::from_secs(5))?;
/// let view = View::<Counts>::start(log, Arc::new(MemoryStores::default()))?;
/// view.wait_ready(Duration::from_secs(10))?;
/// assert_eq!(view.get("alice")?, Some(7));
/// for entry in view.iter()? {
///     let (user, count) = entry?;
///     println!("{user}: {count}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct View<T: Table> {
    raw: Arc<RawView>,
    table: PhantomData<fn() -> T>,
}

impl<T: Table> Clone for View<T> {
    fn clone(&self) -> Self {
        Self {
            raw: Arc::clone(&self.raw),
            table: PhantomData,
        }
    }
}

impl<T: Table> View<T> {
    /// Opens the local copy and starts to follow the table. The stores are the view's own: not those
    /// of a processor.
    ///
    /// # Errors
    /// [`ViewError::InUse`] when this program has a view of the table on these stores already.
    /// [`ViewError::MissingTable`] while no processor of the group has run, which is waited for as
    /// long as the log says ([`Log::topic_timeout`]); when the log does not
    /// answer or the copy cannot be used.
    pub fn start(log: Arc<dyn Log>, stores: Arc<dyn Stores>) -> Result<Self, ViewError> {
        Self::unless(log, stores, &TopicWait::default())
    }

    /// The same for a program that may be stopped meanwhile.
    pub(crate) fn unless(
        log: Arc<dyn Log>,
        stores: Arc<dyn Stores>,
        wait: &TopicWait<'_>,
    ) -> Result<Self, ViewError> {
        Ok(Self {
            raw: Arc::new(RawView::start(log, stores, &T::SPEC, wait)?),
            table: PhantomData,
        })
    }

    /// Waits until every partition is readable.
    ///
    /// # Errors
    /// [`ViewError::NotReady`] when one is not after `timeout`; [`ViewError::Stopped`].
    pub fn wait_ready(&self, timeout: Duration) -> Result<(), ViewError> {
        self.raw.wait_ready(timeout)
    }

    /// Waits until the view holds all that its topic holds now.
    ///
    /// # Errors
    /// What the log answers; as [`wait_ready`](View::wait_ready).
    pub fn wait_level(&self, timeout: Duration) -> Result<(), ViewError> {
        self.raw.wait_level(timeout)
    }

    /// What the view is doing.
    pub fn state(&self) -> ViewState {
        self.raw.state()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`ViewError::NotReady`] while the key's partition was never level with its topic: a value
    /// that is not there yet is not "no value". [`ViewError::Stopped`]; when the copy cannot be read.
    pub fn get(&self, key: impl AsKey<T::Key>) -> Result<Option<T::Value>, ViewError> {
        Ok(self.read(key)?.value)
    }

    /// The value of a key, with how fresh it is.
    ///
    /// # Errors
    /// See [`get`](View::get).
    pub fn read(&self, key: impl AsKey<T::Key>) -> Result<Read<T::Value>, ViewError> {
        let read = self.raw.read(&encoded::<T>(&key)?)?;
        Ok(Read {
            value: read.value.as_deref().map(decoded::<T>).transpose()?,
            timestamp: read.timestamp,
            age: read.age,
            offset: read.offset,
            state: read.state,
        })
    }

    /// All entries, in the order of the keys' bytes, each key once at most.
    ///
    /// The copy goes on while a walk is open, and the walk reads some entries of each partition ahead, as they
    /// are at that moment. So a key that is there all the while is among the entries, with a value that it had
    /// since the walk began; one that comes, goes or changes meanwhile is seen as it was before or after.
    /// Entries are of one moment only if nothing is written. In return a walk may stay open for as
    /// long as it likes: it keeps nothing of the copy from being written over.
    ///
    /// # Errors
    /// [`ViewError::NotReady`] while a partition was never level with its topic, also from the walk, if a
    /// partition is rebuilt meanwhile.
    pub fn iter(&self) -> Result<Entries<T>, ViewError> {
        self.entries(Bound::Unbounded, Bound::Unbounded)
    }

    /// The entries between two keys, in the order of the keys' bytes: that of the text for strings,
    /// and also for numbers, which travel as decimal text.
    ///
    /// # Errors
    /// See [`iter`](View::iter).
    pub fn range<K: AsKey<T::Key>>(
        &self,
        keys: impl RangeBounds<K>,
    ) -> Result<Entries<T>, ViewError> {
        self.entries(
            bound::<T, K>(keys.start_bound())?,
            bound::<T, K>(keys.end_bound())?,
        )
    }

    /// The entries whose keys' bytes begin with `prefix`, in order.
    ///
    /// # Errors
    /// See [`iter`](View::iter).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Entries<T>, ViewError> {
        let mut end = Vec::new();
        let (from, to) = prefix_range(prefix.as_ref(), &mut end);
        self.entries(from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec))
    }

    fn entries(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Result<Entries<T>, ViewError> {
        Ok(Entries {
            raw: self.raw.range(from, to)?,
            table: PhantomData,
        })
    }
}

impl<T: Table> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.raw).finish()
    }
}

/// Entries of a view, in key order; see [`View::iter`].
pub struct Entries<T: Table> {
    raw: RawScan,
    table: PhantomData<fn() -> T>,
}

impl<T: Table> Iterator for Entries<T> {
    type Item = Result<(T::Key, T::Value), ViewError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.raw.next()?;
        Some(entry.and_then(|(key, stored)| {
            let key = <T::Key as Codec>::decode(&key).map_err(unreadable::<T>("key"))?;
            Ok((key, decoded::<T>(&stored.value)?))
        }))
    }
}

impl<T: Table> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entries").field(&self.raw).finish()
    }
}

fn encoded<T: Topic>(key: &impl AsKey<T::Key>) -> Result<Vec<u8>, ViewError> {
    let mut bytes = Vec::new();
    key.put(&mut bytes).map_err(unreadable::<T>("key"))?;
    Ok(bytes)
}

fn decoded<T: Topic>(bytes: &[u8]) -> Result<T::Value, ViewError> {
    T::CODEC.decode(bytes).map_err(unreadable::<T>("value"))
}

fn bound<T: Topic, K: AsKey<T::Key>>(bound: Bound<&K>) -> Result<Bound<Vec<u8>>, ViewError> {
    Ok(match bound {
        Bound::Included(key) => Bound::Included(encoded::<T>(key)?),
        Bound::Excluded(key) => Bound::Excluded(encoded::<T>(key)?),
        Bound::Unbounded => Bound::Unbounded,
    })
}

fn unreadable<T: Topic>(what: &'static str) -> impl FnOnce(CodecError) -> ViewError {
    move |source| ViewError::Codec {
        what,
        topic: T::NAME.to_owned(),
        source,
    }
}
