//! What the thread of a view and its readers share: one frozen copy of each partition, how far it
//! is, and the view's state.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::scan::Frozen;
use crate::record::{Offset, Timestamp};
use crate::table::StoreRead;

/// What a view is doing.
///
/// ```
/// use goka_runtime::view::ViewState;
///
/// fn is_ready(state: &ViewState) -> bool {
///     matches!(state, ViewState::Following | ViewState::Away { .. })
/// }
/// assert!(!is_ready(&ViewState::Restoring));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewState {
    /// It reads what the table's topic holds; a partition is readable as soon as it is done.
    Restoring,
    /// It follows the table.
    Following,
    /// The log does not answer: it serves what it has, and tries again every second.
    Away {
        /// The log's word.
        reason: String,
    },
    /// It cannot go on.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// One partition, as readers see it.
#[derive(Clone, Default)]
pub(super) struct Part {
    pub(super) frozen: Option<Frozen>,
    pub(super) offset: Offset,
    /// When the copy was last known to be level with its topic; `None` until it is for the first time.
    pub(super) level_at: Option<Timestamp>,
}

pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    stopping: AtomicBool,
}

struct Inner {
    state: ViewState,
    parts: Vec<Part>,
}

impl Shared {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state: ViewState::Restoring,
                parts: vec![Part::default(); partitions],
            }),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_part(&self, partition: i32, change: impl FnOnce(&mut Part)) {
        let mut inner = self.lock();
        if let Some(part) = usize::try_from(partition)
            .ok()
            .and_then(|at| inner.parts.get_mut(at))
        {
            change(part);
        }
        drop(inner);
        self.changed.notify_all();
    }

    // The follower's side.

    pub(super) fn publish(&self, partition: i32, frozen: Box<dyn StoreRead + Send>) {
        let frozen = Arc::new(Mutex::new(frozen));
        self.with_part(partition, |part| part.frozen = Some(frozen));
    }

    pub(super) fn reached(&self, partition: i32, offset: Offset, at: Timestamp, level: bool) {
        self.with_part(partition, |part| {
            part.offset = offset;
            if level {
                part.level_at = part.level_at.max(Some(at));
            }
        });
    }

    pub(super) fn forget(&self, partition: i32) {
        self.with_part(partition, |part| *part = Part::default());
    }

    pub(super) fn set_state(&self, state: ViewState) {
        self.lock().state = state;
        self.changed.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits, less when the view is dropped.
    pub(super) fn pause(&self, time: Duration) {
        self.wait(Instant::now() + time, |_, _| {
            self.is_stopping().then_some(())
        });
    }

    // The readers' side.

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // Taken so that nobody misses the call between its check and its wait.
        drop(self.lock());
        self.changed.notify_all();
    }

    pub(super) fn state(&self) -> ViewState {
        self.lock().state.clone()
    }

    pub(super) fn part(&self, partition: i32) -> Option<Part> {
        let at = usize::try_from(partition).ok()?;
        self.lock().parts.get(at).cloned()
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        self.lock().parts.clone()
    }

    /// Waits until `done` answers; `None` when it has not by `until`.
    pub(super) fn wait<R>(
        &self,
        until: Instant,
        mut done: impl FnMut(&ViewState, &[Part]) -> Option<R>,
    ) -> Option<R> {
        let mut inner = self.lock();
        loop {
            if let Some(answer) = done(&inner.state, &inner.parts) {
                return Some(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
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
