//! Rebalances, restarts, crashes, and time that passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goka::Guarantee;
use goka::prelude::*;
use goka::tester::Tester;

#[stream("events", key = String, value = i64)]
pub(crate) struct Events;

#[stream("sums-out", key = String, value = i64)]
pub(crate) struct SumsOut;

/// Fails while `is_broken` is set.
pub(crate) struct Sum {
    is_broken: Arc<AtomicBool>,
}

#[processor(group = "sum", persist = i64)]
#[output(SumsOut)]
impl Sum {
    #[input(Events)]
    fn on(&self, ctx: &mut Context, value: i64) -> Result<()> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err("broken".into());
        }
        let sum = ctx.update(|sum| sum.unwrap_or(0) + value)?;
        ctx.emit(SumsOut, ctx.key(), &sum)?;
        Ok(())
    }
}

fn users() -> impl Iterator<Item = String> {
    (0..16).map(|user| format!("user-{user}"))
}

fn sum(guarantee: Guarantee, is_broken: Arc<AtomicBool>) -> Tester {
    let setup = Tester::new().with(Sum { is_broken });
    setup.guarantee(guarantee).start()
}

/// Sends a record to every user, and checks that each sum is `rounds`.
fn send_all(app: &mut Tester, rounds: i64) {
    for user in users() {
        app.input(Events).send(&user, &1);
    }
    let expected: Vec<_> = users().map(|user| (user, rounds)).collect();
    app.output(SumsOut).expect(expected.clone());
    let mut rows: Vec<_> = app.table::<Sum>().iter().collect();
    rows.sort_by_key(|(user, _)| expected.iter().position(|(of, _)| of == user));
    assert_eq!(rows, expected);
}

/// Every handler sees the value of the one before it, whichever instance that ran on.
#[test]
fn tables_are_kept_over_rebalances_restarts_and_crashes() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let mut app = sum(guarantee, Arc::default());
        let moves: [fn(&mut Tester); 6] = [
            Tester::rebalance,
            Tester::restart,
            Tester::crash,
            |app| app.advance(Duration::from_secs(60)),
            Tester::crash,
            Tester::rebalance,
        ];
        send_all(&mut app, 1);
        for (rounds, happens) in (2..).zip(moves) {
            happens(&mut app);
            send_all(&mut app, rounds);
        }
    }
}

#[test]
fn a_record_that_failed_is_handled_after_a_restart() {
    for happens in [Tester::restart, Tester::crash, Tester::rebalance] {
        let is_broken = Arc::new(AtomicBool::new(false));
        let mut app = sum(Guarantee::AtLeastOnce, is_broken.clone());
        app.input(Events).send("alice", &1);
        is_broken.store(true, Ordering::Relaxed);
        let stopped = app.input(Events).try_send("alice", &2);
        assert!(stopped.is_err());
        is_broken.store(false, Ordering::Relaxed);
        happens(&mut app);
        assert_eq!(app.error(), None);
        app.output(SumsOut).expect([("alice", 1), ("alice", 3)]);
    }
}

#[test]
fn the_clock_can_advance_by_a_month() {
    let mut app = sum(Guarantee::ExactlyOnce, Arc::default());
    send_all(&mut app, 1);
    let then = app.now();
    app.advance(Duration::from_secs(30 * 24 * 3_600));
    assert_eq!(app.now() - then, 30 * 24 * 3_600 * 1_000);
    send_all(&mut app, 2);
}
