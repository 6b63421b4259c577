//! What commands do with a log that this process has open: Kafka, or the embedded log that no other
//! process has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::CommandError;
use super::fold::{self, Entries};
use super::protocol::{Bytes, Delivery, PartitionedRecord, Reply, Request};
use crate::context::Emit;
use crate::emitter::{self, Declared, RawEmitter};
use crate::lock::lock;
use crate::log::{Log, TopicWait};

/// How long the records of a batch may take to be acknowledged.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes for the entries of a scan in the memory of a command; a larger table is read in several passes.
const SCAN_MEMORY: usize = 256 << 20;

/// A log that this process has open.
#[derive(Debug, Clone)]
pub(crate) struct OpenLog {
    log: Arc<dyn Log>,
    /// By topic; kept because a producer is expensive to make.
    emitters: Arc<Mutex<HashMap<String, Arc<RawEmitter>>>>,
    scan_memory: usize,
}

impl OpenLog {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self {
            log,
            emitters: Arc::default(),
            scan_memory: SCAN_MEMORY,
        }
    }

    pub(crate) fn with_scan_memory(self, scan_memory: usize) -> Self {
        Self {
            scan_memory,
            ..self
        }
    }

    /// Answers a request; hands the entries of a scan to `part`, in parts of bounded size.
    pub(crate) fn answer<E: From<CommandError>>(
        &self,
        request: Request,
        part: &mut dyn FnMut(Entries) -> Result<(), E>,
    ) -> Result<Reply, E> {
        match request {
            Request::Stream {
                topic,
                declared: partitions,
                is_table,
            } => {
                let declared = Declared {
                    partitions,
                    is_table,
                };
                let info = emitter::target(&*self.log, &topic, declared, &TopicWait::default());
                let info = info.map_err(CommandError::Emit)?;
                Ok(Reply::Partitions(Some(info.partitions)))
            }
            Request::Table { topic } => Ok(Reply::Partitions(self.table(&topic)?)),
            Request::Emit { topic, records } => Ok(Reply::Emitted(self.emit(&topic, &records)?)),
            Request::Get {
                topic,
                partition,
                key,
            } => {
                let value = fold::last(&*self.log, &topic, partition, &key.0)?;
                Ok(Reply::Value(value.map(Bytes)))
            }
            Request::Scan {
                topic,
                partitions,
                prefix,
                limit,
            } => {
                self.check_partitions(&topic, partitions)?;
                let (table, memory) = ((&*topic, partitions), self.scan_memory);
                fold::table(&*self.log, table, &prefix.0, limit, memory, part)?;
                Ok(Reply::End)
            }
        }
    }

    /// How long a command waits for a topic that is missing.
    pub(crate) fn topic_timeout(&self) -> Duration {
        self.log.topic_timeout()
    }

    /// The partition count of a table's topic; `None` when there is no such topic.
    fn table(&self, topic: &str) -> Result<Option<i32>, CommandError> {
        let found = TopicWait::default().describe_one(&*self.log, topic)?;
        Ok(found.map(|info| info.partitions))
    }

    /// Refuses a table whose topic has other partitions than the command says.
    fn check_partitions(&self, topic: &str, asked: i32) -> Result<(), CommandError> {
        let topic = topic.to_owned();
        match self.table(&topic)? {
            Some(found) if found == asked => Ok(()),
            Some(found) => Err(CommandError::OtherPartitions {
                topic,
                found,
                asked,
            }),
            None => Err(CommandError::NoTopic { topic }),
        }
    }

    /// Emits a batch in order and waits for it.
    fn emit(&self, topic: &str, records: &[PartitionedRecord]) -> Result<Delivery, CommandError> {
        let emitter = self.emitter(topic)?;
        let mut acks = Vec::with_capacity(records.len());
        let mut error = None;
        for record in records {
            let sent = emitter.emit_to(
                record.partition,
                Some(&record.key.0),
                Some(&record.value.0),
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
        // The acks below say of each record whether it failed.
        let _ = emitter.flush(ACK_TIMEOUT);
        let mut delivered = 0;
        for ack in acks {
            match ack.wait(ACK_TIMEOUT) {
                Ok(_) => delivered += 1,
                Err(failed) => {
                    error = Some(failed.to_string());
                    break;
                }
            }
        }
        Ok(Delivery { delivered, error })
    }

    fn emitter(&self, topic: &str) -> Result<Arc<RawEmitter>, CommandError> {
        let mut emitters = lock(&self.emitters);
        if let Some(emitter) = emitters.get(topic) {
            return Ok(emitter.clone());
        }
        let (declared, wait) = (Declared::default(), TopicWait::default());
        let emitter = RawEmitter::new(&*self.log, topic, unused_partitioner, declared, &wait)?;
        let emitter = Arc::new(emitter);
        emitters.insert(topic.to_owned(), emitter.clone());
        Ok(emitter)
    }
}

/// The partitioner of an emitter whose records come with their partitions.
fn unused_partitioner(_: &[u8], _: i32) -> i32 {
    0
}
