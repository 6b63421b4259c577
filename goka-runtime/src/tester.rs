//! The tester for users' tests: processors with the engine of production, on a log in memory that behaves
//! as Kafka does and a clock that the test moves. No broker, files, threads or waiting: everything that
//! follows from a record has happened when `send` returns. The tester runs the workers' turns itself.

#[doc(hidden)]
pub mod doc;
pub(crate) mod folded;
mod input;
mod output;
mod rows;
pub(crate) mod scheduler;
pub(crate) mod setup;
mod stopped;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::folded::Folded;
pub use self::input::Input;
use self::output::NextOffsets;
pub use self::output::{Expected, Output, Received};
pub(crate) use self::output::{decoded, read_all};
pub use self::rows::Rows;
use self::scheduler::{SimulatedWorker, run_until_idle};
pub use self::setup::Setup;
use self::setup::{SESSION, worker_config};
pub use self::stopped::Stopped;
use crate::clock::Clock;
use crate::dispatch::ProcessorState;
use crate::edges::Processor;
use crate::emitter::RawEmitter;
use crate::graph::{Definition, GroupGraph, TopicSpec};
use crate::log::Log;
use crate::log::simulated::Simulated;
use crate::processor::ProcessorOptions;
use crate::record::Timestamp;
use crate::table::Stores;
use crate::table::memory::MemoryStores;
use crate::topic::{Table, Topic};
use crate::visit::visit;

/// How far the clock moves at once: less than a session, so that every member sends a heartbeat in time.
const STRIDE: Duration = SESSION.checked_div(4).expect("four is not zero");
/// How far it moves at once while handlers have deferred work, whose timers may be short.
const GUARDED_STRIDE: Duration = Duration::from_secs(1);

/// A processor of the tester.
struct TestedProcessor {
    definition: &'static Definition,
    shared: Arc<ProcessorState>,
}

/// Processors under test.
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let mut app = Tester::of::<ClickCount>();
/// app.input(Clicks).send("alice", "x");
/// app.input(Clicks).send("alice", "x");
/// assert_eq!(app.table::<ClickCount>().get("alice"), Some(2));
/// app.output(Alerts).expect([("alice", 2)]);
/// ```
pub struct Tester {
    clock: Clock,
    log: Simulated,
    options: ProcessorOptions,
    /// In the order of their start. Each has one worker, at the same index.
    processors: Vec<TestedProcessor>,
    workers: Vec<SimulatedWorker>,
    emitters: BTreeMap<&'static str, RawEmitter>,
    read: NextOffsets,
    tables: RefCell<BTreeMap<&'static str, Arc<Folded>>>,
    /// The failures that a call has returned or panicked with already.
    reported: BTreeSet<String>,
    is_strict: bool,
}

impl Tester {
    /// A tester of one processor.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::of::<ClickCount>();
    /// assert!(app.table::<ClickCount>().is_empty());
    /// ```
    ///
    /// # Panics
    /// See [`Setup::start`].
    #[track_caller]
    pub fn of<P: Processor>() -> Self {
        Setup::new().and::<P>().start()
    }

    /// A tester of several processors, or of one whose handlers share a value.
    #[expect(
        clippy::new_ret_no_self,
        reason = "it can only be started once its processors are known"
    )]
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let setup = Tester::new().and::<ClickCount>().partitions(2);
    /// let app = setup.start();
    /// assert!(app.error().is_none());
    /// ```
    pub fn new() -> Setup {
        Setup::new()
    }

    /// Adds a worker for every processor, with empty stores.
    #[track_caller]
    fn join_all(&mut self) {
        for at in 0..self.processors.len() {
            self.join(at, Arc::new(MemoryStores::default()));
        }
        self.drive_or_panic();
    }

    #[track_caller]
    fn join(&mut self, at: usize, stores: Arc<dyn Stores>) {
        let TestedProcessor { definition, shared } = &self.processors[at];
        let config = worker_config(
            definition,
            shared.clone(),
            (&self.log, &self.clock),
            stores,
            &self.options,
            |spec| self.folded(spec),
        );
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let worker = SimulatedWorker::join(config).unwrap_or_else(|error| panic!("{error}"));
        self.workers.push(worker);
    }

    /// A topic to send records to: an input, or a table that is joined or looked up and that no
    /// processor of the tester writes.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// ```
    ///
    /// # Panics
    /// When no processor of the tester reads the topic, or one of them owns the table.
    #[track_caller]
    pub fn input<T: Topic>(&mut self, _topic: T) -> Input<'_, T> {
        self.input_of()
    }

    /// The same as [`input`](Tester::input), for a topic whose type is not a unit.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input_of::<Clicks>().send("alice", "x");
    /// ```
    ///
    /// # Panics
    /// As [`input`](Tester::input).
    #[track_caller]
    pub fn input_of<T: Topic>(&mut self) -> Input<'_, T> {
        Input::new(self)
    }

    /// A topic that processors of the tester emit to.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.output(Alerts).expect_none();
    /// ```
    ///
    /// # Panics
    /// When none of them does.
    #[track_caller]
    pub fn output<T: Topic>(&mut self, _topic: T) -> Output<'_, T> {
        self.output_of()
    }

    /// The same as [`output`](Tester::output), for a topic whose type is not a unit.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.output_of::<Alerts>().expect_none();
    /// ```
    ///
    /// # Panics
    /// As [`output`](Tester::output).
    #[track_caller]
    pub fn output_of<T: Topic>(&mut self) -> Output<'_, T> {
        Output::new(self)
    }

    /// The table of a processor, or one that is joined or looked up: the fold of the committed records of
    /// its topic.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::of::<ClickCount>();
    /// assert_eq!(app.table::<ClickCount>().get("alice"), None);
    /// ```
    ///
    /// # Panics
    /// When no processor of the tester owns or reads the table.
    #[track_caller]
    pub fn table<T: Table>(&self) -> Rows<'_, T> {
        let name = T::NAME;
        let mut graphs = self.graphs();
        if !graphs.any(|graph| graph.owns(name) || graph.reads(name)) {
            panic!(
                "`{}` (table `{name}`) is none of this tester's, which has {}; add its processor: \
                 `Tester::new().and::<..>()`",
                std::any::type_name::<T>(),
                self.names()
            );
        }
        Rows::new(self.folded(&T::SPEC))
    }

    /// Runs the visit `name` of `P` for every key of its table, with an argument as text; returns when it
    /// is done.
    ///
    /// ```
    /// # use goka_runtime::{edges::Processor, tester::Tester};
    /// fn expire<P: Processor>(app: &mut Tester) {
    ///     app.visit::<P>("expire", "30");
    /// }
    /// ```
    ///
    /// # Panics
    /// When there is no such visit, the argument does not parse, or a partition stops.
    #[track_caller]
    pub fn visit<P: Processor>(&mut self, name: &str, argument: &str) {
        let log: Arc<dyn Log> = Arc::new(self.log.clone());
        let asked = visit::<P>(log, name, argument, Duration::ZERO);
        asked.unwrap_or_else(|error| panic!("{error}"));
        self.drive_or_panic();
    }

    /// The time of the tester's clock, in milliseconds since the Unix epoch.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::new().and::<ClickCount>().begin(1_000).start();
    /// assert_eq!(app.now(), 1_000);
    /// ```
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// Advances the clock, with everything that follows from it: flushes, timers of asynchronous handlers,
    /// retention.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// # use std::time::Duration;
    /// let mut app = Tester::of::<ClickCount>();
    /// let then = app.now();
    /// app.advance(Duration::from_secs(60));
    /// assert_eq!(app.now(), then + 60_000);
    /// ```
    ///
    /// # Panics
    /// When a partition stops.
    #[track_caller]
    pub fn advance(&mut self, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let mut workers = self.workers.iter();
            let guarded = workers.any(SimulatedWorker::has_guards);
            let stride = if guarded { GUARDED_STRIDE } else { STRIDE };
            let step = left.min(stride);
            self.clock.advance(step);
            self.drive_or_panic();
            left -= step;
        }
    }

    /// Moves every partition to another instance with empty stores: the new instance joins each group and
    /// gets its share, then the old one leaves. The tables are restored from their topics.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// app.rebalance();
    /// assert_eq!(app.table::<ClickCount>().get("alice"), Some(1));
    /// ```
    ///
    /// # Panics
    /// When a partition stops.
    #[track_caller]
    pub fn rebalance(&mut self) {
        let count = self.processors.len();
        self.join_all();
        self.workers[..count]
            .iter_mut()
            .for_each(SimulatedWorker::stop);
        self.workers.drain(..count);
        self.drive_or_panic();
    }

    /// Stops every processor cleanly, and starts it on the stores that it had.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// app.restart();
    /// assert_eq!(app.table::<ClickCount>().get("alice"), Some(1));
    /// ```
    ///
    /// # Panics
    /// When a partition stops that did not before.
    #[track_caller]
    pub fn restart(&mut self) {
        self.replace(SimulatedWorker::stop);
    }

    /// Kills every processor, and starts it on the stores that it had: what was not flushed is
    /// restored, what was not committed is handled again.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.input(Clicks).send("alice", "x");
    /// app.crash();
    /// assert_eq!(app.table::<ClickCount>().get("alice"), Some(1));
    /// ```
    ///
    /// # Panics
    /// When a partition stops that did not before.
    #[track_caller]
    pub fn crash(&mut self) {
        self.replace(SimulatedWorker::crash);
    }

    #[track_caller]
    fn replace(&mut self, end: fn(&mut SimulatedWorker)) {
        let hands = self.workers.iter();
        let stores: Vec<_> = hands.map(|worker| worker.config().stores.clone()).collect();
        self.workers.iter_mut().for_each(end);
        self.workers.clear();
        for (at, stores) in stores.into_iter().enumerate() {
            self.join(at, stores);
        }
        self.drive_or_panic();
    }

    /// From now on the test fails if the tester is dropped while it has outputs that neither the test nor
    /// a processor of the tester has read.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// app.strict();
    /// app.input(Clicks).send("alice", "x");
    /// app.input(Clicks).send("alice", "x");
    /// // Without this line the test would fail.
    /// app.output(Alerts).take();
    /// ```
    pub fn strict(&mut self) {
        self.is_strict = true;
    }

    /// What has stopped so far, and why.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::of::<ClickCount>();
    /// assert!(app.input(Clicks).try_send("alice", "bad").is_err());
    /// assert!(app.error().is_some());
    /// ```
    pub fn error(&self) -> Option<Stopped> {
        Stopped::of(self.failures())
    }

    fn graphs(&self) -> impl Iterator<Item = &'static GroupGraph> {
        self.processors.iter().map(|found| &found.definition.graph)
    }

    fn names(&self) -> String {
        let names = self.graphs().map(|graph| format!("`{}`", graph.name));
        names.collect::<Vec<_>>().join(", ")
    }

    fn folded(&self, spec: &TopicSpec) -> Arc<Folded> {
        let mut tables = self.tables.borrow_mut();
        let table = tables
            .entry(spec.name)
            .or_insert_with(|| Arc::new(Folded::new(&self.log, spec)));
        table.clone()
    }

    /// Runs until nothing is left to do at the present time; fails with what stopped meanwhile.
    #[track_caller]
    fn drive(&mut self) -> Result<(), Stopped> {
        assert!(
            run_until_idle(&self.log, &mut self.workers),
            "{} never became idle: does a loopback or a chain of topics emit to itself without end?",
            self.names()
        );
        let mut new = self.failures();
        new.retain(|failure| self.reported.insert(failure.to_string()));
        Stopped::of(new).map_or(Ok(()), Err)
    }

    #[track_caller]
    fn drive_or_panic(&mut self) {
        let driven = self.drive();
        driven.unwrap_or_else(|stopped| panic!("{stopped}"));
    }
}

impl fmt::Debug for Tester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tester")
            .field("processors", &self.names())
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Drop for Tester {
    fn drop(&mut self) {
        if self.is_strict && !std::thread::panicking() {
            self.check_unread();
        }
    }
}
