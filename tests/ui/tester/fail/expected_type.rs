// A test expects values of the topic's type.

#[allow(unused_imports)]
use goka_ui_tests::topics::*;
use goka_ui_tests::processor::ClickCount;

fn main() {
    let mut app = goka::tester::Tester::of::<ClickCount>();
    app.output(Alerts).expect([("alice", "five")]);
    app.output(Alerts).expect([("alice", Alert(5))]);
}
