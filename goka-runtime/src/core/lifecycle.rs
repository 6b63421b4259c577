//! How tasks come, start and go: assigned, inspected, restored, verified, given back and lost.

use super::commit;
use super::event::{Effect, Inspection};
use super::flush;
use super::ids::{CopyId, Now};
use super::metadata;
use super::plan::Plan;
use super::start::{Start, examine};
use super::stop_reason::StopReason;
use super::task::{State, Task};
use super::tasks::Tasks;
use super::turn::Turn;
use crate::log::{Assignment, Epoch};
use crate::record::{Offset, TaskId};

pub(super) fn assigned(
    tasks: &mut Tasks,
    now: Now,
    assignments: &[Assignment],
    out: &mut Vec<Effect>,
) {
    for assignment in assignments {
        let (id, epoch) = (assignment.task, assignment.epoch);
        if tasks.all.contains_key(&id) {
            lost(tasks, &[id], out);
        }
        let task = Task::new(&tasks.plan, assignment, now.monotonic);
        tasks.all.insert(id, task);
        match newer_metadata(&tasks.plan, assignment) {
            None => out.push(Effect::Inspect(id, epoch)),
            Some(reason) => tasks.refuse(id, reason, out),
        }
    }
}

/// Why a task is not begun whose offsets a newer build has committed.
fn newer_metadata(plan: &Plan, assignment: &Assignment) -> Option<StopReason> {
    assignment.committed.iter().find_map(|(topic, committed)| {
        Some(StopReason::NewerMetadata {
            group: plan.group.name.to_string(),
            topic: plan.group.topic(*topic).to_string(),
            partition: assignment.task.partition,
            found: metadata::newer_version(&committed.metadata)?.to_owned(),
            known: metadata::VERSION,
        })
    })
}

pub(super) fn inspected(
    tasks: &mut Tasks,
    now: Now,
    id: TaskId,
    epoch: Epoch,
    inspection: Result<Inspection, StopReason>,
    out: &mut Vec<Effect>,
) {
    let plan = &tasks.plan;
    let table = plan.table.as_ref().map(|table| table.topic);
    let waits = |task: &&mut Task| task.epoch == epoch && task.awaits_inspection(table);
    let Some(task) = tasks.all.get_mut(&id).filter(waits) else {
        return;
    };
    let start = inspection
        .and_then(|inspection| examine(plan, id, &mut task.offsets, &inspection, now.wall));
    let restores = match start {
        Ok(Start::Now) => None,
        Ok(Start::Restore { from, rebuild }) => {
            out.push(Effect::Restore {
                task: id,
                epoch,
                from,
                rebuild,
            });
            table
        }
        Err(reason) => return tasks.refuse(id, reason, out),
    };
    let follows = task.inspected(restores, plan).into_iter();
    out.extend(follows.map(|copy| Effect::Follow(copy, epoch)));
}

pub(super) fn restored(
    tasks: &mut Tasks,
    copy: CopyId,
    epoch: Epoch,
    reached: Result<Offset, StopReason>,
    out: &mut Vec<Effect>,
) {
    // Exactly once, a commit is answered before its control record is written.
    let expects_markers = tasks.is_exactly_once();
    let task = tasks.all.get_mut(&copy.task);
    let Some(task) = task.filter(|task| task.epoch == epoch) else {
        return;
    };
    if !task.end_restore(copy.table) {
        return;
    }
    match reached {
        Ok(offset) => task.restored(copy.table, offset, expects_markers),
        Err(reason) => tasks.refuse(copy.task, reason, out),
    }
}

/// A task's start offsets are committed, and it is known whether another program uses the group's name.
///
/// Two programs under one group name differ in what they commit with their start offsets. Each
/// looks for the other's before it commits, and once more before its first handler: of two that start at
/// the same time, the one that commits later finds the other.
pub(super) fn verified(
    tasks: &mut Tasks,
    id: TaskId,
    epoch: Epoch,
    found: Result<(), StopReason>,
    out: &mut Vec<Effect>,
) {
    let waits = |task: &&mut Task| task.epoch == epoch && task.state() == State::Verifying;
    let Some(task) = tasks.all.get_mut(&id).filter(waits) else {
        return;
    };
    match found {
        Ok(()) => {
            task.run(out);
            tasks.has_run = true;
        }
        Err(reason) => {
            withdraw(tasks, out);
            out.push(Effect::Fail(reason));
        }
    }
}

/// Takes back the metadata that names this program in the start offsets of new tasks, so that the other
/// program is not refused because of one that never ran.
fn withdraw(tasks: &mut Tasks, out: &mut Vec<Effect>) {
    let offsets: Vec<_> = tasks.all.values_mut().flat_map(Task::withdraw).collect();
    if !offsets.is_empty() && tasks.barrier.is_idle() {
        out.push(Effect::Commit(tasks.barrier.batch(offsets)));
    }
}

/// Tasks are about to be given back: a last barrier commits what they handled.
pub(super) fn revoking(
    tasks: &mut Tasks,
    turn: &mut Turn,
    now: Now,
    ids: &[TaskId],
    out: &mut Vec<Effect>,
) {
    for id in ids {
        if tasks.all.get(id).is_some_and(Task::is_running) {
            out.push(Effect::Release(*id));
        }
    }
    // There is no time to wait for what handlers deferred.
    if tasks.is_exactly_once() && tasks.any(Task::is_guarded) {
        tasks.abort(out);
    }
    commit::begin(tasks, turn, now, out);
}

pub(super) fn revoked(tasks: &mut Tasks, now: Now, ids: &[TaskId], out: &mut Vec<Effect>) {
    for id in ids {
        if let Some(mut task) = tasks.all.remove(id) {
            flush::flush_closing(&tasks.plan, now, &mut task, out);
            out.push(Effect::Close(*id));
        }
    }
}

pub(super) fn lost(tasks: &mut Tasks, ids: &[TaskId], out: &mut Vec<Effect>) {
    let mut have_written = false;
    for id in ids {
        if let Some(task) = tasks.all.remove(id) {
            have_written |= task.progress.has_written();
            out.push(Effect::Close(*id));
        }
    }
    // Their records are in the transaction of all other tasks.
    if have_written && tasks.is_exactly_once() && !mutant!(StaleWrites) {
        tasks.abort(out);
    }
}
