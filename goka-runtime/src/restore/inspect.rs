//! Looks at local copies and their topics: what a task needs to know before it may start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::copy::restore;
use super::{Context, OpenStore};
use crate::core::recovery::{ChangelogPartition, RecoveryDecision, Role, decide};
use crate::core::{ChangelogInspection, CopyId, Inspection, StopReason};
use crate::log::{Epoch, LogError, OffsetRange, TopicInfo, cancel};
use crate::record::{Offset, TaskId, TopicId, TopicPartition};
use crate::table::{Checkpoint, Store, StoreError};

/// How long a store may still be held by the assignment before.
const STORE_HELD: Duration = Duration::from_secs(10);

pub(super) fn inspect(
    context: &Arc<Context>,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<Inspection, StopReason>> {
    let is_stateful = context.plan.table.is_some();
    let stamp = match is_stateful {
        true => match stamp(context, copy, epoch, store)? {
            Ok(stamp) => stamp,
            Err(error) => return Some(Err(StopReason::Store(error))),
        },
        false => None,
    };
    let facts = patiently(context, copy, epoch, |context, copy| {
        let table = context.plan.table.is_some().then_some(copy);
        let (table, input_ids) = look_at_topics(context, copy.task, table)?;
        let inputs = look_at_inputs(context, copy.task)?;
        Ok((table, inputs, input_ids))
    })?;
    Some(facts.map(|(table, inputs, input_ids)| Inspection {
        stamp,
        table,
        inputs,
        input_ids,
    }))
}

/// Opens a joined table's copy, judges it and brings it up.
pub(super) fn follow(
    context: &Arc<Context>,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<(Offset, String), StopReason>> {
    let stamp = match stamp(context, copy, epoch, store)? {
        Ok(stamp) => stamp,
        Err(error) => return Some(Err(StopReason::Store(error))),
    };
    let facts = match patiently(context, copy, epoch, look_at_table)? {
        Ok(facts) => facts,
        Err(cause) => return Some(Err(cause)),
    };
    let (name, fingerprint) = context.definition(copy.table)?;
    let topic = ChangelogPartition {
        name,
        cluster: &context.plan.cluster,
        id: &facts.id,
        partition: copy.task.partition,
        start: facts.range.start,
        end: facts.range.high,
        delete_retention: facts.delete_retention,
    };
    let now = context.clock.wall();
    let (from, rebuild) = match decide(stamp.as_ref(), &topic, fingerprint, &Role::Follower, now) {
        RecoveryDecision::CatchUp { from } => (from, None),
        RecoveryDecision::Rebuild(why) => (facts.range.start, Some(why)),
        RecoveryDecision::Refuse(why) => return Some(Err(StopReason::Recovery(why))),
    };
    restore(context, copy, epoch, &mut **store.as_mut()?, from, rebuild)
}

/// Asks the log until it answers, or nobody waits any more.
pub(super) fn patiently<T: Send + 'static>(
    context: &Arc<Context>,
    copy: CopyId,
    epoch: Epoch,
    look: fn(&Context, CopyId) -> Result<T, LogError>,
) -> Option<Result<T, StopReason>> {
    loop {
        let found = match context.is_inline {
            true => look(context, copy),
            false => {
                let theirs = Arc::clone(context);
                cancel::unless(
                    || !context.is_current(copy.task, epoch),
                    move || look(&theirs, copy),
                )?
            }
        };
        match found {
            Ok(found) => return Some(Ok(found)),
            Err(error @ (LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. })) => {
                return Some(Err(StopReason::Input(error)));
            }
            Err(error) => {
                context.log_failed((copy, epoch), 0, "looking at the topics", &error);
                if !context.pause(copy.task, epoch) {
                    return None;
                }
            }
        }
    }
}

/// What a copy says of itself; opened when it is not.
pub(super) fn stamp(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<Option<Checkpoint>, StoreError>> {
    match store.as_ref().map(|store| store.stamp()) {
        Some(Err(error @ StoreError::Unreadable { .. })) => {
            *store = None;
            if let Err(error) = set_aside(context, copy, &error) {
                return Some(Err(error));
            }
        }
        // Opened anew it answers, and is judged.
        Some(Err(StoreError::RolledBack { .. })) => *store = None,
        _ => {}
    }
    if store.is_none() {
        match open(context, copy, epoch)? {
            Ok(opened) => *store = Some(opened),
            Err(error) => return Some(Err(error)),
        }
    }
    let stamp = store.as_ref().map(|store| store.stamp()).transpose();
    Some(stamp.map(Option::flatten))
}

/// Opens a store; one that cannot be read is moved aside, to be rebuilt.
fn open(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
) -> Option<Result<Box<dyn Store>, StoreError>> {
    let (began, name) = (Instant::now(), context.store_name(copy.table));
    let partition = copy.task.partition;
    loop {
        let opened = context.stores.open(&name, partition);
        let error = match opened.and_then(|store| store.stamp().map(|_| store)) {
            Ok(store) => return Some(Ok(store)),
            Err(StoreError::Locked { .. }) if began.elapsed() < STORE_HELD => {
                if !context.pause(copy.task, epoch) {
                    return None;
                }
                continue;
            }
            Err(error @ StoreError::Unreadable { .. }) => error,
            Err(error) => return Some(Err(error)),
        };
        if let Err(error) = set_aside(context, copy, &error) {
            return Some(Err(error));
        }
    }
}

/// Moves the file of a damaged copy aside, and says so.
pub(super) fn set_aside(
    context: &Context,
    copy: CopyId,
    error: &StoreError,
) -> Result<(), StoreError> {
    let (name, partition) = (context.store_name(copy.table), copy.task.partition);
    let kept = context.stores.set_aside(&name, partition)?;
    tracing::warn!(table = name, partition, %error, kept, "store moved aside, rebuilding");
    Ok(())
}

pub(super) fn look_at_table(
    context: &Context,
    copy: CopyId,
) -> Result<ChangelogInspection, LogError> {
    let name = context.plan.group.topic(copy.table);
    let found = context.log.describe(&[&**name])?;
    table_facts(context, copy, found.into_iter().next().flatten())
}

/// Looks at the copy's topic, if there is one, and at the identities of the task's inputs.
fn look_at_topics(
    context: &Context,
    task: TaskId,
    table: Option<CopyId>,
) -> Result<(Option<ChangelogInspection>, BTreeMap<TopicId, String>), LogError> {
    let group = &context.plan.group;
    let own = table.map(|copy| copy.table);
    let topics: Vec<_> = own.into_iter().chain(group.inputs_of(task)).collect();
    let names: Vec<&str> = topics.iter().map(|topic| &**group.topic(*topic)).collect();
    let mut found = context.log.describe(&names)?.into_iter();
    let table = match table {
        Some(copy) => Some(table_facts(context, copy, found.next().flatten())?),
        None => None,
    };
    let inputs = topics.into_iter().skip(own.iter().count());
    // One that is missing is told by whoever asks for its range.
    let ids = inputs
        .zip(found)
        .filter_map(|(topic, info)| Some((topic, info?.id)))
        .collect();
    Ok((table, ids))
}

fn table_facts(
    context: &Context,
    copy: CopyId,
    info: Option<TopicInfo>,
) -> Result<ChangelogInspection, LogError> {
    let name = context.plan.group.topic(copy.table);
    let info = info.ok_or_else(|| LogError::UnknownTopic {
        topic: name.to_string(),
    })?;
    let partition = TopicPartition::new(Arc::clone(name), copy.task.partition);
    let range = context.log.ranges(&[partition])?.into_iter().next();
    Ok(ChangelogInspection {
        id: info.id,
        range: range.unwrap_or_default(),
        delete_retention: info.delete_retention,
    })
}

fn look_at_inputs(
    context: &Context,
    task: TaskId,
) -> Result<BTreeMap<TopicId, OffsetRange>, LogError> {
    let group = &context.plan.group;
    let topics: Vec<_> = group.inputs_of(task).collect();
    let partitions: Vec<_> = topics
        .iter()
        .map(|topic| TopicPartition::new(Arc::clone(group.topic(*topic)), task.partition))
        .collect();
    let ranges = context.log.ranges(&partitions)?;
    Ok(topics.into_iter().zip(ranges).collect())
}
