//! Begins the barrier of all tasks, and applies the outcome of its commit to each task. With at-least-once, pending
//! rows enter the memtable when their changelog records are acknowledged, and a commit of offsets that failed is tried
//! again. With exactly-once, records and offsets are one transaction, and pending rows enter the memtable when it is
//! committed.

use std::time::Duration;

use super::barrier::{Next, PendingCommit, has_failed, is_in_doubt};
use super::event::Effect;
use super::stop_reason::StopReason;
use super::task::{State, Task};
use super::tasks::Tasks;
use crate::log::{CommitId, CommitOutcome, Failure, Group, LogError, TaskAcks};
use crate::record::TaskId;

/// How often a barrier runs. With exactly-once at least twice in the timeout of a transaction, so that half of it is
/// left to the record in hand.
fn interval(tasks: &Tasks) -> Duration {
    let plan = &tasks.plan;
    match tasks.is_exactly_once() {
        true => plan.barrier.min(plan.group.transaction_timeout / 2),
        false => plan.barrier,
    }
}

/// Begins a barrier if it is time for one.
pub(super) fn begin_if_due(tasks: &mut Tasks) {
    let (barrier, now) = (&tasks.barrier, tasks.now.monotonic);
    let waits = barrier.retry_at().is_some_and(|retry| now < retry);
    let is_due = now >= barrier.due_at(interval(tasks));
    let starts = tasks.any(|task| task.state() == State::Starting);
    if tasks.outbox.is_full() || ((is_due || starts || tasks.turn.wants_barrier()) && !waits) {
        begin(tasks);
    }
}

/// Begins a barrier over all tasks, unless one is under way or there is nothing to do. One whose outcome
/// is not known is asked for again before anything else.
pub(super) fn begin(tasks: &mut Tasks) {
    if tasks.barrier.is_committing() {
        return;
    }
    if let Some(batch) = tasks.barrier.ask_again(tasks.now.monotonic) {
        tasks.out.push(Effect::Commit(batch));
        return;
    }
    tasks.outbox.hand_over(&mut tasks.out);
    if awaits_guards(tasks) {
        return;
    }
    tasks.barrier.begin(tasks.now.monotonic);
    tasks.outbox.barrier_begins();
    tasks.turn.barrier_begins();
    let dirty: Vec<_> = tasks.all.values().filter(|task| task.is_dirty()).collect();
    if dirty.is_empty() {
        return;
    }
    let epochs = dirty.iter().map(|task| (task.id, task.epoch)).collect();
    let offsets = dirty.iter().flat_map(|task| task.commits(&tasks.plan));
    let batch = tasks.barrier.commit(epochs, offsets.collect());
    tasks.out.push(Effect::Commit(batch));
}

/// Whether a guard holds the barrier back. With exactly-once, records written after a guarded record can only be
/// committed together with an offset after it. A guard that is held for half of the transaction's timeout aborts the
/// transaction.
fn awaits_guards(tasks: &mut Tasks) -> bool {
    if !tasks.is_exactly_once() || !tasks.any(Task::is_guarded) {
        tasks.barrier.guards_ended();
        return false;
    }
    let limit = tasks.plan.group.transaction_timeout / 2;
    if tasks
        .barrier
        .may_wait_for_guards(tasks.now.monotonic, limit)
    {
        return true;
    }
    tracing::warn!(
        ?limit,
        "transaction aborted: what a handler deferred took longer than half of the transaction timeout; all tasks \
         read again from their committed offsets"
    );
    tasks.abort();
    tasks.barrier.guards_ended();
    false
}

/// Applies the outcome of a commit to its tasks.
pub(super) fn ended(tasks: &mut Tasks, id: CommitId, mut outcome: CommitOutcome) {
    let now = tasks.now.monotonic;
    let is_in_doubt = tasks.is_exactly_once() && is_in_doubt(&outcome);
    let Some(settled) = tasks.barrier.answered(now, id, is_in_doubt) else {
        return;
    };
    // One transaction covers all tasks, so all of them have failed.
    let aborts = tasks.is_exactly_once() && has_failed(&outcome);
    let (mut rebuilds, mut failure) = (false, None);
    for id in concerned(tasks, &settled, &outcome) {
        let epoch = settled.epochs.get(&id);
        let is_its = |task: &&mut Task| epoch.is_none_or(|epoch| *epoch == task.epoch);
        let acks = outcome.acks.remove(&id);
        let acks = acks.unwrap_or(Ok(TaskAcks::default()));
        let offsets = outcome.offsets.remove(&id);
        let Some(task) = tasks.all.get_mut(&id).filter(is_its) else {
            continue;
        };
        let next = Next::of(tasks.plan.group.guarantee, &acks, offsets.as_ref());
        if let (Ok(acks), Next::Done | Next::CommitAgain { .. }) = (&acks, &next)
            && !task.acknowledge(acks)
        {
            match task.state() {
                // Another producer wrote to the group topic. A stopped task is not restored here, so its stores
                // are not written again.
                State::Stopped => task.copies.give_up_stores(),
                _ => task.reopen(&mut tasks.out),
            }
        }
        let cause = || acks.as_ref().err().or(offsets.as_ref()?.as_ref().err());
        let partition = id.partition;
        match next {
            Next::Done => {
                if offsets.is_some() {
                    let verifies = tasks.plan.verifies && !tasks.has_run;
                    let batch = &settled.batch;
                    tasks.has_run |= task.committed(now, batch, verifies, &mut tasks.out);
                }
            }
            Next::CommitAgain { is_unknown } => {
                tracing::debug!(partition, failure = ?cause(), "offset commit is tried again");
                task.progress.failed(is_unknown);
                tasks.barrier.retry_later(now);
            }
            Next::Rewind => {
                tracing::debug!(partition, failure = ?cause(), "commit failed, reading again from the committed offsets");
                tasks.barrier.retry_later(now);
                task.rewind(&mut tasks.out);
            }
            Next::Reopen => {
                tracing::info!(partition, failure = ?cause(), "produce failed, restoring");
                rebuilds = true;
                task.reopen(&mut tasks.out);
            }
            Next::Gone => task.gone(&mut tasks.out),
            Next::Refused(refusal) => {
                task.forget_unacknowledged();
                tasks.stop(id, StopReason::Append(refusal));
            }
            Next::End(end) => failure = Some(end),
        }
    }
    if aborts && failure.is_none() {
        tasks.out.push(Effect::Abort);
    }
    if rebuilds {
        tasks.out.push(Effect::RecreateProducer);
    }
    for copy in settled.rolled_back {
        tasks.store_rolled_back(copy);
    }
    if let Some(failure) = failure {
        let reason = end_reason(&tasks.plan.group, failure);
        tasks.out.push(Effect::Fail(reason));
    }
}

/// The tasks that an outcome is about: those of the commit, and those whose records it acknowledges.
fn concerned(tasks: &Tasks, settled: &PendingCommit, outcome: &CommitOutcome) -> Vec<TaskId> {
    let has_run = |id: &TaskId| tasks.all.get(id).is_some_and(Task::has_run);
    let acked = outcome.acks.keys().copied().filter(has_run);
    let mut ids: Vec<TaskId> = settled.epochs.keys().copied().collect();
    ids.extend(acked);
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Why the worker ends with a failure.
fn end_reason(group: &Group, failure: Failure) -> StopReason {
    StopReason::Member(match failure {
        Failure::Refused { topic, reason, .. } => LogError::Refused {
            what: format!("committing offsets of `{topic}`"),
            reason,
            source: None,
        },
        failure => LogError::of_instance(
            &group.name,
            &group.instance,
            "committing a transaction",
            failure,
        ),
    })
}
