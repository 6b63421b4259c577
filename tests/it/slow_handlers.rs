//! Slow handlers: how often each record is handled, whether offsets are committed meanwhile, and how soon
//! the processor stops or gives partitions to another member. The same cases run on the embedded log and on
//! a real Kafka, with both guarantees; `GOKA_LONG=1` runs the long ones, too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use goka::Processor;
use goka::prelude::*;
use goka_runtime::graph::Definition;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, NewTopic, Sent};
use goka_runtime::processor::{ProcessorError, ProcessorOptions, Running, start};
use goka_runtime::record::{Guarantee, TopicPartition};
use goka_runtime::table::memory::MemoryStores;

use crate::support::definition::renamed;
use crate::support::kafka::{Broker, another};
use crate::support::program::{Program, data_dir};
use crate::support::{TIMEOUT, is_long, kafka_log, unique, wait_until};

use Guarantee::{AtLeastOnce, ExactlyOnce};

/// How much a busy machine and a broker may add to an expected time.
const SLACK: Duration = Duration::from_secs(5);

static HANDLED: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

fn note(key: &str) {
    let mut handled = HANDLED.lock().unwrap();
    *handled.entry(key.to_owned()).or_default() += 1;
}

/// How often each key with a prefix was handled.
fn handled(prefix: &str) -> BTreeMap<String, usize> {
    let handled = HANDLED.lock().unwrap();
    let of = handled.iter().filter(|(key, _)| key.starts_with(prefix));
    of.map(|(key, times)| (key.clone(), *times)).collect()
}

#[derive(Default)]
struct Slow;

/// Each record says how many milliseconds its handler takes.
#[processor(group = "slow", persist = i64)]
impl Slow {
    #[input("slow-works")]
    fn on_work(&self, ctx: &mut Context, millis: u64) -> Result<()> {
        note(ctx.key());
        std::thread::sleep(Duration::from_millis(millis));
        ctx.update(|count| count.unwrap_or(0) + 1)?;
        Ok(())
    }

    #[input("slow-waits")]
    async fn on_wait(&self, ctx: &mut Context, millis: u64) -> Result<()> {
        note(ctx.key());
        tokio::time::sleep(Duration::from_millis(millis)).await;
        ctx.update(|count| count.unwrap_or(0) + 1)?;
        Ok(())
    }

    #[visit]
    fn touch(&self, ctx: &mut Context, millis: u64) -> Result<()> {
        note(&format!("visit-{}", ctx.key()));
        std::thread::sleep(Duration::from_millis(millis));
        ctx.update(|count| count.unwrap_or(0) + 1)?;
        Ok(())
    }
}

/// A broker that aborts transactions that have timed out every half second.
fn cluster() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let made = || {
        another(&[
            (
                "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                "500",
            ),
            ("group.min.session.timeout.ms", "1000"),
        ])
    };
    BROKER.get_or_init(made).as_ref()
}

fn kafka(broker: &Broker) -> Arc<dyn Log> {
    Arc::new(kafka_log(broker.bootstrap()))
}

/// A group with its topics on a log, and how it runs.
struct Rig {
    log: Arc<dyn Log>,
    name: String,
    definition: &'static Definition,
    options: ProcessorOptions,
}

/// Runs a case on the embedded log and on Kafka, all at the same time, since they mostly sleep.
fn everywhere(guarantees: &[Guarantee], case: impl Fn(Rig) + Sync) {
    let logs = || {
        let embedded: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
        [Some(embedded), cluster().map(kafka)].into_iter().flatten()
    };
    std::thread::scope(|scope| {
        for guarantee in guarantees {
            for log in logs() {
                let case = &case;
                scope.spawn(move || case(Rig::new(log, *guarantee)));
            }
        }
    });
}

impl Rig {
    fn new(log: Arc<dyn Log>, guarantee: Guarantee) -> Self {
        let name = unique("slow");
        let definition = Box::leak(Box::new(renamed(Slow::DEFINITION, "slow", &name)));
        let options = ProcessorOptions {
            guarantee: Some(guarantee),
            session_timeout: Duration::from_secs(2),
            max_poll_interval: Duration::from_secs(2),
            transaction_timeout: Duration::from_secs(2),
            ..ProcessorOptions::default()
        };
        for topic in ["works", "waits"] {
            let topic = NewTopic {
                name: format!("{name}-{topic}"),
                partitions: 2,
                compact: false,
                retention: None,
            };
            log.create(&topic).unwrap();
        }
        Self {
            log,
            name,
            definition,
            options,
        }
    }

    /// The timeouts are those of a program that sets none. The long cases outlast them, too, and a broker
    /// that a busy machine holds up for a second or two is no reason to handle a record again.
    fn with_default_timeouts(mut self) -> Self {
        let default = ProcessorOptions::default();
        self.options.session_timeout = default.session_timeout;
        self.options.max_poll_interval = default.max_poll_interval;
        self.options.transaction_timeout = default.transaction_timeout;
        self
    }

    /// Guarantee and log of the case, for messages of failures.
    fn what(&self) -> String {
        format!(
            "{:?} on {}",
            self.options.guarantee,
            self.log.describe_self()
        )
    }

    fn start(&self, instance: &str) -> Running {
        let shared: Arc<goka_runtime::dispatch::ProcessorState> = Arc::new(Slow);
        let options = ProcessorOptions {
            instance: format!("{}-{instance}", self.name),
            ..self.options.clone()
        };
        let (log, stores) = (self.log.clone(), Arc::new(MemoryStores::default()));
        start(self.definition, shared, log, stores, &options).unwrap()
    }

    /// Sends records with their times, the keys numbered from `from`.
    fn send(&self, topic: &str, partition: i32, from: usize, millis: &[u64]) {
        let keys = (from..).map(|number| self.key(partition, number));
        self.put(topic, partition, keys.zip(millis.iter().copied()));
    }

    fn put(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = (String, u64)>) {
        let topic = format!("{}-{topic}", self.name);
        let failed = Arc::new(AtomicUsize::new(0));
        let count = failed.clone();
        let appender = self.log.appender(Arc::new(move |_, delivered| {
            count.fetch_add(usize::from(delivered.is_err()), Ordering::Relaxed);
        }));
        let appender = appender.unwrap();
        for (key, millis) in records {
            let value = millis.to_string();
            let sent = Sent {
                topic: &topic,
                partition,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                timestamp: -1,
                headers: &[],
            };
            appender.send(sent, 0, Instant::now() + TIMEOUT).unwrap();
        }
        appender.flush(Instant::now() + TIMEOUT).unwrap();
        assert_eq!(failed.load(Ordering::Relaxed), 0);
    }

    /// The key of a number, in a partition.
    fn key(&self, partition: i32, number: usize) -> String {
        let place = self.definition.graph.edges[0].topic.partition_of;
        let mut salts = 0..;
        let key = salts.find_map(|salt: u32| {
            let key = format!("{}:{number}:{salt}", self.name);
            (place(key.as_bytes(), 2) == partition).then_some(key)
        });
        key.unwrap()
    }

    /// How many records of an input are committed, of both partitions.
    fn committed(&self, topic: &str) -> i64 {
        let topic = format!("{}-{topic}", self.name);
        let places = [0, 1].map(|at| TopicPartition::new(&*topic, at));
        let found = self.log.committed(&self.name, &places).unwrap();
        found.iter().flatten().map(|at| at.offset).sum()
    }

    /// Waits until this many records are committed; returns the longest time without a commit.
    fn wait_committed(&self, topic: &str, records: i64, within: Duration) -> Duration {
        let (mut last, mut longest) = ((Instant::now(), 0), Duration::ZERO);
        wait_until(
            &format!("{records} commits, {}", self.what()),
            within,
            || {
                let committed = self.committed(topic);
                longest = longest.max(last.0.elapsed());
                if committed > last.1 {
                    last = (Instant::now(), committed);
                }
                committed >= records
            },
        );
        longest
    }

    /// How often each record was handled.
    fn times(&self) -> BTreeMap<String, usize> {
        handled(&format!("{}:", self.name))
    }

    fn assert_once(&self, records: usize) {
        let times = self.times();
        assert_eq!(times.len(), records, "{}", self.what());
        let twice: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "{}: {twice:?}", self.what());
    }
}

fn stop(running: Running) -> (Duration, std::result::Result<(), ProcessorError>) {
    let began = Instant::now();
    running.stop();
    let ended = running.join();
    (began.elapsed(), ended)
}

/// A backlog that takes far longer than a session is handled once, its offsets are committed meanwhile, and
/// a stop in its middle waits only for the record that is being handled.
fn backlog(rig: &Rig, millis: u64, records: usize) {
    let half = records / 2;
    rig.send("works", 0, 0, &vec![millis; half]);
    rig.send("waits", 1, 0, &vec![millis; records - half]);
    let each = Duration::from_millis(millis);
    let within = TIMEOUT + each * u32::try_from(records).unwrap() * 2;
    let running = rig.start("a");
    wait_until("a third is handled", within, || {
        rig.times().len() > records / 3
    });
    let (took, ended) = stop(running);
    assert!(ended.is_ok(), "{}: {ended:?}", rig.what());
    assert!(took < each * 2 + SLACK, "{}: {took:?}", rig.what());
    // Everything that was handled is committed.
    let committed = rig.committed("works") + rig.committed("waits");
    assert_eq!(committed, rig.times().len() as i64, "{}", rig.what());
    let running = rig.start("a");
    let all = i64::try_from(half).unwrap();
    let gap = rig.wait_committed("works", all, within);
    assert!(
        gap < each * 3 + SLACK,
        "{}: {gap:?} without a commit",
        rig.what()
    );
    rig.wait_committed("waits", i64::try_from(records - half).unwrap(), within);
    rig.assert_once(records);
    assert!(stop(running).1.is_ok());
}

#[test]
fn a_backlog_of_slow_records_is_handled_once_and_can_be_stopped() {
    everywhere(&[AtLeastOnce, ExactlyOnce], |rig| backlog(&rig, 8, 600));
    everywhere(&[AtLeastOnce, ExactlyOnce], |rig| backlog(&rig, 170, 30));
    if is_long() {
        for (millis, records) in [(5, 8_000), (8, 8_000), (170, 2_000), (3_000, 60)] {
            everywhere(&[AtLeastOnce, ExactlyOnce], |rig| {
                backlog(&rig.with_default_timeouts(), millis, records);
            });
        }
    }
}

/// At least once, a record that takes longer than the session and the poll interval is handled a single
/// time as long as nobody joins or leaves.
#[test]
fn a_record_longer_than_the_session_is_handled_once() {
    fn case(mut rig: Rig, (session, millis): (Duration, u64)) {
        rig.options.session_timeout = session;
        rig.options.max_poll_interval = session;
        rig.send("works", 0, 0, &[0, millis, 0]);
        rig.send("waits", 1, 0, &[0, millis, 0]);
        let running = rig.start("a");
        let within = TIMEOUT + Duration::from_millis(2 * millis);
        wait_until("the slow record is in hand", within, || {
            running.in_hand().is_some_and(|record| record.offset == 1)
        });
        rig.wait_committed("works", 3, within);
        rig.wait_committed("waits", 3, within);
        rig.assert_once(6);
        let (_, ended) = stop(running);
        assert!(ended.is_ok(), "{}: {ended:?}", rig.what());
    }
    everywhere(&[AtLeastOnce], |rig| {
        case(rig, (Duration::from_secs(2), 5_000));
    });
    if is_long() {
        everywhere(&[AtLeastOnce], |rig| {
            case(rig, (Duration::from_secs(10), 25_000));
        });
    }
}

/// Exactly once, a record that takes longer than its transaction may is handled again in a transaction of
/// its own: twice, never three times. A second such record is not reported as a second process.
#[test]
fn a_record_longer_than_its_transaction_is_handled_twice_at_most() {
    fn case(mut rig: Rig, (timeout, millis): (Duration, u64)) {
        rig.options.transaction_timeout = timeout;
        rig.send("works", 0, 0, &[0, millis, 0, 0, millis, 0]);
        let running = rig.start("a");
        rig.wait_committed("works", 6, TIMEOUT + Duration::from_millis(4 * millis));
        for (key, times) in rig.times() {
            let slow = [rig.key(0, 1), rig.key(0, 4)].contains(&key);
            let most = if slow { 2 } else { 3 };
            assert!(times <= most, "{}: {key} {times} times", rig.what());
        }
        let (_, ended) = stop(running);
        assert!(ended.is_ok(), "{}: {ended:?}", rig.what());
    }
    everywhere(&[ExactlyOnce], |rig| {
        case(rig, (Duration::from_secs(2), 5_000));
    });
    if is_long() {
        everywhere(&[ExactlyOnce], |rig| {
            case(rig, (Duration::from_secs(10), 15_000));
        });
    }
}

/// A walk of slow visits continues after barriers, beside other records, and after a restart. Each key is
/// visited once, or twice if its visit takes longer than a transaction may.
fn walk(rig: &Rig, keys: usize, millis: u64) {
    rig.send("works", 0, 0, &vec![0; keys]);
    let each = Duration::from_millis(millis);
    let within = TIMEOUT + each * u32::try_from(keys).unwrap() * 3;
    let running = rig.start("a");
    rig.wait_committed("works", keys as i64, TIMEOUT);
    rig.put("visit", 0, [("touch".to_owned(), millis)]);
    let visits = || handled(&format!("visit-{}:", rig.name));
    wait_until("some keys are visited", within, || {
        visits().len() > keys / 4
    });
    let (took, ended) = stop(running);
    assert!(ended.is_ok(), "{}: {ended:?}", rig.what());
    assert!(took < each * 2 + SLACK, "{}: {took:?}", rig.what());
    // Other records are handled during the walk.
    let running = rig.start("a");
    rig.send("works", 0, keys, &[0; 20]);
    rig.wait_committed("works", (keys + 20) as i64, TIMEOUT + each * 5);
    wait_until("all keys are visited", within, || {
        visits().len() == keys + 20 || visits().len() == keys
    });
    wait_until("the visit is committed", within, || {
        rig.committed("visit") == 1
    });
    let is_once = rig.options.guarantee == Some(ExactlyOnce);
    let most = 1 + usize::from(is_once && each > rig.options.transaction_timeout);
    let often: Vec<_> = visits()
        .into_iter()
        .filter(|(_, times)| *times > most)
        .collect();
    assert!(often.is_empty(), "{}: {often:?}", rig.what());
    assert!(stop(running).1.is_ok());
}

#[test]
fn a_walk_of_slow_visits_resumes_after_a_stop() {
    everywhere(&[AtLeastOnce, ExactlyOnce], |rig| walk(&rig, 60, 100));
    if is_long() {
        for (keys, millis) in [(600, 40), (100, 800), (6, 12_000)] {
            everywhere(&[AtLeastOnce, ExactlyOnce], |rig| {
                walk(&rig.with_default_timeouts(), keys, millis);
            });
        }
    }
}

/// Another member gets its partitions as soon as the record that is being handled is done.
#[test]
fn another_member_waits_only_for_the_record_in_hand() {
    everywhere(&[AtLeastOnce, ExactlyOnce], |mut rig| {
        rig.options.max_poll_interval = Duration::from_secs(300);
        rig.send("works", 0, 0, &[300; 200]);
        rig.send("works", 1, 200, &[300; 200]);
        let first = rig.start("a");
        wait_until("the first handles records", TIMEOUT, || {
            rig.times().len() > 3
        });
        let began = Instant::now();
        let second = rig.start("b");
        wait_until("the second has a record in hand", TIMEOUT, || {
            second.in_hand().is_some()
        });
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "{}: {took:?}", rig.what());
        assert!(stop(first).1.is_ok() && stop(second).1.is_ok());
    });
}

/// The program `slow` on a log of its own, with records that say what their handlers do.
fn program(work: &[(&str, &str)]) -> (tempfile::TempDir, Program) {
    let (temp, dir) = data_dir();
    let program = Program::new("slow", dir);
    let lines: String = work
        .iter()
        .map(|(key, what)| format!("{key}\t{what}\n"))
        .collect();
    let output = program.run_with(&lines, ["emit", "slow-works"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    (temp, program)
}

#[test]
fn a_stop_that_times_out_names_the_record_in_hand() {
    let (_temp, program) = program(&[("a", "sleep 60000")]);
    let mut running = program.start::<&str>([]);
    running.wait_out("the handler runs", |out| {
        out.iter().any(|line| line.starts_with("began a"))
    });
    running.signal("TERM");
    let (status, took) = running.end();
    let output = running.err().join("\n");
    assert_eq!(status.code(), Some(2), "{output}");
    assert!(took < Duration::from_secs(10) + SLACK * 2, "{took:?}");
    let error = output
        .lines()
        .find(|line| line.starts_with("error: "))
        .expect(&output);
    assert!(
        error.contains("slow-works[") && error.contains("offset 0"),
        "{error}"
    );
    assert!(
        error.contains("is handled again after a restart"),
        "{error}"
    );
    // Its offset was not committed, so it is handled again.
    let again = program.start::<&str>([]);
    again.wait_out("the record is handled again", |out| {
        out.iter().any(|line| line.starts_with("began a"))
    });
}

#[test]
fn a_handler_that_panics_while_a_stop_waits_is_one_error() {
    let (_temp, program) = program(&[("a", "panic 3000")]);
    let mut running = program.start::<&str>([]);
    running.wait_out("the handler runs", |out| {
        out.iter().any(|line| line.starts_with("began a"))
    });
    let (code, output) = running.stop();
    assert_eq!(code, Some(2), "{output}");
    let errors: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{output}");
    assert!(
        errors[0].contains("panicked: ") && errors[0].contains("offset 0"),
        "{output}"
    );
}

#[test]
fn a_slow_record_is_logged_while_its_handler_runs() {
    let (_temp, program) = program(&[("a", "sleep 60000")]);
    let running = program.start(["run", "--session", "2s", "--max-poll-interval", "2s"]);
    running.wait_err("the handler is slow");
    let output = running.err().join("\n");
    let line = output
        .lines()
        .find(|line| line.contains("the handler is slow"))
        .unwrap();
    for part in ["slow-works[", "offset 0", "--max-poll-interval"] {
        assert!(line.contains(part), "`{part}` in {line}");
    }
}

/// The peak memory of a process, in MiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes >> 10
}

/// What a process may take beyond the tables' memory, in MiB: the cache of the embedded log (64), and
/// what is written between two barriers with its copies on the way to the log.
const BEYOND: u64 = 128;

/// Small records whose handlers write large values take bounded memory, however many were fetched.
fn large_writes(records: usize, table_memory: u64, broker: Option<&Broker>) {
    let (_temp, dir) = data_dir();
    let mut program = Program::new("slow", dir);
    if let Some(broker) = broker {
        broker.create_topic("slow-works", 1, &[]);
        program = program.on(broker.bootstrap());
    }
    let lines: String = (0..records)
        .map(|key| format!("k{key}\twrite 900000\n"))
        .collect();
    let output = program.run_with(&lines, ["emit", "slow-works"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let memory = format!("{table_memory}MiB");
    let mut running = program.start(["run", "--table-memory", &memory]);
    let count = |out: &[String]| out.iter().filter(|line| line.starts_with("began")).count();
    let within = TIMEOUT + Duration::from_millis(300) * u32::try_from(records).unwrap();
    wait_until("all are handled", within, || {
        count(&running.out()) >= records
    });
    let taken = peak(running.id());
    println!("{records} records, {table_memory} MiB for tables: {taken} MiB resident at most");
    assert!(
        taken <= table_memory + BEYOND,
        "{taken} MiB with {table_memory} for tables"
    );
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn large_writes_of_small_records_take_bounded_memory() {
    large_writes(400, 256, None);
    if is_long() {
        large_writes(2_000, 256, None);
        if let Some(broker) = another(&[]) {
            large_writes(2_000, 256, Some(&broker));
        }
    }
}
