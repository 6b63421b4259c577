//! What `emit`, `get` and `scan` do to a log that this process has open: the broker's, or the
//! embedded one when no other process runs on it. The server does the same for its clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::CliError;
use super::fold;
use crate::context::Emit;
use crate::emitter::{self, Declared, EmitError, RawEmitter};
use crate::log::{Log, TopicWait};

/// How long records of one batch may take to be acknowledged.
pub(super) const DELIVERY: Duration = Duration::from_secs(10);

/// What the entries of a scan take in the memory of a command; a table that is larger is read several times.
const SCAN_MEMORY: usize = 256 << 20;

/// A record that a command emits: its partition is computed by whoever knows the topic's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) partition: i32,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// How much of a batch arrived: the first so many records, and what stopped the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) delivered: usize,
    pub(super) error: Option<String>,
}

/// A table's topic, as commands need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableInfo {
    pub(super) partitions: i32,
}

/// A log that is open here.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    log: Arc<dyn Log>,
    /// One for each topic: a producer is dear.
    emitters: Arc<Mutex<HashMap<String, Arc<RawEmitter>>>>,
    /// For the entries of one scan.
    memory: usize,
}

impl Direct {
    pub(super) fn new(log: Arc<dyn Log>) -> Self {
        Self {
            log,
            emitters: Arc::default(),
            memory: SCAN_MEMORY,
        }
    }

    /// The same with other memory for a scan.
    pub(super) fn within(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// The partition count of a topic to emit to; the embedded log makes it when it is missing.
    pub(super) fn target(&self, topic: &str, declared: Declared) -> Result<i32, EmitError> {
        let wait = TopicWait::default();
        Ok(emitter::target(&*self.log, topic, declared, &wait)?.partitions)
    }

    /// How long a missing topic is waited for.
    pub(super) fn topic_timeout(&self) -> Duration {
        self.log.topic_timeout()
    }

    /// A table's topic; `None` when there is none of that name.
    pub(super) fn table(&self, topic: &str) -> Result<Option<TableInfo>, CliError> {
        let found = TopicWait::default().describe_one(&*self.log, topic)?;
        Ok(found.map(|info| TableInfo {
            partitions: info.partitions,
        }))
    }

    /// Emits a batch in order and waits for it.
    pub(super) fn emit(&self, topic: &str, records: &[Placed]) -> Result<Delivery, EmitError> {
        let emitter = self.emitter(topic)?;
        let mut acks = Vec::with_capacity(records.len());
        let mut error = None;
        for record in records {
            let sent = emitter.emit_to(
                record.partition,
                Some(&record.key),
                Some(&record.value),
                &Emit::new(),
            );
            match sent {
                Ok(ack) => acks.push(ack),
                Err(refused) => {
                    error = Some(refused.to_string());
                    break;
                }
            }
        }
        // What failed is told by the acks below, record by record.
        let _ = emitter.flush(DELIVERY);
        let mut delivered = 0;
        for ack in acks {
            match ack.wait(DELIVERY) {
                Ok(_) => delivered += 1,
                Err(failed) => {
                    error = Some(failed.to_string());
                    break;
                }
            }
        }
        Ok(Delivery { delivered, error })
    }

    fn emitter(&self, topic: &str) -> Result<Arc<RawEmitter>, EmitError> {
        let mut emitters = self.emitters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(emitter) = emitters.get(topic) {
            return Ok(emitter.clone());
        }
        let emitter = {
            let declared = Declared::default();
            RawEmitter::new(&*self.log, topic, nowhere, declared, &TopicWait::default())
        };
        let emitter = Arc::new(emitter?);
        emitters.insert(topic.to_owned(), emitter.clone());
        Ok(emitter)
    }

    /// The value of one key.
    pub(super) fn get(
        &self,
        topic: &str,
        partition: i32,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, CliError> {
        fold::last(&*self.log, topic, partition, key)
    }

    /// Entries in key order, in parts that are bounded.
    pub(super) fn scan(
        &self,
        topic: (&str, i32),
        prefix: &[u8],
        limit: Option<usize>,
        each: &mut dyn FnMut(fold::Entries) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        fold::table(&*self.log, topic, prefix, limit, self.memory, each)
    }
}

/// The partitioner of an emitter that is told every partition.
fn nowhere(_: &[u8], _: i32) -> i32 {
    0
}
