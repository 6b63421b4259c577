//! How applications are tested: processors run unchanged on a log in memory that behaves as Kafka does, with
//! a clock that the test moves. A simulation runs them with all kinds of faults.
//!
//! ```text
//! cargo run --example tester --features tester
//! cargo test --example tester --features tester
//! ```

use std::time::Duration;

use goka::Guarantee;
use goka::prelude::*;
use goka::tester::Tester;
use serde::{Deserialize, Serialize};

/// Orders, keyed by customer; the value is the amount.
#[derive(Debug)]
#[stream("orders", key = String, value = i64)]
struct Orders;

/// Customers' limits, kept by another program.
#[derive(Debug)]
#[table("limits", key = String, value = i64)]
struct Limits;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Warning {
    total: i64,
    limit: i64,
}

#[derive(Debug)]
#[stream("warnings", key = String, value = Json<Warning>)]
struct Warnings;

/// Adds up what each customer ordered, and warns of those who are over their limit.
#[processor(group = "totals", persist = i64)]
#[input(Orders)]
#[join(Limits)]
#[output(Warnings)]
fn totals(ctx: &mut Context, amount: i64) -> Result<()> {
    if amount < 0 {
        return Err(format!("an order of {amount}").into());
    }
    let total = ctx.update(|total| total.unwrap_or(0) + amount)?;
    let limit = ctx.join(Limits)?.unwrap_or(100);
    if total > limit {
        ctx.emit(Warnings, ctx.key(), &Warning { total, limit })?;
    }
    Ok(())
}

/// Counts the warnings of each customer.
#[processor(group = "warned", persist = i64)]
#[input(Warnings)]
fn warned(ctx: &mut Context, _warning: Warning) -> Result<()> {
    ctx.update(|times| times.unwrap_or(0) + 1)?;
    Ok(())
}

/// A test sends records, and checks rows and emitted records. When `send` returns, all effects of the record
/// have happened.
fn warns_over_the_limit() {
    let mut app = Tester::of::<Totals>();
    app.input(Limits).send("alice", &50);
    for _ in 0..3 {
        app.input(Orders).send("alice", &20);
        app.input(Orders).send("bob", &20);
    }
    assert_eq!(app.table::<Totals>().get("alice"), Some(60));
    let warning = Warning {
        total: 60,
        limit: 50,
    };
    app.output(Warnings).expect([("alice", warning)]);
}

/// Several processors; the output of one is the input of the other.
fn counts_warnings() {
    let setup = Tester::new().and::<Totals>().and::<Warned>();
    let mut app = setup.partitions(2).strict().start();
    app.input(Orders).send("alice", &101);
    app.input(Orders).send("alice", &1);
    assert_eq!(app.table::<Warned>().get("alice"), Some(2));
}

/// Instances are rebalanced, restarted and crash, as in production, and the totals stay.
fn survives_rebalances_and_crashes() {
    let setup = Tester::new().and::<Totals>();
    let mut app = setup.guarantee(Guarantee::ExactlyOnce).start();
    let moves: [fn(&mut Tester); 4] = [Tester::rebalance, Tester::restart, Tester::crash, |app| {
        app.advance(Duration::from_secs(3_600))
    }];
    for (total, happens) in (1..).zip(moves) {
        app.input(Orders).send("alice", &1);
        happens(&mut app);
        assert_eq!(app.table::<Totals>().get("alice"), Some(total));
    }
}

/// A record that fails stops its partition. A test that expects this gets the error from `try_send`.
fn refuses_negative_orders() {
    let mut app = Tester::of::<Totals>();
    let stopped = app.input(Orders).try_send("alice", &-1);
    let text = stopped.expect_err("the handler fails").to_string();
    assert!(text.contains("key `alice`: an order of -1"), "{text}");
    assert!(app.table::<Totals>().is_empty());
}

/// In an application these are `#[test]` functions.
const TESTS: [(&str, fn()); 4] = [
    ("warns over the limit", warns_over_the_limit),
    ("counts warnings", counts_warnings),
    ("lives through moves", survives_rebalances_and_crashes),
    ("refuses negative orders", refuses_negative_orders),
];

fn main() {
    for (name, test) in TESTS {
        test();
        println!("{name}: ok");
    }
}

#[cfg(test)]
mod tests {
    use goka::simulation::Workload;

    use super::{Limits, Orders, Totals};

    #[test]
    fn all_tests_pass() {
        super::main();
    }

    /// Three instances crash, lose power, are removed from the group and come back, on a log whose brokers
    /// fail, too. Each total is the sum of the orders, and each warning is there once.
    #[goka::simulate(instances = 3, seeds = 20)]
    fn totals_survive() -> Workload {
        Workload::of::<Totals>()
            .guarantee(goka::Guarantee::ExactlyOnce)
            .table(Limits, [("user-1", 50), ("user-2", 500)])
            .input(Orders, 100, |dice| {
                let amount = i64::try_from(dice.below(20)).unwrap_or(0);
                (format!("user-{}", dice.below(4)), amount)
            })
    }
}
