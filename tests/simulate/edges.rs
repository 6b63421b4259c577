//! Every kind of edge, chains of processors, handlers with values of their own.

use std::time::Duration;

use goka::Guarantee;
use goka::prelude::*;
use goka::simulation::Workload;

use crate::counts::{UserClicks, number, user};

#[stream("measurements", keyless, value = String)]
struct Measurements;

/// `sensor:value`, summed by sensor.
#[derive(Default)]
struct Sums;

#[processor(group = "sums", persist = i64, guarantee = "exactly-once")]
impl Sums {
    #[input(Measurements)]
    fn read(&self, ctx: &mut Context, measurement: &str) -> Result<()> {
        let (sensor, value) = measurement.split_once(':').ok_or("no sensor")?;
        ctx.loopback(sensor, &value.parse::<i64>()?)?;
        Ok(())
    }

    #[loopback]
    fn add(&self, ctx: &mut Context, value: i64) -> Result<()> {
        ctx.update(|sum| sum.unwrap_or(0) + value)?;
        Ok(())
    }
}

#[goka::simulate(seeds = 25)]
fn keyless_records_are_summed_by_the_key_of_a_loopback() -> Workload {
    Workload::of::<Sums>()
        .input_values(Measurements, 150, |dice| format!("s{}:3", dice.below(5)))
        .check(|end| {
            let sum: i64 = end.table::<Sums>().iter().map(|(_, sum)| sum).sum();
            assert_eq!(sum, 3 * number(end.input::<Measurements>().len()));
        })
}

/// Written by another program.
#[table("names", key = String, value = String)]
struct Names;

#[stream("greetings", key = String, value = String)]
struct Greetings;

/// Greets by name, with a configured word.
struct Greeter {
    word: String,
}

#[processor(group = "greeter")]
#[join(Names)]
#[lookup(Names)]
#[output(Greetings)]
impl Greeter {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, _: &str) -> Result<()> {
        let name = ctx.join(Names)?.ok_or("no name")?;
        let same = ctx.lookup(Names, ctx.key())?;
        assert_eq!(same.as_ref(), Some(&name));
        ctx.emit(Greetings, ctx.key(), &format!("{} {name}", self.word))?;
        Ok(())
    }
}

/// Keeps the last greeting of each user.
#[processor(group = "last-greeting", persist = String)]
#[input(Greetings)]
fn last_greeting(ctx: &mut Context, greeting: String) -> Result<()> {
    ctx.set_value(&greeting)?;
    Ok(())
}

fn greetings(guarantee: Guarantee) -> Workload {
    Workload::of::<Greeter>()
        .and::<LastGreeting>()
        .with(|| Greeter {
            word: "dear".to_owned(),
        })
        .guarantee(guarantee)
        .table(
            Names,
            (0..8).map(|n| (format!("user-{n}"), format!("User {n}"))),
        )
        .input(UserClicks, 100, |dice| (user(dice), "x"))
        .check(|end| {
            let greeted = end.output::<Greetings>();
            let clicks = end.input::<UserClicks>().len();
            assert!(greeted.len() >= clicks, "{} of {clicks}", greeted.len());
            for (user, greeting) in end.table::<LastGreeting>().iter() {
                let name = end.table::<Names>().get(&user);
                assert_eq!(greeting, format!("dear {}", name.expect("it has one")));
            }
        })
}

#[goka::simulate(seeds = 20, instances = 2)]
fn every_record_sees_its_joined_row() -> Workload {
    let workload = greetings(Guarantee::ExactlyOnce);
    workload.check(|end| {
        let clicks = end.input::<UserClicks>().len();
        assert_eq!(end.output::<Greetings>().len(), clicks);
    })
}

#[goka::simulate(seeds = 20, instances = 2)]
fn a_chain_loses_no_record_at_least_once() -> Workload {
    greetings(Guarantee::AtLeastOnce).idempotent()
}

/// Counts after an asynchronous wait.
#[derive(Default)]
struct Delayed;

#[processor(group = "delayed", persist = i64, guarantee = "exactly-once")]
impl Delayed {
    #[input(UserClicks)]
    async fn on_click(&self, ctx: &mut Context, _: &str) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ctx.update(|n| n.unwrap_or(0) + 1)?;
        Ok(())
    }
}

#[goka::simulate(seeds = 15, faults(crash, rebalance, zombie))]
fn an_asynchronous_handler_counts_once() -> Workload {
    Workload::of::<Delayed>()
        .input(UserClicks, 100, |dice| (user(dice), "x"))
        .check(|end| {
            let counts: i64 = end.table::<Delayed>().iter().map(|(_, n)| n).sum();
            assert_eq!(counts, number(end.input::<UserClicks>().len()));
        })
}
