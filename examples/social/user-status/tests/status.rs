//! Tests the application with the table of click-count.

use goka::tester::Tester;
use social_topics::{ClickCounts, Status, StatusChanges};
use user_status::UserStatus;

#[test]
fn a_status_has_the_clicks_so_far() {
    let mut app = Tester::of::<UserStatus>();
    let busy = Status {
        text: "busy".into(),
    };
    app.input(StatusChanges).send("alice", &busy);
    assert_eq!(app.table::<UserStatus>().get("alice").unwrap().clicks, 0);
    app.input(ClickCounts).send("alice", &7);
    app.input(StatusChanges).send("alice", &busy);
    assert_eq!(app.table::<UserStatus>().get("alice").unwrap().clicks, 7);
}
