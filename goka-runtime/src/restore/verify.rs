//! Looks for another program under the group's name, in what the group committed: once before this
//! process commits anything, and once before its first handler runs. Whoever starts later finds what this
//! process committed, so it need not look again.

use std::sync::{Arc, Mutex, PoisonError};

use super::Context;
use super::inspect::patiently;
use crate::core::metadata::OffsetMetadata;
use crate::core::{CopyId, StopReason, changes_of_hash, hash_follows};
use crate::log::{Epoch, LogError};
use crate::record::TopicPartition;

/// Whether each of the two looks found nobody, or is not needed.
pub(super) struct Others {
    before: Mutex<bool>,
    after: Mutex<bool>,
}

impl Others {
    /// `has_run` says that this process has looked before: on a client that died.
    pub(super) fn new(has_run: bool) -> Self {
        let (before, after) = (Mutex::new(has_run), Mutex::new(has_run));
        Self { before, after }
    }
}

pub(super) fn before(
    context: &Arc<Context>,
    copy: CopyId,
    epoch: Epoch,
) -> Option<Result<(), StopReason>> {
    answer(patiently(context, copy, epoch, |context, _| {
        // Another definition of this program's table is found partition by partition, and told better.
        once(&context.others.before, || other(context, false))
    })?)
}

pub(super) fn after(
    context: &Arc<Context>,
    copy: CopyId,
    epoch: Epoch,
) -> Option<Result<(), StopReason>> {
    answer(patiently(context, copy, epoch, |context, _| {
        once(&context.others.after, || other(context, true))
    })?)
}

fn answer(found: Result<Option<StopReason>, StopReason>) -> Option<Result<(), StopReason>> {
    Some(found.and_then(|other| other.map_or(Ok(()), Err)))
}

/// Looks, unless that was done; several tasks start at once.
fn once(
    done: &Mutex<bool>,
    look: impl FnOnce() -> Result<Option<StopReason>, LogError>,
) -> Result<Option<StopReason>, LogError> {
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    if *done {
        return Ok(None);
    }
    let found = look()?;
    *done = found.is_none();
    Ok(found)
}

fn other(context: &Context, by_table: bool) -> Result<Option<StopReason>, LogError> {
    let (plan, group) = (&context.plan, &context.plan.group);
    let (true, Some(lead)) = (plan.verifies, group.lead) else {
        return Ok(None);
    };
    let partitions = plan.inputs.iter().map(|input| input.partitions).max();
    let ours: Vec<&str> = group.inputs.iter().map(|id| &**group.topic(*id)).collect();
    let fingerprint = plan.table.as_ref().map_or("", |table| &table.fingerprint);
    let mut found = Vec::new();
    for (at, committed) in context
        .log
        .all_committed(&group.name, partitions.unwrap_or(0))?
    {
        let Some(metadata) = OffsetMetadata::parse(&committed.metadata) else {
            continue;
        };
        // What is led by another topic is assigned apart from this.
        if metadata.lead != **group.topic(lead) {
            continue;
        }
        if let Some(theirs) = metadata.other_inputs(&ours) {
            let (theirs, ours) = (list(theirs), list(&ours));
            found.push((
                at,
                format!("one that reads {theirs}, where this one reads {ours}"),
            ));
        } else if by_table && !hash_follows(metadata.fingerprint, fingerprint) {
            let changes = changes_of_hash(metadata.fingerprint, fingerprint);
            found.push((
                at,
                format!("one with another definition of the table: {changes}"),
            ));
        }
    }
    // Its members have other partitions than this one.
    let is_ours = |at: &TopicPartition| {
        let queue = context.queue();
        queue
            .current
            .keys()
            .any(|task| task.partition == at.partition)
    };
    let at = found.iter().position(|(at, _)| !is_ours(at));
    let Some((at, found)) = found.into_iter().nth(at.unwrap_or(0)) else {
        return Ok(None);
    };
    let lead = TopicPartition::new(Arc::clone(group.topic(lead)), at.partition);
    let holder = Some(lead).filter(|_| !is_ours(&at));
    let holder = holder.and_then(|lead| context.log.holder(&group.name, &lead));
    Ok(Some(StopReason::OtherProgram {
        at: format!("{}[{}]", at.topic, at.partition),
        found,
        holder: holder.map_or_else(String::new, |holder| format!(", and runs as {holder}")),
    }))
}

fn list(names: &[impl AsRef<str>]) -> String {
    let names = names.iter().map(|name| format!("`{}`", name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}
