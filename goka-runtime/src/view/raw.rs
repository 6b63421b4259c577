//! A view of bytes: opens the copies, starts the thread that follows the table, answers reads. Knows the
//! partition of a key, and nothing of codecs.

use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::{ViewError, ViewState};
use super::follow::{Follower, PartitionCopy};
use super::scan::RawScan;
use super::shared::{PartitionView, ViewShared};
use crate::clock::wall_clock;
use crate::graph::{TopicKind, TopicSpec};
use crate::lock::lock;
use crate::log::{Log, TopicWait};
use crate::record::{Offset, Timestamp, TopicPartition};
use crate::reminder::Reminder;
use crate::table::{StoreError, Stored, Stores};

/// A whole table as handlers look it up, kept level with its topic by another thread. One that is level at every
/// read has only to implement `stored`.
pub(crate) trait LookedUp: Send + Sync {
    fn stored(&self, key: &[u8]) -> Result<Option<Stored>, ViewError>;

    fn ends(&self) -> Result<Vec<Offset>, ViewError> {
        Ok(Vec::new())
    }

    /// Waits until the copy has come to `ends`, at most so long.
    fn wait_reached(&self, _ends: &[Offset], _timeout: Duration) -> Result<(), ViewError> {
        Ok(())
    }

    /// Waits until every partition can be read, at most so long.
    fn wait_ready(&self, _timeout: Duration) -> Result<(), ViewError> {
        Ok(())
    }

    /// Why it cannot go on, if it cannot.
    fn failure(&self) -> Option<ViewError> {
        None
    }
}

/// The tables that a group looks up, by topic.
pub(crate) type Lookups = Vec<(&'static str, Arc<dyn LookedUp>)>;

/// An untyped view: keys and values are bytes.
pub(crate) struct RawView {
    shared: Arc<ViewShared>,
    partition_of: fn(&[u8], i32) -> i32,
    log: Arc<dyn Log>,
    thread: Option<JoinHandle<()>>,
    _open: Arc<OpenView>,
}

/// The value of a key in a view, and how fresh it is.
///
/// ```
/// use goka_runtime::view::Read;
/// use std::time::Duration;
///
/// /// A value, when the copy is young enough.
/// fn fresh(read: Read<i64>, within: Duration) -> Option<i64> {
///     read.value.filter(|_| read.age <= within)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<V> {
    /// The value, if there is one.
    pub value: Option<V>,
    /// The timestamp of the record that made the value, -1 when it has none.
    pub timestamp: Option<Timestamp>,
    /// How long ago the copy was last known to hold everything that its topic held.
    pub age: Duration,
    /// The next offset of the group topic's partition to be applied: all before it are in.
    pub offset: Offset,
    /// What the view is doing.
    pub state: ViewState,
}

impl RawView {
    /// Opens the copies of a table and starts to follow it.
    pub(crate) fn start(
        log: Arc<dyn Log>,
        stores: Arc<dyn Stores>,
        table: &TopicSpec,
        wait: &TopicWait<'_>,
    ) -> Result<Self, ViewError> {
        // A declared table without a group is filled by emitters.
        let found = match table.kind {
            TopicKind::Table => wait.describe_or_create(&*log, table.name, table.partitions, true),
            _ => wait.describe_one(&*log, table.name),
        };
        let info = found?.ok_or_else(|| ViewError::MissingTable {
            topic: table.name.to_owned(),
            log: log.describe_self(),
            waited: log.topic_timeout(),
        })?;
        if !info.policy.is_of_a_table() {
            return Err(ViewError::NotCompacted {
                topic: info.name,
                log: log.describe_self(),
                policy: info.policy.name(),
            });
        }
        stores.reserve(usize::try_from(info.partitions).unwrap_or(0))?;
        let copies: Vec<_> = (0..info.partitions).map(|_| PartitionCopy::new()).collect();
        let topic: Arc<str> = table.name.into();
        let shared = Arc::new(ViewShared::new(topic.clone(), copies.len()));
        let open = OpenView::new(topic.clone(), Arc::clone(&stores), info.partitions);
        let mut follower = Follower {
            log: log.clone(),
            topic: topic.clone(),
            fingerprint: table.fingerprint(),
            stores,
            copies,
            shared: shared.clone(),
            failure_reminder: Reminder::default(),
            policy_reminder: Reminder::default(),
            checkpoint_interval: 0,
        };
        follower.check().map_err(|error| open.explain(error))?;
        let thread = std::thread::Builder::new()
            .name(format!("view {topic}"))
            .spawn(move || {
                let shared = follower.shared.clone();
                let run = std::panic::AssertUnwindSafe(|| follower.run());
                if std::panic::catch_unwind(run).is_err() {
                    let reason = "its thread panicked".to_owned();
                    shared.set_state(ViewState::Stopped { reason });
                }
            })
            .map_err(|error| ViewError::Stopped {
                topic: topic.to_string(),
                reason: format!("no thread: {error}"),
            })?;
        Ok(Self {
            shared,
            partition_of: table.partition_of,
            log,
            thread: Some(thread),
            _open: open,
        })
    }

    pub(crate) fn state(&self) -> ViewState {
        self.shared.state()
    }

    /// Waits until the view holds all that its topic holds now: what was written before is seen.
    pub(crate) fn wait_level(&self, timeout: Duration) -> Result<(), ViewError> {
        self.wait_reached(&self.ends()?, timeout)
    }

    fn wait(
        &self,
        timeout: Duration,
        mut behind: impl FnMut(&[PartitionView]) -> Option<usize>,
    ) -> Result<(), ViewError> {
        let deadline = Instant::now() + timeout;
        let mut last = None;
        let done = self.shared.wait(deadline, |state, partitions| {
            if let ViewState::Stopped { reason } = state {
                return Some(Err(self.shared.stopped(reason)));
            }
            last = behind(partitions);
            last.is_none().then_some(Ok(()))
        });
        done.unwrap_or_else(|| {
            let partition = last.and_then(|at| i32::try_from(at).ok()).unwrap_or(-1);
            Err(self.shared.not_ready(partition, &self.state()))
        })
    }

    pub(crate) fn read(&self, key: &[u8]) -> Result<Read<Vec<u8>>, ViewError> {
        let (part, snapshot, level_at) =
            self.shared.ready(|count| (self.partition_of)(key, count))?;
        let stored = lock(&snapshot).get(key)?;
        let age = u64::try_from(wall_clock().saturating_sub(level_at)).unwrap_or(0);
        Ok(Read {
            timestamp: stored.as_ref().map(|stored| stored.timestamp),
            value: stored.map(|Stored { value, .. }| value),
            age: Duration::from_millis(age),
            offset: part.offset,
            state: self.shared.state(),
        })
    }

    /// The entries between two keys, in the order of the keys' bytes, each read from the copy as it is when
    /// the walk comes there.
    pub(crate) fn range(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> Result<RawScan, ViewError> {
        let partitions = self.shared.partition_count();
        for partition in 0..partitions {
            self.shared.ready(|_| partition)?;
        }
        let served = Arc::clone(&self.shared);
        let present = move |partition| Ok(served.ready(|_| partition)?.1);
        Ok(RawScan::new(partitions, Box::new(present), &from, &to))
    }
}

impl LookedUp for RawView {
    fn stored(&self, key: &[u8]) -> Result<Option<Stored>, ViewError> {
        let (_, snapshot, _) = self.shared.ready(|count| (self.partition_of)(key, count))?;
        Ok(lock(&snapshot).get(key)?)
    }

    fn ends(&self) -> Result<Vec<Offset>, ViewError> {
        let list: Vec<_> = (0..self.shared.partition_count())
            .map(|partition| TopicPartition::new(self.shared.topic.clone(), partition))
            .collect();
        let ranges = self.log.ranges(&list)?;
        Ok(ranges.iter().map(|range| range.high).collect())
    }

    fn wait_reached(&self, ends: &[Offset], timeout: Duration) -> Result<(), ViewError> {
        self.wait(timeout, |partitions| {
            partitions
                .iter()
                .zip(ends)
                .position(|(part, end)| part.offset < *end || part.level_at.is_none())
        })
    }

    fn wait_ready(&self, timeout: Duration) -> Result<(), ViewError> {
        self.wait(timeout, |partitions| {
            partitions.iter().position(|part| part.level_at.is_none())
        })
    }

    fn failure(&self) -> Option<ViewError> {
        match self.state() {
            ViewState::Stopped { reason } => Some(self.shared.stopped(&reason)),
            _ => None,
        }
    }
}

impl Drop for RawView {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for RawView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawView")
            .field("topic", &self.shared.topic)
            .field("partitions", &self.shared.partition_count())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// The views of this process, so that the error of a second one of a table names the first: a local copy has
/// one holder, and the system does not say which process that is.
static VIEWS: Mutex<Vec<Weak<OpenView>>> = Mutex::new(Vec::new());

/// A view of this process, while it lives.
struct OpenView {
    topic: Arc<str>,
    stores: Arc<dyn Stores>,
    partitions: i32,
}

impl OpenView {
    fn new(topic: Arc<str>, stores: Arc<dyn Stores>, partitions: i32) -> Arc<Self> {
        let view = Arc::new(Self {
            topic,
            stores,
            partitions,
        });
        let mut views = lock(&VIEWS);
        views.retain(|view| view.strong_count() > 0);
        views.push(Arc::downgrade(&view));
        view
    }

    /// Makes [`ViewError::InUse`] of an error that says that another view of this process holds the copy.
    fn explain(self: &Arc<Self>, error: ViewError) -> ViewError {
        let ViewError::Store(StoreError::Locked { path }) = &error else {
            return error;
        };
        let others: Vec<_> = lock(&VIEWS).iter().filter_map(Weak::upgrade).collect();
        let is_same = |other: &&Arc<Self>| {
            !Arc::ptr_eq(self, other)
                && other.topic == self.topic
                && (Arc::ptr_eq(&self.stores, &other.stores) || other.has_copy_at(path))
        };
        let is_own = others.iter().any(|other| is_same(&other));
        if is_own {
            let topic = self.topic.to_string();
            return ViewError::InUse { topic };
        }
        error
    }

    /// Whether it has a copy at this path.
    fn has_copy_at(&self, path: &str) -> bool {
        let places = 0..self.partitions;
        places
            .filter_map(|partition| self.stores.location(&self.topic, partition))
            .any(|place| place == path)
    }
}
