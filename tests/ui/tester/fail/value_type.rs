// A test sends values of the topic's type.

#[allow(unused_imports)]
use goka_ui_tests::topics::*;
use goka_ui_tests::processor::ClickCount;

fn main() {
    let mut app = goka::tester::Tester::of::<ClickCount>();
    app.input(UserClicks).send("alice", &5i64);
    app.input(UserClicks).send("alice", "x");
}
