//! The tokio runtime of asynchronous handlers and of what they spawn: one for each processor, made when the
//! first of them is called. It outlives the clients, as the processor's value does, and has a thread of
//! its own: connection pools and timers go on between records. Made by the processor, used by handlers.

use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::dispatch::Handling;
use crate::shared_error::HandlerError;

#[derive(Debug)]
pub(crate) struct Executor {
    /// Makes the runtime.
    pub(crate) make: fn() -> io::Result<Runtime>,
    pub(crate) runtime: OnceLock<Runtime>,
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            make: || {
                Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name("goka-async")
                    .enable_all()
                    .build()
            },
            runtime: OnceLock::new(),
        }
    }
}

impl Executor {
    /// Runs a handler to its end, on the thread that calls.
    ///
    /// # Errors
    /// The handler's own; when no runtime can be made.
    pub(super) fn drive(&self, handling: Handling<'_>) -> Result<(), HandlerError> {
        let runtime = match self.runtime.get() {
            Some(runtime) => runtime,
            None => {
                let made = (self.make)()?;
                self.runtime.get_or_init(|| made)
            }
        };
        runtime.block_on(handling)
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
