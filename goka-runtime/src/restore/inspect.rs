//! Inspects local copies, their topics and the inputs: what the core needs to know before a task starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{Job, JobError, JobId, RestoreContext};
use crate::core::{ChangelogInspection, CopyId, Inspection, StopReason};
use crate::log::{LogError, OffsetRange, TopicInfo, cancel};
use crate::record::TopicId;
use crate::table::{Checkpoint, Store, StoreError};

/// How long to wait for a store that the assignment before still holds.
const STORE_HELD: Duration = Duration::from_secs(10);

pub(super) fn inspect(
    context: &Arc<RestoreContext>,
    job: &mut Job,
) -> Result<Inspection, JobError> {
    let checkpoint = match context.plan.table.is_some() {
        true => read_checkpoint(context, job)?,
        false => None,
    };
    let found = ask_until_answered(context, job.id(), inspect_topics);
    let (table, input_ids, inputs) = found?;
    Ok(Inspection {
        checkpoint,
        table,
        inputs,
        input_ids,
    })
}

pub(super) fn ask_until_answered<T: Send + 'static>(
    context: &Arc<RestoreContext>,
    job: JobId,
    look: impl Fn(&RestoreContext, CopyId) -> Result<T, LogError> + Copy + Send + Sync + 'static,
) -> Result<T, JobError> {
    let (copy, _) = job;
    loop {
        let found = match context.is_inline {
            true => look(context, copy),
            false => {
                let theirs = Arc::clone(context);
                cancel::unless(|| !context.is_current(job), move || look(&theirs, copy))
                    .ok_or(JobError::Cancelled)?
            }
        };
        match found {
            Ok(found) => return Ok(found),
            Err(error @ (LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. })) => {
                return Err(StopReason::Input(error).into());
            }
            Err(error) => {
                context.log_failed(job, 0, "looking at the topics", &error);
                context.pause(job)?;
            }
        }
    }
}

/// Reads the checkpoint of a copy, whose store is opened if it is not.
pub(super) fn read_checkpoint(
    context: &RestoreContext,
    job: &mut Job,
) -> Result<Option<Checkpoint>, JobError> {
    match job.store.as_ref().map(|store| store.checkpoint()) {
        Some(Err(error @ StoreError::Unreadable { .. })) => {
            job.store = None;
            set_aside(context, job.copy, &error)?;
        }
        // It answers once it is opened anew.
        Some(Err(StoreError::RolledBack { .. })) => job.store = None,
        _ => {}
    }
    let id = job.id();
    let store = match &mut job.store {
        Some(store) => store,
        None => job.store.insert(open(context, id)?),
    };
    Ok(store.checkpoint()?)
}

/// Opens a store; one that cannot be read is moved aside, to be rebuilt.
fn open(context: &RestoreContext, job: JobId) -> Result<Box<dyn Store>, JobError> {
    let (copy, _) = job;
    let (began, name) = (Instant::now(), context.store_name(copy.table));
    let partition = copy.task.partition;
    loop {
        let opened = context.stores.open(&name, partition);
        let error = match opened.and_then(|store| store.checkpoint().map(|_| store)) {
            Ok(store) => return Ok(store),
            Err(StoreError::Locked { .. }) if began.elapsed() < STORE_HELD => {
                context.pause(job)?;
                continue;
            }
            Err(error @ StoreError::Unreadable { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        set_aside(context, copy, &error)?;
    }
}

pub(super) fn set_aside(
    context: &RestoreContext,
    copy: CopyId,
    error: &StoreError,
) -> Result<(), StoreError> {
    let (name, partition) = (context.store_name(copy.table), copy.task.partition);
    let kept = context.stores.set_aside(&name, partition)?;
    tracing::warn!(table = name, partition, %error, kept, "store moved aside, rebuilding");
    Ok(())
}

pub(super) fn inspect_changelog(
    context: &RestoreContext,
    copy: CopyId,
) -> Result<ChangelogInspection, LogError> {
    let name = context.plan.group.topic(copy.table);
    let found = context.log.describe(&[&**name])?;
    changelog_inspection(context, copy, found.into_iter().next().flatten())
}

type InspectedTopics = (
    Option<ChangelogInspection>,
    BTreeMap<TopicId, String>,
    BTreeMap<TopicId, OffsetRange>,
);

/// Inspects the copy's topic, if the group has a table, and finds the identities and the offsets of the
/// task's inputs.
fn inspect_topics(context: &RestoreContext, copy: CopyId) -> Result<InspectedTopics, LogError> {
    let (log, plan) = (&context.log, &context.plan);
    let own = plan.table.as_ref().map(|_| copy.table);
    let inputs: Vec<TopicId> = plan.group.inputs_of(copy.task).collect();
    let names = own.iter().chain(&inputs);
    let names: Vec<&str> = names.map(|topic| &**plan.group.topic(*topic)).collect();
    let mut found = log.describe(&names)?.into_iter();
    let table = match own {
        Some(_) => Some(changelog_inspection(context, copy, found.next().flatten())?),
        None => None,
    };
    // A missing input is an error of its range.
    let ids = inputs.iter().zip(found);
    let ids = ids
        .filter_map(|(topic, info)| Some((*topic, info?.id)))
        .collect();
    let places = inputs.iter();
    let places: Vec<_> = places
        .map(|topic| plan.group.place(*topic, copy.task.partition))
        .collect();
    let ranges = log.ranges(&places)?;
    Ok((table, ids, inputs.into_iter().zip(ranges).collect()))
}

fn changelog_inspection(
    context: &RestoreContext,
    copy: CopyId,
    info: Option<TopicInfo>,
) -> Result<ChangelogInspection, LogError> {
    let partition = context.plan.group.place(copy.table, copy.task.partition);
    let info = info.ok_or_else(|| LogError::unknown_topic(&partition.topic))?;
    let range = context.log.ranges(&[partition])?.into_iter().next();
    Ok(ChangelogInspection {
        id: info.id,
        range: range.unwrap_or_default(),
        delete_retention: info.delete_retention,
    })
}
