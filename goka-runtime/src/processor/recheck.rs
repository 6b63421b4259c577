//! Checks, while a processor runs, whether its topics are still as they were at the start. What would refuse
//! a start ends the processor, before more is lost; lesser changes are warned of. Runs on a thread of its
//! own, since a broker may take long to answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::error::StartError;
use super::topics::{Topics, is_copartitioned};
use crate::clock::Clock;
use crate::core::{CopyId, StopReason};
use crate::graph::{EdgeKind, GroupGraph};
use crate::log::{Group, Log, LogError, TopicInfo};
use crate::record::{Offset, TopicId, TopicPartition};
use crate::text::counted;
use crate::topic_change::{TopicChange, reset_offsets};
use crate::worker::{WorkerConfig, WorkerState};

/// How often the log is asked: a change is noticed within a minute, also when an answer takes long.
const EVERY: Duration = Duration::from_secs(20);

/// What a processor's topics were when it started.
pub(super) struct Recheck {
    graph: GroupGraph,
    topics: Topics,
    /// Where each partition of the group topic began when last asked.
    starts: Option<Vec<Offset>>,
    /// The outputs whose changed partition count was logged.
    reported_outputs: Vec<&'static str>,
}

/// The thread that checks. Ends when this is dropped, and is not waited for.
pub(super) struct RecheckThread {
    has_ended: Arc<AtomicBool>,
    thread: Option<Thread>,
}

impl Drop for RecheckThread {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

/// A check of the start that fails now.
#[derive(Debug, thiserror::Error)]
#[error("since this program started: {0}")]
struct SinceStart(#[source] StartError);

impl Recheck {
    pub(super) fn new(graph: GroupGraph, topics: Topics) -> Self {
        Self {
            graph,
            topics,
            starts: None,
            reported_outputs: Vec::new(),
        }
    }

    /// Starts the thread.
    pub(super) fn start(self, config: &Arc<WorkerConfig>) -> RecheckThread {
        let has_ended = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&has_ended);
        let (group, mut recheck) = (self.graph.group, self);
        // Not the whole config: a broker may keep the thread waiting when the lookups and the executor are
        // to be dropped.
        let target = RecheckTarget {
            log: Arc::clone(&config.log),
            state: Arc::clone(&config.state),
            clock: config.clock.clone(),
            group: config.plan.group.clone(),
            joins: config.plan.joins.iter().map(|join| join.topic).collect(),
        };
        let spawned = thread::Builder::new()
            .name("goka-topics".to_owned())
            .spawn(move || {
                let is_over = || theirs.load(Ordering::Acquire) || target.state.stops();
                loop {
                    let asked = Instant::now();
                    while asked.elapsed() < EVERY && !is_over() {
                        thread::park_timeout(EVERY - asked.elapsed().min(EVERY));
                    }
                    if is_over() {
                        return;
                    }
                    target.ask_ends();
                    match recheck.look(&*target.log) {
                        Ok(Some(cause)) => target.state.end_member(cause),
                        Ok(None) => {}
                        Err(error) => tracing::debug!(%error, "topics not checked"),
                    }
                }
            });
        if let Err(error) = &spawned {
            tracing::warn!(group, %error, "no thread to check the topics of the group");
        }
        RecheckThread {
            has_ended,
            thread: spawned.ok().map(|handle| handle.thread().clone()),
        }
    }

    /// Why the group cannot go on with its topics as they are now, if it cannot.
    fn look(&mut self, log: &dyn Log) -> Result<Option<StopReason>, LogError> {
        let found = log.describe(&self.topics.names)?;
        // A missing topic fails where it is read or written.
        let found = self.topics.names.iter().copied().zip(found);
        let now: BTreeMap<_, _> = found
            .filter_map(|(name, info)| Some((name, info?)))
            .collect();
        let cause = self.compare(now);
        if cause.is_none() {
            self.look_at_starts(log)?;
        }
        Ok(cause)
    }

    /// Why the group cannot go on with these topics, if it cannot.
    fn compare(&mut self, mut now: BTreeMap<&'static str, TopicInfo>) -> Option<StopReason> {
        let group = self.graph.group;
        for edge in self.graph.edges {
            let name = edge.topic.name;
            let before = self.topics.infos.get(name);
            let (Some(before), Some(found)) = (before, now.get(name)) else {
                continue;
            };
            if matches!(edge.kind, EdgeKind::Output | EdgeKind::Lookup) {
                if found.partitions != before.partitions && !self.reported_outputs.contains(&name) {
                    self.reported_outputs.push(name);
                    let (before, now) = (before.partitions, found.partitions);
                    tracing::warn!(
                        group,
                        topic = name,
                        before,
                        now,
                        "an output has another number of partitions: records go to the partitions that it \
                         had before until this program is started again"
                    );
                }
                continue;
            }
            let change = TopicChange::of(&before.id, before.partitions, found);
            if change == Some(TopicChange::Recreated) {
                if self.graph.table().is_none() && matches!(edge.kind, EdgeKind::Input { .. }) {
                    self.topics.infos.insert(name, found.clone());
                    let topic = name.to_owned();
                    return Some(StopReason::NewInput { topic });
                }
                let text = recreated(&self.graph, edge.kind, before, found);
                return Some(StopReason::Topic(text.into()));
            }
            if is_copartitioned(&self.graph) && change == Some(TopicChange::Grown) {
                let now = found.partitions;
                let before = counted(before.partitions, "partition");
                let text = format!(
                    "topic `{name}` of group `{group}` had {before} when this program started and has \
                     {now} now: the group has a table, or joins one, so all its topics need one partition \
                     count, and none of its members reads the new partitions; a table cannot be \
                     repartitioned: give the topic {before} again under another name, or begin a group of \
                     another name with {now} partitions everywhere"
                );
                return Some(StopReason::Topic(text.into()));
            }
        }
        for (name, info) in &self.topics.infos {
            now.entry(name).or_insert_with(|| info.clone());
        }
        let now = Topics {
            names: self.topics.names.clone(),
            infos: now,
        };
        let refused = now.check_policies(&self.graph).err()?;
        Some(StopReason::Topic(SinceStart(refused).into()))
    }

    /// Warns where the group topic lost rows that the local copies may still have: compaction never
    /// moves the beginning of a topic.
    fn look_at_starts(&mut self, log: &dyn Log) -> Result<(), LogError> {
        let table = self.graph.table().map(|edge| edge.topic.name);
        let Some(info) = table.and_then(|table| self.topics.infos.get(table)) else {
            return Ok(());
        };
        let partitions: Vec<_> = (0..info.partitions)
            .map(|partition| TopicPartition::new(&*info.name, partition))
            .collect();
        let ranges = log.ranges(&partitions)?;
        let starts: Vec<_> = ranges.iter().map(|range| range.start).collect();
        let Some(before) = self.starts.replace(starts) else {
            return Ok(());
        };
        for ((at, range), before) in partitions.iter().zip(&ranges).zip(before) {
            let start = range.start;
            if start > before {
                tracing::warn!(
                    group = self.graph.group,
                    topic = &*at.topic,
                    partition = at.partition,
                    before,
                    start,
                    "records were deleted from the group topic: rows in them are left in local \
                     copies only, keep those (another data directory cannot be filled any more)"
                );
            }
        }
        Ok(())
    }
}

/// What the thread needs beside the topics.
struct RecheckTarget {
    log: Arc<dyn Log>,
    state: Arc<WorkerState>,
    clock: Clock,
    group: Group,
    joins: Vec<TopicId>,
}

impl RecheckTarget {
    /// Asks where the topics of joined copies end: a copy that has come there is level as of now, and can
    /// be caught up after a restart for as long as deletions are kept.
    fn ask_ends(&self) {
        if self.joins.is_empty() {
            return;
        }
        let at = self.clock.wall();
        let tasks = self.state.running();
        let copies: Vec<_> = tasks
            .iter()
            .flat_map(|task| {
                let tables = self.joins.iter().copied();
                tables.map(|table| CopyId { task: *task, table })
            })
            .collect();
        let partitions: Vec<_> = copies
            .iter()
            .map(|copy| {
                let topic = Arc::clone(self.group.topic(copy.table));
                TopicPartition::new(topic, copy.task.partition)
            })
            .collect();
        match self.log.ranges(&partitions) {
            Ok(ranges) => {
                let ends = copies.into_iter().zip(ranges);
                let ends = ends.map(|(copy, range)| (copy, range.high, at));
                self.state.set_ends(ends.collect());
            }
            Err(error) => tracing::debug!(%error, "ends of joined tables not known"),
        }
    }
}

/// The message for a topic that was deleted and made again.
fn recreated(graph: &GroupGraph, kind: EdgeKind, before: &TopicInfo, now: &TopicInfo) -> String {
    let (group, name) = (graph.group, &before.name);
    let ids = format!("its id was `{}` and is `{}`", before.id, now.id);
    match kind {
        EdgeKind::Table => format!(
            "group topic `{name}` of group `{group}` was deleted and made again while this program \
             ran ({ids}): the table's rows are left in local copies only; keep the data directories, \
             and find out why the topic was deleted before the group is started again"
        ),
        EdgeKind::Join => format!(
            "table `{name}`, which group `{group}` joins, was deleted and made again while this \
             program ran ({ids}); start the program again, it reads the new one from its beginning"
        ),
        _ => format!(
            "input `{name}` of group `{group}` was deleted and made again while this program ran \
             ({ids}): its records are others than those that the table has counted, and Kafka deletes \
             the offsets of a topic with it; {}, then start them",
            reset_offsets(group, name)
        ),
    }
}
