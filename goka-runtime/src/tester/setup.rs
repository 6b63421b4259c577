//! Builds a tester: its processors, the values that their handlers share, their options, and the topics
//! that have to exist before they start.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::folded::Folded;
use super::output::NextOffsets;
use super::{TestedProcessor, Tester};
use crate::clock::Clock;
use crate::dispatch::ProcessorState;
use crate::edges::Processor;
use crate::graph::order::start_order;
use crate::graph::{Definition, Edge, EdgeKind, TopicKind, TopicSpec};
use crate::log::simulated::Simulated;
use crate::log::{Log, NewTopic, TopicWait};
use crate::processor::topics::is_copartitioned;
use crate::processor::{DEFAULT_PARTITIONS, ProcessorOptions, StartError, prepare};
use crate::record::{Guarantee, Timestamp};
use crate::registry::Registry;
use crate::table::Stores;
use crate::view::LookedUp;
use crate::worker::WorkerConfig;

/// When a simulated clock begins unless set: 2026-01-01, 00:00 UTC.
pub(crate) const BEGIN: Timestamp = 1_767_225_600_000;
/// Long, so that a test that moves the clock does not end sessions.
pub(super) const SESSION: Duration = Duration::from_secs(3_600);

/// The processors of a [`Tester`] that is not started yet: see [`Tester::new`].
///
/// ```
/// # use goka_runtime::tester::{Tester, doc::*};
/// let setup = Tester::new().and::<ClickCount>();
/// let mut app = setup.partitions(2).strict().start();
/// app.input(Clicks).send("alice", "x");
/// ```
#[must_use = "nothing runs before `start`"]
pub struct Setup {
    registry: Registry,
    values: BTreeMap<TypeId, Arc<ProcessorState>>,
    partitions: i32,
    guarantee: Option<Guarantee>,
    begin: Timestamp,
    strict: bool,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::new(),
            values: BTreeMap::new(),
            partitions: DEFAULT_PARTITIONS,
            guarantee: None,
            begin: BEGIN,
            strict: false,
        }
    }

    /// Adds a processor.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::new().and::<ClickCount>().start();
    /// assert!(app.error().is_none());
    /// ```
    pub fn and<P: Processor>(mut self) -> Self {
        self.registry = self.registry.with::<P>();
        self
    }

    /// Adds a processor and the value that its handlers share.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::new().with(ClickCount).start();
    /// assert!(app.error().is_none());
    /// ```
    pub fn with<P: Processor + Send + Sync>(mut self, value: P) -> Self {
        self.values.insert(TypeId::of::<P>(), Arc::new(value));
        self.and::<P>()
    }

    /// Sets the partition count of topics that declare none; 4 unless set.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::new().and::<ClickCount>().partitions(1).start();
    /// assert!(app.error().is_none());
    /// ```
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Runs every processor with this guarantee, whatever each declares.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// use goka_runtime::record::Guarantee;
    /// let setup = Tester::new().and::<ClickCount>();
    /// let mut app = setup.guarantee(Guarantee::ExactlyOnce).start();
    /// app.input(Clicks).send("alice", "x");
    /// ```
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = Some(guarantee);
        self
    }

    /// Sets the time at which the clock begins, in milliseconds since the Unix epoch; the start of 2026
    /// unless set.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::new().and::<ClickCount>().begin(1_000).start();
    /// assert_eq!(app.now(), 1_000);
    /// ```
    pub fn begin(mut self, wall: Timestamp) -> Self {
        self.begin = wall;
        self
    }

    /// See [`Tester::strict`].
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let mut app = Tester::new().and::<ClickCount>().strict().start();
    /// app.input(Clicks).send("alice", "x");
    /// ```
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Creates the topics and starts the processors.
    ///
    /// ```
    /// # use goka_runtime::tester::{Tester, doc::*};
    /// let app = Tester::new().and::<ClickCount>().start();
    /// assert!(app.error().is_none());
    /// ```
    ///
    /// # Panics
    /// When the processors cannot run in one program, or one of them does not start.
    #[track_caller]
    pub fn start(self) -> Tester {
        let definitions = self.registry.check();
        let definitions = definitions.unwrap_or_else(|error| panic!("{error}"));
        let definitions = start_order(definitions);
        let clock = Clock::simulated(self.begin);
        let log = Simulated::new(clock.clone());
        for topic in topics(&definitions, self.partitions) {
            let made = log.create(&topic);
            made.unwrap_or_else(|error| panic!("{error}"));
        }
        let options = ProcessorOptions {
            // A barrier after every record, so that its effects are visible without time having to pass.
            barrier_interval: Duration::ZERO,
            session_timeout: SESSION,
            max_poll_interval: SESSION,
            guarantee: self.guarantee,
            ..ProcessorOptions::default()
        };
        let processors = definitions.iter().map(|definition| {
            let given = self.values.get(&(definition.type_id)()).cloned();
            TestedProcessor {
                definition,
                shared: shared_state(definition, given, "Tester::new().with("),
            }
        });
        let mut tester = Tester {
            clock,
            log,
            workers: Vec::new(),
            options,
            processors: processors.collect(),
            emitters: BTreeMap::new(),
            read: NextOffsets::new(),
            tables: RefCell::default(),
            reported: BTreeSet::new(),
            is_strict: self.strict,
        };
        tester.join_all();
        tester
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("registry", &self.registry)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// The value that a processor's handlers share: the given one, or its default.
///
/// # Panics
/// When there is neither: with the call, begun by `with`, that gives one.
#[track_caller]
pub(crate) fn shared_state(
    definition: &Definition,
    given: Option<Arc<ProcessorState>>,
    with: &str,
) -> Arc<ProcessorState> {
    let state = given.or_else(|| definition.make.map(|make| Arc::from(make())));
    state.unwrap_or_else(|| {
        let (name, location) = (definition.graph.name, definition.graph.location);
        panic!("`{name}` ({location}) has no `Default`: give it with `{with}{name} ..)`")
    })
}

/// The configuration of a worker on a simulated log and its clock. Lookups read the tables that `table`
/// gives.
///
/// # Errors
/// Those of [`prepare`].
pub(crate) fn worker_config(
    definition: &Definition,
    shared: Arc<ProcessorState>,
    (log, clock): (&Simulated, &Clock),
    stores: Arc<dyn Stores>,
    options: &ProcessorOptions,
    table: impl Fn(&TopicSpec) -> Arc<Folded>,
) -> Result<WorkerConfig, StartError> {
    let log: Arc<dyn Log> = Arc::new(log.clone());
    let wait = TopicWait::default();
    let (mut config, _) = prepare(definition, shared, log, stores, options, &wait)?;
    config.clock = clock.clone();
    let lookups = definition.graph.edges.iter();
    let lookups = lookups.filter(|edge| matches!(edge.kind, EdgeKind::Lookup));
    let lookups = lookups.map(|edge| {
        let table: Arc<dyn LookedUp> = table(&edge.topic);
        (edge.topic.name, table)
    });
    config.lookups = lookups.collect();
    Ok(config)
}

/// The topics that exist before any processor starts: all but those that a group has to itself. Topics
/// that need equal partition counts get the count that one of them declares.
pub(crate) fn topics(definitions: &[&'static Definition], partitions: i32) -> Vec<NewTopic> {
    use EdgeKind::{Join, Lookup, Table};
    let mut found: BTreeMap<&'static str, (Option<i32>, bool)> = BTreeMap::new();
    for edge in definitions.iter().flat_map(|found| shared_edges(found)) {
        let entry = found.entry(edge.topic.name).or_default();
        entry.0 = entry.0.or(edge.topic.partitions);
        let is_kept = matches!(edge.kind, Table | Join | Lookup);
        entry.1 |= is_kept || edge.topic.kind != TopicKind::Stream;
    }
    for together in copartitioned(definitions) {
        let declared = together.iter().find_map(|name| found.get(name)?.0);
        for name in together {
            if let Some(entry) = found.get_mut(name) {
                entry.0 = entry.0.or(declared);
            }
        }
    }
    let topics = found.into_iter();
    let new = |(name, (count, compact)): (&str, (Option<i32>, bool))| NewTopic {
        name: name.to_owned(),
        partitions: count.unwrap_or(partitions),
        compact,
        retention: None,
    };
    topics.map(new).collect()
}

fn shared_edges(definition: &Definition) -> impl Iterator<Item = &'static Edge> {
    use EdgeKind::{Loopback, Visit};
    let own = |edge: &&Edge| matches!(edge.kind, Loopback { .. } | Visit { .. });
    definition.graph.edges.iter().filter(move |edge| !own(edge))
}

/// The sets of topics that need equal partition counts.
fn copartitioned(definitions: &[&'static Definition]) -> Vec<BTreeSet<&'static str>> {
    let mut all: Vec<BTreeSet<&'static str>> = Vec::new();
    for definition in definitions {
        if !is_copartitioned(&definition.graph) {
            continue;
        }
        let bound =
            |edge: &&'static Edge| !matches!(edge.kind, EdgeKind::Output | EdgeKind::Lookup);
        let edges = shared_edges(definition).filter(bound);
        let mut together: BTreeSet<_> = edges.map(|edge| edge.topic.name).collect();
        all.retain(|other| {
            let is_apart = other.is_disjoint(&together);
            if !is_apart {
                together.extend(other);
            }
            is_apart
        });
        all.push(together);
    }
    all
}
