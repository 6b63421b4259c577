//! Every kind of edge, at least and exactly once. The same cases run on the embedded log, the simulated
//! log and a real Kafka.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka::{Emitter, Processor, Topic, View};
use goka_runtime::clock::Clock;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::simulated::Simulated;
use goka_runtime::log::{Isolation, Log, NewTopic, Sent};
use goka_runtime::processor::{ProcessorOptions, Running, start};
use goka_runtime::record::{Guarantee, Record, TopicPartition};
use goka_runtime::table::memory::MemoryStores;
use goka_runtime::visit::visit;
use serde::{Deserialize, Serialize};

use crate::support::kafka::{Broker, another, broker};
use crate::support::{TIMEOUT, kafka_log, offsets, wait_until};

const PARTITIONS: i32 = 3;

/// A log, and the stores of one process on it.
struct Rig {
    log: Arc<dyn Log>,
    stores: Arc<MemoryStores>,
    guarantee: Guarantee,
}

/// A cluster for each guarantee, since the names of topics and groups are fixed by the processors.
fn cluster(guarantee: Guarantee) -> Option<&'static Broker> {
    static ONCE: OnceLock<Option<Broker>> = OnceLock::new();
    match guarantee {
        Guarantee::AtLeastOnce => broker(),
        Guarantee::ExactlyOnce => ONCE.get_or_init(|| another(&[])).as_ref(),
    }
}

/// Runs a case on every engine, with either guarantee.
fn on_every_log(case: fn(&Rig)) {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let run = |log| case(&Rig::new(log, guarantee));
        run(Arc::new(Embedded::in_memory().unwrap()));
        run(Arc::new(Simulated::new(Clock::default())));
        if let Some(broker) = cluster(guarantee) {
            run(kafka(&broker.bootstrap()));
        }
    }
}

fn kafka(brokers: &str) -> Arc<dyn Log> {
    Arc::new(kafka_log(brokers))
}

impl Rig {
    fn new(log: Arc<dyn Log>, guarantee: Guarantee) -> Self {
        Self {
            log,
            stores: Arc::default(),
            guarantee,
        }
    }

    fn make(&self, topic: &str, partitions: i32, compact: bool) {
        let topic = NewTopic {
            name: topic.to_owned(),
            partitions,
            compact,
            retention: None,
        };
        self.log.create(&topic).unwrap();
    }

    fn start<P: Processor>(&self) -> Running {
        let definition = P::DEFINITION;
        let shared = definition.make.expect("it has a default")();
        let options = ProcessorOptions {
            session_timeout: Duration::from_secs(6),
            barrier_interval: Duration::from_millis(20),
            guarantee: Some(self.guarantee),
            instance: "edges".to_owned(),
            ..ProcessorOptions::default()
        };
        let (log, stores) = (Arc::clone(&self.log), self.stores.clone());
        start(definition, Arc::from(shared), log, stores, &options).unwrap()
    }

    fn emit<T: Topic<Key = String>>(&self, records: impl IntoIterator<Item = (String, T::Value)>) {
        let emitter = Emitter::<T>::new(Arc::clone(&self.log)).unwrap();
        for (key, value) in records {
            let _ack = emitter.emit(&key, &value).unwrap();
        }
        emitter.close(TIMEOUT).unwrap();
    }

    fn table<T: goka::Table<Key = String>>(&self) -> BTreeMap<String, T::Value> {
        let view =
            View::<T>::start(Arc::clone(&self.log), Arc::new(MemoryStores::default())).unwrap();
        view.wait_ready(TIMEOUT).unwrap();
        view.iter().unwrap().map(Result::unwrap).collect()
    }

    /// Counts the committed records of a topic; its offsets would count control records, too.
    fn count(&self, topic: &str, partitions: i32) -> usize {
        let from = |at| (TopicPartition::new(topic, at), 0);
        let from: Vec<_> = (0..partitions).map(from).collect();
        let all: Vec<_> = from.iter().map(|(at, _)| at.clone()).collect();
        let ends = self.log.ranges(&all).unwrap();
        let mut reader = self.log.reader(&from, Isolation::ReadCommitted).unwrap();
        let mut count = 0;
        wait_until("the topic is read to its end", TIMEOUT, || {
            let each = &mut |_: usize, records: &[Record<'_>]| count += records.len();
            reader.poll(Duration::from_millis(50), each).unwrap();
            let mut ends = ends.iter().enumerate();
            ends.all(|(at, end)| reader.position(at) >= end.high)
        });
        count
    }

    fn is_committed(&self, group: &str, topic: &str) -> bool {
        let info = self.log.describe(&[topic]).unwrap().remove(0).unwrap();
        offsets::is_level(&*self.log, group, topic, info.partitions)
    }

    fn wait_committed(&self, group: &str, topic: &str) {
        wait_until("the input is committed to its end", TIMEOUT, || {
            self.is_committed(group, topic)
        });
    }
}

fn users(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|at| format!("user-{at}"))
}

fn stop(running: Running) {
    running.stop();
    running.join().unwrap();
}

#[table("edges-profiles", key = String, value = String)]
#[derive(Debug)]
struct Profiles;

#[stream("edges-greetings", key = String, value = String)]
#[derive(Debug)]
struct Greetings;

/// Stores the profile as it was when the greeting was handled.
#[derive(Debug, Default)]
struct Greeter;

#[processor(group = "edges-greeter", persist = String)]
#[join(Profiles)]
impl Greeter {
    #[input(Greetings)]
    fn on_greeting(&self, ctx: &mut Context, _greeting: String) -> Result<()> {
        let profile = ctx.join(Profiles)?.unwrap_or_else(|| "nobody".into());
        ctx.set_value(&profile)?;
        Ok(())
    }
}

#[test]
fn a_joined_table_is_restored_before_the_first_input_and_followed_after_it() {
    on_every_log(|rig| {
        rig.make("edges-profiles", PARTITIONS, true);
        rig.make("edges-greetings", PARTITIONS, false);
        rig.emit::<Profiles>(users(30).map(|user| (user, "first".to_owned())));
        rig.emit::<Greetings>(users(30).map(|user| (user, "hello".to_owned())));
        let running = rig.start::<Greeter>();
        rig.wait_committed("edges-greeter", "edges-greetings");
        let table = rig.table::<Greeter>();
        assert_eq!(table.len(), 30);
        assert!(
            table.values().all(|profile| profile == "first"),
            "{table:?}"
        );

        rig.emit::<Profiles>(users(30).map(|user| (user, "second".to_owned())));
        wait_until(
            "handlers see the new rows of the joined table",
            TIMEOUT,
            || {
                rig.emit::<Greetings>(users(30).map(|user| (user, "hello again".to_owned())));
                rig.wait_committed("edges-greeter", "edges-greetings");
                rig.table::<Greeter>()
                    .values()
                    .all(|profile| profile == "second")
            },
        );
        stop(running);

        // The next start reads the later rows before the first input.
        rig.emit::<Profiles>(users(30).map(|user| (user, "third".to_owned())));
        rig.emit::<Greetings>(users(30).map(|user| (user, "hello".to_owned())));
        let running = rig.start::<Greeter>();
        rig.wait_committed("edges-greeter", "edges-greetings");
        let table = rig.table::<Greeter>();
        assert!(
            table.values().all(|profile| profile == "third"),
            "{table:?}"
        );
        stop(running);
    });
}

#[table("edges-devices", key = String, value = String)]
#[derive(Debug)]
struct Devices;

#[stream("edges-pings", key = String, value = String)]
#[derive(Debug)]
struct Pings;

/// A ping names a device, of any partition.
#[processor(group = "edges-pinger", persist = String)]
#[input(Pings)]
#[lookup(Devices)]
fn edges_pinger(ctx: &mut Context, device: String) -> Result<()> {
    let device = ctx
        .lookup(Devices, &device)?
        .unwrap_or_else(|| "unknown".into());
    ctx.set_value(&device)?;
    Ok(())
}

#[test]
fn a_lookup_sees_every_partition() {
    on_every_log(|rig| {
        rig.make("edges-devices", 5, true);
        rig.make("edges-pings", PARTITIONS, false);
        let device = |at: usize| format!("device-{}", (at * 7) % 40);
        rig.emit::<Devices>((0..40).map(|at| (format!("device-{at}"), format!("is {at}"))));
        rig.emit::<Pings>(users(40).enumerate().map(|(at, user)| (user, device(at))));
        let running = rig.start::<EdgesPinger>();
        rig.wait_committed("edges-pinger", "edges-pings");
        let table = rig.table::<EdgesPinger>();
        for (at, user) in users(40).enumerate() {
            assert_eq!(table[&user], format!("is {}", (at * 7) % 40));
        }
        stop(running);
    });
}

#[stream("edges-transfers", key = String, value = String)]
#[derive(Debug)]
struct Transfers;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    sent: u64,
    received: u64,
    /// The last number from each sender.
    last: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Credit {
    from: String,
    number: u64,
}

#[derive(Debug, Default)]
struct Bank;

#[processor(group = "edges-bank", persist = Json<Account>)]
impl Bank {
    #[input(Transfers)]
    fn on_transfer(&self, ctx: &mut Context, to: String) -> Result<()> {
        let mut account = ctx.value()?.unwrap_or_default();
        account.sent += 1;
        let credit = Credit {
            from: ctx.key().to_owned(),
            number: account.sent,
        };
        ctx.set_value(&account)?;
        ctx.loopback(&to, &credit)?;
        Ok(())
    }

    #[loopback]
    fn on_credit(&self, ctx: &mut Context, credit: Json<Credit>) -> Result<()> {
        let Json(credit) = credit;
        let mut account = ctx.value()?.unwrap_or_default();
        let last = account.last.entry(credit.from.clone()).or_default();
        if credit.number <= *last {
            return Err(format!("{} after {last} from {}", credit.number, credit.from).into());
        }
        *last = credit.number;
        account.received += 1;
        ctx.set_value(&account)?;
        Ok(())
    }
}

#[test]
fn a_loopback_reaches_another_key_in_order() {
    on_every_log(|rig| {
        rig.make("edges-transfers", PARTITIONS, false);
        let transfers = (0..600_usize).map(|at| {
            let (from, to) = (at % 7, (at * 5 + 3) % 11);
            (format!("user-{from}"), format!("user-{to}"))
        });
        let running = rig.start::<Bank>();
        rig.emit::<Transfers>(transfers);
        rig.wait_committed("edges-bank", "edges-transfers");
        rig.wait_committed("edges-bank", "edges-bank-loop");
        let table = rig.table::<Bank>();
        assert_eq!(table.values().map(|account| account.sent).sum::<u64>(), 600);
        assert_eq!(
            table.values().map(|account| account.received).sum::<u64>(),
            600
        );
        stop(running);
    });
}

#[stream("edges-words", key = String, value = String)]
#[derive(Debug)]
struct Words;

#[stream("edges-lengths", key = String, value = i64)]
#[derive(Debug)]
struct Lengths;

/// Stateless: forwards its records.
#[processor(group = "edges-measure")]
#[input(Words)]
#[output(Lengths)]
fn edges_measure(ctx: &mut Context, word: &str) -> Result<()> {
    ctx.emit(Lengths, ctx.key(), &i64::try_from(word.len())?)?;
    Ok(())
}

#[processor(group = "edges-total", persist = i64)]
#[input(Lengths)]
fn edges_total(ctx: &mut Context, length: i64) -> Result<()> {
    let total = ctx.value()?.unwrap_or(0) + length;
    ctx.set_value(&total)?;
    Ok(())
}

#[test]
fn processors_of_one_program_feed_each_other() {
    on_every_log(|rig| {
        // The inputs of a stateless group need no equal partition counts.
        rig.make("edges-words", 2, false);
        rig.make("edges-lengths", PARTITIONS, false);
        let (first, second) = (rig.start::<EdgesMeasure>(), rig.start::<EdgesTotal>());
        rig.emit::<Words>((1..=90).map(|at| (format!("user-{}", at % 9), "x".repeat(at))));
        rig.wait_committed("edges-measure", "edges-words");
        rig.wait_committed("edges-total", "edges-lengths");
        let table = rig.table::<EdgesTotal>();
        assert_eq!(table.len(), 9);
        assert_eq!(table.values().sum::<i64>(), (1..=90).sum::<i64>());
        stop(first);
        stop(second);
    });
}

#[stream("edges-steps", key = String, value = i64)]
#[derive(Debug)]
struct Steps;

#[derive(Debug, Default)]
struct Walker;

/// Yields once to other futures.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[processor(group = "edges-walker", persist = i64)]
impl Walker {
    #[input(Steps)]
    async fn on_step(&self, ctx: &mut Context, step: i64) -> Result<()> {
        let shared = Rc::new(step);
        pause().await;
        let last = ctx.value()?.unwrap_or(0);
        if *shared != last + 1 {
            return Err(format!("step {shared} after {last}").into());
        }
        let guard = ctx.defer();
        pause().await;
        ctx.set_value(&*shared)?;
        std::thread::spawn(move || guard.done());
        Ok(())
    }
}

#[test]
fn asynchronous_handlers_keep_the_order_of_a_key() {
    on_every_log(|rig| {
        rig.make("edges-steps", PARTITIONS, false);
        let running = rig.start::<Walker>();
        rig.emit::<Steps>((1..=50).flat_map(|step| users(8).map(move |user| (user, step))));
        rig.wait_committed("edges-walker", "edges-steps");
        let table = rig.table::<Walker>();
        assert_eq!(table.len(), 8);
        assert!(table.values().all(|last| *last == 50), "{table:?}");
        stop(running);
    });
}

#[stream("edges-marks", key = String, value = String)]
#[derive(Debug)]
struct Marks;

/// Stores the last mark of a key. A visit sets the marks of all keys, slowly, and prints the keys.
#[derive(Debug, Default)]
struct Marker;

#[processor(group = "edges-marker", persist = String)]
impl Marker {
    #[input(Marks)]
    fn on_mark(&self, ctx: &mut Context, mark: String) -> Result<()> {
        ctx.set_value(&mark)?;
        Ok(())
    }

    #[visit]
    fn remark(&self, ctx: &mut Context, mark: String) -> Result<()> {
        ctx.set_value(&mark)?;
        println!("visited {}", ctx.key());
        std::thread::park_timeout(Duration::from_millis(1));
        Ok(())
    }
}

const KEYS: usize = 3_000;

/// The environment variable of the child process below: its guarantee, then its log as `kafka HOST:PORT` or
/// `file DIR`.
const CHILD: &str = "GOKA_TEST_EDGES_CHILD";

fn log_of(place: &str) -> Arc<dyn Log> {
    match place.split_once(' ').unwrap() {
        ("kafka", brokers) => kafka(brokers),
        (_, dir) => Arc::new(Embedded::open(&std::path::Path::new(dir).join("log.redb")).unwrap()),
    }
}

/// The child process that the next test starts and kills. Without its environment variable it does nothing.
#[test]
fn the_child_that_is_killed() {
    let Ok(place) = std::env::var(CHILD) else {
        return;
    };
    let (guarantee, place) = place.split_once(' ').unwrap();
    let rig = Rig::new(log_of(place), guarantee.parse().unwrap());
    let _running = rig.start::<Marker>();
    loop {
        std::thread::park();
    }
}

/// Starts the child, and kills it once it has visited this many keys; returns how many it had visited.
fn visit_until(place: &str, guarantee: Guarantee, many: usize) -> usize {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "edges::the_child_that_is_killed", "--nocapture"])
        .env(CHILD, format!("{guarantee} {place}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let visits = lines
        .map_while(std::result::Result::ok)
        .filter(|line| line.contains("visited "));
    let seen = visits.take(many).count();
    child.kill().unwrap();
    child.wait().unwrap();
    seen
}

#[test]
fn a_visit_resumes_after_a_crash() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let dir = tempfile::tempdir().unwrap();
        check_visit_after_a_crash(&format!("file {}", dir.path().display()), guarantee);
        if let Some(broker) = cluster(guarantee) {
            check_visit_after_a_crash(&format!("kafka {}", broker.bootstrap()), guarantee);
        }
    }
}

fn check_visit_after_a_crash(place: &str, guarantee: Guarantee) {
    let first = Rig::new(log_of(place), guarantee);
    first.make("edges-marks", 1, false);
    first.emit::<Marks>((0..KEYS).map(|at| (format!("key-{at:05}"), "old".to_owned())));
    let running = first.start::<Marker>();
    first.wait_committed("edges-marker", "edges-marks");
    stop(running);
    visit::<Marker>(Arc::clone(&first.log), "remark", "new", TIMEOUT).unwrap();
    drop(first);

    let seen = visit_until(place, guarantee, KEYS / 2);
    assert_eq!(seen, KEYS / 2, "killed in the middle");
    // The next process resumes at the last barrier, and finishes the visit.
    let second = Rig::new(log_of(place), guarantee);
    let running = second.start::<Marker>();
    second.wait_committed("edges-marker", "edges-marker-visit");
    let table = second.table::<Marker>();
    stop(running);
    assert_eq!(table.len(), KEYS);
    assert!(table.values().all(|mark| mark == "new"));
    let visits = second.count("edges-marker-state", 1) - KEYS;
    // A visit that started from the beginning would write KEYS rows beside those before the kill.
    let most = match guarantee {
        Guarantee::AtLeastOnce => KEYS + KEYS / 3,
        Guarantee::ExactlyOnce => KEYS,
    };
    assert!(
        (KEYS..=most).contains(&visits),
        "{visits} visits of {KEYS} keys on {place}, {guarantee}"
    );
}

#[test]
fn an_unknown_visit_is_refused() {
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
    let error = visit::<Marker>(log, "nobody", "", TIMEOUT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "group `edges-marker` has no visit `nobody`"
    );
}

#[stream("edges-readings", keyless, value = String)]
#[derive(Debug)]
struct Readings;

#[stream("edges-measured", key = String, value = i64)]
#[derive(Debug)]
struct Measured;

/// Gives keys to records without one, and forwards them.
#[processor(group = "edges-rekey")]
#[input(Readings)]
#[output(Measured)]
fn edges_rekey(ctx: &mut Context, reading: &str) -> Result<()> {
    let (key, _) = reading.split_once(' ').ok_or("no name")?;
    ctx.emit(Measured, key, &i64::try_from(reading.len())?)?;
    Ok(())
}

#[test]
fn keyless_records_are_spread_over_partitions_and_given_keys() {
    on_every_log(|rig| {
        rig.make("edges-readings", 2, false);
        rig.make("edges-measured", PARTITIONS, false);
        let running = rig.start::<EdgesRekey>();
        let readings = Emitter::<Readings>::new(Arc::clone(&rig.log)).unwrap();
        for at in 0..20 {
            let _ack = readings.emit((), &format!("sensor-{} on", at % 4)).unwrap();
        }
        readings.close(TIMEOUT).unwrap();
        rig.wait_committed("edges-rekey", "edges-readings");
        let ends = offsets::ends(&*rig.log, "edges-readings", 2);
        assert_eq!(ends, [10, 10], "both partitions have half of them");
        assert_eq!(rig.count("edges-measured", PARTITIONS), 20);
        stop(running);
    });
}

#[stream("edges-samples", keyless, value = String)]
#[derive(Debug)]
struct Samples;

/// Sums samples by sensor. The records have no key; a loopback gives them the name of the sensor.
#[derive(Debug, Default)]
struct Sampler;

#[processor(group = "edges-sampler", persist = i64)]
impl Sampler {
    #[input(Samples)]
    fn on_sample(&self, ctx: &mut Context, sample: &str) -> Result<()> {
        let (sensor, value) = sample.split_once(' ').ok_or("no name")?;
        ctx.loopback(sensor, &value.parse::<i64>()?)?;
        Ok(())
    }

    #[loopback]
    fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + value)?;
        Ok(())
    }
}

#[test]
fn a_keyless_stream_is_given_keys_by_a_loopback_into_a_table() {
    on_every_log(|rig| {
        rig.make("edges-samples", PARTITIONS, false);
        let emit = |records: &[(Option<&[u8]>, String)]| {
            let delivered = |_, result: std::result::Result<_, _>| assert!(result.is_ok());
            let appender = rig.log.appender(Arc::new(delivered)).unwrap();
            let deadline = Instant::now() + TIMEOUT;
            for (token, (key, sample)) in records.iter().enumerate() {
                let sent = Sent {
                    topic: "edges-samples",
                    partition: i32::try_from(token).unwrap() % PARTITIONS,
                    key: *key,
                    value: Some(sample.as_bytes()),
                    timestamp: 1_000,
                    headers: &[],
                };
                appender.send(sent, token as u64, deadline).unwrap();
            }
            appender.flush(deadline).unwrap();
        };
        // Most records have no key, some have a key that is no text and not in its partition: a keyless
        // input does not check keys.
        let sample = |at: usize| format!("sensor-{} {at}", at % 7);
        let keys = |at: usize| at.is_multiple_of(5).then_some(b"\xff not text".as_slice());
        let records: Vec<_> = (0..210).map(|at| (keys(at), sample(at))).collect();
        emit(&records[..150]);
        let running = rig.start::<Sampler>();
        rig.wait_committed("edges-sampler", "edges-samples");
        stop(running);
        emit(&records[150..]);
        let running = rig.start::<Sampler>();
        rig.wait_committed("edges-sampler", "edges-samples");
        rig.wait_committed("edges-sampler", "edges-sampler-loop");
        let table = rig.table::<Sampler>();
        let sum = |sensor| (0..210).filter(|at| at % 7 == sensor).sum::<i64>();
        let expected = (0..7).map(|sensor| (format!("sensor-{sensor}"), sum(sensor)));
        assert_eq!(table, expected.collect());
        stop(running);
    });
}
