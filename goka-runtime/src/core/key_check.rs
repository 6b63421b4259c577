//! Which keys a group may handle: not a record without one in a group with a table, nor a key of another partition,
//! nor one that decodes but is not encoded as this program encodes it, such as `007` for a `u64`. A row is found by
//! its key's bytes, so such a key would have a second row.

use super::plan::{InputPlan, Plan};
use super::stop_reason::{FailedRecord, StopReason, key_text};
use crate::codec::Format;
use crate::record::Record;

/// Checks that the key of a record is one that the group may handle in this partition; `form` is overwritten.
///
/// # Errors
/// Why it is not.
#[inline]
pub(super) fn check(
    plan: &Plan,
    partition: i32,
    input: &InputPlan,
    record: &Record<'_>,
    form: &mut Vec<u8>,
) -> Result<(), StopReason> {
    if input.keyless || (plan.table.is_none() && plan.joins.is_empty()) {
        return Ok(());
    }
    let (topic, offset) = (plan.group.topic(input.topic), record.offset);
    let Some(key) = record.key else {
        if plan.table.is_none() {
            return Ok(());
        }
        return Err(StopReason::NullKey {
            topic: topic.to_string(),
            partition,
            offset,
        });
    };
    let failed = || FailedRecord::new(topic, partition, offset, key);
    if is_other(&input.key, key, form) {
        return Err(refusal(failed(), form));
    }
    let expected = (input.partition_of)(key, input.partitions);
    if plan.table.is_none() || expected == partition {
        return Ok(());
    }
    Err(StopReason::Misplaced {
        record: failed(),
        partitioner: input.partitioner,
        expected,
    })
}

/// Whether this program would encode `key` otherwise; `form` then holds how. A key that does not decode
/// is left to its handler, which fails.
#[inline]
pub(crate) fn is_other(format: &Format, key: &[u8], form: &mut Vec<u8>) -> bool {
    let Some(canonical) = format.canonical else {
        return false;
    };
    form.clear();
    canonical(key, form).is_ok() && form != key
}

/// Why a task stops at a record whose key is in another form than `expected`.
pub(crate) fn refusal(record: FailedRecord, expected: &[u8]) -> StopReason {
    let expected = key_text(expected);
    StopReason::OtherForm { record, expected }
}
