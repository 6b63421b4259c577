//! The texts of a simulation: the summary of all its runs, and the report of one that failed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::oracles::Violation;

/// The most lines of a section; the full trace is in a file.
const LINES: usize = 60;

/// The first difference between two runs of one schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) line: usize,
    /// `None` where that run has ended.
    pub(super) one: Option<String>,
    pub(super) other: Option<String>,
}

impl Difference {
    /// Finds the first line that is not the same in both.
    pub(super) fn of(one: &[String], other: &[String]) -> Option<Self> {
        let most = one.len().max(other.len());
        let line = (0..most).find(|line| one.get(*line) != other.get(*line))?;
        Some(Self {
            line: line + 1,
            one: one.get(line).cloned(),
            other: other.get(line).cloned(),
        })
    }
}

/// The schedule of a seed that fails, without what can be left out.
pub(super) struct ShrunkSchedule {
    pub(super) steps: Vec<String>,
    /// How many records stay in any case, beside these steps.
    pub(super) kept: usize,
    /// How many steps could be left out.
    pub(super) of: usize,
    pub(super) runs: usize,
    pub(super) is_minimal: bool,
}

pub(super) struct Report<'r> {
    /// The path of the simulation's function.
    pub(super) name: &'r str,
    pub(super) seed: u64,
    pub(super) instances: usize,
    pub(super) violations: &'r [Violation],
    /// `None` where the runs differ, or there is no schedule.
    pub(super) schedule: Option<ShrunkSchedule>,
    pub(super) trace: &'r [String],
    pub(super) difference: Option<Difference>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, .. } = self;
        let of = match self.instances {
            1 => "1 instance".to_owned(),
            instances => format!("{instances} instances"),
        };
        writeln!(f, "simulation `{name}` of {of} failed with seed {seed}")?;
        if !self.violations.is_empty() {
            let lines = self.violations.iter();
            let lines: Vec<_> = lines
                .map(|violation| format!("{}: {}", violation.oracle, violation.what))
                .collect();
            section(f, "what is wrong", &lines)?;
        }
        if let Some(Difference { line, one, other }) = &self.difference {
            writeln!(
                f,
                "\nnot deterministic: two runs of this seed differ, at line {line}:"
            )?;
            for (run, line) in [("first", one), ("second", other)] {
                let line = line.as_deref().unwrap_or("(has ended)");
                writeln!(f, "  {run:<7}{line}")?;
            }
            f.write_str(REASONS)?;
        }
        if let Some(schedule) = &self.schedule {
            let left = schedule.of - schedule.steps.len();
            let sure = if schedule.is_minimal {
                ""
            } else {
                ", more may go"
            };
            let kept = match schedule.kept {
                0 => String::new(),
                kept => format!(" and all {kept} records"),
            };
            let title = format!(
                "the schedule: {} steps{kept}, {left} left out in {} runs{sure}",
                schedule.steps.len(),
                schedule.runs
            );
            section(f, &title, &schedule.steps)?;
        }
        if !self.trace.is_empty() {
            section(f, "the trace of the first violation", self.trace)?;
        }
        let test = name.split_once("::").map_or(*name, |(_, test)| test);
        write!(f, "\nreplay: GOKA_SIM_SEED={seed} cargo test {test}")
    }
}

const REASONS: &str = "  usual reasons: a handler starts threads, reads the real clock, uses random \
numbers, iterates over\n  a `HashMap`, or keeps state in a `static`, which all runs share\n";

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    writeln!(f, "\n{title}:")?;
    for line in lines.iter().take(LINES) {
        writeln!(f, "  {}", line.replace('\n', "\n  "))?;
    }
    match lines.len().saturating_sub(LINES) {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

/// Counts of all runs of a simulation.
#[derive(Debug, Default)]
pub(super) struct Summary<'s> {
    pub(super) name: &'s str,
    pub(super) counters: super::run::Counters,
    pub(super) time: Duration,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        writeln!(
            f,
            "simulation `{}`: {} runs, {} records, {} turns, {:.1} s",
            self.name,
            counters.fired.len(),
            counters.records,
            counters.turns,
            self.time.as_secs_f64()
        )?;
        let mut fired = counters.fired.clone();
        fired.sort_unstable();
        let least = fired.first().copied().unwrap_or(0);
        let median = fired.get(fired.len() / 2).copied().unwrap_or(0);
        writeln!(f, "  faults of a run: minimum {least}, median {median}")?;
        counts(f, "faults", &counters.faults)?;
        counts(f, "log operations", &counters.log_steps)?;
        counts(f, "kills at", &counters.deaths)?;
        let mut unjudged = counters.unjudged.iter();
        unjudged.try_for_each(|what| writeln!(f, "  not judged: {what}"))
    }
}

fn counts<K: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    counts: &BTreeMap<K, u64>,
) -> fmt::Result {
    if counts.is_empty() {
        return Ok(());
    }
    let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
    writeln!(f, "  {what}: {}", counts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::simulation::run::Counters;

    fn violation(oracle: &'static str, what: &str) -> Violation {
        Violation {
            oracle,
            what: what.to_owned(),
            place: None,
        }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_failure_shows_the_schedule_and_the_trace() {
        let violations = [
            violation("table", "key `alice` is 4\nexpected 3"),
            violation("check", "too many (tests/counts.rs:7)"),
        ];
        let trace = lines(&[
            "0.120 s: alice is handled",
            "0.340 s: alice is handled again",
        ]);
        let report = Report {
            name: "shop::counts::clicks",
            seed: 7,
            instances: 3,
            violations: &violations,
            schedule: Some(ShrunkSchedule {
                steps: lines(&["turn 3: a record", "turn 9: instance 2 dies"]),
                kept: 0,
                of: 312,
                runs: 87,
                is_minimal: true,
            }),
            trace: &trace,
            difference: None,
        };
        expect![[r#"
            simulation `shop::counts::clicks` of 3 instances failed with seed 7

            what is wrong:
              table: key `alice` is 4
              expected 3
              check: too many (tests/counts.rs:7)

            the schedule: 2 steps, 310 left out in 87 runs:
              turn 3: a record
              turn 9: instance 2 dies

            the trace of the first violation:
              0.120 s: alice is handled
              0.340 s: alice is handled again

            replay: GOKA_SIM_SEED=7 cargo test counts::clicks"#]]
        .assert_eq(&report.to_string());
    }

    #[test]
    fn runs_that_differ_are_reported() {
        let difference = Difference::of(&lines(&["a", "b"]), &lines(&["a"]));
        let report = Report {
            name: "clicks",
            seed: 1,
            instances: 1,
            violations: &[],
            schedule: None,
            trace: &[],
            difference,
        };
        expect![[r#"
            simulation `clicks` of 1 instance failed with seed 1

            not deterministic: two runs of this seed differ, at line 2:
              first  b
              second (has ended)
              usual reasons: a handler starts threads, reads the real clock, uses random numbers, iterates over
              a `HashMap`, or keeps state in a `static`, which all runs share

            replay: GOKA_SIM_SEED=1 cargo test clicks"#]]
        .assert_eq(&report.to_string());
        assert_eq!(Difference::of(&lines(&["a"]), &lines(&["a"])), None);
    }

    #[test]
    fn what_is_long_is_cut() {
        let steps = (0..70).map(|turn| format!("turn {turn}"));
        let report = Report {
            name: "clicks",
            seed: 1,
            instances: 2,
            violations: &[],
            schedule: Some(ShrunkSchedule {
                steps: steps.collect(),
                kept: 12,
                of: 80,
                runs: 300,
                is_minimal: false,
            }),
            trace: &[],
            difference: None,
        };
        let text = report.to_string();
        assert!(
            text.contains("70 steps and all 12 records, 10 left out in 300 runs, more may go:"),
            "{text}"
        );
        assert!(text.contains("  turn 59\n  and 10 more\n"), "{text}");
    }

    #[test]
    fn a_summary_counts() {
        let counters = Counters {
            records: 900,
            turns: 3_000,
            faults: [("ack lost", 5), ("stop", 2)].into(),
            log_steps: [("append".to_owned(), 44)].into(),
            deaths: BTreeMap::new(),
            fired: vec![4, 0, 3],
            unjudged: ["outputs of `Works`: it is asynchronous".to_owned()].into(),
        };
        let summary = Summary {
            name: "shop::clicks",
            counters,
            time: Duration::from_millis(1_250),
        };
        expect![[r#"
            simulation `shop::clicks`: 3 runs, 900 records, 3000 turns, 1.2 s
              faults of a run: minimum 0, median 3
              faults: ack lost 5, stop 2
              log operations: append 44
              not judged: outputs of `Works`: it is asynchronous
        "#]]
        .assert_eq(&summary.to_string());
    }
}
