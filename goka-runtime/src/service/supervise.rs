//! Watches the processors of a program until it is stopped.

use std::time::{Duration, Instant};

use super::background::BackgroundThread;
use super::stop::Stop;
use super::wait_error::WaitError;
use crate::log::LogError;
use crate::processor::{Running, StopReason};

/// A processor leaves its group when all its partitions have been stopped for so long: an assignment of
/// others may be under way until then.
const ALL_STOPPED_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is logged that a processor has nothing left to do.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How often the processors are checked.
const TICK: Duration = Duration::from_millis(20);

/// The state of one processor.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    /// Since when all its partitions have been stopped.
    stopped_since: Option<Instant>,
    /// Whether it has nothing left to do.
    is_done: bool,
    /// When that was last logged.
    logged: Option<Instant>,
}

/// Waits until a stop is requested, and requests one when no processor has anything left to do and no
/// background closure runs. A processor whose partitions have all stopped leaves its group, and is logged
/// from time to time.
pub(super) fn supervise(
    stop: &Stop,
    processors: &[(&'static str, Running)],
    threads: &[BackgroundThread],
) {
    let mut healths = vec![Health::default(); processors.len()];
    while !stop.is_requested() {
        let mut failure = None;
        for ((group, running), health) in processors.iter().zip(&mut healths) {
            failure = failure.or_else(|| first_failure(group, running));
            check(stop, group, running, health);
        }
        stop.note_failure(failure);
        let is_done = healths.iter().all(|health| health.is_done);
        if is_done && threads.iter().all(BackgroundThread::is_finished) {
            stop.request();
        }
        stop.wait(TICK);
    }
}

/// The first partition of a processor that has stopped, or why the processor has ended.
pub(super) fn first_failure(group: &str, running: &Running) -> Option<WaitError> {
    let group = group.to_owned();
    if let Some((partition, source)) = running.state().first_stopped() {
        return Some(WaitError::Stopped {
            group,
            partition,
            source,
        });
    }
    let source = running.state().failure()?;
    Some(WaitError::Ended { group, source })
}

fn check(stop: &Stop, group: &str, running: &Running, health: &mut Health) {
    let now = Instant::now();
    match running.state().has_stopped() {
        true => drop(health.stopped_since.get_or_insert(now)),
        false if health.is_done => {}
        false => health.stopped_since = None,
    }
    let has_stopped = health
        .stopped_since
        .is_some_and(|since| now.duration_since(since) >= ALL_STOPPED_TIMEOUT);
    if !has_stopped && !running.is_finished() {
        return;
    }
    if !std::mem::replace(&mut health.is_done, true) {
        running.stop();
    }
    let failure = running.state().failure();
    if let Some(StopReason::Member(LogError::InstanceFenced { .. })) = failure {
        // Another process uses the name of this instance: the whole program stops.
        stop.request();
    }
    if health
        .logged
        .is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL)
    {
        return;
    }
    health.logged = Some(now);
    if has_stopped {
        tracing::error!(
            group,
            "every partition of this processor has stopped; fix the cause and restart"
        );
    } else if let Some(cause) = failure {
        tracing::error!(group, %cause, "this processor has ended; fix the cause and restart");
    }
}
