//! Looks again, while a processor runs, whether its topics are still what it started with. What would
//! refuse a start ends the processor, before more is lost; what can be lived with is warned of. Asks on
//! a thread of its own, since a broker may take long to answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::error::StartError;
use super::resolve::is_copartitioned;
use super::topics::Topics;
use crate::clock::Clock;
use crate::core::recovery::is_other_topic;
use crate::core::{CopyId, StopReason};
use crate::graph::{EdgeKind, GroupGraph};
use crate::log::{Group, Log, LogError, TopicInfo};
use crate::record::{Offset, TopicId, TopicPartition};
use crate::worker::{WorkerConfig, WorkerState};

/// How often the log is asked: a change is noticed within a minute, whatever the answer takes.
const EVERY: Duration = Duration::from_secs(20);

/// What a processor's topics were when it started.
pub(super) struct Recheck {
    graph: GroupGraph,
    topics: Topics,
    /// Where each partition of the group topic began when that was first asked.
    starts: Option<Vec<Offset>>,
    /// The outputs whose count was found to have changed.
    told: Vec<&'static str>,
}

/// The thread that asks; dropped when the worker has ended. It is not waited for.
pub(super) struct Asking {
    has_ended: Arc<AtomicBool>,
    thread: Option<Thread>,
}

impl Drop for Asking {
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
            told: Vec::new(),
        }
    }

    /// Asks again and again until the worker has ended.
    pub(super) fn start(self, parts: &Arc<WorkerConfig>) -> Asking {
        let has_ended = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&has_ended);
        let (group, mut recheck) = (self.graph.group, self);
        // Not the parts: a broker may keep the thread waiting when the tables that are looked up, and
        // what handlers run on, are to be gone.
        let seen = Seen {
            log: Arc::clone(&parts.log),
            signals: Arc::clone(&parts.signals),
            clock: parts.clock.clone(),
            group: parts.plan.group.clone(),
            joins: parts.plan.joins.iter().map(|join| join.topic).collect(),
        };
        let spawned = thread::Builder::new()
            .name("goka-topics".to_owned())
            .spawn(move || {
                let is_over = || theirs.load(Ordering::Acquire) || seen.signals.stops();
                loop {
                    let asked = Instant::now();
                    while asked.elapsed() < EVERY && !is_over() {
                        thread::park_timeout(EVERY - asked.elapsed().min(EVERY));
                    }
                    if is_over() {
                        return;
                    }
                    seen.see_ends();
                    match recheck.look(&*seen.log) {
                        Ok(Some(cause)) => seen.signals.refuse(cause),
                        Ok(None) => {}
                        Err(error) => tracing::debug!(%error, "the topics cannot be looked at"),
                    }
                }
            });
        if let Err(error) = &spawned {
            tracing::warn!(group, %error, "no thread looks after the group's topics");
        }
        Asking {
            has_ended,
            thread: spawned.ok().map(|handle| handle.thread().clone()),
        }
    }

    /// Why the group cannot go on with its topics as they are now.
    fn look(&mut self, log: &dyn Log) -> Result<Option<StopReason>, LogError> {
        let found = log.describe(&self.topics.names)?;
        // One that is gone is told by whoever reads or writes it.
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

    /// What is wrong with the topics now, beside what they were.
    fn compare(&mut self, mut now: BTreeMap<&'static str, TopicInfo>) -> Option<StopReason> {
        let group = self.graph.group;
        for edge in self.graph.edges {
            let name = edge.topic.name;
            let before = self.topics.infos.get(name);
            let (Some(before), Some(found)) = (before, now.get(name)) else {
                continue;
            };
            if matches!(edge.kind, EdgeKind::Output | EdgeKind::Lookup) {
                if found.partitions != before.partitions && !self.told.contains(&name) {
                    self.told.push(name);
                    let (before, now) = (before.partitions, found.partitions);
                    tracing::warn!(
                        group,
                        topic = name,
                        before,
                        now,
                        "an output has another number of partitions: records go where they went \
                         before until this program is started again"
                    );
                }
                continue;
            }
            if is_other_topic(&before.id, &found.id) {
                if self.graph.table().is_none() && matches!(edge.kind, EdgeKind::Input { .. }) {
                    self.topics.infos.insert(name, found.clone());
                    let topic = name.to_owned();
                    return Some(StopReason::NewInput { topic });
                }
                let said = made_again(&self.graph, edge.kind, before, found);
                return Some(StopReason::Topic(said.into()));
            }
            // Brokers hear of new partitions one after the other.
            if is_copartitioned(&self.graph) && found.partitions > before.partitions {
                let (before, now) = (before.partitions, found.partitions);
                let text = format!(
                    "topic `{name}` of group `{group}` had {before} partitions when this program \
                     started and has {now} now: the group has a table, or joins one, and nobody in it \
                     reads the new ones; all topics of the group need one partition count, and a table \
                     cannot be spread anew: give the topic {before} partitions again under another \
                     name, or begin a group of another name with {now} partitions everywhere"
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

/// What the thread looks at, and whom it tells.
struct Seen {
    log: Arc<dyn Log>,
    signals: Arc<WorkerState>,
    clock: Clock,
    group: Group,
    joins: Vec<TopicId>,
}

impl Seen {
    /// Asks where the topics of joined copies end: a copy that has come there is level as of now, and
    /// may be trusted again after a restart for as long as deletions are kept.
    fn see_ends(&self) {
        if self.joins.is_empty() {
            return;
        }
        let at = self.clock.wall();
        let tasks = self.signals.running();
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
                self.signals.tell_ends(ends.collect());
            }
            Err(error) => tracing::debug!(%error, "the ends of joined tables are not known"),
        }
    }
}

/// What to say of a topic that was deleted and made again.
fn made_again(graph: &GroupGraph, kind: EdgeKind, before: &TopicInfo, now: &TopicInfo) -> String {
    let (group, name) = (graph.group, &before.name);
    let ids = format!("its id was `{}` and is `{}`", before.id, now.id);
    match kind {
        EdgeKind::Table => format!(
            "group topic `{name}` of group `{group}` was deleted and made again while this program \
             ran ({ids}): the table's rows are left in local copies only; keep the data directories, \
             and see why the topic was deleted before the group is started again"
        ),
        EdgeKind::Join => format!(
            "table `{name}`, which group `{group}` joins, was deleted and made again while this \
             program ran ({ids}); start the program again, it reads the new one from its beginning"
        ),
        _ => format!(
            "input `{name}` of group `{group}` was deleted and made again while this program ran \
             ({ids}): its records are others than those that the table has counted, and Kafka deletes \
             the offsets of a topic with it; with all instances stopped, set where to go on \
             (kafka-consumer-groups.sh --bootstrap-server <brokers> --group {group} --topic {name} \
             --reset-offsets --to-earliest --execute), then start them"
        ),
    }
}
