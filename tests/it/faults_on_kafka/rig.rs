//! A processor under a steady load while its brokers fail: it counts by key, and emits each count. The load
//! and the checks connect to the brokers directly, the processor as its configuration says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use goka::Processor;
use goka::prelude::*;
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::log::{Isolation, Log, LogError};
use goka_runtime::processor::{ProcessorOptions, Running, StartError, start};
use goka_runtime::record::{Guarantee, Record, TopicPartition};
use goka_runtime::table::redb::RedbStores;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use tempfile::TempDir;

pub use crate::support::TIMEOUT;
use crate::support::{events, wait_until};

pub const PARTITIONS: i32 = 3;
const KEYS: usize = 100;

#[stream("faults-in", key = String, value = i64)]
#[derive(Debug)]
pub struct In;

#[stream("faults-out", key = String, value = i64)]
#[derive(Debug)]
pub struct Out;

#[processor(group = "faults", persist = i64)]
#[input(In)]
#[output(Out)]
fn counting(ctx: &mut Context, _record: i64) -> Result<()> {
    let count = ctx.update(|count| count.unwrap_or(0) + 1)?;
    let key = ctx.key().to_owned();
    ctx.emit(Out, key, &count)?;
    Ok(())
}

/// Counts by key.
pub type Counts = BTreeMap<String, i64>;

pub struct Rig {
    guarantee: Guarantee,
    oracle: Arc<dyn Log>,
    machine: TempDir,
    running: Running,
    load: Load,
}

impl Rig {
    /// Starts it: `direct` for the load and the oracle, `config` for the processor. The topics
    /// `faults-in` and `faults-out` are there.
    pub fn start(guarantee: Guarantee, direct: &str, config: KafkaConfig) -> Self {
        events::listen();
        let oracle = KafkaConfig {
            brokers: direct.to_owned(),
            deadline: Duration::from_secs(2),
            ..KafkaConfig::default()
        };
        let log: Arc<dyn Log> = Arc::new(Kafka::new(config).unwrap());
        let machine = TempDir::with_prefix("goka-machine-").unwrap();
        let running = run(guarantee, &log, machine.path()).unwrap();
        let rig = Self {
            guarantee,
            oracle: Arc::new(Kafka::new(oracle).unwrap()),
            running,
            machine,
            load: Load::start(direct),
        };
        wait_until("it counts", TIMEOUT, || rig.progress() > 0);
        rig
    }

    fn partitions(topic: &str) -> Vec<TopicPartition> {
        (0..PARTITIONS)
            .map(|at| TopicPartition::new(topic, at))
            .collect()
    }

    fn committed(&self) -> Result<Vec<i64>, LogError> {
        let partitions = Self::partitions("faults-in");
        let committed = self.oracle.committed("faults", &partitions)?;
        Ok(committed
            .into_iter()
            .map(|at| at.map_or(0, |at| at.offset))
            .collect())
    }

    fn ends(&self, topic: &str) -> Result<Vec<i64>, LogError> {
        let ranges = self.oracle.ranges(&Self::partitions(topic))?;
        Ok(ranges.iter().map(|range| range.high).collect())
    }

    /// How many records of the input are committed; 0 while no broker answers.
    pub fn progress(&self) -> i64 {
        self.committed()
            .map_or(0, |committed| committed.iter().sum())
    }

    /// Waits until every partition has committed more than it had, and prints how long that took.
    #[track_caller]
    pub fn recovers(&self, what: &str, since: Instant) {
        let (mut had, mut late) = (None, false);
        wait_until("processing resumes by itself", TIMEOUT, || {
            self.assert_alive();
            if since.elapsed() > TIMEOUT / 3 && !std::mem::replace(&mut late, true) {
                let (committed, status) = (self.committed(), self.running.status());
                eprintln!("{what}: not resumed yet: {committed:?}, {status:?}");
            }
            let Ok(committed) = self.committed() else {
                return false;
            };
            let had = had.get_or_insert_with(|| committed.clone());
            had.iter().zip(&committed).all(|(had, now)| now > had)
        });
        let guarantee = self.guarantee;
        eprintln!("{what} ({guarantee}): resumed after {:?}", since.elapsed());
    }

    #[track_caller]
    pub fn assert_alive(&self) {
        let status = self.running.status();
        let stopped = status.iter().find(|task| task.stopped.is_some());
        assert!(
            !self.running.is_finished() && stopped.is_none(),
            "processing has ended: {stopped:?}"
        );
    }

    /// Ends the load, waits until all is counted, and compares table and outputs with it.
    #[track_caller]
    pub fn check(mut self, what: &str) {
        let expected = self.load.end();
        wait_until("all is counted", TIMEOUT, || {
            self.assert_alive();
            matches!((self.committed(), self.ends("faults-in")), (Ok(at), Ok(end)) if at == end)
        });
        self.running.stop();
        self.running.join().unwrap();
        let table = counts(&read(&*self.oracle, "faults-state"));
        let outputs = read(&*self.oracle, "faults-out");
        let mut emitted: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for (key, value) in &outputs {
            emitted.entry(key).or_default().push(*value);
        }
        let (sum, expected_sum) = (table.values().sum::<i64>(), expected.values().sum::<i64>());
        let guarantee = self.guarantee;
        eprintln!(
            "{what} ({guarantee}): {expected_sum} records, counted {sum}, emitted {}",
            outputs.len()
        );
        let missing: Vec<_> = expected
            .iter()
            .filter(|(key, count)| {
                let emitted = emitted.get(&***key).map_or(0, Vec::len);
                table.get(*key) < Some(*count) || emitted < usize::try_from(**count).unwrap()
            })
            .collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        if guarantee == Guarantee::ExactlyOnce {
            assert_eq!(table, expected);
            for (key, counts) in emitted {
                assert!(
                    counts.iter().copied().eq(1..=expected[key]),
                    "{key}: {counts:?}"
                );
            }
        }
        let mut local = Counts::new();
        for partition in 0..PARTITIONS {
            local.extend(crate::restores::rig::rows_at(
                self.machine.path(),
                "faults-state",
                partition,
            ));
        }
        assert_eq!(
            local, table,
            "the local copy is the fold of the group topic"
        );
    }
}

/// Starts the processor with its local copy below `machine`.
pub fn run(
    guarantee: Guarantee,
    log: &Arc<dyn Log>,
    machine: &Path,
) -> Result<Running, StartError> {
    let definition = Counting::DEFINITION;
    let shared = definition.make.expect("it has a default")();
    let options = ProcessorOptions {
        session_timeout: Duration::from_secs(6),
        guarantee: Some(guarantee),
        ..ProcessorOptions::default()
    };
    let stores = Arc::new(RedbStores::new(machine.to_owned(), 8 << 20));
    start(
        definition,
        Arc::from(shared),
        Arc::clone(log),
        stores,
        &options,
    )
}

/// The committed records of a topic.
fn read(log: &dyn Log, topic: &str) -> Vec<(String, i64)> {
    let partitions = Rig::partitions(topic);
    let ranges = log.ranges(&partitions).unwrap();
    let from: Vec<_> = partitions
        .into_iter()
        .zip(&ranges)
        .map(|(partition, range)| (partition, range.start))
        .collect();
    let mut reader = log.reader(&from, Isolation::ReadCommitted).unwrap();
    let mut records = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    wait_until("all is read", TIMEOUT, || {
        let mut take = |_: usize, read: &[Record<'_>]| {
            for record in read {
                let value = text(record.value.unwrap()).parse().unwrap();
                records.push((text(record.key.unwrap()), value));
            }
        };
        reader.poll(Duration::from_millis(20), &mut take).unwrap();
        (0..)
            .zip(&ranges)
            .all(|(at, range)| reader.position(at) >= range.high)
    });
    records
}

fn counts(records: &[(String, i64)]) -> Counts {
    records.iter().cloned().collect()
}

/// A thread that writes about a thousand records a second, each exactly once also during faults.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Counts>>,
}

#[derive(Default)]
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, _: ()) {
        self.0
            .fetch_add(u64::from(delivery.is_err()), Ordering::Relaxed);
    }
}

impl Load {
    fn start(brokers: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let producer: BaseProducer<Failures> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "300000")
            .set("queue.buffering.max.messages", "1000000")
            .set("reconnect.backoff.max.ms", "500")
            .set("linger.ms", "5")
            .create_with_context(Failures::default())
            .unwrap();
        let thread = thread::spawn(move || {
            let mut counts = Counts::new();
            for at in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("key-{}", (at * at + at / 7) % KEYS);
                let record = BaseRecord::to("faults-in").key(&key).payload("1");
                producer.send(record).map_err(|(error, _)| error).unwrap();
                *counts.entry(key.clone()).or_default() += 1;
                if at % 20 == 0 {
                    producer.poll(Duration::ZERO);
                    thread::sleep(Duration::from_millis(20));
                }
            }
            producer.flush(TIMEOUT).unwrap();
            assert_eq!(producer.context().0.load(Ordering::Relaxed), 0);
            counts
        });
        let thread = Some(thread);
        Self { stop, thread }
    }

    fn end(&mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
