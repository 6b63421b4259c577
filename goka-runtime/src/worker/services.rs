//! What handlers use through the worker: the open stores, looked-up tables, the executor of futures, the guards
//! that hold commits back. Made by the worker, used by the core.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::config::{IDLE, WorkerConfig};
use super::copies::CopyStores;
use super::state::WorkerState;
use crate::core::{CopyId, HandlerServices, RecordId, StopReason};
use crate::dispatch::{ContextError, Deferred, Handling};
use crate::log::cancel;
use crate::record::{Appends, Offset};
use crate::shared_error::HandlerError;
use crate::table::{StoreError, StoreRead, Stored};
use crate::view::{LookedUp, ViewError};

/// How often a looked-up table that is not level yet is reported.
const WATCHDOG: Duration = Duration::from_secs(10);

/// Waits until a looked-up table holds all that its topic held when this began; `false` when the worker
/// stops before.
pub(super) fn await_lookup(
    table: &str,
    view: &Arc<dyn LookedUp>,
    state: &WorkerState,
) -> Result<bool, StopReason> {
    let mut ends: Option<Vec<Offset>> = None;
    let mut warned = Instant::now();
    while !state.stops() {
        let reached = match &ends {
            Some(ends) => view.wait_reached(ends, IDLE).map(|()| true),
            // The view itself logs that the log does not answer.
            None => {
                let asked = Arc::clone(view);
                let Some(found) = cancel::unless(|| state.stops(), move || asked.ends()) else {
                    return Ok(false);
                };
                found.map(|found| {
                    ends = Some(found);
                    false
                })
            }
        };
        match reached {
            Ok(true) => return Ok(true),
            Err(error @ ViewError::Stopped { .. }) => {
                return Err(StopReason::Lookup(error.into()));
            }
            _ if ends.is_none() => std::thread::park_timeout(IDLE),
            _ => {}
        }
        if warned.elapsed() >= WATCHDOG {
            warned = Instant::now();
            tracing::warn!(table, ?ends, "looked-up table not level yet");
        }
    }
    Ok(false)
}

type Deferral = (RecordId, Result<(), HandlerError>);

/// What handlers use.
pub(super) struct WorkerServices {
    config: Arc<WorkerConfig>,
    pub(super) copies: CopyStores,
    /// What handlers deferred and is done: by any thread, to the worker's.
    deferrals: (Sender<Deferral>, Receiver<Deferral>),
}

impl WorkerServices {
    pub(super) fn new(config: &Arc<WorkerConfig>, copies: CopyStores) -> Self {
        Self {
            config: Arc::clone(config),
            copies,
            deferrals: channel(),
        }
    }

    /// The next of what handlers deferred that is done.
    pub(super) fn next_deferral(&self) -> Option<Deferral> {
        self.deferrals.1.try_recv().ok()
    }

    /// Why a looked-up table cannot be followed any more, if one cannot.
    pub(super) fn lookup_failure(&self) -> Option<ViewError> {
        let mut lookups = self.config.lookups.iter();
        lookups.find_map(|(_, view)| view.failure())
    }

    /// The time of now, for the worker.
    pub(super) fn monotonic(&self) -> Duration {
        let now = self.config.clock.monotonic();
        match &self.config.observer {
            Some(observer) => now.max(observer.busy_until()),
            None => now,
        }
    }

    /// On a simulated clock, whether the last handler is not done yet.
    pub(super) fn is_in_handler(&self) -> bool {
        let observer = self.config.observer.as_ref();
        observer.is_some_and(|observer| self.config.clock.monotonic() < observer.busy_until())
    }
}

impl HandlerServices for WorkerServices {
    fn store(&self, copy: CopyId) -> Option<&dyn StoreRead> {
        self.copies.read(copy)
    }

    fn lookup(&self, table: &'static str, key: &[u8]) -> Result<Option<Stored>, ContextError> {
        let config = &self.config;
        let Some((_, view)) = config.lookups.iter().find(|(name, _)| *name == table) else {
            return Ok(None);
        };
        loop {
            // A copy that is rebuilt is waited for; the member stays in its group meanwhile.
            match view.stored(key) {
                Err(ViewError::NotReady { .. }) if !config.state.stops() => {
                    let _ = view.wait_ready(IDLE);
                }
                // The view has noted the damage, and moves the copy aside in a moment.
                Err(ViewError::Store(StoreError::Unreadable { .. })) if !config.state.stops() => {
                    std::thread::park_timeout(IDLE);
                }
                // The record is not at fault: it is handled again, unless the worker ends first.
                Err(
                    error @ (ViewError::NotReady { .. }
                    | ViewError::Stopped { .. }
                    | ViewError::Store(_)),
                ) => {
                    return Err(StoreError::io(table.to_owned(), error).into());
                }
                found => {
                    return found.map_err(|error| ContextError::Lookup {
                        table: table.to_owned(),
                        source: error.into(),
                    });
                }
            }
        }
    }

    fn drive(&self, handling: Handling<'_>) -> Result<(), HandlerError> {
        self.config.executor.drive(handling)
    }

    fn began(&self, record: &RecordId) -> bool {
        self.config.state.in_hand.begin(record);
        let observer = self.config.observer.as_ref();
        observer.is_some_and(|observer| {
            observer.began(record, self.monotonic());
            true
        })
    }

    fn ended(&self) -> Duration {
        self.config.state.in_hand.end();
        match &self.config.observer {
            Some(_) => self.monotonic(),
            None => self.config.clock.coarse(),
        }
    }

    fn handled(&self, record: RecordId, appends: &Appends, first: usize) {
        if let Some(observer) = &self.config.observer {
            observer.handled(record, appends, first);
        }
    }

    fn defer(&self, record: RecordId) -> Deferred {
        let deferrals = self.deferrals.0.clone();
        Deferred::new(move |outcome| {
            // A worker that has ended needs no answer: the record was not committed.
            let _ = deferrals.send((record, outcome));
        })
    }
}
