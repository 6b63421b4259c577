//! Counts by key with rdkafka alone, on one thread, with a hash map as the table: what a processor is
//! compared with. As goka does, it writes every update to a changelog, and commits offsets when all updates
//! are acknowledged, or everything in one transaction. It writes nothing to disk, so that a restart would
//! read the whole changelog.
//!
//! It does not use goka. Its clients have the same properties as goka's.

#[allow(unsafe_code)]
mod native;

use std::collections::HashMap;
use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustix::time::{ClockId, clock_gettime};

use native::{Fetch, Topic, send_now};

/// How many messages are taken at once.
const BATCH: usize = 2_000;

/// How long it waits without progress.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An error of a run.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A point in time: the clock, and the processor time of all threads of this process so far.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The clock.
    pub clock: Instant,
    /// Processor time of the whole process.
    pub cpu: Duration,
}

impl Moment {
    /// The present time.
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(cpu.tv_sec).unwrap_or(0);
        let nanoseconds = u32::try_from(cpu.tv_nsec).unwrap_or(0);
        Self {
            clock: Instant::now(),
            cpu: Duration::new(seconds, nanoseconds),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Floor {
    /// The bootstrap servers.
    pub brokers: String,
    /// The group whose offsets are committed; also the transactional id.
    pub group: String,
    /// The topic with keys, and numbers as decimal text.
    pub input: String,
    /// The topic that takes every update; with as many partitions.
    pub changelog: String,
    /// How many partitions there are.
    pub partitions: i32,
    /// How many records the input has.
    pub records: u64,
    /// How often offsets are committed.
    pub barrier: Duration,
    /// Whether offsets and updates are committed in transactions.
    pub exactly_once: bool,
}

/// The result of a run.
#[derive(Debug)]
pub struct Counted {
    /// When the first record was in hand.
    pub first: Moment,
    /// When the last offset was committed.
    pub committed: Moment,
    /// The counts of each key, by partition.
    pub counts: Vec<HashMap<Vec<u8>, i64>>,
}

/// The first error of a delivery.
#[derive(Default)]
struct Failed(Mutex<Option<KafkaError>>);

impl ClientContext for Failed {}

impl ProducerContext for Failed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result
            && let Ok(mut failed) = self.0.lock()
        {
            failed.get_or_insert_with(|| error.clone());
        }
    }
}

impl Floor {
    /// Counts all records of the input.
    ///
    /// # Errors
    /// Any error of Kafka; nothing is retried.
    pub fn run(&self) -> Result<Counted> {
        let consumer = self.consumer()?;
        let producer = self.producer()?;
        if self.exactly_once {
            producer.init_transactions(TIMEOUT)?;
            producer.begin_transaction()?;
        }
        let changelog = Topic::new(&producer, &self.changelog)?;
        let mut fetch = Fetch::new(&consumer);
        let partitions = usize::try_from(self.partitions)?;
        let mut counts: Vec<HashMap<Vec<u8>, i64>> = vec![HashMap::new(); partitions];
        let mut next = vec![0; partitions];
        let mut text = itoa::Buffer::new();
        let (mut first, mut handled) = (None, 0);
        let (mut last_progress, mut committed_at) = (Instant::now(), Instant::now());
        loop {
            for message in fetch.next(BATCH, Duration::from_millis(10)) {
                let message = message?;
                first.get_or_insert_with(Moment::now);
                let at = usize::try_from(message.partition())?;
                let add: i64 = std::str::from_utf8(message.value())?.parse()?;
                let count = add_to(&mut counts[at], message.key(), add);
                let value = text.format(count).as_bytes();
                while let Err(code) = changelog.produce(message.partition(), message.key(), value) {
                    match code {
                        RDKafkaErrorCode::QueueFull => producer.poll(Duration::from_millis(1)),
                        code => return Err(code.into()),
                    }
                }
                next[at] = message.offset() + 1;
                handled += 1;
                last_progress = Instant::now();
            }
            producer.poll(Duration::ZERO);
            if last_progress.elapsed() > TIMEOUT {
                return Err(format!("no records after {handled} of {}", self.records).into());
            }
            if handled == self.records || committed_at.elapsed() >= self.barrier {
                self.commit(&consumer, &producer, &next)?;
                committed_at = Instant::now();
            }
            if handled == self.records {
                return Ok(Counted {
                    first: first.unwrap_or_else(Moment::now),
                    committed: Moment::now(),
                    counts,
                });
            }
        }
    }

    fn consumer(&self) -> Result<BaseConsumer> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("fetch.queue.backoff.ms", "2")
            .set("fetch.wait.max.ms", "100")
            .create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..self.partitions {
            all.add_partition_offset(&self.input, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        Ok(consumer)
    }

    fn producer(&self) -> Result<BaseProducer<Failed>> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "1048576");
        if self.exactly_once {
            config.set("transactional.id", &self.group);
        }
        Ok(config.create_with_context(Failed::default())?)
    }

    /// Waits until everything is acknowledged, then commits the positions in the input. The producer's own
    /// flush is not used, since it waits 100 ms at a time.
    fn commit(
        &self,
        consumer: &BaseConsumer,
        producer: &BaseProducer<Failed>,
        next: &[i64],
    ) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while producer.in_flight_count() > 0 {
            send_now(producer);
            producer.poll(Duration::from_millis(1));
            if Instant::now() > deadline {
                return Err("the broker does not acknowledge the updates".into());
            }
        }
        let failed = producer.context().0.lock().map_err(|_| "a panic before")?;
        if let Some(error) = &*failed {
            return Err(error.clone().into());
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in (0..self.partitions).zip(next) {
            offsets.add_partition_offset(&self.input, partition, Offset::Offset(*offset))?;
        }
        if !self.exactly_once {
            return Ok(consumer.commit(&offsets, CommitMode::Sync)?);
        }
        let group = consumer
            .group_metadata()
            .ok_or("a consumer with a group id has group metadata")?;
        producer.send_offsets_to_transaction(&offsets, &group, TIMEOUT)?;
        producer.commit_transaction(TIMEOUT)?;
        // The last transaction stays empty, and is left open.
        Ok(producer.begin_transaction()?)
    }
}

/// Adds to a key's count; returns the new count.
fn add_to(counts: &mut HashMap<Vec<u8>, i64>, key: &[u8], add: i64) -> i64 {
    if let Some(count) = counts.get_mut(key) {
        *count += add;
        return *count;
    }
    counts.insert(key.to_vec(), add);
    add
}
