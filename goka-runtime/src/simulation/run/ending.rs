//! How a run comes to its end: everybody comes back, all is handled, the oracles judge. Part of [`Run`].

use std::time::Duration;

use super::super::oracles::{Evidence, judge, trace};
use super::starting::shared;
use super::{Outcome, Run};

/// Rounds in which something more is to be handled, once nothing goes wrong any more: handlers may be
/// slow, but they come forward.
const ROUNDS: usize = 1_500;
/// How often that is looked at.
const LOOK: usize = 100;
/// A round takes so long, or so long when nothing happened in the one before.
const ROUND: Duration = Duration::from_millis(10);
const QUIET: Duration = Duration::from_millis(200);
/// What went wrong last may last so long: outages, and disk errors that the next flush tells of.
const PASSING: Duration = Duration::from_secs(5);
/// So many quiet rounds are rest.
const REST: usize = 3;

impl Run<'_> {
    /// Nothing goes wrong any more: everybody comes back, and handles what there is.
    pub(super) fn settle(&mut self) {
        self.strikes.disarm();
        let healed = self.clock.monotonic() + PASSING;
        self.told("nothing goes wrong any more".to_owned());
        for number in 0..self.processes.len() {
            self.processes[number].disk.heal();
            self.processes[number].stalled = Duration::ZERO;
            if !self.processes[number].is_up() {
                self.start(number);
            }
        }
        let (mut quiet, mut rounds, mut left) = (0, 0, usize::MAX);
        while rounds < ROUNDS {
            rounds += 1;
            if rounds % LOOK == 0 {
                let now = self.left();
                if now < left {
                    (rounds, left) = (0, now);
                }
            }
            let mut moved = false;
            self.healed = self.clock.monotonic() >= healed;
            for number in 0..self.processes.len() {
                for _ in 0..self.processes[number].workers().max(1) {
                    moved |= self.turn(number);
                }
            }
            moved |= self.log.is_rebalancing() || self.log.is_unsettled();
            self.advance(if moved { ROUND } else { QUIET });
            quiet = if moved { 0 } else { quiet + 1 };
            if quiet >= REST && self.behind().is_empty() {
                return;
            }
        }
        let behind = self.behind();
        let what = match behind.is_empty() {
            true => "the members came to no rest".to_owned(),
            false => format!("not handled: {}", behind.join("; ")),
        };
        self.violation("comes to an end", what);
    }

    /// How many records are not handled yet.
    fn left(&self) -> usize {
        let behind = self
            .intakes()
            .flat_map(|(group, edge)| self.log.behind(group, edge.topic.name));
        let left = behind.map(|(_, committed, end)| end.saturating_sub(committed));
        left.map(|left| usize::try_from(left).unwrap_or(0)).sum()
    }

    /// What is not handled yet.
    fn behind(&self) -> Vec<String> {
        let mut behind = Vec::new();
        for (group, edge) in self.intakes() {
            let topic = edge.topic.name;
            for (partition, committed, end) in self.log.behind(group, topic) {
                behind.push(format!(
                    "{topic}[{partition}] from offset {committed} to {end}, by group `{group}`"
                ));
            }
        }
        behind
    }

    /// Stops everybody, and has the oracles judge.
    pub(super) fn end(mut self) -> Outcome {
        for process in &mut self.processes {
            process.stop();
        }
        let history = self.log.take_history();
        let processors = self.definitions.iter();
        let processors: Vec<_> = processors
            .map(|definition| {
                let guarantee = self.case.workload.guarantee;
                let guarantee = guarantee.unwrap_or(definition.graph.guarantee);
                let shared = shared(self.case.workload, definition);
                (*definition, shared, guarantee)
            })
            .collect();
        let loads = self.case.workload.loads.iter();
        let loaded: Vec<&'static str> = loads.map(|load| load.topic.name).collect();
        let evidence = Evidence {
            log: &self.log,
            history: &history,
            processors: &processors,
            idempotent: self.case.workload.idempotent,
            loaded: &loaded,
        };
        let verdict = judge(&evidence);
        // What did not come to an end looks like many other things.
        if self.violations.is_empty() {
            self.violations = verdict.violations;
            let checked = self.case.workload.checked(&self.log, &self.schedule.acts);
            self.violations.extend(checked);
        }
        let first = self.violations.first();
        let story = first.map(|first| trace(&evidence, first));
        self.finish_counting();
        Outcome {
            story: story.unwrap_or_default(),
            violations: self.violations,
            unjudged: verdict.unjudged,
            counters: self.counters,
            trace: self.log.take_trace(),
        }
    }

    fn finish_counting(&mut self) {
        let counters = &mut self.counters;
        for (fault, count) in self.log.fired() {
            *counters.faults.entry(fault).or_default() += count;
        }
        for process in &self.processes {
            let disk = process.disk.faults();
            for (fault, count) in [
                ("write lost", disk.lost),
                ("write torn", disk.torn),
                ("sync failed", disk.failed_syncs),
                ("disk full", disk.refused),
            ] {
                if count > 0 {
                    *counters.faults.entry(fault).or_default() += count;
                }
            }
        }
        counters.deaths = self.strikes.deaths();
        let steps = self.log.steps().into_iter();
        counters.steps = steps
            .map(|(step, count)| (step.to_string(), count))
            .collect();
    }
}
