//! A processor: a group graph checked against a log, and the worker that runs it. What is wrong at
//! start refuses to start. Held by the service, by tests and by programs of their own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use crate::core::{Cause, State};
pub use crate::worker::TaskStatus;

use crate::core::copartition::{Counted, Mismatch, copartitioned};
use crate::core::{InputPlan, OutputPlan, Plan, TablePlan};
use crate::dispatch::Shared;
use crate::graph::{Definition, Edge, EdgeKind, GroupGraph, Location};
use crate::log::{Group, Log, LogError, NewTopic, TopicInfo};
use crate::record::TopicId;
use crate::table::Stores;
use crate::worker::{Parts, Signals, run};

/// Partitions of a stream that the embedded log makes, where none are declared.
pub const DEFAULT_PARTITIONS: i32 = 4;

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
    let signals = Arc::new(Signals::default());
    let group = definition.graph.group.to_owned();
    let parts = Parts {
        plan,
        log,
        stores,
        shared,
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
    let inputs: Vec<_> = graph
        .inputs()
        .filter_map(|edge| {
            let EdgeKind::Input { call, .. } = edge.kind else {
                return None;
            };
            let (topic, info) = topics.of(edge);
            let (partitioner, place) = (edge.topic.partitioner, edge.topic.place);
            Some(InputPlan {
                topic,
                partitions: info.partitions,
                call,
                partitioner,
                place,
            })
        })
        .collect();
    let outputs = graph
        .outputs()
        .map(|edge| {
            let (topic, info) = topics.of(edge);
            let (partitions, limit) = (info.partitions, info.max_message_bytes);
            OutputPlan {
                name: edge.topic.name,
                topic,
                partitions,
                limit,
            }
        })
        .collect();
    let group = Group {
        name: graph.group.into(),
        topics: topics.names.iter().map(|name| (*name).into()).collect(),
        inputs: inputs.iter().map(|input| input.topic).collect(),
        table: table.as_ref().map(|table| table.topic),
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
        barrier: options.barrier,
    })
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
        for edge in graph.edges {
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
        let is_stateful = graph.table().is_some();
        let shared_count = graph
            .inputs()
            .find_map(|edge| Some(self.infos.get(edge.topic.name)?.partitions))
            .or_else(|| graph.inputs().find_map(|edge| edge.topic.partitions))
            .unwrap_or(DEFAULT_PARTITIONS);
        let wanted = |edge: &Edge| {
            let is_input = matches!(edge.kind, EdgeKind::Input { .. });
            let shared = (is_input && is_stateful).then_some(shared_count);
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
            self.make(log, name, partitions, false).map_err(failed)?;
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
        if let Some(table) = graph.table() {
            let counted = |edge: &Edge| {
                let info = self.infos.get(edge.topic.name)?;
                Some(Counted {
                    topic: info.name.clone(),
                    partitions: info.partitions,
                })
            };
            let topics: Vec<_> = graph.inputs().chain([table]).filter_map(counted).collect();
            let count = copartitioned(graph.group, &topics).map_err(|mismatch| {
                StartError::Copartition {
                    mismatch,
                    location: graph.location,
                }
            })?;
            if !self.infos.contains_key(table.topic.name) {
                let partitions = count.unwrap_or(DEFAULT_PARTITIONS);
                self.make(log, table.topic.name, partitions, true)
                    .map_err(failed)?;
            }
        }
        Ok(self)
    }

    fn make(
        &mut self,
        log: &dyn Log,
        name: &'static str,
        partitions: i32,
        compact: bool,
    ) -> Result<(), LogError> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions,
            compact,
            retention: None,
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
            fingerprint: edge.topic.fingerprint(),
        })
    }
}

#[cfg(test)]
mod tests;
