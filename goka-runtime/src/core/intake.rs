//! What is handled: records of inputs and joined tables, the next keys of walks, and guards of `defer` that are
//! done. Called by `Core::batch` and `Core::step`; a handler's failure stops its task, or makes the
//! task wait for a store that cannot be read.

use super::event::Effect;
use super::handle::{self, CallError, HandlerEnv};
use super::ids::{Now, RecordId};
use super::plan::Plan;
use super::scope::Scratch;
use super::services::HandlerServices;
use super::stop_reason::StopReason;
use super::task::StoreFailure;
use super::tasks::Tasks;
use super::turn::Turn;
use super::visit;
use crate::dispatch::ProcessorState;
use crate::log::Fetched;
use crate::record::{Appends, TaskId};
use crate::shared_error::HandlerError;
use crate::table::StoreError;

/// What handlers are called with, beside their tasks; borrowed from the core for one step.
pub(super) struct Calls<'a> {
    pub(super) services: &'a dyn HandlerServices,
    pub(super) state: &'a ProcessorState,
    pub(super) scratch: &'a mut Scratch,
    pub(super) turn: &'a mut Turn,
    /// Whether the worker is stopping: no record is handled any more.
    pub(super) is_draining: bool,
}

impl<'a> Calls<'a> {
    fn env(self, plan: &'a Plan, appends: &'a mut Appends) -> HandlerEnv<'a> {
        HandlerEnv {
            plan,
            services: self.services,
            state: self.state,
            appends,
            scratch: self.scratch,
            turn: self.turn,
        }
    }
}

/// Handles a batch of one input of one task; returns how many records it took, from the first on. The member
/// keeps the others and hands them over again. All are taken, and dropped, if the task is not in a state to
/// handle them, or if one fails: the task fetches them again from its position if it needs them.
pub(super) fn take(
    tasks: &mut Tasks,
    now: Now,
    fetched: Fetched<'_>,
    calls: Calls<'_>,
    out: &mut Vec<Effect>,
) -> usize {
    let Fetched {
        task: id,
        epoch,
        topic,
        records,
    } = fetched;
    let all = records.len();
    if tasks.barrier.is_in_doubt() {
        // The transaction is ending, and its outcome is not known: nothing may be added to it.
        return 0;
    }
    let Some(task) = tasks.all.get_mut(&id) else {
        return all;
    };
    if task.epoch != epoch || !task.is_running() || calls.is_draining || task.awaits_store() {
        return all;
    }
    calls.turn.begin(now.monotonic, tasks.outbox.has_handed());
    if tasks.outbox.is_full() && calls.turn.has_called() {
        return 0;
    }
    let mut env = calls.env(&tasks.plan, tasks.outbox.appends());
    let input = tasks.plan.input(topic);
    let handled = match input {
        Some(input) => handle::handle(task, input, records, &mut env),
        None => match tasks.plan.join(topic) {
            Some(join) => handle::apply(task, join, records, &mut env).map(|()| all),
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
    tasks.outbox.hand_over(out);
    handled.unwrap_or_else(|error| {
        failed(tasks, now, id, error, out);
        all
    })
}

/// Visits the next keys of every walk under way. It begins with the task after `last`, the one that was visited
/// last, since a slow walk takes a whole turn: each of the others has one before the slow walk has its next.
pub(super) fn visit_all(
    tasks: &mut Tasks,
    now: Now,
    calls: Calls<'_>,
    last: &mut Option<TaskId>,
    out: &mut Vec<Effect>,
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
    calls.turn.begin(now.monotonic, tasks.outbox.has_handed());
    let mut env = calls.env(&tasks.plan, tasks.outbox.appends());
    let mut errors = Vec::new();
    for id in walks {
        if env.turn.is_over(env.appends) {
            break;
        }
        *last = Some(id);
        let Some(task) = tasks.all.get_mut(&id) else {
            continue;
        };
        match visit::visit_slice(task, &mut env) {
            Ok(false) => {}
            Ok(true) => {
                // Fetches the requests for walks that follow the one whose walk is over.
                let next = task.offsets.position(topic);
                out.push(Effect::Fetch(id, vec![(topic, next)]));
            }
            Err(error) => errors.push((id, error)),
        }
    }
    env.turn.end();
    tasks.outbox.hand_over(out);
    for (id, error) in errors {
        failed(tasks, now, id, error, out);
    }
}

/// A guard of `defer` is done or was dropped: its record may be committed, or the task stops with the error.
pub(super) fn deferred(
    tasks: &mut Tasks,
    record: RecordId,
    outcome: Result<(), HandlerError>,
    out: &mut Vec<Effect>,
) {
    let task = tasks.all.get_mut(&record.task);
    let Some(task) = task.filter(|task| task.epoch == record.epoch) else {
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
            let reason = handle::failure(&tasks.plan, record.topic, at, key, error);
            tasks.stop(record.task, reason, out);
        }
    }
}

/// A call of a handler, or a read for it, failed; what the call wrote has been dropped. After a read the record
/// is handled again after a while, and the task stops when reads have failed for `store_timeout`. A damaged
/// store is rebuilt; that of a table that is looked up by its view.
fn failed(tasks: &mut Tasks, now: Now, id: TaskId, error: CallError, out: &mut Vec<Effect>) {
    let (copy, error) = match error {
        CallError::Stop(reason) => return tasks.stop(id, reason, out),
        CallError::Store { copy, error } => (copy, error),
    };
    if let (Some(copy), StoreError::Unreadable { .. }) = (copy, &error) {
        return tasks.store_damaged(copy, error, out);
    }
    let Some(task) = tasks.all.get_mut(&id) else {
        return;
    };
    match task.reads.failed(now.monotonic, tasks.plan.store_timeout) {
        StoreFailure::TimedOut => tasks.stop(id, StopReason::Store(error), out),
        StoreFailure::Repeated => {}
        StoreFailure::First => {
            tracing::warn!(task = id.partition, %error, "the store cannot be read, trying again");
        }
    }
}
