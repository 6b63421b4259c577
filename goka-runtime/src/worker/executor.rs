//! What asynchronous handlers run on, with whatever they spawn: one runtime a processor, made when the
//! first of them is called. It outlives the clients, as what handlers share does, and has a thread of its
//! own: connection pools and timers go on between records. Made by the processor, used by handlers.

use std::io;
use std::sync::OnceLock;
#[cfg(feature = "tester")]
use std::sync::{Mutex, PoisonError};
#[cfg(feature = "tester")]
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::clock::Clock;
use crate::dispatch::Handling;
use crate::error::HandlerError;

/// On a simulated clock, so often what handlers spawned goes on in a turn.
#[cfg(feature = "tester")]
const YIELDS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Executor {
    runtime: OnceLock<Runtime>,
    /// How far its timers have come on a simulated clock.
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

    /// On a simulated clock no thread runs beside the others and no timer is waited for: one that the
    /// handler itself waits for fires at once.
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

    /// On a simulated clock, what handlers spawned goes on: timers fire up to the time of now.
    #[cfg(feature = "tester")]
    pub(super) fn go_on(&self, clock: &Clock) {
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
        // What handlers left behind is not waited for: a processor that stops has settled what counts.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
