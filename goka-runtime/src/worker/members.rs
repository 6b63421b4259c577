//! One member after the other: which end is followed by a new one, and when. Made by the processor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reach::await_lookup;
use super::{IDLE, Parts, Worker};
use crate::core::Cause;
use crate::log::LogError;

/// After a client died, a new one joins after so long.
pub(crate) const REJOIN: Duration = Duration::from_secs(1);
/// A member whose producer is fenced joins once more: a transaction that took too long looks the same.
/// Fenced again within so long, another process uses its transactional id. One whose place in the
/// group was taken never joins again: it would put out the process that took it.
const FENCED_TWICE: Duration = Duration::from_secs(60);

/// Whether a member that ended is followed by a new one.
#[derive(Debug, Default)]
pub(crate) struct Again {
    fenced: Option<Duration>,
}

impl Again {
    /// Whether a new one joins after a member that ended so.
    pub(crate) fn is_followed(&self, cause: &Cause, now: Duration) -> bool {
        let is_recent = |last: Duration| now.saturating_sub(last) < FENCED_TWICE;
        match cause {
            Cause::Member(LogError::ProducerFenced { .. }) => !self.fenced.is_some_and(is_recent),
            Cause::Member(LogError::Client { .. }) | Cause::NewInput { .. } => true,
            _ => false,
        }
    }

    /// A new one joins, after [`REJOIN`].
    ///
    /// # Errors
    /// The cause, when that would help nobody.
    pub(crate) fn after(&mut self, cause: Cause, now: Duration) -> Result<(), Cause> {
        if !self.is_followed(&cause, now) {
            return Err(cause);
        }
        if matches!(cause, Cause::Member(LogError::ProducerFenced { .. })) {
            self.fenced = Some(now);
        }
        tracing::warn!(%cause, "member ended, joining again");
        Ok(())
    }
}

/// Runs until told to stop, or until it cannot go on.
pub(crate) fn run(parts: &Arc<Parts>) -> Result<(), Cause> {
    #[cfg(feature = "cli")]
    crate::crash::watch_thread(&parts.plan.group, &parts.signals.in_hand);
    let ended = run_members(parts);
    parts.signals.forget_outage();
    ended
}

/// Runs one member after the other.
fn run_members(parts: &Arc<Parts>) -> Result<(), Cause> {
    let mut again = Again::default();
    for (table, view) in &parts.lookups {
        if !await_lookup(table, view, &parts.signals)? {
            return Ok(());
        }
    }
    loop {
        let ended = match parts.log.join(&parts.plan.group) {
            Ok(member) => Worker::new(parts).run(member, &again),
            // One that cannot be made at all was configured wrongly.
            Err(error) if !parts.signals.has_run() => return Err(Cause::Member(error)),
            Err(error) => Err(Cause::Member(error)),
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
            Cause::Member(LogError::ProducerFenced {
                who: "p".into(),
                reason: "newer".into(),
            })
        };
        let instance = Cause::Member(LogError::InstanceFenced {
            who: "i".into(),
            reason: "newer".into(),
        });
        let mut again = Again::default();
        assert_eq!(again.after(producer(), Duration::ZERO), Ok(()));
        let soon = FENCED_TWICE / 2;
        assert_eq!(again.after(producer(), soon), Err(producer()));
        assert_eq!(again.after(producer(), FENCED_TWICE), Ok(()));
        assert_eq!(
            Again::default().after(instance.clone(), Duration::ZERO),
            Err(instance)
        );
    }
}
