//! The command `run`: opens the data directory and the log, starts the processors and what runs
//! beside them, waits for the end, drains.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::app_handle::WaitError;
use super::app_handle::{AppHandle, Body, Thread};
use super::cli::UserArgs;
use super::data::{DataDir, DataDirLock, Holder};
use super::direct::Direct;
use super::engine;
use super::error::{CliError, stop_reason};
use super::server::Server;
use super::stop::Stop;
use crate::core::deaths::{Deaths, RecordAt};
use crate::crash;
use crate::dispatch::ProcessorState;
use crate::graph::Definition;
use crate::log::{Log, LogError, TopicWait};
use crate::processor::{self, ProcessorOptions, Running, StartError, StopReason};
use crate::table::Stores;
use crate::table::redb::RedbStores;

/// How long draining may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long a processor that has nothing to commit may take.
const NOTHING_HANDLED: Duration = Duration::from_secs(5);

/// How long all partitions of a processor have to be stopped before it leaves its group: the next ones
/// may just be on their way.
const ALL_STOPPED: Duration = Duration::from_secs(1);

/// How often it is said that a processor has nothing left to do.
const REMIND: Duration = Duration::from_secs(60);

/// How often the processors are looked at.
const TICK: Duration = Duration::from_millis(20);

/// How long a command may hold a data directory before a program that starts gives up.
const TAKE: Duration = Duration::from_secs(10);

/// Bytes of cache of all views.
const VIEW_CACHE: usize = 64 << 20;

/// What is to run.
pub(super) struct Program {
    pub(super) definitions: Vec<&'static Definition>,
    /// How each of them runs.
    pub(super) options: Vec<ProcessorOptions>,
    pub(super) values: BTreeMap<TypeId, Arc<ProcessorState>>,
    pub(super) backgrounds: Vec<Body>,
    pub(super) given: UserArgs,
    pub(super) stores: MakeStores,
    /// Bytes of cache of the tables' files.
    pub(super) cache: usize,
    /// Records that are handled though the process died of them.
    pub(super) retried: Vec<RecordAt>,
}

/// Makes the stores of the group tables, given the directory for them and the bytes of cache that
/// they may take.
pub(super) type MakeStores = Box<dyn FnOnce(&Path, usize) -> Arc<dyn Stores> + Send>;

/// Stores that are files.
pub(super) fn files() -> MakeStores {
    Box::new(|directory, cache| Arc::new(RedbStores::new(directory.to_owned(), cache)))
}

/// Runs until the end is asked for.
pub(super) fn run(
    program: Program,
    brokers: Option<&str>,
    data_dir: &Path,
) -> Result<(), CliError> {
    let stop = Arc::new(Stop::default());
    stop.on_signals()?;
    raise_open_files();
    let shared = program.shared()?;
    let dir = DataDir::create(data_dir)?;
    let held = dir.hold(Holder::Run, TAKE)?.ok_or_else(|| dir.in_use())?;
    let deaths = Deaths {
        noted: crash::begin(&dir.deaths()).map_err(|error| dir.unusable(&error))?,
        retried: program.retried,
    };
    let (log, server) = open(&held, brokers)?;
    let stores = (program.stores)(&held.dir.tables(), program.cache);
    let options = program.options.into_iter().map(|options| ProcessorOptions {
        instance: held.instance.clone(),
        stop_timeout: DEADLINE,
        deaths: deaths.clone(),
        ..options
    });
    let processors = start(&program.definitions, shared, options, &log, &stores, &stop)?;
    let background = Arc::new(AppHandle {
        log,
        views: Arc::new(RedbStores::new(dir.views(), VIEW_CACHE)),
        given: program.given,
        stop: stop.clone(),
        definitions: program.definitions,
    });
    // Told to end before all had started, nothing is begun beside them.
    let begins = !stop.is_asked();
    let threads = program
        .backgrounds
        .into_iter()
        .filter(|_| begins)
        .enumerate()
        .map(|(at, body)| Thread::start(at + 1, body, background.clone()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CliError::new(format!("no thread for a background: {error}")))?;
    watch(&stop, &processors, &threads);
    tracing::info!("draining");
    let errors = drain(processors, threads);
    drop(server);
    // Last: from here on others may use the directory.
    drop(background);
    drop(held);
    if errors.is_empty() {
        tracing::info!("stopped");
        Ok(())
    } else {
        Err(CliError::Errors(errors))
    }
}

/// Lets this process open as many files as it may: each partition of a table is one.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files cannot be raised");
    }
}

impl Program {
    /// The value that each processor's handlers share, in the order of the definitions.
    fn shared(&self) -> Result<Vec<Arc<ProcessorState>>, CliError> {
        let mut missing = Vec::new();
        let mut shared = Vec::new();
        for definition in &self.definitions {
            let given = self.values.get(&(definition.type_id)()).cloned();
            match given.or_else(|| definition.make.map(|make| Arc::from(make()))) {
                Some(value) => shared.push(value),
                None => missing.push(format!(
                    "`{0}` ({1}) has no `Default`: pass it with `Service::new().with({0} ..)`",
                    definition.graph.name, definition.graph.location
                )),
            }
        }
        if missing.is_empty() {
            Ok(shared)
        } else {
            Err(CliError::Errors(missing))
        }
    }
}

fn open(
    held: &DataDirLock,
    brokers: Option<&str>,
) -> Result<(Arc<dyn Log>, Option<Server>), CliError> {
    if let Some(brokers) = brokers {
        let log = engine::kafka(brokers)?;
        tracing::info!("running on {}", log.describe_self());
        return Ok((log, None));
    }
    eprintln!(
        "no brokers given (`--brokers` / GOKA_BROKERS): running on the embedded log at {}",
        held.dir.log().display()
    );
    let log = engine::embedded(&held.dir)?;
    let server = Server::start(&held.dir, Direct::new(log.clone()))?;
    Ok((log, Some(server)))
}

fn start(
    definitions: &[&'static Definition],
    shared: Vec<Arc<ProcessorState>>,
    options: impl Iterator<Item = ProcessorOptions>,
    log: &Arc<dyn Log>,
    stores: &Arc<dyn Stores>,
    stop: &Stop,
) -> Result<Vec<(&'static str, Running)>, CliError> {
    let mut running = Vec::new();
    let mut errors = Vec::new();
    let is_stopping = || stop.is_asked();
    let wait = TopicWait::unless(&is_stopping);
    for ((definition, shared), options) in definitions.iter().zip(shared).zip(options) {
        let group = definition.graph.group;
        let (log, stores) = (log.clone(), stores.clone());
        match processor::start_unless(definition, shared, log, stores, &options, &wait) {
            Ok(processor) => running.push((group, processor)),
            // Told to end while it waited for topics: what has started is drained.
            Err(StartError::Log {
                source: LogError::Stopping { .. },
                ..
            }) => return Ok(running),
            // A log that does not answer one does not answer the next.
            Err(error @ StartError::Log { .. }) => return Err(CliError::of(&error)),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() {
        Ok(running)
    } else {
        Err(CliError::Errors(errors))
    }
}

/// What is seen of one processor.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Since when all its partitions are stopped.
    stopped_since: Option<Instant>,
    /// Whether it has nothing left to do.
    is_done: bool,
    /// When that was last said.
    said: Option<Instant>,
}

/// Waits for the end: asked for, or because nothing is left to do. A processor whose partitions have
/// all stopped leaves its group; the program ends when none has anything left to do and no background
/// closure runs, and reminds of it until then.
fn watch(stop: &Stop, processors: &[(&'static str, Running)], threads: &[Thread]) {
    let mut seen = vec![Seen::default(); processors.len()];
    while !stop.is_asked() {
        let mut failure = None;
        for ((group, running), seen) in processors.iter().zip(&mut seen) {
            failure = failure.or_else(|| stopped(group, running));
            look(stop, group, running, seen);
        }
        stop.note_failure(failure);
        let is_done = seen.iter().all(|seen| seen.is_done);
        if is_done && threads.iter().all(Thread::is_finished) {
            stop.ask();
        }
        stop.wait(TICK);
    }
}

/// The first partition of a processor that has stopped, or why all of it has ended.
fn stopped(group: &str, running: &Running) -> Option<WaitError> {
    let group = group.to_owned();
    if let Some((partition, source)) = running.first_stopped() {
        return Some(WaitError::Stopped {
            group,
            partition,
            source,
        });
    }
    let source = running.failure()?;
    Some(WaitError::Ended { group, source })
}

fn look(stop: &Stop, group: &str, running: &Running, seen: &mut Seen) {
    let now = Instant::now();
    match running.has_stopped() {
        true => drop(seen.stopped_since.get_or_insert(now)),
        false if seen.is_done => {}
        false => seen.stopped_since = None,
    }
    let has_stopped = seen
        .stopped_since
        .is_some_and(|since| now.duration_since(since) >= ALL_STOPPED);
    if !has_stopped && !running.is_finished() {
        return;
    }
    if !std::mem::replace(&mut seen.is_done, true) {
        running.stop();
    }
    let failure = running.failure();
    if let Some(StopReason::Member(LogError::InstanceFenced { .. })) = failure {
        // Another process runs with this one's identity: this one is to end as a whole.
        stop.ask();
    }
    if seen
        .said
        .is_some_and(|said| now.duration_since(said) < REMIND)
    {
        return;
    }
    seen.said = Some(now);
    if has_stopped {
        tracing::error!(
            group,
            "every partition of this processor has stopped; fix the cause and restart"
        );
    } else if let Some(cause) = failure {
        let cause = stop_reason(&cause);
        tracing::error!(
            group,
            cause,
            "this processor has ended; fix the cause and restart"
        );
    }
}

/// Ends everything within the deadline; what went wrong, line by line.
fn drain(processors: Vec<(&'static str, Running)>, threads: Vec<Thread>) -> Vec<String> {
    let until = Instant::now() + DEADLINE;
    for (_, running) in &processors {
        running.stop();
    }
    let mut errors = Vec::new();
    let late = |what: &str| {
        let seconds = DEADLINE.as_secs();
        format!("{what} did not end within {seconds} s; what it had not committed is done again")
    };
    for thread in threads {
        if wait(until, || thread.is_finished()) {
            errors.extend(thread.join().err());
        } else {
            errors.push(late("a background closure"));
        }
    }
    // What waits for a log that does not answer, and has nothing to tell it, is not waited for.
    let soon = until.min(Instant::now() + NOTHING_HANDLED);
    for (group, running) in processors {
        let has_nothing = || !running.has_uncommitted() && running.in_hand().is_none();
        let is_late = |at: Instant| at >= until || (at >= soon && has_nothing());
        while !running.is_finished() && !is_late(Instant::now()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if running.is_finished() {
            errors.extend(running.join().err().map(|error| error.to_string()));
        } else {
            match (running.in_hand(), running.has_uncommitted()) {
                (Some(record), _) => {
                    let seconds = DEADLINE.as_secs();
                    errors.push(format!(
                        "group `{group}` did not end within {seconds} s: its handler still runs with \
                         {record}; the record is not committed, and is handled again after a restart"
                    ));
                }
                (None, true) => errors.push(late(&format!("group `{group}`"))),
                (None, false) => {
                    tracing::warn!(group, "ended without an answer of the log");
                    errors.extend(stopped(group, &running).map(|error| error.to_string()));
                }
            }
            // Dropping it would wait for it.
            std::mem::forget(running);
        }
    }
    errors
}

fn wait(until: Instant, mut done: impl FnMut() -> bool) -> bool {
    while !done() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
