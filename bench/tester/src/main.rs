//! Times tests with ten records that use the tester, each from start to end.
//!
//! ```text
//! cargo run --release -p goka-bench-tester -- [ROUNDS]
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka::tester::{Setup, Tester};

const ROUNDS: usize = 1_000;
/// Rounds to warm up, which are not counted.
const WARM_UP: usize = 50;

#[stream("clicks", key = String, value = String)]
struct Clicks;

#[stream("alerts", key = String, value = i64)]
struct Alerts;

#[processor(group = "count", persist = i64)]
#[input(Clicks)]
#[output(Alerts)]
fn count(ctx: &mut Context, _click: &str) -> Result<()> {
    let n = ctx.update(|n| n.unwrap_or(0) + 1)?;
    if n % 5 == 0 {
        ctx.emit(Alerts, ctx.key(), &n)?;
    }
    Ok(())
}

#[processor(group = "copy", persist = i64, name = Copied)]
#[input(Alerts)]
#[join(Count)]
fn copy(ctx: &mut Context, alert: i64) -> Result<()> {
    let now = ctx.join_of::<Count>()?;
    ctx.set_value(&now.unwrap_or(alert))?;
    Ok(())
}

/// Sends ten records and checks their outputs.
fn ten(app: &mut Tester) {
    for user in ["alice", "bob"] {
        for _ in 0..5 {
            app.input(Clicks).send(user, "x");
        }
    }
    app.output(Alerts).expect([("alice", 5), ("bob", 5)]);
    assert_eq!(app.table::<Count>().get("alice"), Some(5));
}

fn ten_and_restarts(app: &mut Tester) {
    ten(app);
    app.rebalance();
    app.crash();
    assert_eq!(app.table::<Count>().len(), 2);
}

/// A timed test: its name, setup and function.
type Case = (&'static str, fn() -> Setup, fn(&mut Tester));

fn main() -> ExitCode {
    let rounds = match std::env::args().nth(1).map(|rounds| rounds.parse()) {
        None => ROUNDS,
        Some(Ok(rounds)) if rounds > 0 => rounds,
        Some(_) => {
            eprintln!("usage: goka-bench-tester [ROUNDS]");
            return ExitCode::FAILURE;
        }
    };
    let cases: [Case; 4] = [
        ("one processor", one, ten),
        ("exactly once", exactly_once, ten),
        ("two, chained and joined", two, ten),
        ("one, rebalanced and crashed", one, ten_and_restarts),
    ];
    for (name, setup, test) in cases {
        let mut times: Vec<_> = (0..WARM_UP + rounds).map(|_| time(setup, test)).collect();
        times.drain(..WARM_UP);
        times.sort();
        let [median, p99] = [rounds / 2, rounds * 99 / 100].map(|at| times[at]);
        println!("{name:<24} median {median:>8.1?}, p99 {p99:>8.1?} (of {rounds})");
    }
    ExitCode::SUCCESS
}

fn one() -> Setup {
    Tester::new().and::<Count>()
}

fn exactly_once() -> Setup {
    one().guarantee(goka::Guarantee::ExactlyOnce)
}

fn two() -> Setup {
    one().and::<Copied>()
}

fn time(setup: fn() -> Setup, test: fn(&mut Tester)) -> Duration {
    let began = Instant::now();
    let mut app = setup().start();
    test(&mut app);
    drop(app);
    began.elapsed()
}
