//! A process of a run: one worker for each processor, on a disk of its own. It is killed, stopped and
//! started as the schedule says. Otherwise it does what a service does: it joins its group again where
//! that helps, and is restarted by its supervisor where it does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::SimulatedDisk;
use super::schedule::HandlerTime;
use crate::core::turn_limit::TURN;
use crate::core::{RecordId, StopReason};
use crate::lock::lock;
use crate::log::simulated::{Happened, MemberOffset, RecordPlace, Simulated, Wrote};
use crate::processor::StartError;
use crate::record::Appends;
use crate::tester::scheduler::SimulatedWorker;
use crate::worker::WorkerConfig;
use crate::worker::config::HandlerObserver;
use crate::worker::members::{REJOIN, RejoinPolicy};

/// The time that the handlers of a worker take.
#[derive(Debug, Clone, Copy, Default)]
struct Handling {
    /// When the last handler is done.
    until: Duration,
    /// What the handlers of the last turn took together.
    turn: Duration,
    /// The longest of them.
    longest: Duration,
}

/// Records in the log's history what handlers did, and gives them time.
struct HistoryRecorder {
    log: Simulated,
    group: Arc<str>,
    topics: Vec<Arc<str>>,
    client: AtomicU64,
    handler_time: HandlerTime,
    handling: Mutex<Handling>,
}

impl HandlerObserver for HistoryRecorder {
    fn began(&self, record: &RecordId, now: Duration) {
        let takes = (self.handler_time)(record);
        let mut handling = lock(&self.handling);
        handling.until = now + takes;
        handling.turn += takes;
        handling.longest = handling.longest.max(takes);
    }

    fn busy_until(&self) -> Duration {
        lock(&self.handling).until
    }

    fn handled(&self, record: RecordId, appends: &Appends, first: usize) {
        let topic = |id: u16| self.topics[usize::from(id)].clone();
        let wrote = (first..appends.len()).filter_map(|at| appends.at(at));
        let wrote = wrote.map(|append| Wrote::of(topic(append.topic.0), &append));
        let of = MemberOffset {
            client: self.client.load(Ordering::Relaxed),
            group: self.group.clone(),
            place: RecordPlace {
                topic: topic(record.topic.0),
                partition: record.task.partition,
                offset: record.offset,
            },
        };
        let handled = Happened::Handled(of, wrote.collect());
        self.log.add_to_history(handled);
    }
}

/// A worker of a process, with the state of its membership.
struct ProcessWorker {
    inner: SimulatedWorker,
    recorder: Arc<HistoryRecorder>,
    rejoin_policy: RejoinPolicy,
    /// When it joins its group again, after its member has ended.
    rejoin_at: Option<Duration>,
}

impl ProcessWorker {
    fn join(
        mut config: WorkerConfig,
        log: &Simulated,
        handler_time: HandlerTime,
    ) -> Result<Self, StopReason> {
        let recorder = Arc::new(HistoryRecorder {
            log: log.clone(),
            group: config.plan.group.name.clone(),
            topics: config.plan.group.topics.clone(),
            client: AtomicU64::new(0),
            handler_time,
            handling: Mutex::default(),
        });
        config.observer = Some(recorder.clone());
        let inner = SimulatedWorker::join(config).map_err(StopReason::Member)?;
        let worker = Self {
            inner,
            recorder,
            rejoin_policy: RejoinPolicy::default(),
            rejoin_at: None,
        };
        worker.note_client();
        Ok(worker)
    }

    /// Notes the client number of the member that has just joined, whose handlers have taken no time yet.
    fn note_client(&self) {
        let client = self.recorder.log.last_client();
        self.recorder.client.store(client, Ordering::Relaxed);
        *lock(&self.recorder.handling) = Handling::default();
    }

    /// How long the handlers of the last turn ran, if that is longer than a turn may be.
    fn overlong_turn(&self) -> Option<Duration> {
        let mut handling = lock(&self.recorder.handling);
        let (turn, longest) = (
            std::mem::take(&mut handling.turn),
            std::mem::take(&mut handling.longest),
        );
        (turn > TURN + longest).then_some(turn)
    }

    /// Runs one turn; returns whether it made progress.
    fn turn(&mut self, now: Duration) -> Result<bool, StopReason> {
        if let Some(at) = self.rejoin_at {
            if now < at {
                return Ok(false);
            }
            self.inner.rejoin().map_err(StopReason::Member)?;
            self.note_client();
            self.rejoin_at = None;
        }
        let made_progress = self.inner.turn();
        if let Some(cause) = self.inner.ended().cloned() {
            self.rejoin_policy.member_ended(cause, now)?;
            self.rejoin_at = Some(now + REJOIN);
        }
        Ok(made_progress)
    }

    fn stopped(&self) -> Option<StopReason> {
        let stopped = self.inner.config().state.first_stopped();
        stopped.map(|(_, cause)| cause)
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Halt {
    #[error("start failed: {0}")]
    Start(Arc<StartError>),
    #[error("stopped: {0}")]
    Stopped(StopReason),
}

pub(super) struct Process {
    pub(super) disk: SimulatedDisk,
    running: Vec<ProcessWorker>,
    pub(super) starts: u64,
    /// The generation of its disk when it started. A later one means that the power was lost since.
    life: u64,
    /// Until when it has no turn.
    pub(super) stalled_until: Duration,
    /// When its supervisor restarts it.
    pub(super) restart_at: Option<Duration>,
    last_turn: usize,
}

impl Process {
    pub(super) fn new(disk: SimulatedDisk) -> Self {
        Self {
            disk,
            running: Vec::new(),
            starts: 0,
            life: 0,
            stalled_until: Duration::ZERO,
            restart_at: None,
            last_turn: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether the power was lost during one of its disk writes.
    pub(super) fn has_lost_power(&self) -> bool {
        self.is_up() && self.disk.life() != self.life
    }

    pub(super) fn start(
        &mut self,
        log: &Simulated,
        handler_time: &HandlerTime,
        configs: impl FnOnce(&SimulatedDisk, u64) -> Result<Vec<WorkerConfig>, StartError>,
    ) -> Result<(), Halt> {
        self.restart_at = None;
        self.starts += 1;
        self.life = self.disk.life();
        let configs = configs(&self.disk, self.starts);
        let configs = configs.map_err(|error| Halt::Start(Arc::new(error)))?;
        for config in configs {
            let worker =
                ProcessWorker::join(config, log, handler_time.clone()).map_err(Halt::Stopped)?;
            self.running.push(worker);
        }
        Ok(())
    }

    /// Runs a turn of its next worker; returns whether that made progress.
    pub(super) fn turn(&mut self, now: Duration) -> Result<bool, Halt> {
        self.last_turn = (self.last_turn + 1) % self.running.len().max(1);
        let Some(worker) = self.running.get_mut(self.last_turn) else {
            return Ok(false);
        };
        worker.turn(now).map_err(Halt::Stopped)
    }

    /// Sends the heartbeats that a process sends while its handlers run.
    pub(super) fn keep_alive(&self) {
        for worker in &self.running {
            worker.inner.keep_alive();
        }
    }

    /// Takes the time of a turn in which handlers ran for longer than a turn may take, if there was one.
    pub(super) fn overlong_turn(&mut self) -> Option<Duration> {
        self.running.iter().find_map(ProcessWorker::overlong_turn)
    }

    pub(super) fn workers(&self) -> usize {
        self.running.len()
    }

    pub(super) fn stopped(&self) -> Option<StopReason> {
        self.running.iter().find_map(ProcessWorker::stopped)
    }

    /// The memory of the worker that takes most, in bytes.
    pub(super) fn memory(&self) -> usize {
        let taken = self.running.iter().map(|worker| worker.inner.memory());
        taken.max().unwrap_or(0)
    }

    /// Kills it: nothing of what it sent arrives any more, and its files stay as they are.
    pub(super) fn die(&mut self, log: &Simulated) {
        for worker in &mut self.running {
            log.kill_client(worker.recorder.client.load(Ordering::Relaxed));
            worker.inner.crash();
        }
        self.running.clear();
    }

    pub(super) fn stop(&mut self) {
        for worker in &mut self.running {
            worker.inner.stop();
        }
        self.running.clear();
        self.disk.kill();
    }
}
