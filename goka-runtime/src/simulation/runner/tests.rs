use super::*;

/// Fails depending on the seed and the steps, which are numbers.
struct Fake<F>(F);

impl<F: Fn(u64, &[u64]) -> Outcome + Sync> SeedRunner for Fake<F> {
    type Step = u64;

    fn steps(&self, seed: u64) -> Vec<u64> {
        assert!(seed != 99, "no steps");
        (0..40).collect()
    }

    fn is_record(step: &u64) -> bool {
        *step < 30
    }

    fn run(&self, seed: u64, steps: &[u64], traced: bool) -> Outcome {
        let mut outcome = self.0(seed, steps);
        outcome.counters.records = steps.len() as u64;
        outcome.counters.faults = [("fault", seed)].into();
        if !traced {
            outcome.full_trace.clear();
        }
        outcome
    }
}

fn failing(oracle: &'static str) -> Outcome {
    let mut outcome = panicked("it is so".to_owned());
    outcome.violations[0].oracle = oracle;
    outcome
}

fn simulate<F>(fake: F, seeds: RangeInclusive<u64>) -> (String, Option<String>)
where
    F: Fn(u64, &[u64]) -> Outcome + Sync,
{
    let runner = Runner {
        name: "crate::fake",
        instances: 3,
        runs: &Fake(fake),
        threads: 3,
    };
    let (summary, report) = runner.simulate(seeds);
    (summary.to_string(), report)
}

#[test]
fn all_seeds_are_run_and_counted() {
    let (summary, report) = simulate(|_, _| Outcome::default(), 1..=9);
    assert_eq!(report, None);
    assert!(summary.contains("9 runs, 360 records"), "{summary}");
    assert!(
        summary.contains("minimum 1, median 5\n  faults: fault 45\n"),
        "{summary}"
    );
}

#[test]
fn the_lowest_seed_that_fails_is_reported_with_its_smallest_schedule() {
    let fake = |seed, steps: &[u64]| match (seed, steps.contains(&7) && steps.contains(&30)) {
        (5.., true) => failing("table"),
        // Fails, too, but by another rule.
        (5.., false) if steps.contains(&7) => failing("other"),
        _ => Outcome::default(),
    };
    let (_, report) = simulate(fake, 1..=50);
    let report = report.expect("it fails");
    assert!(report.contains("failed with seed 5\n"), "{report}");
    assert!(report.contains("\n  table: it is so\n"), "{report}");
    assert!(report.contains("2 steps, 38 left out"), "{report}");
    assert!(report.contains(":\n  7\n  30\n"), "{report}");
    assert!(
        report.ends_with("GOKA_SIM_SEED=5 cargo test fake"),
        "{report}"
    );
}

#[test]
fn a_check_that_counts_keeps_the_records() {
    let is_counted = |steps: &[u64]| steps.len() > 30 && !steps.contains(&33);
    let fake = move |_, steps: &[u64]| match is_counted(steps) {
        true => Outcome::default(),
        false => failing(CHECK),
    };
    let report = simulate(fake, 1..=9).1.expect("it fails");
    assert!(
        report.contains("0 steps and all 30 records, 10 left out"),
        "{report}"
    );
    // One that compares does not.
    let fake = |_, steps: &[u64]| match steps.contains(&7) && steps.contains(&33) {
        true => failing(CHECK),
        false => Outcome::default(),
    };
    let report = simulate(fake, 1..=9).1.expect("it fails");
    assert!(report.contains(": 2 steps, 38 left out"), "{report}");
}

#[test]
fn a_panic_is_a_failure() {
    let fake = |seed, steps: &[u64]| {
        assert!(seed != 3 || !steps.contains(&4), "four");
        Outcome::default()
    };
    let report = simulate(fake, 1..=10).1.expect("it fails");
    assert!(report.contains("seed 3\n"), "{report}");
    assert!(report.contains("\n  panic: four ("), "{report}");
    assert!(report.contains("1 steps, 39 left out"), "{report}");
    // After a panic while the schedule is made there is no schedule to report.
    let report = simulate(|_, _| Outcome::default(), 99..=99).1;
    let report = report.expect("it fails");
    assert!(
        report.contains("no steps (") && !report.contains("schedule"),
        "{report}"
    );
}

#[test]
fn runs_that_differ_fail_with_the_first_seed() {
    let runs = AtomicU64::new(0);
    let fake = |_, _: &[u64]| Outcome {
        full_trace: vec![
            "begin".to_owned(),
            format!("number {}", runs.fetch_add(1, Ordering::Relaxed)),
        ],
        ..Outcome::default()
    };
    let report = simulate(fake, 1..=1).1.expect("it fails");
    assert!(
        report.contains("differ, at line 2:\n  first  number 0\n"),
        "{report}"
    );
}

#[test]
fn a_failure_that_does_not_repeat_is_reported_and_not_shrunk() {
    let runs = AtomicU64::new(0);
    let fake = |seed, _: &[u64]| match seed {
        4 if runs.fetch_add(1, Ordering::Relaxed) == 0 => failing("table"),
        _ => Outcome::default(),
    };
    let report = simulate(fake, 1..=10).1.expect("it fails");
    assert!(report.contains("seed 4\n"), "{report}");
    assert!(report.contains("\n  table: it is so\n"), "{report}");
    assert!(report.contains("not deterministic"), "{report}");
    assert!(report.contains("  second (has ended)"), "{report}");
    assert!(!report.contains("schedule"), "{report}");
}

#[test]
fn a_seed_is_a_number() {
    assert_eq!(number("N", None), None);
    assert_eq!(number("N", Some("17")), Some(17));
    let text = catch_panic(|| number("GOKA_SIM_SEED", Some("x"))).expect_err("it is none");
    assert!(text.starts_with("GOKA_SIM_SEED=x: not a number"), "{text}");
}
