//! How a command reaches the log: the broker, the process that runs on the embedded log, or the
//! embedded log's files when no process has them. Commands see one thing.

use std::path::Path;
use std::time::{Duration, Instant};

use super::data::{DataDir, DataDirLock, Holder};
use super::direct::{Delivery, Direct, Placed};
use super::error::CliError;
use super::protocol::{Bytes, Line, Reply, Request, Wire};
use super::{engine, socket};
use crate::emitter::Declared;

/// How long a process may be between taking its data directory and listening.
const START: Duration = Duration::from_secs(10);

/// Takes the entries of a scan, one by one.
pub(super) type Each<'e> = &'e mut dyn FnMut(&[u8], &[u8]) -> Result<(), CliError>;

/// The way to the log.
#[derive(Debug)]
pub(super) enum TableAccess {
    /// The log is open here; an embedded one with its directory held as long.
    Local {
        direct: Direct,
        _held: Option<DataDirLock>,
    },
    /// Another process has it.
    Remote(DataDir),
}

impl TableAccess {
    /// Finds the way. A command that only reads makes no data directory.
    pub(super) fn open(
        brokers: Option<&str>,
        data_dir: &Path,
        writes: bool,
    ) -> Result<Self, CliError> {
        if let Some(brokers) = brokers {
            return Ok(TableAccess::Local {
                direct: Direct::new(engine::kafka(brokers)?),
                _held: None,
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
        let until = Instant::now() + START;
        loop {
            if talk(&dir)?.is_some() {
                return Ok(TableAccess::Remote(dir));
            }
            if let Some(held) = dir.hold(Holder::Command, START)? {
                return Ok(TableAccess::Local {
                    direct: Direct::new(engine::embedded(&dir)?),
                    _held: Some(held),
                });
            }
            // It holds its directory and does not listen: it starts, or ends.
            if Instant::now() >= until {
                return Err(dir.in_use());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn target(&self, topic: &str, declared: Declared) -> Result<i32, CliError> {
        match self {
            TableAccess::Local { direct, .. } => Ok(direct.target(topic, declared)?),
            TableAccess::Remote(dir) => {
                let request = Request::Stream {
                    topic: topic.to_owned(),
                    declared: declared.partitions,
                    is_table: declared.is_table,
                };
                match ask(dir, &request)?.1 {
                    Reply::Partitions(Some(partitions)) => Ok(partitions),
                    _ => Err(confused()),
                }
            }
        }
    }

    /// How long a missing topic is waited for.
    pub(super) fn topic_timeout(&self) -> Duration {
        match self {
            TableAccess::Local { direct, .. } => direct.topic_timeout(),
            TableAccess::Remote(_) => Duration::ZERO,
        }
    }

    pub(super) fn table(&self, topic: &str) -> Result<Option<i32>, CliError> {
        match self {
            TableAccess::Local { direct, .. } => {
                Ok(direct.table(topic)?.map(|info| info.partitions))
            }
            TableAccess::Remote(dir) => {
                let request = Request::Table {
                    topic: topic.to_owned(),
                };
                match ask(dir, &request)?.1 {
                    Reply::Partitions(partitions) => Ok(partitions),
                    _ => Err(confused()),
                }
            }
        }
    }

    pub(super) fn emit(&self, topic: &str, records: Vec<Placed>) -> Result<Delivery, CliError> {
        match self {
            TableAccess::Local { direct, .. } => Ok(direct.emit(topic, &records)?),
            TableAccess::Remote(dir) => {
                let request = Request::Emit {
                    topic: topic.to_owned(),
                    records: records.into_iter().map(Line::from).collect(),
                };
                match ask(dir, &request)?.1 {
                    Reply::Emitted { delivered, error } => Ok(Delivery { delivered, error }),
                    _ => Err(confused()),
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
            TableAccess::Local { direct, .. } => direct.get(topic, partition, key),
            TableAccess::Remote(dir) => {
                let request = Request::Get {
                    topic: topic.to_owned(),
                    partition,
                    key: key.to_vec().into(),
                };
                match ask(dir, &request)?.1 {
                    Reply::Value(value) => value.map(bytes).transpose(),
                    _ => Err(confused()),
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
            TableAccess::Local { direct, .. } => {
                direct.scan((topic, partitions), prefix, limit, &mut |part| {
                    part.iter().try_for_each(|(key, value)| each(key, value))
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
                        _ => return Err(confused()),
                    }
                    reply = receive(&mut wire)?;
                }
            }
        }
    }
}

fn talk(dir: &DataDir) -> Result<Option<Wire>, CliError> {
    socket::connect(dir)
        .and_then(|stream| stream.map(Wire::new).transpose())
        .map_err(|error| broken(&error))
}

/// Asks, and waits for the first frame of the answer.
fn ask(dir: &DataDir, request: &Request) -> Result<(Wire, Reply), CliError> {
    let mut wire = talk(dir)?.ok_or_else(|| {
        CliError::new(format!(
            "the process on data directory `{}` has ended meanwhile; try again",
            dir.path().display()
        ))
    })?;
    wire.send(request).map_err(|error| broken(&error))?;
    let reply = receive(&mut wire)?;
    Ok((wire, reply))
}

fn receive(wire: &mut Wire) -> Result<Reply, CliError> {
    match wire.receive() {
        Ok(Reply::Error(error)) => Err(CliError::new(error)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(broken(&error)),
    }
}

fn bytes(bytes: Bytes) -> Result<Vec<u8>, CliError> {
    Vec::try_from(bytes).map_err(|error| broken(&error))
}

fn broken(error: &std::io::Error) -> CliError {
    CliError::new(format!(
        "the process that holds the data directory does not answer: {error}; try again, or restart it"
    ))
}

fn confused() -> CliError {
    CliError::new(
        "the process that holds the data directory answers something else than was asked; it may \
         be of another version: restart it",
    )
}
