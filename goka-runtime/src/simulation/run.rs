//! One run: a workload under a schedule, from the first turn until everything is handled, and the
//! findings of the oracles.

mod ending;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::disk::SimulatedDisk;
use super::fault_injector::{FaultInjector, name};
use super::oracles::Violation;
use super::process::{Halt, Process};
use super::schedule::Schedule;
use super::workload::{FedRecord, Workload};
use super::{Dice, SimulationConfig};
use crate::clock::Clock;
use crate::core::StopReason;
use crate::core::recovery::{RecoveryProblem, RecoveryReason};
use crate::dispatch::ProcessorState;
use crate::graph::order::start_order;
use crate::graph::{Definition, TopicSpec};
use crate::log::simulated::{Happened, Simulated};
use crate::log::{Committed, Log};
use crate::processor::{OnStop, ProcessorOptions, StartError};
use crate::record::{Headers, Record, TopicPartition};
use crate::table::StoreError;
use crate::tester::folded::Folded;
use crate::tester::setup::{BEGIN, shared_state, topics, worker_config};
use crate::worker::WorkerConfig;

/// How long after its end the supervisor restarts a process.
const RESTART_DELAY: Duration = Duration::from_millis(500);

/// The cache of each disk's stores, in bytes.
const CACHE: usize = 1 << 20;

/// The most memory that a record takes beyond its bytes: two rows of a table.
const ROW: usize = 512;

/// Counts of one run or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) records: u64,
    pub(super) turns: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) log_steps: BTreeMap<String, u64>,
    /// How many processes were killed, by log operation.
    pub(super) deaths: BTreeMap<String, u64>,
    /// How many faults fired in each run.
    pub(super) fired: Vec<u64>,
    /// What the oracles could not check, and why; the same for every seed.
    pub(super) unjudged: BTreeSet<String>,
}

impl Counters {
    /// Adds those of another run.
    pub(super) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.turns += other.turns;
        self.fired.push(other.faults.values().sum());
        add(&mut self.faults, other.faults);
        add(&mut self.log_steps, other.log_steps);
        add(&mut self.deaths, other.deaths);
        self.unjudged.extend(other.unjudged);
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (name, count) in more {
        *to.entry(name).or_default() += count;
    }
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) violations: Vec<Violation>,
    /// What happened to the record or row of the first violation, a line each.
    pub(super) violation_trace: Vec<String>,
    pub(super) counters: Counters,
    /// Everything that happened, a line each; the same for the same schedule.
    pub(super) full_trace: Vec<String>,
}

pub(super) fn run(config: &SimulationConfig<'_>, schedule: &Schedule) -> Outcome {
    #[cfg(feature = "fail-points")]
    crate::fail_points::set_mutant(config.mutant);
    let mut run = Run::new(config, schedule);
    run.load();
    for process in 0..run.processes.len() {
        run.start(process);
    }
    run.run_schedule();
    run.recover();
    run.finish()
}

struct Run<'r> {
    config: &'r SimulationConfig<'r>,
    schedule: &'r Schedule,
    definitions: Vec<&'static Definition>,
    clock: Clock,
    log: Simulated,
    injector: FaultInjector,
    processes: Vec<Process>,
    order: Dice,
    violations: Vec<Violation>,
    lost_offsets: BTreeMap<&'static str, BTreeMap<TopicPartition, Committed>>,
    /// The last partition that a record without a key went to, by topic.
    next_partitions: BTreeMap<&'static str, i32>,
    counters: Counters,
    /// Whether the effects of all faults are over.
    faults_are_over: bool,
}

impl<'r> Run<'r> {
    fn new(config: &'r SimulationConfig<'r>, schedule: &'r Schedule) -> Self {
        let definitions = config.workload.registry.check();
        let definitions = definitions.unwrap_or_else(|error| panic!("{error}"));
        let clock = Clock::simulated(BEGIN);
        let log = Simulated::new(clock.clone());
        if config.traced {
            log.keep_trace();
        }
        log.keep_history();
        let setting = &schedule.setting;
        log.set_limits(setting.delete_retention, setting.batch);
        let seeds = (0..config.instances).zip(schedule.seed..);
        let disks: Vec<SimulatedDisk> = seeds.map(|(_, seed)| SimulatedDisk::new(seed)).collect();
        let injector = FaultInjector::new(disks.clone());
        let processes = disks.into_iter().map(Process::new);
        Self {
            config,
            schedule,
            definitions: start_order(definitions),
            clock,
            log,
            injector,
            processes: processes.collect(),
            order: schedule.order.clone(),
            violations: Vec::new(),
            lost_offsets: BTreeMap::new(),
            next_partitions: BTreeMap::new(),
            counters: Counters::default(),
            faults_are_over: false,
        }
    }

    /// Creates the topics and writes the tables that exist before the first process starts.
    fn load(&mut self) {
        for topic in topics(&self.definitions, self.config.workload.partitions) {
            let made = self.log.create(&topic);
            made.unwrap_or_else(|error| panic!("{error}"));
        }
        for load in &self.config.workload.loaded_tables {
            for row in &load.rows {
                self.put(&load.topic, row);
            }
        }
        self.log.set_faults(Some(Box::new(self.injector.clone())));
    }

    fn start(&mut self, number: usize) {
        let Self {
            definitions,
            config,
            schedule,
            clock,
            log,
            ..
        } = self;
        let make = |disk: &SimulatedDisk, starts: u64| {
            let start = (!schedule.setting.is_static).then_some(starts);
            let options = ProcessorOptions {
                instance: name(number, start),
                guarantee: config.workload.guarantee,
                // Every second instance leaves its group when it stops; the others keep their membership
                // for a restart.
                on_stop: match number % 2 {
                    0 => OnStop::Keep,
                    _ => OnStop::Leave,
                },
                ..schedule.setting.options.clone()
            };
            let table = |spec: &TopicSpec| Arc::new(Folded::new(log, spec));
            let configs = definitions.iter().map(|definition| {
                worker_config(
                    definition,
                    shared(config.workload, definition),
                    (log, clock),
                    Arc::new(disk.stores(CACHE)),
                    &options,
                    table,
                )
            });
            configs.collect::<Result<Vec<WorkerConfig>, StartError>>()
        };
        let handler_time = schedule.handler_time(config.workload);
        let started = self.processes[number].start(log, &handler_time, make);
        self.log_event(format!("instance {number} starts"));
        if let Err(halt) = started {
            self.handle_halt(number, halt);
        }
    }

    /// Writes a record that no fault affects.
    fn put(&mut self, topic: &TopicSpec, record: &FedRecord) {
        let partitions = self.log.partitions_of(topic.name);
        let partition = match &record.key {
            Some(key) => (topic.partition_of)(key, partitions),
            None => {
                let next = self.next_partitions.entry(topic.name).or_default();
                *next += 1;
                *next % partitions.max(1)
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
            self.violations.push(Violation::new(oracle, what));
        }
    }

    fn log_event(&self, what: String) {
        self.log.note(&what);
        self.log.add_to_history(Happened::Event(what));
    }

    fn count(&mut self, fault: &'static str) {
        *self.counters.faults.entry(fault).or_default() += 1;
    }

    fn run_schedule(&mut self) {
        let mut steps = self.schedule.steps.iter().peekable();
        for turn in 0..self.schedule.turns {
            while let Some(step) = steps.next_if(|step| step.at <= turn) {
                self.perform(step);
            }
            if turn == self.schedule.turns * 4 / 5 {
                self.injector.untarget();
            }
            self.pass_time();
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

    fn pass_time(&mut self) {
        let most = u64::try_from(self.schedule.setting.pace.as_micros()).unwrap_or(u64::MAX);
        let time = Duration::from_micros(self.order.below(most));
        self.advance(time);
    }

    /// Advances the clock, and sends the heartbeats of members whose handlers run meanwhile.
    fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        let now = self.clock.monotonic();
        let processes = self.processes.iter();
        let awake = processes.filter(|process| process.stalled_until <= now);
        awake.for_each(Process::keep_alive);
    }

    /// Runs a turn of a process; returns whether it made progress.
    fn turn(&mut self, number: usize) -> bool {
        let now = self.clock.monotonic();
        let process = &mut self.processes[number];
        if process.restart_at.is_some_and(|at| at <= now) {
            self.start(number);
            return true;
        }
        if !process.is_up() || process.stalled_until > now {
            return false;
        }
        let turned = process.turn(now);
        let died = self.injector.take_died();
        for dead in &died {
            self.processes[*dead].die(&self.log);
        }
        let process = &mut self.processes[number];
        if process.has_lost_power() {
            process.die(&self.log);
            self.injector.count("disk write");
            self.log_event(format!("instance {number} lost its power while it wrote"));
            return true;
        }
        if !died.is_empty() {
            return true;
        }
        self.check_memory(number);
        if let Some(took) = self.processes[number].overlong_turn() {
            let what = format!(
                "instance {number} handled records for {} ms in one turn, without polling its member",
                took.as_millis()
            );
            self.violation("turns end", what);
        }
        match turned {
            Ok(made_progress) => {
                let stopped = self.processes[number].stopped();
                if let Some(cause) = stopped {
                    self.handle_halt(number, Halt::Stopped(cause));
                    return true;
                }
                made_progress
            }
            Err(halt) => {
                self.handle_halt(number, halt);
                true
            }
        }
    }

    fn check_memory(&mut self, number: usize) {
        let setting = &self.schedule.setting;
        let memory = setting.options.memory_bytes;
        let most = memory + setting.batch * ROW;
        let taken = self.processes[number].memory();
        if taken > most {
            let what = format!(
                "a worker of instance {number} takes {taken} bytes for values of tables; its limit is \
                 {memory} and what one fetch of {} records adds",
                setting.batch
            );
            self.violation("memory bound", what);
        }
    }

    /// What a supervisor does when a process, or one of its tasks, has ended: restarts it a little later.
    /// An end that no fault explains is a violation.
    fn handle_halt(&mut self, number: usize, halt: Halt) {
        self.log_event(format!("instance {number}: {halt}"));
        if !self.is_expected(number, &halt) {
            let what = format!("instance {number}: {halt}");
            self.violation("goes on", what);
        }
        self.stop(number);
        let now = self.clock.monotonic();
        self.processes[number].restart_at = Some(now + RESTART_DELAY);
    }

    /// Whether a fault explains the end. Where an operator would have to act, this does what they would.
    fn is_expected(&mut self, number: usize, halt: &Halt) -> bool {
        let cause = match halt {
            Halt::Start(error) => {
                let is_log_away = matches!(**error, StartError::Log { .. });
                return is_log_away && !self.faults_are_over;
            }
            Halt::Stopped(cause) => cause,
        };
        match cause {
            StopReason::Recovery(RecoveryReason {
                problem: RecoveryProblem::MissingOffsets { .. },
                ..
            }) if !self.lost_offsets.is_empty() => {
                for (group, offsets) in &self.lost_offsets {
                    self.log.restore_offsets(group, offsets);
                }
                true
            }
            // A flush may find only much later what a fault did to a file.
            StopReason::Store(StoreError::RolledBack { .. }) => {
                let disk = self.processes[number].disk.faults();
                disk.failed_syncs + disk.refused > 0
            }
            StopReason::Append(_) | StopReason::Store(_) | StopReason::Member(_) => {
                !self.faults_are_over
            }
            // A member that was removed from its group and has not noticed reads records that retention
            // has deleted meanwhile.
            StopReason::Input(_) => !self.faults_are_over,
            _ => false,
        }
    }
}

pub(super) fn shared(workload: &Workload, definition: &Definition) -> Arc<ProcessorState> {
    let given = workload.shared.get(&(definition.type_id)());
    shared_state(definition, given.map(|make| make()), "Workload::with(|| ")
}
