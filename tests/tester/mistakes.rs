//! The errors of tests that are wrong.

use goka::prelude::*;
use goka::tester::Tester;

use crate::counts::{Alerts, ClickCount, UserClicks};
use crate::edges::{Lengths, Mailbox};
use crate::failure;

#[stream("nowhere", key = String, value = String)]
struct Nowhere;

/// The same table as a topic.
#[table("click-count-state", key = String, value = i64)]
struct Counts;

#[test]
fn a_table_of_an_unregistered_processor_is_named() {
    let text = failure(|| {
        let app = Tester::of::<ClickCount>();
        app.table::<Lengths>();
    });
    for part in [
        "Lengths`",
        "(table `lengths-state`)",
        "which has `ClickCount`",
        ".and::<",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_topic_that_no_processor_reads_is_named() {
    let text = failure(|| Tester::of::<ClickCount>().input(Nowhere).send("alice", "x"));
    assert_eq!(
        text,
        "topic `nowhere` is read by no processor of this tester, which has `ClickCount`"
    );
}

#[test]
fn a_topic_that_no_processor_emits_to_is_named() {
    let text = failure(|| Tester::of::<ClickCount>().output(Nowhere).expect_none());
    assert_eq!(
        text,
        "no processor of this tester emits to topic `nowhere`; it has `ClickCount`"
    );
}

#[test]
fn sending_to_a_group_table_is_refused() {
    let text = failure(|| Tester::of::<ClickCount>().input(Counts).send("alice", &7));
    assert!(text.contains("is the table of `ClickCount`"), "{text}");
}

#[test]
fn a_missing_shared_value_is_an_error() {
    let text = failure(|| drop(Tester::of::<Mailbox>()));
    assert!(text.contains("`Mailbox` (tests/tester/edges.rs:"), "{text}");
    assert!(text.contains("Tester::new().with(Mailbox ..)"), "{text}");
}

#[test]
fn a_strict_test_fails_with_unread_outputs() {
    let clicks = |app: &mut Tester| {
        app.strict();
        for user in ["alice", "bob"] {
            for _ in 0..5 {
                app.input(UserClicks).send(user, "x");
            }
        }
    };
    let text = failure(|| clicks(&mut Tester::of::<ClickCount>()));
    assert_eq!(
        text,
        "the test is strict and left outputs unread:\ntopic `alerts`:\n  alice: 5\n  bob: 5"
    );
    let mut app = Tester::of::<ClickCount>();
    clicks(&mut app);
    app.output(Alerts).take();
    drop(app);
    // If the test panics, only that panic is reported.
    let text = failure(|| {
        let mut app = Tester::of::<ClickCount>();
        clicks(&mut app);
        panic!("first");
    });
    assert_eq!(text, "first");
}

#[stream("rounds", key = String, value = i64)]
struct Rounds;

/// Sends each record to itself, again and again.
#[derive(Default)]
struct Circle;

#[processor(group = "circle")]
impl Circle {
    #[input(Rounds)]
    fn on(&self, ctx: &mut Context, n: i64) -> Result<()> {
        ctx.loopback("next", &n)?;
        Ok(())
    }

    #[loopback]
    fn on_next(&self, ctx: &mut Context, n: i64) -> Result<()> {
        ctx.loopback("next", &n)?;
        Ok(())
    }
}

#[test]
fn an_endless_loop_is_reported() {
    let text = failure(|| Tester::of::<Circle>().input(Rounds).send("alice", &1));
    assert!(text.starts_with("`Circle` never became idle"), "{text}");
}
