//! Catches panics without printing them: the report of a simulation shows each once.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The message of the last panic of this thread that was not printed.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// How many calls of [`catch_panic`] this thread is in.
    static CATCHING: RefCell<usize> = const { RefCell::new(0) };
}

/// Calls a function without printing panics of this thread, those that it catches itself included.
/// Returns its result, or the message and place of its panic.
pub(super) fn catch_panic<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |info| {
            if CATCHING.with_borrow(|depth| *depth == 0) {
                print(info);
            } else {
                LAST_PANIC.with_borrow_mut(|last| *last = Some(text(info)));
            }
        }));
    });
    CATCHING.with_borrow_mut(|depth| *depth += 1);
    let called = catch_unwind(AssertUnwindSafe(call));
    CATCHING.with_borrow_mut(|depth| *depth -= 1);
    called.map_err(|_| LAST_PANIC.take().unwrap_or_else(|| "a panic".to_owned()))
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a text");
    match info.location() {
        Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::catch_panic;

    #[test]
    fn a_panic_is_a_text_with_its_place() {
        let text = catch_panic(|| panic!("{} is odd", 3)).expect_err("it panics");
        assert!(
            text.starts_with("3 is odd (goka-runtime/src/simulation/panics.rs:"),
            "{text}"
        );
        assert_eq!(catch_panic(|| 3), Ok(3));
        // A panic that the function catches itself does not show in the result.
        let outer = catch_panic(|| catch_panic(|| panic!("inner")).expect_err("it panics"));
        assert!(
            outer
                .expect("the outer one does not")
                .starts_with("inner (")
        );
    }
}
