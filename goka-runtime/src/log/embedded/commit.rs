//! The durable half of a member: gathers appends as chunks in memory, and writes them with the
//! offsets of a batch in one transaction. A member that is out of the group, or does not own a task,
//! writes nothing for it: a zombie cannot be seen here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::chunk::{Content, Run};
use super::rows::{NewOffset, NotWritten};
use super::shared::Shared;
use super::state::Place;
use crate::log::balance::Slot;
use crate::log::seats::MemberId;
use crate::log::{CommitBatch, CommitOutcome, Committer, Failure, Group, LogError, TaskAcks};
use crate::record::{Append, AppendKind, Appends, Guarantee, Offset, TaskId, TopicId};

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
    places: Vec<Option<Place>>,
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
    fn admit(&mut self, append: &Append<'_>, content: &Content<'_>) -> Result<u32, String> {
        let place = match self.place(append.topic) {
            Some(place) => place,
            None => return Err("the topic does not exist".to_owned()),
        };
        refusal(&place, content)?;
        let partition = append.partition;
        place
            .handle(partition)
            .ok_or_else(|| format!("the topic has no partition {partition}"))
    }

    fn place(&mut self, topic: TopicId) -> Option<Place> {
        let known = &mut self.places[usize::from(topic.0)];
        if known.is_none() {
            *known = self.shared.state().place(self.group.topic(topic));
        }
        *known
    }

    fn slot(&self, task: TaskId) -> Slot {
        (self.group.topic(task.lead).clone(), task.partition)
    }
}

/// Why a topic does not take a record for good.
pub(super) fn refusal(place: &Place, content: &Content<'_>) -> Result<(), String> {
    if content.size() > place.max_message_bytes {
        let (size, most) = (content.size(), place.max_message_bytes);
        return Err(format!(
            "it has {size} bytes, the topic takes {most} (max.message.bytes)"
        ));
    }
    if place.compact && content.key.is_none() {
        return Err("a compacted topic takes no record without a key".to_owned());
    }
    Ok(())
}

impl Committer for EmbeddedCommitter {
    fn append(&mut self, appends: &Appends) {
        for append in appends.iter() {
            if self.pending.refused.contains_key(&append.task) {
                continue;
            }
            let content = Content {
                key: append.key,
                value: append.value,
                timestamp: match append.timestamp {
                    -1 => super::shared::now_millis(),
                    timestamp => timestamp,
                },
                headers: append.headers,
            };
            match self.admit(&append, &content) {
                Ok(handle) => {
                    let lane = (handle, append.task, append.kind == AppendKind::Changelog);
                    self.pending.runs.entry(lane).or_default().push(&content);
                }
                Err(reason) => {
                    let failure = Failure::Refused {
                        topic: self.group.topic(append.topic).to_string(),
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
        let group = self.group.name.clone();
        let tasks = self.tasks(batch);
        let bad = self.failures(&tasks);
        let id = self.id;
        let end_commit = || {
            let mut state = shared.state();
            state.group(&group, |group, _| group.end_commit(id, Instant::now()));
        };
        let turn = match shared.turn(deadline) {
            Ok(turn) => turn,
            Err(error) => {
                end_commit();
                return self.put_off(batch, &error);
            }
        };
        self.pending
            .runs
            .retain(|(_, task, _), _| !bad.contains_key(task));
        self.pending.refused.clear();
        let offsets = batch
            .offsets
            .iter()
            .filter(|(task, ..)| !bad.contains_key(task));
        let offsets = offsets.map(|(task, topic, offset, metadata)| NewOffset {
            group: &self.group.name,
            topic: self.group.topic(*topic),
            partition: task.partition,
            offset: *offset,
            metadata,
        });
        let offsets: Vec<_> = offsets.collect();
        let lanes: Vec<(u32, &Run)> = self
            .pending
            .runs
            .iter()
            .map(|((handle, ..), run)| (*handle, run))
            .collect();
        let written = match lanes.is_empty() && offsets.is_empty() {
            true => Ok(Vec::new()),
            false => shared.append(&turn, &lanes, offsets),
        };
        drop(turn);
        end_commit();
        let appended = self.appended();
        let mut outcome = self.answer(batch, &tasks, &appended, &bad);
        match written {
            Ok(bases) => {
                for (((_, task, is_changelog), run), base) in self.pending.runs.iter().zip(bases) {
                    if *is_changelog && run.count > 0 {
                        let last = base + Offset::try_from(run.count).unwrap_or(Offset::MAX) - 1;
                        let changelog = Some((base, last, run.count));
                        outcome.acks.insert(
                            *task,
                            Ok(TaskAcks {
                                changelog,
                                markers: 0,
                            }),
                        );
                    }
                }
                self.pending.runs.clear();
            }
            Err(not) => {
                let failure = match not {
                    NotWritten::Nothing(error) => Failure::Retriable(error.to_string()),
                    NotWritten::Unknown(error) => {
                        let why = error.to_string();
                        self.pending.runs.clear();
                        match self.group.guarantee {
                            Guarantee::AtLeastOnce => Failure::Unknown(why),
                            // The next member reads in the file what happened.
                            Guarantee::ExactlyOnce => Failure::Fatal(why),
                        }
                    }
                };
                for ack in outcome.acks.values_mut() {
                    if ack.is_ok() {
                        *ack = Err(failure.clone());
                    }
                }
                for offset in outcome
                    .offsets
                    .values_mut()
                    .filter(|outcome| outcome.is_ok())
                {
                    *offset = Err(failure.clone());
                }
            }
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

    fn tasks(&self, batch: &CommitBatch) -> BTreeSet<TaskId> {
        let mut tasks = self.appended();
        tasks.extend(batch.offsets.iter().map(|(task, ..)| *task));
        tasks
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

    fn answer(
        &self,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        appended: &BTreeSet<TaskId>,
        bad: &BTreeMap<TaskId, Failure>,
    ) -> CommitOutcome {
        let mut outcome = CommitOutcome::default();
        for task in tasks {
            let ack = match bad.get(task) {
                Some(failure) => Err(failure.clone()),
                None if appended.contains(task) => Ok(TaskAcks::default()),
                None => continue,
            };
            outcome.acks.insert(*task, ack);
        }
        for (task, ..) in &batch.offsets {
            match bad.get(task) {
                None => outcome.offsets.insert(*task, Ok(())),
                Some(lost @ Failure::Lost(_)) => outcome.offsets.insert(*task, Err(lost.clone())),
                Some(_) => None,
            };
        }
        outcome
    }

    /// The outcome of a commit that did not happen; all appends are kept.
    fn put_off(&self, batch: &CommitBatch, error: &LogError) -> CommitOutcome {
        let failure = Failure::Retriable(error.to_string());
        let acks = self.appended().into_iter();
        CommitOutcome {
            acks: acks.map(|task| (task, Err(failure.clone()))).collect(),
            offsets: batch
                .offsets
                .iter()
                .map(|(task, ..)| (*task, Err(failure.clone())))
                .collect(),
        }
    }
}
