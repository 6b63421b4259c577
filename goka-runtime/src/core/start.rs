//! Whether and from where a task may start: its local copy judged, its start positions chosen.

use super::event::Inspection;
use super::ids::Now;
use super::metadata::{OffsetMetadata, VERSION, fingerprint_hash};
use super::plan::Plan;
use super::recovery::{
    InputInspection, RecoveryDecision, RecoveryReason, Role, Topic, decide, deleted_rows,
    is_other_topic,
};
use super::stop_reason::StopReason;
use super::task::Task;
use crate::graph::Start as From;
use crate::log::LogError;
use crate::record::Offset;

/// How a task starts.
pub(super) enum Start {
    /// There is no table to restore.
    Now,
    /// The copy is brought up first.
    Restore {
        from: Offset,
        rebuild: Option<RecoveryReason>,
    },
}

/// Judges what was found, and sets the task's start positions and metadata.
pub(super) fn examine(
    plan: &Plan,
    task: &mut Task,
    facts: &Inspection,
    now: Now,
) -> Result<Start, StopReason> {
    check_ids(plan, task, facts)?;
    let start = match (&plan.table, &facts.table) {
        (Some(table), Some(found)) => {
            let inputs: Vec<_> = plan
                .group
                .inputs_of(task.id)
                .map(|input| {
                    let range = facts.inputs.get(&input).copied().unwrap_or_default();
                    InputInspection {
                        name: plan.group.topic(input),
                        committed: task.committed.get(&input).copied(),
                        start: range.start,
                        end: range.high,
                    }
                })
                .collect();
            let topic = Topic {
                name: plan.group.topic(table.topic),
                cluster: &plan.cluster,
                id: &found.id,
                partition: task.id.partition,
                start: found.range.start,
                end: found.range.high,
                delete_retention: found.delete_retention,
            };
            let role = Role::Owner {
                metadata: task.metadata.as_ref(),
                inputs: &inputs,
            };
            match decide(
                facts.stamp.as_ref(),
                &topic,
                &table.fingerprint,
                &role,
                now.wall,
            ) {
                RecoveryDecision::CatchUp { from } => {
                    if let Some(why) = deleted_rows(&topic, &role) {
                        tracing::warn!(%why, "rows of the table are left in local copies only");
                    }
                    Start::Restore {
                        from,
                        rebuild: None,
                    }
                }
                RecoveryDecision::Rebuild(why) => Start::Restore {
                    from: found.range.start,
                    rebuild: Some(why),
                },
                RecoveryDecision::Refuse(why) => return Err(StopReason::Recovery(why)),
            }
        }
        _ => {
            check_offsets(plan, task, facts)?;
            Start::Now
        }
    };
    task.positions = plan
        .group
        .inputs_of(task.id)
        .map(|input| {
            let range = facts.inputs.get(&input).copied().unwrap_or_default();
            let start = match plan.input(input).map(|input| input.start) {
                Some(From::Latest) => range.high,
                _ => range.start,
            };
            (input, task.committed.get(&input).copied().unwrap_or(start))
        })
        .collect();
    task.next_metadata = Some(metadata(plan, task, facts));
    Ok(start)
}

/// An offset that was committed of an input that was deleted and made again since counts records that
/// are gone. A group without a table forgets it, and begins with the new topic where it begins with any;
/// what such an offset means to a table, only people know.
fn check_ids(plan: &Plan, task: &mut Task, facts: &Inspection) -> Result<(), StopReason> {
    for (input, expected) in &facts.input_ids {
        let found = task.input_ids.insert(*input, expected.clone());
        let Some(found) = found.filter(|found| is_other_topic(found, expected)) else {
            continue;
        };
        let (topic, partition) = (plan.group.topic(*input), task.id.partition);
        let Some(offset) = task.committed.get(input).copied() else {
            continue;
        };
        if plan.table.is_some() {
            return Err(StopReason::InputMadeAgain {
                topic: topic.to_string(),
                partition,
                offset,
                found,
                expected: expected.clone(),
            });
        }
        tracing::warn!(
            topic = &**topic,
            partition,
            offset,
            "the input was deleted and made again: its committed offset does not count any more"
        );
        task.committed.remove(input);
        task.died.remove(input);
        if let Some(metadata) = &mut task.metadata {
            metadata.inputs.retain(|known| known != &**topic);
        }
    }
    Ok(())
}

/// A committed offset outside its input is refused, never a silent jump.
fn check_offsets(plan: &Plan, task: &Task, facts: &Inspection) -> Result<(), StopReason> {
    let expected = plan.group.topic(task.id.lead);
    if let Some(known) = &task.metadata
        && plan.group.lead.is_some()
        && known.lead != **expected
    {
        return Err(StopReason::OtherLead {
            group: plan.group.name.to_string(),
            found: known.lead.clone(),
            expected: expected.to_string(),
        });
    }
    for input in plan.group.inputs_of(task.id) {
        let (Some(&offset), Some(range)) = (task.committed.get(&input), facts.inputs.get(&input))
        else {
            continue;
        };
        if offset < range.start || offset > range.high {
            return Err(StopReason::Input(LogError::OutOfRange {
                topic: plan.group.topic(input).to_string(),
                partition: task.id.partition,
                offset,
            }));
        }
    }
    Ok(())
}

fn metadata(plan: &Plan, task: &Task, facts: &Inspection) -> OffsetMetadata {
    let names = plan.group.inputs_of(task.id);
    let mut inputs: Vec<_> = names
        .map(|input| plan.group.topic(input).to_string())
        .collect();
    let reads = Some(inputs.len());
    if let Some(known) = &task.metadata {
        let mut now = OffsetMetadata {
            inputs,
            ..known.clone()
        };
        for input in &known.inputs {
            if !now.knows(input) {
                now.inputs.push(input.clone());
            }
        }
        inputs = now.inputs;
    }
    let start = facts.table.as_ref().map(|table| table.range.start);
    let known = task.metadata.as_ref();
    OffsetMetadata {
        version: VERSION,
        fingerprint: fingerprint_hash(plan.table.as_ref().map_or("", |table| &table.fingerprint)),
        table_id: facts
            .table
            .as_ref()
            .map(|table| table.id.clone())
            .unwrap_or_default(),
        // Where the table began stays noted, whatever was deleted since.
        table_start: start.map(|start| known.map_or(start, |known| known.table_start.unwrap_or(0))),
        table_end: known.and_then(|known| known.table_end),
        lead: plan.group.topic(task.id.lead).to_string(),
        input_id: None,
        died: None,
        inputs,
        reads,
        address: None,
    }
}
