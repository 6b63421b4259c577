//! What a log keeps in memory: topics, the offsets of partitions, groups. Plain data under the lock
//! of [`super::shared::Shared`], touched for moments only.

use std::collections::HashMap;
use std::sync::Arc;

use super::groups::Coordinator;
use super::rows::{PartitionRow, TopicRow};
use crate::log::{LogError, Sent};
use crate::record::Offset;

/// A partition is compacted when this many records came since, and as many as it then held.
pub(super) const CLEAN_AFTER: Offset = 10_000;

impl TopicRow {
    /// The handle of one partition.
    pub(super) fn handle(&self, partition: i32) -> Option<u32> {
        let exists = (0..self.partitions).contains(&partition);
        exists.then(|| self.first + partition.unsigned_abs())
    }

    /// Why the topic does not take a record for good.
    pub(super) fn refusal(&self, record: &Sent<'_>) -> Option<String> {
        record.refusal(self.compact, self.max_message_bytes)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: HashMap<Arc<str>, Arc<TopicRow>>,
    /// By handle.
    pub(super) partitions: Vec<PartitionRow>,
    /// By handle: whether it is compacted.
    pub(super) compacted: Vec<bool>,
    pub(super) groups: HashMap<Arc<str>, Coordinator>,
    pub(super) members: u64,
    /// Changes with everything that a caller may wait for.
    pub(super) version: u64,
    /// A commit failed: the file has to be opened again before the next one.
    pub(super) broken: bool,
}

impl State {
    /// Takes in a topic whose partitions are there.
    pub(super) fn add(&mut self, name: &str, row: TopicRow) {
        let (first, count) = (row.first as usize, row.partitions.unsigned_abs() as usize);
        if self.compacted.len() < first + count {
            self.compacted.resize(first + count, false);
        }
        self.compacted[first..first + count].fill(row.compact);
        self.topics.insert(name.into(), row.into());
    }

    /// Whether a partition is worth compacting.
    pub(super) fn is_dirty(&self, handle: u32) -> bool {
        let row = self.partitions[handle as usize];
        let kept = Offset::try_from(row.kept).unwrap_or(Offset::MAX);
        self.compacted[handle as usize] && row.end - row.cleaned >= kept.max(CLEAN_AFTER)
    }

    pub(super) fn topic(&self, topic: &str) -> Option<Arc<TopicRow>> {
        self.topics.get(topic).cloned()
    }

    /// The handle of a partition.
    pub(super) fn handle(&self, topic: &str, partition: i32) -> Result<u32, LogError> {
        let row = self.topics.get(topic);
        let row = row.ok_or_else(|| LogError::unknown_topic(topic))?;
        row.handle(partition)
            .ok_or_else(|| LogError::unknown_partition(topic, partition))
    }

    /// Calls `act` with a group and the partition counts of topics.
    pub(super) fn group<R>(
        &mut self,
        name: &Arc<str>,
        act: impl FnOnce(&mut Coordinator, &dyn Fn(&str) -> i32) -> R,
    ) -> R {
        let topics = &self.topics;
        let partitions = |topic: &str| topics.get(topic).map_or(0, |row| row.partitions);
        act(self.groups.entry(name.clone()).or_default(), &partitions)
    }
}
