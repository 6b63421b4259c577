//! The durable half of a member: gathers appends as chunks in memory, and writes them with the
//! offsets of a batch in one transaction. A member that is out of the group, or does not own a task,
//! writes nothing for it: a zombie cannot be seen here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::chunk::Run;
use super::member::EmbeddedMember;
use super::rows::{NewOffset, NotWritten, TopicRow};
use super::shared::{Turn, now_millis};
use crate::log::{CommitBatch, CommitOutcome, Committer, Failure, Sent, TaskAcks};
use crate::record::{AppendKind, Appends, Guarantee, Offset, TaskId, TopicId};

/// Where a task's records of one kind go: kept apart from other tasks' so that one task can fail alone.
type Lane = (u32, TaskId, bool);

/// The appends of a member since its last commit.
#[derive(Default)]
pub(super) struct Pending {
    runs: BTreeMap<Lane, Run>,
    refused: BTreeMap<TaskId, Failure>,
}

impl Pending {
    /// Drops what tasks appended and did not commit.
    pub(super) fn forget(&mut self, tasks: &[TaskId]) {
        self.runs.retain(|(_, task, _), _| !tasks.contains(task));
        self.refused.retain(|task, _| !tasks.contains(task));
    }

    /// Drops everything; returns the number of records.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = std::mem::take(self).runs;
        dropped.values().map(|run| run.count).sum()
    }

    fn tasks(&self) -> BTreeSet<TaskId> {
        let written = self.runs.keys().map(|(_, task, _)| *task);
        let refused = self.refused.keys().copied();
        written.chain(refused).collect()
    }

    /// What was written of each task, at these offsets; nothing is pending any more.
    fn acks(&mut self, bases: Vec<Offset>) -> BTreeMap<TaskId, TaskAcks> {
        let changelogs = std::mem::take(&mut self.runs).into_iter().zip(bases);
        let changelogs = changelogs.filter(|(((.., is_changelog), _), _)| *is_changelog);
        let acks = changelogs.map(|(((_, task, _), run), base)| {
            let last = base + Offset::try_from(run.count).unwrap_or(Offset::MAX) - 1;
            let changelog = (run.count > 0).then_some((base, last, run.count));
            let markers = 0;
            (task, TaskAcks { changelog, markers })
        });
        acks.collect()
    }
}

impl EmbeddedMember {
    /// The handle that a record goes to, or why the log does not take it.
    fn admit(&mut self, topic: TopicId, record: &Sent<'_>) -> Result<u32, String> {
        let place = self.place(topic);
        let place = place.ok_or_else(|| "the topic does not exist".to_owned())?;
        if let Some(reason) = record.refusal(place.compact, place.max_message_bytes) {
            return Err(reason);
        }
        let partition = record.partition;
        place
            .handle(partition)
            .ok_or_else(|| format!("the topic has no partition {partition}"))
    }

    fn place(&mut self, topic: TopicId) -> Option<Arc<TopicRow>> {
        let known = &mut self.places[usize::from(topic.0)];
        if known.is_none() {
            let state = self.log.shared().state();
            *known = state.topics.get(self.group.topic(topic)).cloned();
        }
        known.clone()
    }
}

impl Committer for EmbeddedMember {
    fn append(&mut self, appends: &Appends) {
        for append in appends.iter() {
            if self.pending.refused.contains_key(&append.task) {
                continue;
            }
            let topic = self.group.topic(append.topic).clone();
            let record = Sent::of(&append, &topic).stamped(now_millis());
            match self.admit(append.topic, &record) {
                Ok(handle) => {
                    let lane = (handle, append.task, append.kind == AppendKind::Changelog);
                    self.pending.runs.entry(lane).or_default().push(&record);
                }
                Err(reason) => {
                    let failure = Failure::refused(&topic, append.key, reason);
                    self.pending.forget(&[append.task]);
                    self.pending.refused.insert(append.task, failure);
                }
            }
        }
    }

    fn commit(&mut self, batch: &CommitBatch, deadline: Instant) -> CommitOutcome {
        let mut tasks = self.pending.tasks();
        tasks.extend(batch.offsets.iter().map(|(task, ..)| *task));
        let mut bad = self.failures(&tasks);
        let shared = self.shared().clone();
        let written = match shared.turn(deadline) {
            Ok(turn) => self.write(&turn, batch, &bad),
            // The commit did not happen, and all appends are kept.
            Err(error) => {
                bad.clear();
                Err(NotWritten::Nothing(error))
            }
        };
        self.end_commit();
        let appended = self.pending.tasks();
        let written = written.map(|bases| self.pending.acks(bases));
        let written = written.map_err(|not| self.failure(not));
        let mut outcome = CommitOutcome::default();
        for task in tasks {
            let ack = match (bad.get(&task), &written) {
                (Some(failure), _) => Err(failure.clone()),
                (None, _) if !appended.contains(&task) => continue,
                (None, Ok(acks)) => Ok(acks.get(&task).copied().unwrap_or_default()),
                (None, Err(failure)) => Err(failure.clone()),
            };
            outcome.acks.insert(task, ack);
        }
        for (task, ..) in &batch.offsets {
            let committed = match bad.get(task) {
                None => written.as_ref().map(drop).map_err(Failure::clone),
                Some(lost @ Failure::Lost(_)) => Err(lost.clone()),
                Some(_) => continue,
            };
            outcome.offsets.insert(*task, committed);
        }
        outcome
    }

    fn abort(&mut self, _deadline: Instant) -> Result<(), Failure> {
        // Nothing is written before the commit.
        self.pending.clear();
        Ok(())
    }
}

impl EmbeddedMember {
    /// Writes the appends and the offsets of the tasks that are not `bad`; returns the offset of each run.
    fn write(
        &mut self,
        turn: &Turn<'_>,
        batch: &CommitBatch,
        bad: &BTreeMap<TaskId, Failure>,
    ) -> Result<Vec<Offset>, NotWritten> {
        let is_good = |task: &TaskId| !bad.contains_key(task);
        self.pending.runs.retain(|(_, task, _), _| is_good(task));
        self.pending.refused.clear();
        let offsets = batch.offsets.iter().filter(|(task, ..)| is_good(task));
        let offsets = offsets.map(|(task, topic, offset, metadata)| NewOffset {
            group: &self.group.name,
            topic: self.group.topic(*topic),
            partition: task.partition,
            offset: *offset,
            metadata,
        });
        let offsets: Vec<_> = offsets.collect();
        let lanes = self.pending.runs.iter();
        let lanes: Vec<_> = lanes.map(|((handle, ..), run)| (*handle, run)).collect();
        match lanes.is_empty() && offsets.is_empty() {
            true => Ok(Vec::new()),
            false => self.shared().append(turn, &lanes, offsets),
        }
    }

    fn end_commit(&self) {
        let (id, now) = (self.id(), Instant::now());
        let mut state = self.shared().state();
        state.group(&self.group.name, |group, _| group.end_commit(id, now));
    }

    /// The failure of a write; what may have been written is not pending any more.
    fn failure(&mut self, not: NotWritten) -> Failure {
        if let NotWritten::Unknown(error) = &not {
            self.pending.runs.clear();
            if self.group.guarantee == Guarantee::ExactlyOnce {
                // The next member reads in the file what happened.
                return Failure::Fatal(error.to_string());
            }
        }
        not.into()
    }

    /// The tasks of the batch that cannot be committed; the others stay owned until the commit ends.
    fn failures(&self, tasks: &BTreeSet<TaskId>) -> BTreeMap<TaskId, Failure> {
        let mut bad = self.pending.refused.clone();
        let mut state = self.shared().state();
        state.group(&self.group.name, |group, partitions| {
            let owned = group.begin_commit(self.id(), Instant::now(), partitions);
            for task in tasks {
                let slot = self.group.place(task.lead, task.partition);
                let why = match owned {
                    None => "this member was silent for longer than the session, the group went on without it",
                    Some(owned) if !owned.contains_key(&slot) => "this member does not own the task",
                    Some(_) => continue,
                };
                bad.insert(*task, Failure::Lost(why.to_owned()));
            }
        });
        bad
    }
}
