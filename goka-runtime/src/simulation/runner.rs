//! What `#[goka::simulate]` calls: runs the seeds on all cores, each run on one thread by itself, up to
//! the first that fails, and tells of it as much as can be found out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::Workload;
use super::end::CHECK;
use super::oracles::Violation;
use super::panics::catch_panic;
use super::report::{Difference, Least, Report, Summary};
use super::run::{Case, Counters, Outcome, run};
use super::schedule::{FaultKind, Schedule, Step, StepAction};
use super::shrink::{Budget, shrink};

/// The seed that alone is run, when it is set.
const SEED: &str = "GOKA_SIM_SEED";
/// So many seeds are run of every simulation, when it is set.
const SEEDS: &str = "GOKA_SIM_SEEDS";

const BUDGET: Budget = Budget {
    runs: 300,
    time: Duration::from_secs(20),
};

/// What runs schedules.
pub(super) trait SeedRunner: Sync {
    /// A part of a schedule that may be left out.
    type Act: Clone + fmt::Display;

    /// The whole schedule of a seed.
    fn acts(&self, seed: u64) -> Vec<Self::Act>;

    /// Whether an act is a record that is fed.
    fn is_record(act: &Self::Act) -> bool;

    /// Runs the schedule of a seed with these of its acts; with a trace, if asked for.
    fn run(&self, seed: u64, acts: &[Self::Act], traced: bool) -> Outcome;
}

impl SeedRunner for Case<'_> {
    type Act = Step;

    fn acts(&self, seed: u64) -> Vec<Step> {
        Schedule::of(seed, self).acts
    }

    fn is_record(act: &Step) -> bool {
        matches!(act.what, StepAction::Feed { .. })
    }

    fn run(&self, seed: u64, acts: &[Step], traced: bool) -> Outcome {
        let acts = acts.to_vec();
        let schedule = Schedule {
            acts,
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
    workload.check_sense();
    let case = Case {
        workload: &workload,
        instances,
        faults,
        traced: false,
        #[cfg(feature = "fail-points")]
        planted: None,
    };
    let given = |name| number(name, std::env::var(name).ok().as_deref());
    let (only, seeds) = (given(SEED), given(SEEDS).unwrap_or(seeds));
    let front = Runner {
        name,
        instances,
        runner: &case,
        threads: available_parallelism().map_or(1, usize::from),
    };
    let (summary, report) = front.simulate(only.map_or(1..=seeds, |seed| seed..=seed));
    println!("{summary}");
    if let Some(seed) = only {
        front.write_trace(seed);
    }
    if let Some(report) = report {
        panic!("{report}");
    }
}

fn number(name: &str, given: Option<&str>) -> Option<u64> {
    let given = given?;
    let number = given.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={given}: it is a number")))
}

pub(super) struct Runner<'f, R> {
    pub(super) name: &'f str,
    pub(super) instances: usize,
    pub(super) runner: &'f R,
    pub(super) threads: usize,
}

/// What the runs so far came to.
#[derive(Default)]
pub(super) struct Found {
    pub(super) counters: Counters,
    pub(super) fired: Vec<u64>,
    unjudged: BTreeSet<String>,
    /// The seeds that failed, with what was wrong.
    pub(super) failed: BTreeMap<u64, Trouble>,
}

pub(super) struct Trouble {
    pub(super) violations: Vec<Violation>,
    difference: Option<Difference>,
}

impl Found {
    fn add(&mut self, seed: u64, ran: Ran) {
        let Counters {
            records,
            turns,
            faults,
            steps,
            deaths,
        } = ran.outcome.counters;
        self.fired.push(faults.values().sum());
        let counters = &mut self.counters;
        counters.records += records;
        counters.turns += turns;
        add(&mut counters.faults, faults);
        add(&mut counters.steps, steps);
        add(&mut counters.deaths, deaths);
        self.unjudged.extend(ran.outcome.unjudged);
        if let Some(trouble) = ran.trouble {
            self.failed.insert(seed, trouble);
        }
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (name, count) in more {
        *to.entry(name).or_default() += count;
    }
}

/// A seed that was run.
struct Ran {
    outcome: Outcome,
    trouble: Option<Trouble>,
}

impl<R: SeedRunner> Runner<'_, R> {
    /// Runs the seeds; the report is of the lowest that fails.
    fn simulate(&self, seeds: RangeInclusive<u64>) -> (Summary<'_>, Option<String>) {
        let began = Instant::now();
        let mut found = self.seek(seeds);
        let summary = Summary {
            name: self.name,
            counters: found.counters,
            fired: found.fired,
            unjudged: found.unjudged.into_iter().collect(),
            time: began.elapsed(),
        };
        // Seeds are handed out in order, so that all below one that fails were run, too.
        let first = found.failed.pop_first();
        (
            summary,
            first.map(|(seed, trouble)| self.report(seed, trouble)),
        )
    }

    pub(super) fn seek(&self, seeds: RangeInclusive<u64>) -> Found {
        let found = Mutex::new(Found::default());
        let (next, failed) = (AtomicU64::new(*seeds.start()), AtomicBool::new(false));
        let seek = || {
            while !failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return;
                }
                let ran = self.try_seed(seed, seed == *seeds.start());
                failed.fetch_or(ran.trouble.is_some(), Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.add(seed, ran);
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

    /// Runs a seed, twice where asked to: then both have to be the same.
    fn try_seed(&self, seed: u64, twice: bool) -> Ran {
        let mut outcome = self.run_whole(seed, twice);
        let difference = match twice {
            true => difference(&outcome, &self.run_whole(seed, true)),
            false => None,
        };
        let violations = std::mem::take(&mut outcome.violations);
        let is_right = violations.is_empty() && difference.is_none();
        let trouble = (!is_right).then_some(Trouble {
            violations,
            difference,
        });
        Ran { outcome, trouble }
    }

    fn run_whole(&self, seed: u64, traced: bool) -> Outcome {
        match catch_panic(|| self.runner.acts(seed)) {
            Ok(acts) => self.run(seed, &acts, traced),
            Err(text) => panicked(text),
        }
    }

    /// A panic is a violation, as anything else that is wrong.
    fn run(&self, seed: u64, acts: &[R::Act], traced: bool) -> Outcome {
        catch_panic(|| self.runner.run(seed, acts, traced)).unwrap_or_else(panicked)
    }

    /// Finds out about a seed that failed.
    fn report(&self, seed: u64, trouble: Trouble) -> String {
        let mut outcome = self.run_whole(seed, true);
        let violations = |violations: &[Violation]| texts(violations).collect::<Vec<_>>();
        let difference = trouble
            .difference
            .or_else(|| difference(&outcome, &self.run_whole(seed, true)))
            // The run that failed is the first.
            .or_else(|| {
                let (first, second) = (&trouble.violations, &outcome.violations);
                Difference::of(&violations(first), &violations(second))
            });
        let mut least = None;
        if difference.is_none() {
            let (left, smallest) = self.shrink(seed, &outcome);
            least = left;
            outcome = smallest.unwrap_or(outcome);
        } else {
            outcome.violations = trouble.violations;
        }
        let report = Report {
            name: self.name,
            seed,
            instances: self.instances,
            violations: &outcome.violations,
            least,
            story: &outcome.story,
            difference,
        };
        report.to_string()
    }

    /// The smallest schedule that fails by the same oracle, and what it leads to.
    fn shrink(&self, seed: u64, whole: &Outcome) -> (Option<Least>, Option<Outcome>) {
        let oracle = |outcome: &Outcome| outcome.violations.first().map(|first| first.oracle);
        let Ok(all) = catch_panic(|| self.runner.acts(seed)) else {
            return (None, None);
        };
        let fails = |acts: &[R::Act]| {
            let outcome = self.run(seed, acts, false);
            (oracle(&outcome) == oracle(whole)).then_some(outcome)
        };
        // A check that fails of nothing counts records: it is told with all that it asks for.
        let keeps = oracle(whole) == Some(CHECK) && fails(&[]).is_some();
        let of = |left: &[usize]| -> Vec<R::Act> {
            let left = (0..all.len())
                .filter(|at| left.binary_search(at).is_ok() || keeps && R::is_record(&all[*at]));
            left.map(|at| all[at].clone()).collect()
        };
        let may_go = (0..all.len()).filter(|at| !(keeps && R::is_record(&all[*at])));
        let may_go: Vec<usize> = may_go.collect();
        let mut smallest = None;
        let shrunk = shrink(&may_go, &BUDGET, |left| {
            let failed = fails(&of(left));
            let fails = failed.is_some();
            smallest = failed.or(smallest.take());
            fails
        });
        let least = Least {
            acts: shrunk.left.iter().map(|at| all[*at].to_string()).collect(),
            kept: all.len() - may_go.len(),
            of: may_go.len(),
            runs: shrunk.runs,
            is_least: shrunk.is_least,
        };
        (Some(least), smallest)
    }

    /// Writes the trace of a seed where the user finds it.
    fn write_trace(&self, seed: u64) {
        let trace = self.run_whole(seed, true).trace;
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
    let violation = Violation {
        oracle: "panic",
        what: text,
        place: None,
    };
    Outcome {
        violations: vec![violation],
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
        let mut lines = outcome.trace.clone();
        lines.extend(texts(&outcome.violations));
        lines
    };
    Difference::of(&lines(one), &lines(other))
}

/// The directory for what tests leave behind, which `cargo clean` empties; without cargo's layout the
/// machine's own.
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
