use super::run::{Case, run};
use super::schedule::{FaultKind, Schedule};
use super::{Dice, Workload};
use crate::record::Guarantee;
use crate::tester::doc::{ClickCount, Clicks};

fn clicks(guarantee: Guarantee) -> Workload {
    let mut workload = Workload::of::<ClickCount>().input(Clicks, 300, |dice: &mut Dice| {
        (format!("user-{}", dice.below(20)), "x".to_owned())
    });
    workload.guarantee = Some(guarantee);
    workload
}

#[test]
fn seeds() {
    let first: u64 = std::env::var("FIRST").map_or(1, |first| first.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(20, |first| first.parse().unwrap());
    let traced = std::env::var("TRACE").is_ok();
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let workload = clicks(guarantee);
        let case = Case {
            workload: &workload,
            instances: 3,
            faults: &FaultKind::ALL,
            traced,
        };
        let began = std::time::Instant::now();
        let mut bad = 0;
        for seed in first..first + count {
            let schedule = Schedule::of(seed, &case);
            let began = std::time::Instant::now();
            let outcome = run(&case, &schedule);
            if traced {
                for line in &outcome.trace {
                    println!("{line}");
                }
            }
            if !outcome.violations.is_empty() {
                bad += 1;
                println!(
                    "{guarantee:?} seed {seed} {:?}: {:#?}",
                    began.elapsed(),
                    outcome.violations
                );
                for line in &outcome.story {
                    println!("    {line}");
                }
                println!("{:?}", outcome.counters);
                for act in &schedule.acts {
                    if !act.to_string().contains("fed a") {
                        println!("   {act}");
                    }
                }
            }
        }
        println!(
            "{guarantee:?}: {bad} bad of {count} in {:?}",
            began.elapsed()
        );
    }
}
