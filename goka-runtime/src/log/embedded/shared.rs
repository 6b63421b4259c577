//! What all handles of one log share: the file, topics and offsets in memory, the groups. One
//! writer at a time holds the [`Turn`]; the state's lock is held for moments only, never while
//! the file is touched or a driver is called. Offsets become visible after their commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::chunk::Run;
use super::file::File;
use super::groups::Coordinator;
use super::rows::{self, Changes, NewChunk, NotWritten, Page, PartitionRow, TopicRow};
pub(super) use crate::clock::wall_clock as now_millis;
use crate::log::{CleanupPolicy, LogError, TopicInfo, lock};
use crate::record::{Offset, TopicPartition};

/// The limits of a batch: bytes and records.
const MOST_BYTES: usize = 1 << 20;
pub(super) const MOST: u32 = 2_000;

/// A partition is compacted when this many records came since, and as many as it then held.
pub(super) const CLEAN_AFTER: Offset = 10_000;

/// What is kept in memory, locked for moments only.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: HashMap<Arc<str>, Arc<TopicRow>>,
    /// By handle.
    pub(super) partitions: Vec<PartitionRow>,
    /// By handle: whether it is compacted.
    pub(super) compacted: Vec<bool>,
    pub(super) groups: HashMap<Arc<str>, Coordinator>,
    pub(super) members: u64,
    /// Changes with everything that a caller may wait for.
    pub(super) version: u64,
    /// A commit failed: the file has to be opened again before the next one.
    pub(super) broken: bool,
}

impl State {
    /// Takes in a topic whose partitions are there.
    pub(super) fn add(&mut self, name: &str, row: TopicRow) {
        let (first, count) = (row.first as usize, row.partitions.unsigned_abs() as usize);
        if self.compacted.len() < first + count {
            self.compacted.resize(first + count, false);
        }
        self.compacted[first..first + count].fill(row.compact);
        self.topics.insert(name.into(), row.into());
    }

    /// Whether a partition is worth compacting.
    pub(super) fn is_dirty(&self, handle: u32) -> bool {
        let row = self.partitions[handle as usize];
        let kept = Offset::try_from(row.kept).unwrap_or(Offset::MAX);
        self.compacted[handle as usize] && row.end - row.cleaned >= kept.max(CLEAN_AFTER)
    }

    pub(super) fn handle(&self, topic: &str, partition: i32) -> Result<u32, LogError> {
        let row = self.topics.get(topic);
        let row = row.ok_or_else(|| LogError::unknown_topic(topic))?;
        row.handle(partition)
            .ok_or_else(|| LogError::unknown_partition(topic, partition))
    }

    /// Calls `act` with a group and the partition counts of topics.
    pub(super) fn group<R>(
        &mut self,
        name: &Arc<str>,
        act: impl FnOnce(&mut Coordinator, &dyn Fn(&str) -> i32) -> R,
    ) -> R {
        let topics = &self.topics;
        let partitions = |topic: &str| topics.get(topic).map_or(0, |row| row.partitions);
        act(self.groups.entry(name.clone()).or_default(), &partitions)
    }
}

pub(super) struct Shared {
    pub(super) file: File,
    pub(super) what: String,
    pub(super) cluster: String,
    state: Mutex<State>,
    changed: Condvar,
    writing: Mutex<bool>,
    written: Condvar,
    /// Wakes the cleaner.
    pub(super) dirty: SyncSender<()>,
    pub(super) stopping: AtomicBool,
}

/// The right to write; given up when it is dropped.
pub(super) struct Turn<'s>(&'s Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.writing) = false;
        self.0.written.notify_one();
    }
}

impl Shared {
    pub(super) fn new(
        file: File,
        catalog: rows::Catalog,
        what: String,
        dirty: SyncSender<()>,
    ) -> Self {
        let mut state = State {
            partitions: catalog.partitions,
            ..State::default()
        };
        for (name, row) in catalog.topics {
            state.add(&name, row);
        }
        Self {
            file,
            what,
            cluster: catalog.cluster,
            state: Mutex::new(state),
            changed: Condvar::new(),
            writing: Mutex::new(false),
            written: Condvar::new(),
            dirty,
            stopping: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn notify(&self, state: &mut State) {
        state.version += 1;
        self.changed.notify_all();
    }

    /// Waits until something changed since `version` or until `by`.
    pub(super) fn wait(&self, version: u64, by: Instant) {
        let left = by.saturating_duration_since(Instant::now());
        let is_same =
            |state: &mut State| state.version == version && !self.stopping.load(Ordering::Relaxed);
        drop(self.changed.wait_timeout_while(self.state(), left, is_same));
    }

    /// Waits for the right to write, at most until `deadline`.
    pub(super) fn turn(&self, deadline: Instant) -> Result<Turn<'_>, LogError> {
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(begun);
        let waited = self
            .written
            .wait_timeout_while(lock(&self.writing), left, |writing| *writing);
        let (mut writing, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let what = format!("waiting for another writer of {}", self.what);
            return Err(LogError::late(what, begun.elapsed()));
        }
        *writing = true;
        drop(writing);
        Ok(Turn(self))
    }

    /// Writes runs (sorted by handle) and offsets in one durable transaction; answers with the
    /// first offset of each run.
    pub(super) fn append(
        &self,
        _turn: &Turn<'_>,
        runs: &[(u32, &Run)],
        offsets: Vec<rows::NewOffset<'_>>,
    ) -> Result<Vec<Offset>, NotWritten> {
        debug_assert!(runs.is_sorted_by_key(|(handle, _)| *handle));
        let mut bases = Vec::with_capacity(runs.len());
        let mut rows: Vec<(u32, PartitionRow)> = Vec::new();
        {
            self.reopen_if_broken().map_err(NotWritten::Nothing)?;
            let state = self.state();
            for (handle, run) in runs {
                if rows.last().is_none_or(|(last, _)| last != handle) {
                    rows.push((*handle, state.partitions[*handle as usize]));
                }
                if let Some((_, row)) = rows.last_mut() {
                    bases.push(row.end);
                    row.end += Offset::try_from(run.count).unwrap_or(Offset::MAX);
                }
            }
        }
        let chunks = rows::gather(runs, &bases, now_millis());
        let changes = Changes {
            chunks,
            partitions: rows,
            offsets,
            ..Changes::default()
        };
        let written = self.file.write(&changes);
        let mut state = self.state();
        match &written {
            Ok(()) => {
                for (handle, row) in &changes.partitions {
                    state.partitions[*handle as usize] = *row;
                    if state.is_dirty(*handle) {
                        let _ = self.dirty.try_send(());
                    }
                }
                self.notify(&mut state);
            }
            Err(_) => state.broken = true,
        }
        drop(state);
        written.map(|()| bases)
    }

    /// Replaces chunks of one partition; kept only with the next durable commit.
    pub(super) fn replace(
        &self,
        handle: u32,
        removed: Vec<Offset>,
        chunks: Vec<NewChunk<'_>>,
        change: impl FnOnce(&mut PartitionRow),
    ) -> Result<(), LogError> {
        let _turn = self.turn(Instant::now() + Duration::from_secs(30))?;
        self.reopen_if_broken()?;
        let mut row = self.state().partitions[handle as usize];
        change(&mut row);
        let written = self.file.write(&Changes {
            removed: removed.into_iter().map(|base| (handle, base)).collect(),
            chunks,
            partitions: vec![(handle, row)],
            relaxed: true,
            ..Changes::default()
        });
        let mut state = self.state();
        match written {
            Ok(()) => {
                state.partitions[handle as usize] = row;
                self.notify(&mut state);
                Ok(())
            }
            Err(NotWritten::Nothing(error) | NotWritten::Unknown(error)) => {
                state.broken = true;
                Err(LogError::client(format!("compacting {}", self.what), error))
            }
        }
    }

    /// Opens the file again after it could not be read, if no other writer holds the turn until `deadline`.
    pub(super) fn reopen(&self, deadline: Instant) {
        if let Ok(_turn) = self.turn(deadline) {
            self.state().broken = true;
            match self.reopen_if_broken() {
                Ok(()) => self.notify(&mut self.state()),
                Err(error) => {
                    tracing::debug!(log = %self.what, %error, "log file cannot be reopened yet");
                }
            }
        }
    }

    /// Opens the file again if a commit failed, and takes its content over. The caller has the turn.
    pub(super) fn reopen_if_broken(&self) -> Result<(), LogError> {
        if !self.state().broken {
            return Ok(());
        }
        let catalog = self.file.reopen()?;
        let mut state = self.state();
        state.partitions = catalog.partitions;
        state.broken = false;
        tracing::info!(log = %self.what, "log file reopened after a failed write");
        Ok(())
    }

    /// Reads on from a position, about so many records at most, since whole chunks are read; `None` when
    /// there is nothing new.
    pub(super) fn read(
        &self,
        tp: &TopicPartition,
        handle: u32,
        from: Offset,
        most: u32,
    ) -> Result<Option<Page>, LogError> {
        let row = self.state().partitions[handle as usize];
        if from < row.start || from > row.end {
            return Err(LogError::out_of_range(tp, from));
        }
        if from == row.end {
            return Ok(None);
        }
        let page = self.file.read(handle, from, row.end, (MOST_BYTES, most))?;
        Ok(Some(page))
    }

    pub(super) fn describe(&self, topic: &str) -> Option<TopicInfo> {
        self.state().topics.get(topic).map(|row| TopicInfo {
            name: topic.to_owned(),
            id: row.id.clone(),
            partitions: row.partitions,
            policy: CleanupPolicy {
                compact: row.compact,
                delete: row.delete,
            },
            retention: row.retention_ms.map(Duration::from_millis),
            delete_retention: Duration::from_millis(row.delete_retention_ms),
            max_message_bytes: row.max_message_bytes,
            replicas: 1,
            in_sync: 1,
            min_in_sync: 1,
        })
    }
}
