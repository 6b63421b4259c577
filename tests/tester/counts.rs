//! One processor with a table and an output.

use std::time::Duration;

use goka::prelude::*;
use goka::tester::Tester;
use goka::{Guarantee, Timestamp};

#[stream("user-clicks", key = String, value = String)]
struct UserClicks;

#[stream("alerts", key = String, value = i64)]
struct Alerts;

#[stream("elsewhere", key = String, value = i64)]
struct Elsewhere;

#[processor(group = "click-count", persist = i64)]
#[input(UserClicks)]
#[output(Alerts)]
fn click_count(ctx: &mut Context, click: &str) -> Result<()> {
    if click == "bad" {
        return Err("a bad click".into());
    }
    if click == "forget" {
        ctx.delete()?;
        return Ok(());
    }
    let n = ctx.update(|n| n.unwrap_or(0) + 1)?;
    if n % 5 == 0 {
        ctx.emit(Alerts, ctx.key(), &n)?;
    }
    Ok(())
}

#[test]
fn counts() {
    let mut app = Tester::of::<ClickCount>();
    for _ in 0..5 {
        app.input(UserClicks).send("alice", "x");
    }
    assert_eq!(app.table::<ClickCount>().get("alice"), Some(5));
    assert_eq!(app.table::<ClickCount>().get("bob"), None);
    app.output(Alerts).expect([("alice", 5)]);
    app.output(Alerts).expect_none();
}
