//! What all handles of one log share: the file, topics and offsets in memory, the groups. One
//! writer at a time holds the [`Turn`]; the state's lock is held for moments only, never while
//! the file is touched or a driver is called. Offsets become visible after their commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::chunk::{CHUNK_BYTES, CHUNK_RECORDS, HEAD, Head, Page, Run};
use super::file::{
    Catalog, Changes, File, NewChunk, NewOffset, NotWritten, PartitionRow, TopicRow,
};
use super::groups::Coordinator;
use crate::log::{LogError, Policy, TopicInfo};
use crate::record::{Offset, Timestamp, TopicPartition};

/// The limits of a batch: bytes and records.
const BATCH: (usize, u32) = (1 << 20, 2_000);
/// A partition is compacted when this many records came since, and as many as it then held.
pub(super) const CLEAN_AFTER: Offset = 10_000;

/// A topic's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The handle of partition 0.
    pub(super) first: u32,
    pub(super) partitions: i32,
    pub(super) compact: bool,
    pub(super) max_message_bytes: usize,
}

impl Place {
    /// The handle of one partition.
    pub(super) fn handle(&self, partition: i32) -> Option<u32> {
        let exists = (0..self.partitions).contains(&partition);
        exists.then(|| self.first + partition.unsigned_abs())
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: HashMap<Arc<str>, TopicRow>,
    /// By handle.
    pub(super) partitions: Vec<PartitionRow>,
    /// By handle: whether it is compacted.
    pub(super) compacted: Vec<bool>,
    pub(super) groups: HashMap<Arc<str>, Coordinator>,
    pub(super) members: u64,
    /// Moves with everything that somebody may wait for.
    pub(super) version: u64,
    /// A commit failed: the file has to be opened again before the next one.
    broken: bool,
}

impl State {
    /// Takes in a topic whose partitions are there.
    pub(super) fn add(&mut self, name: &str, row: TopicRow) {
        let (first, count) = (row.first as usize, row.partitions.unsigned_abs() as usize);
        if self.compacted.len() < first + count {
            self.compacted.resize(first + count, false);
        }
        self.compacted[first..first + count].fill(row.compact);
        self.topics.insert(name.into(), row);
    }

    /// Whether a partition is worth compacting.
    pub(super) fn is_dirty(&self, handle: u32) -> bool {
        let row = self.partitions[handle as usize];
        let kept = Offset::try_from(row.kept).unwrap_or(Offset::MAX);
        self.compacted[handle as usize] && row.end - row.cleaned >= kept.max(CLEAN_AFTER)
    }

    /// Where a topic lies.
    pub(super) fn place(&self, topic: &str) -> Option<Place> {
        self.topics.get(topic).map(|row| Place {
            first: row.first,
            partitions: row.partitions,
            compact: row.compact,
            max_message_bytes: row.max_message_bytes,
        })
    }

    /// The handle of a partition.
    pub(super) fn handle(&self, topic: &str, partition: i32) -> Result<u32, LogError> {
        let unknown = || LogError::UnknownTopic {
            topic: topic.to_owned(),
        };
        let place = self.place(topic).ok_or_else(unknown)?;
        place
            .handle(partition)
            .ok_or_else(|| LogError::UnknownPartition {
                topic: topic.to_owned(),
                partition,
            })
    }

    /// Does something with a group, and tells it how many partitions topics have.
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

/// What all handles share.
#[derive(Debug)]
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
#[derive(Debug)]
pub(super) struct Turn<'s>(&'s Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.writing) = false;
        self.0.written.notify_one();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_millis() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}

impl Shared {
    pub(super) fn new(file: File, catalog: Catalog, what: String, dirty: SyncSender<()>) -> Self {
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

    /// Says that something changed.
    pub(super) fn notify(&self, state: &mut State) {
        state.version += 1;
        self.changed.notify_all();
    }

    /// Waits until something changed since `version` or until `by`.
    pub(super) fn wait(&self, version: u64, by: Instant) {
        let mut state = self.state();
        while state.version == version && !self.stopping.load(Ordering::Relaxed) {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the right to write, at most until `deadline`.
    pub(super) fn turn(&self, deadline: Instant) -> Result<Turn<'_>, LogError> {
        let begun = Instant::now();
        let mut writing = lock(&self.writing);
        while *writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = format!("waiting for another writer of {}", self.what);
                return Err(LogError::Timeout {
                    what,
                    after: begun.elapsed(),
                });
            }
            let waited = self.written.wait_timeout(writing, left);
            writing = waited.unwrap_or_else(PoisonError::into_inner).0;
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
        offsets: Vec<NewOffset<'_>>,
    ) -> Result<Vec<Offset>, NotWritten> {
        debug_assert!(runs.is_sorted_by_key(|(handle, _)| *handle));
        let mut bases = Vec::with_capacity(runs.len());
        let mut rows: Vec<(u32, PartitionRow)> = Vec::new();
        {
            self.heal()
                .map_err(|error| NotWritten::Nothing(error.to_string()))?;
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
        let chunks = chunks(runs, &bases);
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
        self.heal()?;
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
            Err(NotWritten::Nothing(reason) | NotWritten::Unknown(reason)) => {
                state.broken = true;
                Err(LogError::Client {
                    what: format!("compacting {}", self.what),
                    reason,
                })
            }
        }
    }

    /// Opens the file again when a commit failed, and believes what it says.
    /// Its caller has the turn.
    pub(super) fn heal(&self) -> Result<(), LogError> {
        if !self.state().broken {
            return Ok(());
        }
        let catalog = self.file.reopen()?;
        let mut state = self.state();
        state.partitions = catalog.partitions;
        state.broken = false;
        tracing::info!(log = %self.what, "opened again after a failed write");
        Ok(())
    }

    /// Reads on from a position; `None` when there is nothing new.
    pub(super) fn read(
        &self,
        tp: &TopicPartition,
        handle: u32,
        from: Offset,
    ) -> Result<Option<Batch>, LogError> {
        let row = self.state().partitions[handle as usize];
        if from < row.start || from > row.end {
            return Err(LogError::OutOfRange {
                topic: tp.topic.to_string(),
                partition: tp.partition,
                offset: from,
            });
        }
        if from == row.end {
            return Ok(None);
        }
        let page = self.file.read(handle, from, row.end, BATCH)?;
        Ok(Some(Batch {
            page,
            from,
            end: row.end,
        }))
    }

    /// What a topic is.
    pub(super) fn describe(&self, topic: &str) -> Option<TopicInfo> {
        self.state().topics.get(topic).map(|row| TopicInfo {
            name: topic.to_owned(),
            id: row.id.clone(),
            partitions: row.partitions,
            policy: Policy {
                compact: row.compact,
                delete: row.delete,
            },
            retention: row.retention_ms.map(Duration::from_millis),
            delete_retention: Duration::from_millis(row.delete_retention_ms),
            max_message_bytes: row.max_message_bytes,
        })
    }
}

/// What was read of a partition.
#[derive(Debug)]
pub(super) struct Batch {
    page: Page,
    from: Offset,
    end: Offset,
}

impl Batch {
    /// Hands over its records, if there are any, and returns the position after them: over holes
    /// to the end when nothing else is there.
    pub(super) fn hand_out(
        &self,
        shared: &Shared,
        each: impl FnOnce(&[crate::record::Record<'_>]),
    ) -> Result<Offset, LogError> {
        let next = self.page.hand_out(self.from, each);
        let next = next.map_err(|_| shared.file.damaged("a chunk of records cannot be read"))?;
        Ok(match self.page.more {
            Some(more) => next.unwrap_or(more).max(self.from),
            None => self.end,
        })
    }
}

/// Puts the bodies of runs together where they are small.
fn chunks<'r>(runs: &[(u32, &'r Run)], bases: &[Offset]) -> Vec<NewChunk<'r>> {
    let appended = now_millis();
    let mut chunks: Vec<NewChunk<'r>> = Vec::new();
    let mut bytes = 0;
    for ((handle, run), base) in runs.iter().zip(bases) {
        let mut base = *base;
        for body in &run.bodies {
            let fits = |chunk: &NewChunk<'_>| {
                chunk.handle == *handle
                    && bytes + body.bytes.len() <= CHUNK_BYTES - HEAD
                    && chunk.head.count + body.count <= CHUNK_RECORDS
            };
            match chunks.last_mut() {
                Some(last) if fits(last) => {
                    last.head.count += body.count;
                    last.pieces.push(&body.bytes);
                    bytes += body.bytes.len();
                }
                _ => {
                    let head = Head {
                        appended,
                        count: body.count,
                    };
                    let pieces = vec![body.bytes.as_slice()];
                    chunks.push(NewChunk {
                        handle: *handle,
                        base,
                        head,
                        pieces,
                    });
                    bytes = body.bytes.len();
                }
            }
            base += Offset::from(body.count);
        }
    }
    chunks
}
