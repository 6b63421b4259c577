//! Panics that are expected: caught, and not printed. What a run does wrong is told once, in the report.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The last panic of this thread, while nothing is printed.
    static HEARD: RefCell<Option<String>> = const { RefCell::new(None) };
    static QUIET: RefCell<usize> = const { RefCell::new(0) };
}

/// Calls something whose panics, on this thread, are not printed: what it gave, or the panic's message
/// and place. Panics that it catches itself are not printed either.
pub(super) fn catch_panic<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |info| {
            if QUIET.with_borrow(|depth| *depth == 0) {
                print(info);
            } else {
                HEARD.with_borrow_mut(|heard| *heard = Some(text(info)));
            }
        }));
    });
    QUIET.with_borrow_mut(|depth| *depth += 1);
    let called = catch_unwind(AssertUnwindSafe(call));
    QUIET.with_borrow_mut(|depth| *depth -= 1);
    called.map_err(|_| HEARD.take().unwrap_or_else(|| "a panic".to_owned()))
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
        // What is caught within leaves nothing behind.
        let outer = catch_panic(|| catch_panic(|| panic!("inner")).expect_err("it panics"));
        assert!(
            outer
                .expect("the outer one does not")
                .starts_with("inner (")
        );
    }
}
