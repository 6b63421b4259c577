//! The tester as users write tests with it: processors made by the macros, on the simulated log.

mod counts;
mod edges;
mod mistakes;
mod moves;

/// The panic message of a test that fails.
fn failure(test: impl FnOnce()) -> String {
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
    let payload = failed.expect_err("it fails");
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
    text.expect("a panic with a message")
}
