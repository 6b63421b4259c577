//! Whether and from where a task may start: what its local copy is worth, and its start offsets.

use super::event::{ChangelogInspection, Inspection};
use super::metadata::{OffsetMetadata, VERSION, fingerprint_hash};
use super::plan::{Plan, TablePlan};
use super::recovery::{
    ChangelogPartition, InputInspection, RestoreFrom, Role, decide, deleted_rows,
};
use super::stop_reason::StopReason;
use super::task::Offsets;
use crate::graph::Start as InputStart;
use crate::log::{LogError, OffsetRange};
use crate::record::{TaskId, Timestamp, TopicId};

/// Decides by what was found, and sets the task's start offsets and what is committed with them. Returns how the
/// copy is brought up first, if there is a table.
pub(super) fn examine(
    plan: &Plan,
    task: TaskId,
    offsets: &mut Offsets,
    found: &Inspection,
    now: Timestamp,
) -> Result<Option<RestoreFrom>, StopReason> {
    check_ids(plan, task, offsets, found)?;
    let start = match (&plan.table, &found.table) {
        (Some(table), Some(changelog)) => {
            let table = (table, changelog);
            Some(restore(plan, task, offsets, found, table, now)?)
        }
        _ => {
            check_offsets(plan, task, offsets, found)?;
            None
        }
    };
    let first = |input| {
        let range = range(found, input);
        match plan.input(input).map(|input| input.start) {
            Some(InputStart::Latest) => range.high,
            _ => range.start,
        }
    };
    let inputs = plan.group.inputs_of(task);
    let positions = inputs.map(|input| {
        let committed = offsets.committed(input);
        (input, committed.unwrap_or_else(|| first(input)))
    });
    let positions = positions.collect();
    let metadata = metadata(plan, task, offsets.metadata(), found);
    offsets.start_at(positions, metadata);
    Ok(start)
}

fn range(found: &Inspection, input: TopicId) -> OffsetRange {
    found.inputs.get(&input).copied().unwrap_or_default()
}

/// How the copy of the group table is restored.
fn restore(
    plan: &Plan,
    task: TaskId,
    offsets: &Offsets,
    found: &Inspection,
    (table, changelog): (&TablePlan, &ChangelogInspection),
    now: Timestamp,
) -> Result<RestoreFrom, StopReason> {
    let inputs = plan.group.inputs_of(task).map(|input| {
        let range = range(found, input);
        InputInspection {
            name: plan.group.topic(input),
            committed: offsets.committed(input),
            start: range.start,
            end: range.high,
        }
    });
    let inputs: Vec<_> = inputs.collect();
    let topic = ChangelogPartition {
        name: plan.group.topic(table.topic),
        cluster: &plan.cluster,
        id: &changelog.id,
        partition: task.partition,
        start: changelog.range.start,
        end: changelog.range.high,
        delete_retention: changelog.delete_retention,
    };
    let role = Role::Owner {
        metadata: offsets.metadata(),
        inputs: &inputs,
    };
    let checkpoint = found.checkpoint.as_ref();
    let decision = decide(checkpoint, &topic, &table.fingerprint, &role, now);
    let restore = decision.restore_from(topic.start);
    let restore = restore.map_err(StopReason::Recovery)?;
    if restore.rebuild.is_none()
        && let Some(why) = deleted_rows(&topic, &role)
    {
        tracing::warn!(%why, "rows of the table are left in local copies only");
    }
    Ok(restore)
}

/// An offset that was committed of an input that was deleted and made again since counts records that
/// are gone. A group without a table forgets it, and begins with the new topic where it begins with any;
/// what such an offset means to a table, only an operator can say.
fn check_ids(
    plan: &Plan,
    task: TaskId,
    offsets: &mut Offsets,
    found: &Inspection,
) -> Result<(), StopReason> {
    for (input, id) in &found.input_ids {
        let Some(other) = offsets.identify(*input, id) else {
            continue;
        };
        let (topic, partition) = (plan.group.topic(*input), task.partition);
        let Some(offset) = offsets.committed(*input) else {
            continue;
        };
        if plan.table.is_some() {
            return Err(StopReason::InputMadeAgain {
                topic: topic.to_string(),
                partition,
                offset,
                found: other,
                expected: id.clone(),
            });
        }
        tracing::warn!(
            topic = &**topic,
            partition,
            offset,
            "the input was deleted and made again: its committed offset does not count any more"
        );
        offsets.forget(*input, topic);
    }
    Ok(())
}

/// A committed offset outside its input is refused, never a silent jump.
fn check_offsets(
    plan: &Plan,
    task: TaskId,
    offsets: &Offsets,
    found: &Inspection,
) -> Result<(), StopReason> {
    let expected = plan.group.topic(task.lead);
    if let Some(known) = offsets.metadata()
        && plan.group.lead.is_some()
        && known.lead != **expected
    {
        return Err(StopReason::OtherLead {
            group: plan.group.name.to_string(),
            found: known.lead.clone(),
            expected: expected.to_string(),
        });
    }
    for input in plan.group.inputs_of(task) {
        let (Some(offset), Some(range)) = (offsets.committed(input), found.inputs.get(&input))
        else {
            continue;
        };
        if offset < range.start || offset > range.high {
            return Err(StopReason::Input(LogError::OutOfRange {
                topic: plan.group.topic(input).to_string(),
                partition: task.partition,
                offset,
            }));
        }
    }
    Ok(())
}

/// What is committed with the start offsets. `known` is what the group has with its offsets now.
fn metadata(
    plan: &Plan,
    task: TaskId,
    known: Option<&OffsetMetadata>,
    found: &Inspection,
) -> OffsetMetadata {
    let own = plan.group.inputs_of(task);
    let own: Vec<_> = own
        .map(|input| plan.group.topic(input).to_string())
        .collect();
    let table = found.table.as_ref();
    let mut metadata = OffsetMetadata {
        version: VERSION,
        fingerprint: fingerprint_hash(plan.table.as_ref().map_or("", |table| &table.fingerprint)),
        table_id: table.map(|table| table.id.clone()).unwrap_or_default(),
        // Where the table began stays noted, whatever was deleted since.
        table_start: table.map(|table| {
            let start = table.range.start;
            known.map_or(start, |known| known.table_start.unwrap_or(0))
        }),
        table_end: known.and_then(|known| known.table_end),
        lead: plan.group.topic(task.lead).to_string(),
        reads: Some(own.len()),
        inputs: own,
        ..OffsetMetadata::default()
    };
    for input in known.map_or(&[][..], |known| &known.inputs) {
        if !metadata.knows(input) {
            metadata.inputs.push(input.clone());
        }
    }
    metadata
}
