//! What becomes of a question that a broker answers with an error, or not at all: only what is known as
//! final ends anything. On a cluster that answers as it is told to.

use std::time::Duration;

use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::log::{Group, Isolation, Log, LogError, MemberTimeout};
use goka_runtime::record::{Guarantee, TopicId};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use crate::log_conformance::rig::*;

/// A cluster, and a group of one task.
struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    log: Kafka,
    group: Group,
}

impl Mock {
    /// Its calls wait for a broker for so long.
    fn new(deadline: Duration) -> Self {
        let cluster = MockCluster::new(1).expect("a cluster");
        let log = Kafka::new(KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            deadline,
            ..KafkaConfig::default()
        });
        let (table, input) = (unique("table"), unique("input"));
        for topic in [&table, &input] {
            cluster.create_topic(topic, 1, 1).expect("made");
        }
        let group = Group {
            name: unique("group").into(),
            topics: vec![table.as_str().into(), input.as_str().into()],
            inputs: vec![TopicId(1)],
            lead: Some(TopicId(0)),
            instance: String::new(),
            worker: 0,
            session_timeout: SESSION,
            max_poll_interval: Duration::from_secs(300),
            guarantee: Guarantee::AtLeastOnce,
            transaction_timeout: TIMEOUT,
        };
        Self {
            cluster,
            log: log.expect("a client"),
            group,
        }
    }

    fn answer(&self, api: Api, answers: &[Answer]) {
        self.cluster.request_errors(api, answers);
    }

    /// What ends a member that joins.
    fn ends_with(&self) -> LogError {
        let mut member = TestMember::join(&self.log, &self.group);
        let mut error = None;
        wait_until("the member ends", || {
            error = member.inner.poll(TICK, &mut member.recorder).err();
            error.is_some()
        });
        error.expect("just seen")
    }
}

/// What may pass, in a coordinator's words.
const PASSING: [Answer; 6] = [
    Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    Answer::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    Answer::RD_KAFKA_RESP_ERR_UNKNOWN,
    Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    Answer::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
];

#[test]
fn a_failed_read_of_committed_offsets_is_retried() {
    for answer in PASSING {
        let mock = Mock::new(Duration::from_secs(60));
        mock.answer(Api::OffsetFetch, &[answer; 3]);
        let mut member = TestMember::join(&mock.log, &mock.group);
        wait_until("the task is told", || {
            let polled = member.inner.poll(TICK, &mut member.recorder);
            assert_eq!(polled, Ok(()), "{answer:?}");
            member.recorder.owned.len() == 1
        });
    }
}

#[test]
fn a_member_is_degraded_while_committed_offsets_cannot_be_read() {
    let mock = Mock::new(Duration::from_secs(5));
    mock.answer(
        Api::OffsetFetch,
        &[Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT; 10_000],
    );
    let mut member = TestMember::join(&mock.log, &mock.group);
    member.poll_until("trouble is told", |recorder| !recorder.degraded.is_empty());
    let words = member.recorder.degraded[0].clone().expect("what it is");
    assert!(words.contains("committed offsets"), "{words}");
    assert!(words.contains("Timed out"), "{words}");
    assert!(member.recorder.owned.is_empty());
    mock.cluster.clear_request_errors(Api::OffsetFetch);
    member.poll_until("it is assigned", |recorder| recorder.owned.len() == 1);
    member.poll_until("the trouble is over", |recorder| {
        recorder.degraded.len() == 2
    });
    assert_eq!(member.recorder.degraded[1], None);
}

#[test]
fn a_member_without_permission_to_read_committed_offsets_ends() {
    for answer in [
        Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Answer::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID,
    ] {
        let mock = Mock::new(Duration::from_secs(60));
        mock.answer(Api::OffsetFetch, &[answer; 10_000]);
        let error = mock.ends_with();
        assert!(matches!(error, LogError::Refused { .. }), "{error:?}");
    }
}

#[test]
fn a_session_timeout_that_the_broker_refuses_ends_the_member() {
    let mock = Mock::new(Duration::from_secs(60));
    mock.answer(
        Api::JoinGroup,
        &[Answer::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT; 10_000],
    );
    let error = mock.ends_with();
    let LogError::TimeoutRefused { timeout, group, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (*timeout, &**group),
        (MemberTimeout::Session, &*mock.group.name)
    );
}

#[test]
fn a_failed_read_of_another_groups_offsets_is_retried() {
    for answer in PASSING {
        let mock = Mock::new(Duration::from_secs(60));
        mock.answer(Api::OffsetFetch, &[answer; 3]);
        let at = [tp(mock.group.topic(TopicId(1)), 0)];
        let committed = mock.log.committed(&mock.group.name, &at);
        assert_eq!(committed, Ok(vec![None]), "{answer:?}");
    }
}

#[test]
fn a_failed_fetch_is_retried() {
    let mock = Mock::new(Duration::from_secs(60));
    let input = mock.group.topic(TopicId(1));
    write(&mock.log, input, 0, 0..3);
    let mut member = TestMember::owning(&mock.log, &mock.group, 1);
    mock.answer(
        Api::Fetch,
        &[
            Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Answer::RD_KAFKA_RESP_ERR_UNKNOWN,
            Answer::RD_KAFKA_RESP_ERR_INVALID_MSG,
        ],
    );
    member.fetch(task(0), 1, 0);
    member.poll_until("the records come", |recorder| {
        assert!(
            recorder.failed_inputs.is_empty(),
            "{:?}",
            recorder.failed_inputs
        );
        recorder.records(task(0), TopicId(1)).len() == 3
    });
    mock.answer(
        Api::Fetch,
        &[Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT; 3],
    );
    let from = [(tp(input, 0), 0)];
    let reader = mock.log.reader(&from, Isolation::ReadCommitted);
    let (mut reader, mut count) = (reader.expect("a reader"), 0);
    wait_until("readers go on, too", || {
        let polled = reader.poll(TICK, &mut |_, records| count += records.len());
        assert_eq!(polled, Ok(()));
        count == 3
    });
}
