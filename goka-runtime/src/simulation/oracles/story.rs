//! What happened to the place of a violation, a line each.

use super::{Evidence, Violation};

/// What happened to the place of a violation, in order, a line each.
pub(in crate::simulation) fn story(
    _evidence: &Evidence<'_>,
    _violation: &Violation,
) -> Vec<String> {
    Vec::new()
}
