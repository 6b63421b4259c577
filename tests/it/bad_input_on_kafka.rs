//! What can be wrong with a Kafka and with what lies on it: exit code 2, one error line that says
//! what, where and what to do, and committed offsets exactly where they were.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goka_runtime::log::Log;
use goka_runtime::partitioner::{Crc32, Murmur2, Partitioner};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::kafka::{Broker, another};
use crate::support::program::{Program, Said, data_dir};
use crate::support::{kafka_log, offsets, wait_until};

const PARTITIONS: i32 = 2;
const TIMEOUT: Duration = Duration::from_secs(60);

fn log(broker: &Broker) -> Arc<dyn Log> {
    Arc::new(kafka_log(broker.bootstrap()))
}

fn committed(log: &dyn Log) -> Vec<Option<i64>> {
    offsets::committed(log, "my-group", "user-clicks", PARTITIONS)
}

/// Writes one record where told, as any producer may.
fn write(broker: &Broker, partition: i32, key: Option<&[u8]>, value: &[u8]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("message.max.bytes", "10000000")
        .create()
        .unwrap();
    let mut record = BaseRecord::<[u8], [u8]>::to("user-clicks")
        .partition(partition)
        .payload(value);
    record.key = key;
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
}

#[track_caller]
fn refused(said: &Said, expected: &[&str]) {
    assert_eq!(said.code, Some(2), "{said:?}");
    let line = said.error();
    assert!(line.starts_with("error: "), "{line}");
    for text in expected {
        assert!(line.contains(text), "`{text}` is missing in: {line}");
    }
}

#[test]
fn an_unreachable_broker_is_an_error() {
    let (_temp, dir) = data_dir();
    // Port 1 on loopback is nobody's.
    for (brokers, expected) in [
        ("127.0.0.1:1", "no broker answers at `127.0.0.1:1`"),
        (
            "no-such-host.invalid:9092",
            "no broker answers at `no-such-host.invalid:9092`",
        ),
    ] {
        for args in [&["--no-simulate"][..], &["get", "my-group", "a"]] {
            let said = Program::new("clicks", &dir).on(brokers).run(args);
            refused(&said, &[expected, "GOKA_BROKERS"]);
        }
    }
}

#[test]
fn missing_and_unsuitable_topics_are_refused() {
    let Some(broker) = another(&[]) else { return };
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let log = log(&broker);

    refused(
        &clicks.run(["--no-simulate"]),
        &[
            "`user-clicks`",
            "kafka-topics.sh",
            "--create --topic user-clicks",
        ],
    );
    let said = clicks.run(["emit", "user-clicks", "alice", "now"]);
    refused(&said, &["`user-clicks`", "kafka-topics.sh"]);

    broker.create_topic("user-clicks", PARTITIONS, &[]);
    broker.create_topic("my-group-state", 3, &[("cleanup.policy", "compact")]);
    refused(
        &clicks.run(["--no-simulate"]),
        &["`user-clicks` with 2", "`my-group-state` with 3"],
    );

    broker.delete_topic("my-group-state");
    let gone = || log.describe(&["my-group-state"]).unwrap() == [None];
    wait_until("the table is gone", TIMEOUT, gone);
    broker.create_topic(
        "my-group-state",
        PARTITIONS,
        &[("cleanup.policy", "delete")],
    );
    refused(
        &clicks.run(["--no-simulate"]),
        &[
            "`my-group-state`",
            "not compacted",
            "cleanup.policy=compact",
        ],
    );
    assert_eq!(committed(&*log), [None, None], "nobody committed anything");
    let found = log.describe(&["my-group-state"]).unwrap();
    assert!(
        !found[0].as_ref().unwrap().policy.compact,
        "it is left as it was"
    );
}

/// What the broker gives to topics that say nothing of their own is more than a topic can have.
#[test]
fn a_group_topic_with_fewer_replicas_than_have_to_be_in_sync_is_refused() {
    let Some(broker) = another(&[("min.insync.replicas", "2")]) else {
        return;
    };
    broker.create_topic("user-clicks", PARTITIONS, &[]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let log = log(&broker);
    for guarantee in ["at-least-once", "exactly-once"] {
        refused(
            &clicks.run(["--no-simulate", "--guarantee", guarantee]),
            &[
                "`my-group-state`",
                "has 1 replica,",
                "kafka-configs.sh",
                "min.insync.replicas=1",
            ],
        );
        assert_eq!(committed(&*log), [None, None]);
    }
    // Corrected as the error says; what is only read may ask for as much as it likes.
    let bootstrap = broker.bootstrap();
    let args = "--alter --entity-type topics --entity-name my-group-state \
                --add-config min.insync.replicas=1 --bootstrap-server";
    let args: Vec<&str> = args.split(' ').chain([&*bootstrap]).collect();
    let said = broker.tool("kafka.admin.ConfigCommand", &args, "");
    assert!(said.status.success(), "{said:?}");
    wait_until("the broker goes by it", TIMEOUT, || {
        let found = log.describe(&["my-group-state"]).unwrap();
        found[0]
            .as_ref()
            .is_some_and(|topic| topic.min_in_sync == 1)
    });
    let mut program = clicks.start(["--no-simulate"]);
    write(
        &broker,
        Murmur2::partition(b"a", PARTITIONS),
        Some(b"a"),
        b"now",
    );
    program.wait_out("it counts", |lines| !lines.is_empty());
    assert_eq!(program.stop().0, Some(0));
}

/// What is wrong, where it lies, the record, and what the error says.
type Row<'a> = (&'a str, i32, Option<&'a [u8]>, &'a [u8], &'a [&'a str]);

/// A record that stops its partition: the error names it, the offset stays exactly there over a
/// restart, and the other partition goes on.
#[test]
fn an_invalid_record_stops_its_partition_and_no_other() {
    let place = |key: &[u8]| Murmur2::partition(key, PARTITIONS);
    let misplaced = (0..)
        .map(|at| format!("k{at}").into_bytes())
        .find(|key| Crc32::partition(key, PARTITIONS) != place(key))
        .unwrap();
    let there = Crc32::partition(&misplaced, PARTITIONS);
    let rows: [Row<'_>; 3] = [
        (
            "no text",
            place(b"a"),
            Some(b"a"),
            b"\xff\xfe",
            &["key `a`", "not utf8"],
        ),
        ("null key", 0, None, b"now", &["null key"]),
        (
            "placed by crc32",
            there,
            Some(&misplaced),
            b"now",
            &["murmur2 places this key"],
        ),
    ];
    let Some(broker) = another(&[]) else { return };
    let log = log(&broker);
    for (what, partition, key, value, expected) in rows {
        eprintln!("{what}");
        for topic in ["user-clicks", "my-group-state"] {
            if log.describe(&[topic]).unwrap() != [None] {
                broker.delete_topic(topic);
                let gone = || log.describe(&[topic]).unwrap() == [None];
                wait_until("the topic is gone", TIMEOUT, gone);
            }
        }
        broker.create_topic("user-clicks", PARTITIONS, &[]);
        let (_temp, dir) = data_dir();
        let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
        // One good record of a key that lies here, then the bad one, then another good one.
        let good = |partition| {
            let key = (0..)
                .map(|at| format!("u{at}"))
                .find(|key| place(key.as_bytes()) == partition);
            key.unwrap().into_bytes()
        };
        write(&broker, partition, Some(&good(partition)), b"now");
        write(&broker, partition, key, value);
        write(&broker, partition, Some(&good(partition)), b"now");
        for round in 0..2 {
            let mut program = clicks.start(["--no-simulate"]);
            program.wait_err("partition stopped");
            let other = 1 - partition;
            write(&broker, other, Some(&good(other)), b"now");
            let at = usize::try_from(partition).unwrap();
            let mut wanted = vec![Some(round + 1); 2];
            wanted[at] = Some(1);
            wait_until("the other partition goes on", TIMEOUT, || {
                committed(&*log) == wanted
            });
            let (code, said) = program.stop();
            assert_eq!(code, Some(2), "{said}");
            let line = said
                .lines()
                .find(|line| line.starts_with("error: "))
                .unwrap_or_default();
            let place = format!("user-clicks[{partition}] offset 1");
            for text in expected.iter().chain([&place.as_str()]) {
                assert!(line.contains(text), "`{text}` is missing in: {line}");
            }
            assert_eq!(committed(&*log), wanted, "exactly at the bad record");
        }
        // The group's offsets go with the group, so that the next row begins anew.
        wait_until("the group is deleted", TIMEOUT, || {
            let said = broker.consumer_groups(&["--delete", "--group", "my-group"]);
            String::from_utf8_lossy(&said.stdout).contains("was successful")
        });
    }
}

/// Microseconds taken for milliseconds: the year 9999.
const LATE: i64 = 253_402_300_799_000;

/// Writes records to one partition in one batch, each with its timestamp.
fn write_batch(broker: &Broker, partition: i32, records: &[(&str, i64)]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("linger.ms", "500")
        .create()
        .unwrap();
    for (key, timestamp) in records {
        let record = BaseRecord::to("user-clicks")
            .partition(partition)
            .key(*key)
            .payload("now")
            .timestamp(*timestamp);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_timestamp_that_an_input_accepts_is_accepted_by_the_group_topic() {
    let Some(broker) = another(&[]) else { return };
    let any = [("message.timestamp.after.max.ms", "9223372036854775807")];
    broker.create_topic("user-clicks", PARTITIONS, &any);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let place = Murmur2::partition(b"a", PARTITIONS);
    write_batch(&broker, place, &[("a", LATE)]);
    let mut program = clicks.start(["--no-simulate"]);
    program.wait_out("it is counted", |lines| {
        lines.iter().any(|line| line.starts_with("k: a c: 1"))
    });
    wait_until("it is committed", TIMEOUT, || {
        committed(&*log(&broker))[usize::try_from(place).unwrap()] == Some(1)
    });
    assert_eq!(program.stop().0, Some(0));
}

/// A group topic that somebody made with a broker's defaults: the record at fault is named, not one that
/// was in a batch with it.
#[test]
fn a_record_whose_timestamp_a_topic_refuses_is_named() {
    let Some(broker) = another(&[]) else { return };
    let any = ("message.timestamp.after.max.ms", "9223372036854775807");
    broker.create_topic("user-clicks", PARTITIONS, &[any]);
    let hour = ("message.timestamp.after.max.ms", "3600000");
    let compact = ("cleanup.policy", "compact");
    broker.create_topic("my-group-state", PARTITIONS, &[hour, compact]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let place = Murmur2::partition(b"a", PARTITIONS);
    let keys: Vec<_> = (0..)
        .map(|at| format!("u{at}"))
        .filter(|key| Murmur2::partition(key.as_bytes(), PARTITIONS) == place)
        .take(3)
        .collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_millis()).unwrap();
    let records = [(&*keys[0], now), (&*keys[1], LATE), (&*keys[2], now)];
    write_batch(&broker, place, &records);
    for _ in 0..2 {
        let mut program = clicks.start(["--no-simulate"]);
        program.wait_err("partition stopped");
        let (code, said) = program.stop();
        assert_eq!(code, Some(2), "{said}");
        let line = said.lines().find(|line| line.starts_with("error: "));
        let line = line.expect(&said);
        let key = format!("`{}`", keys[1]);
        for text in [
            &*key,
            "my-group-state",
            "timestamp 253402300799000",
            "message.timestamp.after.max.ms",
        ] {
            assert!(line.contains(text), "`{text}` is missing in: {line}");
        }
    }
}

#[test]
fn a_record_with_an_empty_key_is_handled() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", PARTITIONS, &[]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    write(
        &broker,
        Murmur2::partition(b"", PARTITIONS),
        Some(b""),
        b"now",
    );
    let mut program = clicks.start(["--no-simulate"]);
    program.wait_out("the empty key is counted", |lines| {
        lines.iter().any(|line| line.starts_with("k:  c: 1"))
    });
    assert_eq!(program.stop().0, Some(0));
    let said = clicks.run(["get", "my-group", ""]);
    assert_eq!((said.out.as_str(), said.code), ("1\n", Some(0)));
}

#[test]
fn a_value_over_the_topics_size_limit_is_refused() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", PARTITIONS, &[("max.message.bytes", "2000")]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let long = "x".repeat(3000);
    let said = clicks.run(["emit", "user-clicks", "alice", &long]);
    refused(&said, &["`user-clicks`", "`alice`"]);
    let said = clicks.run_with(&format!("a\t1\nb\t{long}\nc\t3\n"), ["emit", "user-clicks"]);
    refused(&said, &["line 2"]);
}

#[test]
fn the_data_directory_of_another_cluster_is_refused() {
    let (Some(first), Some(second)) = (another(&[]), another(&[])) else {
        return;
    };
    let (_temp, dir) = data_dir();
    for broker in [&first, &second] {
        broker.create_topic("user-clicks", PARTITIONS, &[]);
    }
    let at = |broker: &Broker| Program::new("clicks", &dir).on(broker.bootstrap());
    write(
        &first,
        Murmur2::partition(b"a", PARTITIONS),
        Some(b"a"),
        b"now",
    );
    let mut program = at(&first).start(["--no-simulate"]);
    program.wait_out("one is counted", |lines| !lines.is_empty());
    assert_eq!(program.stop().0, Some(0));

    let said = at(&second).run(["--no-simulate"]);
    refused(&said, &["cluster"]);
    assert_eq!(committed(&*log(&second)), [None, None]);
    // Where it belongs it still works.
    let mut program = at(&first).start(["--no-simulate"]);
    write(
        &first,
        Murmur2::partition(b"a", PARTITIONS),
        Some(b"a"),
        b"now",
    );
    program.wait_out("it goes on", |lines| {
        lines.iter().any(|line| line.starts_with("k: a c: 2"))
    });
    assert_eq!(program.stop().0, Some(0));
}

/// Copies a directory that nobody uses, as a user may: all its files, the instance's name among them.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copied(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How often key `a` was counted, by what the program on this directory says.
fn count_of_a(program: &Program) -> i64 {
    let said = program.run(["get", "my-group", "a"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().parse().unwrap()
}

/// Two live processes with one name: one of them goes on, the other one is told what to do. Later
/// a copy that saw none of it is brought up.
#[test]
fn of_two_processes_with_a_copied_data_directory_the_older_ends() {
    for guarantee in ["at-least-once", "exactly-once"] {
        let Some(broker) = another(&[]) else { return };
        broker.create_topic("user-clicks", PARTITIONS, &[]);
        let log = log(&broker);
        let partition = Murmur2::partition(b"a", PARTITIONS);
        let mut written = 0;
        let mut click = || {
            write(&broker, partition, Some(b"a"), b"now");
            written += 1;
            written
        };
        let level = |written| {
            wait_until("all is counted and committed", TIMEOUT, || {
                committed(&*log)[usize::try_from(partition).unwrap()] >= Some(written)
            });
        };
        let args = ["--no-simulate", "--guarantee", guarantee];
        let (_temp, dir) = data_dir();
        let on = |name: &str| Program::new("clicks", dir.join(name)).on(broker.bootstrap());
        let mut first = on("first").start(args);
        click();
        first.wait_out("one is counted", |lines| !lines.is_empty());
        assert_eq!(first.stop().0, Some(0));
        for copy in ["twin", "stale"] {
            copied(&dir.join("first"), &dir.join(copy));
        }

        let first = on("first").start(args);
        first.wait_err("restored");
        let mut stays = on("twin").start(args);
        // The group is worked for meanwhile; the older one ends by itself.
        let mut lost = first;
        wait_until("the older one gives up", TIMEOUT, || {
            level(click());
            let lines = lost.err();
            lines.iter().any(|line| line.contains("processor stopped"))
        });
        let (status, _) = lost.end();
        let said = lost.err().join("\n");
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(!said.contains("member ended, joining again"), "{said}");
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{said}");
        let texts = [
            "my-group",
            "in use by another process",
            "give each process its own data directory",
        ];
        for begin in ["error: ", "processor stopped"] {
            let line = said.lines().find(|line| line.contains(begin));
            for text in texts {
                assert!(
                    line.is_some_and(|line| line.contains(text)),
                    "`{text}` is missing in: {said}"
                );
            }
        }
        let written = click();
        level(written);
        assert_eq!(stays.stop().0, Some(0));
        let counted = count_of_a(&on("twin"));

        // The copy's own table is older than the group topic by all of that.
        let mut stale = on("stale").start(args);
        let written = click();
        level(written);
        assert_eq!(stale.stop().0, Some(0));
        assert_eq!(count_of_a(&on("stale")), counted + 1);
        eprintln!("{guarantee}: {written} written, {} counted", counted + 1);
        match guarantee {
            "exactly-once" => assert_eq!(counted + 1, written),
            _ => assert!(counted + 1 >= written, "{counted} of {written}"),
        }
    }
}

#[test]
fn a_corrupt_store_is_moved_aside_and_rebuilt() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", PARTITIONS, &[]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let partition = Murmur2::partition(b"a", PARTITIONS);
    write(&broker, partition, Some(b"a"), b"now");
    let mut program = clicks.start(["--no-simulate"]);
    program.wait_out("one is counted", |lines| !lines.is_empty());
    assert_eq!(program.stop().0, Some(0));
    let store = dir.join(format!("tables/my-group-state/{partition}.redb"));
    std::fs::write(&store, "no store").unwrap();

    write(&broker, partition, Some(b"a"), b"now");
    let mut program = clicks.start(["--no-simulate"]);
    program.wait_err("store moved aside, rebuilding");
    program.wait_out("the count goes on", |lines| {
        lines.iter().any(|line| line.starts_with("k: a c: 2"))
    });
    assert_eq!(program.stop().0, Some(0));
    let kept = std::fs::read_dir(store.parent().unwrap())
        .unwrap()
        .flatten();
    let kept: Vec<_> = kept
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(kept.iter().any(|name| name.contains(".bad")), "{kept:?}");
}
