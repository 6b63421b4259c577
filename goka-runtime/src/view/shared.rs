//! What the thread of a view and its readers share: a snapshot of each partition, how far it is, and the
//! view's state.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::error::{ViewError, ViewState};
use crate::lock::lock;
use crate::record::{Offset, Timestamp};
use crate::table::{Checkpoint, KeyRange, StoreError, StoreRead, Stored, StoredRef};

/// A snapshot of one partition, shared by its readers.
pub(super) type ReadSnapshot = Arc<Mutex<Box<dyn StoreRead + Send>>>;

/// One partition, as readers see it.
#[derive(Clone, Default)]
pub(super) struct PartitionView {
    pub(super) snapshot: Option<ReadSnapshot>,
    pub(super) offset: Offset,
    /// When the copy was last known to be level with its topic; `None` until it is for the first time.
    pub(super) level_at: Option<Timestamp>,
    /// Damage of this copy; the one that is built after it has its own.
    damage: Damage,
}

pub(super) struct ViewShared {
    pub(super) topic: Arc<str>,
    inner: Mutex<Inner>,
    changed: Condvar,
    stopping: AtomicBool,
}

/// The damage of a copy that its readers have found.
type Damage = Arc<Mutex<Option<StoreError>>>;

/// A snapshot whose damage is noted for the follower.
struct WatchedSnapshot {
    read: Box<dyn StoreRead + Send>,
    damage: Damage,
}

impl WatchedSnapshot {
    fn note_damage<T>(&self, found: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error @ StoreError::Unreadable { .. }) = &found {
            *lock(&self.damage) = Some(error.clone());
        }
        found
    }
}

impl StoreRead for WatchedSnapshot {
    fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.note_damage(self.read.checkpoint())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.note_damage(self.read.get(key))
    }

    fn range(
        &self,
        keys: KeyRange<'_>,
        each: &mut dyn FnMut(&[u8], StoredRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.note_damage(self.read.range(keys, each))
    }
}

fn count(partitions: &[PartitionView]) -> i32 {
    i32::try_from(partitions.len()).unwrap_or(i32::MAX)
}

struct Inner {
    state: ViewState,
    partitions: Vec<PartitionView>,
}

impl ViewShared {
    pub(super) fn new(topic: Arc<str>, partitions: usize) -> Self {
        let shared = Self {
            topic,
            inner: Mutex::new(Inner {
                state: ViewState::Restoring,
                partitions: Vec::new(),
            }),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        };
        shared.resize(partitions);
        shared
    }

    fn with_partition(&self, partition: i32, change: impl FnOnce(&mut PartitionView)) {
        let mut inner = lock(&self.inner);
        if let Some(part) = usize::try_from(partition)
            .ok()
            .and_then(|at| inner.partitions.get_mut(at))
        {
            change(part);
        }
        drop(inner);
        self.changed.notify_all();
    }

    // The follower's side.

    pub(super) fn publish(&self, partition: i32, read: Box<dyn StoreRead + Send>) {
        self.with_partition(partition, |part| {
            let watched: Box<dyn StoreRead + Send> = Box::new(WatchedSnapshot {
                read,
                damage: Arc::clone(&part.damage),
            });
            part.snapshot = Some(Arc::new(Mutex::new(watched)));
        });
    }

    /// A partition whose copy is damaged, as its readers have found.
    pub(super) fn damage(&self) -> Option<(i32, StoreError)> {
        let inner = lock(&self.inner);
        (0..)
            .zip(&inner.partitions)
            .find_map(|(partition, part)| Some((partition, lock(&part.damage).clone()?)))
    }

    pub(super) fn advance(&self, partition: i32, offset: Offset, at: Timestamp, level: bool) {
        self.with_partition(partition, |part| {
            part.offset = offset;
            if level {
                part.level_at = part.level_at.max(Some(at));
            }
        });
    }

    pub(super) fn forget(&self, partition: i32) {
        self.with_partition(partition, |part| *part = PartitionView::default());
    }

    /// Sets the number of partitions; new ones are not restored yet.
    pub(super) fn resize(&self, partitions: usize) {
        // By `default` and not by `clone`, which would share the place for damage.
        lock(&self.inner)
            .partitions
            .resize_with(partitions, PartitionView::default);
        self.changed.notify_all();
    }

    pub(super) fn set_state(&self, state: ViewState) {
        lock(&self.inner).state = state;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits, not beyond the drop of the view.
    pub(super) fn pause(&self, time: Duration) {
        self.wait(Instant::now() + time, |_, _| {
            self.is_stopping().then_some(())
        });
    }

    // The readers' side.

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Under the lock, so that no thread misses the call between its check and its wait.
        drop(lock(&self.inner));
        self.changed.notify_all();
    }

    pub(super) fn state(&self) -> ViewState {
        lock(&self.inner).state.clone()
    }

    pub(super) fn partition_count(&self) -> i32 {
        count(&lock(&self.inner).partitions)
    }

    /// A partition, chosen by their number, that was level with its topic: with its snapshot and the time
    /// when it was last level.
    pub(super) fn ready(
        &self,
        place: impl FnOnce(i32) -> i32,
    ) -> Result<(PartitionView, ReadSnapshot, Timestamp), ViewError> {
        let inner = lock(&self.inner);
        if let ViewState::Stopped { reason } = &inner.state {
            return Err(self.stopped(reason));
        }
        let partition = place(count(&inner.partitions));
        let part = usize::try_from(partition).ok();
        let part = part.and_then(|at| inner.partitions.get(at));
        part.and_then(|part| Some((part.clone(), part.snapshot.clone()?, part.level_at?)))
            .ok_or_else(|| self.not_ready(partition, &inner.state))
    }

    pub(super) fn stopped(&self, reason: &str) -> ViewError {
        ViewError::Stopped {
            topic: self.topic.to_string(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn not_ready(&self, partition: i32, state: &ViewState) -> ViewError {
        ViewError::NotReady {
            topic: self.topic.to_string(),
            partition,
            state: state.clone(),
        }
    }

    /// Waits until `done` answers; `None` when it has not by `deadline`.
    pub(super) fn wait<R>(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&ViewState, &[PartitionView]) -> Option<R>,
    ) -> Option<R> {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(answer) = done(&inner.state, &inner.partitions) {
                return Some(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            inner = match self.changed.wait_timeout(inner, left) {
                Ok((inner, _)) => inner,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{KeyRange, StoreRead};

    /// A copy that cannot be read.
    struct Damaged;

    fn damaged() -> StoreError {
        StoreError::Unreadable {
            path: "table.redb".to_owned(),
            source: "a block".into(),
        }
    }

    impl StoreRead for Damaged {
        fn checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
            Err(damaged())
        }

        fn get(&self, _: &[u8]) -> Result<Option<Stored>, StoreError> {
            Err(damaged())
        }

        fn range(
            &self,
            _: KeyRange<'_>,
            _: &mut dyn FnMut(&[u8], StoredRef<'_>) -> ControlFlow<()>,
        ) -> Result<(), StoreError> {
            Err(damaged())
        }
    }

    #[test]
    fn damage_is_noted_for_its_own_partition() {
        let shared = ViewShared::new("t".into(), 3);
        shared.resize(4);
        for partition in 0..4 {
            shared.publish(partition, Box::new(Damaged));
        }
        shared.advance(3, 1, 0, true);
        let (_, snapshot, _) = shared.ready(|count| count - 1).expect("it is level");
        let read = lock(&snapshot).get(b"key");
        assert!(read.is_err());
        assert_eq!(shared.damage(), Some((3, damaged())));
    }
}
