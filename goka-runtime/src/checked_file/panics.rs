//! redb panics over pages that are damaged, where it trusts them: in a file that was closed in order, and in
//! files of earlier versions, which have no checksums. (So this needs unwinding, not `panic = "abort"`.)

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes an error of a panic of redb, from its text. What the call leaves behind must not be used again.
pub(crate) fn panic_as_error<T, E>(
    call: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(&str) -> E,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(error(text.unwrap_or("reading it panics")))
    })
}
