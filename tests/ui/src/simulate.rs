//! Simulations in every accepted shape.

use goka::simulation::{FaultKind, Workload};

use crate::processor::{ClickCount, Numbers2};
use crate::topics::UserClicks;

fn clicks() -> Workload {
    Workload::of::<ClickCount>()
        .input(UserClicks, 20, |dice| (dice.below(5).to_string(), "x"))
        .input(Numbers2, 5, |dice| {
            (dice.below(5).to_string(), String::new())
        })
}

#[goka::simulate(instances = 1, seeds = 2, faults(crash,))]
fn with_every_option() -> Workload {
    clicks()
}

/// The names of faults are those of the runtime.
#[goka::simulate(
    faults(
        crash,
        rebalance,
        duplicate,
        zombie,
        torn_write,
        outage,
        slow,
        compaction,
        absence,
        clock_jump,
        lost_offsets
    ),
    seeds = 1,
    instances = 16
)]
#[allow(non_snake_case)]
pub(crate) fn withEveryFault() -> Workload {
    clicks()
}

#[goka::simulate]
#[ignore = "takes long"]
fn without_options() -> Workload {
    clicks()
}

#[goka::simulate(seeds = 3, faults(crash))]
#[should_panic = "check: it is reported"]
fn r#match() -> self::Workload {
    let workload = clicks();
    workload.check(|_| panic!("it is reported"))
}

macro_rules! simulated {
    ($name:ident, $seeds:literal) => {
        #[goka::simulate(seeds = $seeds)]
        fn $name() -> Workload {
            clicks()
        }
    };
}

simulated!(made_by_a_macro, 2);

#[test]
fn an_unknown_fault_lists_the_known_ones() {
    let refusal = include_str!("../simulate/fail/unknown_fault.stderr");
    let known = FaultKind::ALL.map(|fault| format!("`{fault}`")).join(", ");
    assert!(
        refusal.contains(&format!("known faults: {known}\n")),
        "{refusal}"
    );
}
