//! The Kafka engine: assignments, refused records, ends of topics, and errors of clients without a broker.
//! What all engines have in common is in `log_conformance`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::log::{Failure, Group, Isolation, Log, LogError, Sent};
use goka_runtime::record::{AppendKind, Record, TaskId, TopicId};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::log_conformance::rig::*;
use crate::support::kafka::{Broker, another, broker};
use crate::support::kafka_log;

fn kafka(broker: &Broker) -> Kafka {
    kafka_log(broker.bootstrap())
}

/// A transactional producer with a unique transactional id.
fn transactional(broker: &Broker) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("transactional.id", unique("transaction"))
        .set("linger.ms", "0")
        .create()
        .expect("a producer");
    producer
        .init_transactions(TIMEOUT)
        .expect("the coordinator answers");
    producer
}

fn produce(producer: &BaseProducer, topic: &str, key: &str, value: &str) {
    let record = BaseRecord::to(topic).partition(0).key(key).payload(value);
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("there is room");
    producer.flush(TIMEOUT).expect("written");
}

fn console(broker: &Broker, class: &str, args: &[&str]) -> String {
    let bootstrap = broker.bootstrap();
    let mut all = vec!["--bootstrap-server", &bootstrap];
    all.extend(args);
    let output = broker.tool(class, &all, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{class}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Drops the records of partition 0 before `offset`.
fn delete_records(broker: &Broker, topic: &str, offset: i64) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let json = format!(
        "{{\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":{offset}}}],\"version\":1}}"
    );
    std::fs::write(file.path(), json).expect("written");
    let path = file.path().display().to_string();
    console(
        broker,
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", &path],
    );
}

#[test]
fn the_group_is_seen_with_its_table_only() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let input = stream(&log, 4);
    for partition in 0..4 {
        write(&log, &input, partition, 0..3);
    }
    let group = stateful(&log, std::slice::from_ref(&input), 4);
    let mut first = TestMember::owning(&log, &group, 4);
    for partition in 0..4 {
        first.fetch(task(partition), 1, 0);
    }
    let mut second = TestMember::join(&log, &worker(&group, 1));
    wait_until("two members share four tasks", || {
        first.poll();
        second.poll();
        first.recorder.owned.len() == 2 && second.recorder.owned.len() == 2
    });
    let owned: Vec<TaskId> = second.recorder.owned.keys().copied().collect();
    for task in &owned {
        second.fetch(*task, 1, 0);
    }
    wait_until("the new owner reads its inputs", || {
        first.poll();
        second.poll();
        owned
            .iter()
            .all(|task| second.recorder.records(*task, TopicId(1)).len() == 3)
    });
    // The tool takes longer than a session: both members go on meanwhile.
    let polling = std::sync::atomic::AtomicBool::new(true);
    let shown = std::thread::scope(|scope| {
        scope.spawn(|| {
            while polling.load(std::sync::atomic::Ordering::Relaxed) {
                first.poll();
                second.poll();
            }
        });
        let shown = console(
            broker,
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            &[
                "--describe",
                "--members",
                "--verbose",
                "--group",
                &group.name,
            ],
        );
        polling.store(false, std::sync::atomic::Ordering::Relaxed);
        shown
    });
    assert!(shown.contains(&**group.topic(TopicId(0))), "{shown}");
    assert!(!shown.contains(&input), "{shown}");
    for worker in 0..2 {
        assert!(
            shown.contains(&format!("{}-{worker}", group.instance)),
            "{shown}"
        );
    }
    assert!(
        shown.contains("cooperative-sticky") || !shown.contains("range"),
        "{shown}"
    );
}

#[test]
fn a_commit_during_a_revocation_is_seen_by_the_next_owner() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let group = stateful(&log, &[stream(&log, 2)], 2);
    let mut first = TestMember::owning(&log, &group, 2);
    first.recorder.on_revoke = Some(Box::new(|tasks, committer| {
        let mut appends = goka_runtime::record::Appends::default();
        for task in tasks {
            appends.push(goka_runtime::record::Append {
                task: *task,
                kind: AppendKind::Changelog,
                topic: TopicId(0),
                partition: task.partition,
                key: Some(b"key"),
                value: Some(b"last"),
                timestamp: -1,
                headers: &[],
            });
        }
        committer.append(&appends);
        let offsets: Vec<_> = tasks.iter().map(|task| (*task, 1, 17)).collect();
        let outcome = committer.commit(&commit_batch(1, &offsets), deadline());
        for task in tasks {
            assert_committed(&outcome, *task);
        }
    }));
    let mut second = TestMember::join(&log, &worker(&group, 1));
    wait_until("one task moves", || {
        first.poll();
        second.poll();
        second.recorder.owned.len() == 1
    });
    let (moved, (_, committed)) = second.recorder.owned.iter().next().expect("one");
    assert_eq!(committed[&TopicId(1)], at(17));
    assert_eq!(
        texts(&read(&log, group.topic(TopicId(0)), moved.partition, 0)),
        ["last"]
    );
}

#[test]
fn records_deleted_by_retention_are_out_of_range() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let inputs = [stream(&log, 1), stream(&log, 1)];
    write(&log, &inputs[0], 0, 0..10);
    write(&log, &inputs[1], 0, 0..2);
    delete_records(broker, &inputs[0], 5);
    let range = log.ranges(&[tp(&inputs[0], 0)]).expect("there")[0];
    assert_eq!((range.start, range.stable, range.high), (5, 10, 10));
    let expected = LogError::OutOfRange {
        topic: inputs[0].clone(),
        partition: 0,
        offset: 2,
    };

    let mut reader = log
        .reader(&[(tp(&inputs[0], 0), 2)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut error = None;
    wait_until("the reader fails", || {
        error = reader
            .poll(TICK, &mut |_, _| panic!("nothing is read"))
            .err();
        error.is_some()
    });
    assert_eq!(error, Some(expected.clone()));

    let group = stateful(&log, &inputs, 1);
    let mut member = TestMember::owning(&log, &group, 1);
    member.fetch(task(0), 2, 0);
    member.poll_until("the other input is read", |recorder| {
        recorder.records(task(0), TopicId(2)).len() == 2
    });
    // Several times, since stopping a partition and starting it again is a race within the client.
    for _ in 0..10 {
        member.recorder.batches.clear();
        member.recorder.failed_inputs.clear();
        member.fetch(task(0), 1, 2);
        member.poll_until("the input fails", |recorder| {
            !recorder.failed_inputs.is_empty()
        });
        assert_eq!(
            member.recorder.failed_inputs,
            [(task(0), TopicId(1), expected.clone())]
        );
        member.fetch(task(0), 1, 5);
        member.poll_until("it resumes at the corrected offset", |recorder| {
            recorder.records(task(0), TopicId(1)).len() == 5
        });
    }
    write(&log, &inputs[1], 0, 2..3);
    member.poll_until("the other input is still read", |recorder| {
        recorder.records(task(0), TopicId(2)).len() == 1
    });
}

#[test]
fn a_deleted_input_fails() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let input = stream(&log, 1);
    write(&log, &input, 0, 0..2);
    let group = stateful(&log, std::slice::from_ref(&input), 1);
    let mut member = TestMember::owning(&log, &group, 1);
    member.fetch(task(0), 1, 0);
    member.poll_until("it is read", |recorder| !recorder.batches.is_empty());
    broker.delete_topic(&input);
    member.poll_until("the input fails", |recorder| {
        !recorder.failed_inputs.is_empty()
    });
    let (of, topic, error) = &member.recorder.failed_inputs[0];
    assert_eq!((*of, *topic), (task(0), TopicId(1)));
    assert!(
        matches!(
            error,
            LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. }
        ),
        "{error}"
    );
}

#[test]
fn only_the_record_that_is_too_large_is_refused() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let small = unique("small");
    broker.create_topic(&small, 2, &[("max.message.bytes", "2000")]);
    let mut group = stateful(&log, &[stream(&log, 2)], 2);
    group.topics.push(small.as_str().into());
    let names: Vec<&str> = group.topics.iter().map(|name| &**name).collect();
    let limits: Vec<usize> = log
        .describe(&names)
        .expect("described")
        .into_iter()
        .map(|topic| topic.expect("there").max_message_bytes)
        .collect();
    assert_eq!(limits[2], 2000);
    let mut member = TestMember::owning(&log, &group, 2);
    let large = "x".repeat(3000);
    let fits = "y".repeat(500);
    let mut records = vec![(task(1), AppendKind::Output, 2, 0, fits.as_str()); 50];
    records.insert(20, (task(0), AppendKind::Output, 2, 0, &large));
    member.append(&records);
    let outcome = member.commit(&[(task(0), 1, 1), (task(1), 1, 2)]);
    match &outcome.acks[&task(0)] {
        Err(Failure::Refused { topic, key, .. }) => {
            assert_eq!((topic, key.as_str()), (&small, "key"));
        }
        other => panic!("not refused: {other:?}"),
    }
    assert!(!outcome.offsets.contains_key(&task(0)));
    assert_committed(&outcome, task(1));
    assert_eq!(read(&log, &small, 0, 0).len(), 50);
}

#[test]
fn a_null_key_on_a_compacted_topic_is_refused() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let table = topic(&log, "table", 1, true);
    let (appender, deliveries) = appender(&log);
    let record = Sent {
        key: None,
        ..sent(&table, 0, "", "value")
    };
    appender.send(record, 7, deadline()).expect("there is room");
    appender.flush(deadline()).expect("answered");
    let deliveries = deliveries
        .lock()
        .expect("no test panics while it holds the lock");
    assert!(
        matches!(&deliveries[..], [(7, Err(Failure::Refused { topic, .. }))] if *topic == table),
        "{deliveries:?}"
    );
}

#[test]
fn unreachable_brokers_are_named() {
    let errors_of = |brokers: &str| {
        let log = Kafka::new(KafkaConfig {
            brokers: brokers.to_owned(),
            properties: BTreeMap::new(),
            deadline: Duration::from_secs(2),
        })
        .expect("a client is made without a broker");
        let began = Instant::now();
        let errors = [
            log.describe(&["topic"]).expect_err("no broker answers"),
            log.cluster().expect_err("no broker answers"),
        ];
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        errors
    };
    for error in errors_of("127.0.0.1:1") {
        match error {
            LogError::Unreachable { brokers, reason } => {
                assert_eq!(brokers, "127.0.0.1:1");
                assert!(reason.contains("refused"), "{reason}");
            }
            other => panic!("{other}"),
        }
    }
    for error in errors_of("no-such-host.invalid:9092") {
        match error {
            LogError::Unreachable { reason, .. } => {
                assert!(reason.contains("no-such-host.invalid"), "{reason}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn client_properties_that_guarantees_depend_on_are_refused() {
    let with = |name: &str, value: &str| {
        let properties = [(name.to_owned(), value.to_owned())];
        let config = KafkaConfig {
            properties: properties.into(),
            ..KafkaConfig::default()
        };
        Kafka::new(config).map(|_| ())
    };
    let error = with("isolation.level", "read_uncommitted").expect_err("it is reserved");
    assert!(error.to_string().contains("`isolation.level`"), "{error}");
    let error = with("no.such.property", "1").expect_err("unknown");
    assert!(error.to_string().contains("no.such.property"), "{error}");
    assert_eq!(with("compression.type", "lz4"), Ok(()));
}

#[test]
fn a_member_that_did_not_poll_loses_its_tasks() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let mut group = stateful(&log, &[stream(&log, 2)], 2);
    group.session_timeout = Duration::from_secs(6);
    group.max_poll_interval = Duration::from_secs(6);
    let mut member = TestMember::owning(&log, &group, 2);
    member.fetch(task(0), 1, 0);
    let began = Instant::now();
    // No other member shows when the group removes this one, so the test waits for the time to pass.
    while began.elapsed() < Duration::from_secs(8) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let outcome = member.commit(&[(task(0), 1, 5)]);
    assert!(
        matches!(
            outcome.offsets.get(&task(0)),
            Some(Err(Failure::Lost(_) | Failure::Stale(_)))
        ),
        "{outcome:?}"
    );
    member.poll_until("the member reports the loss", |recorder| {
        recorder.lost.len() == 2
    });
    assert!(member.recorder.revoked.is_empty());
    member.poll_until("it has them again", |recorder| recorder.owned.len() == 2);
    assert_committed(&member.commit(&[(task(0), 1, 6)]), task(0));
}

#[test]
fn a_reader_reaches_the_end_behind_control_records() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let name = stream(&log, 1);
    let producer = transactional(broker);
    producer.begin_transaction().expect("begun");
    produce(&producer, &name, "a", "1");
    producer.commit_transaction(TIMEOUT).expect("committed");
    producer.begin_transaction().expect("begun");
    produce(&producer, &name, "b", "2");
    produce(&producer, &name, "b", "3");
    producer.abort_transaction(TIMEOUT).expect("aborted");
    let range = || log.ranges(&[tp(&name, 0)]).expect("there")[0];
    wait_until("the markers are written", || {
        let range = range();
        range.stable == 5 && range.high == 5
    });
    assert_eq!(texts(&read(&log, &name, 0, 0)), ["1"]);

    // With a transaction open at the tail, the reader waits at the last stable offset.
    producer.begin_transaction().expect("begun");
    produce(&producer, &name, "c", "4");
    let open = range();
    assert_eq!((open.stable, open.high), (5, 6));
    let mut reader = log
        .reader(&[(tp(&name, 0), 0)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut seen = Vec::new();
    let mut poll = || {
        let each = &mut |_: usize, records: &[Record<'_>]| seen.extend(records.iter().map(Rec::of));
        reader.poll(TICK, each).expect("readable");
        (reader.position(0), texts(&seen))
    };
    wait_until("it is at the last stable offset", || poll().0 == 5);
    for _ in 0..3 {
        assert_eq!(poll(), (5, vec!["1".to_owned()]));
    }
    let mut all = log
        .reader(&[(tp(&name, 0), 5)], Isolation::ReadUncommitted)
        .expect("a reader");
    wait_until("a reader of uncommitted records sees it", || {
        all.poll(TICK, &mut |_, _| {}).expect("readable");
        all.position(0) == 6
    });
    producer.abort_transaction(TIMEOUT).expect("aborted");
    wait_until("it moves past the aborted record", || poll().0 == 7);
    assert_eq!(poll().1, ["1"]);
}

#[test]
fn a_reader_reaches_the_end_of_a_compacted_topic() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let name = unique("compacted");
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("delete.retention.ms", "0"),
        ("max.compaction.lag.ms", "1"),
    ];
    broker.create_topic(&name, 1, &settings);
    let producer = transactional(broker);
    for round in 0..5 {
        producer.begin_transaction().expect("begun");
        for key in 0..20 {
            produce(&producer, &name, &key.to_string(), &round.to_string());
        }
        producer.commit_transaction(TIMEOUT).expect("committed");
    }
    wait_until("compaction has removed records", || {
        // A segment is closed by the record after it.
        std::thread::park_timeout(Duration::from_millis(1100));
        producer.begin_transaction().expect("begun");
        produce(&producer, &name, "late", "late");
        producer.abort_transaction(TIMEOUT).expect("aborted");
        let seen = read(&log, &name, 0, 0);
        seen.len() <= 20
    });
    let end = high(&log, &name, 0);
    let mut reader = log
        .reader(&[(tp(&name, 0), 0)], Isolation::ReadUncommitted)
        .expect("a reader");
    wait_until("the reader is at the end", || {
        reader.poll(TICK, &mut |_, _| {}).expect("readable");
        // Or past it: the last control record is written some time after its abort.
        reader.position(0) >= end
    });
}

#[test]
fn an_assignment_waits_for_pending_offsets() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    // Not a static member: it leaves at once, and anyone may commit offsets of an empty group.
    let group = Group {
        instance: String::new(),
        ..stateful(&log, &[stream(&log, 1)], 1)
    };
    let mut member = TestMember::owning(&log, &group, 1);
    assert_committed(&member.commit(&[(task(0), 1, 3)]), task(0));
    member.inner.close(deadline()).expect("it leaves");
    // A transaction of another client with offsets of the group is open.
    let producer = transactional(broker);
    let consumer: rdkafka::consumer::BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", &*group.name)
        .create()
        .expect("a consumer");
    let metadata = rdkafka::consumer::Consumer::group_metadata(&consumer).expect("it has a group");
    let mut offsets = rdkafka::TopicPartitionList::new();
    offsets
        .add_partition_offset(group.topic(TopicId(1)), 0, rdkafka::Offset::Offset(9))
        .expect("valid");
    producer.begin_transaction().expect("begun");
    producer
        .send_offsets_to_transaction(&offsets, &metadata, TIMEOUT)
        .expect("pending");
    let mut member = TestMember::join(&log, &group);
    for _ in 0..10 {
        member.poll();
        assert!(
            member.recorder.owned.is_empty(),
            "it did not wait for the transaction"
        );
    }
    producer.commit_transaction(TIMEOUT).expect("committed");
    member.poll_until("it is assigned", |recorder| recorder.owned.len() == 1);
    assert_eq!(member.recorder.owned[&task(0)].1[&TopicId(1)].offset, 9);
}

#[test]
fn an_outage_of_the_broker_is_reported_once() {
    let Some(broker) = another(&[]) else { return };
    let log = kafka(&broker);
    let input = stream(&log, 1);
    let group = stateful(&log, std::slice::from_ref(&input), 1);
    let mut member = TestMember::owning(&log, &group, 1);
    member.fetch(task(0), 1, 0);
    member.poll();
    broker.stop(false);
    member.poll_until("the member is degraded", |recorder| {
        !recorder.degraded.is_empty()
    });
    member.append(&[(task(0), AppendKind::Changelog, 0, 0, "during the outage")]);
    let deadline = Instant::now() + Duration::from_secs(1);
    let outcome = member
        .inner
        .commit(&commit_batch(50, &[(task(0), 1, 1)]), deadline);
    assert!(Instant::now() < deadline + Duration::from_secs(1));
    assert!(
        matches!(outcome.acks[&task(0)], Err(Failure::Unknown(_))),
        "{outcome:?}"
    );
    assert!(!outcome.offsets.contains_key(&task(0)));
    let deadline = Instant::now() + Duration::from_secs(1);
    let outcome = member
        .inner
        .commit(&commit_batch(51, &[(task(0), 1, 1)]), deadline);
    assert!(
        matches!(
            outcome.offsets[&task(0)],
            Err(Failure::Unknown(_) | Failure::Retriable(_))
        ),
        "{outcome:?}"
    );
    member.inner.rebuild().expect("rebuilt");
    broker.restart().expect("it starts again");
    member.poll_until("the member has recovered", |recorder| {
        recorder.degraded.len() == 2
    });
    assert!(
        matches!(&member.recorder.degraded[..], [Some(_), None]),
        "{:?}",
        member.recorder.degraded
    );
    write(&log, &input, 0, 0..2);
    member.poll_until(
        "records arrive, by the member or its successor",
        |recorder| !recorder.batches.is_empty() || !recorder.lost.is_empty(),
    );
    if !member.recorder.lost.is_empty() {
        member.poll_until("it has the task again", |recorder| {
            recorder.owned.len() == 1
        });
    }
    member.append(&[(task(0), AppendKind::Changelog, 0, 0, "after")]);
    assert_committed(&member.commit(&[(task(0), 1, 2)]), task(0));
}

#[test]
fn an_emitter_without_a_broker_fails_in_time() {
    let log = Kafka::new(KafkaConfig {
        brokers: "127.0.0.1:1".to_owned(),
        deadline: Duration::from_secs(1),
        ..KafkaConfig::default()
    })
    .expect("a client");
    let (appender, deliveries) = appender(&log);
    let deadline = Instant::now() + Duration::from_millis(300);
    appender
        .send(sent("nowhere", 0, "key", "value"), 4, deadline)
        .expect("there is room");
    assert!(matches!(
        appender.flush(deadline),
        Err(LogError::Timeout { .. })
    ));
    drop(appender);
    let deliveries = deliveries
        .lock()
        .expect("no test panics while it holds the lock");
    assert!(matches!(&deliveries[..], [(4, Err(_))]), "{deliveries:?}");
}

#[test]
fn an_unknown_topic_is_reported_to_the_emitter_and_the_reader() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    let name = unique("missing");
    let (appender, deliveries) = appender(&log);
    if appender
        .send(sent(&name, 0, "key", "value"), 1, deadline())
        .is_ok()
    {
        appender.flush(deadline()).expect("answered");
        let deliveries = deliveries
            .lock()
            .expect("no test panics while it holds the lock");
        assert!(
            matches!(&deliveries[..], [(1, Err(Failure::Refused { .. }))]),
            "{deliveries:?}"
        );
    }
    let mut reader = log
        .reader(&[(tp(&name, 0), 0)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut error = None;
    wait_until("the reader fails", || {
        error = reader.poll(TICK, &mut |_, _| {}).err();
        error.is_some()
    });
    assert!(
        matches!(
            error,
            Some(LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. })
        ),
        "{error:?}"
    );
}

#[test]
fn batches_are_read_in_every_compression() {
    let Some(broker) = broker() else { return };
    let log = kafka(broker);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name = stream(&log, 1);
        let bootstrap = broker.bootstrap();
        let args = [
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            &name,
            "--compression-codec",
            codec,
        ];
        let lines: String = (0..100).map(|line| format!("{codec} {line}\n")).collect();
        let output = broker.tool("org.apache.kafka.tools.ConsoleProducer", &args, &lines);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let read = read(&log, &name, 0, 0);
        assert_eq!(texts(&read), lines.lines().collect::<Vec<_>>(), "{codec}");
    }
}
