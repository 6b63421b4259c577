// A test sends keys of the topic's type.

#[allow(unused_imports)]
use goka_ui_tests::topics::*;
use goka_ui_tests::processor::ClickCount;

fn main() {
    let mut app = goka::tester::Tester::of::<ClickCount>();
    app.input(UserClicks).send(5u64, "x");
    app.input(UserClicks).send("alice", "x");
}
