//! The request to stop a program: by a signal, by the program itself, or by an error. The background
//! closures wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::error::{RunError, WaitError};
use crate::lock::lock;

/// Exit code after a second signal, which ends the program without draining.
const EXIT_UNDRAINED: i32 = 2;

#[derive(Debug, Default)]
pub(crate) struct Stop {
    signalled: Arc<AtomicBool>,
    requested: Mutex<bool>,
    changed: Condvar,
    /// A partition that has stopped, or a processor that has ended, and why.
    failure: Mutex<Option<WaitError>>,
}

impl Stop {
    /// From now on the first SIGINT or SIGTERM requests a stop, and the second ends the process at once.
    pub(crate) fn on_signals(&self) -> Result<(), RunError> {
        for signal in [SIGINT, SIGTERM] {
            // The order matters: this handler reads the flag before the next one sets it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                EXIT_UNDRAINED,
                self.signalled.clone(),
            )
            .and_then(|_| signal_hook::flag::register(signal, self.signalled.clone()))
            .map_err(|source| RunError::Signal { signal, source })?;
        }
        Ok(())
    }

    pub(crate) fn request(&self) {
        *lock(&self.requested) = true;
        self.changed.notify_all();
    }

    /// Whether a stop was requested. Signals are noticed here, so this has to be called from time to time.
    pub(crate) fn is_requested(&self) -> bool {
        if self.signalled.load(Ordering::Acquire) {
            self.request();
        }
        *lock(&self.requested)
    }

    /// Sets which partition has stopped or which processor has ended, if one has: waits for them end with
    /// that error.
    pub(crate) fn note_failure(&self, failure: Option<WaitError>) {
        *lock(&self.failure) = failure;
    }

    /// A partition that has stopped, or a processor that has ended, and why.
    pub(crate) fn failure(&self) -> Option<WaitError> {
        lock(&self.failure).clone()
    }

    /// Waits for `time`, or until a stop is requested; returns whether to go on.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.requested), time, |requested| !*requested);
        let (requested, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !*requested
    }
}
