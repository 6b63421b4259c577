//! One task: a partition of the table with all its inputs, from assignment to its end.
//!
//! `Inspecting -> Restoring -> Starting -> Running -> (Stopped)`; a failed barrier leads back to
//! `Inspecting`. The core decides when; this file holds what a task is, `handle.rs` what records do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::deaths::Died;
use super::flush::Flushes;
use super::ids::CopyId;
use super::metadata::{OffsetMetadata, newer_version};
use super::place::Place;
use super::plan::Plan;
use super::table_buffer::TableBuffer;
use super::visit::Visit;
use crate::log::{Assignment, Epoch};
use crate::record::{Offset, TaskId, TopicId};

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for what is known of its copy and its topics.
    Inspecting,
    /// Its copy is brought up to the end of the group topic.
    Restoring,
    /// Its start offsets are being committed: before that, a crash would look like lost offsets.
    Starting,
    /// Its start offsets are committed; whether another program uses the group's name is looked up.
    Verifying,
    /// Its inputs are fetched and handled.
    Running,
    /// It failed; its offsets stay where they were.
    Stopped,
    /// Somebody else owns it, though the log has not said so yet.
    Gone,
}

/// A store that cannot be read now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unreadable {
    pub(crate) since: Duration,
    /// When the record is handled again, if it `waits` for that.
    pub(crate) retry_at: Duration,
    pub(crate) waits: bool,
}

/// A handled record whose commit waits for a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) topic: TopicId,
    pub(crate) offset: Offset,
    /// The record's key, for whoever is told that the guard failed.
    pub(crate) key: String,
}

pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) epoch: Epoch,
    pub(crate) state: State,
    pub(crate) layers: TableBuffer,
    /// What is known of each joined table beyond its store.
    pub(crate) joins: BTreeMap<TopicId, TableBuffer>,
    /// The copies that are still being restored.
    pub(crate) restoring: BTreeSet<TopicId>,
    /// Handled records whose commit waits for a guard.
    pub(crate) deferred: BTreeMap<u64, Held>,
    /// The number of the next guard; never used twice by one assignment.
    pub(crate) guards: u64,
    /// The walk under way.
    pub(crate) visit: Option<Visit>,
    /// Where the walk that the group committed last had come to.
    pub(crate) visited: Option<(Offset, Place)>,
    /// The next record of each input to handle.
    pub(crate) positions: BTreeMap<TopicId, Offset>,
    /// The next record of each input, as the group has it.
    pub(crate) committed: BTreeMap<TopicId, Offset>,
    /// What the group has with the offsets.
    pub(crate) metadata: Option<OffsetMetadata>,
    /// The identity of each input: at first as it was when its offset was committed.
    pub(crate) input_ids: BTreeMap<TopicId, String>,
    /// The record of each input whose handler ended the process.
    pub(crate) died: BTreeMap<TopicId, Died>,
    /// What it will have with the next ones; apart from `metadata`, for a task that is inspected again before
    /// its start offsets are committed.
    pub(crate) next_metadata: Option<OffsetMetadata>,
    /// The input whose offset a newer build committed, and the version of what it left there. Such a
    /// task stops, and commits nothing at all.
    pub(crate) newer: Option<(TopicId, String)>,
    /// Whether the group had committed nothing for it when it was assigned.
    pub(crate) is_new: bool,
    /// Its commit is owed even if no position moved.
    pub(crate) commit_owed: bool,
    /// Whether the outcome of its commit is not known yet.
    pub(crate) unknown: bool,
    pub(crate) last_commit: Duration,
    /// How many changelog records were made since the last barrier.
    pub(crate) updates: u64,
    /// Whether it appended anything since the last barrier.
    pub(crate) appended: bool,
    /// How the flushes of each copy stand.
    pub(crate) flushes: BTreeMap<TopicId, Flushes>,
    /// A store could not be read.
    pub(crate) unreadable: Option<Unreadable>,
    /// The copy that a handler could not read last.
    pub(crate) unread_copy: Option<CopyId>,
    /// How many of its copies were damaged while it ran.
    pub(crate) damaged: u32,
    /// Its store is given up: what is acknowledged stays in the changelog alone.
    pub(crate) is_storeless: bool,
    /// It is inspected again once its memtable is flushed.
    pub(crate) reopens: bool,
}

impl Task {
    pub(crate) fn new(assignment: &Assignment, now: Duration) -> Self {
        let noted = assignment.committed.iter();
        let mut noted: Vec<_> = noted
            .filter_map(|(topic, committed)| {
                Some((*topic, OffsetMetadata::parse(&committed.metadata)?))
            })
            .collect();
        let input_ids = noted
            .iter_mut()
            .filter_map(|(topic, metadata)| Some((*topic, metadata.input_id.take()?)))
            .collect();
        let died = noted
            .iter_mut()
            .filter_map(|(topic, metadata)| Some((*topic, metadata.died.take()?)))
            .collect();
        let metadata = noted.into_iter().next().map(|(_, metadata)| metadata);
        let newer = assignment.committed.iter().find_map(|(topic, committed)| {
            Some((*topic, newer_version(&committed.metadata)?.to_owned()))
        });
        let committed: BTreeMap<_, _> = assignment
            .committed
            .iter()
            .map(|(topic, committed)| (*topic, committed.offset))
            .collect();
        Self {
            id: assignment.task,
            epoch: assignment.epoch,
            state: State::Inspecting,
            layers: TableBuffer::default(),
            joins: BTreeMap::new(),
            restoring: BTreeSet::new(),
            deferred: BTreeMap::new(),
            guards: 0,
            visit: None,
            visited: None,
            positions: BTreeMap::new(),
            committed,
            next_metadata: metadata.clone(),
            metadata,
            input_ids,
            newer,
            is_new: assignment.committed.is_empty(),
            died,
            commit_owed: false,
            unknown: false,
            last_commit: now,
            updates: 0,
            appended: false,
            flushes: BTreeMap::new(),
            unreadable: None,
            unread_copy: None,
            damaged: 0,
            is_storeless: false,
            reopens: false,
        }
    }

    /// Whether a barrier has something to do for it.
    pub(crate) fn is_dirty(&self) -> bool {
        match self.state {
            State::Starting => true,
            State::Running | State::Stopped => {
                self.updates > 0 || self.appended || self.commit_owed || self.is_ahead()
            }
            State::Inspecting | State::Restoring | State::Verifying | State::Gone => false,
        }
    }

    /// Whether more may be committed than is.
    fn is_ahead(&self) -> bool {
        match self.deferred.is_empty() {
            true => self.positions != self.committed,
            false => self.committable() != self.committed,
        }
    }

    /// The next record of each input that may be committed: none past one that waits for a guard.
    pub(crate) fn committable(&self) -> BTreeMap<TopicId, Offset> {
        let mut offsets = self.positions.clone();
        for Held { topic, offset, .. } in self.deferred.values() {
            if let Some(next) = offsets.get_mut(topic) {
                *next = (*next).min(*offset);
            }
        }
        offsets
    }

    /// Where its inputs and joined tables are read from.
    pub(crate) fn intake(&self) -> Vec<(TopicId, Offset)> {
        let joined = self.joins.iter().map(|(t, l)| (*t, l.acknowledged()));
        let inputs = self.positions.iter().map(|(t, o)| (*t, *o));
        inputs.chain(joined).collect()
    }

    /// What is committed with the offset of an input.
    pub(crate) fn commit_text(&self, plan: &Plan, topic: TopicId, offset: Offset) -> String {
        let mut metadata = self.next_metadata.clone();
        if let Some(metadata) = &mut metadata {
            metadata.input_id = self.input_ids.get(&topic).cloned();
            metadata.died = self.died_at_or_after(topic, offset).cloned();
            if plan.table.is_some() {
                metadata.table_end = metadata.table_end.max(Some(self.layers.acknowledged()));
            }
        }
        let text = metadata.map(|metadata| metadata.to_string());
        let text = text.unwrap_or_default();
        let is_visits = plan.visits.as_ref().is_some_and(|v| v.topic == topic);
        match (&self.visit, &self.visited) {
            (Some(visit), _) if is_visits => visit.note(text, self.is_held(topic)),
            // Not begun again yet: the place is kept.
            (None, Some((offset, place)))
                if is_visits && self.positions.get(&topic) == Some(offset) =>
            {
                place.note(text)
            }
            _ => text,
        }
    }

    /// The layers of a copy.
    pub(crate) fn buffer_of(&mut self, plan: &Plan, table: TopicId) -> Option<&mut TableBuffer> {
        match &plan.table {
            Some(own) if own.topic == table => Some(&mut self.layers),
            _ => self.joins.get_mut(&table),
        }
    }

    /// Whether everything acknowledged of its own table is in the store.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_storeless || self.layers.is_flushed()
    }

    /// Whether handlers left work behind that counts.
    pub(crate) fn has_guards(&self) -> bool {
        self.state == State::Running && !self.deferred.is_empty()
    }

    /// Whether it wrote anything since the last barrier.
    pub(crate) fn has_written(&self) -> bool {
        self.appended || self.updates > 0
    }

    /// Whether a guard holds back records, and something that was written since.
    pub(crate) fn is_guarded(&self) -> bool {
        !self.deferred.is_empty() && self.has_written()
    }

    /// Whether its records wait for a store that cannot be read.
    pub(crate) fn awaits_store(&self) -> bool {
        self.unreadable.is_some_and(|trouble| trouble.waits)
    }

    /// Whether a walk of it can go on.
    pub(crate) fn walks(&self) -> bool {
        self.visit.is_some() && self.state == State::Running && !self.awaits_store()
    }

    /// Nothing is written to its store any more.
    pub(crate) fn give_up_store(&mut self) {
        self.is_storeless = true;
        self.layers = TableBuffer::default();
        self.joins
            .values_mut()
            .for_each(|layers| *layers = TableBuffer::default());
    }

    /// Whether a guard holds back records of a topic.
    pub(crate) fn is_held(&self, topic: TopicId) -> bool {
        self.deferred.values().any(|held| held.topic == topic)
    }

    /// Whether any of its copies has something for its store.
    pub(crate) fn can_flush(&self) -> bool {
        let mut layers = std::iter::once(&self.layers).chain(self.joins.values());
        layers.any(TableBuffer::can_flush)
    }

    /// All copies of the task.
    pub(crate) fn copies(&self, plan: &Plan) -> Vec<CopyId> {
        let own = plan.table.as_ref().map(|table| table.topic);
        let tables = own.into_iter().chain(self.joins.keys().copied());
        tables
            .map(|table| CopyId {
                task: self.id,
                table,
            })
            .collect()
    }

    /// Drops what is not acknowledged; the inputs are to be read again from what is committed.
    pub(crate) fn rewind(&mut self) {
        if !mutant!(OverlayKept) {
            self.layers.drop_overlay();
        }
        if std::mem::take(&mut self.updates) > 0 {
            self.layers.expect_anything();
        }
        self.appended = false;
        self.positions = self.committed.clone();
        self.deferred.clear();
        self.visit = None;
        self.unknown = false;
    }
}
