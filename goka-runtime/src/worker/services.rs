//! What handlers reach through the worker: open stores, looked-up tables, the executor of futures,
//! the guards that hold commits back. Made by the worker, used by the core.

#[cfg(feature = "tester")]
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::executor::Executor;
use super::{IDLE, WorkerState};
use crate::clock::Clock;
use crate::core::{CopyId, HandlerServices, RecordId, StopReason};
use crate::dispatch::{ContextError, Deferred, Handling};
use crate::error::HandlerError;
use crate::log::cancel;
#[cfg(feature = "tester")]
use crate::record::Appends;
use crate::record::Offset;
use crate::table::{Store, StoreError, StoreRead, Stored};
use crate::view::{LookedUp, Lookups, ViewError};

/// A table that does not come up is reported so often.
const WATCHDOG: Duration = Duration::from_secs(10);

/// Waits until a looked-up table holds all that its topic held when this began; `false` when told to
/// stop.
pub(super) fn await_lookup(
    table: &str,
    view: &Arc<dyn LookedUp>,
    signals: &WorkerState,
) -> Result<bool, StopReason> {
    let mut ends: Option<Vec<Offset>> = None;
    let mut warned = Instant::now();
    while !signals.stops() {
        let reached = match &ends {
            Some(ends) => view.wait_reached(ends, IDLE).map(|()| true),
            // The view itself tells when the log is away.
            None => {
                let asked = Arc::clone(view);
                let Some(found) = cancel::unless(|| signals.stops(), move || asked.ends()) else {
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
            tracing::warn!(table, ?ends, "the table that is looked up is not there yet");
        }
    }
    Ok(false)
}

/// Sees what handlers did, for tests.
#[cfg(feature = "tester")]
pub(crate) trait HandlerObserver: Send + Sync {
    /// A handler returned `Ok`; what it wrote are the records from `first` on.
    fn handled(&self, record: RecordId, appends: &Appends, first: usize);
    /// How long the handler takes that is called with a record, on a simulated clock.
    fn handling_takes(&self, _record: &RecordId) -> Duration {
        Duration::ZERO
    }
}

/// The time that handlers take on a simulated clock. That stands still while they run, so the worker
/// is ahead of it afterwards, and waits until the clock has come as far.
#[cfg(feature = "tester")]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SimulatedHandling {
    /// When the last handler is done.
    pub(super) until: Duration,
    /// What the handlers of the last turn took together, and the longest of them.
    pub(crate) turn: Duration,
    pub(crate) longest: Duration,
}

/// The store of a copy, or what is read while it is being written to elsewhere.
pub(super) enum OpenStore {
    Here(Box<dyn Store>),
    Away(Box<dyn StoreRead + Send>),
}

/// What handlers reach: open stores, followed tables, the executor, guards.
pub(super) struct WorkerServices {
    pub(super) signals: Arc<WorkerState>,
    pub(super) clock: Clock,
    /// Few, and looked at with most records: ordered, since hashing would cost more than the search.
    pub(super) stores: BTreeMap<CopyId, OpenStore>,
    pub(super) lookups: Lookups,
    /// What asynchronous handlers run on.
    pub(super) executor: Arc<Executor>,
    pub(super) guards: Sender<(RecordId, Result<(), HandlerError>)>,
    /// On a simulated clock, the time that handlers take.
    #[cfg(feature = "tester")]
    pub(super) handling: Cell<SimulatedHandling>,
    /// Told of every record that was handled.
    #[cfg(feature = "tester")]
    pub(super) witness: Option<Arc<dyn HandlerObserver>>,
}

impl WorkerServices {
    /// Takes a store out, if it is here.
    pub(super) fn take(&mut self, copy: CopyId) -> Option<Box<dyn Store>> {
        match self.stores.remove(&copy)? {
            OpenStore::Here(store) => Some(store),
            away @ OpenStore::Away(_) => {
                self.stores.insert(copy, away);
                None
            }
        }
    }
}

impl WorkerServices {
    /// The present moment for the worker.
    pub(super) fn monotonic(&self) -> Duration {
        #[cfg(feature = "tester")]
        if self.clock.is_simulated() {
            return self.clock.monotonic().max(self.handling.get().until);
        }
        self.clock.monotonic()
    }

    /// On a simulated clock, whether the last handler is not done yet.
    #[cfg(feature = "tester")]
    pub(super) fn is_in_handler(&self) -> bool {
        self.clock.is_simulated() && self.clock.monotonic() < self.handling.get().until
    }

    /// On a simulated clock, time passes for the handler that is called.
    #[cfg(feature = "tester")]
    fn pass(&self, record: &RecordId) {
        let Some(witness) = &self.witness else { return };
        let takes = witness.handling_takes(record);
        let before = self.handling.get();
        self.handling.set(SimulatedHandling {
            until: self.monotonic() + takes,
            turn: before.turn + takes,
            longest: before.longest.max(takes),
        });
    }
}

impl HandlerServices for WorkerServices {
    fn store(&self, copy: CopyId) -> Option<&dyn StoreRead> {
        Some(match self.stores.get(&copy)? {
            OpenStore::Here(store) => &**store as &dyn StoreRead,
            OpenStore::Away(snapshot) => &**snapshot as &dyn StoreRead,
        })
    }

    fn lookup(&self, table: &'static str, key: &[u8]) -> Result<Option<Stored>, ContextError> {
        let Some((_, view)) = self.lookups.iter().find(|(name, _)| *name == table) else {
            return Ok(None);
        };
        loop {
            // A copy that is made anew is waited for; the member stays in its group meanwhile.
            match view.stored(key) {
                Err(ViewError::NotReady { .. }) if !self.signals.stops() => {
                    let _ = view.wait_ready(IDLE);
                }
                // The view has noted the damage, and moves the copy aside in a moment.
                Err(ViewError::Store(StoreError::Unreadable { .. })) if !self.signals.stops() => {
                    std::thread::park_timeout(IDLE);
                }
                // These are no fault of the record: it is handled again, unless the worker ends first.
                Err(
                    error @ (ViewError::NotReady { .. }
                    | ViewError::Stopped { .. }
                    | ViewError::Store(_)),
                ) => {
                    return Err(ContextError::Store(StoreError::Io {
                        path: table.to_owned(),
                        reason: error.to_string(),
                    }));
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
        self.executor.drive(&self.clock, handling)
    }

    fn began(&self, record: &RecordId) {
        self.signals.in_hand.begin(record);
        #[cfg(feature = "tester")]
        self.pass(record);
    }

    fn ended(&self) -> Duration {
        self.signals.in_hand.end();
        #[cfg(feature = "tester")]
        if self.clock.is_simulated() {
            return self.monotonic();
        }
        self.clock.coarse()
    }

    #[cfg(feature = "tester")]
    fn handled(&self, record: RecordId, appends: &Appends, first: usize) {
        if let Some(witness) = &self.witness {
            witness.handled(record, appends, first);
        }
    }

    fn defer(&self, record: RecordId) -> Deferred {
        let guards = self.guards.clone();
        Deferred::new(move |outcome| {
            // A worker that has ended needs no answer: the record was not committed.
            let _ = guards.send((record, outcome));
        })
    }
}
