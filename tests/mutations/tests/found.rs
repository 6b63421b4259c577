//! Each mutant of the engine is found by simulation within 500 seeds; without a mutant no seed fails.

use goka::Guarantee;
use goka::prelude::*;
use goka::simulation::{Dice, FaultKind, Workload};
use goka_runtime::fail_points::Mutant;
use goka_runtime::simulation::{FoundMistake, find_mistake};

const SEEDS: u64 = 500;
const INSTANCES: usize = 3;
/// How many seeds of each workload have to pass without a mutant.
const PASSING_SEEDS: u64 = 40;

#[stream("clicks", key = String, value = String)]
struct Clicks;

#[stream("tenths", key = String, value = i64)]
struct Tenths;

/// Counts clicks; a tombstone deletes the user's count.
#[processor(group = "count", persist = i64)]
#[input(Clicks)]
#[output(Tenths)]
fn count(ctx: &mut Context, click: Option<&str>) -> Result<()> {
    if click.is_none() {
        ctx.delete()?;
        return Ok(());
    }
    let count = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&count)?;
    if count % 10 == 0 {
        ctx.emit(Tenths, ctx.key(), &count)?;
    }
    Ok(())
}

struct Follow;

/// Counts the clicks on each user: a loopback brings them to the key of the user who was clicked.
#[processor(group = "follow", persist = i64)]
impl Follow {
    #[input(Clicks)]
    fn on_click(&self, ctx: &mut Context, click: &str) -> Result<()> {
        ctx.loopback(click.to_owned(), &1)?;
        Ok(())
    }

    #[loopback]
    fn on_follow(&self, ctx: &mut Context, more: i64) -> Result<()> {
        ctx.update(|count| count.unwrap_or(0) + more)?;
        Ok(())
    }
}

fn user(dice: &mut Dice) -> String {
    format!("user-{}", dice.below(8))
}

fn counted(guarantee: Guarantee) -> Workload {
    let workload = Workload::of::<Count>().guarantee(guarantee);
    workload.input(Clicks, 300, |dice| {
        let click = (!dice.chance(15)).then(|| "x".to_owned());
        (user(dice), click)
    })
}

fn exactly_once() -> Workload {
    counted(Guarantee::ExactlyOnce)
}

/// Many users with few clicks each, of which two in five are tombstones.
fn deletions() -> Workload {
    let workload = Workload::of::<Count>().guarantee(Guarantee::ExactlyOnce);
    workload.input(Clicks, 300, |dice| {
        let click = (!dice.chance(40)).then(|| "x".to_owned());
        (format!("user-{}", dice.below(80)), click)
    })
}

fn at_least_once() -> Workload {
    counted(Guarantee::AtLeastOnce)
}

fn loopbacks() -> Workload {
    let workload = Workload::of::<Follow>().with::<Follow>(|| Follow);
    let workload = workload.guarantee(Guarantee::ExactlyOnce);
    workload.input(Clicks, 150, |dice| (user(dice), user(dice)))
}

/// The workload in which a mutant shows.
fn workload(mutant: Mutant) -> fn() -> Workload {
    match mutant {
        Mutant::CommitBeforeAcks => at_least_once,
        Mutant::LoopbackOutside => loopbacks,
        Mutant::TrustedTooLong => deletions,
        _ => exactly_once,
    }
}

/// All mutants but those in code that a simulation does not run.
fn simulated() -> impl Iterator<Item = Mutant> {
    // The crash harness (`bench/crash`) finds these two, on Kafka and on files.
    let elsewhere = [Mutant::CommitAhead, Mutant::CheckpointAhead];
    let all = Mutant::ALL.into_iter();
    all.filter(move |mutant| !elsewhere.contains(mutant))
}

#[test]
fn each_mutant_is_found() {
    let mut missed = Vec::new();
    for mutant in simulated() {
        let began = std::time::Instant::now();
        let found = find_mistake(
            Some(mutant),
            INSTANCES,
            SEEDS,
            &FaultKind::ALL,
            workload(mutant),
        );
        let name = mutant.name();
        match found {
            Some(FoundMistake { seed, oracle, what }) => {
                println!(
                    "{name}: found by seed {seed} ({oracle}) in {:?}: {what}",
                    began.elapsed()
                );
            }
            None => missed.push(name),
        }
    }
    assert!(
        missed.is_empty(),
        "not found within {SEEDS} seeds: {missed:?}"
    );
}

#[test]
fn without_a_mutant_nothing_is_found() {
    for workload in [exactly_once, deletions, at_least_once, loopbacks] {
        let found = find_mistake(None, INSTANCES, PASSING_SEEDS, &FaultKind::ALL, workload);
        assert_eq!(found, None);
    }
}
