//! A turn: the calls of handlers between two polls of the member. It is bounded in time and bytes, so
//! that barriers, revocations and stops wait for the record in hand and not for what was fetched with
//! it. Exactly once, a call that may have outlived its transaction is remembered, to be made again in
//! a transaction of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::record::{Appends, Guarantee, Offset, TaskId, TopicId};

use super::ids::RecordId;
use super::plan::Plan;

/// How long handlers are called before the member is polled again. A single call may take longer.
pub(crate) const TURN: Duration = Duration::from_millis(20);
/// How many bytes handlers write before the member is polled again. A single call may write more.
const TURN_BYTES: usize = 4 << 20;

/// Exactly once, for each input of each task the last call that took so long that its transaction may
/// have ended before it: the record, and the key of a visit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlowCalls(BTreeMap<(TaskId, TopicId), (Offset, Vec<u8>)>);

impl SlowCalls {
    fn has(&self, record: &RecordId, key: &[u8]) -> bool {
        let known = self.0.get(&(record.task, record.topic));
        known.is_some_and(|(offset, of)| *offset == record.offset && **of == *key)
    }
}

/// The turn that is under way.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// When it is over; `None` before its first call.
    until: Option<Duration>,
    /// When the last call ended.
    now: Duration,
    /// Whether that is not before `until`.
    is_late: bool,
    calls: usize,
    /// Whether something was written since the last barrier.
    is_open: bool,
    /// Exactly once: a call that takes so long may outlive its transaction.
    slow: Option<Duration>,
    slow_calls: SlowCalls,
    has_new_slow_call: bool,
    /// Whether a barrier is to come before the next call.
    wants_barrier: bool,
}

impl Turn {
    pub(super) fn new(plan: &Plan, slow_calls: SlowCalls) -> Self {
        let once = plan.group.guarantee == Guarantee::ExactlyOnce;
        Self {
            slow: once.then_some(plan.group.transaction_timeout / 4),
            slow_calls,
            ..Self::default()
        }
    }

    /// Calls are about to be made. `is_open` says whether something was written since the last barrier.
    pub(super) fn begin(&mut self, now: Duration, is_open: bool) {
        if self.until.is_none() {
            self.until = Some(now + TURN);
            self.calls = 0;
        }
        self.now = now;
        self.is_late = self.until.is_some_and(|until| now >= until);
        self.is_open = is_open;
    }

    /// The member is polled again.
    pub(super) fn end(&mut self) {
        self.until = None;
        self.is_late = false;
        self.calls = 0;
    }

    pub(super) fn has_called(&self) -> bool {
        self.calls > 0
    }

    /// Whether the next call waits for another turn. The first call of a turn never does.
    #[inline]
    pub(super) fn is_over(&self, appends: &Appends) -> bool {
        let is_over = self.is_late || appends.size() >= TURN_BYTES;
        self.calls > 0 && is_over && !mutant!(EndlessTurn)
    }

    /// Whether a call may be made now. Exactly once, none is while a barrier is due for a slow call; and
    /// one that may have outlived its transaction before waits for a barrier, so that this time the
    /// transaction is no older than the call.
    pub(super) fn may_call(&mut self, record: &RecordId, key: &[u8], appends: &Appends) -> bool {
        let is_open = self.is_open || !appends.is_empty();
        if self.wants_barrier && is_open {
            return false;
        }
        let is_known = self.slow_calls.has(record, key);
        if is_known && is_open {
            self.wants_barrier = true;
            return false;
        }
        if is_known {
            let (partition, offset) = (record.task.partition, record.offset);
            tracing::warn!(
                partition,
                offset,
                "slow record handled again, in a transaction of its own"
            );
        }
        true
    }

    /// Whether calls may outlive their transactions.
    pub(super) fn is_exactly_once(&self) -> bool {
        self.slow.is_some()
    }

    /// A call has ended.
    #[inline]
    pub(super) fn called(&mut self, now: Duration, record: &RecordId, key: &[u8]) {
        self.calls += 1;
        // Most calls end before the coarse clock moves on.
        if now > self.now {
            self.moved_on(now, record, key);
        }
    }

    fn moved_on(&mut self, now: Duration, record: &RecordId, key: &[u8]) {
        let took = now.saturating_sub(self.now);
        self.now = now;
        self.is_late = self.until.is_some_and(|until| now >= until);
        if self.slow.is_some_and(|slow| took >= slow) {
            let input = (record.task, record.topic);
            self.slow_calls
                .0
                .insert(input, (record.offset, key.to_vec()));
            self.has_new_slow_call = true;
            // Every moment that its transaction stays open is one in which it may be ended.
            self.wants_barrier = true;
        }
    }

    pub(super) fn wants_barrier(&self) -> bool {
        self.wants_barrier
    }

    pub(super) fn barrier_begins(&mut self) {
        self.wants_barrier = false;
    }

    pub(super) fn take_slow_calls(&mut self) -> Option<SlowCalls> {
        std::mem::take(&mut self.has_new_slow_call).then(|| self.slow_calls.clone())
    }
}
