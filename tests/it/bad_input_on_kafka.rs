//! What may be wrong with a Kafka cluster or its records: exit code 2, one line that says what,
//! where and what to do, and committed offsets that stay where they belong.

use std::sync::Arc;
use std::time::Duration;

use goka_runtime::log::Log;
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::partitioner::{Murmur2, Partitioner};
use goka_runtime::record::TopicPartition;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::kafka::{Broker, another};
use crate::support::program::{Program, data_dir};
use crate::support::wait_until;

const SOON: Duration = Duration::from_secs(60);
const STATE: &str = "my-group-state";

fn log(broker: &Broker) -> Arc<dyn Log> {
    let config = KafkaConfig {
        brokers: broker.bootstrap(),
        ..KafkaConfig::default()
    };
    Arc::new(Kafka::new(config).expect("a client"))
}

fn remove(broker: &Broker, log: &dyn Log, topic: &str) {
    broker.delete_topic(topic);
    wait_until("the topic is gone", SOON, || {
        log.describe(&[topic]).is_ok_and(|found| found[0].is_none())
    });
}

fn committed(log: &dyn Log, partitions: i32) -> Vec<Option<i64>> {
    let list: Vec<_> = (0..partitions)
        .map(|at| TopicPartition::new("user-clicks", at))
        .collect();
    let committed = log.committed("my-group", &list).expect("asked");
    committed
        .into_iter()
        .map(|at| at.map(|at| at.offset))
        .collect()
}

#[test]
fn no_broker_is_one_error() {
    for brokers in ["localhost:1", "no.such.host.invalid:9092"] {
        let (_temp, dir) = data_dir();
        let clicks = Program::new("clicks", dir).on(brokers.to_owned());
        for args in [&["--no-simulate"][..], &["get", "my-group", "a"]] {
            let said = clicks.run(args);
            assert_eq!(said.code, Some(2), "{said:?}");
            let line = said.error();
            assert!(
                line.contains("no broker answers") && line.contains(brokers),
                "{line}"
            );
            assert!(line.contains("--brokers"), "{line}");
        }
    }
}

#[test]
fn topics_that_do_not_fit_are_refused_at_start() {
    let Some(broker) = another(&[]) else { return };
    let (_temp, dir) = data_dir();
    let log = log(&broker);
    let clicks = Program::new("clicks", dir).on(broker.bootstrap());
    let refused = |args: &[&str], expected: &[&str]| {
        let said = clicks.run(args);
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        let line = said.error();
        for text in expected {
            assert!(line.contains(text), "{args:?}: `{text}` in {line}");
        }
    };
    let create = "kafka-topics.sh --bootstrap-server";
    refused(
        &["--no-simulate"],
        &["user-clicks", create, "--partitions 4"],
    );
    refused(
        &["emit", "user-clicks", "a", "1"],
        &["topic `user-clicks` does not exist", create],
    );
    refused(
        &["get", "my-group", "a"],
        &["topic `my-group-state` does not exist"],
    );

    broker.create_topic("user-clicks", 3, &[]);
    broker.create_topic(STATE, 2, &[("cleanup.policy", "compact")]);
    refused(&["--no-simulate"], &["user-clicks", "3", STATE, "2"]);
    remove(&broker, &*log, STATE);

    broker.create_topic(STATE, 3, &[]);
    refused(
        &["--no-simulate"],
        &[STATE, "not compacted", "cleanup.policy=compact"],
    );
    remove(&broker, &*log, STATE);
    assert_eq!(committed(&*log, 3), [None, None, None]);

    broker.create_topic("small", 1, &[("max.message.bytes", "2000")]);
    let large = "x".repeat(5_000);
    refused(&["emit", "small", "a", &large], &["small"]);
    let said = clicks.run(["emit", "small", "a", "fits"]);
    assert_eq!(said.code, Some(0), "{said:?}");

    // What was refused above left nothing behind: now it runs.
    let mut running = clicks.start(["--no-simulate"]);
    assert_eq!(clicks.run(["emit", "user-clicks", "a", "1"]).code, Some(0));
    running.wait_out("a count", |out| {
        out.iter().any(|line| line.starts_with("k: a c: 1 "))
    });
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(clicks.run(["get", "my-group", "a"]).out, "1\n");
    assert_eq!(clicks.run(["get", "my-group", "b"]).code, Some(1));
    assert_eq!(
        clicks.run(["scan", "my-group", "--limit", "5"]).out,
        "a\t1\n"
    );
}

#[test]
fn bad_records_stop_their_partitions_exactly_there() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", 4, &[]);
    let log = log(&broker);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir.join("first")).on(broker.bootstrap());
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .expect("a producer");
    let send = |partition: i32, key: Option<&str>, value: &[u8]| {
        let mut record = BaseRecord::<str, [u8]>::to("user-clicks")
            .partition(partition)
            .payload(value);
        record.key = key;
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("sent");
    };
    // A key of each partition; the empty one is a key like any other.
    let key_of = |partition: i32| {
        (0..)
            .map(|number| {
                if number == 0 {
                    String::new()
                } else {
                    format!("k{number}")
                }
            })
            .find(|key| Murmur2::partition(key.as_bytes(), 4) == partition)
            .expect("there is one")
    };
    for partition in 0..4 {
        send(partition, Some(&key_of(partition)), b"good");
        send(partition, Some(&key_of(partition)), b"good");
    }
    send(0, None, b"null key");
    send(1, Some(&key_of(1)), b"\xff not text");
    send(2, Some(&key_of(3)), b"misplaced");
    for partition in 0..4 {
        send(partition, Some(&key_of(partition)), b"after");
    }
    producer.flush(SOON).expect("delivered");

    let mut running = clicks.start(["--no-simulate"]);
    wait_until(
        "good records are committed, bad ones are not passed",
        SOON,
        || committed(&*log, 4) == [Some(2), Some(2), Some(2), Some(3)],
    );
    let (code, said) = running.stop();
    assert_eq!(code, Some(2), "{said}");
    let line = said
        .lines()
        .find(|line| line.starts_with("error: "))
        .expect("an error");
    assert!(
        line.contains("my-group") && line.contains("3 partitions"),
        "{line}"
    );
    assert_eq!(committed(&*log, 4), [Some(2), Some(2), Some(2), Some(3)]);
    let scan = clicks.run(["scan", "my-group"]).out;
    let counts: Vec<_> = scan
        .lines()
        .map(|line| line.rsplit('\t').next().unwrap_or(""))
        .collect();
    assert_eq!(counts.len(), 4, "{scan}");
    assert!(
        counts.iter().filter(|count| **count == "2").count() == 3,
        "{scan}"
    );

    let Some(other) = another(&[]) else { return };
    other.create_topic("user-clicks", 4, &[]);
    let mut running = Program::new("clicks", dir.join("first"))
        .on(other.bootstrap())
        .start(["--no-simulate"]);
    // Processor and view both refuse; the view's refusal ends the program.
    let (status, _) = running.end();
    let said = running.err();
    assert_eq!(status.code(), Some(2), "{said:?}");
    let errors: Vec<_> = said
        .iter()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert!(!errors.is_empty());
    assert!(
        errors
            .iter()
            .all(|line| line.contains("the local copy belongs to cluster")),
        "{errors:?}"
    );
    assert_eq!(committed(&*self::log(&other), 4), [None; 4]);
}
