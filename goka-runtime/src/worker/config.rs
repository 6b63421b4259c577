//! What a worker needs: given by the processor, shared by the clients that follow each other.

use std::sync::Arc;
use std::time::Duration;

use super::executor::Executor;
use super::state::WorkerState;
use crate::clock::Clock;
use crate::core::{Plan, RecordId};
use crate::dispatch::ProcessorState;
use crate::log::Log;
use crate::record::Appends;
use crate::restore::RestoreConfig;
use crate::table::Stores;
use crate::view::Lookups;

/// How long a poll waits when nothing is due.
pub(super) const IDLE: Duration = Duration::from_millis(50);

/// Whether a processor gives up its place in its group when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStop {
    /// It leaves: other instances take the partitions over at once, and a group without another member is
    /// empty, so that its offsets can be reset.
    #[default]
    Leave,
    /// It keeps its place for the session timeout, for the same instance: restarted by then, it has the same
    /// partitions, and none of the others moves. Without [`ProcessorOptions::instance`](crate::processor::ProcessorOptions::instance), as `Leave`.
    Keep,
}

impl std::str::FromStr for OnStop {
    type Err = String;

    /// Reads `leave` or `keep`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "leave" => Ok(OnStop::Leave),
            "keep" => Ok(OnStop::Keep),
            _ => Err("it is `leave` or `keep`".to_owned()),
        }
    }
}

/// Sees what handlers do, in simulations, and says how long they take: the simulated clock stands still while they run,
/// so the worker is ahead of it afterwards, and waits until the clock has caught up.
pub(crate) trait HandlerObserver: Send + Sync {
    /// A handler is about to be called with a record; the time is that of the worker.
    fn began(&self, record: &RecordId, now: Duration);
    /// When the last handler is done.
    fn busy_until(&self) -> Duration;
    /// A handler returned `Ok`; what it wrote are the records from `first` on.
    fn handled(&self, record: RecordId, appends: &Appends, first: usize);
}

/// What a worker needs.
pub(crate) struct WorkerConfig {
    pub(crate) plan: Arc<Plan>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) processor_state: Arc<ProcessorState>,
    /// The tables that are looked up, by topic.
    pub(crate) lookups: Lookups,
    /// How long stopping may take, and an abort.
    pub(crate) stop_timeout: Duration,
    pub(crate) on_stop: OnStop,
    pub(crate) clock: Clock,
    /// Runs asynchronous handlers.
    pub(crate) executor: Arc<Executor>,
    /// In simulations, sees every record that is handled.
    pub(crate) observer: Option<Arc<dyn HandlerObserver>>,
    pub(crate) state: Arc<WorkerState>,
}

impl WorkerConfig {
    pub(super) fn for_restores(&self) -> RestoreConfig {
        RestoreConfig {
            log: Arc::clone(&self.log),
            stores: Arc::clone(&self.stores),
            plan: Arc::clone(&self.plan),
            clock: self.clock.clone(),
            is_verified: self.state.has_run(),
        }
    }
}
