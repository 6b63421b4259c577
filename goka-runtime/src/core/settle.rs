//! The barrier, at least once: what is settled, and what each outcome does to each task
//! (CORRECTNESS: "When it fails"). Part of [`Core`].

use super::event::{Cause, CopyId, Effect, Now};
use super::overlay::Layers;
use super::task::{State, Task};
use super::{BARRIER_APPENDS, BARRIER_BYTES, Core, FLUSH_TRIES, RETRY, visit};
use crate::log::{Acked, Failure, LogError, Settlement, Unit, UnitId};
use crate::record::TaskId;
use crate::table::StoreError;

impl Core {
    pub(super) fn barrier_if_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (appends, bytes) = self.appended;
        let full = appends >= BARRIER_APPENDS || bytes >= BARRIER_BYTES;
        let waits = self.retry_at.is_some_and(|retry| now.monotonic < retry);
        let starts = self
            .tasks
            .values()
            .any(|task| task.state == State::Starting);
        let due = now.monotonic >= self.last_barrier + self.plan.barrier;
        if full || ((due || starts) && !waits) {
            self.barrier(now, out);
        }
    }

    /// Begins a barrier over all tasks, unless one is under way or there is nothing to do.
    pub(super) fn barrier(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.settling.is_some() {
            return;
        }
        self.hand_over(out);
        self.last_barrier = now.monotonic;
        self.appended = (0, 0);
        let dirty: Vec<_> = self.tasks.values().filter(|task| task.is_dirty()).collect();
        if dirty.is_empty() {
            return;
        }
        let mut offsets = Vec::new();
        for task in dirty {
            for (topic, offset) in task.committable() {
                let metadata = task.commit_text(&self.plan, topic);
                offsets.push((task.id, topic, offset, metadata));
            }
        }
        self.unit += 1;
        let unit = Unit {
            id: UnitId(self.unit),
            offsets,
        };
        self.settling = Some(unit.clone());
        out.push(Effect::Settle(unit));
    }

    pub(super) fn settled(
        &mut self,
        now: Now,
        id: UnitId,
        mut settlement: Settlement,
        out: &mut Vec<Effect>,
    ) {
        let Some(unit) = self.settling.take().filter(|unit| unit.id == id) else {
            return;
        };
        self.retry_at = None;
        let mut tasks: Vec<TaskId> = unit.offsets.iter().map(|(task, ..)| *task).collect();
        let alive = |id: &TaskId| {
            let state = self.tasks.get(id).map(|task| task.state);
            matches!(state, Some(State::Running | State::Stopped))
        };
        tasks.extend(settlement.acks.keys().copied().filter(alive));
        tasks.sort_unstable();
        tasks.dedup();
        let (mut rebuild, mut failed) = (false, None);
        for id in tasks {
            let acked = settlement.acks.remove(&id).unwrap_or(Ok(Acked::default()));
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            match acked {
                Ok(acked) => match take_acks(task, acked) {
                    Acks::Level => {}
                    Acks::Foreign => reopen(task, out),
                },
                Err(Failure::Fenced(reason)) => {
                    let who = self.plan.group.instance.clone();
                    failed = Some(Cause::Member(LogError::Fenced { who, reason }));
                }
                Err(Failure::Lost(_)) => gone(task, out),
                Err(refused @ Failure::Refused { .. }) => {
                    task.rewind();
                    self.stop(id, Cause::Append(refused), out);
                    continue;
                }
                Err(failure) => {
                    tracing::warn!(task = id.partition, %failure, "produce failed, restoring");
                    rebuild = true;
                    reopen(task, out);
                    continue;
                }
            }
            let Some(outcome) = settlement.offsets.remove(&id) else {
                continue;
            };
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            match outcome {
                Ok(()) => {
                    let own = unit.offsets.iter().filter(|(of, ..)| *of == id);
                    for (_, topic, offset, metadata) in own {
                        task.committed.insert(*topic, *offset);
                        if let Some(cursor) = visit::noted(metadata) {
                            task.visited = Some((*offset, cursor));
                        }
                    }
                    task.commit_owed = false;
                    task.unknown = false;
                    task.last_commit = now.monotonic;
                    if task.state == State::Starting {
                        task.state = State::Running;
                        self.has_run = true;
                        let joined = task.joins.iter().map(|(t, l)| (*t, l.acknowledged()));
                        let inputs = task.positions.iter().map(|(t, o)| (*t, *o));
                        out.push(Effect::Fetch(id, inputs.chain(joined).collect()));
                    }
                }
                Err(Failure::Lost(_)) => gone(task, out),
                Err(Failure::Fenced(reason)) => {
                    let who = self.plan.group.instance.clone();
                    failed = Some(Cause::Member(LogError::Fenced { who, reason }));
                }
                Err(Failure::Refused { topic, reason, .. }) => {
                    failed = Some(Cause::Member(LogError::Refused {
                        what: format!("committing offsets of `{topic}`"),
                        reason,
                    }));
                }
                Err(failure) => {
                    tracing::debug!(task = id.partition, %failure, "offset commit is tried again");
                    task.commit_owed = true;
                    task.unknown = matches!(failure, Failure::Unknown(_));
                    self.retry_at = Some(now.monotonic + RETRY);
                }
            }
        }
        if rebuild {
            out.push(Effect::Rebuild);
        }
        self.pace(out);
        if let Some(cause) = failed {
            out.push(Effect::Fail(cause));
        }
    }

    pub(super) fn flush_all(&mut self, now: Now, closing: bool, out: &mut Vec<Effect>) {
        let waits = self.retry_at.is_some_and(|retry| now.monotonic < retry) && !closing;
        let mut tasks = std::mem::take(&mut self.tasks);
        for task in tasks.values_mut() {
            if !waits || task.flush_failures.is_empty() {
                self.flush_task(now, closing, task, out);
            }
        }
        self.tasks = tasks;
    }

    pub(super) fn flush_task(
        &self,
        now: Now,
        closing: bool,
        task: &mut Task,
        out: &mut Vec<Effect>,
    ) {
        for copy in task.copies(&self.plan) {
            let layers = task.layers_of(&self.plan, copy.table);
            if !layers.is_some_and(|layers| layers.can_freeze()) {
                continue;
            }
            let durability = task.durability(copy.table, now.monotonic, closing);
            if let Some(layers) = task.layers_of(&self.plan, copy.table) {
                out.push(Effect::Flush(copy, layers.freeze(now.wall, durability)));
            }
        }
    }

    pub(super) fn flushed(
        &mut self,
        now: Now,
        copy: CopyId,
        result: Result<(), StoreError>,
        out: &mut Vec<Effect>,
    ) {
        let id = copy.task;
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if let Some(layers) = task.layers_of(&self.plan, copy.table) {
            layers.flushed(result.is_ok());
        }
        match result {
            Ok(()) => {
                if task.reopens && task.layers.is_flushed() {
                    task.reopens = false;
                    out.push(Effect::Inspect(id, task.epoch));
                }
                task.flush_failures.remove(&copy.table);
            }
            Err(error) => {
                let failures = task.flush_failures.entry(copy.table).or_default();
                *failures += 1;
                let failures = *failures;
                self.retry_at = Some(now.monotonic + RETRY);
                if failures == 1 {
                    tracing::warn!(task = id.partition, %error, "store flush failed, retrying");
                }
                if failures >= FLUSH_TRIES {
                    self.stop(id, Cause::Store(error), out);
                }
            }
        }
        self.pace(out);
    }

    /// A store went back behind what the layers count on: all of them are dropped, since the
    /// changelog has what was acknowledged, and the inputs what was not.
    pub(super) fn regressed(&mut self, copy: CopyId, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(&copy.task) else {
            return;
        };
        if let Some(layers) = task.layers_of(&self.plan, copy.table) {
            *layers = Layers::default();
        }
        task.flush_failures.remove(&copy.table);
        if matches!(task.state, State::Running | State::Starting) {
            reopen(task, out);
        } else if task.state == State::Inspecting && std::mem::take(&mut task.reopens) {
            out.push(Effect::Inspect(copy.task, task.epoch));
        }
        self.pace(out);
    }
}

enum Acks {
    /// Every changelog record lies where it was expected.
    Level,
    /// Another writer's lie between.
    Foreign,
}

fn take_acks(task: &mut Task, acked: Acked) -> Acks {
    let made = std::mem::take(&mut task.updates);
    task.appended = false;
    match acked.changelog {
        None if made == 0 => Acks::Level,
        None => Acks::Foreign,
        Some((first, last, count))
            if first == task.layers.acknowledged()
                && last - first + 1 == made as i64
                && count == made =>
        {
            task.layers.acknowledge(last + 1);
            Acks::Level
        }
        Some((first, ..)) => {
            let (partition, expected) = (task.id.partition, task.layers.acknowledged());
            tracing::warn!(
                partition,
                first,
                expected,
                "another writer in the group topic, restoring"
            );
            Acks::Foreign
        }
    }
}

/// Somebody else owns the task: nothing of it is ours to finish.
fn gone(task: &mut Task, out: &mut Vec<Effect>) {
    if task.state == State::Running {
        out.push(Effect::Release(task.id));
    }
    task.rewind();
    task.state = State::Gone;
}

/// The overlay's fate is not known: it is dropped, the memtable flushed, the copy restored from its
/// own offset, and the inputs read again from what is committed.
fn reopen(task: &mut Task, out: &mut Vec<Effect>) {
    if task.state == State::Running {
        out.push(Effect::Release(task.id));
    }
    task.rewind();
    if task.state == State::Stopped {
        return;
    }
    // Joined tables are read again from where their stores are.
    task.joins
        .values_mut()
        .for_each(|layers| *layers = Layers::default());
    task.state = State::Inspecting;
    if task.layers.is_flushed() {
        out.push(Effect::Inspect(task.id, task.epoch));
    } else {
        task.reopens = true;
    }
}
