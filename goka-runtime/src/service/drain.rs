//! The end of a program: its processors commit what they have handled, and stop.

use std::time::{Duration, Instant};

use super::background::BackgroundThread;
use super::supervise::first_failure;
use crate::processor::Running;

/// How long draining may take.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a processor that has nothing to commit may take to stop.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

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
