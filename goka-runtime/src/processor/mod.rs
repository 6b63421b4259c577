//! A processor: a group graph checked against a log, and the worker that runs it. What is wrong at
//! start refuses to start. Held by the service, by tests and by programs of their own.

mod copartition;
mod error;
mod recheck;
mod resolve;
mod topics;

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::copartition::{Counted, Mismatch};
pub use self::error::{OptionError, ProcessorError, StartError};
pub use crate::core::deaths::Deaths;
pub use crate::core::recovery::{ChangelogMismatch, RecoveryReason};
pub use crate::core::{State, StopReason};
pub use crate::log::DEFAULT_PARTITIONS;
pub use crate::worker::{Handling, TaskStatus};

use self::recheck::Recheck;
#[cfg(feature = "tester")]
pub(crate) use self::resolve::is_copartitioned;
use self::resolve::{expect, lookups, resolve};
use self::topics::Topics;
use crate::clock::Clock;
use crate::dispatch::ProcessorState;
use crate::graph::{Definition, GroupGraph};
use crate::log::{Group, Log, TopicWait};
use crate::record::Guarantee;
use crate::table::Stores;
use crate::worker::{WorkerConfig, WorkerState, run};

/// How long loop and visit topics keep their records: longer than any outage.
pub const LOOP_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// What becomes of a processor's place in its group when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStop {
    /// It is given up: other instances take the partitions over at once, and a group that nobody else
    /// is in is empty, so that its offsets can be reset.
    #[default]
    Leave,
    /// It is kept for the session, for the same instance: one that is back by then finds its partitions
    /// where they were, and nobody else's move. Without [`ProcessorOptions::instance`], as `Leave`.
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

/// How a processor runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorOptions {
    /// Who this process is, over restarts; empty for nobody in particular.
    pub instance: String,
    /// How often a barrier runs.
    pub barrier: Duration,
    /// How long the group waits for a silent member: from 1 ms to one hour. Kafka refuses less than
    /// its `group.min.session.timeout.ms` and more than its `group.max.session.timeout.ms`.
    pub session: Duration,
    /// How long a member may take between two polls before the group gives its partitions to others:
    /// at least the session, at most one day.
    pub max_poll_interval: Duration,
    /// What becomes of its place in the group when it stops.
    pub on_stop: OnStop,
    /// How long a broker may take, and stopping.
    pub deadline: Duration,
    /// What it promises; `None` is what the processor declares.
    pub guarantee: Option<Guarantee>,
    /// Exactly once: how long the log lets a transaction stay open when its owner is silent: from one
    /// second to one day. A barrier has to be shorter; Kafka refuses more than its
    /// `transaction.max.timeout.ms`.
    pub transaction_timeout: Duration,
    /// Writes wait at most so long in memory before they go to the local store, and one flush in so
    /// long is synced: a restart replays no more than twice that from the group topic.
    pub flush_interval: Duration,
    /// Writes go to the local store before that when they take so many bytes of memory.
    pub flush_bytes: usize,
    /// A local store that cannot be written or read for so long (a full disk) stops its partition;
    /// until then it is tried again, and nothing is lost.
    pub store_patience: Duration,
    /// The memory for values of tables, in bytes: what waits for the store, and a cache of it.
    pub memory: usize,
    /// The records that earlier runs of this instance died of; the service fills it.
    pub deaths: Deaths,
}

impl Default for ProcessorOptions {
    fn default() -> Self {
        Self {
            instance: String::new(),
            barrier: Duration::from_millis(100),
            session: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(300),
            on_stop: OnStop::default(),
            deadline: Duration::from_secs(10),
            guarantee: None,
            transaction_timeout: Duration::from_secs(10),
            flush_interval: Duration::from_secs(5),
            flush_bytes: 64 << 20,
            store_patience: Duration::from_secs(60),
            memory: 256 << 20,
            deaths: Deaths::default(),
        }
    }
}

impl ProcessorOptions {
    /// Checks the times: each in its range, and the poll interval at least the session. Called before
    /// a processor starts.
    ///
    /// # Errors
    /// The first time that is not possible, by name.
    ///
    /// ```
    /// use goka_runtime::processor::ProcessorOptions;
    /// use std::time::Duration;
    ///
    /// let mut options = ProcessorOptions::default();
    /// options.max_poll_interval = Duration::from_secs(5);
    /// let error = options.check().unwrap_err().to_string();
    /// assert!(error.contains("the poll interval (`--max-poll-interval`) is 5s"));
    /// ```
    pub fn check(&self) -> Result<(), OptionError> {
        const MILLI: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3_600);
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        for (what, option, given, least, most) in [
            (
                "the session timeout",
                "--session",
                self.session,
                MILLI,
                HOUR,
            ),
            (
                "the poll interval",
                "--max-poll-interval",
                self.max_poll_interval,
                MILLI,
                DAY,
            ),
            (
                "the transaction timeout",
                "--transaction-timeout",
                self.transaction_timeout,
                SECOND,
                DAY,
            ),
            (
                "the barrier interval",
                "--barrier",
                self.barrier,
                Duration::ZERO,
                DAY,
            ),
            (
                "the flush interval",
                "--flush-interval",
                self.flush_interval,
                Duration::ZERO,
                DAY,
            ),
        ] {
            if given < least || given > most {
                return Err(OptionError::OutOfRange {
                    what,
                    option,
                    given,
                    least,
                    most,
                });
            }
        }
        if self.max_poll_interval < self.session {
            return Err(OptionError::PollInterval {
                poll_interval: self.max_poll_interval,
                session: self.session,
            });
        }
        Ok(())
    }
}

/// A running processor; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    group: String,
    /// The group as its members join it.
    members: Group,
    signals: Arc<WorkerState>,
    thread: Option<JoinHandle<Result<(), StopReason>>>,
}

impl Running {
    /// Begins to stop: no more intake, a last barrier. Returns at once.
    pub fn stop(&self) {
        self.signals.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether it has ended, by itself or after [`Running::stop`].
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether it owns partitions and all of them have stopped: it has nothing left to do.
    #[cfg(feature = "cli")]
    pub(crate) fn has_stopped(&self) -> bool {
        self.signals.has_stopped()
    }

    /// Whether it handled what is not committed.
    #[cfg(feature = "cli")]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.signals.is_unsettled()
    }

    /// Why it could not go on.
    #[cfg(feature = "cli")]
    pub(crate) fn failure(&self) -> Option<StopReason> {
        self.signals.failure()
    }

    /// Where each partition that it owns is.
    pub fn status(&self) -> Vec<TaskStatus> {
        let status = self
            .signals
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        status.values().cloned().collect()
    }

    /// The first partition that has stopped, and why.
    #[cfg(feature = "cli")]
    pub(crate) fn first_stopped(&self) -> Option<(i32, StopReason)> {
        self.signals.first_stopped()
    }

    /// The record that a handler is called with at this moment, if one is.
    pub fn in_hand(&self) -> Option<Handling> {
        self.signals.in_hand(&self.members)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it could not go on, or which partitions stopped.
    pub fn join(mut self) -> Result<(), ProcessorError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let group = self.group.clone();
        match thread.join() {
            Err(_) => return Err(ProcessorError::Panicked { group }),
            Ok(Err(cause)) => return Err(ProcessorError::Failed { group, cause }),
            Ok(Ok(())) => {}
        }
        let stopped: Vec<_> = self
            .status()
            .into_iter()
            .filter_map(|task| Some((task.partition, task.stopped?)))
            .collect();
        if stopped.is_empty() && self.signals.is_unsettled() {
            Err(ProcessorError::Uncommitted { group })
        } else if stopped.is_empty() {
            Ok(())
        } else {
            Err(ProcessorError::Stopped { group, stopped })
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Checks a group against the log, makes its group topic (and, on a log that does so, its streams)
/// where they are missing, and starts its worker. What others make is waited for as long as the log
/// says ([`Log::topic_timeout`]).
///
/// # Errors
/// What is wrong with the topics, or the log's word when it does not answer.
pub fn start(
    definition: &Definition,
    shared: Arc<ProcessorState>,
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    options: &ProcessorOptions,
) -> Result<Running, StartError> {
    let wait = TopicWait::default();
    start_unless(definition, shared, log, stores, options, &wait)
}

/// The same for a program that may be told to end while topics are waited for.
///
/// # Errors
/// As [`start`]; [`LogError::Stopping`](crate::log::LogError::Stopping) when it is.
pub(crate) fn start_unless(
    definition: &Definition,
    shared: Arc<ProcessorState>,
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    options: &ProcessorOptions,
    wait: &TopicWait<'_>,
) -> Result<Running, StartError> {
    let (mut parts, topics) = prepare(definition, shared, log, stores, options, wait)?;
    parts.lookups = lookups(&definition.graph, &parts.log, &parts.stores, wait)?;
    let signals = Arc::clone(&parts.signals);
    let group = definition.graph.group.to_owned();
    let members = parts.plan.group.clone();
    let parts = Arc::new(parts);
    let recheck = Recheck::new(definition.graph, topics);
    let thread = std::thread::Builder::new()
        .name(format!("goka-{group}"))
        .spawn(move || {
            let group = &*parts.plan.group.name;
            let recheck = recheck.start(&parts);
            // Said at once: whoever owns the processor may ask for its end much later.
            let ended = run(&parts);
            drop(recheck);
            ended.inspect_err(|cause| {
                tracing::error!(group, %cause, "processor stopped");
                parts.signals.fail(cause.clone());
            })
        })
        .map_err(|error| StartError::Graph {
            group: group.clone(),
            location: definition.graph.location,
            reason: format!("no thread for its worker: {error}"),
        })?;
    Ok(Running {
        group,
        members,
        signals,
        thread: Some(thread),
    })
}

/// Checks a group against the log, makes what is ours to make, and gives what its worker is made of,
/// on the machine's clock and without the tables that it looks up, and the topics as they were found.
///
/// # Errors
/// As [`start`].
pub(crate) fn prepare(
    definition: &Definition,
    shared: Arc<ProcessorState>,
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    options: &ProcessorOptions,
    wait: &TopicWait<'_>,
) -> Result<(WorkerConfig, Topics), StartError> {
    let graph = &definition.graph;
    options.check().map_err(|source| StartError::Options {
        group: graph.group.to_owned(),
        location: graph.location,
        source: Box::new(source),
    })?;
    check_transaction(graph, options)?;
    let (plan, topics) = resolve(graph, &*log, options, wait)?;
    expect(graph, &plan, &*stores)?;
    let parts = WorkerConfig {
        plan,
        log,
        stores,
        shared,
        lookups: Vec::new(),
        deadline: options.deadline,
        on_stop: options.on_stop,
        clock: Clock::default(),
        executor: Arc::default(),
        #[cfg(feature = "tester")]
        witness: None,
        signals: Arc::new(WorkerState::default()),
    };
    Ok((parts, topics))
}

/// A transaction lasts from one barrier to the next.
fn check_transaction(graph: &GroupGraph, options: &ProcessorOptions) -> Result<(), StartError> {
    let (barrier, timeout) = (options.barrier, options.transaction_timeout);
    let guarantee = options.guarantee.unwrap_or(graph.guarantee);
    if guarantee == Guarantee::AtLeastOnce || timeout > barrier {
        return Ok(());
    }
    Err(StartError::TransactionTimeout {
        group: graph.group.to_owned(),
        location: graph.location,
        barrier,
        timeout,
    })
}
