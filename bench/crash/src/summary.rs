//! Counts of kills and their effects, by fail point.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The counts of one fail point.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Kills with records in hand.
    pub(crate) kills: u64,
    /// Kills without.
    pub(crate) empty: u64,
    /// Processes that handled records again after such a kill.
    pub(crate) restarts: u64,
    /// Restarts on an empty disk.
    pub(crate) emptied: u64,
    /// Records that were handled but not committed at the time of the kills.
    pub(crate) records: u64,
    pub(crate) duplicates: u64,
    pub(crate) losses: u64,
    pub(crate) mismatches: u64,
}

/// The summary of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) by_place: BTreeMap<&'static str, Tally>,
    pub(crate) restarts: Vec<Duration>,
    pub(crate) checks: u64,
    pub(crate) inputs: usize,
    pub(crate) took: Duration,
}

impl Summary {
    pub(crate) fn at(&mut self, place: &'static str) -> &mut Tally {
        self.by_place.entry(place).or_default()
    }

    pub(crate) fn kills(&self) -> u64 {
        self.by_place.values().map(|tally| tally.kills).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24}{:>7}{:>7}{:>10}{:>9}{:>9}{:>12}{:>8}{:>12}",
            "killed",
            "kills",
            "empty",
            "restarts",
            "emptied",
            "records",
            "duplicates",
            "losses",
            "mismatches"
        )?;
        let mut all = Tally::default();
        for (place, tally) in &self.by_place {
            row(f, place, tally)?;
            all.kills += tally.kills;
            all.empty += tally.empty;
            all.restarts += tally.restarts;
            all.emptied += tally.emptied;
            all.records += tally.records;
            all.duplicates += tally.duplicates;
            all.losses += tally.losses;
            all.mismatches += tally.mismatches;
        }
        row(f, "all", &all)?;
        let mut restarts = self.restarts.clone();
        restarts.sort_unstable();
        let at = |of: usize| {
            restarts
                .get(restarts.len() * of / 100)
                .map_or(0, Duration::as_millis)
        };
        writeln!(
            f,
            "inputs {}; checks against all of them {}; from start to first record: median {} ms, \
             95% {} ms, longest {} ms; {:.1} s in all",
            self.inputs,
            self.checks,
            at(50),
            at(95),
            restarts.last().map_or(0, Duration::as_millis),
            self.took.as_secs_f64()
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, place: &str, tally: &Tally) -> fmt::Result {
    writeln!(
        f,
        "{place:<24}{:>7}{:>7}{:>10}{:>9}{:>9}{:>12}{:>8}{:>12}",
        tally.kills,
        tally.empty,
        tally.restarts,
        tally.emptied,
        tally.records,
        tally.duplicates,
        tally.losses,
        tally.mismatches
    )
}
