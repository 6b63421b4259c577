//! One run: a workload under a schedule, from the first turn to rest, and what the oracles say of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Dice;
use super::oracles::{Evidence, Violation, judge, story};
use super::process::{Halt, Process};
use super::schedule::{Act, FaultKind, Schedule, What};
use super::strikes::{Strikes, name};
use super::workload::{Fresh, Workload};
use crate::clock::Clock;
use crate::core::Cause;
use crate::core::judge::Why;
use crate::dispatch::Shared;
use crate::graph::{Definition, Edge, EdgeKind, TopicSpec, start_order};
use crate::log::simulated::{Happened, Simulated};
use crate::log::{Committed, Log};
use crate::processor::{ProcessorOptions, StartError, prepare};
use crate::record::{Guarantee, Headers, Record, Timestamp, TopicPartition};
use crate::table::StoreError;
use crate::table::redb::SimulatedDisk;
use crate::tester::folded::Folded;
use crate::tester::setup::topics;
use crate::view::LookedUp;
use crate::worker::Parts;

/// When a run's clock begins: 2026-01-01, 00:00 UTC.
const BEGIN: Timestamp = 1_767_225_600_000;
/// The cache of each disk's stores, in bytes.
const CACHE: usize = 1 << 20;
/// Rounds until all is handled, once nothing goes wrong any more.
const ROUNDS: usize = 1_500;
/// A round takes so long, or so long when nothing happened in the one before.
const ROUND: Duration = Duration::from_millis(10);
const QUIET: Duration = Duration::from_millis(200);
/// What went wrong last may last so long: outages, and disk errors that the next flush tells of.
const PASSING: Duration = Duration::from_secs(5);
/// So many quiet rounds are rest.
const REST: usize = 3;
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
    pub(super) planted: Option<crate::fail_points::Planted>,
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
    strikes: Strikes,
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
        let strikes = Strikes::new(disks.clone());
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
            Some(key) => (topic.place)(key, found),
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
        self.clock
            .advance(Duration::from_micros(self.order.below(most)));
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
        match turned {
            Ok(moved) => {
                let stopped = self.processes[number].stopped();
                if let Some(cause) = stopped {
                    self.halted(number, Halt::Cause(cause));
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
        let now = self.clock.monotonic();
        self.processes[number].watch(now);
    }

    /// Whether somebody in charge, or time, mends it; if that takes a hand, it is lent.
    fn is_excused(&mut self, number: usize, halt: &Halt) -> bool {
        let cause = match halt {
            Halt::Start(error) => return !self.healed && is_log_away(error),
            Halt::Cause(cause) => cause,
        };
        match cause {
            Cause::Unfit(Why::MissingOffsets { .. }) if !self.forgotten.is_empty() => {
                for (group, offsets) in &self.forgotten {
                    self.log.restore_offsets(group, offsets);
                }
                true
            }
            // It may be long until a flush tells what a disk did to a file.
            Cause::Store(StoreError::Regressed { .. }) => {
                let disk = self.processes[number].disk.faults();
                disk.failed_syncs + disk.refused > 0
            }
            Cause::Append(_) | Cause::Store(_) | Cause::Member(_) => !self.healed,
            // A member that was put out and does not know it reads what retention took meanwhile.
            Cause::Input(_) => !self.healed,
            _ => false,
        }
    }

    fn start(&mut self, number: usize) {
        let Self {
            definitions,
            case,
            schedule,
            clock,
            log,
            ..
        } = self;
        let make = |disk: &SimulatedDisk, starts: u64| {
            let start = (!schedule.setting.is_static).then_some(starts);
            let options = options(schedule, case.workload.guarantee, name(number, start));
            let parts = definitions.iter().map(|definition| {
                let stores = Arc::new(disk.stores(CACHE));
                let shared = shared(case.workload, definition);
                let seam: Arc<dyn Log> = Arc::new(log.clone());
                let mut parts = prepare(definition, shared, seam, stores, &options)?;
                parts.clock = clock.clone();
                parts.lookups = lookups(definition, log);
                Ok(parts)
            });
            parts.collect::<Result<Vec<Parts>, StartError>>()
        };
        let started = self.processes[number].start(log, make);
        self.told(format!("instance {number} starts"));
        if let Err(halt) = started {
            self.halted(number, halt);
        }
    }

    fn act(&mut self, act: &Act) {
        let now = self.clock.monotonic();
        if !matches!(act.what, What::Feed { .. }) {
            self.told(act.to_string());
        }
        match &act.what {
            What::Feed { feed, record } => {
                self.counters.records += 1;
                let topic = self.case.workload.feeds[*feed].topic;
                self.put(&topic, record);
            }
            What::Strike { fault, on } => self.strikes.arm(*fault, *on),
            What::Die {
                instance,
                at: Some(at),
                power,
            } => {
                if self.processes[*instance].is_up() {
                    self.strikes.arm_death(*instance, *at, *power);
                }
            }
            What::Die {
                instance, power, ..
            } => self.kill(*instance, *power),
            What::DieWriting { instance, writes } => {
                self.processes[*instance].disk.lose_power_after(*writes);
            }
            What::Stop { instance } => {
                if self.processes[*instance].is_up() {
                    self.processes[*instance].stop();
                    self.count("stop");
                }
                self.processes[*instance].watched = None;
            }
            What::Start { instance, emptied } => self.come_back(*instance, *emptied),
            What::Stall { instance, time } => {
                self.processes[*instance].stalled = now + *time;
                self.count("stall");
            }
            What::FailSyncs { instance, syncs } => {
                self.processes[*instance].disk.fail_syncs(*syncs);
            }
            What::Full { instance, is_full } => {
                self.processes[*instance].disk.set_full(*is_full);
            }
            What::Compact => {
                self.compact();
                self.count("compaction");
            }
            What::Expire => {
                self.expire();
                self.count("retention");
            }
            What::SetClock(by) => {
                self.clock.set_wall(self.clock.wall() + by);
                self.count("clock set");
            }
            What::Forget => self.forget(),
        }
    }

    fn kill(&mut self, instance: usize, power: bool) {
        let process = &mut self.processes[instance];
        process.watched = None;
        if !process.is_up() {
            return;
        }
        match power {
            true => process.disk.lose_power(),
            false => process.disk.kill(),
        }
        process.die(&self.log);
        self.strikes.count("between two turns");
    }

    fn come_back(&mut self, instance: usize, emptied: bool) {
        self.strikes.spare(instance);
        if self.processes[instance].is_up() {
            return;
        }
        if emptied {
            self.processes[instance].disk.wipe();
            self.count("disk emptied");
        }
        self.start(instance);
    }

    /// The tables' topics.
    fn tables(&self) -> Vec<&'static str> {
        let edges = self.definitions.iter();
        let edges = edges.flat_map(|definition| definition.graph.edges.iter());
        let tables = edges.filter(|edge| edge.topic.kind != crate::graph::TopicKind::Stream);
        tables.map(|edge| edge.topic.name).collect()
    }

    fn compact(&mut self) {
        for table in self.tables() {
            self.log.compact(table);
        }
    }

    /// Everything that each group has to read, by partition: the group, and the edge.
    fn intakes(&self) -> impl Iterator<Item = (&'static str, &'static Edge)> {
        let reads = |edge: &&'static Edge| {
            matches!(
                edge.kind,
                EdgeKind::Input { .. } | EdgeKind::Loopback { .. }
            )
        };
        let definitions = self.definitions.clone().into_iter();
        definitions.flat_map(move |definition| {
            let edges = definition.graph.edges.iter().filter(reads);
            edges.map(move |edge| (definition.graph.group, edge))
        })
    }

    /// Takes from the streams that are fed what every group has committed.
    fn expire(&mut self) {
        for feed in &self.case.workload.feeds {
            let topic = feed.topic.name;
            for partition in 0..self.log.partitions_of(topic) {
                let place = TopicPartition::new(topic, partition);
                let readers = self.intakes().filter(|(_, edge)| edge.topic.name == topic);
                let committed = readers.map(|(group, _)| {
                    let offsets = self.log.offsets_of(group);
                    offsets.get(&place).map_or(0, |committed| committed.offset)
                });
                if let Some(before) = committed.min() {
                    self.log.delete_records(topic, partition, before);
                }
            }
        }
    }

    /// Whether a partition of a processor's table holds anything.
    fn has_rows(&self, definition: &Definition, partition: i32) -> bool {
        let edges = definition.graph.edges.iter();
        let mut tables = edges.filter(|edge| matches!(edge.kind, EdgeKind::Table));
        tables.any(|edge| !self.log.records(edge.topic.name, partition).is_empty())
    }

    /// The groups lose their offsets: those that have nobody now.
    fn forget(&mut self) {
        if self.processes.iter().any(Process::is_up) {
            return;
        }
        for definition in &self.definitions {
            let group = definition.graph.group;
            let all = self.log.offsets_of(group).into_iter();
            // Where the table has no row, nobody can tell a group that lost its offsets from a new one.
            let (lost, kept) =
                all.partition(|(place, _)| self.has_rows(definition, place.partition));
            self.log.forget_offsets(group);
            self.log.restore_offsets(group, &kept);
            self.forgotten.entry(group).or_default().extend(lost);
        }
        self.count("offsets lost");
    }

    /// Nothing goes wrong any more: everybody comes back, and handles what there is.
    fn settle(&mut self) {
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
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let mut moved = false;
            self.healed = self.clock.monotonic() >= healed;
            for number in 0..self.processes.len() {
                for _ in 0..self.processes[number].workers().max(1) {
                    moved |= self.turn(number);
                }
            }
            moved |= self.log.is_rebalancing() || self.log.is_unsettled();
            self.clock.advance(if moved { ROUND } else { QUIET });
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
    fn end(mut self) -> Outcome {
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
        let story = first.map(|first| story(&evidence, first));
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

fn options(
    schedule: &Schedule,
    guarantee: Option<Guarantee>,
    instance: String,
) -> ProcessorOptions {
    let setting = &schedule.setting;
    ProcessorOptions {
        instance,
        barrier: setting.barrier,
        session: setting.session,
        guarantee,
        transaction_timeout: setting.transaction_timeout,
        flush_interval: setting.flush_interval,
        flush_bytes: setting.flush_bytes,
        memory: setting.memory,
        ..ProcessorOptions::default()
    }
}

fn shared(workload: &Workload, definition: &Definition) -> Arc<Shared> {
    let given = workload.shared.get(&(definition.type_id)());
    let given = given.map(|make| make());
    let given = given.or_else(|| definition.make.map(|make| Arc::from(make())));
    given.unwrap_or_else(|| {
        panic!(
            "`{0}` ({1}) has no `Default`: give it with `Workload::with(|| {0} ..)`",
            definition.graph.name, definition.graph.location
        )
    })
}

fn lookups(definition: &Definition, log: &Simulated) -> crate::view::Lookups {
    let edges = definition.graph.edges.iter();
    let edges = edges.filter(|edge| matches!(edge.kind, EdgeKind::Lookup));
    edges
        .map(|edge| {
            let partitions = log.partitions_of(edge.topic.name);
            let table = Folded::new(log.clone(), &edge.topic, partitions);
            let table: Arc<dyn LookedUp> = Arc::new(table);
            (edge.topic.name, table)
        })
        .collect()
}

/// Whether a process could not start because no broker answered.
fn is_log_away(error: &StartError) -> bool {
    matches!(error, StartError::Log { .. })
}
