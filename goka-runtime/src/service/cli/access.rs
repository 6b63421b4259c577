//! How a command reaches the log: it opens Kafka, or the embedded log in the data directory; if another
//! process has that one open, it asks that process. The commands do not see which.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::CliError;
use crate::emitter::Declared;
use crate::service::commands::open_log::OpenLog;
use crate::service::commands::protocol::{
    Bytes, Delivery, PartitionedRecord, Reply, Request, Wire,
};
use crate::service::commands::socket;
use crate::service::data_dir::{DataDir, DataDirLock, Holder};
use crate::service::run;

/// How long a process that has locked its data directory may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Receives the entries of a scan one by one.
pub(super) type Each<'e> = &'e mut dyn FnMut(&[u8], &[u8]) -> Result<(), CliError>;

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
                log: OpenLog::new(run::kafka(brokers)?),
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
                    log: OpenLog::new(run::embedded(&dir)?),
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

    pub(super) fn topic_timeout(&self) -> Duration {
        match self {
            TableAccess::Local { log, .. } => log.topic_timeout(),
            TableAccess::Remote(_) => Duration::ZERO,
        }
    }

    /// The partition count of a topic to emit to; the embedded log makes it when it does not exist.
    pub(super) fn target(&self, topic: &str, declared: Declared) -> Result<i32, CliError> {
        let request = Request::Stream {
            topic: topic.to_owned(),
            declared: declared.partitions,
            is_table: declared.is_table,
        };
        match self.ask(request)? {
            Reply::Partitions(Some(partitions)) => Ok(partitions),
            _ => Err(unexpected_reply()),
        }
    }

    /// The partition count of a table's topic; `None` when there is no such topic.
    pub(super) fn table(&self, topic: &str) -> Result<Option<i32>, CliError> {
        let topic = topic.to_owned();
        match self.ask(Request::Table { topic })? {
            Reply::Partitions(partitions) => Ok(partitions),
            _ => Err(unexpected_reply()),
        }
    }

    /// Emits a batch in order and waits for it.
    pub(super) fn emit(
        &self,
        topic: &str,
        records: Vec<PartitionedRecord>,
    ) -> Result<Delivery, CliError> {
        let topic = topic.to_owned();
        match self.ask(Request::Emit { topic, records })? {
            Reply::Emitted(delivery) => Ok(delivery),
            _ => Err(unexpected_reply()),
        }
    }

    pub(super) fn get(
        &self,
        topic: &str,
        partition: i32,
        key: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, CliError> {
        let request = Request::Get {
            topic: topic.to_owned(),
            partition,
            key: Bytes(key),
        };
        match self.ask(request)? {
            Reply::Value(value) => Ok(value.map(|Bytes(value)| value)),
            _ => Err(unexpected_reply()),
        }
    }

    pub(super) fn scan(
        &self,
        topic: &str,
        partitions: i32,
        prefix: Vec<u8>,
        limit: Option<usize>,
        each: Each<'_>,
    ) -> Result<(), CliError> {
        let request = Request::Scan {
            topic: topic.to_owned(),
            partitions,
            prefix: Bytes(prefix),
            limit,
        };
        match self.ask_for_entries(request, each)? {
            Reply::End => Ok(()),
            _ => Err(unexpected_reply()),
        }
    }

    fn ask(&self, request: Request) -> Result<Reply, CliError> {
        self.ask_for_entries(request, &mut |_, _| Err(unexpected_reply()))
    }

    /// Returns the last frame of the answer; the entries of those before it go to `each`.
    fn ask_for_entries(&self, request: Request, each: Each<'_>) -> Result<Reply, CliError> {
        let dir = match self {
            TableAccess::Remote(dir) => dir,
            TableAccess::Local { log, .. } => {
                return log.answer(request, &mut |entries| {
                    entries.iter().try_for_each(|(key, value)| each(key, value))
                });
            }
        };
        let mut wire = connect(dir)?.ok_or_else(|| {
            CliError::new(format!(
                "the process that held data directory `{}` has ended meanwhile; try again",
                dir.path().display()
            ))
        })?;
        wire.send_request(&request)
            .map_err(|error| wire_error(&error))?;
        loop {
            match wire.receive().map_err(|error| wire_error(&error))? {
                Reply::Error(error) => return Err(CliError::new(error)),
                Reply::Entries(entries) => {
                    for (Bytes(key), Bytes(value)) in entries {
                        each(&key, &value)?;
                    }
                }
                reply => return Ok(reply),
            }
        }
    }
}

fn connect(dir: &DataDir) -> Result<Option<Wire>, CliError> {
    socket::connect(dir)
        .and_then(|stream| stream.map(Wire::new).transpose())
        .map_err(|error| wire_error(&error))
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
