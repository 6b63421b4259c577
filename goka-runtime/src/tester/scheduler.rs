//! Runs several workers on one simulated clock and one simulated log, a turn at a time. The caller decides
//! the order of turns and moves the clock; [`run_until_idle`] goes round until no worker
//! makes progress. Knows no types of records.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::core::StopReason;
use crate::log::simulated::Simulated;
use crate::log::{Driver, LogError, Member};
use crate::processor::OnStop;
use crate::worker::WorkerConfig;
use crate::worker::driver::Worker;
use crate::worker::executor::Executor;

/// After this many rounds the workers are taken to be in an endless loop.
const ROUNDS: usize = 20_000;
/// The most turns that a worker gets for its last barrier before it is stopped.
const LAST_TURNS: usize = 100;

/// How often spawned futures are polled before a turn.
const YIELDS: usize = 16;

pub(crate) struct SimulatedWorker {
    config: Arc<WorkerConfig>,
    /// The time that the timers of asynchronous handlers have come to; `None` before the first handler was called.
    timers: Option<Duration>,
    /// `None` once it ended.
    running: Option<(Worker, Box<dyn Member>)>,
    ended: Option<StopReason>,
}

impl SimulatedWorker {
    pub(crate) fn join(mut parts: WorkerConfig) -> Result<Self, LogError> {
        // There is no thread, and a timer that a handler itself waits for fires at once.
        parts.executor = Arc::new(Executor {
            make: || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().start_paused(true).build()
            },
            runtime: OnceLock::new(),
        });
        let mut worker = Self {
            config: Arc::new(parts),
            timers: None,
            running: None,
            ended: None,
        };
        worker.rejoin()?;
        Ok(worker)
    }

    /// Joins the group again with a new member, after the previous one has ended.
    pub(crate) fn rejoin(&mut self) -> Result<(), LogError> {
        let member = self.config.log.join(&self.config.plan.group)?;
        self.running = Some((Worker::new(&self.config), member));
        self.ended = None;
        Ok(())
    }

    pub(crate) fn memory(&self) -> usize {
        self.running
            .as_ref()
            .map_or(0, |(worker, _)| worker.memory())
    }

    /// Sends a heartbeat while a handler runs; in production a thread does that.
    pub(crate) fn keep_alive(&self) {
        if let Some((worker, member)) = &self.running
            && worker.is_in_handler()
        {
            member.keep_alive().beat();
        }
    }

    pub(crate) fn config(&self) -> &Arc<WorkerConfig> {
        &self.config
    }

    pub(crate) fn ended(&self) -> Option<&StopReason> {
        self.ended.as_ref()
    }

    /// Whether handlers have deferred work that is not done.
    pub(crate) fn has_guards(&self) -> bool {
        let seat = self.running.as_ref();
        seat.is_some_and(|(worker, _)| worker.has_guards())
    }

    /// Runs what handlers spawned, as far as it can: timers fire up to the time of now.
    fn run_spawned(&mut self) {
        let Some(runtime) = self.config.executor.runtime.get() else {
            return;
        };
        let now = self.config.clock.monotonic();
        let before = self.timers.replace(now).unwrap_or(now);
        runtime.block_on(async {
            tokio::time::advance(now.saturating_sub(before)).await;
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Runs one turn; returns whether it made progress.
    pub(crate) fn turn(&mut self) -> bool {
        self.run_spawned();
        let made_progress = self.worker_turn();
        // What the handlers of this turn spawned begins in it.
        self.run_spawned();
        made_progress
    }

    fn worker_turn(&mut self) -> bool {
        let Some((worker, member)) = &mut self.running else {
            return false;
        };
        match worker.turn(&mut **member) {
            Ok(()) => worker.take_progress(),
            Err(cause) => {
                // As a worker on its own thread does: it runs a last barrier, unless the member has ended.
                match &cause {
                    StopReason::Member(_) => self.crash(),
                    _ => self.stop(),
                }
                self.ended = Some(cause);
                true
            }
        }
    }

    /// Stops cleanly: runs a last barrier, then leaves the group.
    pub(crate) fn stop(&mut self) {
        let Some((mut worker, mut member)) = self.running.take() else {
            return;
        };
        for _ in 0..LAST_TURNS {
            self.run_spawned();
            let is_durable = worker.drain_turn(&mut *member);
            if is_durable
                || member
                    .poll(Duration::ZERO, &mut worker as &mut dyn Driver)
                    .is_err()
            {
                break;
            }
        }
        // Stores close before the group hears that somebody else may open them.
        drop(worker);
        let left = match self.config.on_stop {
            OnStop::Leave => member.leave(Instant::now()),
            OnStop::Keep => member.close(Instant::now()),
        };
        if let Err(error) = left {
            tracing::warn!(%error, "member could not leave the group in time");
        }
    }

    /// Ends at once, without a last barrier. The group notices at once, too, without waiting for the
    /// session timeout.
    pub(crate) fn crash(&mut self) {
        drop(self.running.take());
    }
}

/// Lets the workers on a log take turns until none makes progress; `false` when that does not happen.
pub(super) fn run_until_idle(log: &Simulated, workers: &mut [SimulatedWorker]) -> bool {
    for _ in 0..ROUNDS {
        let (mut made_progress, version) = (false, log.version());
        for worker in &mut *workers {
            made_progress |= worker.turn();
        }
        // A turn without progress may still have changed the log, for others to notice.
        made_progress |= version != log.version();
        if !made_progress && !log.is_rebalancing() {
            return true;
        }
    }
    false
}
