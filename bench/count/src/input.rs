//! The input: numbers as text under random keys, the same for the same seed.

use std::time::Duration;

use goka_bench_floor::Result;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// How long the broker may take to acknowledge the last records.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Random numbers: SplitMix64 of Steele, Lea and Flood.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = u128::from(z ^ (z >> 31));
        // The high half of the product: even enough, without a division.
        u64::try_from((z * u128::from(end)) >> 64).unwrap_or(0)
    }
}

/// The size of the input, and the seed of its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    pub(crate) records: u64,
    pub(crate) keys: u64,
    pub(crate) seed: u64,
}

impl Input {
    /// The keys and numbers, in the order of the topic.
    pub(crate) fn each(self) -> impl Iterator<Item = (String, i64)> {
        let mut random = Random(self.seed);
        (0..self.records).map(move |at| {
            let key = format!("k{}", random.below(self.keys));
            (key, i64::try_from(at % 9).unwrap_or(0) + 1)
        })
    }

    /// Writes the input to a topic, with the partitioner of Java's client.
    pub(crate) fn load(self, brokers: &str, topic: &str) -> Result<()> {
        let producer = producer(brokers)?;
        for (key, add) in self.each() {
            let value = add.to_string();
            let mut record = BaseRecord::to(topic).key(&key).payload(&value);
            while let Err((error, back)) = producer.send(record) {
                match error {
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => record = back,
                    error => return Err(error.into()),
                }
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(TIMEOUT)?;
        Ok(())
    }
}

/// A producer with the partitioner of Java's client.
pub(crate) fn producer(brokers: &str) -> Result<BaseProducer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2")
        .set("acks", "all")
        .set("linger.ms", "5")
        .create()?)
}
