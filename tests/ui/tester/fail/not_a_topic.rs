// A test sends to topics, by a method of theirs (two here).

#[allow(unused_imports)]
use goka_ui_tests::topics::*;
use goka_ui_tests::processor::ClickCount;

fn main() {
    let mut app = goka::tester::Tester::of::<ClickCount>();
    app.input(Plain).send("alice", "x");
    app.input(UserClicks).send("alice", "x");
}
