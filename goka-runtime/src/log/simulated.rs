//! The simulated log: Kafka as a member of a group sees it, in memory, for tests. On a simulated clock
//! nothing blocks, nothing happens by itself, and the same calls give the same answers; on the
//! machine's clock it waits as the other engines do. What goes wrong is decided by [`Faults`].
//!
//! It rests on this of Kafka, which the conformance suite and the tests of the Kafka engine check:
//! - at least once a record is in the log when it is appended; exactly once it does too, in an open
//!   transaction that holds read-committed readers back at its first record;
//! - a transaction ends with one control record in each partition that it touched;
//! - a producer that takes a transactional id over aborts what the one before left open, and fences it; a
//!   transaction that is open for too long is aborted, and its producer fenced;
//! - offsets in an open transaction hold back the member that is assigned the task;
//! - only what moves is given back, before another member has it; a static member that comes back has
//!   its tasks again and moves nothing, and its older twin is fenced; what that one was giving back is
//!   assigned to a member (on Kafka the member asks for it);
//! - a group that forgot a member takes no offsets from it.
//!
//! And on this, which no test here checks on Kafka:
//! - a rebalance waits until all members have joined anew, or are out; what was given back is handed
//!   out by the generation after;
//! - a transaction counts as committed before its control records are written;
//! - a producer's records stay in order in each partition, and none is written twice: what an
//!   idempotent producer sends again is the same record;
//! - compaction leaves the last entry of a partition and everything from the last stable offset on;
//!   a tombstone and a control record stay for `delete.retention.ms` after the first pass;
//! - retention looks every five minutes, and goes by the records' timestamps;
//! - a coordinator that was away gives each member a whole session when it is back;
//! - a topic that is made again is read on at the old position, where that is within it.
//!
//! Harsher than a real client: a member that is cut off does not notice by itself that its session is
//! over, and a commit does not wait for what is late.

mod commit;
mod faults;
mod groups;
mod history;
mod inspect;
mod member;
mod member_poll;
mod produce;
mod producer;
mod reader;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::faults::{Fault, Faults, Step, StepKind};
pub(crate) use self::history::{
    Content, Happened, MemberOffset, Moment, RecordPlace, WrittenRecord, Wrote,
};
#[cfg(test)]
pub(crate) use self::topics::Body;
pub use self::topics::{Kept, Kind};

use self::faults::StepKind::Ask;
use self::member::SimulatedMember;
use self::produce::SimulatedAppender;
use self::reader::SimulatedReader;
use self::state::{Shared, State, millis};
use self::topics::{Partition, Topic};
use super::topics::{DELETE_RETENTION, MAX_MESSAGE_BYTES, RETENTION};
use super::{
    Appender, CleanupPolicy, ClusterId, Committed, Group, Isolation, Log, LogError, Member,
    NewTopic, OffsetRange, OnDelivery, Reader, TopicInfo,
};
use crate::clock::Clock;
use crate::record::{Offset, Record, TopicPartition};

/// How long a question waits for its answer, by the machine's clock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A log in memory that behaves as Kafka does. Clones are the same log.
///
/// ```
/// use goka_runtime::clock::Clock;
/// use goka_runtime::log::simulated::Simulated;
/// use goka_runtime::log::{Log, NewTopic};
///
/// let log = Simulated::new(Clock::simulated(0));
/// log.create(&NewTopic { name: "user-clicks".into(), partitions: 3, compact: false, retention: None })?;
/// assert!(log.records("user-clicks", 0).is_empty());
/// # Ok::<(), goka_runtime::log::LogError>(())
/// ```
#[derive(Clone)]
pub struct Simulated(Arc<Shared>);

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

impl Simulated {
    /// Makes an empty log that lives by a clock.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared::new(clock)))
    }

    /// Injects faults from now on; `None`: none. What is in flight goes on.
    pub fn set_faults(&self, faults: Option<Box<dyn Faults>>) {
        self.0.lock().chance.faults = faults;
    }

    /// How often each fault fired, by its name.
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().chance.fired.clone()
    }

    /// How often each step was taken.
    pub fn steps(&self) -> BTreeMap<StepKind, u64> {
        self.0.lock().chance.steps.clone()
    }

    /// Writes down from now on what happens, a line for each step and decision.
    pub fn keep_trace(&self) {
        self.0.lock().chance.trace.get_or_insert_default();
    }

    /// Adds a line of one's own to the trace.
    pub fn note(&self, line: &str) {
        self.0.lock().note(|| line.to_owned());
    }

    /// The trace so far, which begins anew.
    pub fn take_trace(&self) -> Vec<String> {
        let trace = &mut self.0.lock().chance.trace;
        trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Kills the members of a name (`group/instance/worker`) that live now: nothing that they do from
    /// now on arrives, not even that they leave. What is under way may arrive. Says how many.
    pub fn kill(&self, who: &str) -> usize {
        let mut state = self.0.lock();
        let killed = state.bury_named(|name| name == who);
        state.note(|| format!("{who}: killed"));
        killed
    }

    /// Everything that a partition holds, visible or not; nothing where there is none.
    pub fn records(&self, topic: &str, partition: i32) -> Vec<Kept> {
        let state = self.0.lock();
        let topic = state.topics.get(topic);
        let partition = topic.and_then(|topic| topic.partition(partition));
        partition.map(Partition::kept).unwrap_or_default()
    }

    /// Hands out what readers of committed records see of a partition from an offset on, each with
    /// its place among everything that was written to the log; says where to read on. Called under
    /// the log's lock: `each` must not call the log.
    pub(crate) fn read_committed(
        &self,
        topic: &str,
        partition: i32,
        from: Offset,
        each: &mut dyn FnMut(u64, Record<'_>),
    ) -> Offset {
        let state = self.0.lock();
        let topic = state.topics.get(topic);
        let Some(partition) = topic.and_then(|topic| topic.partition(partition)) else {
            return from;
        };
        for (written, record) in partition.committed(from) {
            each(written, record);
        }
        partition.stable().max(from)
    }

    /// What a topic is and which offsets its partitions hold, asked past everything that may go wrong.
    pub(crate) fn topic(&self, name: &str) -> Option<(TopicInfo, Vec<OffsetRange>)> {
        let state = self.0.lock();
        let topic = state.topics.get(name)?;
        let ranges = topic.partitions.iter().map(Partition::range);
        Some((topic.info.clone(), ranges.collect()))
    }

    /// Changes with everything that a caller may wait for.
    pub(crate) fn version(&self) -> u64 {
        self.0.lock().version
    }

    /// Whether members of any group still have to say that they know who owns what.
    pub(crate) fn is_rebalancing(&self) -> bool {
        let state = self.0.lock();
        let mut groups = state.groups.values();
        groups.any(|group| group.members.is_rebalancing())
    }

    /// All that a group committed.
    pub fn offsets_of(&self, group: &str) -> BTreeMap<TopicPartition, Committed> {
        let state = self.0.lock();
        let offsets = state.groups.get(group).map(|group| group.offsets.clone());
        offsets.unwrap_or_default()
    }

    /// Forgets what a group committed, as Kafka does when a group was down for long.
    pub fn forget_offsets(&self, group: &str) {
        if let Some(group) = self.0.lock().groups.get_mut(group) {
            group.offsets.clear();
        }
    }

    /// Compaction strikes: one pass over all partitions of a compacted topic.
    pub fn compact(&self, topic: &str) {
        let mut state = self.0.lock();
        let wall = state.wall;
        if let Some(topic) = state.topics.get_mut(topic)
            && topic.info.policy.compact
        {
            let delete_retention = millis(topic.info.delete_retention);
            for partition in &mut topic.partitions {
                partition.compact(wall, delete_retention);
            }
        }
        state.note(|| format!("compaction of {topic}"));
    }

    /// Deletes the records of a partition before an offset.
    pub fn delete_records(&self, topic: &str, partition: i32, before: Offset) {
        let mut state = self.0.lock();
        let found = state.topics.get_mut(topic);
        if let Some(partition) = found.and_then(|topic| topic.partition_mut(partition)) {
            partition.delete_before(before);
        }
        state.version += 1;
        state.note(|| format!("deletion of {topic}[{partition}] before {before}"));
    }

    /// Deletes a topic, and what groups committed for it.
    pub fn delete(&self, topic: &str) {
        let mut state = self.0.lock();
        state.topics.remove(topic);
        for group in state.groups.values_mut() {
            group.offsets.retain(|tp, _| *tp.topic != *topic);
        }
        state.topic_changed(topic);
        state.note(|| format!("deletion of {topic}"));
    }

    /// Asks the brokers until they answer, at most for [`ANSWER_TIMEOUT`].
    fn ask<R>(
        &self,
        what: &str,
        mut answer: impl FnMut(&mut State) -> Result<Option<R>, LogError>,
    ) -> Result<R, LogError> {
        let by = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let version = {
                let mut state = self.0.lock();
                state.inject(Ask, "asker", None, None);
                if !state.is_out()
                    && let Some(answer) = answer(&mut state)?
                {
                    return Ok(answer);
                }
                state.version
            };
            if !self.0.wait(version, by) {
                return Err(LogError::late(what, ANSWER_TIMEOUT));
            }
        }
    }
}

impl Log for Simulated {
    fn describe_self(&self) -> String {
        "the simulated log".to_owned()
    }

    fn join(&self, group: &Group) -> Result<Box<dyn Member>, LogError> {
        let shared = self.0.clone();
        Ok(Box::new(SimulatedMember::join(shared, group.clone())))
    }

    fn appender(&self, delivered: OnDelivery) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(SimulatedAppender::new(self.0.clone(), delivered)))
    }

    fn reader(
        &self,
        from: &[(TopicPartition, Offset)],
        isolation: Isolation,
    ) -> Result<Box<dyn Reader>, LogError> {
        let reader = SimulatedReader::new(self.0.clone(), from, isolation)?;
        Ok(Box::new(reader))
    }

    fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        self.ask("describing topics", |state| {
            let found = topics.iter().map(|topic| state.topics.get(*topic));
            let info = found.map(|topic| topic.map(|topic| topic.info.clone()));
            Ok(Some(info.collect()))
        })
    }

    fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<OffsetRange>, LogError> {
        self.ask("reading partitions' offsets", |state| {
            let mut ranges = Vec::with_capacity(partitions.len());
            for tp in partitions {
                ranges.push(state.partition(tp)?.range());
            }
            let mut all = partitions.iter();
            let is_away = all.any(|tp| state.away_until(tp).is_some());
            Ok((!is_away).then_some(ranges))
        })
    }

    fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        topic.check()?;
        self.ask("making a topic", |state| {
            if state.topics.contains_key(&*topic.name) {
                return Err(LogError::topic_exists(&topic.name));
            }
            let number = state.number();
            let name: Arc<str> = topic.name.as_str().into();
            let mut new = new_topic(topic, number);
            if let Some(kept) = state.delete_retention {
                new.info.delete_retention = kept;
            }
            state.topics.insert(name, new);
            state.topic_changed(&topic.name);
            Ok(Some(()))
        })
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError> {
        let what = format!("reading the committed offsets of group `{group}`");
        self.ask(&what, |state| {
            let Some(group) = state.groups.get(group) else {
                return Ok(Some(vec![None; partitions.len()]));
            };
            if partitions.iter().any(|tp| group.is_pending(tp)) {
                return Ok(None);
            }
            let found = partitions.iter();
            let found = found.map(|tp| group.offsets.get(tp).cloned());
            Ok(Some(found.collect()))
        })
    }

    fn cluster(&self) -> Result<ClusterId, LogError> {
        self.ask("asking for the cluster", |_| {
            Ok(Some("simulated".to_owned()))
        })
    }
}

fn new_topic(topic: &NewTopic, number: u64) -> Topic {
    let retention = (!topic.compact).then(|| topic.retention.unwrap_or(RETENTION));
    let count = 0..topic.partitions;
    Topic {
        number,
        info: TopicInfo {
            name: topic.name.clone(),
            id: format!("topic-{number}"),
            partitions: topic.partitions,
            policy: CleanupPolicy {
                compact: topic.compact,
                delete: !topic.compact,
            },
            retention,
            delete_retention: DELETE_RETENTION,
            max_message_bytes: MAX_MESSAGE_BYTES,
            replicas: 1,
            in_sync: 1,
            min_in_sync: 1,
        },
        partitions: count.map(|_| Partition::default()).collect(),
    }
}
