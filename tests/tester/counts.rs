//! One processor with a table and an output: inputs, outputs, errors.

use std::time::Duration;

use goka::prelude::*;
use goka::tester::Tester;

use crate::failure;

#[stream("user-clicks", key = String, value = String)]
pub(crate) struct UserClicks;

#[stream("alerts", key = String, value = i64)]
pub(crate) struct Alerts;

#[processor(group = "click-count", persist = i64)]
#[input(UserClicks)]
#[output(Alerts)]
pub(crate) fn click_count(ctx: &mut Context, click: Option<&str>) -> Result<()> {
    match click {
        Some("bad") => return Err("a bad click".into()),
        Some("deny") => {
            ctx.emit_tombstone(Alerts, ctx.key())?;
            return Ok(());
        }
        None => {
            ctx.delete()?;
            return Ok(());
        }
        Some(_) => {}
    }
    let n = ctx.update(|n| n.unwrap_or(0) + 1)?;
    if n % 5 == 0 {
        let options = Emit::new().header("by", "click-count");
        ctx.emit_with(Alerts, ctx.key(), &n, &options)?;
    }
    Ok(())
}

fn clicks(app: &mut Tester, user: &str, count: usize) {
    for _ in 0..count {
        app.input(UserClicks).send(user, "x");
    }
}

#[test]
fn inputs_are_counted_and_outputs_are_read_once() {
    let mut app = Tester::of::<ClickCount>();
    clicks(&mut app, "alice", 5);
    clicks(&mut app, "bob", 1);
    let table = app.table::<ClickCount>();
    assert_eq!(table.get("alice"), Some(5));
    assert_eq!(table.get("carol"), None);
    assert_eq!(table.len(), 2);
    assert!(!table.is_empty());
    let rows: Vec<_> = table.iter().collect();
    assert_eq!(rows, [("alice".to_owned(), 5), ("bob".to_owned(), 1)]);
    assert_eq!(format!("{table:?}"), r#"{"alice": "5", "bob": "1"}"#);
    app.output(Alerts).expect([("alice", 5)]);
    app.output(Alerts).expect_none();
}

#[test]
fn tombstones_are_sent_and_received() {
    let mut app = Tester::of::<ClickCount>();
    clicks(&mut app, "alice", 2);
    app.input(UserClicks).send_tombstone("alice");
    assert_eq!(app.table::<ClickCount>().get("alice"), None);
    assert!(app.table::<ClickCount>().is_empty());
    app.input(UserClicks).send("alice", "deny");
    app.output(Alerts).expect([("alice", None)]);
}

#[test]
fn outputs_have_headers_timestamps_and_offsets() {
    let mut app = Tester::new().and::<ClickCount>().begin(1_000).start();
    clicks(&mut app, "alice", 4);
    let options = Emit::new().timestamp(7).header("trace", "1");
    app.input(UserClicks).send_with("alice", "x", &options);
    let alerts = app.output(Alerts).take();
    let [alert] = &alerts[..] else {
        panic!("{alerts:?}");
    };
    assert_eq!((&*alert.key, alert.value), ("alice", Some(5)));
    // An output has the timestamp of its record.
    assert_eq!(alert.timestamp, 7);
    let by = ("by".to_owned(), Some(b"click-count".to_vec()));
    assert_eq!(alert.headers, [by]);
    let place = <goka::Murmur2 as goka::Partitioner>::partition(b"alice", 4);
    assert_eq!((alert.partition, alert.offset), (place, 0));

    app.advance(Duration::from_secs(2));
    assert_eq!(app.now(), 3_000);
    clicks(&mut app, "alice", 5);
    assert_eq!(app.output(Alerts).take()[0].timestamp, 3_000);
}

#[test]
fn outputs_are_read_in_the_order_of_writing() {
    let mut app = Tester::of::<ClickCount>();
    let users: Vec<String> = (0..20).map(|user| format!("user-{user}")).collect();
    for user in &users {
        clicks(&mut app, user, 5);
    }
    app.output(Alerts)
        .expect(users.iter().map(|user| (user, 5)));
}

#[test]
fn unexpected_outputs_are_shown_beside_the_expected_ones() {
    let text = failure(|| {
        let mut app = Tester::of::<ClickCount>();
        clicks(&mut app, "alice", 5);
        app.output(Alerts).expect([("alice", 6), ("bob", 5)]);
    });
    let shown = "topic `alerts` does not hold what was expected\n\
                 expected:\n  alice: 6\n  bob: 5\nfound:\n  alice: 5";
    assert_eq!(text, shown);
    let text = failure(|| {
        let mut app = Tester::of::<ClickCount>();
        clicks(&mut app, "alice", 5);
        app.output(Alerts).expect_none();
    });
    assert_eq!(
        text,
        "nothing was expected in topic `alerts`, found:\n  alice: 5"
    );
}

#[test]
fn a_handler_error_is_reported_with_its_record() {
    let text = failure(|| {
        let mut app = Tester::of::<ClickCount>();
        clicks(&mut app, "alice", 2);
        app.input(UserClicks).send("alice", "bad");
    });
    let place = <goka::Murmur2 as goka::Partitioner>::partition(b"alice", 4);
    let shown = format!(
        "group `click-count` stopped: user-clicks[{place}] offset 2, key `alice`: a bad click"
    );
    assert!(text.starts_with(&shown), "{text}");
}

#[test]
fn a_test_can_expect_a_failure_and_continue() {
    let mut app = Tester::of::<ClickCount>();
    assert!(app.error().is_none());
    let sent = app.input(UserClicks).try_send("alice", "x");
    assert_eq!(sent.map(|sent| sent.offset), Ok(0));
    let stopped = app.input(UserClicks).try_send("alice", "bad");
    let stopped = stopped.expect_err("it fails");
    assert_eq!(stopped.causes().count(), 1);
    assert_eq!(app.error(), Some(stopped.clone()));
    // The partition has stopped, the others run, and effects of earlier records are kept.
    let again = app.input(UserClicks).try_send("alice", "x");
    assert_eq!(again.expect_err("it has stopped"), stopped);
    let text = failure(|| app.input(UserClicks).send("alice", "x"));
    assert_eq!(text, stopped.to_string());
    let place = |key: &str| <goka::Murmur2 as goka::Partitioner>::partition(key.as_bytes(), 4);
    assert_ne!(place("alice"), place("bob"));
    clicks(&mut app, "bob", 1);
    assert_eq!(app.table::<ClickCount>().get("alice"), Some(1));
    assert_eq!(app.table::<ClickCount>().get("bob"), Some(1));
    // After a restart the same record fails again, with the same error.
    app.restart();
    assert_eq!(app.error(), Some(stopped));
}

#[test]
fn results_are_the_same_exactly_once_and_with_any_partition_count() {
    for partitions in [1, 3, 16] {
        let setup = Tester::new().and::<ClickCount>().partitions(partitions);
        let mut app = setup
            .guarantee(goka::Guarantee::ExactlyOnce)
            .strict()
            .start();
        for user in ["alice", "bob", "carol"] {
            clicks(&mut app, user, 5);
        }
        let alerts = [("alice", 5), ("bob", 5), ("carol", 5)];
        app.output(Alerts).expect(alerts);
        assert_eq!(app.table::<ClickCount>().len(), 3);
    }
}
