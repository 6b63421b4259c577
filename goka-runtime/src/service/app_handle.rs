//! [`AppHandle`]: what a background closure may do with the program that it is a part of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::WaitError;
use super::settings::UserArgs;
use super::stop::Stop;
use crate::emitter::{EmitError, Emitter};
use crate::graph::Definition;
use crate::log::{Log, LogError, TopicWait};
use crate::record::TopicPartition;
use crate::table::Stores;
use crate::topic::{Table, Topic};
use crate::view::{View, ViewError};

/// How often [`AppHandle::wait_processed`] asks for the committed offsets.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The program, for its background closures: emitters, views, the options that the program declares, and
/// how it stops.
///
/// ```no_run
/// # mod goka { pub use goka_runtime::{Result, service::AppHandle, topic::{Table, Topic}}; }
/// use goka::{AppHandle, Table, Topic};
/// use std::time::Duration;
///
/// /// Emits a thousand records, waits until they are counted, prints the table, ends the program.
/// fn feed<Clicks, Counts>(app: &AppHandle) -> goka::Result
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
    pub(super) user_args: UserArgs,
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

    /// A view of a table, with a local copy of its own. A program has one view of each table: clone it for
    /// each reader.
    ///
    /// # Errors
    /// See [`View::start`].
    pub fn view<T: Table>(&self) -> Result<View<T>, ViewError> {
        let is_stopping = || self.is_stopping();
        let wait = TopicWait::unless(&is_stopping);
        View::unless(self.log.clone(), self.views.clone(), &wait)
    }

    /// The log of the program: Kafka, or the embedded one.
    pub fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    /// Whether the command line has a flag that [`Service::flag`](super::Service::flag) declared.
    pub fn flag(&self, name: &str) -> bool {
        self.user_args.contains_key(name)
    }

    /// The value of an option that [`Service::option`](super::Service::option) declared.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.user_args.get(name)?.as_deref()
    }

    /// Whether the program is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_requested()
    }

    /// Waits for `time`, or until the program stops; returns whether to go on.
    pub fn wait(&self, time: Duration) -> bool {
        self.stop.wait(time)
    }

    /// Stops the program as a signal does: the processors commit what they have handled, and the exit code
    /// is 0.
    pub fn stop(&self) {
        self.stop.request();
    }

    /// Waits until the groups of the program's processors have committed the present ends of their inputs,
    /// in this process or others.
    ///
    /// # Errors
    /// [`WaitError::Behind`] after `timeout`; [`WaitError::Stopped`] when a partition has stopped,
    /// [`WaitError::Stopping`] when the program stops.
    pub fn wait_processed(&self, timeout: Duration) -> Result<(), WaitError> {
        let deadline = Instant::now() + timeout;
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
                if Instant::now() >= deadline {
                    return Err(WaitError::Behind {
                        group: group.to_owned(),
                        partition: partitions[behind].clone(),
                        committed: committed[behind].as_ref().map(|at| at.offset),
                        end: ranges[behind].high,
                    });
                }
                if !self.wait(POLL_INTERVAL) {
                    return Err(WaitError::Stopping);
                }
            }
        }
        Ok(())
    }
}
