//! Watches the processors of a program until it is stopped; then they commit what they have handled, and end.

use std::time::{Duration, Instant};

use super::background::BackgroundThread;
use super::error::WaitError;
use super::stop::Stop;
use crate::log::LogError;
use crate::processor::{Running, StopReason};
use crate::reminder::Reminder;

/// A processor leaves its group when all its partitions have been stopped for so long: an assignment of
/// others may be under way until then.
const ALL_STOPPED_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the processors are checked.
const TICK: Duration = Duration::from_millis(20);

pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a processor that has nothing to commit may take to stop.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Health {
    /// Since when all its partitions have been stopped.
    stopped_since: Option<Instant>,
    is_done: bool,
    reminder: Reminder,
}

/// Waits until a stop is requested, and requests one when no processor has anything left to do and no
/// background closure runs. A processor whose partitions have all stopped leaves its group, and is logged
/// from time to time.
pub(super) fn supervise(
    stop: &Stop,
    processors: &[(&'static str, Running)],
    threads: &[BackgroundThread],
) {
    let mut healths: Vec<_> = processors.iter().map(|_| Health::default()).collect();
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
    if !health.reminder.is_due() {
        return;
    }
    if has_stopped {
        tracing::error!(
            group,
            "every partition of this processor has stopped; fix the cause and restart"
        );
    } else if let Some(cause) = failure {
        tracing::error!(group, %cause, "this processor has ended; fix the cause and restart");
    }
}

/// Stops the processors, and waits for them and the background closures; returns the errors, one a line.
pub(super) fn drain(
    processors: Vec<(&'static str, Running)>,
    threads: Vec<BackgroundThread>,
) -> Vec<String> {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    for (_, running) in &processors {
        running.stop();
    }
    let mut errors = Vec::new();
    let late = |what: &str| {
        let seconds = DRAIN_TIMEOUT.as_secs();
        format!("{what} did not end within {seconds} s; what it had not committed is done again")
    };
    for thread in threads {
        wait_while(|| !thread.is_finished() && Instant::now() < deadline);
        if thread.is_finished() {
            errors.extend(thread.join().err());
        } else {
            errors.push(late("a background closure"));
        }
    }
    // A processor that has nothing to commit may still wait for a log that does not answer.
    let idle_deadline = deadline.min(Instant::now() + IDLE_TIMEOUT);
    for (group, running) in processors {
        let has_nothing = || !running.state().has_uncommitted() && running.in_hand().is_none();
        let is_late = |at: Instant| at >= deadline || (at >= idle_deadline && has_nothing());
        wait_while(|| !running.is_finished() && !is_late(Instant::now()));
        if running.is_finished() {
            errors.extend(running.join().err().map(|error| error.to_string()));
        } else {
            match (running.in_hand(), running.state().has_uncommitted()) {
                (Some(record), _) => {
                    let seconds = DRAIN_TIMEOUT.as_secs();
                    errors.push(format!(
                        "group `{group}` did not end within {seconds} s: its handler still runs with \
                         {record}; the record is not committed, and is handled again after a restart"
                    ));
                }
                (None, true) => errors.push(late(&format!("group `{group}`"))),
                (None, false) => {
                    tracing::warn!(group, "ended without an answer of the log");
                    errors.extend(first_failure(group, &running).map(|error| error.to_string()));
                }
            }
            // Its drop would wait for its threads.
            std::mem::forget(running);
        }
    }
    errors
}

fn wait_while(mut waits: impl FnMut() -> bool) {
    while waits() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
