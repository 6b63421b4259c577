//! What runs beside the processors: a program's own emitters and views, each closure on a thread of
//! its own, told when the program ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cli::UserArgs;
use super::stop::Stop;
use crate::emitter::{EmitError, Emitter};
use crate::error::{HandlerError, panic_text};
use crate::graph::Definition;
use crate::log::{Log, LogError, TopicWait};
use crate::processor::StopReason;
use crate::record::TopicPartition;
use crate::table::Stores;
use crate::topic::{Table, Topic};
use crate::view::{View, ViewError};

/// How often [`AppHandle::wait_processed`] looks.
const LOOK: Duration = Duration::from_millis(50);

/// What a background closure gets: ways to the log, the program's own options, and the end.
///
/// ```no_run
/// use goka_runtime::service::{AppHandle, Service};
/// use goka_runtime::topic::{Table, Topic};
/// use std::time::Duration;
///
/// /// Emits a thousand records, waits until they are counted, prints the table, ends the program.
/// fn feed<Clicks, Counts>(app: &AppHandle) -> goka_runtime::Result
/// where
///     Clicks: Topic<Key = String, Value = String>,
///     Counts: Table<Key = String, Value = i64>,
/// {
///     let clicks = app.emitter::<Clicks>()?;
///     for user in 0..1_000 {
///         clicks.emit(format!("user-{user}"), "now")?;
///     }
///     clicks.close(Duration::from_secs(10))?;
///     app.wait_processed(Duration::from_secs(60))?;
///     let counts = app.view::<Counts>()?;
///     counts.wait_level(Duration::from_secs(60))?;
///     for entry in counts.iter()? {
///         println!("{entry:?}");
///     }
///     app.stop();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct AppHandle {
    pub(super) log: Arc<dyn Log>,
    pub(super) views: Arc<dyn Stores>,
    pub(super) given: UserArgs,
    pub(super) stop: Arc<Stop>,
    pub(super) definitions: Vec<&'static Definition>,
}

impl AppHandle {
    /// An emitter to a topic.
    ///
    /// # Errors
    /// See [`Emitter::new`].
    pub fn emitter<T: Topic>(&self) -> Result<Emitter<T>, EmitError> {
        let is_stopping = || self.is_stopping();
        Emitter::unless(&*self.log, &TopicWait::unless(&is_stopping))
    }

    /// A view of a table; its copy lies apart from the processors', one for each table. A program has one
    /// view of a table: clone it for everybody who reads.
    ///
    /// # Errors
    /// See [`View::start`].
    pub fn view<T: Table>(&self) -> Result<View<T>, ViewError> {
        let is_stopping = || self.is_stopping();
        let wait = TopicWait::unless(&is_stopping);
        View::unless(self.log.clone(), self.views.clone(), &wait)
    }

    /// The log that the program runs on.
    pub fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    /// Whether a flag of the program's own ([`Service::flag`](super::Service::flag)) was given.
    pub fn flag(&self, name: &str) -> bool {
        self.given.is_set(name)
    }

    /// The value of an option of the program's own ([`Service::option`](super::Service::option)).
    pub fn option(&self, name: &str) -> Option<&str> {
        self.given.value(name)
    }

    /// Whether the program is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_asked()
    }

    /// Waits so long, less when the program ends; says whether to go on.
    pub fn wait(&self, time: Duration) -> bool {
        self.stop.wait(time)
    }

    /// Ends the program as a signal would: processors drain, the exit code is 0.
    pub fn stop(&self) {
        self.stop.ask();
    }

    /// Waits until the program's processors have committed all that their inputs hold now, wherever
    /// they run.
    ///
    /// # Errors
    /// [`WaitError::Behind`] after `deadline`; [`WaitError::Stopped`] when a partition has stopped,
    /// [`WaitError::Stopping`] when the program ends.
    pub fn wait_processed(&self, deadline: Duration) -> Result<(), WaitError> {
        let until = Instant::now() + deadline;
        for definition in &self.definitions {
            let group = definition.graph.group;
            let mut partitions = Vec::new();
            for edge in definition.graph.inputs() {
                let found = self.log.describe(&[edge.topic.name])?.into_iter().next();
                let found = found.flatten().ok_or_else(|| LogError::UnknownTopic {
                    topic: edge.topic.name.to_owned(),
                })?;
                let count = found.partitions;
                partitions
                    .extend((0..count).map(|number| TopicPartition::new(edge.topic.name, number)));
            }
            let ranges = self.log.ranges(&partitions)?;
            loop {
                let committed = self.log.committed(group, &partitions)?;
                let behind = committed
                    .iter()
                    .zip(&ranges)
                    .position(|(committed, range)| {
                        committed.as_ref().map_or(range.start, |at| at.offset) < range.high
                    });
                let Some(behind) = behind else { break };
                if let Some(error) = self.stop.failure() {
                    return Err(error);
                }
                if Instant::now() >= until {
                    return Err(WaitError::Behind {
                        group: group.to_owned(),
                        partition: partitions[behind].clone(),
                        committed: committed[behind].as_ref().map(|at| at.offset),
                        end: ranges[behind].high,
                    });
                }
                if !self.wait(LOOK) {
                    return Err(WaitError::Stopping);
                }
            }
        }
        Ok(())
    }
}

/// Why [`AppHandle::wait_processed`] gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// A group has not come so far.
    #[error("group `{group}` has committed {committed:?} of {end} records of {partition}")]
    Behind {
        /// Which.
        group: String,
        /// Of which input.
        partition: TopicPartition,
        /// How far it is; `None` when nothing is committed.
        committed: Option<i64>,
        /// How far it was to come.
        end: i64,
    },
    /// A partition has stopped, so its records would never be committed.
    #[error("partition {partition} of group `{group}` has stopped: {source}")]
    Stopped {
        /// The group.
        group: String,
        /// The partition.
        partition: i32,
        /// Why it stopped.
        source: StopReason,
    },
    /// A processor has ended, so its records would never be committed.
    #[error("the processor of group `{group}` has ended: {source}")]
    Ended {
        /// The group.
        group: String,
        /// Why it ended.
        source: StopReason,
    },
    /// The program ends.
    #[error("the program ends")]
    Stopping,
    /// The log does not do what was asked.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A background closure.
pub(super) type Body = Box<dyn FnOnce(&AppHandle) -> Result<(), HandlerError> + Send>;

/// A background closure that runs.
#[derive(Debug)]
pub(super) struct Thread {
    handle: JoinHandle<Result<(), String>>,
}

impl Thread {
    /// Starts it; when it fails the program is to end, for it may be what was to end it.
    pub(super) fn start(
        number: usize,
        body: Body,
        background: Arc<AppHandle>,
    ) -> std::io::Result<Self> {
        let handle = std::thread::Builder::new()
            .name(format!("background {number}"))
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| body(&background)));
                let ended = match ended {
                    Ok(Ok(())) => Ok(()),
                    // It was interrupted by the end, and says so.
                    Ok(Err(error)) if is_interruption(&*error) && background.is_stopping() => {
                        Ok(())
                    }
                    Ok(Err(error)) => Err(format!("background {number} failed: {error}")),
                    Err(panic) => Err(format!(
                        "background {number} panicked: {}",
                        panic_text(&*panic)
                    )),
                };
                if let Err(error) = &ended {
                    tracing::error!("{error}; the program ends");
                    background.stop();
                }
                ended
            })?;
        Ok(Self { handle })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    pub(super) fn join(self) -> Result<(), String> {
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
    use super::*;
    use crate::log::NewTopic;
    use crate::log::embedded::Embedded;
    use crate::table::memory::MemoryStores;

    fn background() -> Arc<AppHandle> {
        Arc::new(AppHandle {
            log: Arc::new(Embedded::in_memory().expect("in memory")),
            views: Arc::new(MemoryStores::default()),
            given: UserArgs::default(),
            stop: Arc::new(Stop::default()),
            definitions: Vec::new(),
        })
    }

    fn ended(body: Body) -> (Result<(), String>, bool) {
        let background = background();
        let thread = Thread::start(1, body, background.clone()).expect("a thread");
        (thread.join(), background.is_stopping())
    }

    #[test]
    fn an_error_or_a_panic_ends_the_program_and_is_told() {
        let (said, stopping) = ended(Box::new(|_| Err("no luck".into())));
        assert_eq!(said, Err("background 1 failed: no luck".to_owned()));
        assert!(stopping);
        let (said, stopping) = ended(Box::new(|_| panic!("at {}", "all")));
        assert_eq!(said, Err("background 1 panicked: at all".to_owned()));
        assert!(stopping);
        let (said, stopping) = ended(Box::new(|_| Ok(())));
        assert_eq!((said, stopping), (Ok(()), false));
    }

    #[test]
    fn a_wait_that_the_end_interrupts_is_no_error() {
        let (said, _) = ended(Box::new(|app| {
            app.stop();
            assert!(!app.wait(Duration::from_secs(60)));
            Err(WaitError::Stopping.into())
        }));
        assert_eq!(said, Ok(()));
    }

    #[test]
    fn a_program_without_processors_has_nothing_to_wait_for() {
        let background = background();
        let topic = NewTopic {
            name: "clicks".into(),
            partitions: 1,
            compact: false,
            retention: None,
        };
        background.log().create(&topic).expect("made");
        assert_eq!(background.wait_processed(Duration::ZERO), Ok(()));
    }
}
