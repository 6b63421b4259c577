//! A processor: a group graph checked against a log, and the worker that runs it. What is wrong at
//! start refuses to start. Held by the service, by tests and by programs of their own.

mod error;
mod options;
mod recheck;
mod resolve;
pub(crate) mod topics;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

pub use self::error::{Counted, Mismatch, ProcessorError, StartError};
pub use self::options::{OptionError, ProcessorOptions};
pub use self::topics::LOOP_RETENTION;
pub use crate::core::deaths::Deaths;
pub use crate::core::recovery::{ChangelogMismatch, RecoveryProblem, RecoveryReason};
pub use crate::core::{FailedRecord, State, StopReason};
pub use crate::in_hand::RecordInHand;
pub use crate::log::DEFAULT_PARTITIONS;
pub use crate::worker::{OnStop, TaskStatus};

use self::recheck::Recheck;
use self::resolve::{lookups, reserve_stores, resolve};
use self::topics::Topics;
use crate::clock::Clock;
use crate::dispatch::ProcessorState;
use crate::graph::{Definition, GroupGraph};
use crate::log::{Group, Log, TopicWait};
use crate::record::Guarantee;
use crate::table::Stores;
use crate::worker::{WorkerConfig, WorkerState, run};

/// A running processor; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    /// The group as its members join it.
    group: Group,
    state: Arc<WorkerState>,
    thread: Option<JoinHandle<Result<(), StopReason>>>,
}

impl Running {
    /// Begins to stop: no more intake, a last barrier. Returns at once.
    pub fn stop(&self) {
        self.state.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether it has ended, by itself or after [`Running::stop`].
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Where each partition that it owns is.
    pub fn status(&self) -> Vec<TaskStatus> {
        self.state.tasks()
    }

    /// What its worker says of itself.
    #[cfg(feature = "cli")]
    pub(crate) fn state(&self) -> &WorkerState {
        &self.state
    }

    /// The record that a handler is called with at this moment, if one is.
    pub fn in_hand(&self) -> Option<RecordInHand> {
        self.state.in_hand(&self.group)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it could not go on, or which partitions stopped.
    pub fn join(mut self) -> Result<(), ProcessorError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let group = self.group.name.to_string();
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
        if stopped.is_empty() && self.state.has_uncommitted() {
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
/// What is wrong with the options or the topics; the error of the log when it does not answer.
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

/// The same for a program that may be stopped while topics are waited for.
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
    let (mut config, topics) = prepare(definition, shared, log, stores, options, wait)?;
    config.lookups = lookups(&definition.graph, &config.log, &config.stores, wait)?;
    let signals = Arc::clone(&config.state);
    let group = config.plan.group.clone();
    let config = Arc::new(config);
    let recheck = Recheck::new(definition.graph, topics);
    let thread = std::thread::Builder::new()
        .name(format!("goka-{}", group.name))
        .spawn(move || {
            let group = &*config.plan.group.name;
            let recheck = recheck.start(&config);
            // Logged at once: the owner of the processor may wait for its end much later.
            let ended = run(&config);
            drop(recheck);
            ended.inspect_err(|cause| {
                tracing::error!(group, %cause, "processor stopped");
                config.state.set_failure(cause.clone());
            })
        })
        .map_err(|error| StartError::Thread {
            group: group.name.to_string(),
            location: definition.graph.location,
            source: error.into(),
        })?;
    Ok(Running {
        group,
        state: signals,
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
    reserve_stores(graph, &plan, &*stores)?;
    let config = WorkerConfig {
        plan: Arc::new(plan),
        log,
        stores,
        processor_state: shared,
        lookups: Vec::new(),
        stop_timeout: options.stop_timeout,
        on_stop: options.on_stop,
        clock: Clock::default(),
        executor: Arc::default(),
        observer: None,
        state: Arc::new(WorkerState::default()),
    };
    Ok((config, topics))
}

/// A transaction lasts from one barrier to the next.
fn check_transaction(graph: &GroupGraph, options: &ProcessorOptions) -> Result<(), StartError> {
    let (barrier, timeout) = (options.barrier_interval, options.transaction_timeout);
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
