//! The call of a handler, and what it does to the task; records of joined tables are applied to their
//! copies. A record's writes and outputs are kept whole when its handler returns `Ok`, dropped whole
//! otherwise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ids::CopyId;
use super::key_check;
use super::plan::{InputPlan, JoinPlan, Plan};
use super::scope::{RecordScope, Savepoint, Scratch};
use super::services::HandlerServices;
use super::stop_reason::{FailedRecord, StopReason, key_text};
use super::task::Task;
use super::turn_limit::Turn;
use crate::dispatch::{Call, Incoming, ProcessorState, RawRecord};
use crate::record::{Appends, Offset, Record, TopicId};
use crate::shared_error::{HandlerError, HandlerPanic};
use crate::table::StoreError;

/// What the handlers of a task are called with.
pub(super) struct HandlerEnv<'a> {
    pub(super) plan: &'a Plan,
    pub(super) services: &'a dyn HandlerServices,
    pub(super) state: &'a ProcessorState,
    pub(super) appends: &'a mut Appends,
    pub(super) scratch: &'a mut Scratch,
    pub(super) turn: &'a mut Turn,
}

/// Why a record is not handled, though its turn has come.
#[derive(Debug)]
pub(super) enum CallError {
    /// The task stops.
    Stop(StopReason),
    /// A store cannot be read: that of a copy, or of a table that is looked up.
    Store {
        copy: Option<CopyId>,
        error: StoreError,
    },
}

impl From<StopReason> for CallError {
    fn from(reason: StopReason) -> Self {
        Self::Stop(reason)
    }
}

/// Handles records of one input until one fails or the turn is over. Returns how many it took.
///
/// # Errors
/// Why the task stops or waits: the position is then exactly at the failed record.
pub(super) fn handle(
    task: &mut Task,
    input: &InputPlan,
    records: &[Record<'_>],
    env: &mut HandlerEnv<'_>,
) -> Result<usize, CallError> {
    let mut position = task.offsets.position(input.topic);
    let handled = handle_from(task, &mut position, input, records, env);
    task.offsets.set_position(input.topic, position);
    handled
}

fn handle_from(
    task: &mut Task,
    position: &mut Offset,
    input: &InputPlan,
    records: &[Record<'_>],
    env: &mut HandlerEnv<'_>,
) -> Result<usize, CallError> {
    let topic = env.plan.group.topic(input.topic);
    for (at, record) in records.iter().enumerate() {
        if record.offset < *position {
            continue;
        }
        if !may_call(task, input.topic, record.offset, &[], env) {
            return Ok(at);
        }
        *position = record.offset;
        key_check::check(
            env.plan,
            task.id.partition,
            input,
            record,
            &mut env.scratch.form,
        )?;
        let incoming = Incoming {
            group: &env.plan.group.name,
            topic,
            partition: task.id.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        call(task, input.call, input.topic, incoming, &[], env)?;
        fail_point!("after-handler", 1);
        *position = record.offset + 1;
    }
    Ok(records.len())
}

/// Whether a call is to be made in this turn; `key` tells the calls of one visit apart.
#[inline]
pub(super) fn may_call(
    task: &Task,
    topic: TopicId,
    offset: Offset,
    key: &[u8],
    env: &mut HandlerEnv<'_>,
) -> bool {
    if env.turn.is_over(env.appends) {
        return false;
    }
    !env.turn.is_exactly_once() || {
        let record = task.record(topic, offset);
        env.turn.may_call(&record, key, env.appends)
    }
}

/// Calls one handler and keeps or drops what it did. `visited` is the key of a visit, else empty.
pub(super) fn call(
    task: &mut Task,
    call: Call,
    topic: TopicId,
    incoming: Incoming<'_>,
    visited: &[u8],
    env: &mut HandlerEnv<'_>,
) -> Result<(), CallError> {
    let partition = task.id.partition;
    let key = || key_text(incoming.key.unwrap_or_default());
    if task.offsets.has_died_of(topic, incoming.offset) {
        let (topic, offset) = (incoming.topic, incoming.offset);
        let key = incoming.key.unwrap_or_default();
        let record = FailedRecord::new(topic, partition, offset, key);
        return Err(StopReason::Died { record }.into());
    }
    let begin = Savepoint::of(env.appends);
    let record = task.record(topic, incoming.offset);
    let (buffer, joins) = task.copies.split();
    let mut scope = RecordScope {
        plan: env.plan,
        task: task.id,
        key: incoming.key,
        timestamp: incoming.timestamp,
        record,
        buffer,
        row: None,
        unreadable: None,
        joins,
        services: env.services,
        appends: env.appends,
        scratch: env.scratch,
        written: None,
        updates: 0,
    };
    let (services, state) = (env.services, env.state);
    let is_observed = services.began(&scope.record);
    let raw = RawRecord {
        record: incoming,
        scope: &mut scope,
    };
    // A handler that panics may leave the processor's own state inconsistent; ours is dropped whole.
    let outcome = catch_unwind(AssertUnwindSafe(|| match call {
        Call::Sync(call) => call(state, raw),
        Call::Async(call) => services.drive(call(state, raw)),
    }));
    env.turn.called(services.ended(), &scope.record, visited);
    let unreadable = scope.unreadable;
    let (written, updates, row) = (scope.written, scope.updates, scope.row);
    let taken = task.guards.took(scope.record.guard);
    let error = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(panic) => Some(HandlerPanic::of(&*panic).into()),
    };
    if let Some(unreadable) = unreadable {
        let (copy, error) = *unreadable;
        // The result rests on what could not be read, even if the handler returned `Ok`.
        begin.drop_all_since(env.appends);
        return Err(CallError::Store { copy, error });
    }
    if let Some(error) = error {
        begin.drop_all_since(env.appends);
        let at = (partition, incoming.offset);
        return Err(failure(env.plan, topic, at, key(), error).into());
    }
    if is_observed {
        services.handled(scope.record, env.appends, begin.first());
    }
    if let (Some(written), Some(key)) = (written, incoming.key) {
        let (buffer, _) = task.copies.split();
        buffer.write(key, row, incoming.timestamp, written.as_deref());
    }
    task.guards.hold(taken, topic, incoming.offset, key);
    let has_appended = begin != Savepoint::of(env.appends);
    task.progress.wrote(updates, has_appended);
    Ok(())
}

/// Applies records of a joined table to its copy.
///
/// # Errors
/// A row whose key is in another form: no join would find it. Deleting such a row is no mistake.
pub(super) fn apply(
    task: &mut Task,
    join: &JoinPlan,
    records: &[Record<'_>],
    env: &mut HandlerEnv<'_>,
) -> Result<(), CallError> {
    let partition = task.id.partition;
    let Some(buffer) = task.copies.joined_mut(join.topic) else {
        return Ok(());
    };
    for record in records {
        // A record without a key is no row.
        let Some(key) = record.key else { continue };
        if record.value.is_some() && key_check::is_other(&join.key, key, &mut env.scratch.form) {
            buffer.advance_to(record.offset);
            let topic = env.plan.group.topic(join.topic);
            let record = FailedRecord::new(topic, partition, record.offset, key);
            return Err(key_check::refusal(record, &env.scratch.form).into());
        }
        buffer.apply(key, record.timestamp, record.value);
    }
    if let Some(last) = records.last() {
        buffer.advance_to(last.offset + 1);
    }
    Ok(())
}

/// Why a task stops when the handler of a record fails, or a guard of it.
pub(super) fn failure(
    plan: &Plan,
    topic: TopicId,
    (partition, offset): (i32, Offset),
    key: String,
    error: HandlerError,
) -> StopReason {
    let record = FailedRecord {
        topic: plan.group.topic(topic).to_string(),
        partition,
        offset,
        key,
    };
    match &plan.visits {
        Some(visits) if visits.topic == topic => StopReason::Visit { record, error },
        _ => StopReason::Handler { record, error },
    }
}
