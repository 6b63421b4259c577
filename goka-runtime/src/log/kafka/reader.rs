//! Reading without a group: no coordinator is asked, nothing is committed.
//!
//! The position is our own count: one past the last record, or what the end-of-partition event says,
//! which knows of control records, aborted and compacted ones. librdkafka's `position()` is not asked,
//! since batches that hold such an event leave it one too far.

use std::time::{Duration, Instant};

use super::super::{Each, Isolation, LogError, Reader};
use super::codes::is_fetched_again;
use super::config::KafkaConfig;
use super::native::{Batch, Client, Code, EventKind, Fault, Kind, Message, Queue, Topic};
use crate::record::{Offset, Record, TopicPartition};

const BATCH: usize = 5_000;

pub(super) struct KafkaReader {
    batch: Batch,
    partitions: Vec<Partition>,
    records: Queue,
    events: Queue,
}

struct Partition {
    at: TopicPartition,
    topic: Topic,
    position: Offset,
}

impl KafkaReader {
    pub(super) fn new(
        config: &KafkaConfig,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Self, LogError> {
        let failed = |fault| LogError::client("making the reader", fault);
        let client =
            Client::new(Kind::RD_KAFKA_CONSUMER, &config.reading(isolation)).map_err(failed)?;
        let mut reader = Self {
            batch: Batch::default(),
            partitions: Vec::with_capacity(from.len()),
            records: client.new_queue(),
            events: client.main_queue(),
        };
        for (at, offset) in from {
            let topic = client.topic(&at.topic).map_err(failed)?;
            topic
                .start(at.partition, *offset, &reader.records)
                .map_err(|fault| LogError::client(format!("reading {at}"), fault))?;
            reader.partitions.push(Partition {
                at: at.clone(),
                topic,
                position: *offset,
            });
        }
        Ok(reader)
    }

    fn index(&self, topic: &str, partition: i32) -> Option<usize> {
        self.partitions
            .iter()
            .position(|p| p.at.partition == partition && *p.at.topic == *topic)
    }

    /// Takes the client's own events. Whether it has ended is asked for, since not every client reports
    /// that as an event.
    fn listen(&self) -> Result<(), LogError> {
        while let Some(event) = self.events.poll(Duration::ZERO) {
            if event.kind() == EventKind::Error
                && let Some(fault) = event.fault()
            {
                tracing::debug!(reason = fault.reason, "reader error");
            }
        }
        match self.events.client().fatal() {
            Some(fault) => Err(LogError::client("reading", fault)),
            None => Ok(()),
        }
    }

    fn error(&self, index: usize, code: Code, reason: String) -> LogError {
        let Partition { at, position, .. } = &self.partitions[index];
        read_error(code, at, *position, reason)
    }

    fn hand_over(&mut self, batch: &mut Batch, each: Each<'_>) -> Result<(), LogError> {
        let mut records: Vec<Record<'_>> = Vec::with_capacity(batch.messages().len());
        for run in batch.runs() {
            let Some(index) = self.index(run[0].topic(), run[0].partition()) else {
                continue;
            };
            match run[0].error() {
                None => {
                    let position = self.partitions[index].position;
                    records.clear();
                    // A fetched batch starts where it was written, which may be before the position.
                    let new = run.iter().filter(|message| message.offset() >= position);
                    records.extend(new.map(Message::record));
                    if let Some(last) = records.last() {
                        self.partitions[index].position = last.offset + 1;
                        each(index, &records);
                    }
                }
                Some(Code::PartitionEOF) => {
                    let position = &mut self.partitions[index].position;
                    *position = run[0].offset().max(*position);
                }
                // The client makes the fetch again.
                Some(code) if is_fetched_again(code) => {
                    tracing::debug!(reason = run[0].error_text(), "fetch failed, and is retried");
                }
                Some(code) => return Err(self.error(index, code, run[0].error_text())),
            }
        }
        for lost in batch.take_errors() {
            if let Some(index) = self.index(&lost.at.topic, lost.at.partition)
                && !is_fetched_again(lost.fault.code)
            {
                return Err(self.error(index, lost.fault.code, lost.fault.reason.clone()));
            }
        }
        Ok(())
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, max: Duration, each: Each<'_>) -> Result<(), LogError> {
        self.listen()?;
        let until = Instant::now() + max;
        let mut batch = std::mem::take(&mut self.batch);
        batch.fill(&self.records, BATCH, until - Instant::now());
        let done = self.hand_over(&mut batch, each);
        batch.clear();
        self.batch = batch;
        done
    }

    fn position(&mut self, index: usize) -> Offset {
        self.partitions[index].position
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.topic.stop(partition.at.partition);
        }
    }
}

/// The error that a code in place of a record means.
pub(super) fn read_error(
    code: Code,
    at: &TopicPartition,
    offset: Offset,
    reason: String,
) -> LogError {
    let topic = &at.topic;
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange => LogError::out_of_range(at, offset),
        Code::UnknownTopicOrPartition | Code::UnknownTopic => LogError::unknown_topic(topic),
        Code::UnknownPartition => LogError::unknown_partition(topic, at.partition),
        Code::TopicAuthorizationFailed => {
            LogError::refused(format!("reading topic `{topic}`"), Fault { code, reason })
        }
        _ => LogError::client(format!("reading {at}"), Fault { code, reason }),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    /// Views and restores make a new reader then.
    #[test]
    fn a_reader_whose_client_ended_says_so() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("topic", 1, 1).expect("made");
        let config = KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            ..KafkaConfig::default()
        };
        let from = [(TopicPartition::new("topic", 0), 0)];
        let mut reader =
            KafkaReader::new(&config, &from, Isolation::ReadCommitted).expect("a reader");
        let poll =
            |reader: &mut KafkaReader| reader.poll(Duration::from_millis(20), &mut |_, _| {});
        poll(&mut reader).expect("nothing to read");
        reader.events.client().end(Code::Inconsistent, "as asked");
        let until = Instant::now() + Duration::from_secs(60);
        let error = loop {
            match poll(&mut reader) {
                Ok(()) => assert!(Instant::now() < until, "it is dead and does not say so"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("as asked"), "{error}");
    }
}
