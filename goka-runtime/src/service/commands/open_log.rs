//! What commands do with a log that this process has open: Kafka, or the embedded log that no other
//! process has open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fold::{self, Entries, ReadError};
use crate::context::Emit;
use crate::emitter::{self, Declared, EmitError, RawEmitter};
use crate::lock::lock;
use crate::log::{Log, LogError, TopicWait};

/// How long the records of a batch may take to be acknowledged.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes for the entries of a scan in the memory of a command; a larger table is read in several passes.
const SCAN_MEMORY: usize = 256 << 20;

/// A record to be emitted. The command computes the partition, since it knows the topic's partitioner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionedRecord {
    pub(crate) partition: i32,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// How much of a batch was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// How many records, from the first on.
    pub(crate) delivered: usize,
    /// Why the record after them was not.
    pub(crate) error: Option<String>,
}

/// A log that this process has open.
#[derive(Debug, Clone)]
pub(crate) struct OpenLog {
    log: Arc<dyn Log>,
    /// By topic; kept because a producer is expensive to make.
    emitters: Arc<Mutex<HashMap<String, Arc<RawEmitter>>>>,
    /// Bytes for the entries of one scan.
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

    /// The same, with other memory for a scan.
    pub(crate) fn with_scan_memory(self, scan_memory: usize) -> Self {
        Self {
            scan_memory,
            ..self
        }
    }

    /// The partition count of a topic to emit to; the embedded log makes it when it does not exist.
    pub(crate) fn target(&self, topic: &str, declared: Declared) -> Result<i32, EmitError> {
        let wait = TopicWait::default();
        Ok(emitter::target(&*self.log, topic, declared, &wait)?.partitions)
    }

    /// How long a command waits for a topic that is missing.
    pub(crate) fn topic_timeout(&self) -> Duration {
        self.log.topic_timeout()
    }

    /// The partition count of a table's topic; `None` when there is no such topic.
    pub(crate) fn table(&self, topic: &str) -> Result<Option<i32>, LogError> {
        let found = TopicWait::default().describe_one(&*self.log, topic)?;
        Ok(found.map(|info| info.partitions))
    }

    /// Emits a batch in order and waits for it.
    pub(crate) fn emit(
        &self,
        topic: &str,
        records: &[PartitionedRecord],
    ) -> Result<Delivery, EmitError> {
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

    fn emitter(&self, topic: &str) -> Result<Arc<RawEmitter>, EmitError> {
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

    /// The value of one key.
    pub(crate) fn get(
        &self,
        topic: &str,
        partition: i32,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, ReadError> {
        fold::last(&*self.log, topic, partition, key)
    }

    /// Entries in key order, in parts of bounded size.
    pub(crate) fn scan<E: From<ReadError>>(
        &self,
        topic: (&str, i32),
        prefix: &[u8],
        limit: Option<usize>,
        each: &mut dyn FnMut(Entries) -> Result<(), E>,
    ) -> Result<(), E> {
        fold::table(&*self.log, topic, prefix, limit, self.scan_memory, each)
    }
}

/// The partitioner of an emitter whose records come with their partitions.
fn unused_partitioner(_: &[u8], _: i32) -> i32 {
    0
}
