//! Exactly once on Kafka alone: identities, timeouts, generations, permissions, and errors of a broker. What
//! all engines have in common is in `log_conformance`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::log::{CommitOutcome, Failure, Group, Log, LogError, MemberTimeout};
use goka_runtime::record::{AppendKind, Guarantee, TopicId};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

use crate::log_conformance::as_kafka::{append_and_commit, committed, table};
use crate::log_conformance::rig::*;
use crate::support::kafka::{Broker, another, broker};
use crate::support::kafka_log;
use crate::support::mock::Mock;

use AppendKind::{Changelog, Output};

fn kafka(broker: &Broker) -> Kafka {
    kafka_log(broker.bootstrap())
}

/// A group of one task whose transactions stay open for longer than any test waits.
fn exactly_once(log: &dyn Log) -> Group {
    Group {
        guarantee: Guarantee::ExactlyOnce,
        transaction_timeout: 5 * TIMEOUT,
        ..stateful(log, &[stream(log, 1)], 1)
    }
}

/// The error of the task's part of a commit; asserts that its offsets failed with the same error.
#[track_caller]
fn failure(outcome: &CommitOutcome) -> &Failure {
    let failure = outcome.acks[&task(0)].as_ref();
    let failure = failure.expect_err("it fails");
    if let Some(offsets) = outcome.offsets.get(&task(0)) {
        assert_eq!(offsets.as_ref(), Err(failure));
    }
    failure
}

/// Joins a group; returns the error that ends the member before it owns anything.
fn refusal(log: &dyn Log, group: &Group) -> LogError {
    let mut member = TestMember::join(log, group);
    let mut error = None;
    wait_until("the member ends", || {
        error = member.inner.poll(TICK, &mut member.recorder).err();
        error.is_some()
    });
    assert!(member.recorder.owned.is_empty(), "nothing was given to it");
    let error = error.expect("just seen");
    assert_eq!(
        member.inner.poll(TICK, &mut member.recorder),
        Err(error.clone())
    );
    error
}

#[track_caller]
fn assert_names_the_timeout(why: &str) {
    assert!(why.contains("transaction.timeout.ms"), "{why}");
}

#[test]
fn a_transaction_timeout_is_not_reported_as_a_duplicate_process() {
    let abort_interval = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    let Some(broker) = another(&[(abort_interval, "200")]) else {
        return;
    };
    let log = kafka(&broker);
    let group = Group {
        transaction_timeout: Duration::from_secs(1),
        ..exactly_once(&log)
    };
    let mut member = TestMember::owning(&log, &group, 1);
    member.append(&[(task(0), Changelog, 0, 0, "late")]);
    let end = || high(&log, group.topic(TopicId(0)), 0);
    wait_until("the broker has aborted it", || end() == 2);
    let outcome = member.commit(&[(task(0), 1, 1)]);
    // The marker is written before the coordinator is done: until then it says that it is busy.
    match failure(&outcome) {
        Failure::Fatal(why) | Failure::Abortable(why) => assert_names_the_timeout(why),
        other => panic!("{other:?}"),
    }
    match member.inner.abort(deadline()) {
        Err(Failure::Fatal(why)) => assert_names_the_timeout(&why),
        other => panic!("{other:?}"),
    }
    drop(member);
    let mut member = TestMember::owning(&log, &group, 1);
    assert_committed(&append_and_commit(&mut member, "in time", 1), task(0));
    assert_eq!(table(&log, &group), ["in time"]);
    assert_eq!(committed(&log, &group), Some(1));
}

#[test]
fn an_abort_completes_while_deliveries_are_in_flight() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let group = exactly_once(&log);
    let mut member = TestMember::owning(&log, &group, 1);
    let value = "x".repeat(1000);
    let records = vec![(task(0), Output, 1, 0, value.as_str()); 20_000];
    let input = || high(&log, group.topic(TopicId(1)), 0);
    for round in 0..3 {
        let before = input();
        member.append(&records);
        wait_until("some are written", || input() > before);
        member.append(&records);
        assert_eq!(member.inner.abort(deadline()), Ok(()), "round {round}");
        assert_eq!(committed(&log, &group), None);
    }
    // A reader gets to the end, behind the aborted records and their control records.
    assert!(read(&log, group.topic(TopicId(1)), 0, 0).is_empty());
    let outcome = append_and_commit(&mut member, "kept", 1);
    assert_committed(&outcome, task(0));
    let acked = outcome.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!((acked.changelog, acked.markers), (Some((0, 0, 1)), 1));
    assert_eq!(table(&log, &group), ["kept"]);
}

/// Removes the only member from a group at the coordinator, without telling the member.
fn kick(broker: &Broker, group: &str) {
    let client: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .expect("a client");
    let list = client.fetch_group_list(Some(group), TIMEOUT);
    let list = list.expect("the coordinator answers");
    let member = list.groups()[0].members()[0].id().to_owned();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
        out.extend(text.as_bytes());
    };
    // LeaveGroup, version 3: group, members of id and instance (none).
    let mut request = vec![0, 13, 0, 3, 0, 0, 0, 1];
    text(&mut request, "kick");
    text(&mut request, group);
    request.extend(1_u32.to_be_bytes());
    text(&mut request, &member);
    request.extend([0xff, 0xff]);
    let mut socket = TcpStream::connect(broker.bootstrap()).expect("the broker is there");
    let length = u32::try_from(request.len()).expect("short").to_be_bytes();
    socket.write_all(&length).expect("sent");
    socket.write_all(&request).expect("sent");
    // Length, correlation, throttle time, error.
    let mut answer = [0; 14];
    socket.read_exact(&mut answer).expect("answered");
    assert_eq!(answer[12..], [0, 0], "the member is removed");
}

#[test]
fn a_batch_of_a_member_that_the_group_forgot_is_not_committed() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    // No static member: the coordinator would know it by its instance.
    let group = Group {
        instance: String::new(),
        ..exactly_once(&log)
    };
    let mut member = TestMember::owning(&log, &group, 1);
    assert_committed(&append_and_commit(&mut member, "committed", 1), task(0));
    kick(broker, &group.name);
    let outcome = append_and_commit(&mut member, "stale", 2);
    let failure = failure(&outcome);
    assert!(
        matches!(failure, Failure::Stale(_) | Failure::Lost(_)),
        "{failure:?}"
    );
    assert_eq!(outcome.offsets[&task(0)].as_ref(), Err(failure));
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    assert_eq!(committed(&log, &group), Some(1));
    member.poll_until("the member reports the loss", |recorder| {
        recorder.lost == [task(0)]
    });
    member.poll_until("it has the task again", |recorder| {
        recorder.owned.len() == 1
    });
    assert_eq!(member.recorder.owned[&task(0)].1[&TopicId(1)], at(1));
    assert_committed(&append_and_commit(&mut member, "again", 2), task(0));
    assert_eq!(table(&log, &group), ["committed", "again"]);
}

#[test]
fn records_of_a_lost_task_are_not_committed_with_anothers() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let group = Group {
        instance: String::new(),
        ..exactly_once(&log)
    };
    let mut member = TestMember::owning(&log, &group, 1);
    member.append(&[(task(0), Changelog, 0, 0, "of the assignment before")]);
    kick(broker, &group.name);
    member.poll_until("it is lost", |recorder| recorder.lost == [task(0)]);
    member.poll_until("it is owned again", |recorder| recorder.owned.len() == 1);
    let outcome = append_and_commit(&mut member, "of this assignment", 1);
    assert!(
        matches!(failure(&outcome), Failure::Abortable(_)),
        "{outcome:?}"
    );
    // Until the transaction is aborted nothing else is committed either.
    let outcome = append_and_commit(&mut member, "of this assignment", 1);
    assert!(
        matches!(failure(&outcome), Failure::Abortable(_)),
        "{outcome:?}"
    );
    assert_eq!(member.inner.abort(deadline()), Ok(()));
    assert_committed(
        &append_and_commit(&mut member, "of this assignment", 1),
        task(0),
    );
    assert_eq!(table(&log, &group), ["of this assignment"]);
}

/// Two processors of one group in one process, each with worker number 0 and without an instance name.
#[test]
fn members_without_an_instance_commit_side_by_side() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let group = Group {
        instance: String::new(),
        guarantee: Guarantee::ExactlyOnce,
        transaction_timeout: 5 * TIMEOUT,
        ..stateful(&log, &[stream(&log, 2)], 2)
    };
    let mut members = [
        TestMember::owning(&log, &group, 2),
        TestMember::join(&log, &group),
    ];
    wait_until("two members share two tasks", || {
        members.iter_mut().for_each(TestMember::poll);
        members
            .iter()
            .all(|member| member.recorder.owned.len() == 1)
    });
    for round in 1..4 {
        for member in &mut members {
            let task = *member.recorder.owned.keys().next().expect("one task");
            member.append(&[(task, Changelog, 0, task.partition, "kept")]);
            let outcome = member.commit(&[(task, 1, round)]);
            assert_committed(&outcome, task);
        }
    }
    for partition in 0..2 {
        let table = read(&log, group.topic(TopicId(0)), partition, 0);
        assert_eq!(texts(&table), ["kept"; 3]);
    }
}

#[test]
fn a_timeout_above_the_brokers_is_refused() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let group = Group {
        transaction_timeout: Duration::from_secs(20 * 60),
        ..exactly_once(&log)
    };
    let error = refusal(&log, &group);
    let timeout = MemberTimeout::Transaction;
    assert!(
        matches!(&error, LogError::TimeoutRefused { timeout: of, .. } if *of == timeout),
        "{error:?}"
    );
    let words = error.to_string();
    for part in [
        "1200000 ms",
        "transaction.timeout.ms",
        "transaction.max.timeout.ms",
    ] {
        assert!(words.contains(part), "{words}");
    }
}

/// A broker with an authorizer, which permits what no rule denies.
fn guarded() -> Option<Broker> {
    let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    another(&[
        ("authorizer.class.name", authorizer),
        ("allow.everyone.if.no.acl.found", "true"),
    ])
}

fn deny(broker: &Broker, operation: &str, resource: &[&str]) {
    let who = ["--deny-principal", "User:ANONYMOUS"];
    broker.acl("--add", who, operation, resource);
}

#[test]
fn missing_permissions_are_reported() {
    let Some(broker) = guarded() else { return };
    let log = kafka(&broker);
    let group = exactly_once(&log);
    let prefix = format!("{}/", group.name);
    let resource = [
        "--resource-pattern-type",
        "prefixed",
        "--transactional-id",
        &prefix,
    ];
    deny(&broker, "All", &resource);
    let error = refusal(&log, &group);
    assert!(matches!(error, LogError::Refused { .. }), "{error:?}");
    let words = error.to_string();
    let id = format!("`{}/{}/0`", group.name, group.instance);
    for part in [&*id, "WRITE and DESCRIBE", "at-least-once"] {
        assert!(words.contains(part), "{words}");
    }

    let mut group = exactly_once(&log);
    let output = stream(&log, 1);
    group.topics.push(output.as_str().into());
    deny(&broker, "Write", &["--topic", &output]);
    let mut member = TestMember::owning(&log, &group, 1);
    for round in 1..3 {
        member.append(&[
            (task(0), Changelog, 0, 0, "with a forbidden record"),
            (task(0), Output, 2, 0, "forbidden"),
        ]);
        let outcome = member.commit(&[(task(0), 1, 1)]);
        match failure(&outcome) {
            Failure::Refused { topic, .. } => assert!(topic.contains(&output), "{topic}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(member.inner.abort(deadline()), Ok(()));
        assert_committed(&append_and_commit(&mut member, "alone", round), task(0));
    }
    assert_eq!(table(&log, &group), ["alone"; 2]);
}

#[test]
fn a_broker_that_is_away_at_the_start_degrades_the_member() {
    let Some(broker) = another(&[]) else { return };
    let log = Kafka::new(KafkaConfig {
        brokers: broker.bootstrap(),
        deadline: Duration::from_secs(2),
        ..KafkaConfig::default()
    })
    .expect("a client");
    let group = exactly_once(&log);
    broker.stop(true);
    let mut member = TestMember::join(&log, &group);
    member.poll_until("the member is degraded", |recorder| {
        !recorder.degraded.is_empty()
    });
    broker.restart().expect("it starts again");
    member.poll_until("it is assigned", |recorder| recorder.owned.len() == 1);
    assert_committed(&append_and_commit(&mut member, "after", 1), task(0));
}

#[test]
fn an_outage_during_an_open_transaction_commits_nothing_of_it() {
    let Some(broker) = another(&[]) else { return };
    let log = Kafka::new(KafkaConfig {
        brokers: broker.bootstrap(),
        deadline: Duration::from_secs(2),
        ..KafkaConfig::default()
    })
    .expect("a client");
    let group = exactly_once(&log);
    let mut member = TestMember::owning(&log, &group, 1);
    assert_committed(&append_and_commit(&mut member, "committed", 1), task(0));
    member.append(&[(task(0), Changelog, 0, 0, "written")]);
    let end = || high(&log, group.topic(TopicId(0)), 0);
    wait_until("the open record is written", || end() == 3);
    broker.stop(false);
    member.append(&[(task(0), Changelog, 0, 0, "during the outage")]);
    let shortly = || Instant::now() + Duration::from_secs(1);
    let outcome = member
        .inner
        .commit(&commit_batch(9, &[(task(0), 1, 2)]), shortly());
    assert!(
        matches!(failure(&outcome), Failure::Abortable(_)),
        "{outcome:?}"
    );
    let aborted = member.inner.abort(shortly());
    assert!(matches!(aborted, Err(Failure::Fatal(_))), "{aborted:?}");
    drop(member);
    broker.restart().expect("it starts again");
    let mut member = TestMember::owning(&log, &group, 1);
    assert_eq!(member.recorder.owned[&task(0)].1[&TopicId(1)], at(1));
    assert_committed(&append_and_commit(&mut member, "again", 2), task(0));
    assert_eq!(table(&log, &group), ["committed", "again"]);
}

/// A mock cluster, and a group on it that is exactly once. The mock accepts any sequence of requests.
fn mock() -> Mock {
    Mock::new(Guarantee::ExactlyOnce, Duration::from_secs(10))
}

/// The answer to a request, and a check of the error that the commit fails with.
type Row = (Answer, fn(&Failure) -> bool);

#[test]
fn nothing_is_assigned_before_the_transactional_id_is_initialized() {
    let mock = Mock::new(Guarantee::ExactlyOnce, Duration::from_secs(1));
    mock.answer(
        Api::InitProducerId,
        &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 10_000],
    );
    let mut member = TestMember::join(&mock.log, &mock.group);
    // The coordinator has assigned the task, but the member must not read its offsets yet.
    member.poll_until("the member is degraded", |recorder| {
        !recorder.degraded.is_empty()
    });
    let words = member.recorder.degraded[0].clone().expect("an error");
    assert!(
        words.contains("taking the transactional id over"),
        "{words}"
    );
    assert!(member.recorder.owned.is_empty());
    mock.cluster.clear_request_errors(Api::InitProducerId);
    member.poll_until("it is assigned", |recorder| recorder.owned.len() == 1);
    member.poll_until("the member has recovered", |recorder| {
        recorder.degraded.len() == 2
    });
    assert_eq!(member.recorder.degraded[1], None);
}

#[test]
fn refused_offsets_fail_as_their_code_says() {
    let mock = mock();
    let mut member = TestMember::owning(&mock.log, &mock.group, 1);
    let rows: [Row; 6] = [
        (Answer::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, |it| {
            matches!(it, Failure::Stale(_))
        }),
        (Answer::RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH, |it| {
            matches!(it, Failure::Stale(_))
        }),
        (Answer::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, |it| {
            matches!(it, Failure::Stale(_))
        }),
        (Answer::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, |it| {
            matches!(it, Failure::Refused { .. })
        }),
        (Answer::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, |it| {
            matches!(it, Failure::Refused { .. })
        }),
        (Answer::RD_KAFKA_RESP_ERR_UNKNOWN, |it| {
            matches!(it, Failure::Abortable(_))
        }),
    ];
    for (number, (answer, is)) in (1..).zip(rows) {
        mock.answer(Api::TxnOffsetCommit, &[answer]);
        let outcome = append_and_commit(&mut member, "refused", number);
        assert!(is(failure(&outcome)), "{answer:?}: {outcome:?}");
        assert_eq!(member.inner.abort(deadline()), Ok(()), "{answer:?}");
        assert_committed(&append_and_commit(&mut member, "taken", number), task(0));
    }
}

#[test]
fn a_coordinator_that_is_busy_ending_a_transaction_is_reported_as_a_timeout() {
    let mock = mock();
    let group = Group {
        transaction_timeout: Duration::from_secs(1),
        ..mock.group.clone()
    };
    let mut member = TestMember::owning(&mock.log, &group, 1);
    mock.answer(
        Api::AddOffsetsToTxn,
        &[Answer::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 10_000],
    );
    mock.answer(Api::EndTxn, &[Answer::RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
    let outcome = append_and_commit(&mut member, "late", 1);
    match failure(&outcome) {
        Failure::Abortable(why) => assert_names_the_timeout(why),
        other => panic!("{other:?}"),
    }
    match member.inner.abort(deadline()) {
        Err(Failure::Fatal(why)) => assert_names_the_timeout(&why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_without_an_answer_is_retried() {
    let mock = mock();
    let mut member = TestMember::owning(&mock.log, &mock.group, 1);
    mock.answer(
        Api::EndTxn,
        &[Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 1000],
    );
    member.append(&[(task(0), Changelog, 0, 0, "once")]);
    let batch = commit_batch(7, &[(task(0), 1, 1)]);
    let first = member
        .inner
        .commit(&batch, Instant::now() + Duration::from_secs(1));
    assert!(
        matches!(first.offsets[&task(0)], Err(Failure::Unknown(_))),
        "{first:?}"
    );
    let acked = first.acks[&task(0)].clone();
    assert!(matches!(&acked, Ok(acked) if acked.changelog.is_some() && acked.markers == 1));
    let second = member
        .inner
        .commit(&batch, Instant::now() + Duration::from_millis(200));
    assert!(
        matches!(second.offsets[&task(0)], Err(Failure::Unknown(_))),
        "{second:?}"
    );
    assert_eq!(second.acks[&task(0)], acked);
    let other = member
        .inner
        .commit(&commit_batch(8, &[(task(0), 1, 2)]), deadline());
    assert!(matches!(failure(&other), Failure::Fatal(_)), "{other:?}");
    mock.cluster.clear_request_errors(Api::EndTxn);
    let third = member.inner.commit(&batch, deadline());
    assert_committed(&third, task(0));
    assert_eq!(third.acks[&task(0)], acked, "the same acknowledgements");
    assert_committed(&append_and_commit(&mut member, "next", 3), task(0));
}

#[test]
fn an_end_of_a_transaction_that_the_coordinator_refuses_is_reported() {
    let rows: [Row; 3] = [
        (Answer::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, |it| {
            matches!(it, Failure::ProducerFenced(_))
        }),
        (Answer::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, |it| {
            matches!(it, Failure::Fatal(_))
        }),
        (Answer::RD_KAFKA_RESP_ERR_UNKNOWN, |it| {
            matches!(it, Failure::Abortable(_))
        }),
    ];
    for (answer, is) in rows {
        let mock = mock();
        let mut member = TestMember::owning(&mock.log, &mock.group, 1);
        mock.answer(Api::EndTxn, &[answer]);
        let outcome = append_and_commit(&mut member, "refused", 1);
        let failure = failure(&outcome);
        assert!(is(failure), "{answer:?}: {outcome:?}");
        let aborted = member.inner.abort(deadline());
        assert_eq!(aborted.is_ok(), matches!(failure, Failure::Abortable(_)));
        if aborted.is_ok() {
            assert_committed(&append_and_commit(&mut member, "taken", 1), task(0));
        }
    }
}

#[test]
fn brokers_without_transactions_are_refused() {
    let mock = mock();
    mock.cluster
        .apiversion(Api::InitProducerId, None, None)
        .expect("disabled");
    let error = refusal(&mock.log, &mock.group);
    assert!(error.to_string().contains("at-least-once"), "{error}");
}

/// As before Apache Kafka 2.5, where the offsets of a member that lost its partitions would be taken.
#[test]
fn brokers_that_do_not_fence_by_generation_are_refused() {
    let mock = mock();
    mock.cluster
        .apiversion(Api::TxnOffsetCommit, Some(0), Some(2))
        .expect("set");
    let error = refusal(&mock.log, &mock.group).to_string();
    assert!(error.contains("the guarantee exactly-once"), "{error}");
    assert!(error.contains("up to version 2"), "{error}");
    assert!(error.contains("Apache Kafka 2.5 or later"), "{error}");
    assert!(error.contains("at-least-once"), "{error}");
    // At least once works with such brokers.
    let group = Group {
        name: unique("group").into(),
        guarantee: Guarantee::AtLeastOnce,
        ..mock.group.clone()
    };
    let mut member = TestMember::owning(&mock.log, &group, 1);
    assert_committed(&append_and_commit(&mut member, "taken", 1), task(0));
}
