//! The records of an emitter that are under way: one slot for each, which takes the log's delivery report and
//! is waited for by an [`Ack`]. Failures are counted, so that `flush` reports also those without a waiter.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::error::EmitError;
use crate::lock::lock;
use crate::log::Failure;
use crate::record::Offset;

/// Where an emitted record was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: Offset,
}

/// A record under way. Await it, or [`wait`](Ack::wait) for it. It may be dropped: the record is sent
/// all the same, and a failure is reported by the emitter's `flush` or `close`.
///
/// # Cancel safety
/// Dropping the future gives up waiting, not the record.
///
/// ```
/// use goka_runtime::emitter::{Ack, EmitError};
/// use std::time::Duration;
///
/// async fn offset(delivery: Ack) -> Result<i64, EmitError> {
///     Ok(delivery.await?.offset)
/// }
/// fn offset_soon(delivery: &Ack) -> Result<i64, EmitError> {
///     Ok(delivery.wait(Duration::from_secs(5))?.offset)
/// }
/// ```
pub struct Ack {
    pub(super) topic: Arc<str>,
    pub(super) slot: Arc<Slot>,
}

impl Ack {
    /// Waits until the record is delivered or has failed, at most so long.
    ///
    /// # Errors
    /// [`EmitError::NotDelivered`] with the log's reason; [`EmitError::Pending`] when the outcome
    /// is not known after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Result<Delivered, EmitError> {
        let (state, waits) = (lock(&self.slot.state), |state: &mut State| {
            state.outcome.is_none()
        });
        let waited = self
            .slot
            .has_outcome
            .wait_timeout_while(state, timeout, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.outcome {
            Some(outcome) => self.delivered(outcome),
            None => Err(EmitError::Pending {
                topic: self.topic.to_string(),
                records: 1,
                after: timeout,
            }),
        }
    }

    fn delivered(&self, outcome: &Result<(i32, Offset), Failure>) -> Result<Delivered, EmitError> {
        match outcome {
            Ok((partition, offset)) => Ok(Delivered {
                topic: self.topic.clone(),
                partition: *partition,
                offset: *offset,
            }),
            Err(failure) => Err(EmitError::NotDelivered {
                topic: self.topic.to_string(),
                records: 1,
                failure: failure.clone(),
            }),
        }
    }
}

impl Future for Ack {
    type Output = Result<Delivered, EmitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.slot.state);
        match &state.outcome {
            Some(outcome) => Poll::Ready(self.delivered(outcome)),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack")
            .field("topic", &self.topic)
            .field("outcome", &lock(&self.slot.state).outcome)
            .finish()
    }
}

#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    has_outcome: Condvar,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<(i32, Offset), Failure>>,
    waker: Option<Waker>,
}

impl Slot {
    fn set_outcome(&self, outcome: Result<(i32, Offset), Failure>) {
        let waker = {
            let mut state = lock(&self.state);
            state.outcome = Some(outcome);
            state.waker.take()
        };
        self.has_outcome.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The records of one emitter that are under way.
#[derive(Default)]
pub(super) struct PendingRecords(Mutex<Slots>);

#[derive(Default)]
struct Slots {
    next: u64,
    waiting: HashMap<u64, Arc<Slot>>,
    failed: usize,
    first: Option<Failure>,
}

impl PendingRecords {
    /// Registers a record before it is sent, since its outcome may be reported before sending returns.
    pub(super) fn open(&self) -> (u64, Arc<Slot>) {
        let slot = Arc::new(Slot::default());
        let mut slots = lock(&self.0);
        let token = slots.next;
        slots.next += 1;
        slots.waiting.insert(token, slot.clone());
        (token, slot)
    }

    /// Forgets a record that was not sent.
    pub(super) fn withdraw(&self, token: u64) {
        lock(&self.0).waiting.remove(&token);
    }

    /// Takes the log's delivery report.
    pub(super) fn report(&self, token: u64, outcome: Result<(i32, Offset), Failure>) {
        let slot = {
            let mut slots = lock(&self.0);
            if let Err(failure) = &outcome {
                slots.failed += 1;
                slots.first.get_or_insert_with(|| failure.clone());
            }
            slots.waiting.remove(&token)
        };
        if let Some(slot) = slot {
            slot.set_outcome(outcome);
        }
    }

    pub(super) fn under_way(&self) -> usize {
        lock(&self.0).waiting.len()
    }

    /// How many records failed since the last call, and why the first did.
    pub(super) fn take_failures(&self) -> Option<(usize, Failure)> {
        let mut slots = lock(&self.0);
        let failed = std::mem::take(&mut slots.failed);
        slots.first.take().map(|first| (failed, first))
    }
}
