//! A processor: a group graph checked against a log, and the worker that runs it. What is wrong at
//! start refuses to start. Held by the service, by tests and by programs of their own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

pub use crate::core::{Cause, State};
pub use crate::worker::TaskStatus;

use crate::core::copartition::{Counted, Mismatch, copartitioned};
use crate::core::{InputPlan, JoinPlan, OutputPlan, Plan, TablePlan, VisitPlan};
use crate::dispatch::Shared;
use crate::graph::{Definition, Edge, EdgeKind, GroupGraph, Location, Start};
use crate::log::{Group, Log, LogError, NewTopic, TopicInfo};
use crate::record::TopicId;
use crate::table::{Store, StoreError, Stores};
use crate::view::RawView;
use crate::worker::{Parts, Signals, run};

/// Partitions of a stream that the embedded log makes, where none are declared.
pub const DEFAULT_PARTITIONS: i32 = 4;

/// How long loop and visit topics keep their records: longer than any outage.
pub const LOOP_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a processor runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorOptions {
    /// Who this process is, over restarts; empty for nobody in particular.
    pub instance: String,
    /// How often a barrier runs.
    pub barrier: Duration,
    /// How long the group waits for a silent member.
    pub session: Duration,
    /// How long a broker may take, and stopping.
    pub deadline: Duration,
}

impl Default for ProcessorOptions {
    fn default() -> Self {
        Self {
            instance: String::new(),
            barrier: Duration::from_millis(100),
            session: Duration::from_secs(10),
            deadline: Duration::from_secs(10),
        }
    }
}

/// Why a processor does not start: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log does not answer, or refuses.
    #[error("group `{group}`: {source}")]
    Log {
        /// The group.
        group: String,
        /// The log's word.
        source: LogError,
    },
    /// Streams are missing, and this log's are made by whoever owns them.
    #[error("group `{group}` ({location}): topics do not exist: {}; create them: {}", names(.topics), commands(.topics))]
    MissingTopics {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// Each with the partitions it needs.
        topics: Vec<(String, i32)>,
    },
    /// Topics of the group have different partition counts.
    #[error("{mismatch} ({location})")]
    Copartition {
        /// The counts.
        mismatch: Mismatch,
        /// Where the group is declared.
        location: Location,
    },
    /// A topic has another partition count than declared.
    #[error(
        "topic `{topic}` has {found} partitions, {location} declares {declared}; correct the declaration"
    )]
    OtherCount {
        /// The topic.
        topic: String,
        /// What it has.
        found: i32,
        /// What is declared.
        declared: i32,
        /// Where.
        location: Location,
    },
    /// A table that is joined does not exist.
    #[error(
        "group `{group}` ({location}): table `{table}` does not exist; run the processor that writes it first"
    )]
    MissingTable {
        /// The group.
        group: String,
        /// The table's topic.
        table: String,
        /// Where it is joined.
        location: Location,
    },
    /// The group's loop or visit topic would lose records that were not handled yet.
    #[error(
        "topic `{topic}` of group `{group}` keeps records for less than seven days, so an outage could \
         lose some; set cleanup.policy=delete and retention.ms=604800000 or more"
    )]
    LoopRetention {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// The group topic would lose the table's rows.
    #[error(
        "group topic `{topic}` of `{group}` is not compacted (cleanup.policy={policy}), so the table's \
         rows would expire; set it: kafka-configs.sh --bootstrap-server <brokers> --alter --entity-type \
         topics --entity-name {topic} --add-config cleanup.policy=compact"
    )]
    NotCompacted {
        /// The group.
        group: String,
        /// The group topic.
        topic: String,
        /// Its policy.
        policy: &'static str,
    },
    /// The graph cannot be run as it is.
    #[error("group `{group}` ({location}): {reason}")]
    Graph {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// What is wrong and what to do.
        reason: String,
    },
}

fn names(topics: &[(String, i32)]) -> String {
    let quoted: Vec<_> = topics.iter().map(|(name, _)| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn commands(topics: &[(String, i32)]) -> String {
    let lines: Vec<_> = topics
        .iter()
        .map(|(name, count)| {
            format!(
                "kafka-topics.sh --bootstrap-server <brokers> --create --topic {name} --partitions {count}"
            )
        })
        .collect();
    lines.join(" && ")
}

/// Why a processor ended, or what of it did not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessorError {
    /// Nothing could go on.
    #[error("group `{group}`: {cause}")]
    Failed {
        /// The group.
        group: String,
        /// Why.
        cause: Cause,
    },
    /// Partitions stopped; the others went on.
    #[error("group `{group}`: {} stopped, the first of them: {}", count(.stopped), first(.stopped))]
    Stopped {
        /// The group.
        group: String,
        /// Each with its cause.
        stopped: Vec<(i32, Cause)>,
    },
    /// The worker's thread panicked: a defect of this library.
    #[error("group `{group}`: the worker panicked; this is a defect of goka")]
    Panicked {
        /// The group.
        group: String,
    },
}

fn count(stopped: &[(i32, Cause)]) -> String {
    let s = if stopped.len() == 1 { "" } else { "s" };
    format!("{} partition{s}", stopped.len())
}

fn first(stopped: &[(i32, Cause)]) -> String {
    stopped
        .first()
        .map(|(_, cause)| cause.to_string())
        .unwrap_or_default()
}

/// A running processor; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    group: String,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<Result<(), Cause>>>,
}

impl Running {
    /// Begins to stop: no more intake, a last barrier. Returns at once.
    pub fn stop(&self) {
        self.signals.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether it has ended, by itself or after [`Running::stop`].
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Where each partition that it owns is.
    pub fn status(&self) -> Vec<TaskStatus> {
        let status = self
            .signals
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        status.values().cloned().collect()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it could not go on, or which partitions stopped.
    pub fn join(mut self) -> Result<(), ProcessorError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let group = self.group.clone();
        match thread.join() {
            Err(_) => return Err(ProcessorError::Panicked { group }),
            Ok(Err(cause)) => return Err(ProcessorError::Failed { group, cause }),
            Ok(Ok(())) => {}
        }
        let stopped: Vec<_> = self
            .status()
            .into_iter()
            .filter_map(|task| Some((task.partition, task.stopped?)))
            .collect();
        if stopped.is_empty() {
            Ok(())
        } else {
            Err(ProcessorError::Stopped { group, stopped })
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Checks a group against the log, makes its group topic (and, on a log that does so, its streams)
/// where they are missing, and starts its worker.
///
/// # Errors
/// What is wrong with the topics, or the log's word when it does not answer.
pub fn start(
    definition: &Definition,
    shared: Arc<Shared>,
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    options: &ProcessorOptions,
) -> Result<Running, StartError> {
    let plan = resolve(&definition.graph, &*log, options)?;
    let lookups = lookups(&definition.graph, &log, &stores)?;
    let signals = Arc::new(Signals::default());
    let group = definition.graph.group.to_owned();
    let parts = Parts {
        plan,
        log,
        stores,
        shared,
        lookups,
        deadline: options.deadline,
        signals: Arc::clone(&signals),
    };
    let thread = std::thread::Builder::new()
        .name(format!("goka-{group}"))
        .spawn(move || run(&parts))
        .map_err(|error| StartError::Graph {
            group: group.clone(),
            location: definition.graph.location,
            reason: format!("no thread for its worker: {error}"),
        })?;
    Ok(Running {
        group,
        signals,
        thread: Some(thread),
    })
}

/// What a table is, as text: stored with every local copy and hashed into committed offsets.
///
/// Names codecs and partitioner, never Rust types: a rename is no change.
pub fn fingerprint(table: &crate::graph::TopicSpec) -> String {
    format!(
        "v1;key={};value={};partitioner={}",
        table.key.codec, table.value.codec, table.partitioner
    )
}

fn resolve(
    graph: &GroupGraph,
    log: &dyn Log,
    options: &ProcessorOptions,
) -> Result<Plan, StartError> {
    let failed = |source| StartError::Log {
        group: graph.group.to_owned(),
        source,
    };
    check_graph(graph)?;
    let topics = Topics::look(graph, log).map_err(failed)?;
    let topics = topics.complete(graph, log)?;
    let table = match graph.table() {
        Some(edge) => Some(topics.table(graph, edge)?),
        None => None,
    };
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    let mut joins = Vec::new();
    let mut visits: Option<VisitPlan> = None;
    for edge in graph.edges {
        if matches!(edge.kind, EdgeKind::Lookup) {
            continue;
        }
        let (topic, info) = topics.of(edge);
        let input = |call, start| InputPlan {
            topic,
            partitions: info.partitions,
            call,
            start,
            partitioner: edge.topic.partitioner,
            place: edge.topic.place,
        };
        let output = || OutputPlan {
            name: edge.topic.name,
            topic,
            partitions: info.partitions,
            limit: info.max_message_bytes,
        };
        match edge.kind {
            EdgeKind::Input { call, start, .. } => inputs.push(input(call, start)),
            EdgeKind::Output => outputs.push(output()),
            EdgeKind::Loopback { call } => {
                inputs.push(input(call, Start::Earliest));
                outputs.push(output());
            }
            EdgeKind::Join => joins.push(JoinPlan {
                name: edge.topic.name,
                topic,
                fingerprint: fingerprint(&edge.topic),
            }),
            EdgeKind::Visit { call, name } => visits
                .get_or_insert_with(|| VisitPlan {
                    topic,
                    calls: Vec::new(),
                })
                .calls
                .push((name, call)),
            EdgeKind::Table | EdgeKind::Lookup => {}
        }
    }
    let asked = visits.iter().map(|visits| visits.topic);
    let fetched: Vec<_> = inputs
        .iter()
        .map(|input| input.topic)
        .chain(asked)
        .collect();
    let group = Group {
        name: graph.group.into(),
        topics: topics.names.iter().map(|name| (*name).into()).collect(),
        lead: match &table {
            Some(table) => Some(table.topic),
            None if is_copartitioned(graph) => fetched.first().copied(),
            None => None,
        },
        inputs: fetched,
        instance: options.instance.clone(),
        worker: 0,
        session: options.session,
    };
    let cluster = log.cluster().map_err(failed)?;
    Ok(Plan {
        group,
        cluster,
        inputs,
        outputs,
        table,
        joins,
        visits,
        barrier: options.barrier,
    })
}

/// Whether the group's topics need one partition count: it has a table, or joins one.
fn is_copartitioned(graph: &GroupGraph) -> bool {
    let together = |edge: &Edge| matches!(edge.kind, EdgeKind::Table | EdgeKind::Join);
    graph.edges.iter().any(together)
}

/// The tables that are looked up: one copy of each a process, followed by its own thread.
fn lookups(
    graph: &GroupGraph,
    log: &Arc<dyn Log>,
    stores: &Arc<dyn Stores>,
) -> Result<Vec<(&'static str, Arc<RawView>)>, StartError> {
    type Key = (usize, usize, &'static str);
    static SHARED: Mutex<BTreeMap<Key, Weak<RawView>>> = Mutex::new(BTreeMap::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|_, view| view.strong_count() > 0);
    let mut found = Vec::new();
    for edge in graph.edges {
        if !matches!(edge.kind, EdgeKind::Lookup) {
            continue;
        }
        let name = edge.topic.name;
        let address = |at: *const ()| at.addr();
        let key = (
            address(Arc::as_ptr(log).cast()),
            address(Arc::as_ptr(stores).cast()),
            name,
        );
        let view = match shared.get(&key).and_then(Weak::upgrade) {
            Some(view) => view,
            None => {
                let view = RawView::start(Arc::clone(log), &Apart(&**stores), &edge.topic)
                    .map_err(|error| StartError::Graph {
                        group: graph.group.to_owned(),
                        location: edge.location,
                        reason: error.to_string(),
                    })?;
                let view = Arc::new(view);
                shared.insert(key, Arc::downgrade(&view));
                view
            }
        };
        found.push((name, view));
    }
    Ok(found)
}

/// Keeps the copies of looked-up tables apart from the tables of this process's own processors:
/// `@` is in no topic's name.
#[derive(Debug)]
struct Apart<'a>(&'a dyn Stores);

impl Stores for Apart<'_> {
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        self.0.open(&format!("{table}@lookup"), partition)
    }

    fn set_aside(&self, table: &str, partition: i32) -> Result<String, StoreError> {
        self.0.set_aside(&format!("{table}@lookup"), partition)
    }
}

fn check_graph(graph: &GroupGraph) -> Result<(), StartError> {
    let refuse = |reason: String| {
        let (group, location) = (graph.group.to_owned(), graph.location);
        Err(StartError::Graph {
            group,
            location,
            reason,
        })
    };
    if graph.inputs().next().is_none() {
        return refuse("it has no input; add `#[input(..)]`".to_owned());
    }
    let inputs: Vec<_> = graph.inputs().map(|edge| edge.topic.name).collect();
    for (at, name) in inputs.iter().enumerate() {
        if inputs[..at].contains(name) {
            return refuse(format!("topic `{name}` is an input twice; remove one"));
        }
        if graph.table().is_some_and(|table| table.topic.name == *name) {
            return refuse(format!(
                "its own table `{name}` is an input; read it with `ctx.value()`"
            ));
        }
    }
    Ok(())
}

/// The topics of a graph's edges, each once, in the order of the edges.
struct Topics {
    names: Vec<&'static str>,
    infos: BTreeMap<&'static str, TopicInfo>,
}

impl Topics {
    fn look(graph: &GroupGraph, log: &dyn Log) -> Result<Self, LogError> {
        let mut names: Vec<&'static str> = Vec::new();
        let own = |edge: &&Edge| !matches!(edge.kind, EdgeKind::Lookup);
        for edge in graph.edges.iter().filter(own) {
            if !names.contains(&edge.topic.name) {
                names.push(edge.topic.name);
            }
        }
        let found = log.describe(&names)?;
        let infos = names
            .iter()
            .zip(found)
            .filter_map(|(name, info)| Some((*name, info?)));
        Ok(Self {
            infos: infos.collect(),
            names,
        })
    }

    fn of(&self, edge: &Edge) -> (TopicId, &TopicInfo) {
        let at = self.names.iter().position(|name| *name == edge.topic.name);
        let at = at
            .and_then(|at| u16::try_from(at).ok())
            .expect("every edge was looked at");
        (TopicId(at), &self.infos[edge.topic.name])
    }

    /// Makes what is missing and may be made, and checks the counts.
    fn complete(mut self, graph: &GroupGraph, log: &dyn Log) -> Result<Self, StartError> {
        let group = graph.group.to_owned();
        let failed = |source| StartError::Log {
            group: group.clone(),
            source,
        };
        let together = is_copartitioned(graph);
        let shared_count = graph
            .inputs()
            .find_map(|edge| Some(self.infos.get(edge.topic.name)?.partitions))
            .or_else(|| graph.inputs().find_map(|edge| edge.topic.partitions))
            .unwrap_or(DEFAULT_PARTITIONS);
        let wanted = |edge: &Edge| {
            let is_input = matches!(edge.kind, EdgeKind::Input { .. });
            let shared = (is_input && together).then_some(shared_count);
            edge.topic
                .partitions
                .or(shared)
                .unwrap_or(DEFAULT_PARTITIONS)
        };
        let missing: Vec<(&'static str, i32)> = graph
            .inputs()
            .chain(graph.outputs())
            .filter(|edge| !self.infos.contains_key(edge.topic.name))
            .map(|edge| (edge.topic.name, wanted(edge)))
            .collect();
        if !missing.is_empty() && !log.creates_streams() {
            return Err(StartError::MissingTopics {
                group,
                location: graph.location,
                topics: missing
                    .iter()
                    .map(|(name, count)| (name.to_string(), *count))
                    .collect(),
            });
        }
        for (name, partitions) in missing {
            self.make(log, name, partitions, false, None)
                .map_err(failed)?;
        }
        for edge in graph.inputs().chain(graph.outputs()) {
            let found = self.infos[edge.topic.name].partitions;
            if let Some(declared) = edge.topic.partitions.filter(|declared| *declared != found) {
                return Err(StartError::OtherCount {
                    topic: edge.topic.name.to_owned(),
                    found,
                    declared,
                    location: edge.location,
                });
            }
        }
        for edge in graph.edges {
            let is_join = matches!(edge.kind, EdgeKind::Join);
            if is_join && !self.infos.contains_key(edge.topic.name) {
                return Err(StartError::MissingTable {
                    group,
                    table: edge.topic.name.to_owned(),
                    location: edge.location,
                });
            }
        }
        if together {
            // Outputs and lookups are exempt; the group's own topics are checked where they exist.
            let bound = |edge: &&Edge| !matches!(edge.kind, EdgeKind::Output | EdgeKind::Lookup);
            let topics: Vec<_> = graph
                .edges
                .iter()
                .filter(bound)
                .filter_map(|edge| {
                    let info = self.infos.get(edge.topic.name)?;
                    Some(Counted {
                        topic: info.name.clone(),
                        partitions: info.partitions,
                    })
                })
                .collect();
            copartitioned(graph.group, &topics).map_err(|mismatch| StartError::Copartition {
                mismatch,
                location: graph.location,
            })?;
        }
        for edge in graph.edges {
            let (compact, retention) = match edge.kind {
                EdgeKind::Table => (true, None),
                EdgeKind::Loopback { .. } | EdgeKind::Visit { .. } => (false, Some(LOOP_RETENTION)),
                _ => continue,
            };
            if !self.infos.contains_key(edge.topic.name) {
                let count = self.count(graph).unwrap_or(shared_count);
                self.make(log, edge.topic.name, count, compact, retention)
                    .map_err(failed)?;
            }
            let kept = &self.infos[edge.topic.name];
            if !compact
                && (kept.policy.compact || kept.retention < Some(LOOP_RETENTION))
                && kept.retention.is_some()
            {
                return Err(StartError::LoopRetention {
                    group,
                    topic: edge.topic.name.to_owned(),
                });
            }
        }
        Ok(self)
    }

    /// The partition count of the inputs.
    fn count(&self, graph: &GroupGraph) -> Option<i32> {
        let mut inputs = graph.inputs();
        inputs.find_map(|edge| Some(self.infos.get(edge.topic.name)?.partitions))
    }

    fn make(
        &mut self,
        log: &dyn Log,
        name: &'static str,
        partitions: i32,
        compact: bool,
        retention: Option<Duration>,
    ) -> Result<(), LogError> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions,
            compact,
            retention,
        };
        match log.create(&topic) {
            Ok(()) => tracing::info!(topic = name, partitions, compact, "topic created"),
            Err(LogError::TopicExists { .. }) => {}
            Err(error) => return Err(error),
        }
        let info = log.describe(&[name])?.into_iter().next().flatten();
        let info = info.ok_or_else(|| LogError::UnknownTopic {
            topic: name.to_owned(),
        })?;
        self.infos.insert(name, info);
        Ok(())
    }

    fn table(&self, graph: &GroupGraph, edge: &Edge) -> Result<TablePlan, StartError> {
        let (topic, info) = self.of(edge);
        if !info.policy.compact || info.policy.delete {
            return Err(StartError::NotCompacted {
                group: graph.group.to_owned(),
                topic: info.name.clone(),
                policy: if info.policy.compact {
                    "compact,delete"
                } else {
                    "delete"
                },
            });
        }
        let limit = info.max_message_bytes;
        Ok(TablePlan {
            topic,
            limit,
            fingerprint: fingerprint(&edge.topic),
        })
    }
}

#[cfg(test)]
mod tests;
