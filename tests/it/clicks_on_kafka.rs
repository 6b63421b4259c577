//! The example `clicks` against a real Kafka: exact counts of records of a foreign producer, the
//! group topic as Kafka's own tools read it, restores, views, and two processes that share the work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goka_runtime::log::Log;
use goka_runtime::table::memory::MemoryStores;
use goka_runtime::view::View;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::kafka::{Broker, another};
use crate::support::program::{Program, counted};
use crate::support::{TIMEOUT, kafka_log, offsets, wait_until};

const RECORDS: usize = 200_000;
const KEYS: usize = 1_000;
const PARTITIONS: i32 = 4;

/// The table of `clicks`, as a program without the processor declares it.
#[derive(Debug)]
#[goka::table("my-group-state", key = String, value = i64)]
struct Counts;

fn log(broker: &Broker) -> Arc<dyn Log> {
    Arc::new(kafka_log(broker.bootstrap()))
}

/// Writes records with librdkafka and the partitioner of Java's client; adds them to the counts by key.
fn produce(broker: &Broker, records: usize, counts: &mut BTreeMap<String, i64>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    for at in 0..records {
        let key = format!("user-{}", (at * at + at / 7) % KEYS);
        let mut record = BaseRecord::to("user-clicks").key(&key).payload("now");
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(10));
        }
        *counts.entry(key.clone()).or_default() += 1;
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Whether all clicks are counted and committed.
fn is_level(log: &dyn Log) -> bool {
    offsets::is_level(log, "my-group", "user-clicks", PARTITIONS)
}

fn table(lines: &str) -> BTreeMap<String, i64> {
    lines
        .lines()
        .map(|line| {
            let (key, count) = line.split_once('\t').expect("key<TAB>value");
            (key.to_owned(), count.parse().expect("a count"))
        })
        .collect()
}

#[test]
fn foreign_records_are_counted_exactly() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", PARTITIONS, &[]);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let clicks = Program::new("clicks", &data).on(broker.bootstrap());
    let log = log(&broker);

    let mut counts = BTreeMap::new();
    let began = Instant::now();
    let mut program = clicks.start(["--no-simulate"]);
    produce(&broker, RECORDS, &mut counts);
    assert_eq!(counts.values().sum::<i64>(), RECORDS as i64);
    wait_until("all is counted and committed", TIMEOUT, || is_level(&*log));
    eprintln!(
        "{RECORDS} records produced, counted and committed in {:?}",
        began.elapsed()
    );

    // While it runs, and after it stopped.
    let (user, count) = counts
        .iter()
        .next()
        .map(|(user, count)| (user.clone(), *count))
        .unwrap();
    let get = clicks.run(["get", "my-group", &user]);
    assert_eq!(
        (get.out.trim(), get.code),
        (count.to_string().as_str(), Some(0))
    );
    let missing = clicks.run(["get", "my-group", "nobody"]);
    assert_eq!((missing.out.as_str(), missing.code), ("", Some(1)));
    let scan = clicks.run(["scan", "my-group"]);
    assert_eq!(table(&scan.out), counts);
    let (code, output) = program.stop();
    assert_eq!(code, Some(0), "{output}");
    let scan = clicks.run(["scan", "my-group"]);
    assert_eq!(table(&scan.out), counts);
    let keys: Vec<_> = scan
        .out
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert!(keys.is_sorted(), "in key order");
    assert!(is_level(&*log), "a stop commits what was handled");
    assert_eq!(
        offsets::ends(&*log, "my-group-state", PARTITIONS)
            .iter()
            .sum::<i64>(),
        RECORDS as i64,
        "one update each"
    );

    // Kafka's own consumer reads the same last values from the group topic.
    let console = broker.tool(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &[
            "--bootstrap-server",
            &broker.bootstrap(),
            "--topic",
            "my-group-state",
            "--from-beginning",
            "--timeout-ms",
            "8000",
            "--property",
            "print.key=true",
        ],
        "",
    );
    assert_eq!(table(&String::from_utf8_lossy(&console.stdout)), counts);

    // On an empty disk the same table comes back, and the inputs are not read again.
    std::fs::remove_dir_all(&data).unwrap();
    let mut program = clicks.start(["--no-simulate"]);
    for partition in 0..PARTITIONS {
        program.wait_err(&format!(
            "restored topic=\"my-group-state\" partition={partition} from=0"
        ));
    }
    produce(&broker, KEYS, &mut counts);
    wait_until("the rest is counted", TIMEOUT, || is_level(&*log));
    assert_eq!(program.stop().0, Some(0));
    assert_eq!(table(&clicks.run(["scan", "my-group"]).out), counts);

    // A view in a process without the processor has the same rows.
    let view = View::<Counts>::start(Arc::clone(&log), Arc::new(MemoryStores::default())).unwrap();
    view.wait_ready(TIMEOUT).unwrap();
    let seen: BTreeMap<_, _> = view.iter().unwrap().map(Result::unwrap).collect();
    assert_eq!(seen, counts);
}

#[test]
fn two_processes_share_the_partitions_and_one_takes_over() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("user-clicks", PARTITIONS, &[]);
    let dir = tempfile::tempdir().unwrap();
    let log = log(&broker);
    let program = |name: &str| Program::new("clicks", dir.path().join(name)).on(broker.bootstrap());
    let mut counts = BTreeMap::new();
    let mut first = program("first").start(["--no-simulate"]);
    produce(&broker, 20_000, &mut counts);
    wait_until("the first counts", TIMEOUT, || is_level(&*log));
    let mut second = program("second").start(["--no-simulate"]);
    // Input goes on until both have counted.
    wait_until("the second counts too", TIMEOUT, || {
        produce(&broker, 200, &mut counts);
        second.out().iter().any(|line| counted(line).is_some())
    });
    let before = first.out().len();
    wait_until("the first still counts", TIMEOUT, || {
        produce(&broker, 200, &mut counts);
        first.out().len() > before
    });
    let (code, output) = second.stop();
    assert_eq!(code, Some(0), "{output}");
    let began = Instant::now();
    wait_until("the first has taken over", TIMEOUT, || {
        produce(&broker, 200, &mut counts);
        is_level(&*log)
    });
    eprintln!("taken over in {:?}", began.elapsed());
    let (code, output) = first.stop();
    assert_eq!(code, Some(0), "{output}");
    let scan = program("third").run(["scan", "my-group"]);
    assert_eq!(table(&scan.out), counts);
}
