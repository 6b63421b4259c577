//! Opens the log: the embedded one, or Kafka.

use std::sync::Arc;

use super::data_dir::DataDir;
use super::error::RunError;
use crate::log::Log;
use crate::log::embedded::Embedded;

/// The embedded log in a data directory, which this process has to hold.
pub(crate) fn embedded(dir: &DataDir) -> Result<Arc<dyn Log>, RunError> {
    Ok(Arc::new(Embedded::open(&dir.log())?))
}

/// A Kafka cluster, by its brokers.
#[cfg(feature = "kafka")]
pub(crate) fn kafka(brokers: &str) -> Result<Arc<dyn Log>, RunError> {
    use crate::log::kafka::{Kafka, KafkaConfig};
    Ok(Arc::new(Kafka::new(KafkaConfig {
        brokers: brokers.to_owned(),
        ..KafkaConfig::default()
    })?))
}

/// Refuses a Kafka cluster: this binary is built without Kafka.
#[cfg(not(feature = "kafka"))]
pub(crate) fn kafka(brokers: &str) -> Result<Arc<dyn Log>, RunError> {
    Err(RunError::NoKafka {
        brokers: brokers.to_owned(),
    })
}
