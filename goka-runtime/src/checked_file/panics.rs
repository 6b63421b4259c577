//! Turns panics of redb into errors, for the stores and the embedded log. redb panics on some damaged pages,
//! since it checks their checksums only in a repair. Files of earlier versions have no checksums of ours that
//! would find the damage first. This needs unwinding: with `panic = "abort"` the process ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::shared_error::panic_text;

/// Runs a call of redb; a panic becomes the error that `error` makes of its message. After a panic the caller
/// must drop the database that the call used, which may be inconsistent.
pub(crate) fn panic_as_error<T, E>(
    call: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(&str) -> E,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(error(panic_text(&*panic))))
}
