//! A process of a run: one worker for each processor on a disk of its own. It dies, stops and starts as
//! the schedule says; by itself it does what a service does: joins again where that helps, and is
//! started anew by whoever watches over it where it does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::schedule::HandlerTakes;
use crate::core::{RecordId, StopReason};
use crate::log::simulated::{Happened, Simulated, Wrote};
use crate::processor::{StartError, TaskStatus};
use crate::record::Appends;
use crate::table::redb::SimulatedDisk;
use crate::tester::scheduler::SimulatedWorker;
use crate::worker::{HandlerObserver, REJOIN, RejoinPolicy, WorkerConfig};

/// How long whoever watches over a process takes to start it anew.
const WATCH: Duration = Duration::from_millis(500);

/// Tells the log's history what handlers did.
struct Eyes {
    log: Simulated,
    group: Arc<str>,
    topics: Vec<Arc<str>>,
    client: AtomicU64,
    takes: HandlerTakes,
}

impl HandlerObserver for Eyes {
    fn handling_takes(&self, record: &RecordId) -> Duration {
        (self.takes)(record)
    }

    fn handled(&self, record: RecordId, appends: &Appends, first: usize) {
        let topic = |id: u16| self.topics[usize::from(id)].clone();
        let wrote = (first..appends.len()).filter_map(|at| appends.at(at));
        let wrote = wrote.map(|append| Wrote::of(topic(append.topic.0), &append));
        self.log.tell_history(Happened::Handled {
            client: self.client.load(Ordering::Relaxed),
            group: self.group.clone(),
            topic: topic(record.topic.0),
            partition: record.task.partition,
            offset: record.offset,
            wrote: wrote.collect(),
        });
    }
}

/// A worker, and what is known of its member.
struct Seat {
    hand: SimulatedWorker,
    eyes: Arc<Eyes>,
    again: RejoinPolicy,
    /// When another member joins.
    rejoins: Option<Duration>,
}

impl Seat {
    fn join(
        mut parts: WorkerConfig,
        log: &Simulated,
        takes: HandlerTakes,
    ) -> Result<Self, StopReason> {
        let eyes = Arc::new(Eyes {
            log: log.clone(),
            group: parts.plan.group.name.clone(),
            topics: parts.plan.group.topics.clone(),
            client: AtomicU64::new(0),
            takes,
        });
        parts.observer = Some(eyes.clone());
        let hand = SimulatedWorker::join(parts).map_err(StopReason::Member)?;
        let seat = Self {
            hand,
            eyes,
            again: RejoinPolicy::default(),
            rejoins: None,
        };
        seat.known();
        Ok(seat)
    }

    fn known(&self) {
        let client = self.eyes.log.last_client();
        self.eyes.client.store(client, Ordering::Relaxed);
    }

    /// One turn; says whether anything happened.
    fn turn(&mut self, now: Duration) -> Result<bool, StopReason> {
        if let Some(at) = self.rejoins {
            if now < at {
                return Ok(false);
            }
            self.hand.rejoin().map_err(StopReason::Member)?;
            self.known();
            self.rejoins = None;
        }
        let moved = self.hand.turn();
        if let Some(cause) = self.hand.ended().cloned() {
            self.again.member_ended(cause, now)?;
            self.rejoins = Some(now + REJOIN);
        }
        Ok(moved)
    }

    fn stopped(&self) -> Option<StopReason> {
        let status = self.hand.parts().state.status.lock();
        let status = status.unwrap_or_else(PoisonError::into_inner);
        let cause = |task: &TaskStatus| task.stopped.clone();
        status.values().find_map(cause)
    }
}

/// What a process ended for, or a part of it.
#[derive(Debug, Clone)]
pub(super) enum Halt {
    Start(Arc<StartError>),
    Stopped(StopReason),
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Halt::Start(error) => write!(f, "it does not start: {error}"),
            Halt::Stopped(cause) => write!(f, "it stopped: {cause}"),
        }
    }
}

/// A process, there or not.
pub(super) struct Process {
    pub(super) disk: SimulatedDisk,
    seats: Vec<Seat>,
    /// How often it started.
    pub(super) starts: u64,
    /// The disk's life that it began in: another one now, and it is dead.
    life: u64,
    pub(super) stalled: Duration,
    /// When whoever watches over it starts it anew.
    pub(super) watched: Option<Duration>,
    last: usize,
}

impl Process {
    pub(super) fn new(disk: SimulatedDisk) -> Self {
        Self {
            disk,
            seats: Vec::new(),
            starts: 0,
            life: 0,
            stalled: Duration::ZERO,
            watched: None,
            last: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !self.seats.is_empty()
    }

    /// Whether the power went while it wrote.
    pub(super) fn has_lost_power(&self) -> bool {
        self.is_up() && self.disk.life() != self.life
    }

    /// Starts its workers.
    pub(super) fn start(
        &mut self,
        log: &Simulated,
        takes: &HandlerTakes,
        parts: impl FnOnce(&SimulatedDisk, u64) -> Result<Vec<WorkerConfig>, StartError>,
    ) -> Result<(), Halt> {
        self.watched = None;
        self.starts += 1;
        self.life = self.disk.life();
        let parts = parts(&self.disk, self.starts);
        let parts = parts.map_err(|error| Halt::Start(Arc::new(error)))?;
        for parts in parts {
            let seat = Seat::join(parts, log, takes.clone()).map_err(Halt::Stopped)?;
            self.seats.push(seat);
        }
        Ok(())
    }

    /// One of its workers has a turn; says whether anything happened.
    pub(super) fn turn(&mut self, now: Duration) -> Result<bool, Halt> {
        self.last = (self.last + 1) % self.seats.len().max(1);
        let Some(seat) = self.seats.get_mut(self.last) else {
            return Ok(false);
        };
        seat.turn(now).map_err(Halt::Stopped)
    }

    /// What a process does beside its handlers while they run: its members stay in their groups.
    pub(super) fn keep_alive(&self) {
        for seat in &self.seats {
            seat.hand.keep_alive();
        }
    }

    /// The longest that handlers ran in one turn, beyond what a turn may take. Asking forgets it.
    pub(super) fn endless(&mut self) -> Option<Duration> {
        let mut seats = self.seats.iter_mut();
        seats.find_map(|seat| seat.hand.endless())
    }

    /// How many workers it has.
    pub(super) fn workers(&self) -> usize {
        self.seats.len()
    }

    /// Why a partition stands still, if one does.
    pub(super) fn stopped(&self) -> Option<StopReason> {
        self.seats.iter().find_map(Seat::stopped)
    }

    /// The most memory that one of its workers takes.
    pub(super) fn memory(&self) -> usize {
        let taken = self.seats.iter().map(|seat| seat.hand.memory());
        taken.max().unwrap_or(0)
    }

    /// Dies: nothing that it does arrives, its files are as it left them.
    pub(super) fn die(&mut self, log: &Simulated) {
        for seat in &mut self.seats {
            log.kill_client(seat.eyes.client.load(Ordering::Relaxed));
            seat.hand.crash();
        }
        self.seats.clear();
    }

    /// Stops in order.
    pub(super) fn stop(&mut self) {
        for seat in &mut self.seats {
            seat.hand.stop();
        }
        self.seats.clear();
        self.disk.kill();
    }

    /// Is started anew a little later.
    pub(super) fn watch(&mut self, now: Duration) {
        self.watched = Some(now + WATCH);
    }
}
