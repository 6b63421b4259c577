//! The tokio runtime of asynchronous handlers and of what they spawn: one for each processor, made when the
//! first of them is called. It outlives the clients, as the processor's value does, and has a thread of
//! its own: connection pools and timers go on between records. Made by the processor, used by handlers.

use std::io;
use std::sync::OnceLock;
#[cfg(feature = "tester")]
use std::sync::{Mutex, PoisonError};
#[cfg(feature = "tester")]
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock;
use crate::dispatch::Handling;
use crate::shared_error::HandlerError;

/// On a simulated clock, how often spawned futures are polled in a turn.
#[cfg(feature = "tester")]
const YIELDS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Executor {
    runtime: OnceLock<Runtime>,
    /// On a simulated clock, the time that its timers have come to.
    #[cfg(feature = "tester")]
    timers: Mutex<Duration>,
}

impl Executor {
    /// Runs a handler to its end, on the thread that calls.
    ///
    /// # Errors
    /// The handler's own; when no runtime can be made.
    pub(super) fn drive(&self, clock: &Clock, handling: Handling<'_>) -> Result<(), HandlerError> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let made = self.make(clock)?;
                self.runtime.get_or_init(|| made)
            }
        };
        runtime.block_on(handling)
    }

    /// On a simulated clock there is no thread, and a timer that the handler itself waits for fires at
    /// once.
    fn make(&self, clock: &Clock) -> io::Result<Runtime> {
        #[cfg(feature = "tester")]
        if clock.is_simulated() {
            *self.timers() = clock.monotonic();
            return Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build();
        }
        let _ = clock;
        Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("goka-async")
            .enable_all()
            .build()
    }

    /// On a simulated clock, runs what handlers spawned: timers fire up to the time of now.
    #[cfg(feature = "tester")]
    pub(super) fn run_spawned(&self, clock: &Clock) {
        let Some(runtime) = self.runtime.get().filter(|_| clock.is_simulated()) else {
            return;
        };
        let now = clock.monotonic();
        let passed = now.saturating_sub(std::mem::replace(&mut *self.timers(), now));
        runtime.block_on(async {
            tokio::time::advance(passed).await;
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
        });
    }

    #[cfg(feature = "tester")]
    fn timers(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // What handlers spawned is not waited for: what counts is committed by then.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
