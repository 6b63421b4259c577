//! The offsets of a task's inputs: which record is handled next, which the group has committed, and the
//! text that is committed with them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::guards::Guards;
use crate::core::deaths::{Deaths, Died};
use crate::core::metadata::OffsetMetadata;
use crate::core::recovery::is_other_topic;
use crate::log::{Committed, Group};
use crate::record::{Offset, TaskId, TopicId};

/// The offsets of one assignment.
#[derive(Debug)]
pub(crate) struct Offsets {
    /// The next record of each input to handle.
    positions: BTreeMap<TopicId, Offset>,
    /// The next record of each input, as the group has it.
    committed: BTreeMap<TopicId, Offset>,
    /// What the group has with the offsets.
    metadata: Option<OffsetMetadata>,
    /// What is committed with the start offsets; `None` once they are. It stays apart from `metadata`
    /// because a task may be inspected again before that.
    start_metadata: Option<OffsetMetadata>,
    /// The identity of each input: at first as it was when its offset was committed.
    input_ids: BTreeMap<TopicId, String>,
    /// The record of each input whose handler ended the process.
    died: BTreeMap<TopicId, Died>,
    /// Whether the group had committed nothing for the task when it was assigned.
    is_new: bool,
}

impl Offsets {
    pub(super) fn new(committed: &BTreeMap<TopicId, Committed>) -> Self {
        let (mut input_ids, mut died) = (BTreeMap::new(), BTreeMap::new());
        let mut metadata = None;
        for (topic, committed) in committed {
            let Some(mut found) = OffsetMetadata::parse(&committed.metadata) else {
                continue;
            };
            input_ids.extend(found.input_id.take().map(|id| (*topic, id)));
            died.extend(found.died.take().map(|died| (*topic, died)));
            metadata.get_or_insert(found);
        }
        let offsets = committed.iter();
        Self {
            positions: BTreeMap::new(),
            committed: offsets.map(|(topic, of)| (*topic, of.offset)).collect(),
            metadata,
            start_metadata: None,
            input_ids,
            died,
            is_new: committed.is_empty(),
        }
    }

    /// Adds the deaths that this instance noted to those that came with the offsets.
    pub(super) fn add_deaths(&mut self, deaths: &Deaths, group: &Group, task: TaskId) {
        for topic in group.inputs_of(task) {
            let committed = self.committed.get(&topic).copied();
            let known = self.died.remove(&topic);
            let input = (&**group.topic(topic), task.partition);
            let died = deaths.of_input(&group.name, input, committed, known);
            self.died.extend(died.map(|died| (topic, died)));
        }
    }

    pub(crate) fn positions(&self) -> &BTreeMap<TopicId, Offset> {
        &self.positions
    }

    pub(crate) fn position(&self, input: TopicId) -> Offset {
        self.positions.get(&input).copied().unwrap_or(0)
    }

    pub(crate) fn set_position(&mut self, input: TopicId, next: Offset) {
        self.positions.insert(input, next);
    }

    /// Skips offsets that hold nothing, once all records before them are handled. Returns whether the
    /// topic is an input.
    pub(crate) fn skip_gap(&mut self, topic: TopicId, gap: &Range<Offset>) -> bool {
        let Some(position) = self.positions.get_mut(&topic) else {
            return false;
        };
        if gap.contains(position) {
            *position = gap.end;
        }
        true
    }

    pub(crate) fn committed(&self, input: TopicId) -> Option<Offset> {
        self.committed.get(&input).copied()
    }

    pub(crate) fn all_committed(&self) -> &BTreeMap<TopicId, Offset> {
        &self.committed
    }

    pub(crate) fn metadata(&self) -> Option<&OffsetMetadata> {
        self.metadata.as_ref()
    }

    pub(crate) fn are_new(&self) -> bool {
        self.is_new
    }

    /// Takes the identity that an input has now. Returns the one that its offset was committed with, if
    /// that is of another topic.
    pub(crate) fn identify(&mut self, input: TopicId, id: &str) -> Option<String> {
        let known = self.input_ids.insert(input, id.to_owned())?;
        is_other_topic(&known, id).then_some(known)
    }

    /// Forgets what was committed of an input, whose name is given.
    pub(crate) fn forget(&mut self, input: TopicId, name: &str) {
        self.committed.remove(&input);
        self.died.remove(&input);
        if let Some(metadata) = &mut self.metadata {
            metadata.inputs.retain(|known| known != name);
        }
    }

    /// Where the task begins to read, and what is committed with that.
    pub(crate) fn start_at(
        &mut self,
        positions: BTreeMap<TopicId, Offset>,
        metadata: OffsetMetadata,
    ) {
        self.positions = positions;
        self.start_metadata = Some(metadata);
    }

    /// The next record of each input that may be committed: none behind one that waits for a guard.
    pub(super) fn committable<'a>(
        &'a self,
        guards: &'a Guards,
    ) -> impl Iterator<Item = (TopicId, Offset)> + 'a {
        self.positions.iter().map(|(topic, position)| {
            let held = guards.first_held(*topic);
            (*topic, held.map_or(*position, |held| held.min(*position)))
        })
    }

    /// Whether more may be committed than is.
    pub(super) fn are_ahead(&self, guards: &Guards) -> bool {
        match guards.is_empty() {
            true => self.positions != self.committed,
            false => {
                let committed = self.committed.iter().map(|(topic, at)| (*topic, *at));
                !self.committable(guards).eq(committed)
            }
        }
    }

    /// What is committed with the offset of an input. `table_end` is how far the group topic is known to
    /// reach; `None` in a group without one.
    pub(super) fn commit_text(
        &self,
        input: TopicId,
        offset: Offset,
        table_end: Option<Offset>,
    ) -> String {
        let Some(metadata) = self.start_metadata.as_ref().or(self.metadata.as_ref()) else {
            return String::new();
        };
        // A record that is handled has ended no process.
        let died = self.died.get(&input).filter(|died| died.offset >= offset);
        let of_input = OffsetMetadata {
            input_id: self.input_ids.get(&input).cloned(),
            died: died.cloned(),
            table_end: metadata.table_end.max(table_end),
            ..metadata.clone()
        };
        of_input.to_string()
    }

    /// Whether the process died of a record so often that it is not handled again.
    pub(crate) fn has_died_of(&self, input: TopicId, offset: Offset) -> bool {
        let died = self.died.get(&input);
        died.is_some_and(|died| died.offset == offset && died.is_final())
    }

    /// The group has an offset of an input.
    pub(super) fn commit(&mut self, input: TopicId, offset: Offset) {
        self.committed.insert(input, offset);
    }

    /// The group has the start offsets.
    pub(super) fn started(&mut self) {
        if let Some(metadata) = self.start_metadata.take() {
            self.metadata = Some(metadata);
        }
    }

    /// Reads again from what is committed.
    pub(super) fn rewind(&mut self) {
        self.positions.clone_from(&self.committed);
    }
}

#[cfg(test)]
mod tests;
