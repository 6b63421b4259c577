//! The closures that run beside the processors, each on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::app_handle::AppHandle;
use super::error::WaitError;
use crate::emitter::EmitError;
use crate::log::LogError;
use crate::shared_error::{HandlerError, panic_text};
use crate::view::ViewError;

pub(crate) type Body = Box<dyn FnOnce(&AppHandle) -> Result<(), HandlerError> + Send>;

#[derive(Debug)]
pub(crate) struct BackgroundThread {
    handle: JoinHandle<Result<(), String>>,
}

impl BackgroundThread {
    /// Starts the closure. If it fails the program stops: the closure may be what would have stopped it.
    pub(crate) fn start(number: usize, body: Body, app: Arc<AppHandle>) -> std::io::Result<Self> {
        let handle = std::thread::Builder::new()
            .name(format!("background {number}"))
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| body(&app)));
                let outcome = match outcome {
                    Ok(Ok(())) => Ok(()),
                    // An error of an operation that the stop interrupted.
                    Ok(Err(error)) if is_interruption(&*error) && app.is_stopping() => Ok(()),
                    Ok(Err(error)) => Err(format!("background {number} failed: {error}")),
                    Err(panic) => Err(format!(
                        "background {number} panicked: {}",
                        panic_text(&*panic)
                    )),
                };
                if let Err(error) = &outcome {
                    tracing::error!("{error}; the program ends");
                    app.stop();
                }
                outcome
            })?;
        Ok(Self { handle })
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    pub(crate) fn join(self) -> Result<(), String> {
        self.handle
            .join()
            .unwrap_or_else(|_| Err("a background thread panicked".to_owned()))
    }
}

fn is_interruption(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_stopping = |error: &LogError| matches!(error, LogError::Stopping { .. });
    matches!(error.downcast_ref(), Some(WaitError::Stopping))
        || matches!(error.downcast_ref(), Some(EmitError::Log(error)) if is_stopping(error))
        || matches!(error.downcast_ref(), Some(ViewError::Log(error)) if is_stopping(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::settings::UserArgs;
    use super::super::stop::Stop;
    use super::*;
    use crate::log::NewTopic;
    use crate::log::embedded::Embedded;
    use crate::table::memory::MemoryStores;

    fn app() -> Arc<AppHandle> {
        Arc::new(AppHandle {
            log: Arc::new(Embedded::in_memory().expect("in memory")),
            views: Arc::new(MemoryStores::default()),
            user_args: UserArgs::default(),
            stop: Arc::new(Stop::default()),
            definitions: Vec::new(),
        })
    }

    fn ended(body: Body) -> (Result<(), String>, bool) {
        let app = app();
        let thread = BackgroundThread::start(1, body, app.clone()).expect("a thread");
        (thread.join(), app.is_stopping())
    }

    #[test]
    fn an_error_or_a_panic_stops_the_program_and_is_returned() {
        let (outcome, stopping) = ended(Box::new(|_| Err("no luck".into())));
        assert_eq!(outcome, Err("background 1 failed: no luck".to_owned()));
        assert!(stopping);
        let (outcome, stopping) = ended(Box::new(|_| panic!("at {}", "all")));
        assert_eq!(outcome, Err("background 1 panicked: at all".to_owned()));
        assert!(stopping);
        let (outcome, stopping) = ended(Box::new(|_| Ok(())));
        assert_eq!((outcome, stopping), (Ok(()), false));
    }

    #[test]
    fn a_wait_that_the_stop_interrupts_is_no_error() {
        let (outcome, _) = ended(Box::new(|app| {
            app.stop();
            assert!(!app.wait(Duration::from_secs(60)));
            Err(WaitError::Stopping.into())
        }));
        assert_eq!(outcome, Ok(()));
    }

    #[test]
    fn a_program_without_processors_has_nothing_to_wait_for() {
        let app = app();
        let topic = NewTopic {
            name: "clicks".into(),
            partitions: 1,
            compact: false,
            retention: None,
        };
        app.log().create(&topic).expect("made");
        assert_eq!(app.wait_processed(Duration::ZERO), Ok(()));
    }
}
