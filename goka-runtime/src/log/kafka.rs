//! The Kafka engine: the log seam over librdkafka. It owns clients, group membership, delivery and
//! commits; it knows nothing of handlers, codecs and tables. Made by the facade, used through
//! [`Log`] by the worker, the restorer, emitters, views and commands.

mod admin;
mod appender;
mod codes;
mod config;
mod identity;
mod member;
mod member_producer;
#[allow(unsafe_code)]
mod native;
mod offsets;
mod producer;
mod reader;

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

pub use config::KafkaConfig;

use admin::{Admin, TOPIC_TIMEOUT};
use appender::KafkaAppender;
use member::KafkaMember;
use reader::KafkaReader;

use super::{
    Appender, ClusterId, Committed, Group, Isolation, Log, LogError, Member, NewTopic, OffsetRange,
    OnDelivery, Reader, TopicInfo, lock,
};
use crate::record::{Offset, TopicPartition};

/// Apache Kafka as the log. Made without asking a broker: what is wrong with the cluster shows in
/// the first call.
///
/// ```
/// use goka_runtime::log::{Log, kafka::{Kafka, KafkaConfig}};
/// let kafka = Kafka::new(KafkaConfig { brokers: "localhost:9092".into(), ..Default::default() })?;
/// assert_eq!(kafka.describe_self(), "Kafka at localhost:9092");
/// # Ok::<(), goka_runtime::log::LogError>(())
/// ```
pub struct Kafka {
    admin: Admin,
    /// `max.message.bytes` of the topics described so far. A batch is kept below it, so that a
    /// record that a topic refuses for its size is refused alone.
    limits: Mutex<HashMap<String, usize>>,
}

impl Kafka {
    /// Checks the configuration and makes the client that asks.
    ///
    /// # Errors
    /// [`LogError::Client`], naming a property that librdkafka does not know or that is ours to set.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        config.check()?;
        Ok(Self {
            admin: Admin::new(config)?,
            limits: Mutex::default(),
        })
    }

    /// The largest batch that every one of some topics takes, as far as is known.
    fn batch_bytes(&self, is_one: impl Fn(&str) -> bool) -> usize {
        let limits = lock(&self.limits);
        let known = limits.iter().filter(|(topic, _)| is_one(topic));
        known.map(|(_, limit)| *limit).min().unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("brokers", &self.admin.config.brokers)
            .finish_non_exhaustive()
    }
}

impl Log for Kafka {
    fn describe_self(&self) -> String {
        format!("Kafka at {}", self.admin.config.brokers)
    }

    fn topic_timeout(&self) -> Duration {
        TOPIC_TIMEOUT
    }

    fn join(&self, group: &Group) -> Result<Box<dyn Member>, LogError> {
        let batch = self.batch_bytes(|topic| group.topic_id(topic).is_some());
        let config = self.admin.config.clone();
        Ok(Box::new(KafkaMember::join(config, group.clone(), batch)?))
    }

    fn appender(&self, delivered: OnDelivery) -> Result<Box<dyn Appender>, LogError> {
        let batch = self.batch_bytes(|_| true);
        let config = self.admin.config.clone();
        Ok(Box::new(KafkaAppender::new(config, batch, delivered)?))
    }

    fn reader(
        &self,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>, LogError> {
        let config = &self.admin.config;
        Ok(Box::new(KafkaReader::new(config, from, isolation)?))
    }

    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let infos = self.admin.describe(topics)?;
        let limits = infos.iter().flatten();
        lock(&self.limits).extend(limits.map(|it| (it.name.clone(), it.max_message_bytes)));
        Ok(infos)
    }

    fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetRange>, LogError> {
        self.admin.ranges(partitions)
    }

    fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.admin.create(topic)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError> {
        self.admin.committed(group, partitions)
    }

    fn lists_groups(&self) -> bool {
        true
    }

    fn all_committed(
        &self,
        group: &str,
        partitions: i32,
    ) -> Result<Vec<(TopicPartition, Committed)>, LogError> {
        self.admin.all_committed(group, partitions)
    }

    fn holder(&self, group: &str, at: &TopicPartition) -> Option<String> {
        self.admin.holder(group, at)
    }

    fn cluster(&self) -> Result<ClusterId, LogError> {
        self.admin.cluster()
    }
}
