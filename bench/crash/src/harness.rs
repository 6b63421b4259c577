//! The harness: starts a process, kills it at a fail point or at a random moment, checks what it left
//! behind, and starts the next. Now and then a process runs until all input is handled; then everything is
//! compared.

mod checks;
mod stores;

use std::collections::VecDeque;
use std::error::Error;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use goka_runtime::record::Guarantee;
use goka_test_support::kafka;
use tempfile::TempDir;

use crate::Plan;
use crate::child::{Counters, GROUP, INPUTS, OUTPUTS, tables};
use crate::input::Inputs;
use crate::oracle::{Finding, Ledger, Oracle};
use crate::points::{self, Point};
use crate::process::{Launcher, Process, WaitResult};
use crate::random::Random;
use crate::summary::Summary;
use crate::topics::{Broker, Follower, PARTITIONS};

/// The timeout of everything here, which only a failure reaches.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The row of the summary for kills at random moments.
const RANDOM: &str = "(random moment)";
/// The row of the summary for duplicates after a clean stop: a correct run has none.
const CLEAN_STOP: &str = "(clean stop)";
/// How many kills at random moments there are for one kill at each fail point.
const RANDOMS: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// When a process is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    At(&'static Point),
    Random,
}

impl Kill {
    fn place(self) -> &'static str {
        match self {
            Kill::At(point) => point.name,
            Kill::Random => RANDOM,
        }
    }
}

/// A kill that was done.
#[derive(Debug)]
struct PastKill {
    place: &'static str,
    /// The committed offsets of the inputs at that time, by partition.
    committed: Vec<i64>,
}

struct Harness<'p> {
    plan: &'p Plan,
    random: Random,
    launcher: Launcher,
    _dir: TempDir,
    broker: Broker,
    followers: Followers,
    ledger: Ledger,
    pending: VecDeque<Kill>,
    past: Vec<PastKill>,
    summary: Summary,
    findings: Vec<Finding>,
}

struct Followers {
    inputs: Follower,
    outputs: Follower,
    changelog: Option<Follower>,
}

/// Runs until all kills are done or something is wrong; prints the summary.
pub(crate) fn run(kafka: &kafka::Broker, plan: &Plan) -> Result<Vec<Finding>> {
    let began = Instant::now();
    for topic in [INPUTS, OUTPUTS] {
        kafka.create_topic(topic, PARTITIONS, &[]);
    }
    let brokers = kafka.bootstrap();
    let mut harness = Harness::new(&brokers, plan)?;
    let inputs = Inputs::start(&brokers, plan.seed, plan.rate)?;
    harness.run_kills(&inputs)?;
    harness.attribute_duplicates();
    harness.summary.took = began.elapsed();
    println!("{} --seed {}", plan.guarantee, plan.seed);
    print!("{}", harness.summary);
    Ok(harness.findings)
}

impl<'p> Harness<'p> {
    fn new(brokers: &str, plan: &'p Plan) -> Result<Self> {
        let dir = TempDir::with_prefix("goka-crash-")?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        Ok(Self {
            plan,
            random: Random::new(plan.seed),
            launcher: Launcher {
                program: std::env::current_exe()?,
                brokers: brokers.to_owned(),
                data,
                guarantee: plan.guarantee,
                mutant: plan.mutant.clone(),
            },
            _dir: dir,
            broker: Broker::new(brokers, GROUP)?,
            followers: Followers {
                inputs: Follower::new(brokers, INPUTS)?,
                outputs: Follower::new(brokers, OUTPUTS)?,
                changelog: None,
            },
            ledger: Ledger::new(plan.guarantee == Guarantee::ExactlyOnce),
            pending: VecDeque::new(),
            past: Vec::new(),
            summary: Summary::default(),
            findings: Vec::new(),
        })
    }

    fn run_kills(&mut self, inputs: &Inputs) -> Result<()> {
        let mut checked = 0;
        while self.summary.kills() < self.plan.kills {
            let kill = self.draw();
            if self.run_one(kill)?.is_break() {
                return Ok(());
            }
            let kills = self.summary.kills();
            let is_due = kills.is_multiple_of(self.plan.check_every) || kills == self.plan.kills;
            if is_due && kills > checked {
                checked = kills;
                if self.compare_all(inputs)?.is_break() {
                    return Ok(());
                }
            }
        }
        self.check_coverage();
        Ok(())
    }

    /// Checks that a long run has killed a process at every fail point.
    fn check_coverage(&mut self) {
        let places: Vec<_> = points::of(self.plan.guarantee).collect();
        if self.plan.kills < (places.len() + RANDOMS) as u64 * 2 {
            return;
        }
        for point in places {
            if self.summary.at(point.name).kills == 0 {
                let what = format!("no kill hit {}", point.name);
                let oracle = Oracle::Progress;
                self.note([Finding { oracle, what }]);
            }
        }
    }

    /// Counts each duplicate output for the kill of the process that wrote it first.
    fn attribute_duplicates(&mut self) {
        for (process, count) in self.ledger.duplicates() {
            let place = self
                .past
                .get(*process)
                .map_or(CLEAN_STOP, |kill| kill.place);
            self.summary.at(place).duplicates += count;
        }
        self.summary.inputs = self.ledger.inputs();
    }

    /// The next kill. Each round has every fail point once, and some random moments, in random order.
    fn draw(&mut self) -> Kill {
        if self.pending.is_empty() {
            let mut kills: Vec<_> = points::of(self.plan.guarantee).map(Kill::At).collect();
            kills.extend([Kill::Random; RANDOMS]);
            self.random.shuffle(&mut kills);
            self.pending = kills.into();
        }
        self.pending.pop_front().unwrap_or(Kill::Random)
    }

    /// Starts a process, kills it, and checks what it left behind.
    fn run_one(&mut self, kill: Kill) -> Result<ControlFlow<()>> {
        if !self.past.is_empty() && self.random.one_in(4) {
            self.empty_disk()?;
        }
        let kill_at = match kill {
            Kill::At(point) => {
                let hit = 1 + self.random.below(point.within);
                let delay = self.random.below(25);
                Some(format!("{}:{hit}:{delay}", point.name))
            }
            Kill::Random => None,
        };
        let mut process = self.start(kill_at)?;
        let ended = match kill {
            Kill::At(_) => process.wait(TIMEOUT, |_| false)?,
            Kill::Random => self.kill_at_random(&mut process)?,
        };
        let output = process.output();
        let was_killed = match (kill, &ended) {
            (Kill::At(_), Some(WaitResult::Ended(_))) => output.killed.is_some(),
            (Kill::Random, Some(WaitResult::Condition)) => true,
            _ => false,
        };
        if !was_killed {
            let place = kill.place();
            let what = format!("not killed at {place}: {ended:?}:\n    {}", output.tail());
            return Ok(self.found([Finding {
                oracle: Oracle::Progress,
                what,
            }]));
        }
        self.count_restart(output.first);
        self.count(kill, output.killed.as_deref())?;
        self.check_kill(kill)
    }

    /// Starts a process. Some flush after every barrier, others when it is time, possibly between two.
    fn start(&mut self, kill_at: Option<String>) -> Result<Process> {
        let flush_bytes = if self.random.one_in(3) { 1 } else { 1 << 20 };
        Ok(self.launcher.start(kill_at, flush_bytes)?)
    }

    /// Kills a process some time after its first record or, sometimes, after its start. Returns another
    /// result if it ended before.
    fn kill_at_random(&mut self, process: &mut Process) -> Result<Option<WaitResult>> {
        let (from_start, after) = match self.random.one_in(4) {
            true => (true, self.random.below(1500)),
            false => (false, self.random.below(300)),
        };
        let began = process.wait(TIMEOUT, |process| from_start || process.has_begun())?;
        if !matches!(began, Some(WaitResult::Condition)) {
            return Ok(began);
        }
        let ended = process.wait(Duration::from_millis(after), |_| false)?;
        if ended.is_some() {
            return Ok(ended);
        }
        process.kill()?;
        Ok(Some(WaitResult::Condition))
    }

    /// Deletes the local copies, and keeps the identity of the group member.
    fn empty_disk(&mut self) -> Result<()> {
        if let Some(last) = self.past.last() {
            self.summary.at(last.place).emptied += 1;
        }
        match std::fs::remove_dir_all(tables(&self.launcher.data)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Counts a restart, and how long it took until the first record.
    fn count_restart(&mut self, first: Option<Duration>) {
        if let (Some(first), Some(last)) = (first, self.past.last()) {
            self.summary.at(last.place).restarts += 1;
            self.summary.restarts.push(first);
        }
    }

    /// Counts a kill: whether records were in hand, and how many.
    fn count(&mut self, kill: Kill, killed: Option<&str>) -> Result<()> {
        let (handled, committed) = Counters::read(&self.launcher.data)?;
        let reported = killed.and_then(|line| line.rsplit_once("records=")?.1.parse().ok());
        let records = reported.unwrap_or(handled - committed);
        let tally = self.summary.at(kill.place());
        if records > 0 {
            tally.kills += 1;
            tally.records += records;
        } else {
            tally.empty += 1;
        }
        Ok(())
    }

    fn last_place(&self) -> &'static str {
        self.past.last().map_or(RANDOM, |kill| kill.place)
    }

    /// Notes findings; the run ends with the first.
    fn found(&mut self, findings: impl IntoIterator<Item = Finding>) -> ControlFlow<()> {
        self.note(findings);
        match self.findings.is_empty() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    fn note(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let place = self.last_place();
        for finding in findings {
            if finding.oracle.is_mismatch() {
                self.summary.at(place).mismatches += 1;
            }
            self.findings.push(finding);
        }
    }
}
