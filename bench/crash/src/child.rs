//! The process that is killed: a processor that can kill itself at a given fail point.
//!
//! It reports to the harness by lines on standard error: [`FIRST`] when it handles its first record,
//! [`KILLED`] before it kills itself. A file, its [`Counters`], has the number of uncommitted records when
//! the harness kills it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use goka::prelude::*;
use goka::{Processor, dispatch};
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::processor::{self, ProcessorOptions, Running};
use goka_runtime::record::Guarantee;
use goka_runtime::table::redb::RedbStores;

use crate::fold::{Folded, Input};
use crate::points::{self, Point};

pub(crate) const INPUTS: &str = "crash-inputs";
pub(crate) const OUTPUTS: &str = "crash-outputs";
pub(crate) const GROUP: &str = "crash";
pub(crate) const TABLE: &str = "crash-state";

/// The environment variable that says where the process kills itself: `point:hit:milliseconds`, and how long
/// it waits before.
pub(crate) const KILL_AT: &str = "GOKA_CRASH_AT";

pub(crate) const FIRST: &str = "first-record";
pub(crate) const KILLED: &str = "killed-at";

const CACHE: usize = 16 << 20;
/// How often the processor is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How the process is to run.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    guarantee: Guarantee,
    /// How many bytes may wait for the store until they are flushed before their time
    #[arg(long)]
    flush_bytes: usize,
}

#[derive(Debug)]
#[stream("crash-inputs", key = String, value = Json<Input>)]
struct Inputs;

/// The place of each input: topic, partition and offset.
#[derive(Debug)]
#[stream("crash-outputs", key = String, value = String)]
struct Outputs;

#[processor(group = "crash", persist = Json<Folded>)]
#[input(Inputs)]
#[output(Outputs)]
fn crash(ctx: &mut Context, input: Input) -> Result<()> {
    let mut folded = ctx.value()?.unwrap_or_default();
    folded.add(input);
    ctx.set_value(&folded)?;
    let place = format!("{}/{}/{}", ctx.topic(), ctx.partition(), ctx.offset());
    ctx.emit(Outputs, ctx.key(), &place)?;
    state().handled();
    Ok(())
}

/// A file with counts that outlive the process: how many records it has handled, and how many it had handled
/// when its last barrier ended.
#[derive(Debug)]
pub(crate) struct Counters(File);

impl Counters {
    fn create(data: &Path) -> std::io::Result<Self> {
        let file = File::create(Self::path(data))?;
        file.write_all_at(&[0; 16], 0)?;
        Ok(Self(file))
    }

    fn path(data: &Path) -> PathBuf {
        data.join("counters")
    }

    /// Handled and committed records of the last process.
    pub(crate) fn read(data: &Path) -> std::io::Result<(u64, u64)> {
        let file = File::open(Self::path(data))?;
        let mut words = [0; 16];
        file.read_exact_at(&mut words, 0)?;
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| words[at + byte]));
        Ok((word(0), word(8)))
    }

    fn write(&self, at: u64, count: u64) {
        let written = self.0.write_all_at(&count.to_ne_bytes(), at);
        written.expect("the data directory can be written");
    }
}

/// The state of this process.
#[derive(Debug)]
struct State {
    counters: Counters,
    handled: AtomicU64,
    committed: AtomicU64,
    end: Option<End>,
    hits: AtomicU64,
}

/// Where the process kills itself.
#[derive(Debug, Clone, Copy)]
struct End {
    point: &'static Point,
    hit: u64,
    /// How long it waits before, so that some of the pending appends reach the broker and some do not.
    delay: Duration,
}

impl End {
    fn kill_at() -> Option<Self> {
        let kill_at = std::env::var(KILL_AT).ok()?;
        let mut words = kill_at.split(':');
        let point = words.next().and_then(Point::named);
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let end = point.zip(number()).zip(number());
        let ((point, hit), delay) = end.expect("the harness names a fail point that exists");
        let delay = Duration::from_millis(delay);
        Some(Self { point, hit, delay })
    }
}

static STATE: OnceLock<State> = OnceLock::new();

fn state() -> &'static State {
    STATE.get().expect("it is set before the processor starts")
}

impl State {
    fn handled(&self) {
        let handled = self.handled.fetch_add(1, Ordering::Relaxed) + 1;
        self.counters.write(0, handled);
        if handled == 1 {
            eprintln!("{FIRST}");
        }
    }

    fn reached(&self, point: &'static Point) {
        let handled = self.handled.load(Ordering::Relaxed);
        let uncommitted = handled - self.committed.load(Ordering::Relaxed);
        let in_hand = goka_runtime::fail_points::records() as u64;
        let records = point.hits(uncommitted, handled, in_hand);
        if let Some(end) = self.end.filter(|end| end.point == point)
            && records > 0
            && self.hits.fetch_add(1, Ordering::Relaxed) + 1 == end.hit
        {
            std::thread::sleep(end.delay);
            eprintln!("{KILLED} {} {} records={records}", point.name, end.hit);
            let killed = signal_hook::low_level::raise(signal_hook::consts::SIGKILL);
            unreachable!("SIGKILL was not delivered: {killed:?}");
        }
        if point.ends_a_barrier() {
            self.committed.store(handled, Ordering::Relaxed);
            self.counters.write(8, handled);
        }
    }
}

/// Runs until it is killed, asked to stop, or its parent is gone.
pub(crate) fn run(args: &ChildArgs) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match begin(args).and_then(|running| watch(running).map_err(Into::into)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn begin(args: &ChildArgs) -> Result<Running> {
    let state = State {
        counters: Counters::create(&args.data)?,
        handled: AtomicU64::new(0),
        committed: AtomicU64::new(0),
        end: End::kill_at(),
        hits: AtomicU64::new(0),
    };
    STATE.set(state).expect("it is set once");
    for point in points::of(args.guarantee) {
        fail::cfg_callback(point.name, move || self::state().reached(point))?;
    }
    let log = Kafka::new(KafkaConfig {
        brokers: args.brokers.clone(),
        ..KafkaConfig::default()
    })?;
    let options = ProcessorOptions {
        instance: instance(&args.data)?,
        barrier_interval: Duration::from_millis(50),
        guarantee: Some(args.guarantee),
        flush_interval: Duration::from_millis(120),
        flush_bytes: args.flush_bytes,
        ..ProcessorOptions::default()
    };
    let stores = RedbStores::new(tables(&args.data), CACHE);
    let shared: Arc<dispatch::ProcessorState> = Arc::new(());
    let definition = Crash::DEFINITION;
    Ok(processor::start(
        definition,
        shared,
        Arc::new(log),
        Arc::new(stores),
        &options,
    )?)
}

/// The directory of the tables in a data directory.
pub(crate) fn tables(data: &Path) -> PathBuf {
    data.join("tables")
}

/// The instance name, which the process keeps over restarts and emptied tables, as a static member.
fn instance(data: &Path) -> std::io::Result<String> {
    let path = data.join("instance");
    if let Ok(name) = std::fs::read_to_string(&path) {
        return Ok(name);
    }
    let name = uuid::Uuid::new_v4().to_string();
    std::fs::write(path, &name)?;
    Ok(name)
}

fn watch(running: Running) -> Result<(), processor::ProcessorError> {
    static STOP: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let mut byte = [0];
        match std::io::stdin().read(&mut byte) {
            Ok(1) => STOP.store(true, Ordering::Release),
            // The harness is gone.
            _ => std::process::exit(3),
        }
    });
    while !STOP.load(Ordering::Acquire) && !running.is_finished() {
        if running.status().iter().any(|task| task.stopped.is_some()) {
            break;
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
    running.stop();
    running.join()
}
