//! Runs a program: opens the data directory and the log, starts the processors and the background
//! closures, supervises them until the program stops, and drains them.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::app_handle::AppHandle;
use super::background::{BackgroundThread, Body};
use super::commands::open_log::OpenLog;
use super::commands::server::Server;
use super::data_dir::{DataDir, DataDirError, DataDirLock, Holder};
use super::error::RunError;
use super::settings::UserArgs;
use super::stop::Stop;
use super::supervise::{DRAIN_TIMEOUT, drain, supervise};
use crate::core::deaths::Deaths;
use crate::crash;
use crate::dispatch::ProcessorState;
use crate::graph::Definition;
use crate::log::embedded::Embedded;
use crate::log::{Log, LogError, TopicWait};
use crate::processor::{self, ProcessorOptions, Running, StartError};
use crate::table::Stores;
use crate::table::redb::RedbStores;

/// How long a program that starts waits for a command that holds its data directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes for the caches of all views.
const VIEW_CACHE: usize = 64 << 20;

pub(super) struct Program {
    /// The processors, in the order in which they start.
    pub(super) definitions: Vec<&'static Definition>,
    pub(super) options: Vec<ProcessorOptions>,
    /// The values that handlers share, as far as the program gave them, by the processor's type.
    pub(super) values: BTreeMap<TypeId, Arc<ProcessorState>>,
    pub(super) backgrounds: Vec<Body>,
    pub(super) user_args: UserArgs,
    pub(super) stores: MakeStores,
    /// Bytes for the caches of the tables' files.
    pub(super) cache: usize,
}

/// Makes the stores of the group tables, given their directory and the bytes for their caches.
pub(super) type MakeStores = Box<dyn FnOnce(&Path, usize) -> Arc<dyn Stores> + Send>;

pub(super) fn files() -> MakeStores {
    Box::new(|directory, cache| Arc::new(RedbStores::new(directory.to_owned(), cache)))
}

pub(super) fn run(
    program: Program,
    brokers: Option<&str>,
    data_dir: &Path,
) -> Result<(), RunError> {
    let stop = Arc::new(Stop::default());
    stop.on_signals()?;
    raise_open_files();
    let values = program.values()?;
    let dir = DataDir::create(data_dir)?;
    let lock = dir
        .hold(Holder::Run, LOCK_TIMEOUT)?
        .ok_or_else(|| dir.in_use())?;
    let noted = crash::begin(&dir.deaths()).map_err(|error| dir.unreadable("deaths", error))?;
    let (log, server) = open(&lock, brokers)?;
    let stores = (program.stores)(&lock.dir.tables(), program.cache);
    let options = program.options.into_iter().map(|options| ProcessorOptions {
        instance: lock.instance.clone(),
        stop_timeout: DRAIN_TIMEOUT,
        deaths: Deaths {
            noted: noted.clone(),
            retried: options.deaths.retried,
        },
        ..options
    });
    let processors = start(&program.definitions, values, options, &log, &stores, &stop)?;
    let app = Arc::new(AppHandle {
        log,
        views: Arc::new(RedbStores::new(dir.views(), VIEW_CACHE)),
        user_args: program.user_args,
        stop: stop.clone(),
        definitions: program.definitions,
    });
    // A program that is stopped while its processors start runs no background closures.
    let starts_backgrounds = !stop.is_requested();
    let threads = program
        .backgrounds
        .into_iter()
        .filter(|_| starts_backgrounds)
        .enumerate()
        .map(|(at, body)| BackgroundThread::start(at + 1, body, app.clone()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(RunError::Thread)?;
    supervise(&stop, &processors, &threads);
    tracing::info!("draining");
    let errors = drain(processors, threads);
    drop(server);
    drop(app);
    // Last, since other processes may use the directory from here on.
    drop(lock);
    if errors.is_empty() {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(RunError::Ended(errors))
    }
}

/// Raises the limit of open files to its maximum: each partition of a table is a file.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "limit of open files not raised");
    }
}

impl Program {
    /// The values that handlers share, in the order of the processors.
    fn values(&self) -> Result<Vec<Arc<ProcessorState>>, RunError> {
        let mut missing = Vec::new();
        let mut values = Vec::new();
        for definition in &self.definitions {
            let given = self.values.get(&(definition.type_id)()).cloned();
            match given.or_else(|| definition.make.map(|make| Arc::from(make()))) {
                Some(value) => values.push(value),
                None => missing.push(format!(
                    "`{0}` ({1}) has no `Default`: pass it with `Service::new().with({0} ..)`",
                    definition.graph.name, definition.graph.location
                )),
            }
        }
        if missing.is_empty() {
            Ok(values)
        } else {
            Err(RunError::NoValue(missing))
        }
    }
}

/// The embedded log in a data directory, which this process has to hold.
pub(crate) fn embedded(dir: &DataDir) -> Result<Arc<dyn Log>, RunError> {
    Ok(Arc::new(Embedded::open(&dir.log())?))
}

#[cfg(feature = "kafka")]
pub(crate) fn kafka(brokers: &str) -> Result<Arc<dyn Log>, RunError> {
    use crate::log::kafka::{Kafka, KafkaConfig};
    Ok(Arc::new(Kafka::new(KafkaConfig {
        brokers: brokers.to_owned(),
        ..KafkaConfig::default()
    })?))
}

/// Refuses a Kafka cluster: this binary is built without Kafka.
#[cfg(not(feature = "kafka"))]
pub(crate) fn kafka(brokers: &str) -> Result<Arc<dyn Log>, RunError> {
    Err(RunError::NoKafka {
        brokers: brokers.to_owned(),
    })
}

/// Opens the log, and for the embedded one the server for the commands of other processes.
fn open(
    lock: &DataDirLock,
    brokers: Option<&str>,
) -> Result<(Arc<dyn Log>, Option<Server>), RunError> {
    if let Some(brokers) = brokers {
        let log = kafka(brokers)?;
        tracing::info!("running on {}", log.describe_self());
        return Ok((log, None));
    }
    eprintln!(
        "no brokers given (`--brokers` / GOKA_BROKERS): running on the embedded log at {}",
        lock.dir.log().display()
    );
    let log = embedded(&lock.dir)?;
    let server = Server::start(&lock.dir, OpenLog::new(log.clone())).map_err(|source| {
        DataDirError::Socket {
            path: lock.dir.path().to_owned(),
            source,
        }
    })?;
    Ok((log, Some(server)))
}

/// Starts the processors. After the first error the others are tried, too, so that all errors are reported
/// at once.
fn start(
    definitions: &[&'static Definition],
    values: Vec<Arc<ProcessorState>>,
    options: impl Iterator<Item = ProcessorOptions>,
    log: &Arc<dyn Log>,
    stores: &Arc<dyn Stores>,
    stop: &Stop,
) -> Result<Vec<(&'static str, Running)>, RunError> {
    let mut running = Vec::new();
    let mut errors = Vec::new();
    let is_stopping = || stop.is_requested();
    let wait = TopicWait::unless(&is_stopping);
    for ((definition, value), options) in definitions.iter().zip(values).zip(options) {
        let group = definition.graph.group;
        let (log, stores) = (log.clone(), stores.clone());
        match processor::start_unless(definition, value, log, stores, &options, &wait) {
            Ok(processor) => running.push((group, processor)),
            // Stopped while it waited for topics: the processors that run are drained.
            Err(StartError::Log {
                source: LogError::Stopping { .. },
                ..
            }) => return Ok(running),
            // A log that does not answer this processor does not answer the next one.
            Err(error @ StartError::Log { .. }) => return Err(RunError::Start(vec![error])),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(running)
    } else {
        Err(RunError::Start(errors))
    }
}
