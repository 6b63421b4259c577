// A test reads tables.

#[allow(unused_imports)]
use goka_ui_tests::topics::*;
use goka_ui_tests::processor::ClickCount;

fn main() {
    let app = goka::tester::Tester::of::<ClickCount>();
    app.table::<UserClicks>();
    app.table::<ClickCount>();
}
