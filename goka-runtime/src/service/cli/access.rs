//! How a command reaches the log: it opens Kafka, or the embedded log in the data directory; if another
//! process has that one open, it asks that process. The commands do not see which.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::CliError;
use crate::emitter::Declared;
use crate::service::commands::open_log::{Delivery, OpenLog, PartitionedRecord};
use crate::service::commands::protocol::{Bytes, Reply, Request, Wire, WireRecord};
use crate::service::commands::socket;
use crate::service::data_dir::{DataDir, DataDirLock, Holder};
use crate::service::engine;

/// How long a process that has locked its data directory may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Receives the entries of a scan one by one.
pub(super) type Each<'e> = &'e mut dyn FnMut(&[u8], &[u8]) -> Result<(), CliError>;

/// Access to the log.
#[derive(Debug)]
pub(super) enum TableAccess {
    /// This process has the log open; if it is the embedded one, it holds the data directory.
    Local {
        log: OpenLog,
        _lock: Option<DataDirLock>,
    },
    /// Another process has it open.
    Remote(DataDir),
}

impl TableAccess {
    /// Opens the log, or finds the process that has it open. A command that only reads makes no data
    /// directory.
    pub(super) fn open(
        brokers: Option<&str>,
        data_dir: &Path,
        writes: bool,
    ) -> Result<Self, CliError> {
        if let Some(brokers) = brokers {
            return Ok(TableAccess::Local {
                log: OpenLog::new(engine::kafka(brokers)?),
                _lock: None,
            });
        }
        let dir = if writes {
            DataDir::create(data_dir)?
        } else {
            DataDir::existing(data_dir)?
                .filter(|dir| dir.log().exists())
                .ok_or_else(|| {
                    CliError::new(format!(
                        "no embedded log in data directory `{}`; run the program first, or name \
                         another with `--data-dir` / GOKA_DATA_DIR, or a broker with `--brokers`",
                        data_dir.display()
                    ))
                })?
        };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if connect(&dir)?.is_some() {
                return Ok(TableAccess::Remote(dir));
            }
            if let Some(lock) = dir.hold(Holder::Command, START_TIMEOUT)? {
                return Ok(TableAccess::Local {
                    log: OpenLog::new(engine::embedded(&dir)?),
                    _lock: Some(lock),
                });
            }
            // A process holds the directory and does not listen: it is starting or stopping.
            if Instant::now() >= deadline {
                return Err(dir.in_use().into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn target(&self, topic: &str, declared: Declared) -> Result<i32, CliError> {
        match self {
            TableAccess::Local { log, .. } => Ok(log.target(topic, declared)?),
            TableAccess::Remote(dir) => {
                let request = Request::Stream {
                    topic: topic.to_owned(),
                    declared: declared.partitions,
                    is_table: declared.is_table,
                };
                match ask(dir, &request)?.1 {
                    Reply::Partitions(Some(partitions)) => Ok(partitions),
                    _ => Err(unexpected_reply()),
                }
            }
        }
    }

    /// How long a command waits for a topic that is missing.
    pub(super) fn topic_timeout(&self) -> Duration {
        match self {
            TableAccess::Local { log, .. } => log.topic_timeout(),
            TableAccess::Remote(_) => Duration::ZERO,
        }
    }

    pub(super) fn table(&self, topic: &str) -> Result<Option<i32>, CliError> {
        match self {
            TableAccess::Local { log, .. } => Ok(log.table(topic)?),
            TableAccess::Remote(dir) => {
                let request = Request::Table {
                    topic: topic.to_owned(),
                };
                match ask(dir, &request)?.1 {
                    Reply::Partitions(partitions) => Ok(partitions),
                    _ => Err(unexpected_reply()),
                }
            }
        }
    }

    pub(super) fn emit(
        &self,
        topic: &str,
        records: Vec<PartitionedRecord>,
    ) -> Result<Delivery, CliError> {
        match self {
            TableAccess::Local { log, .. } => Ok(log.emit(topic, &records)?),
            TableAccess::Remote(dir) => {
                let request = Request::Emit {
                    topic: topic.to_owned(),
                    records: records.into_iter().map(WireRecord::from).collect(),
                };
                match ask(dir, &request)?.1 {
                    Reply::Emitted { delivered, error } => Ok(Delivery { delivered, error }),
                    _ => Err(unexpected_reply()),
                }
            }
        }
    }

    pub(super) fn get(
        &self,
        topic: &str,
        partition: i32,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, CliError> {
        match self {
            TableAccess::Local { log, .. } => Ok(log.get(topic, partition, key)?),
            TableAccess::Remote(dir) => {
                let request = Request::Get {
                    topic: topic.to_owned(),
                    partition,
                    key: key.to_vec().into(),
                };
                match ask(dir, &request)?.1 {
                    Reply::Value(value) => value.map(bytes).transpose(),
                    _ => Err(unexpected_reply()),
                }
            }
        }
    }

    pub(super) fn scan(
        &self,
        topic: &str,
        partitions: i32,
        prefix: &[u8],
        limit: Option<usize>,
        each: Each<'_>,
    ) -> Result<(), CliError> {
        match self {
            TableAccess::Local { log, .. } => {
                log.scan((topic, partitions), prefix, limit, &mut |entries| {
                    entries.iter().try_for_each(|(key, value)| each(key, value))
                })
            }
            TableAccess::Remote(dir) => {
                let request = Request::Scan {
                    topic: topic.to_owned(),
                    partitions,
                    prefix: prefix.to_vec().into(),
                    limit,
                };
                let (mut wire, mut reply) = ask(dir, &request)?;
                loop {
                    match reply {
                        Reply::Entries(entries) => {
                            for (key, value) in entries {
                                each(&bytes(key)?, &bytes(value)?)?;
                            }
                        }
                        Reply::End => return Ok(()),
                        _ => return Err(unexpected_reply()),
                    }
                    reply = receive(&mut wire)?;
                }
            }
        }
    }
}

fn connect(dir: &DataDir) -> Result<Option<Wire>, CliError> {
    socket::connect(dir)
        .and_then(|stream| stream.map(Wire::new).transpose())
        .map_err(|error| wire_error(&error))
}

/// Sends a request, and waits for the first frame of the answer.
fn ask(dir: &DataDir, request: &Request) -> Result<(Wire, Reply), CliError> {
    let mut wire = connect(dir)?.ok_or_else(|| {
        CliError::new(format!(
            "the process that held data directory `{}` has ended meanwhile; try again",
            dir.path().display()
        ))
    })?;
    wire.send_request(request)
        .map_err(|error| wire_error(&error))?;
    let reply = receive(&mut wire)?;
    Ok((wire, reply))
}

fn receive(wire: &mut Wire) -> Result<Reply, CliError> {
    match wire.receive() {
        Ok(Reply::Error(error)) => Err(CliError::new(error)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(wire_error(&error)),
    }
}

fn bytes(bytes: Bytes) -> Result<Vec<u8>, CliError> {
    Vec::try_from(bytes).map_err(|error| wire_error(&error))
}

fn wire_error(error: &std::io::Error) -> CliError {
    CliError::new(format!(
        "the process that holds the data directory does not answer: {error}; try again, or restart it \
         with the build of this command"
    ))
}

fn unexpected_reply() -> CliError {
    CliError::new(
        "the process that holds the data directory gives an unexpected answer; it may be of another \
         version: restart it",
    )
}
