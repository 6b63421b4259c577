//! Counting, at least and exactly once, with all faults and with some.

use goka::Guarantee;
use goka::prelude::*;
use goka::simulation::{Dice, Workload};

#[stream("user-clicks", key = String, value = String)]
pub(crate) struct UserClicks;

#[stream("every-tenth", key = String, value = i64)]
pub(crate) struct EveryTenth;

/// Counts clicks; a tombstone deletes the user's count.
#[processor(group = "click-count", persist = i64)]
#[input(UserClicks)]
#[output(EveryTenth)]
pub(crate) fn click_count(ctx: &mut Context, click: Option<&str>) -> Result<()> {
    if click.is_none() {
        ctx.delete()?;
        return Ok(());
    }
    let count = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&count)?;
    if count % 10 == 0 {
        ctx.emit(EveryTenth, ctx.key(), &count)?;
    }
    Ok(())
}

pub(crate) fn user(dice: &mut Dice) -> String {
    format!("user-{}", dice.below(8))
}

pub(crate) fn number(count: usize) -> i64 {
    i64::try_from(count).expect("it fits")
}

fn clicks() -> Workload {
    Workload::of::<ClickCount>().input(UserClicks, 300, |dice| (user(dice), "x"))
}

/// No record is lost, and none is counted twice.
#[goka::simulate(instances = 3, seeds = 500)]
fn exactly_once_every_click_is_counted_once() -> Workload {
    let workload = clicks().guarantee(Guarantee::ExactlyOnce);
    workload.check(|end| {
        let counts: i64 = end.table::<ClickCount>().iter().map(|(_, n)| n).sum();
        assert_eq!(counts, number(end.input::<UserClicks>().len()));
        for tenth in end.output::<EveryTenth>() {
            let most = end.table::<ClickCount>().get(&tenth.key);
            assert!(tenth.value <= most, "{} of {most:?}", tenth.key);
        }
    })
}

/// No record is lost. Without the faults `zombie`, `duplicate` and `outage`: at least once, a late write
/// of a member that was removed from the group may overwrite a newer value of its successor.
#[goka::simulate(
    seeds = 40,
    faults(
        crash,
        rebalance,
        torn_write,
        slow,
        compaction,
        absence,
        clock_jump,
        lost_offsets
    )
)]
fn at_least_once_every_click_is_counted() -> Workload {
    clicks().check(|end| {
        let counts: i64 = end.table::<ClickCount>().iter().map(|(_, n)| n).sum();
        let sent = number(end.input::<UserClicks>().len());
        assert!(counts >= sent, "{counts} of {sent} clicks are counted");
    })
}

#[goka::simulate(instances = 1, seeds = 20, faults(crash, torn_write, duplicate))]
fn an_instance_alone_counts_every_click_once() -> Workload {
    clicks().partitions(1).guarantee(Guarantee::ExactlyOnce)
}

#[goka::simulate(seeds = 20, faults(crash, rebalance, compaction, absence))]
fn rows_that_are_deleted_stay_deleted() -> Workload {
    Workload::of::<ClickCount>()
        .guarantee(Guarantee::ExactlyOnce)
        .input(UserClicks, 200, |dice| {
            let click = (!dice.chance(20)).then(|| "x".to_owned());
            (user(dice), click)
        })
}
