//! Makes the log engine that the settings name.

use std::sync::Arc;

use super::data::DataDir;
use super::error::CliError;
use crate::log::Log;
use crate::log::embedded::Embedded;

/// The embedded log of a data directory that this process holds.
pub(super) fn embedded(dir: &DataDir) -> Result<Arc<dyn Log>, CliError> {
    Ok(Arc::new(Embedded::open(&dir.log())?))
}

/// A Kafka cluster.
#[cfg(feature = "kafka")]
pub(super) fn kafka(brokers: &str) -> Result<Arc<dyn Log>, CliError> {
    use crate::log::kafka::{Kafka, KafkaConfig};
    Ok(Arc::new(Kafka::new(KafkaConfig {
        brokers: brokers.to_owned(),
        ..KafkaConfig::default()
    })?))
}

/// A Kafka cluster, for which this binary was not built.
#[cfg(not(feature = "kafka"))]
pub(super) fn kafka(brokers: &str) -> Result<Arc<dyn Log>, CliError> {
    Err(CliError::new(format!(
        "brokers `{brokers}` are named, but this binary is built without Kafka; build it with goka's \
         feature `kafka`, or leave `--brokers` / GOKA_BROKERS out"
    )))
}
