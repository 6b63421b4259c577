//! Counts the input by a processor, or by the floor, from the first record handled to the last offset
//! committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka::{Processor, Topic};
use goka_bench_floor::{Floor, Moment};
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::log::{Log, LogError};
use goka_runtime::processor::{ProcessorOptions, Running, start};
use goka_runtime::record::{Guarantee, Offset, TopicPartition};
use goka_runtime::table::redb::RedbStores;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tempfile::TempDir;
use uuid::Uuid;

use goka_test_support::kafka::Broker;
use goka_test_support::{block_on, wait_until};

type Outcome<T> = goka_bench_floor::Result<T>;

/// The timeout of steps that are not measured.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// How long the broker may take to write the markers of a committed transaction.
const MARKER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often progress is checked; short compared with the measured times.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Memory for the tables, the default of programs with goka.
const TABLE_CACHE: usize = 256 << 20;

/// The input.
#[stream("bench-count-input", key = String, value = i64)]
#[derive(Debug)]
pub(crate) struct Numbers;

/// Adds up the numbers of each key.
#[derive(Debug, Default)]
pub(crate) struct Count {
    first: OnceLock<Moment>,
    handled: AtomicU64,
}

#[processor(group = "counter", persist = i64)]
impl Count {
    #[input(Numbers)]
    fn on_number(&self, ctx: &mut Context, add: i64) -> Result<()> {
        self.first.get_or_init(Moment::now);
        let count = ctx.value()?.unwrap_or(0) + add;
        ctx.set_value(&count)?;
        self.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The settings of a run, for the processor as for the floor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) records: u64,
    pub(crate) partitions: i32,
    pub(crate) barrier: Duration,
    pub(crate) flush: Duration,
    pub(crate) guarantee: Guarantee,
}

/// The times of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timings {
    /// From the first record handled to the last offset committed.
    pub(crate) counting: Duration,
    /// Processor time of the whole run, until everything is on disk.
    pub(crate) cpu: Duration,
    /// From the last offset committed until the processor has ended.
    pub(crate) ending: Duration,
}

/// A Kafka with the input.
pub(crate) struct TestBed {
    pub(crate) broker: Broker,
    pub(crate) log: Arc<dyn Log>,
}

impl TestBed {
    pub(crate) fn new(broker: Broker) -> Outcome<Self> {
        let config = KafkaConfig {
            brokers: broker.bootstrap(),
            ..KafkaConfig::default()
        };
        let log = Arc::new(Kafka::new(config)?);
        Ok(Self { broker, log })
    }

    /// Runs the floor; returns the times and the counts.
    pub(crate) fn floor(&self, setting: Setting) -> Outcome<(Timings, BTreeMap<String, i64>)> {
        let group = format!("bench-floor-{}", Uuid::new_v4());
        let changelog = format!("{group}-state");
        let compact = [("cleanup.policy", "compact")];
        let topic = &*changelog;
        self.broker
            .create_topic(topic, setting.partitions, &compact);
        let floor = Floor {
            brokers: self.broker.bootstrap(),
            group,
            input: Numbers::NAME.to_owned(),
            changelog: changelog.clone(),
            partitions: setting.partitions,
            records: setting.records,
            barrier: setting.barrier,
            exactly_once: setting.guarantee == Guarantee::ExactlyOnce,
        };
        let counted = floor.run()?;
        let ended = Moment::now();
        self.check_updates(&changelog, setting)?;
        self.broker.delete_topic(&changelog);
        let counts = counted.counts.into_iter().flatten();
        let counts = counts
            .map(|(key, count)| Ok((String::from_utf8(key)?, count)))
            .collect::<Outcome<_>>()?;
        Ok((timings(counted.first, counted.committed, ended), counts))
    }

    /// Runs the processor on an empty disk. Its group and table remain until [`TestBed::forget`].
    pub(crate) fn count(&self, setting: Setting) -> Outcome<Timings> {
        let dir = TempDir::with_prefix("goka-bench-count-")?;
        let stores = RedbStores::new(dir.path().to_owned(), TABLE_CACHE);
        let count = Arc::new(Count::default());
        let options = options(setting);
        let ends = self.ends(Numbers::NAME, setting.partitions)?;
        let log = Arc::clone(&self.log);
        let running = start(
            Count::DEFINITION,
            count.clone(),
            log,
            Arc::new(stores),
            &options,
        )?;
        if !await_records(&running, &count, setting.records) {
            running.stop();
            let why = running.join().err().map(|error| error.to_string());
            return Err(why.unwrap_or_else(|| "it stopped early".to_owned()).into());
        }
        // A stop commits at once, as the floor does after the last record, and not at the end of an interval.
        running.stop();
        let partitions: Vec<_> = ends.iter().map(|(at, _)| at.clone()).collect();
        let deadline = Instant::now() + TIMEOUT;
        while !self.is_committed(&partitions, &ends)? {
            if Instant::now() > deadline {
                return Err("its last offsets were not committed".into());
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
        let committed = Moment::now();
        running.join()?;
        let ended = Moment::now();
        let table = &*format!("{}-state", Count::DEFINITION.graph.group);
        self.check_updates(table, setting)?;
        let first = *count.first.get().ok_or("it handled nothing")?;
        Ok(timings(first, committed, ended))
    }

    /// Deletes a processor's group and topics, so that it can start from nothing.
    pub(crate) fn forget(&self, group: &str, topics: &[&str]) -> Outcome<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .create()?;
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        // A member that has not left the group stays in it until its session times out.
        wait_until("the group is gone", TIMEOUT, || {
            block_on(admin.delete_groups(&[group], &options))
                .is_ok_and(|results| results.iter().all(std::result::Result::is_ok))
        });
        for topic in topics {
            self.broker.delete_topic(topic);
        }
        wait_until("the topics are gone", TIMEOUT, || {
            let topics = self.log.describe(topics);
            topics.is_ok_and(|topics| topics.iter().all(Option::is_none))
        });
        Ok(())
    }

    fn ends(
        &self,
        topic: &str,
        partitions: i32,
    ) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let partitions: Vec<_> = (0..partitions)
            .map(|at| TopicPartition::new(topic, at))
            .collect();
        let ranges = self.log.ranges(&partitions)?;
        let ends = ranges.iter().map(|range| range.high);
        Ok(partitions.into_iter().zip(ends).collect())
    }

    fn is_committed(
        &self,
        partitions: &[TopicPartition],
        ends: &[(TopicPartition, Offset)],
    ) -> Result<bool, LogError> {
        let committed = self
            .log
            .committed(Count::DEFINITION.graph.group, partitions)?;
        let committed = committed
            .iter()
            .map(|at| at.as_ref().map_or(0, |at| at.offset));
        Ok(committed.eq(ends.iter().map(|(_, end)| *end)))
    }

    /// Checks that a topic has all updates, and that there were transactions exactly once. Each leaves a
    /// marker in every partition that it wrote to, a little after its commit.
    pub(crate) fn check_updates(&self, topic: &str, setting: Setting) -> Outcome<()> {
        let records = Offset::try_from(setting.records)?;
        let deadline = Instant::now() + MARKER_TIMEOUT;
        loop {
            let ends = self.ends(topic, setting.partitions)?;
            let end: Offset = ends.iter().map(|(_, end)| end).sum();
            let fits = match setting.guarantee {
                Guarantee::AtLeastOnce => end == records,
                Guarantee::ExactlyOnce => end > records,
            };
            if fits {
                return Ok(());
            }
            if Instant::now() > deadline {
                let guarantee = setting.guarantee;
                let what = format!("{records} updates were made, but the topic has {end} offsets");
                return Err(format!("{guarantee}, {what}").into());
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

fn timings(first: Moment, committed: Moment, ended: Moment) -> Timings {
    Timings {
        counting: committed.clock - first.clock,
        cpu: ended.cpu.saturating_sub(first.cpu),
        ending: ended.clock - committed.clock,
    }
}

pub(crate) fn options(setting: Setting) -> ProcessorOptions {
    ProcessorOptions {
        barrier_interval: setting.barrier,
        flush_interval: setting.flush,
        session_timeout: Duration::from_secs(6),
        stop_timeout: Duration::from_secs(30),
        guarantee: Some(setting.guarantee),
        ..ProcessorOptions::default()
    }
}

/// Waits until all records are handled; returns false when the processor has ended or makes no progress.
fn await_records(running: &Running, count: &Count, records: u64) -> bool {
    let (mut handled, mut last_progress) = (0, Instant::now());
    while handled < records {
        if running.is_finished() || last_progress.elapsed() > TIMEOUT {
            return false;
        }
        std::thread::park_timeout(POLL_INTERVAL);
        let now = count.handled.load(Ordering::Relaxed);
        if now != handled {
            (handled, last_progress) = (now, Instant::now());
        }
    }
    true
}
