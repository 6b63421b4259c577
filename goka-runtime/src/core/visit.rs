//! Walks over the group table, asked for by records of the group's visit topic: the handler named
//! by the record's key is called for every key of the table, in slices between other records, under
//! the processor's own guarantees. The last key visited is committed with the visit record's offset, so after
//! a crash, or with another owner, the walk goes on from there.

use std::ops::{Bound, ControlFlow};

use super::handler_call::{self, CallError, HandlerEnv};
use super::ids::CopyId;
use super::stop_reason::key_text;
use super::task::{Task, Visit};
use crate::record::{Record, TopicId};

/// Begins the walk that a record asks for; the records behind it are fetched again when it ends.
pub(super) fn begin(task: &mut Task, record: &Record<'_>, env: &HandlerEnv<'_>) {
    let Some(visits) = &env.plan.visits else {
        return;
    };
    let topic = visits.topic;
    if record.offset < task.offsets.position(topic) || task.walk.is_under_way() {
        return;
    }
    let name = record.key.unwrap_or_default();
    let mut calls = visits.calls.iter();
    let Some((_, call)) = calls.find(|(known, _)| known.as_bytes() == name) else {
        let (group, name) = (&*env.plan.group.name, key_text(name));
        tracing::warn!(group, name, "no visit of that name; its record is skipped");
        task.offsets.set_position(topic, record.offset + 1);
        return;
    };
    task.offsets.set_position(topic, record.offset);
    task.walk.begin(record, *call);
}

/// Visits the next keys until the turn is over. Returns whether the walk is.
///
/// # Errors
/// Why the task stops or waits: the walk goes on at the failed key when it is read again.
pub(super) fn visit_slice(task: &mut Task, env: &mut HandlerEnv<'_>) -> Result<bool, CallError> {
    let (Some(visits), Some(mut visit)) = (&env.plan.visits, task.walk.take()) else {
        return Ok(false);
    };
    let visited = visit_keys(task, visits.topic, &mut visit, env);
    match visited {
        Ok(true) => task.offsets.set_position(visits.topic, visit.offset + 1),
        _ => task.walk.put_back(visit),
    }
    visited
}

fn visit_keys(
    task: &mut Task,
    topic: TopicId,
    visit: &mut Visit,
    env: &mut HandlerEnv<'_>,
) -> Result<bool, CallError> {
    let group = &env.plan.group;
    if visit.is_searching() {
        let keys = next_keys(task, visit, env)?;
        visit.search(keys, &group.name, task.id.partition);
        if visit.is_searching() {
            return Ok(false);
        }
    }
    let keys = next_keys(task, visit, env)?;
    let is_last = keys.len() < visit.next_slice().1;
    for (at, key) in keys.into_iter().enumerate() {
        if !handler_call::may_call(task, topic, visit.offset, &key, env) {
            visit.turn_ended(at);
            return Ok(false);
        }
        let at = (&**group.topic(topic), task.id.partition);
        let incoming = visit.incoming(&group.name, at, &key);
        handler_call::call(task, visit.call, topic, incoming, &key, env)?;
        // The last key is committed with an offset that does not move.
        task.progress.owe();
        visit.visited(key, task.guards.holds(topic));
    }
    visit.slice_ended();
    Ok(is_last)
}

/// The next keys that have a value, in order.
fn next_keys(task: &Task, visit: &Visit, env: &HandlerEnv<'_>) -> Result<Vec<Vec<u8>>, CallError> {
    let (from, most) = visit.next_slice();
    let mut keys = Vec::new();
    let table = env.plan.table.as_ref();
    let copy = table.map(|table| CopyId {
        task: task.id,
        table: table.topic,
    });
    if let Some(store) = copy.and_then(|copy| env.services.store(copy)) {
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut each = |key: &[u8], _: crate::table::StoredRef<'_>| {
            // A deleted one may still be in the store.
            if !task.copies.own().is_deleted(key) {
                keys.push(key.to_vec());
            }
            match keys.len() < most {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        store
            .range((from, Bound::Unbounded), &mut each)
            .map_err(|error| CallError::Store { copy, error })?;
    }
    keys.extend(task.copies.own().unstored_after(from, most));
    keys.sort_unstable();
    keys.dedup();
    keys.truncate(most);
    Ok(keys)
}
