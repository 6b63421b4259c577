//! The barrier: what is settled, and what each outcome does to each task (CORRECTNESS: "When it
//! fails"). At least once the overlay moves when its records are acknowledged, and the offsets are
//! committed until that is known; exactly once all of it is one transaction, and the overlay moves
//! when that is committed. Part of [`Core`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Effect, Now, StopReason};
use super::place::Place;
use super::table_buffer::TableBuffer;
use super::task::{State, Task};
use super::{BARRIER_APPENDS, BARRIER_BYTES, Core, RETRY};
use crate::log::{CommitBatch, CommitId, CommitOutcome, Epoch, Failure, LogError, TaskAcks};
use crate::record::{Guarantee, Offset, TaskId};

/// A barrier under way, with the assignments that it is of: an answer is for no later one.
#[derive(Debug)]
pub(super) struct Barrier {
    unit: CommitBatch,
    epochs: BTreeMap<TaskId, Epoch>,
    /// Its outcome was asked for and is not known.
    pub(super) in_doubt: bool,
}

/// What an outcome means for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// All of it is durable.
    Done,
    /// The records are; the offsets are committed again. Their outcome may be unknown.
    CommitAgain { unknown: bool },
    /// Nothing happened: read again from what is committed.
    Rewind,
    /// What happened is not known: the copy is restored first.
    Reopen,
    /// Somebody else owns the task.
    Gone,
    /// The log takes a record never: the task stops.
    Refused,
    /// The worker ends.
    End,
}

impl Next {
    fn of(
        guarantee: Guarantee,
        acks: &Result<TaskAcks, Failure>,
        offsets: Option<&Result<(), Failure>>,
    ) -> Self {
        let once = guarantee == Guarantee::ExactlyOnce;
        let (failure, appended) = match (acks, offsets) {
            (Err(failure), _) => (failure, false),
            (Ok(_), Some(Err(failure))) => (failure, true),
            (Ok(_), _) => return Next::Done,
        };
        match failure {
            Failure::InstanceFenced(_) | Failure::ProducerFenced(_) => Next::End,
            Failure::Fatal(_) if once => Next::End,
            Failure::Lost(_) => Next::Gone,
            Failure::Refused { .. } if appended => Next::End,
            Failure::Refused { .. } => Next::Refused,
            _ if once => Next::Rewind,
            _ if !appended => Next::Reopen,
            failure => Next::CommitAgain {
                unknown: matches!(failure, Failure::Unknown(_)),
            },
        }
    }
}

impl Core {
    pub(super) fn is_exactly_once(&self) -> bool {
        self.plan.group.guarantee == Guarantee::ExactlyOnce
    }

    /// Exactly once, half of what a transaction may take is left to the record in hand.
    fn barrier_interval(&self) -> Duration {
        match self.is_exactly_once() {
            true => (self.plan.barrier).min(self.plan.group.transaction_timeout / 2),
            false => self.plan.barrier,
        }
    }

    /// Whether so much was written that the barrier is not to wait for its time.
    pub(super) fn is_barrier_full(&self) -> bool {
        self.appended.0 >= BARRIER_APPENDS || self.appended.1 >= BARRIER_BYTES
    }

    pub(super) fn barrier_if_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let full = self.is_barrier_full();
        let waits = self.retry_at.is_some_and(|retry| now.monotonic < retry);
        let starts = self
            .tasks
            .values()
            .any(|task| task.state == State::Starting);
        let due = now.monotonic >= self.last_barrier + self.barrier_interval();
        if full || ((due || starts || self.turn.wants_barrier()) && !waits) {
            self.barrier(now, out);
        }
    }

    /// Begins a barrier over all tasks, unless one is under way or there is nothing to do. One whose
    /// outcome is not known is asked for again before anything else.
    pub(super) fn barrier(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.settling.is_some() {
            return;
        }
        if let Some(doubt) = self.doubt.take() {
            self.last_barrier = now.monotonic;
            out.push(Effect::Commit(doubt.unit.clone()));
            self.settling = Some(doubt);
            return;
        }
        self.hand_over(out);
        if self.awaits_guards(now, out) {
            return;
        }
        self.last_barrier = now.monotonic;
        self.appended = (0, 0);
        self.turn.barrier_begins();
        let dirty: Vec<_> = self.tasks.values().filter(|task| task.is_dirty()).collect();
        if dirty.is_empty() {
            return;
        }
        let epochs = dirty.iter().map(|task| (task.id, task.epoch)).collect();
        let mut offsets = Vec::new();
        for task in dirty {
            for (topic, offset) in task.committable() {
                let metadata = task.commit_text(&self.plan, topic, offset);
                offsets.push((task.id, topic, offset, metadata));
            }
        }
        self.unit += 1;
        let unit = CommitBatch {
            id: CommitId(self.unit),
            offsets,
        };
        out.push(Effect::Commit(unit.clone()));
        self.settling = Some(Barrier {
            unit,
            epochs,
            in_doubt: false,
        });
    }

    /// Exactly once, what a task wrote behind a guard is committed with the offset behind it, so the
    /// guard holds the whole barrier back; one that takes longer than the transaction may, aborts it.
    fn awaits_guards(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        if !self.is_exactly_once() || !self.tasks.values().any(Task::is_guarded) {
            self.guarded_since = None;
            return false;
        }
        let since = *self.guarded_since.get_or_insert(now.monotonic);
        let most = self.plan.group.transaction_timeout / 2;
        if now.monotonic.saturating_sub(since) < most {
            return true;
        }
        tracing::warn!(
            ?most,
            "what a handler deferred took too long for a transaction; its records are read again"
        );
        self.abort(out);
        self.guarded_since = None;
        false
    }

    /// Exactly once: drops everything since the last barrier, of all tasks, and reads it again. While
    /// it is not known whether that barrier is committed there is nothing to drop: nothing is handled
    /// since, and what may be committed cannot be aborted.
    pub(super) fn abort(&mut self, out: &mut Vec<Effect>) {
        if self.is_in_doubt() {
            return;
        }
        self.appends.clear();
        self.appended = (0, 0);
        for task in self.tasks.values_mut() {
            if task.is_dirty() || !task.deferred.is_empty() {
                rewind(task, out);
            }
        }
        out.push(Effect::Abort);
    }

    pub(super) fn settled(
        &mut self,
        now: Now,
        id: CommitId,
        mut settlement: CommitOutcome,
        out: &mut Vec<Effect>,
    ) {
        let Some(mut barrier) = self.settling.take_if(|barrier| barrier.unit.id == id) else {
            return;
        };
        self.retry_at = None;
        if self.is_exactly_once() && is_in_doubt(&settlement) {
            tracing::warn!("the outcome of a transaction is not known yet, asking again");
            self.retry_at = Some(now.monotonic + RETRY);
            barrier.in_doubt = true;
            self.doubt = Some(barrier);
            return self.pace(out);
        }
        let mut tasks: Vec<TaskId> = barrier.epochs.keys().copied().collect();
        let alive = |id: &TaskId| {
            let state = self.tasks.get(id).map(|task| task.state);
            matches!(state, Some(State::Running | State::Stopped))
        };
        tasks.extend(settlement.acks.keys().copied().filter(alive));
        tasks.sort_unstable();
        tasks.dedup();
        // Whoever is still here: the transaction is everybody's.
        let aborts = self.is_exactly_once() && is_refused(&settlement);
        let (mut rebuild, mut failed) = (false, None);
        for id in tasks {
            let acks = settlement
                .acks
                .remove(&id)
                .unwrap_or(Ok(TaskAcks::default()));
            let offsets = settlement.offsets.remove(&id);
            let is_old = |task: &Task| barrier.epochs.get(&id).is_some_and(|of| *of != task.epoch);
            let Some(task) = self.tasks.get_mut(&id).filter(|task| !is_old(task)) else {
                continue;
            };
            let next = Next::of(self.plan.group.guarantee, &acks, offsets.as_ref());
            let failure = acks.as_ref().err().cloned();
            let failure = failure.or_else(|| offsets.as_ref()?.as_ref().err().cloned());
            if let (Ok(acked), Next::Done | Next::CommitAgain { .. }) = (acks, next)
                && !take_acks(task, acked)
            {
                match task.state {
                    // Its offsets are committed; its copy is nobody's to read any more.
                    State::Stopped => task.give_up_store(),
                    _ => reopen(task, out),
                }
            }
            match (next, failure) {
                (Next::Done, _) => {
                    if offsets.is_some() {
                        let verifies = self.plan.verifies && !self.has_run;
                        self.has_run |= committed(task, now, &barrier.unit, verifies, out);
                    }
                }
                (Next::CommitAgain { unknown }, failure) => {
                    tracing::debug!(
                        task = id.partition,
                        ?failure,
                        "offset commit is tried again"
                    );
                    task.commit_owed = true;
                    task.unknown = unknown;
                    self.retry_at = Some(now.monotonic + RETRY);
                }
                (Next::Rewind, failure) => {
                    tracing::debug!(task = id.partition, ?failure, "reading the barrier again");
                    self.retry_at = Some(now.monotonic + RETRY);
                    rewind(task, out);
                }
                (Next::Reopen, failure) => {
                    tracing::info!(task = id.partition, ?failure, "produce failed, restoring");
                    rebuild = true;
                    reopen(task, out);
                }
                (Next::Gone, _) => {
                    gone(task, out);
                }
                (Next::Refused, failure) => {
                    task.rewind();
                    let failure = failure.unwrap_or_else(|| unreachable!("refused is a failure"));
                    self.stop(id, StopReason::Append(failure), out);
                }
                (Next::End, failure) => {
                    failed = failure.map(|failure| self.ends(failure));
                }
            }
        }
        if aborts && failed.is_none() {
            out.push(Effect::Abort);
        }
        if rebuild {
            out.push(Effect::Rebuild);
        }
        for copy in std::mem::take(&mut self.regressed) {
            self.regressed(copy, out);
        }
        self.pace(out);
        if let Some(cause) = failed {
            out.push(Effect::Fail(cause));
        }
    }

    fn ends(&self, failure: Failure) -> StopReason {
        let group = &self.plan.group;
        StopReason::Member(match failure {
            Failure::InstanceFenced(reason) => LogError::InstanceFenced {
                who: format!("group instance `{}`", group.instance),
                reason,
            },
            Failure::ProducerFenced(reason) => LogError::ProducerFenced {
                who: format!("the producer of instance `{}`", group.instance),
                reason,
            },
            Failure::Refused { topic, reason, .. } => LogError::Refused {
                what: format!("committing offsets of `{topic}`"),
                reason,
                source: None,
            },
            failure => LogError::client(
                format!("the transactions of group `{}`", group.name),
                failure,
            ),
        })
    }
}

/// Whether all is written and only the end of the transaction is unknown.
fn is_in_doubt(settlement: &CommitOutcome) -> bool {
    let unknown = |outcome: &Result<(), Failure>| matches!(outcome, Err(Failure::Unknown(_)));
    settlement.acks.values().all(Result::is_ok) && settlement.offsets.values().any(unknown)
}

/// Whether anything of the unit did not happen.
fn is_refused(settlement: &CommitOutcome) -> bool {
    settlement.acks.values().any(Result::is_err) || settlement.offsets.values().any(Result::is_err)
}

/// The offsets of a task are committed; says whether it begins to run with that.
fn committed(
    task: &mut Task,
    now: Now,
    unit: &CommitBatch,
    verifies: bool,
    out: &mut Vec<Effect>,
) -> bool {
    let own = unit.offsets.iter().filter(|(of, ..)| *of == task.id);
    for (_, topic, offset, metadata) in own {
        task.committed.insert(*topic, *offset);
        if let Some(place) = Place::noted(metadata) {
            task.visited = Some((*offset, place));
        }
    }
    task.commit_owed = false;
    task.unknown = false;
    task.last_commit = now.monotonic;
    let starts = task.state == State::Starting;
    if starts {
        task.metadata.clone_from(&task.next_metadata);
    }
    if starts && verifies {
        task.state = State::Verifying;
        out.push(Effect::Verify(task.id, task.epoch));
    } else if starts {
        task.state = State::Running;
        out.push(Effect::Fetch(task.id, task.intake()));
    }
    starts && !verifies
}

/// Moves the overlay of a task; `false` if another writer's records lie between its own.
fn take_acks(task: &mut Task, acked: TaskAcks) -> bool {
    let made = std::mem::take(&mut task.updates);
    task.appended = false;
    let Some((first, last, count)) = acked.changelog else {
        return made == 0;
    };
    let together = u64::try_from(last - first + 1) == Ok(made) && count == made;
    if together && task.layers.expects(first) {
        let markers = Offset::try_from(acked.markers).unwrap_or(Offset::MAX);
        task.layers.acknowledge(last + 1, markers);
        return true;
    }
    let (partition, expected) = (task.id.partition, task.layers.acknowledged());
    tracing::warn!(
        partition,
        first,
        expected,
        "another writer in the group topic, restoring"
    );
    false
}

/// Somebody else owns the task: nothing of it is ours to finish.
fn gone(task: &mut Task, out: &mut Vec<Effect>) {
    if task.state == State::Running {
        out.push(Effect::Release(task.id));
    }
    task.rewind();
    task.state = State::Gone;
}

/// What a task did since the last barrier did not happen: its inputs are read again from what is
/// committed. Its copy is as it was.
fn rewind(task: &mut Task, out: &mut Vec<Effect>) {
    match task.state {
        State::Running => {
            task.rewind();
            let inputs = task.positions.iter().map(|(t, o)| (*t, *o));
            out.push(Effect::Fetch(task.id, inputs.collect()));
        }
        State::Stopped => task.rewind(),
        // Nothing was handled yet.
        _ => {}
    }
}

/// The overlay's fate is not known: it is dropped, the memtable flushed, the copy restored from its
/// own offset, and the inputs read again from what is committed.
pub(super) fn reopen(task: &mut Task, out: &mut Vec<Effect>) {
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
        .for_each(|layers| *layers = TableBuffer::default());
    task.state = State::Inspecting;
    if task.layers.is_flushed() {
        out.push(Effect::Inspect(task.id, task.epoch));
    } else {
        task.reopens = true;
    }
}
