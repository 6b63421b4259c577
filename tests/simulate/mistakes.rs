//! Wrong handlers and invalid workloads, and what the simulation says about them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use goka::prelude::*;
use goka::simulation::Workload;

use crate::counts::{ClickCount, EveryTenth, UserClicks, number, user};

/// The panic message of a simulation that fails.
fn failure(simulation: fn()) -> String {
    let failed = catch_unwind(AssertUnwindSafe(simulation));
    let payload = failed.expect_err("it fails");
    let text = payload.downcast_ref::<String>().cloned();
    text.expect("a panic with a message")
}

/// Counts in memory beside its table, and so misses the counts of another instance.
#[derive(Default)]
struct Remembers {
    counts: Mutex<BTreeMap<String, i64>>,
}

#[processor(group = "remembers", persist = i64, guarantee = "exactly-once")]
impl Remembers {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, _: &str) -> Result<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ctx.key().to_owned()).or_default();
        *count += 1;
        ctx.set_value(count)?;
        Ok(())
    }
}

#[goka::simulate(seeds = 50, faults(crash, rebalance))]
#[should_panic = "simulation `simulate::mistakes::memory_beside_a_table` of 3 instances failed"]
fn memory_beside_a_table() -> Workload {
    Workload::of::<Remembers>()
        .input(UserClicks, 100, |dice| (user(dice), "x"))
        .check(|end| {
            let counts: i64 = end.table::<Remembers>().iter().map(|(_, n)| n).sum();
            assert_eq!(counts, number(end.input::<UserClicks>().len()));
        })
}

/// The check fails without any fault, and would also fail with fewer records.
#[goka::simulate(seeds = 5, faults(crash, rebalance))]
#[should_panic = "the schedule: 0 steps and all 100 records, "]
fn a_check_with_a_number_that_is_wrong() -> Workload {
    Workload::of::<ClickCount>()
        .guarantee(goka::Guarantee::ExactlyOnce)
        .input(UserClicks, 100, |dice| (user(dice), "x"))
        .check(|end| {
            let counts: i64 = end.table::<ClickCount>().iter().map(|(_, n)| n).sum();
            assert_eq!(counts, 101);
        })
}

/// The smallest schedule has two clicks of one user, and a step that moves the partition between them.
#[test]
fn a_mistake_is_found_with_a_small_schedule() {
    let text = failure(memory_beside_a_table);
    let (_, schedule) = text.split_once("\nthe schedule: ").expect(&text);
    // On a slow machine shrinking ends at its time limit; the title then says that a smaller schedule may
    // exist.
    let (_, steps) = schedule.split_once(":\n").expect(&text);
    let steps: Vec<_> = steps.lines().take_while(|line| !line.is_empty()).collect();
    assert!(
        steps.iter().all(|step| step.starts_with("  turn ")),
        "{text}"
    );
    assert!((1..=10).contains(&steps.len()), "{text}");
    let replay = text.lines().last().expect("it has lines");
    assert!(replay.starts_with("replay: GOKA_SIM_SEED="), "{text}");
    assert!(
        replay.ends_with("cargo test mistakes::memory_beside_a_table"),
        "{text}"
    );
    assert!(!text.contains("not deterministic"), "{text}");
    let (_, trace) = text
        .split_once("\nthe trace of the first violation:\n")
        .expect(&text);
    for part in [
        "\"x\" was written by the workload",
        " handled user-clicks[",
        "wrote remembers-state[",
        " starts",
    ] {
        assert!(trace.contains(part), "`{part}` in {text}");
    }
}

/// Numbers all clicks of the program.
#[derive(Default)]
struct Numbers;

static NEXT: AtomicI64 = AtomicI64::new(0);

#[processor(group = "numbers", persist = i64)]
impl Numbers {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, _: &str) -> Result<()> {
        ctx.set_value(&NEXT.fetch_add(1, Ordering::Relaxed))?;
        Ok(())
    }
}

#[goka::simulate(seeds = 2)]
#[should_panic = "not deterministic: two runs of this seed differ, at line "]
fn a_static_counter_is_reported_as_not_deterministic() -> Workload {
    Workload::of::<Numbers>().input(UserClicks, 20, |dice| (user(dice), "x"))
}

/// Keeps when it last saw a user.
#[processor(group = "last-seen", persist = u64)]
#[input(UserClicks)]
fn last_seen(ctx: &mut Context, _: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    ctx.set_value(&u64::try_from(now.as_nanos())?)?;
    Ok(())
}

#[goka::simulate(seeds = 2)]
#[should_panic = "not deterministic: two runs of this seed differ, at line "]
fn a_read_of_the_real_clock_is_reported_as_not_deterministic() -> Workload {
    Workload::of::<LastSeen>().input(UserClicks, 20, |dice| (user(dice), "x"))
}

#[test]
fn runs_that_differ_are_shown_with_their_reasons() {
    let text = failure(a_read_of_the_real_clock_is_reported_as_not_deterministic);
    for part in ["\n  first  ", "\n  second ", "reads the real clock"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[goka::simulate(seeds = 5)]
#[should_panic = "making a record for topic `user-clicks`: no user (tests/simulate/mistakes.rs:"]
fn a_record_that_cannot_be_made() -> Workload {
    Workload::of::<ClickCount>().input(UserClicks, 10, |dice| {
        assert!(!dice.chance(50), "no user");
        (user(dice), "x")
    })
}

#[goka::simulate(seeds = 5)]
#[should_panic = "invalid workload: topic `every-tenth` is an input of the workload, but none of \
                  `ClickCount` reads it: leave it out, or add its reader by `.and::<..>()`"]
fn a_topic_that_no_processor_reads() -> Workload {
    let workload = Workload::of::<ClickCount>().input(UserClicks, 10, |dice| (user(dice), "x"));
    workload.input(EveryTenth, 10, |dice| (user(dice), 3))
}

#[table("limits", key = String, value = i64)]
struct Limits;

#[processor(group = "limited")]
#[input(UserClicks)]
#[join(Limits)]
fn limited(ctx: &mut Context, _: &str) -> Result<()> {
    ctx.join(Limits)?;
    Ok(())
}

#[goka::simulate(seeds = 5)]
#[should_panic = "topic `limits`, joined table of `Limited`"]
fn a_missing_table() -> Workload {
    Workload::of::<Limited>().input(UserClicks, 10, |dice| (user(dice), "x"))
}

#[processor(group = "reader", persist = i64)]
#[input(EveryTenth)]
fn reader(ctx: &mut Context, count: i64) -> Result<()> {
    ctx.set_value(&count)?;
    Ok(())
}

#[goka::simulate(seeds = 5)]
#[should_panic = "topic `user-clicks`, input of `Limited`"]
fn an_input_without_records() -> Workload {
    Workload::of::<Reader>()
        .and::<Limited>()
        .table(Limits, [("user-1", 3)])
        .input(EveryTenth, 10, |dice| (user(dice), 3))
}
