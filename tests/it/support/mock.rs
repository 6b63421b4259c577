//! A mock cluster of librdkafka, which answers requests as a test says.

use std::time::Duration;

use goka_runtime::log::Group;
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::record::{Guarantee, TopicId};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use super::unique;
use crate::log_conformance::rig::SESSION;

/// A mock cluster, and a group of one task.
pub struct Mock {
    pub cluster: MockCluster<'static, DefaultProducerContext>,
    pub log: Kafka,
    pub group: Group,
}

impl Mock {
    /// The calls of its log wait for a broker for so long.
    pub fn new(guarantee: Guarantee, timeout: Duration) -> Self {
        let cluster = MockCluster::new(1).expect("a cluster");
        let log = Kafka::new(KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            deadline: timeout,
            ..KafkaConfig::default()
        });
        let (table, input) = (unique("table"), unique("input"));
        for topic in [&table, &input] {
            cluster
                .create_topic(topic, 1, 1)
                .expect("the topic is created");
        }
        // Only transactions need an instance name.
        let instance = match guarantee {
            Guarantee::AtLeastOnce => String::new(),
            Guarantee::ExactlyOnce => unique("instance"),
        };
        let group = Group {
            name: unique("group").into(),
            topics: vec![table.as_str().into(), input.as_str().into()],
            inputs: vec![TopicId(1)],
            lead: Some(TopicId(0)),
            instance,
            worker: 0,
            session_timeout: SESSION,
            max_poll_interval: Duration::from_secs(300),
            guarantee,
            transaction_timeout: Duration::from_secs(60),
        };
        let log = log.expect("a client");
        Self {
            cluster,
            log,
            group,
        }
    }

    /// Answers the next requests of a kind with errors, one each.
    pub fn answer(&self, api: Api, answers: &[Answer]) {
        self.cluster.request_errors(api, answers);
    }
}
