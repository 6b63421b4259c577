//! Several workers on one simulated clock and one simulated log, a turn at a time. In which order they
//! take their turns, and when the clock moves, is decided by whoever drives: here by [`TurnScheduler::rest`],
//! which goes round until nothing happens any more. Knows no types of records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::{StopReason, TURN};
use crate::log::simulated::Simulated;
use crate::log::{Driver, LogError, Member};
use crate::processor::OnStop;
use crate::worker::{Worker, WorkerConfig};

/// So many rounds without rest are a circle that never ends.
const ROUNDS: usize = 20_000;
/// So many turns a worker has to make durable what it handled, before it is stopped all the same.
const LAST_TURNS: usize = 100;

/// One worker with its member.
pub(crate) struct SimulatedWorker {
    parts: Arc<WorkerConfig>,
    /// `None` once it ended.
    seat: Option<(Worker, Box<dyn Member>)>,
    ended: Option<StopReason>,
}

impl SimulatedWorker {
    /// Joins the group.
    ///
    /// # Errors
    /// What the log answers.
    pub(crate) fn join(parts: WorkerConfig) -> Result<Self, LogError> {
        let parts = Arc::new(parts);
        let member = parts.log.join(&parts.plan.group)?;
        Ok(Self {
            seat: Some((Worker::new(&parts), member)),
            parts,
            ended: None,
        })
    }

    /// Another member, after one that ended.
    ///
    /// # Errors
    /// What the log answers.
    pub(crate) fn rejoin(&mut self) -> Result<(), LogError> {
        let member = self.parts.log.join(&self.parts.plan.group)?;
        self.seat = Some((Worker::new(&self.parts), member));
        self.ended = None;
        Ok(())
    }

    /// The memory of all its copies, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.seat.as_ref().map_or(0, |(worker, _)| worker.memory())
    }

    /// Keeps the member in its group while a handler runs, as a thread does by the machine's clock.
    pub(crate) fn keep_alive(&self) {
        if let Some((worker, member)) = &self.seat
            && worker.is_in_handler()
        {
            member.keep_alive().beat();
        }
    }

    /// How long the handlers of the last turn ran, if that is longer than a turn may be.
    pub(crate) fn endless(&mut self) -> Option<Duration> {
        let (worker, _) = self.seat.as_mut()?;
        let (turn, longest) = worker.take_handling();
        (turn > TURN + longest).then_some(turn)
    }

    /// What it is made of.
    pub(crate) fn parts(&self) -> &Arc<WorkerConfig> {
        &self.parts
    }

    /// Why it could not go on.
    pub(crate) fn ended(&self) -> Option<&StopReason> {
        self.ended.as_ref()
    }

    /// Whether handlers left work behind that is not done.
    pub(crate) fn has_guards(&self) -> bool {
        let seat = self.seat.as_ref();
        seat.is_some_and(|(worker, _)| worker.has_guards())
    }

    /// One turn; says whether anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        let Some((worker, member)) = &mut self.seat else {
            return false;
        };
        match worker.turn(&mut **member) {
            Ok(()) => worker.take_progress(),
            Err(cause) => {
                // As a worker with a thread of its own does: what it handled is made durable, where
                // the member still serves for that.
                match &cause {
                    StopReason::Member(_) => self.crash(),
                    _ => self.stop(),
                }
                self.ended = Some(cause);
                true
            }
        }
    }

    /// Ends in order: makes durable what was handled, then leaves the group.
    pub(crate) fn stop(&mut self) {
        let Some((mut worker, mut member)) = self.seat.take() else {
            return;
        };
        for _ in 0..LAST_TURNS {
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
        let left = match self.parts.on_stop {
            OnStop::Leave => member.leave(Instant::now()),
            OnStop::Keep => member.close(Instant::now()),
        };
        if let Err(error) = left {
            tracing::warn!(%error, "the member did not leave in time");
        }
    }

    /// Ends at once: what was not committed is not. The group notices as when the session of a member
    /// that died is over, only that nobody has to wait for that.
    pub(crate) fn crash(&mut self) {
        drop(self.seat.take());
    }
}

/// Workers that share a log and a clock.
pub(super) struct TurnScheduler {
    log: Simulated,
    hands: Vec<SimulatedWorker>,
}

impl TurnScheduler {
    pub(super) fn new(log: Simulated) -> Self {
        let hands = Vec::new();
        Self { log, hands }
    }

    /// Another worker, last in turn.
    pub(super) fn add(&mut self, hand: SimulatedWorker) {
        self.hands.push(hand);
    }

    pub(super) fn hands(&self) -> &[SimulatedWorker] {
        &self.hands
    }

    /// Takes the first so many workers out, each ended as told.
    pub(super) fn end(&mut self, count: usize, end: fn(&mut SimulatedWorker)) {
        self.hands[..count].iter_mut().for_each(end);
        self.hands.drain(..count);
    }

    /// Lets the workers take turns until nothing happens any more; `false` when that never comes.
    pub(super) fn rest(&mut self) -> bool {
        for _ in 0..ROUNDS {
            let (mut moved, version) = (false, self.log.version());
            for hand in &mut self.hands {
                moved |= hand.turn();
            }
            // A worker may have heard of nothing, and somebody else hear of what its member did.
            moved |= version != self.log.version();
            if !moved && !self.log.is_rebalancing() {
                return true;
            }
        }
        false
    }
}
