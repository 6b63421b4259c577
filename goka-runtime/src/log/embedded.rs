//! The embedded log: one process, durable in one file, or in memory for tests. What runs when no
//! brokers are configured, so that a program works on a fresh machine. It keeps Kafka's contract
//! (offsets, groups with cooperative rebalances, compaction), and is stronger in one point: what a
//! member appends and the offsets that it commits are one transaction. Knows nothing above the seam.

mod appender;
mod chunk;
mod clean;
mod commit;
mod file;
mod groups;
mod member;
mod reader;
mod reasons;
mod rows;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::appender::EmbeddedAppender;
use self::file::File;
use self::member::EmbeddedMember;
use self::reader::EmbeddedReader;
use self::rows::{Catalog, PartitionRow, TopicRow};
use self::shared::Shared;
use super::topics::{DELETE_RETENTION, MAX_MESSAGE_BYTES, RETENTION};
use super::{
    Appender, ClusterId, Committed, Group, Isolation, Log, LogError, Member, NewTopic, OffsetRange,
    OnDelivery, Reader, TopicInfo,
};
use crate::record::{Offset, TopicPartition};

/// How long `create` waits for its turn.
const TURN: Duration = Duration::from_secs(30);

/// A log in this process. Cheap to clone; the file is closed when the last clone, member, reader
/// and appender is gone.
///
/// ```
/// use goka_runtime::log::embedded::Embedded;
/// use goka_runtime::log::{Log, NewTopic};
///
/// let log = Embedded::in_memory()?;
/// log.create(&NewTopic { name: "user-clicks".into(), partitions: 3, compact: false, retention: None })?;
/// let clicks = log.describe(&["user-clicks"])?.remove(0).expect("just made");
/// assert_eq!(clicks.partitions, 3);
/// # Ok::<(), goka_runtime::log::LogError>(())
/// ```
#[derive(Clone)]
pub struct Embedded(Arc<Open>);

/// Ends the cleaner when the last handle goes.
struct Open {
    shared: Arc<Shared>,
    cleaner: Option<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let _ = self.shared.dirty.try_send(());
        if let Some(cleaner) = self.cleaner.take()
            && cleaner.join().is_err()
        {
            tracing::error!(log = %self.shared.what, "the compacting thread panicked");
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedded")
            .field(&self.0.shared.what)
            .finish()
    }
}

impl Embedded {
    /// Opens the log in a file, made when it is missing; its directory has to exist.
    ///
    /// # Errors
    /// [`LogError::Storage`] when the file is in use, is no log, or may not be read and written.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let what = format!("the embedded log at {}", path.display());
        Self::start(File::open(path)?, what)
    }

    /// Makes an empty log in memory, which ends with the process.
    ///
    /// # Errors
    /// [`LogError::Storage`] when it cannot be made.
    pub fn in_memory() -> Result<Self, LogError> {
        Self::start(File::in_memory()?, "the embedded log in memory".to_owned())
    }

    fn start((file, catalog): (File, Catalog), what: String) -> Result<Self, LogError> {
        let (dirty, wake) = sync_channel(1);
        let shared = Arc::new(Shared::new(file, catalog, what, dirty));
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("goka-log-cleaner".to_owned());
        let cleaner = thread.spawn(move || clean::run(&theirs, &wake));
        let cleaner =
            cleaner.map_err(|error| LogError::client("starting the compacting thread", error))?;
        Ok(Self(Arc::new(Open {
            shared,
            cleaner: Some(cleaner),
        })))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl Log for Embedded {
    fn describe_self(&self) -> String {
        self.shared().what.clone()
    }

    fn creates_streams(&self) -> bool {
        true
    }

    fn join(&self, group: &Group) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(EmbeddedMember::join(self.clone(), group.clone())))
    }

    fn appender(&self, delivered: OnDelivery) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(EmbeddedAppender::new(self.clone(), delivered)?))
    }

    fn reader(
        &self,
        from: &[(TopicPartition, Offset)],
        _isolation: Isolation,
    ) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(EmbeddedReader::new(self.clone(), from)?))
    }

    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        Ok(topics
            .iter()
            .map(|topic| self.shared().describe(topic))
            .collect())
    }

    fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetRange>, LogError> {
        let state = self.shared().state();
        let ranges = partitions.iter().map(|tp| {
            let row = state.partitions[state.handle(&tp.topic, tp.partition)? as usize];
            Ok(OffsetRange {
                start: row.start,
                stable: row.end,
                high: row.end,
            })
        });
        ranges.collect()
    }

    fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        topic.check()?;
        let shared = self.shared();
        let _turn = shared.turn(Instant::now() + TURN)?;
        shared.reopen_if_broken()?;
        let first = {
            let state = shared.state();
            if state.topics.contains_key(&*topic.name) {
                return Err(LogError::topic_exists(&topic.name));
            }
            state.partitions.len()
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let row = TopicRow {
            id: uuid::Uuid::new_v4().to_string(),
            first: u32::try_from(first).map_err(|_| topic.refused("the log is full of topics"))?,
            partitions: topic.partitions,
            compact: topic.compact,
            delete: !topic.compact,
            retention_ms: (!topic.compact).then(|| millis(topic.retention.unwrap_or(RETENTION))),
            delete_retention_ms: millis(DELETE_RETENTION),
            max_message_bytes: MAX_MESSAGE_BYTES,
        };
        shared.file.create(&topic.name, &row)?;
        let mut state = shared.state();
        let count = first + topic.partitions.unsigned_abs() as usize;
        state.partitions.resize(count, PartitionRow::default());
        state.add(&topic.name, row);
        let groups: Vec<Arc<str>> = state.groups.keys().cloned().collect();
        for name in groups {
            state.group(&name, |group, partitions| group.seats.balance(partitions));
        }
        shared.notify(&mut state);
        Ok(())
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError> {
        let names = partitions.iter().map(|tp| (&*tp.topic, tp.partition));
        // No writer is between its commit and the update of the partitions' ends: a reader that sees an
        // offset also sees the records that were written with it.
        let _turn = self.shared().turn(Instant::now() + TURN)?;
        self.shared().file.committed(group, names)
    }

    fn lists_groups(&self) -> bool {
        true
    }

    fn all_committed(
        &self,
        group: &str,
        _: i32,
    ) -> Result<Vec<(TopicPartition, Committed)>, LogError> {
        let _turn = self.shared().turn(Instant::now() + TURN)?;
        self.shared().file.all_committed(group)
    }

    fn cluster(&self) -> Result<ClusterId, LogError> {
        Ok(self.shared().cluster.clone())
    }
}
