//! One member after the other: which end is followed by a new one, and when. Made by the processor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::services::await_lookup;
use super::{IDLE, Worker, WorkerConfig};
use crate::core::StopReason;
use crate::log::LogError;

/// After a client died, a new one joins after so long.
pub(crate) const REJOIN: Duration = Duration::from_secs(1);
/// A member whose producer is fenced joins once more: a transaction that took too long looks the same.
/// Fenced again within so long, another process uses its transactional id. One whose place in the
/// group was taken never joins again: it would put out the process that took it.
const DUPLICATE_INSTANCE_WINDOW: Duration = Duration::from_secs(60);

/// Whether a member that ended is followed by a new one.
#[derive(Debug, Default)]
pub(crate) struct RejoinPolicy {
    fenced: Option<Duration>,
}

impl RejoinPolicy {
    /// Whether a new one joins after a member that ended so.
    pub(crate) fn is_followed(&self, cause: &StopReason, now: Duration) -> bool {
        let is_recent = |last: Duration| now.saturating_sub(last) < DUPLICATE_INSTANCE_WINDOW;
        match cause {
            StopReason::Member(LogError::ProducerFenced { .. }) => {
                !self.fenced.is_some_and(is_recent)
            }
            StopReason::Member(LogError::Client { .. }) | StopReason::NewInput { .. } => true,
            _ => false,
        }
    }

    /// A new one joins, after [`REJOIN`].
    ///
    /// # Errors
    /// The cause, when that would help nobody.
    pub(crate) fn after(&mut self, cause: StopReason, now: Duration) -> Result<(), StopReason> {
        if !self.is_followed(&cause, now) {
            return Err(cause);
        }
        if matches!(cause, StopReason::Member(LogError::ProducerFenced { .. })) {
            self.fenced = Some(now);
        }
        tracing::warn!(%cause, "member ended, joining again");
        Ok(())
    }
}

/// Runs until told to stop, or until it cannot go on.
pub(crate) fn run(parts: &Arc<WorkerConfig>) -> Result<(), StopReason> {
    #[cfg(feature = "cli")]
    crate::crash::watch_thread(&parts.plan.group, &parts.signals.in_hand);
    let ended = run_members(parts);
    parts.signals.forget_outage();
    ended
}

/// Runs one member after the other.
fn run_members(parts: &Arc<WorkerConfig>) -> Result<(), StopReason> {
    let mut again = RejoinPolicy::default();
    for (table, view) in &parts.lookups {
        if !await_lookup(table, view, &parts.signals)? {
            return Ok(());
        }
    }
    loop {
        let ended = match parts.log.join(&parts.plan.group) {
            Ok(member) => Worker::new(parts).run(member, &again),
            // One that cannot be made at all was configured wrongly.
            Err(error) if !parts.signals.has_run() => return Err(StopReason::Member(error)),
            Err(error) => Err(StopReason::Member(error)),
        };
        match ended {
            Ok(()) => return Ok(()),
            Err(cause) => again.after(cause, parts.clock.monotonic())?,
        }
        let wait = Instant::now();
        while wait.elapsed() < REJOIN {
            if parts.signals.stops() {
                return Ok(());
            }
            std::thread::park_timeout(IDLE);
        }
    }
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
        let mut again = RejoinPolicy::default();
        assert_eq!(again.after(producer(), Duration::ZERO), Ok(()));
        let soon = DUPLICATE_INSTANCE_WINDOW / 2;
        assert_eq!(again.after(producer(), soon), Err(producer()));
        assert_eq!(again.after(producer(), DUPLICATE_INSTANCE_WINDOW), Ok(()));
        assert_eq!(
            RejoinPolicy::default().after(instance.clone(), Duration::ZERO),
            Err(instance)
        );
    }
}
