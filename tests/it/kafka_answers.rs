//! Requests that a broker answers with an error, or not at all: all but final errors are retried. The broker
//! is a mock cluster.

use std::time::Duration;

use goka_runtime::log::{Isolation, Log, LogError, MemberTimeout};
use goka_runtime::record::{Guarantee, TopicId};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use crate::log_conformance::rig::*;
use crate::support::mock::Mock;

/// A mock cluster, and a group on it that is at least once.
fn mock(timeout: Duration) -> Mock {
    Mock::new(Guarantee::AtLeastOnce, timeout)
}

/// Joins the group; returns the error that ends the member.
fn end_of_member(mock: &Mock) -> LogError {
    let mut member = TestMember::join(&mock.log, &mock.group);
    let mut error = None;
    wait_until("the member ends", || {
        error = member.inner.poll(TICK, &mut member.recorder).err();
        error.is_some()
    });
    error.expect("just seen")
}

/// Errors of a coordinator that are not final.
const RETRIABLE: [Answer; 6] = [
    Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    Answer::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
    Answer::RD_KAFKA_RESP_ERR_UNKNOWN,
    Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    Answer::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
];

#[test]
fn a_failed_read_of_committed_offsets_is_retried() {
    for answer in RETRIABLE {
        let mock = mock(Duration::from_secs(60));
        mock.answer(Api::OffsetFetch, &[answer; 3]);
        let mut member = TestMember::join(&mock.log, &mock.group);
        wait_until("the task is assigned", || {
            let polled = member.inner.poll(TICK, &mut member.recorder);
            assert_eq!(polled, Ok(()), "{answer:?}");
            member.recorder.owned.len() == 1
        });
    }
}

#[test]
fn a_member_is_degraded_while_committed_offsets_cannot_be_read() {
    let mock = mock(Duration::from_secs(5));
    mock.answer(
        Api::OffsetFetch,
        &[Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT; 10_000],
    );
    let mut member = TestMember::join(&mock.log, &mock.group);
    member.poll_until("the member is degraded", |recorder| {
        !recorder.degraded.is_empty()
    });
    let words = member.recorder.degraded[0].clone().expect("an error");
    assert!(words.contains("committed offsets"), "{words}");
    assert!(words.contains("Timed out"), "{words}");
    assert!(member.recorder.owned.is_empty());
    mock.cluster.clear_request_errors(Api::OffsetFetch);
    member.poll_until("it is assigned", |recorder| recorder.owned.len() == 1);
    member.poll_until("the member has recovered", |recorder| {
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
        let mock = mock(Duration::from_secs(60));
        mock.answer(Api::OffsetFetch, &[answer; 10_000]);
        let error = end_of_member(&mock);
        assert!(matches!(error, LogError::Refused { .. }), "{error:?}");
    }
}

#[test]
fn a_session_timeout_that_the_broker_refuses_ends_the_member() {
    let mock = mock(Duration::from_secs(60));
    mock.answer(
        Api::JoinGroup,
        &[Answer::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT; 10_000],
    );
    let error = end_of_member(&mock);
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
    for answer in RETRIABLE {
        let mock = mock(Duration::from_secs(60));
        mock.answer(Api::OffsetFetch, &[answer; 3]);
        let at = [tp(mock.group.topic(TopicId(1)), 0)];
        let committed = mock.log.committed(&mock.group.name, &at);
        assert_eq!(committed, Ok(vec![None]), "{answer:?}");
    }
}

#[test]
fn a_failed_fetch_is_retried() {
    let mock = mock(Duration::from_secs(60));
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
    member.poll_until("the records are fetched", |recorder| {
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
    wait_until("a reader reads them, too", || {
        let polled = reader.poll(TICK, &mut |_, records| count += records.len());
        assert_eq!(polled, Ok(()));
        count == 3
    });
}
