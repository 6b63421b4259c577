//! One run: a workload under a schedule, from the first turn to rest, and what the oracles say of it.

mod acts;
mod ending;
mod starting;

use std::collections::BTreeMap;
use std::time::Duration;

use self::starting::is_log_away;
use super::Dice;
use super::fault_injector::FaultInjector;
use super::oracles::Violation;
use super::process::{Halt, Process};
use super::schedule::{FaultKind, Schedule};
use super::workload::{Fresh, Workload};
use crate::clock::Clock;
use crate::core::StopReason;
use crate::core::recovery::RecoveryReason;
use crate::graph::{Definition, TopicSpec, start_order};
use crate::log::simulated::{Happened, Simulated};
use crate::log::{Committed, Log};
use crate::record::{Guarantee, Headers, Record, Timestamp, TopicPartition};
use crate::table::StoreError;
use crate::table::redb::SimulatedDisk;
use crate::tester::setup::topics;

/// When a run's clock begins: 2026-01-01, 00:00 UTC.
const BEGIN: Timestamp = 1_767_225_600_000;
/// What a record takes in memory beyond its bytes, at most: two rows of a table.
const ROW: usize = 512;

/// What is run, whatever the seed.
pub(super) struct Case<'c> {
    pub(super) workload: &'c Workload,
    pub(super) instances: usize,
    pub(super) faults: &'c [FaultKind],
    /// Whether [`Outcome::trace`] is written.
    pub(super) traced: bool,
    /// A mistake that the engine makes on purpose.
    #[cfg(feature = "fail-points")]
    pub(super) planted: Option<crate::fail_points::Mutant>,
}

impl Case<'_> {
    /// Whether anybody writes in transactions.
    pub(super) fn is_once(&self) -> bool {
        let definitions = self.workload.registry.definitions();
        let mut promised = definitions
            .iter()
            .map(|definition| definition.graph.guarantee);
        let once = Guarantee::ExactlyOnce;
        match self.workload.guarantee {
            Some(guarantee) => guarantee == once,
            None => promised.any(|guarantee| guarantee == once),
        }
    }
}

/// What was counted, in one run or in many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) records: u64,
    pub(super) turns: u64,
    /// How often each fault fired.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// How often each step was taken.
    pub(super) steps: BTreeMap<String, u64>,
    /// At which steps processes died.
    pub(super) deaths: BTreeMap<String, u64>,
}

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) violations: Vec<Violation>,
    /// What happened to the place of the first violation, a line each.
    pub(super) story: Vec<String>,
    /// What could not be judged, and why: the same for every seed.
    pub(super) unjudged: Vec<String>,
    pub(super) counters: Counters,
    /// Everything that happened, a line each: the same for the same schedule.
    pub(super) trace: Vec<String>,
}

/// Runs a workload under a schedule.
pub(super) fn run(case: &Case<'_>, schedule: &Schedule) -> Outcome {
    #[cfg(feature = "fail-points")]
    crate::fail_points::plant(case.planted);
    let mut run = Run::new(case, schedule);
    run.load();
    for process in 0..run.processes.len() {
        run.start(process);
    }
    run.play();
    run.settle();
    run.end()
}

struct Run<'r> {
    case: &'r Case<'r>,
    schedule: &'r Schedule,
    definitions: Vec<&'static Definition>,
    clock: Clock,
    log: Simulated,
    strikes: FaultInjector,
    processes: Vec<Process>,
    order: Dice,
    violations: Vec<Violation>,
    /// The offsets that groups have lost.
    forgotten: BTreeMap<&'static str, BTreeMap<TopicPartition, Committed>>,
    /// Where the next record of a topic without keys goes.
    spread: BTreeMap<&'static str, i32>,
    counters: Counters,
    /// Whether nothing goes wrong any more.
    healed: bool,
}

impl<'r> Run<'r> {
    fn new(case: &'r Case<'r>, schedule: &'r Schedule) -> Self {
        let definitions = case.workload.registry.check();
        let definitions = definitions.unwrap_or_else(|error| panic!("{error}"));
        let clock = Clock::simulated(BEGIN);
        let log = Simulated::new(clock.clone());
        if case.traced {
            log.keep_trace();
        }
        log.keep_history();
        let setting = &schedule.setting;
        log.set_limits(setting.delete_retention, setting.batch);
        let seeds = (0..case.instances).zip(schedule.seed..);
        let disks: Vec<SimulatedDisk> = seeds.map(|(_, seed)| SimulatedDisk::new(seed)).collect();
        let strikes = FaultInjector::new(disks.clone());
        let processes = disks.into_iter().map(Process::new);
        Self {
            case,
            schedule,
            definitions: start_order(definitions),
            clock,
            log,
            strikes,
            processes: processes.collect(),
            order: schedule.order.clone(),
            violations: Vec::new(),
            forgotten: BTreeMap::new(),
            spread: BTreeMap::new(),
            counters: Counters::default(),
            healed: false,
        }
    }

    /// What is there before the first process starts.
    fn load(&mut self) {
        for topic in topics(&self.definitions, self.case.workload.partitions) {
            let made = self.log.create(&topic);
            made.unwrap_or_else(|error| panic!("{error}"));
        }
        for load in &self.case.workload.loads {
            for row in &load.rows {
                self.put(&load.topic, row);
            }
        }
        self.log.set_faults(Some(Box::new(self.strikes.clone())));
    }

    /// Writes a record, past everything that may go wrong.
    fn put(&mut self, topic: &TopicSpec, record: &Fresh) {
        let found = self.log.partitions_of(topic.name);
        let partition = match &record.key {
            Some(key) => (topic.partition_of)(key, found),
            None => {
                let next = self.spread.entry(topic.name).or_default();
                *next += 1;
                *next % found.max(1)
            }
        };
        let record = Record {
            offset: 0,
            timestamp: self.clock.wall(),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: Headers::default(),
        };
        let put = self.log.put(topic.name, partition, &record);
        assert!(put.is_some(), "topic `{}` has no partitions", topic.name);
    }

    fn violation(&mut self, oracle: &'static str, what: String) {
        let known = |before: &Violation| before.oracle == oracle;
        if !self.violations.iter().any(known) {
            self.violations.push(Violation {
                oracle,
                what,
                place: None,
            });
        }
    }

    fn told(&self, what: String) {
        self.log.note(&what);
        self.log.tell_history(Happened::Told(what));
    }

    fn count(&mut self, fault: &'static str) {
        *self.counters.faults.entry(fault).or_default() += 1;
    }

    /// The turns of the schedule.
    fn play(&mut self) {
        let mut acts = self.schedule.acts.iter().peekable();
        for turn in 0..self.schedule.turns {
            while let Some(act) = acts.next_if(|act| act.at <= turn) {
                self.act(act);
            }
            if turn == self.schedule.turns * 4 / 5 {
                self.strikes.loosen();
            }
            self.pass();
            self.counters.turns += 1;
            let workers: usize = self.processes.iter().map(Process::workers).sum();
            let mut chosen = usize::try_from(self.order.below(workers.max(1) as u64)).unwrap_or(0);
            let process = self.processes.iter().position(|process| {
                let found = chosen < process.workers();
                chosen = chosen.saturating_sub(process.workers());
                found
            });
            if let Some(process) = process {
                self.turn(process);
            }
        }
    }

    /// Time passes: by the pace, unevenly.
    fn pass(&mut self) {
        let most = u64::try_from(self.schedule.setting.pace.as_micros()).unwrap_or(u64::MAX);
        let time = Duration::from_micros(self.order.below(most));
        self.advance(time);
    }

    /// Time passes, for handlers that run as well.
    fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        let now = self.clock.monotonic();
        let awake = self
            .processes
            .iter()
            .filter(|process| process.stalled <= now);
        awake.for_each(Process::keep_alive);
    }

    /// A turn of a process; says whether anything happened.
    fn turn(&mut self, number: usize) -> bool {
        let now = self.clock.monotonic();
        let process = &mut self.processes[number];
        if process.watched.is_some_and(|at| at <= now) {
            self.start(number);
            return true;
        }
        if !process.is_up() || process.stalled > now {
            return false;
        }
        let turned = process.turn(now);
        let died = self.strikes.died();
        for dead in &died {
            self.processes[*dead].die(&self.log);
        }
        let process = &mut self.processes[number];
        if process.has_lost_power() {
            process.die(&self.log);
            self.strikes.count("disk write");
            self.told(format!("instance {number} lost its power while it wrote"));
            return true;
        }
        if !died.is_empty() {
            return true;
        }
        self.check_memory(number);
        if let Some(took) = self.processes[number].endless() {
            let what = format!(
                "instance {number} handled records for {} ms without looking at anything else",
                took.as_millis()
            );
            self.violation("turns end", what);
        }
        match turned {
            Ok(moved) => {
                let stopped = self.processes[number].stopped();
                if let Some(cause) = stopped {
                    self.halted(number, Halt::Stopped(cause));
                    return true;
                }
                moved
            }
            Err(halt) => {
                self.halted(number, halt);
                true
            }
        }
    }

    fn check_memory(&mut self, number: usize) {
        let setting = &self.schedule.setting;
        let most = setting.memory + setting.batch * ROW;
        let taken = self.processes[number].memory();
        if taken > most {
            let what = format!(
                "a worker of instance {number} takes {taken} bytes for values of tables; it may take \
                 {} and what {} records bring at once",
                setting.memory, setting.batch
            );
            self.violation("memory bound", what);
        }
    }

    /// What whoever watches over a process does when it, or one of its partitions, came to an end.
    fn halted(&mut self, number: usize, halt: Halt) {
        self.told(format!("instance {number}: {halt}"));
        if !self.is_excused(number, &halt) {
            let what = format!("instance {number}: {halt}");
            self.violation("goes on", what);
        }
        self.stop(number);
        let now = self.clock.monotonic();
        self.processes[number].watch(now);
    }

    /// Whether somebody in charge, or time, mends it; if that takes a hand, it is lent.
    fn is_excused(&mut self, number: usize, halt: &Halt) -> bool {
        let cause = match halt {
            Halt::Start(error) => return !self.healed && is_log_away(error),
            Halt::Stopped(cause) => cause,
        };
        match cause {
            StopReason::Recovery(RecoveryReason::MissingOffsets { .. })
                if !self.forgotten.is_empty() =>
            {
                for (group, offsets) in &self.forgotten {
                    self.log.restore_offsets(group, offsets);
                }
                true
            }
            // It may be long until a flush tells what a disk did to a file.
            StopReason::Store(StoreError::RolledBack { .. }) => {
                let disk = self.processes[number].disk.faults();
                disk.failed_syncs + disk.refused > 0
            }
            StopReason::Append(_) | StopReason::Store(_) | StopReason::Member(_) => !self.healed,
            // A member that was put out and does not know it reads what retention took meanwhile.
            StopReason::Input(_) => !self.healed,
            _ => false,
        }
    }
}
