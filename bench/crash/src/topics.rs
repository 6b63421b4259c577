//! The topics as seen by a client other than goka's: librdkafka alone.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub(crate) const PARTITIONS: i32 = 4;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, KafkaError>;

fn client(brokers: &str, group: &str, isolation: &str) -> Result<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", isolation)
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "10")
        .create()
}

/// Reads the end offsets of topics, and the committed offsets of a group.
pub(crate) struct Broker {
    uncommitted: BaseConsumer,
    committed: BaseConsumer,
}

impl Broker {
    pub(crate) fn new(brokers: &str, group: &str) -> Result<Self> {
        Ok(Self {
            uncommitted: client(brokers, group, "read_uncommitted")?,
            committed: client(brokers, group, "read_committed")?,
        })
    }

    /// The end offsets of a topic, open transactions included.
    pub(crate) fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        ends(&self.uncommitted, topic)
    }

    /// The last stable offsets of a topic.
    pub(crate) fn stable_ends(&self, topic: &str) -> Result<Vec<i64>> {
        ends(&self.committed, topic)
    }

    /// The group's committed offsets, without waiting for open transactions.
    pub(crate) fn committed(&self, topic: &str) -> Result<Vec<i64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(topic, partition);
        }
        let list = self.uncommitted.committed_offsets(list, REQUEST_TIMEOUT)?;
        let offset = |partition| list.find_partition(topic, partition).map(|at| at.offset());
        let raw = |offset| match offset {
            Some(Offset::Offset(offset)) => offset,
            _ => 0,
        };
        Ok((0..PARTITIONS)
            .map(|partition| raw(offset(partition)))
            .collect())
    }
}

fn ends(client: &BaseConsumer, topic: &str) -> Result<Vec<i64>> {
    (0..PARTITIONS)
        .map(|partition| {
            Ok(client
                .fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?
                .1)
        })
        .collect()
}

/// Reads the committed records of a topic from its beginning.
pub(crate) struct Follower {
    client: BaseConsumer,
    topic: &'static str,
    positions: Vec<i64>,
}

/// A record as read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

impl Follower {
    pub(crate) fn new(brokers: &str, topic: &'static str) -> Result<Self> {
        let client = client(brokers, "crash-follower", "read_committed")?;
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Offset(0))?;
        }
        client.assign(&list)?;
        let positions = vec![0; PARTITIONS as usize];
        Ok(Self {
            client,
            topic,
            positions,
        })
    }

    /// Reads until every partition's position is at its target; returns whether it got there.
    pub(crate) fn reach(
        &mut self,
        targets: &[i64],
        timeout: Duration,
        mut each: impl FnMut(Seen<'_>),
    ) -> Result<bool> {
        let began = Instant::now();
        loop {
            let is_there = |(position, target): (&i64, &i64)| position >= target;
            if self.positions.iter().zip(targets).all(is_there) {
                return Ok(true);
            }
            if began.elapsed() >= timeout {
                return Ok(false);
            }
            match self.client.poll(Duration::from_millis(5)) {
                Some(Ok(message)) => {
                    let position = &mut self.positions[message.partition() as usize];
                    *position = (*position).max(message.offset() + 1);
                    each(Seen {
                        partition: message.partition(),
                        offset: message.offset(),
                        key: message.key().unwrap_or_default(),
                        value: message.payload(),
                    });
                }
                Some(Err(error)) if error.rdkafka_error_code().is_some() => {
                    eprintln!("reading `{}`: {error}", self.topic);
                }
                Some(Err(error)) => return Err(error),
                // The position also moves past control records.
                None => self.take_positions()?,
            }
        }
    }

    fn take_positions(&mut self) -> Result<()> {
        for element in self.client.position()?.elements() {
            if let Offset::Offset(offset) = element.offset() {
                let position = &mut self.positions[element.partition() as usize];
                *position = (*position).max(offset);
            }
        }
        Ok(())
    }
}
