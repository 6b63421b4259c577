//! The durable half of a member: gathers appends as chunks in memory, and writes them with the
//! offsets of a batch in one transaction. A member that is out of the group, or does not own a task,
//! writes nothing for it: a zombie cannot be seen here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::chunk::Run;
use super::rows::{NewOffset, NotWritten, TopicRow};
use super::shared::{Shared, now_millis};
use crate::log::balance::Slot;
use crate::log::seats::MemberId;
use crate::log::{CommitBatch, CommitOutcome, Committer, Failure, Group, LogError, Sent, TaskAcks};
use crate::record::{AppendKind, Appends, Guarantee, Offset, TaskId, TopicId};

/// Where a task's records of one kind go: kept apart from other tasks' so that one task can fail alone.
type Lane = (u32, TaskId, bool);

/// The appends of a member since its last commit.
#[derive(Debug, Default)]
struct Pending {
    runs: BTreeMap<Lane, Run>,
    refused: BTreeMap<TaskId, Failure>,
}

#[derive(Debug)]
pub(super) struct EmbeddedCommitter {
    shared: Arc<Shared>,
    group: Arc<Group>,
    pub(super) id: MemberId,
    places: Vec<Option<Arc<TopicRow>>>,
    pending: Pending,
}

impl EmbeddedCommitter {
    pub(super) fn new(shared: Arc<Shared>, group: Arc<Group>, id: MemberId) -> Self {
        let places = vec![None; group.topics.len()];
        Self {
            shared,
            group,
            id,
            places,
            pending: Pending::default(),
        }
    }

    /// Drops what tasks appended and did not commit.
    pub(super) fn forget(&mut self, tasks: &[TaskId]) {
        self.pending
            .runs
            .retain(|(_, task, _), _| !tasks.contains(task));
        self.pending.refused.retain(|task, _| !tasks.contains(task));
    }

    /// Drops everything that was appended and not committed; returns the number of records.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = self.pending.runs.values().map(|run| run.count).sum();
        self.pending = Pending::default();
        dropped
    }

    /// The handle that a record goes to, or why the log does not take it.
    fn admit(&mut self, topic: TopicId, record: &Sent<'_>) -> Result<u32, String> {
        let place = self.place(topic);
        let place = place.ok_or_else(|| "the topic does not exist".to_owned())?;
        if let Some(reason) = place.refusal(record) {
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
            *known = self.shared.state().topic(self.group.topic(topic));
        }
        known.clone()
    }

    fn slot(&self, task: TaskId) -> Slot {
        (self.group.topic(task.lead).clone(), task.partition)
    }
}

impl Committer for EmbeddedCommitter {
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
                    let failure = Failure::Refused {
                        topic: topic.to_string(),
                        key: String::from_utf8_lossy(append.key.unwrap_or_default()).into_owned(),
                        reason,
                    };
                    self.forget(&[append.task]);
                    self.pending.refused.insert(append.task, failure);
                }
            }
        }
    }

    fn commit(&mut self, batch: &CommitBatch, deadline: Instant) -> CommitOutcome {
        let shared = self.shared.clone();
        let mut tasks = self.appended();
        tasks.extend(batch.offsets.iter().map(|(task, ..)| *task));
        let bad = self.failures(&tasks);
        let turn = match shared.turn(deadline) {
            Ok(turn) => turn,
            Err(error) => {
                self.end_commit();
                return self.put_off(batch, &error);
            }
        };
        self.pending
            .runs
            .retain(|(_, task, _), _| !bad.contains_key(task));
        self.pending.refused.clear();
        let offsets = batch.offsets.iter();
        let offsets = offsets.filter(|(task, ..)| !bad.contains_key(task));
        let offsets = offsets.map(|(task, topic, offset, metadata)| NewOffset {
            group: &self.group.name,
            topic: self.group.topic(*topic),
            partition: task.partition,
            offset: *offset,
            metadata,
        });
        let offsets: Vec<_> = offsets.collect();
        let lanes = self.pending.runs.iter();
        let lanes = lanes.map(|((handle, ..), run)| (*handle, run));
        let lanes: Vec<(u32, &Run)> = lanes.collect();
        let written = match lanes.is_empty() && offsets.is_empty() {
            true => Ok(Vec::new()),
            false => shared.append(&turn, &lanes, offsets),
        };
        drop(turn);
        self.end_commit();
        let appended = self.appended();
        let written = written.map(|bases| self.acks(bases));
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
        self.clear();
        Ok(())
    }
}

impl EmbeddedCommitter {
    fn appended(&self) -> BTreeSet<TaskId> {
        let written = self.pending.runs.keys().map(|(_, task, _)| *task);
        let refused = self.pending.refused.keys().copied();
        written.chain(refused).collect()
    }

    fn end_commit(&self) {
        let (id, now) = (self.id, Instant::now());
        let mut state = self.shared.state();
        state.group(&self.group.name, |group, _| group.end_commit(id, now));
    }

    /// What was written of each task, at these offsets; nothing is pending any more.
    fn acks(&mut self, bases: Vec<Offset>) -> BTreeMap<TaskId, TaskAcks> {
        let runs = std::mem::take(&mut self.pending.runs).into_iter();
        let changelogs = runs.zip(bases);
        let changelogs = changelogs.filter(|(((.., is_changelog), _), _)| *is_changelog);
        let acks = changelogs.map(|(((_, task, _), run), base)| {
            let last = base + Offset::try_from(run.count).unwrap_or(Offset::MAX) - 1;
            let changelog = (run.count > 0).then_some((base, last, run.count));
            let markers = 0;
            (task, TaskAcks { changelog, markers })
        });
        acks.collect()
    }

    /// The failure of a write; what may have been written is not pending any more.
    fn failure(&mut self, not: NotWritten) -> Failure {
        match not {
            NotWritten::Nothing(error) => Failure::Retriable(error.to_string()),
            NotWritten::Unknown(error) => {
                self.pending.runs.clear();
                match self.group.guarantee {
                    Guarantee::AtLeastOnce => Failure::Unknown(error.to_string()),
                    // The next member reads in the file what happened.
                    Guarantee::ExactlyOnce => Failure::Fatal(error.to_string()),
                }
            }
        }
    }

    /// The tasks of the batch that cannot be committed; the others stay owned until the commit ends.
    fn failures(&self, tasks: &BTreeSet<TaskId>) -> BTreeMap<TaskId, Failure> {
        let mut bad = self.pending.refused.clone();
        let mut state = self.shared.state();
        state.group(&self.group.name, |group, partitions| {
            let owned = group.begin_commit(self.id, Instant::now(), partitions);
            for task in tasks {
                let why = match owned {
                    None => "this member was silent for longer than the session, the group went on without it",
                    Some(owned) if !owned.contains_key(&self.slot(*task)) => "this member does not own the task",
                    Some(_) => continue,
                };
                bad.insert(*task, Failure::Lost(why.to_owned()));
            }
        });
        bad
    }

    /// The outcome of a commit that did not happen; all appends are kept.
    fn put_off(&self, batch: &CommitBatch, error: &LogError) -> CommitOutcome {
        let failure = Failure::Retriable(error.to_string());
        let acks = self.appended().into_iter();
        let offsets = batch.offsets.iter();
        CommitOutcome {
            acks: acks.map(|task| (task, Err(failure.clone()))).collect(),
            offsets: offsets
                .map(|(task, ..)| (*task, Err(failure.clone())))
                .collect(),
        }
    }
}
