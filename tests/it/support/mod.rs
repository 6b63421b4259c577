//! What the tests of this binary share, with the parts that benchmarks use too: a real Kafka, waiting
//! with a timeout, unique names.

pub mod cases;
pub mod definition;
pub mod disk;
pub mod events;
pub mod mock;
pub mod offsets;
pub mod program;
pub mod proxy;

use std::time::Duration;

use goka_runtime::log::kafka::{Kafka, KafkaConfig};

pub use goka_test_support::{block_on, kafka, unique, wait_until};

/// How long a test waits for what has to happen. Only a failure takes so long: many times what a recovery takes on a
/// machine that is busy with other things.
pub const TIMEOUT: Duration = Duration::from_secs(180);

/// Kafka's log engine with its default settings.
#[track_caller]
pub fn kafka_log(brokers: impl Into<String>) -> Kafka {
    let config = KafkaConfig {
        brokers: brokers.into(),
        ..KafkaConfig::default()
    };
    Kafka::new(config).expect("a client")
}

/// Whether the long forms of tests run, with `GOKA_LONG=1`.
pub fn is_long() -> bool {
    std::env::var("GOKA_LONG").is_ok_and(|set| set == "1")
}
