//! A group graph against a log: the plan that the core runs, and the tables that it looks up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::error::StartError;
use super::options::ProcessorOptions;
use super::topics::{Topics, is_copartitioned};
use crate::core::{InputPlan, JoinPlan, OutputPlan, Plan, VisitPlan};
use crate::graph::{EdgeKind, GroupGraph, Start};
use crate::lock::lock;
use crate::log::{Group, Log, LogError, TopicWait};
use crate::table::{Store, StoreError, Stores};
use crate::view::{Lookups, RawView, ViewError};

pub(super) fn resolve(
    graph: &GroupGraph,
    log: &dyn Log,
    options: &ProcessorOptions,
    wait: &TopicWait<'_>,
) -> Result<(Plan, Topics), StartError> {
    let failed = |source| StartError::Log {
        group: graph.group.to_owned(),
        source,
    };
    check_graph(graph)?;
    let topics = Topics::look(graph, log, wait).map_err(failed)?;
    let topics = topics.complete(graph, log, wait)?;
    let table = graph.table().map(|edge| topics.table(edge));
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
            keyless: edge.topic.is_keyless(),
            key: edge.topic.key,
            partitioner: edge.topic.partitioner,
            partition_of: edge.topic.partition_of,
        };
        let output = || OutputPlan {
            name: edge.topic.name,
            topic,
            partitions: info.partitions,
            max_message_bytes: info.max_message_bytes,
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
                key: edge.topic.key,
                fingerprint: edge.topic.fingerprint(),
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
        session_timeout: options.session_timeout,
        max_poll_interval: options.max_poll_interval,
        guarantee: options.guarantee.unwrap_or(graph.guarantee),
        transaction_timeout: options.transaction_timeout,
    };
    let cluster = log.cluster().map_err(failed)?;
    let verifies = group.lead.is_some() && log.lists_groups();
    let plan = Plan {
        group,
        cluster,
        verifies,
        inputs,
        outputs,
        table,
        joins,
        visits,
        barrier: options.barrier_interval,
        flush_interval: options.flush_interval,
        flush_bytes: options.flush_bytes.min(options.memory_bytes / 2),
        store_timeout: options.store_error_timeout,
        memory: options.memory_bytes,
        deaths: options.deaths.clone(),
    };
    Ok((plan, topics))
}

/// The tables that are looked up: one copy of each a process, followed by its own thread.
pub(super) fn lookups(
    graph: &GroupGraph,
    log: &Arc<dyn Log>,
    stores: &Arc<dyn Stores>,
    wait: &TopicWait<'_>,
) -> Result<Lookups, StartError> {
    type Key = (usize, usize, &'static str);
    static SHARED: Mutex<BTreeMap<Key, Weak<RawView>>> = Mutex::new(BTreeMap::new());
    let mut shared = lock(&SHARED);
    shared.retain(|_, view| view.strong_count() > 0);
    let mut found = Lookups::new();
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
                let view = RawView::start(
                    Arc::clone(log),
                    Arc::new(LookupStores(Arc::clone(stores))),
                    &edge.topic,
                    wait,
                );
                let view = view.map_err(|error| match error {
                    ViewError::Log(source @ LogError::Stopping { .. }) => StartError::Log {
                        group: graph.group.to_owned(),
                        source,
                    },
                    error => StartError::Lookup {
                        group: graph.group.to_owned(),
                        location: edge.location,
                        source: Box::new(error),
                    },
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

/// Reserves stores for all partitions, which this process owns if it is the only one of its group.
pub(super) fn reserve_stores(
    graph: &GroupGraph,
    plan: &Plan,
    stores: &dyn Stores,
) -> Result<(), StartError> {
    let tables = usize::from(plan.table.is_some()) + plan.joins.len();
    let most = plan.inputs.iter().map(|input| input.partitions).max();
    let partitions = most
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(0);
    stores
        .reserve(tables * partitions)
        .map_err(|source| StartError::Store {
            group: graph.group.to_owned(),
            location: graph.location,
            source,
        })
}

/// Keeps the copies of looked-up tables apart from the tables of this process's own processors: no topic's
/// name has an `@`.
#[derive(Debug)]
struct LookupStores(Arc<dyn Stores>);

impl Stores for LookupStores {
    fn open(&self, table: &str, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        self.0.open(&format!("{table}@lookup"), partition)
    }

    fn reserve(&self, partitions: usize) -> Result<(), StoreError> {
        self.0.reserve(partitions)
    }

    fn location(&self, table: &str, partition: i32) -> Option<String> {
        self.0.location(&format!("{table}@lookup"), partition)
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
        if graph.owns(name) {
            return refuse(format!(
                "its own table `{name}` is an input; read it with `ctx.value()`"
            ));
        }
    }
    Ok(())
}
