//! What oracles and tests ask the simulated log, and do to it, past its clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Simulated;
use super::history::{ClientId, Happened, Moment};
use super::topics::Body;
use crate::log::Committed;
use crate::record::{Offset, Record, TopicPartition};

impl Simulated {
    pub(crate) fn keep_history(&self) {
        self.0.lock().history.get_or_insert_default();
    }

    /// What happened so far; it begins anew.
    pub(crate) fn take_history(&self) -> Vec<Moment> {
        let history = &mut self.0.lock().history;
        history.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn last_client(&self) -> ClientId {
        let last = self.0.lock().clients.keys().next_back().copied();
        last.unwrap_or_default()
    }

    /// How many partitions a topic has; 0 where there is none.
    pub(crate) fn partitions_of(&self, topic: &str) -> i32 {
        let topics = &self.0.lock().topics;
        topics.get(topic).map_or(0, |topic| topic.info.partitions)
    }

    /// Kills one client, if it lives: nothing that it does from now on arrives.
    pub(crate) fn kill_client(&self, client: ClientId) {
        let mut state = self.0.lock();
        if !state.dead.contains(&client) {
            state.bury(&[client]);
        }
    }

    /// How long tombstones of topics stay that are made from now on, and how many records are fetched
    /// at once.
    pub(crate) fn set_limits(&self, delete_retention: Duration, batch: usize) {
        let mut state = self.0.lock();
        state.delete_retention = Some(delete_retention);
        state.batch = Some(batch);
    }

    /// Puts offsets back that a group has lost.
    pub(crate) fn restore_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) {
        let mut state = self.0.lock();
        if let Some(group) = state.groups.get_mut(group) {
            for (tp, committed) in offsets {
                let known = group.offsets.entry(tp.clone());
                known.or_insert_with(|| committed.clone());
            }
        }
        state.version += 1;
        state.note(|| format!("{group}: offsets are put back"));
    }

    /// What a group has still to do of a topic: of each partition the committed offset, and the offset
    /// behind the last committed record, where that is further.
    pub(crate) fn behind(&self, group: &str, topic: &str) -> Vec<(i32, Offset, Offset)> {
        let state = self.0.lock();
        let group = state.groups.get(group);
        let Some((name, topic)) = state.topics.get_key_value(topic) else {
            return Vec::new();
        };
        let mut behind = Vec::new();
        for (number, partition) in (0..).zip(&topic.partitions) {
            let tp = TopicPartition::new(name.clone(), number);
            let committed = group.and_then(|group| group.offsets.get(&tp));
            let committed = committed.map_or(0, |committed| committed.offset);
            if let Some((_, record)) = partition.committed(committed).last() {
                behind.push((number, committed, record.offset + 1));
            }
        }
        behind
    }

    /// Whether a transaction is open anywhere, or records are under way.
    pub(crate) fn has_open_writes(&self) -> bool {
        let state = self.0.lock();
        let mut partitions = state.topics.values().flat_map(|topic| &topic.partitions);
        !state.under_way.is_empty()
            || partitions.any(|partition| partition.range().stable < partition.range().high)
    }

    /// Adds something that the log itself does not see.
    pub(crate) fn add_to_history(&self, what: Happened) {
        self.0.lock().remember(|| what);
    }

    /// Writes a record without faults, and returns its offset; `None` where there is
    /// no such partition.
    pub(crate) fn put(&self, topic: &str, partition: i32, record: &Record<'_>) -> Option<Offset> {
        let state = &mut *self.0.lock();
        let body = Arc::new(Body {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        });
        let (topic, _) = state.topics.get_key_value(topic)?;
        let tp = TopicPartition::new(topic.clone(), partition);
        state.write(None, 0, &tp, body)
    }
}
