//! The end of a program: asked for by a signal, by the program itself, or by an error. Waited for
//! by everything that runs beside the processors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::app_handle::WaitError;
use super::error::CliError;

/// Exit code when a second signal does not let the program drain.
const CUT_SHORT: i32 = 2;

/// Whether the program is to end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    signalled: Arc<AtomicBool>,
    asked: Mutex<bool>,
    changed: Condvar,
    /// A partition that has stopped, or a processor that has ended, and why.
    failure: Mutex<Option<WaitError>>,
}

impl Stop {
    /// From now on the first SIGINT or SIGTERM asks for the end, and the second ends at once.
    pub(super) fn on_signals(&self) -> Result<(), CliError> {
        for signal in [SIGINT, SIGTERM] {
            // The order matters: this one looks at the flag before the next one sets it.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                CUT_SHORT,
                self.signalled.clone(),
            )
            .and_then(|_| signal_hook::flag::register(signal, self.signalled.clone()))
            .map_err(|error| {
                CliError::new(format!("signal {signal} cannot be handled: {error}"))
            })?;
        }
        Ok(())
    }

    /// Asks for the end.
    pub(super) fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether the end was asked for. A signal is noticed here, so somebody has to look.
    pub(super) fn is_asked(&self) -> bool {
        if self.signalled.load(Ordering::Acquire) {
            self.ask();
        }
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which partition has stopped or which processor has ended, if one has, so that nothing
    /// waits for it for ever.
    pub(super) fn note_failure(&self, failure: Option<WaitError>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// A partition that has stopped, or a processor that has ended, and why.
    pub(super) fn failure(&self) -> Option<WaitError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    /// Waits so long, or until the end is asked for; says whether to go on.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        while !*asked {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            asked = match self.changed.wait_timeout(asked, left) {
                Ok((asked, _)) => asked,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        false
    }
}
