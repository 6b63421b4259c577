//! The end of a run: faults cease, every instance comes back, everything is handled, and the oracles
//! check the run. Part of [`Run`].

use std::time::Duration;

use super::super::oracles::{FinishedRun, judge, trace};
use super::{Outcome, Run, shared};

/// The most rounds without progress once faults have ceased.
const ROUNDS: usize = 1_500;
/// After how many rounds progress is looked at.
const PROGRESS_ROUNDS: usize = 100;
/// How far the clock advances in a round that made progress.
const ROUND: Duration = Duration::from_millis(10);
/// How far it advances in one that made none.
const QUIET_ROUND: Duration = Duration::from_millis(200);
/// How long the last faults may have effects: outages, and disk errors that only the next flush meets.
const FAULT_AFTERMATH: Duration = Duration::from_secs(5);
/// After how many rounds without progress the members count as idle.
const QUIET_ROUNDS: usize = 3;

impl Run<'_> {
    /// Ends all faults, starts what is not running, and waits until everything is handled.
    pub(super) fn recover(&mut self) {
        self.injector.disarm();
        let faults_end = self.clock.monotonic() + FAULT_AFTERMATH;
        self.log_event("faults have ended".to_owned());
        for number in 0..self.processes.len() {
            self.processes[number].disk.repair();
            self.processes[number].stalled_until = Duration::ZERO;
            if !self.processes[number].is_up() {
                self.start(number);
            }
        }
        let (mut quiet, mut rounds, mut left) = (0, 0, usize::MAX);
        while rounds < ROUNDS {
            rounds += 1;
            if rounds % PROGRESS_ROUNDS == 0 {
                let now = self.count_unhandled();
                if now < left {
                    (rounds, left) = (0, now);
                }
            }
            let mut made_progress = false;
            self.faults_are_over = self.clock.monotonic() >= faults_end;
            for number in 0..self.processes.len() {
                for _ in 0..self.processes[number].workers().max(1) {
                    made_progress |= self.turn(number);
                }
            }
            made_progress |= self.log.is_rebalancing() || self.log.has_open_writes();
            self.advance(if made_progress { ROUND } else { QUIET_ROUND });
            quiet = if made_progress { 0 } else { quiet + 1 };
            if quiet >= QUIET_ROUNDS && self.unhandled().is_empty() {
                return;
            }
        }
        let unhandled = self.unhandled();
        let what = match unhandled.is_empty() {
            true => "the members do not become idle".to_owned(),
            false => format!("not handled: {}", unhandled.join("; ")),
        };
        self.violation("comes to an end", what);
    }

    fn count_unhandled(&self) -> usize {
        let behind = self
            .inputs()
            .flat_map(|(group, edge)| self.log.behind(group, edge.topic.name));
        let left = behind.map(|(_, committed, end)| end.saturating_sub(committed));
        left.map(|left| usize::try_from(left).unwrap_or(0)).sum()
    }

    fn unhandled(&self) -> Vec<String> {
        let mut behind = Vec::new();
        for (group, edge) in self.inputs() {
            let topic = edge.topic.name;
            for (partition, committed, end) in self.log.behind(group, topic) {
                behind.push(format!(
                    "{topic}[{partition}] from offset {committed} to {end}, by group `{group}`"
                ));
            }
        }
        behind
    }

    /// Stops all processes, and has the oracles check the run.
    pub(super) fn finish(mut self) -> Outcome {
        for process in &mut self.processes {
            process.stop();
        }
        let history = self.log.take_history();
        let processors = self.definitions.iter();
        let processors: Vec<_> = processors
            .map(|definition| {
                let guarantee = self.config.workload.guarantee;
                let guarantee = guarantee.unwrap_or(definition.graph.guarantee);
                let shared = shared(self.config.workload, definition);
                (*definition, shared, guarantee)
            })
            .collect();
        let loads = self.config.workload.loaded_tables.iter();
        let loaded: Vec<&'static str> = loads.map(|load| load.topic.name).collect();
        let run = FinishedRun {
            log: &self.log,
            history: &history,
            processors: &processors,
            idempotent: self.config.workload.idempotent,
            loaded: &loaded,
        };
        let findings = judge(&run);
        // A run that did not come to an end breaks many other rules only for that reason.
        if self.violations.is_empty() {
            self.violations = findings.violations;
            let workload = self.config.workload;
            let checked = workload.run_checks(&self.log, &self.schedule.steps);
            self.violations.extend(checked);
        }
        let first = self.violations.first();
        let violation_trace = first.map(|first| trace(&run, first));
        self.counters.unjudged.extend(findings.unjudged);
        self.finish_counting();
        Outcome {
            violation_trace: violation_trace.unwrap_or_default(),
            violations: self.violations,
            counters: self.counters,
            full_trace: self.log.take_trace(),
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
        counters.deaths = self.injector.deaths();
        let steps = self.log.steps().into_iter();
        counters.log_steps = steps
            .map(|(step, count)| (step.to_string(), count))
            .collect();
    }
}
