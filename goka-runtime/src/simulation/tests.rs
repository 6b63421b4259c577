use std::collections::BTreeMap;
use std::thread::available_parallelism;

use super::SimulationConfig;
use super::fault_kind::FaultKind;
use super::run::run;
use super::runner::Runner;
use super::schedule::Schedule;
use super::{Dice, Workload};
use crate::log::simulated::Fault;
use crate::record::Guarantee;
use crate::tester::doc::{ClickCount, Clicks};

fn clicks(guarantee: Guarantee) -> Workload {
    let click = |dice: &mut Dice| (format!("user-{}", dice.below(20)), "x");
    let workload = Workload::of::<ClickCount>().guarantee(guarantee);
    workload.input(Clicks, 300, click)
}

fn config(workload: &Workload, traced: bool) -> SimulationConfig<'_> {
    SimulationConfig {
        workload,
        instances: 3,
        faults: &FaultKind::ALL,
        traced,
        #[cfg(feature = "fail-points")]
        mutant: None,
    }
}

#[test]
fn a_seed_gives_the_same_trace_byte_by_byte() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let workload = clicks(guarantee);
        let config = config(&workload, true);
        for seed in 1..=4 {
            let trace = || {
                run(&config, &Schedule::of(seed, &config))
                    .full_trace
                    .join("\n")
            };
            let (first, second) = (trace(), trace());
            assert!(first.len() > 10_000, "the trace is not empty");
            assert!(first.as_bytes() == second.as_bytes(), "seed {seed}");
        }
    }
}

/// Faults that are scheduled also fire: some in every run, and each of them in some run.
#[test]
fn every_fault_fires_and_processes_are_killed_at_every_log_operation() {
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
        let config = config(&workload, false);
        let runner = Runner {
            name: "every fault",
            instances: 3,
            runs: &config,
            threads: available_parallelism().map_or(1, usize::from),
        };
        let found = runner.run_seeds(1..=80);
        let failed: Vec<_> = found.failed.keys().collect();
        assert!(failed.is_empty(), "{guarantee:?}: seeds {failed:?}");
        assert_eq!(
            (found.counters.fired.len(), found.counters.records),
            (80, 24_000)
        );
        let least = found.counters.fired.iter().min();
        assert!(
            least >= Some(&3),
            "{guarantee:?}: {least:?} faults of a run"
        );
        for step in steps.iter().chain(&["between two turns", "disk write"]) {
            let deaths = found.counters.deaths.get(*step);
            assert!(
                deaths.is_some(),
                "{guarantee:?}: no process was killed at {step}"
            );
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
