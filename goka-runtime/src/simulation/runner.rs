//! What `#[goka::simulate]` calls: runs the seeds on all cores, each run on one thread, until one fails;
//! then shrinks its schedule and reports it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::SimulationConfig;
use super::Workload;
use super::end::CHECK;
use super::fault_kind::FaultKind;
use super::oracles::Violation;
use super::panics::catch_panic;
use super::report::{Difference, Report, ShrunkSchedule, Summary};
use super::run::{Counters, Outcome, run};
use super::schedule::{Schedule, Step, StepAction};
use super::shrink::{Budget, shrink};

/// Environment variable: the only seed to run.
const SEED: &str = "GOKA_SIM_SEED";
/// Environment variable: how many seeds to run of every simulation.
const SEEDS: &str = "GOKA_SIM_SEEDS";

const BUDGET: Budget = Budget {
    runs: 300,
    time: Duration::from_secs(20),
};

/// Runs schedules: a simulation, or a fake in tests.
pub(super) trait SeedRunner: Sync {
    /// A part of a schedule that may be left out.
    type Step: Clone + fmt::Display;

    fn steps(&self, seed: u64) -> Vec<Self::Step>;

    fn is_record(step: &Self::Step) -> bool;

    /// Runs the schedule of a seed with these of its steps only, and records the full trace if `traced`.
    fn run(&self, seed: u64, steps: &[Self::Step], traced: bool) -> Outcome;
}

impl SeedRunner for SimulationConfig<'_> {
    type Step = Step;

    fn steps(&self, seed: u64) -> Vec<Step> {
        Schedule::of(seed, self).steps
    }

    fn is_record(step: &Step) -> bool {
        matches!(step.action, StepAction::Feed { .. })
    }

    fn run(&self, seed: u64, steps: &[Step], traced: bool) -> Outcome {
        let steps = steps.to_vec();
        let schedule = Schedule {
            steps,
            ..Schedule::of(seed, self)
        };
        run(&Self { traced, ..*self }, &schedule)
    }
}

/// Runs a workload under seeds. Panics with a report when one of them fails.
pub fn simulate(
    name: &str,
    instances: usize,
    seeds: u64,
    faults: &[FaultKind],
    workload: impl FnOnce() -> Workload,
) {
    let workload = workload();
    workload.assert_valid();
    let config = SimulationConfig {
        workload: &workload,
        instances,
        faults,
        traced: false,
        #[cfg(feature = "fail-points")]
        mutant: None,
    };
    let given = |name| number(name, std::env::var(name).ok().as_deref());
    let (only, seeds) = (given(SEED), given(SEEDS).unwrap_or(seeds));
    let runner = Runner::of(name, &config);
    let (summary, report) = runner.simulate(only.map_or(1..=seeds, |seed| seed..=seed));
    println!("{summary}");
    if let Some(seed) = only {
        runner.write_trace(seed);
    }
    if let Some(report) = report {
        panic!("{report}");
    }
}

fn number(name: &str, given: Option<&str>) -> Option<u64> {
    let given = given?;
    let number = given.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={given}: not a number")))
}

pub(super) struct Runner<'f, R> {
    pub(super) name: &'f str,
    pub(super) instances: usize,
    pub(super) runs: &'f R,
    pub(super) threads: usize,
}

impl<'f> Runner<'f, SimulationConfig<'f>> {
    pub(super) fn of(name: &'f str, runs: &'f SimulationConfig<'f>) -> Self {
        Self {
            name,
            instances: runs.instances,
            runs,
            threads: available_parallelism().map_or(1, usize::from),
        }
    }
}

#[derive(Default)]
pub(super) struct SeedResults {
    pub(super) counters: Counters,
    pub(super) failed: BTreeMap<u64, SeedFailure>,
}

pub(super) struct SeedFailure {
    pub(super) violations: Vec<Violation>,
    difference: Option<Difference>,
}

struct SeedRun {
    outcome: Outcome,
    failure: Option<SeedFailure>,
}

impl<R: SeedRunner> Runner<'_, R> {
    /// Runs the seeds; reports the lowest that fails.
    fn simulate(&self, seeds: RangeInclusive<u64>) -> (Summary<'_>, Option<String>) {
        let began = Instant::now();
        let mut found = self.run_seeds(seeds);
        let summary = Summary {
            name: self.name,
            counters: found.counters,
            time: began.elapsed(),
        };
        // Seeds are handed out in order, so that all below one that fails were run, too.
        let first = found.failed.pop_first();
        (
            summary,
            first.map(|(seed, failure)| self.report(seed, failure)),
        )
    }

    pub(super) fn run_seeds(&self, seeds: RangeInclusive<u64>) -> SeedResults {
        let found = Mutex::new(SeedResults::default());
        let (next, failed) = (AtomicU64::new(*seeds.start()), AtomicBool::new(false));
        let seek = || {
            while !failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return;
                }
                let ran = self.try_seed(seed, seed == *seeds.start());
                failed.fetch_or(ran.failure.is_some(), Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.counters.add(ran.outcome.counters);
                found
                    .failed
                    .extend(ran.failure.map(|failure| (seed, failure)));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(seek);
            }
            seek();
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a seed; with `twice` a second time, which has to give the same trace.
    fn try_seed(&self, seed: u64, twice: bool) -> SeedRun {
        let mut outcome = self.run_whole(seed, twice);
        let difference = match twice {
            true => difference(&outcome, &self.run_whole(seed, true)),
            false => None,
        };
        let violations = std::mem::take(&mut outcome.violations);
        let is_right = violations.is_empty() && difference.is_none();
        let failure = (!is_right).then_some(SeedFailure {
            violations,
            difference,
        });
        SeedRun { outcome, failure }
    }

    fn run_whole(&self, seed: u64, traced: bool) -> Outcome {
        match catch_panic(|| self.runs.steps(seed)) {
            Ok(steps) => self.run(seed, &steps, traced),
            Err(text) => panicked(text),
        }
    }

    /// Runs steps of a seed; a panic is a violation.
    fn run(&self, seed: u64, steps: &[R::Step], traced: bool) -> Outcome {
        catch_panic(|| self.runs.run(seed, steps, traced)).unwrap_or_else(panicked)
    }

    fn report(&self, seed: u64, failure: SeedFailure) -> String {
        let mut outcome = self.run_whole(seed, true);
        let violations = |violations: &[Violation]| texts(violations).collect::<Vec<_>>();
        let difference = failure
            .difference
            .or_else(|| difference(&outcome, &self.run_whole(seed, true)))
            // The run that failed counts as the first.
            .or_else(|| {
                let (first, second) = (&failure.violations, &outcome.violations);
                Difference::of(&violations(first), &violations(second))
            });
        let mut schedule = None;
        if difference.is_none() {
            let (shrunk, smallest) = self.shrink(seed, &outcome);
            schedule = shrunk;
            outcome = smallest.unwrap_or(outcome);
        } else {
            outcome.violations = failure.violations;
        }
        let report = Report {
            name: self.name,
            seed,
            instances: self.instances,
            violations: &outcome.violations,
            schedule,
            trace: &outcome.violation_trace,
            difference,
        };
        report.to_string()
    }

    /// Finds a small schedule that breaks the same rule; returns it with its outcome.
    fn shrink(&self, seed: u64, whole: &Outcome) -> (Option<ShrunkSchedule>, Option<Outcome>) {
        let oracle = |outcome: &Outcome| outcome.violations.first().map(|first| first.oracle);
        let Ok(all) = catch_panic(|| self.runs.steps(seed)) else {
            return (None, None);
        };
        let fails = |steps: &[R::Step]| {
            let outcome = self.run(seed, steps, false);
            (oracle(&outcome) == oracle(whole)).then_some(outcome)
        };
        // A check that fails without any step counts records: such a schedule keeps all of them.
        let keeps_records = oracle(whole) == Some(CHECK) && fails(&[]).is_some();
        let of = |left: &[usize]| -> Vec<R::Step> {
            let left = (0..all.len()).filter(|at| {
                left.binary_search(at).is_ok() || keeps_records && R::is_record(&all[*at])
            });
            left.map(|at| all[at].clone()).collect()
        };
        let may_go = (0..all.len()).filter(|at| !(keeps_records && R::is_record(&all[*at])));
        let may_go: Vec<usize> = may_go.collect();
        let mut smallest = None;
        let shrunk = shrink(&may_go, &BUDGET, |left| {
            let failed = fails(&of(left));
            let fails = failed.is_some();
            smallest = failed.or(smallest.take());
            fails
        });
        let schedule = ShrunkSchedule {
            steps: shrunk.left.iter().map(|at| all[*at].to_string()).collect(),
            kept: all.len() - may_go.len(),
            of: may_go.len(),
            runs: shrunk.runs,
            is_minimal: shrunk.is_minimal,
        };
        (Some(schedule), smallest)
    }

    fn write_trace(&self, seed: u64) {
        let trace = self.run_whole(seed, true).full_trace;
        let file = format!("{}-{seed}.trace", self.name.replace("::", "-"));
        let path = target().join(file);
        let text = trace.join("\n") + "\n";
        match std::fs::write(&path, text) {
            Ok(()) => println!("trace of seed {seed}: {}", path.display()),
            Err(error) => println!("the trace cannot be written to {}: {error}", path.display()),
        }
    }
}

fn panicked(text: String) -> Outcome {
    Outcome {
        violations: vec![Violation::new("panic", text)],
        ..Outcome::default()
    }
}

fn texts(violations: &[Violation]) -> impl Iterator<Item = String> {
    let text = |violation: &Violation| format!("{}: {}", violation.oracle, violation.what);
    violations.iter().map(text)
}

/// Where two runs that should be the same differ.
fn difference(one: &Outcome, other: &Outcome) -> Option<Difference> {
    let lines = |outcome: &Outcome| {
        let mut lines = outcome.full_trace.clone();
        lines.extend(texts(&outcome.violations));
        lines
    };
    Difference::of(&lines(one), &lines(other))
}

/// The directory for files that tests leave behind: `target/tmp`, or the system's temporary directory
/// where the program does not lie in a target directory.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let mut above = program.ancestors();
    let target = above
        .find(|path| path.ends_with("deps"))
        .and_then(|deps| deps.parent()?.parent())
        .map(|target| target.join("tmp"));
    let made = target.filter(|target| std::fs::create_dir_all(target).is_ok());
    made.unwrap_or_else(std::env::temp_dir)
}

#[cfg(test)]
mod tests;
