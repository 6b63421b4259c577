//! How tasks come, start and go: assigned, inspected, restored, verified, given back and lost.

use super::commit;
use super::event::{Effect, Inspection};
use super::flush;
use super::ids::CopyId;
use super::metadata;
use super::plan::Plan;
use super::start::examine;
use super::stop_reason::StopReason;
use super::task::{State, Task};
use super::tasks::Tasks;
use crate::log::{Assignment, Epoch};
use crate::record::{Offset, TaskId};

pub(super) fn assigned(tasks: &mut Tasks, assignments: &[Assignment]) {
    for assignment in assignments {
        let (id, epoch) = (assignment.task, assignment.epoch);
        if tasks.all.contains_key(&id) {
            lost(tasks, &[id]);
        }
        let task = Task::new(&tasks.plan, assignment, tasks.now.monotonic);
        tasks.all.insert(id, task);
        match newer_metadata(&tasks.plan, assignment) {
            None => tasks.out.push(Effect::Inspect(id, epoch)),
            Some(reason) => tasks.refuse(id, reason),
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
    id: TaskId,
    epoch: Epoch,
    inspection: Result<Inspection, StopReason>,
) {
    let (plan, wall) = (&tasks.plan, tasks.now.wall);
    let table = plan.table.as_ref().map(|table| table.topic);
    let waits = |task: &&mut Task| task.epoch == epoch && task.awaits_inspection(table);
    let Some(task) = tasks.all.get_mut(&id).filter(waits) else {
        return;
    };
    let start =
        inspection.and_then(|inspection| examine(plan, id, &mut task.offsets, &inspection, wall));
    let restore = match start {
        Ok(restore) => restore,
        Err(reason) => return tasks.refuse(id, reason),
    };
    let restores = table.filter(|_| restore.is_some());
    let restore = restore.map(|from| Effect::Restore(id, epoch, from));
    tasks.out.extend(restore);
    let follows = task.inspected(restores, plan).into_iter();
    tasks
        .out
        .extend(follows.map(|copy| Effect::Follow(copy, epoch)));
}

pub(super) fn restored(
    tasks: &mut Tasks,
    copy: CopyId,
    epoch: Epoch,
    reached: Result<Offset, StopReason>,
) {
    // Exactly once, a commit is answered before its control record is written.
    let expects_markers = tasks.is_exactly_once();
    let Some(task) = tasks.of_epoch(copy.task, epoch) else {
        return;
    };
    if !task.end_restore(copy.table) {
        return;
    }
    match reached {
        Ok(offset) => task.restored(copy.table, offset, expects_markers),
        Err(reason) => tasks.refuse(copy.task, reason),
    }
}

/// A task's start offsets are committed, and it is known whether another program uses the group's name.
///
/// Two programs under one group name differ in what they commit with their start offsets. Each
/// looks for the other's before it commits, and once more before its first handler: of two that start at
/// the same time, the one that commits later finds the other.
pub(super) fn verified(tasks: &mut Tasks, id: TaskId, epoch: Epoch, found: Result<(), StopReason>) {
    let waits = |task: &&mut Task| task.epoch == epoch && task.state() == State::Verifying;
    let Some(task) = tasks.all.get_mut(&id).filter(waits) else {
        return;
    };
    match found {
        Ok(()) => {
            task.run(&mut tasks.out);
            tasks.has_run = true;
        }
        Err(reason) => {
            withdraw(tasks);
            tasks.out.push(Effect::Fail(reason));
        }
    }
}

/// Takes back the metadata that names this program in the start offsets of new tasks, so that the other
/// program is not refused because of one that never ran.
fn withdraw(tasks: &mut Tasks) {
    let offsets: Vec<_> = tasks.all.values_mut().flat_map(Task::withdraw).collect();
    if !offsets.is_empty() && tasks.barrier.is_idle() {
        let batch = tasks.barrier.batch(offsets);
        tasks.out.push(Effect::Commit(batch));
    }
}

/// Tasks are about to be given back: a last barrier commits what they handled.
pub(super) fn revoking(tasks: &mut Tasks, ids: &[TaskId]) {
    for id in ids {
        if tasks.all.get(id).is_some_and(Task::is_running) {
            tasks.out.push(Effect::Release(*id));
        }
    }
    // There is no time to wait for what handlers deferred.
    if tasks.is_exactly_once() && tasks.any(Task::is_guarded) {
        tasks.abort();
    }
    commit::begin(tasks);
}

pub(super) fn revoked(tasks: &mut Tasks, ids: &[TaskId]) {
    for id in ids {
        if let Some(mut task) = tasks.all.remove(id) {
            flush::flush_closing(tasks, &mut task);
            tasks.out.push(Effect::Close(*id));
        }
    }
}

pub(super) fn lost(tasks: &mut Tasks, ids: &[TaskId]) {
    let mut have_written = false;
    for id in ids {
        if let Some(task) = tasks.all.remove(id) {
            have_written |= task.progress.has_written();
            tasks.out.push(Effect::Close(*id));
        }
    }
    // Their records are in the transaction of all other tasks.
    if have_written && tasks.is_exactly_once() && !mutant!(StaleWrites) {
        tasks.abort();
    }
}
