//! Looks for another program under the group's name, in the offsets that the group committed: once before
//! this process commits anything, and once before its first handler runs. A program that starts later
//! finds what this process committed, so this one need not look again.

use std::sync::Arc;

use super::context::{JobError, JobId, RestoreContext};
use super::inspect::ask_until_answered;
use crate::core::metadata::OffsetMetadata;
use crate::core::{StopReason, changes_of_hash, hash_follows};
use crate::lock::lock;
use crate::log::LogError;
use crate::record::TopicPartition;

/// Looks once, though several tasks start at the same time. Before the first commit another definition of
/// this program's table is found for each partition, with a better message; so not `by_table`.
pub(super) fn check(
    context: &Arc<RestoreContext>,
    job: JobId,
    by_table: bool,
) -> Result<(), JobError> {
    let found = ask_until_answered(context, job, move |context, _| {
        let mut is_done = lock(&context.are_programs_checked[usize::from(by_table)]);
        if *is_done {
            return Ok(None);
        }
        let found = other_program(context, by_table)?;
        *is_done = found.is_none();
        Ok(found)
    });
    found?.map_or(Ok(()), |other| Err(other.into()))
}

fn other_program(context: &RestoreContext, by_table: bool) -> Result<Option<StopReason>, LogError> {
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
        // Topics that are led by another one are assigned separately.
        if metadata.lead != **group.topic(lead) {
            continue;
        }
        let what = if let Some(theirs) = metadata.other_inputs(&ours) {
            let (theirs, ours) = (list(theirs), list(&ours));
            format!("one that reads {theirs}, where this one reads {ours}")
        } else if by_table && !hash_follows(metadata.fingerprint, fingerprint) {
            let changes = changes_of_hash(metadata.fingerprint, fingerprint);
            format!("one with another definition of the table: {changes}")
        } else {
            continue;
        };
        found.push((at, what));
    }
    // The other program owns other partitions than this one, if it is running.
    let is_ours = |at: &TopicPartition| {
        let queue = context.queue();
        let mut tasks = queue.current.keys();
        tasks.any(|task| task.partition == at.partition)
    };
    let at = found.iter().position(|(at, _)| !is_ours(at));
    let Some((at, found)) = found.into_iter().nth(at.unwrap_or(0)) else {
        return Ok(None);
    };
    let lead = group.place(lead, at.partition);
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
