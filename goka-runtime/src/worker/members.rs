//! The members of a worker, one after the other: joins, works until it is to stop, commits what was
//! handled, leaves, and says which end is followed by a new member. Called on the processor's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{IDLE, OnStop, WorkerConfig};
use super::driver::Worker;
use super::services::await_lookup;
use super::watch::Watch;
use crate::core::StopReason;
use crate::log::{LogError, Member};

/// How long after a client died a new one joins.
pub(crate) const REJOIN: Duration = Duration::from_secs(1);
/// A member whose producer is fenced joins once more: a transaction that took too long looks the same.
/// Fenced again within this time, another process uses its transactional id. One whose place in the
/// group was taken never joins again: it would fence the process that took it.
const DUPLICATE_INSTANCE_WINDOW: Duration = Duration::from_secs(60);
/// How often the status of the tasks is reported, while anything happens.
const REPORT: Duration = Duration::from_millis(100);

/// Whether a member that ended is followed by a new one.
#[derive(Debug, Default)]
pub(crate) struct RejoinPolicy {
    /// When a producer was last fenced.
    fenced: Option<Duration>,
}

impl RejoinPolicy {
    /// Whether a new one joins after a member that ended for this cause.
    pub(crate) fn rejoins_after(&self, cause: &StopReason, now: Duration) -> bool {
        let is_recent = |last: Duration| now.saturating_sub(last) < DUPLICATE_INSTANCE_WINDOW;
        match cause {
            StopReason::Member(LogError::ProducerFenced { .. }) => {
                !self.fenced.is_some_and(is_recent)
            }
            StopReason::Member(LogError::Client { .. }) | StopReason::NewInput { .. } => true,
            _ => false,
        }
    }

    /// Takes the end of a member: a new one joins after [`REJOIN`].
    ///
    /// # Errors
    /// The cause, when none does.
    pub(crate) fn member_ended(
        &mut self,
        cause: StopReason,
        now: Duration,
    ) -> Result<(), StopReason> {
        if !self.rejoins_after(&cause, now) {
            return Err(cause);
        }
        if matches!(cause, StopReason::Member(LogError::ProducerFenced { .. })) {
            self.fenced = Some(now);
        }
        tracing::warn!(%cause, "member ended, joining again");
        Ok(())
    }
}

/// Runs until it is to stop, or cannot go on.
pub(crate) fn run(config: &Arc<WorkerConfig>) -> Result<(), StopReason> {
    #[cfg(feature = "cli")]
    crate::crash::watch_thread(&config.plan.group, &config.state.in_hand);
    let ended = run_members(config);
    config.state.forget_outage();
    ended
}

fn run_members(config: &Arc<WorkerConfig>) -> Result<(), StopReason> {
    let mut rejoin = RejoinPolicy::default();
    for (table, view) in &config.lookups {
        if !await_lookup(table, view, &config.state)? {
            return Ok(());
        }
    }
    loop {
        let ended = match config.log.join(&config.plan.group) {
            Ok(member) => run_member(config, member, &rejoin),
            // A member that cannot even be made at first is configured wrongly.
            Err(error) if !config.state.has_run() => return Err(StopReason::Member(error)),
            Err(error) => Err(StopReason::Member(error)),
        };
        match ended {
            Ok(()) => return Ok(()),
            Err(cause) => rejoin.member_ended(cause, config.clock.monotonic())?,
        }
        let began = Instant::now();
        while began.elapsed() < REJOIN {
            if config.state.stops() {
                return Ok(());
            }
            std::thread::park_timeout(IDLE);
        }
    }
}

/// Runs one member from its first poll until it has left.
fn run_member(
    config: &Arc<WorkerConfig>,
    mut member: Box<dyn Member>,
    rejoin: &RejoinPolicy,
) -> Result<(), StopReason> {
    let mut worker = Worker::new(config);
    let watch = Watch::start(config, &*member);
    let ended = work(config, &mut worker, &mut *member);
    if ended.is_ok() || worker.can_drain() {
        drain(config, &mut worker, &mut *member);
    }
    worker.report();
    drop(watch);
    leave(config, member, rejoin, ended)
}

/// Works until it is to stop.
fn work(
    config: &WorkerConfig,
    worker: &mut Worker,
    member: &mut dyn Member,
) -> Result<(), StopReason> {
    let mut reported = Instant::now();
    while !config.state.stops() {
        if worker.is_report_due && reported.elapsed() >= REPORT {
            worker.report();
            (worker.is_report_due, reported) = (false, Instant::now());
        }
        worker.turn(member)?;
    }
    Ok(())
}

/// Ends what was handled: no more intake, barriers and flushes until all is durable.
fn drain(config: &WorkerConfig, worker: &mut Worker, member: &mut dyn Member) {
    let deadline = Instant::now() + config.stop_timeout / 2;
    while !worker.drain_turn(member) {
        if Instant::now() >= deadline {
            tracing::warn!("last barrier not ended in time; its records are read again");
            return;
        }
        if member.poll(IDLE, worker).is_err() {
            return;
        }
    }
}

/// Leaves the group. A member that another one follows keeps its place for that one; a process whose
/// place another process has taken must not take it back, so this error replaces every other.
fn leave(
    config: &WorkerConfig,
    member: Box<dyn Member>,
    rejoin: &RejoinPolicy,
    ended: Result<(), StopReason>,
) -> Result<(), StopReason> {
    // Draining took up to half of the time.
    let deadline = Instant::now() + config.stop_timeout * 2 / 5;
    let keeps_place = match &ended {
        Ok(()) => config.on_stop == OnStop::Keep && !config.state.has_stopped(),
        Err(cause) => rejoin.rejoins_after(cause, config.clock.monotonic()),
    };
    let left = if keeps_place {
        member.close(deadline)
    } else {
        member.leave(deadline)
    };
    match left {
        Err(error @ LogError::InstanceFenced { .. }) if ended.is_err() => {
            return Err(StopReason::Member(error));
        }
        Err(error) => tracing::warn!(%error, "member did not leave in time"),
        Ok(()) => {}
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_producer_joins_once_more_and_a_replaced_instance_never() {
        let producer = || {
            StopReason::Member(LogError::ProducerFenced {
                who: "p".into(),
                reason: "newer".into(),
            })
        };
        let instance = StopReason::Member(LogError::InstanceFenced {
            who: "i".into(),
            reason: "newer".into(),
        });
        let mut rejoin = RejoinPolicy::default();
        assert_eq!(rejoin.member_ended(producer(), Duration::ZERO), Ok(()));
        let soon = DUPLICATE_INSTANCE_WINDOW / 2;
        assert_eq!(rejoin.member_ended(producer(), soon), Err(producer()));
        assert_eq!(
            rejoin.member_ended(producer(), DUPLICATE_INSTANCE_WINDOW),
            Ok(())
        );
        assert_eq!(
            RejoinPolicy::default().member_ended(instance.clone(), Duration::ZERO),
            Err(instance)
        );
    }
}
