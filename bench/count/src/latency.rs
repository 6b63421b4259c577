//! The latency of outputs: from an input's timestamp until a reader of committed records has its output,
//! at a steady rate well below what the machine can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use goka::prelude::*;
use goka::{Processor, Topic};
use goka_runtime::processor::start;
use goka_runtime::table::redb::RedbStores;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::count::{Numbers, Setting, TIMEOUT, TestBed, options};
use crate::input::{Random, producer};
use crate::report::{Figures, milliseconds};

type Outcome<T> = goka_bench_floor::Result<T>;

/// The topic of the counts.
#[stream("bench-count-output", key = String, value = i64)]
#[derive(Debug)]
pub(crate) struct Counts;

#[processor(group = "counter-latency", persist = i64)]
#[input(Numbers)]
#[output(Counts)]
fn count_and_emit(ctx: &mut Context, add: i64) -> Result<()> {
    let count = ctx.value()?.unwrap_or(0) + add;
    ctx.set_value(&count)?;
    ctx.emit(Counts, ctx.key(), &count)?;
    Ok(())
}

/// The rate and duration of the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Records a second.
    pub(crate) rate: u32,
    /// How long; the first fifth is warm-up.
    pub(crate) lasts: Duration,
}

impl TestBed {
    /// The latencies of all records after the warm-up, in milliseconds.
    pub(crate) fn latency(&self, mut setting: Setting, pace: Pace) -> Outcome<Figures> {
        setting.records = u64::try_from(total(pace))?;
        for topic in [Numbers::NAME, Counts::NAME] {
            self.broker.create_topic(topic, setting.partitions, &[]);
        }
        let dir = TempDir::with_prefix("goka-bench-latency-")?;
        let stores = Arc::new(RedbStores::new(dir.path().to_owned(), 64 << 20));
        let definition = CountAndEmit::DEFINITION;
        let shared = definition.make.ok_or("a function needs no value")?();
        let (shared, log) = (Arc::from(shared), Arc::clone(&self.log));
        let running = start(definition, shared, log, stores, &options(setting))?;
        let brokers = self.broker.bootstrap();
        let reader = reader(&brokers, setting.partitions)?;
        let ended = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let seen = scope.spawn(|| read(&reader, &ended, total(pace)));
            let sent = send(&brokers, pace);
            if sent.is_err() {
                ended.store(true, Ordering::Relaxed);
            }
            let seen = seen.join().map_err(|_| "the reader panicked");
            sent.and(Ok(seen??))
        })?;
        running.stop();
        running.join()?;
        self.check_updates(Counts::NAME, setting)?;
        let group = definition.graph.group;
        let table = &*format!("{group}-state");
        self.forget(group, &[table, Numbers::NAME, Counts::NAME])?;
        let warm = seen.len() / 5;
        Ok(seen.into_iter().skip(warm).collect())
    }
}

fn total(pace: Pace) -> usize {
    let total = f64::from(pace.rate) * pace.lasts.as_secs_f64();
    total as usize
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Sends each record when it is due, and late ones at once.
fn send(brokers: &str, pace: Pace) -> Outcome<()> {
    let producer = producer(brokers)?;
    let mut random = Random(1);
    let began = Instant::now();
    for at in 0..total(pace) {
        let due = began + Duration::from_secs_f64(at as f64 / f64::from(pace.rate));
        producer.poll(Duration::ZERO);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let key = format!("k{}", random.below(10_000));
        let time = i64::try_from(now().as_millis())?;
        let record = BaseRecord::to(Numbers::NAME).key(&key).payload("1");
        let sent = producer.send(record.timestamp(time));
        sent.map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(TIMEOUT)?)
}

fn reader(brokers: &str, partitions: i32) -> Outcome<BaseConsumer> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench-count-latency-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "10")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(Counts::NAME, partition, Offset::Beginning)?;
    }
    reader.assign(&all)?;
    Ok(reader)
}

/// Reads as many outputs as there are inputs; returns the age of each when it was read.
fn read(reader: &BaseConsumer, ended: &AtomicBool, total: usize) -> Outcome<Vec<f64>> {
    let mut ages = Vec::with_capacity(total);
    let mut last_progress = Instant::now();
    while ages.len() < total && !ended.load(Ordering::Relaxed) {
        if last_progress.elapsed() > TIMEOUT {
            return Err(format!("{} of {total} outputs came", ages.len()).into());
        }
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            let sent = message?.timestamp().to_millis().ok_or("no timestamp")?;
            ages.push(milliseconds(now()) - sent as f64);
            last_progress = Instant::now();
        }
    }
    Ok(ages)
}
