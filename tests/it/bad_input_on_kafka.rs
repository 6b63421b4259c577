//! Clusters, topics and records that cannot be used: exit code 2, one error line that says what is wrong,
//! where, and what to do, and committed offsets that stay where they were.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goka_runtime::log::Log;
use goka_runtime::partitioner::{Crc32, Murmur2, Partitioner};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::kafka::{Broker, another};
use crate::support::program::{Output, Program, data_dir};
use crate::support::{TIMEOUT, kafka_log, offsets, wait_until};

const PARTITIONS: i32 = 2;

fn log(broker: &Broker) -> Arc<dyn Log> {
    Arc::new(kafka_log(broker.bootstrap()))
}

fn committed(log: &dyn Log) -> Vec<Option<i64>> {
    offsets::committed(log, "my-group", "user-clicks", PARTITIONS)
}

/// Writes one record to a partition, as any producer may.
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
fn refused(output: &Output, expected: &[&str]) {
    assert_eq!(output.code, Some(2), "{output:?}");
    let line = output.error();
    assert!(line.starts_with("error: "), "{line}");
    for text in expected {
        assert!(line.contains(text), "`{text}` is missing in: {line}");
    }
}

#[test]
fn an_unreachable_broker_is_an_error() {
    let (_temp, dir) = data_dir();
    // No process listens on port 1.
    for (brokers, expected) in [
        ("127.0.0.1:1", "no broker answers at `127.0.0.1:1`"),
        (
            "no-such-host.invalid:9092",
            "no broker answers at `no-such-host.invalid:9092`",
        ),
    ] {
        for args in [&["--no-simulate"][..], &["get", "my-group", "a"]] {
            let output = Program::new("clicks", &dir).on(brokers).run(args);
            refused(&output, &[expected, "GOKA_BROKERS"]);
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
    let output = clicks.run(["emit", "user-clicks", "alice", "now"]);
    refused(&output, &["`user-clicks`", "kafka-topics.sh"]);

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
    assert_eq!(committed(&*log), [None, None], "no offset is committed");
    let found = log.describe(&["my-group-state"]).unwrap();
    assert!(
        !found[0].as_ref().unwrap().policy.compact,
        "the topic is left unchanged"
    );
}

/// The broker's default `min.insync.replicas` is more than the replicas of a topic that is created on it.
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
    // After the correction that the error suggests it runs: the input, which is only read, may keep the
    // setting.
    let bootstrap = broker.bootstrap();
    let args = "--alter --entity-type topics --entity-name my-group-state \
                --add-config min.insync.replicas=1 --bootstrap-server";
    let args: Vec<&str> = args.split(' ').chain([&*bootstrap]).collect();
    let output = broker.tool("kafka.admin.ConfigCommand", &args, "");
    assert!(output.status.success(), "{output:?}");
    wait_until("the broker applies the setting", TIMEOUT, || {
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

/// A case, the partition, key and value of its record, and the words of its error.
type Row<'a> = (&'a str, i32, Option<&'a [u8]>, &'a [u8], &'a [&'a str]);

/// The error names the record, the committed offset stays at it over a restart, and the other partition is
/// still handled.
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
        // A good record of this partition, then the bad one, then another good one.
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
            wait_until("the other partition is handled", TIMEOUT, || {
                committed(&*log) == wanted
            });
            let (code, output) = program.stop();
            assert_eq!(code, Some(2), "{output}");
            let line = output
                .lines()
                .find(|line| line.starts_with("error: "))
                .unwrap_or_default();
            let place = format!("user-clicks[{partition}] offset 1");
            for text in expected.iter().chain([&place.as_str()]) {
                assert!(line.contains(text), "`{text}` is missing in: {line}");
            }
            assert_eq!(committed(&*log), wanted, "committed up to the bad record");
        }
        // The offsets are deleted with the group, so that the next row starts from the beginning.
        wait_until("the group is deleted", TIMEOUT, || {
            let output = broker.consumer_groups(&["--delete", "--group", "my-group"]);
            String::from_utf8_lossy(&output.stdout).contains("was successful")
        });
    }
}

/// A timestamp in the year 9999.
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

/// The group topic was created with a broker's defaults. The error names the record at fault, not another
/// one of its batch.
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
        let (code, output) = program.stop();
        assert_eq!(code, Some(2), "{output}");
        let line = output.lines().find(|line| line.starts_with("error: "));
        let line = line.expect(&output);
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
    let output = clicks.run(["get", "my-group", ""]);
    assert_eq!((output.out.as_str(), output.code), ("1\n", Some(0)));
}

#[test]
fn a_value_over_the_topics_size_limit_is_refused() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", PARTITIONS, &[("max.message.bytes", "2000")]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());
    let long = "x".repeat(3000);
    let output = clicks.run(["emit", "user-clicks", "alice", &long]);
    refused(&output, &["`user-clicks`", "`alice`"]);
    let output = clicks.run_with(&format!("a\t1\nb\t{long}\nc\t3\n"), ["emit", "user-clicks"]);
    refused(&output, &["line 2"]);
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

    let output = at(&second).run(["--no-simulate"]);
    refused(&output, &["cluster"]);
    assert_eq!(committed(&*log(&second)), [None, None]);
    // With its own cluster the directory still works.
    let mut program = at(&first).start(["--no-simulate"]);
    write(
        &first,
        Murmur2::partition(b"a", PARTITIONS),
        Some(b"a"),
        b"now",
    );
    program.wait_out("the next one is counted", |lines| {
        lines.iter().any(|line| line.starts_with("k: a c: 2"))
    });
    assert_eq!(program.stop().0, Some(0));
}

/// Copies all files of a directory that is not in use, the name of the instance among them.
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

/// The count of key `a`, as the command `get` prints it.
fn count_of_a(program: &Program) -> i64 {
    let output = program.run(["get", "my-group", "a"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    output.out.trim().parse().unwrap()
}

/// Two processes with one instance name run at the same time: the newer one continues, and the error of the
/// older one says what to do. A third copy, which is out of date, is caught up later.
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
        for copy in ["duplicate", "stale"] {
            copied(&dir.join("first"), &dir.join(copy));
        }

        let first = on("first").start(args);
        first.wait_err("restored");
        let mut stays = on("duplicate").start(args);
        // Input goes on meanwhile; the older process ends by itself.
        let mut lost = first;
        wait_until("the older one ends", TIMEOUT, || {
            level(click());
            let lines = lost.err();
            lines.iter().any(|line| line.contains("processor stopped"))
        });
        let (status, _) = lost.end();
        let output = lost.err().join("\n");
        assert_eq!(status.code(), Some(2), "{output}");
        assert!(!output.contains("member ended, joining again"), "{output}");
        let errors = output.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{output}");
        let texts = [
            "my-group",
            "in use by another process",
            "give each process its own data directory",
        ];
        for begin in ["error: ", "processor stopped"] {
            let line = output.lines().find(|line| line.contains(begin));
            for text in texts {
                assert!(
                    line.is_some_and(|line| line.contains(text)),
                    "`{text}` is missing in: {output}"
                );
            }
        }
        let written = click();
        level(written);
        assert_eq!(stays.stop().0, Some(0));
        let counted = count_of_a(&on("duplicate"));

        // The table of this copy is older than the group topic.
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
    program.wait_out("the count continues", |lines| {
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
