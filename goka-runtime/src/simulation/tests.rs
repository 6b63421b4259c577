use std::collections::BTreeMap;
use std::thread::available_parallelism;

use super::run::{Case, run};
use super::runner::Runner;
use super::schedule::{FaultKind, Schedule};
use super::{Dice, Workload};
use crate::log::simulated::Fault;
use crate::record::Guarantee;
use crate::tester::doc::{ClickCount, Clicks};

fn clicks(guarantee: Guarantee) -> Workload {
    let click = |dice: &mut Dice| (format!("user-{}", dice.below(20)), "x");
    let workload = Workload::of::<ClickCount>().guarantee(guarantee);
    workload.input(Clicks, 300, click)
}

fn case(workload: &Workload, traced: bool) -> Case<'_> {
    Case {
        workload,
        instances: 3,
        faults: &FaultKind::ALL,
        traced,
        #[cfg(feature = "fail-points")]
        planted: None,
    }
}

#[test]
fn a_seed_gives_the_same_trace_byte_by_byte() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let workload = clicks(guarantee);
        let case = case(&workload, true);
        for seed in 1..=4 {
            let trace = || run(&case, &Schedule::of(seed, &case)).trace.join("\n");
            let (first, second) = (trace(), trace());
            assert!(first.len() > 10_000, "a trace tells what happened");
            assert!(first.as_bytes() == second.as_bytes(), "seed {seed}");
        }
    }
}

/// Nothing is only scheduled: it fires, in every run something, and over some runs everything.
#[test]
fn every_fault_fires_and_processes_die_at_every_step() {
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    for (guarantee, steps) in [
        (
            Guarantee::AtLeastOnce,
            &["poll", "fetch", "append", "commit", "leave"][..],
        ),
        (
            Guarantee::ExactlyOnce,
            &["poll", "fetch", "append", "attach", "end", "abort", "leave"],
        ),
    ] {
        let workload = clicks(guarantee);
        let case = case(&workload, false);
        let front = Runner {
            name: "every fault",
            instances: 3,
            runner: &case,
            threads: available_parallelism().map_or(1, usize::from),
        };
        let found = front.seek(1..=80);
        let failed: Vec<_> = found.failed.keys().collect();
        assert!(failed.is_empty(), "{guarantee:?}: seeds {failed:?}");
        assert_eq!((found.fired.len(), found.counters.records), (80, 24_000));
        let least = found.fired.iter().min();
        assert!(
            least >= Some(&3),
            "{guarantee:?}: {least:?} faults of a run"
        );
        for step in steps.iter().chain(&["between two turns", "disk write"]) {
            let deaths = found.counters.deaths.get(*step);
            assert!(deaths.is_some(), "{guarantee:?}: nobody died at {step}");
        }
        for (name, count) in found.counters.faults {
            *names.entry(name).or_default() += count;
        }
    }
    let others = [
        "stop",
        "stall",
        "disk emptied",
        "disk full",
        "sync failed",
        "write lost",
        "write torn",
        "compaction",
        "retention",
        "clock set",
        "offsets lost",
    ];
    for name in Fault::NAMES.iter().chain(&others) {
        assert!(names.contains_key(name), "`{name}` never fired: {names:?}");
    }
}
