//! Keys that decode but are not encoded as this program encodes them, such as `007` for a `u64`. A row is
//! found by its key's bytes, so such a key would have a second row.

use super::stop_reason::{FailedRecord, StopReason, key_text};
use crate::codec::Format;

/// Whether this program would encode `key` otherwise; `form` then holds how. A key that does not decode
/// is left to its handler, which fails.
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
