//! Tests the application without a broker and without waiting.

use click_count::ClickCount;
use goka::tester::Tester;
use social_topics::UserClicks;

#[test]
fn clicks_are_counted_across_rebalances() {
    let mut app = Tester::of::<ClickCount>();
    for user in ["alice", "bob", "alice"] {
        app.input(UserClicks).send(user, "now");
        app.rebalance();
    }
    let rows: Vec<_> = app.table::<ClickCount>().iter().collect();
    assert_eq!(rows, [("alice".to_owned(), 2), ("bob".to_owned(), 1)]);
}
