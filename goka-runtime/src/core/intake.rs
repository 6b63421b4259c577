//! What is handled: records of inputs and joined tables, the next keys of walks, and guards of `defer` that are
//! done. Called by `Core::batch` and `Core::step`; a handler's failure stops its task, or makes the
//! task wait for a store that cannot be read.

use std::collections::BTreeMap;

use super::event::Effect;
use super::handler_call::{self, CallError, HandlerEnv};
use super::ids::RecordId;
use super::services::HandlerServices;
use super::stop_reason::StopReason;
use super::task::{StoreFailure, Task};
use super::tasks::Tasks;
use super::visit;
use crate::dispatch::ProcessorState;
use crate::log::Fetched;
use crate::record::TaskId;
use crate::shared_error::HandlerError;
use crate::table::StoreError;

/// The tasks, and what their handlers are called with.
fn split<'a>(
    tasks: &'a mut Tasks,
    services: &'a dyn HandlerServices,
    state: &'a ProcessorState,
) -> (&'a mut BTreeMap<TaskId, Task>, HandlerEnv<'a>) {
    let env = HandlerEnv {
        plan: &tasks.plan,
        services,
        state,
        appends: tasks.outbox.appends(),
        scratch: &mut tasks.scratch,
        turn: &mut tasks.turn,
    };
    (&mut tasks.all, env)
}

/// Handles a batch of one input of one task; returns how many records it took, from the first on. The member
/// keeps the others and hands them over again. All are taken, and dropped, if the task is not in a state to
/// handle them, or if one fails: the task fetches them again from its position if it needs them.
pub(super) fn take(
    tasks: &mut Tasks,
    fetched: Fetched<'_>,
    services: &dyn HandlerServices,
    state: &ProcessorState,
) -> usize {
    let (id, topic, records) = (fetched.task, fetched.topic, fetched.records);
    let all = records.len();
    if tasks.barrier.is_in_doubt() {
        // The transaction is ending, and its outcome is not known: nothing may be added to it.
        return 0;
    }
    let is_draining = tasks.is_draining;
    let task = tasks.of_epoch(id, fetched.epoch);
    if task.is_none_or(|task| !task.is_running() || is_draining || task.awaits_store()) {
        return all;
    }
    let has_handed = tasks.outbox.has_handed();
    tasks.turn.begin(tasks.now.monotonic, has_handed);
    if tasks.outbox.is_full() && tasks.turn.has_called() {
        return 0;
    }
    let (running, mut env) = split(tasks, services, state);
    let Some(task) = running.get_mut(&id) else {
        return all;
    };
    let input = env.plan.input(topic);
    let handled = match input {
        Some(input) => handler_call::handle(task, input, records, &mut env),
        None => match env.plan.join(topic) {
            Some(join) => handler_call::apply(task, join, records, &mut env).map(|()| all),
            None => {
                // The group's visit topic. Once a walk has begun, later records are ignored here, and fetched
                // again when it ends.
                for record in records {
                    visit::begin(task, record, &env);
                }
                Ok(all)
            }
        },
    };
    if input.is_some() && matches!(handled, Ok(taken) if taken > 0) {
        // Only handlers read the stores: an applied record of a joined table proves nothing.
        task.reads.succeeded();
    }
    tasks.outbox.hand_over(&mut tasks.out);
    handled.unwrap_or_else(|error| {
        failed(tasks, id, error);
        all
    })
}

/// Visits the next keys of every walk under way. It begins with the task after `last`, the one that was visited
/// last, since a slow walk takes a whole turn: each of the others has one before the slow walk has its next.
pub(super) fn visit_all(
    tasks: &mut Tasks,
    services: &dyn HandlerServices,
    state: &ProcessorState,
    last: &mut Option<TaskId>,
) {
    let Some(topic) = tasks.plan.visits.as_ref().map(|visits| visits.topic) else {
        return;
    };
    let walks = tasks.all.values().filter(|task| task.walks());
    let mut walks: Vec<_> = walks.map(|task| task.id).collect();
    if walks.is_empty() {
        return;
    }
    let next = walks.partition_point(|id| Some(*id) <= *last);
    walks.rotate_left(next);
    let has_handed = tasks.outbox.has_handed();
    tasks.turn.begin(tasks.now.monotonic, has_handed);
    let (running, mut env) = split(tasks, services, state);
    let (mut fetches, mut errors) = (Vec::new(), Vec::new());
    for id in walks {
        if env.turn.is_over(env.appends) {
            break;
        }
        *last = Some(id);
        let Some(task) = running.get_mut(&id) else {
            continue;
        };
        match visit::visit_slice(task, &mut env) {
            Ok(false) => {}
            Ok(true) => {
                // Fetches the requests for walks that follow the one whose walk is over.
                let next = task.offsets.position(topic);
                fetches.push(Effect::Fetch(id, vec![(topic, next)]));
            }
            Err(error) => errors.push((id, error)),
        }
    }
    env.turn.end();
    tasks.out.extend(fetches);
    tasks.outbox.hand_over(&mut tasks.out);
    for (id, error) in errors {
        failed(tasks, id, error);
    }
}

/// A guard of `defer` is done or was dropped: its record may be committed, or the task stops with the error.
pub(super) fn deferred(tasks: &mut Tasks, record: RecordId, outcome: Result<(), HandlerError>) {
    let Some(task) = tasks.of_epoch(record.task, record.epoch) else {
        return;
    };
    let Some(key) = task.guards.key(record.guard) else {
        return;
    };
    match outcome {
        Ok(()) => task.guards.release(record.guard),
        Err(error) => {
            let at = (record.task.partition, record.offset);
            let key = key.to_owned();
            let reason = handler_call::failure(&tasks.plan, record.topic, at, key, error);
            tasks.stop(record.task, reason);
        }
    }
}

/// A call of a handler, or a read for it, failed; what the call wrote has been dropped. After a read the record
/// is handled again after a while, and the task stops when reads have failed for `store_timeout`. A damaged
/// store is rebuilt; that of a table that is looked up by its view.
fn failed(tasks: &mut Tasks, id: TaskId, error: CallError) {
    let (copy, error) = match error {
        CallError::Stop(reason) => return tasks.stop(id, reason),
        CallError::Store { copy, error } => (copy, error),
    };
    if let (Some(copy), StoreError::Unreadable { .. }) = (copy, &error) {
        return tasks.store_damaged(copy, error);
    }
    let Some(task) = tasks.all.get_mut(&id) else {
        return;
    };
    match task
        .reads
        .failed(tasks.now.monotonic, tasks.plan.store_timeout)
    {
        StoreFailure::TimedOut => tasks.stop(id, StopReason::Store(error)),
        StoreFailure::Repeated => {}
        StoreFailure::First => {
            tracing::warn!(task = id.partition, %error, "the store cannot be read, trying again");
        }
    }
}
