//! The harness: starts a life, has it end at a place or at a random moment, judges what it left
//! behind, and starts the next. Now and then a life goes on until all input is handled, and
//! everything is compared.

use std::collections::VecDeque;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use goka_runtime::record::Guarantee;
use goka_runtime::table::Stores as _;
use goka_runtime::table::redb::RedbStores;
use tempfile::TempDir;

use crate::Plan;
use crate::child::{Counters, GROUP, INPUTS, OUTPUTS, TABLE, tables};
use crate::input::Inputs;
use crate::life::{Birth, Life, Waited};
use crate::oracle::{Finding, Ledger, Oracle, Rows};
use crate::points::{self, Point};
use crate::random::Random;
use crate::summary::Summary;
use crate::support::kafka;
use crate::topics::{Broker, Follower, PARTITIONS};

/// Longer than anything here takes; reached by failures only.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name of kills at random moments in the summary.
const RANDOM: &str = "(random moment)";
/// The name of no kill at all: something is wrong if it has a row.
const ORDERLY: &str = "(orderly stop)";
/// How many kills at random moments there are for one at each place.
const RANDOMS: usize = 3;
const CACHE: usize = 8 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How a life is to end.
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
struct Done {
    place: &'static str,
    /// Up to where the inputs were committed then.
    committed: Vec<i64>,
}

struct Harness<'p> {
    plan: &'p Plan,
    random: Random,
    birth: Birth,
    _dir: TempDir,
    broker: Broker,
    followers: Followers,
    ledger: Ledger,
    bag: VecDeque<Kill>,
    done: Vec<Done>,
    summary: Summary,
    findings: Vec<Finding>,
}

struct Followers {
    inputs: Follower,
    outputs: Follower,
    changelog: Option<Follower>,
}

/// Runs to the end, or to the first thing that is wrong; prints the summary.
pub(crate) fn run(kafka: &kafka::Broker, plan: &Plan) -> Result<Vec<Finding>> {
    let began = Instant::now();
    for topic in [INPUTS, OUTPUTS] {
        kafka.create_topic(topic, PARTITIONS, &[]);
    }
    let brokers = kafka.bootstrap();
    let mut harness = Harness::new(&brokers, plan)?;
    let inputs = Inputs::start(&brokers, plan.seed, plan.rate)?;
    harness.go(&inputs)?;
    harness.sum_up();
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
            birth: Birth {
                program: std::env::current_exe()?,
                brokers: brokers.to_owned(),
                data,
                guarantee: plan.guarantee,
                plant: plan.plant.clone(),
            },
            _dir: dir,
            broker: Broker::new(brokers, GROUP)?,
            followers: Followers {
                inputs: Follower::new(brokers, INPUTS)?,
                outputs: Follower::new(brokers, OUTPUTS)?,
                changelog: None,
            },
            ledger: Ledger::new(plan.guarantee == Guarantee::ExactlyOnce),
            bag: VecDeque::new(),
            done: Vec::new(),
            summary: Summary::default(),
            findings: Vec::new(),
        })
    }

    fn go(&mut self, inputs: &Inputs) -> Result<()> {
        let mut checked = 0;
        while self.summary.kills() < self.plan.kills {
            let kill = self.draw();
            if self.one(kill)?.is_break() {
                return Ok(());
            }
            let kills = self.summary.kills();
            let is_due = kills.is_multiple_of(self.plan.check_every) || kills == self.plan.kills;
            if is_due && kills > checked {
                checked = kills;
                if self.check(inputs)?.is_break() {
                    return Ok(());
                }
            }
        }
        self.miss();
        Ok(())
    }

    /// A run that is long enough has killed at every place.
    fn miss(&mut self) {
        let places: Vec<_> = points::of(self.plan.guarantee).collect();
        if self.plan.kills < (places.len() + RANDOMS) as u64 * 2 {
            return;
        }
        for point in places {
            if self.summary.at(point.name).kills == 0 {
                let what = format!("no kill hit {}", point.name);
                let oracle = Oracle::GoesOn;
                self.note([Finding { oracle, what }]);
            }
        }
    }

    /// Blames each duplicate on the kill that ended the life that had written the output before.
    fn sum_up(&mut self) {
        for (life, count) in self.ledger.duplicates() {
            let place = self.done.get(*life).map_or(ORDERLY, |done| done.place);
            self.summary.at(place).duplicates += count;
        }
        self.summary.inputs = self.ledger.inputs();
    }

    /// The next kill, from a bag that holds each place once, and some at random moments.
    fn draw(&mut self) -> Kill {
        if self.bag.is_empty() {
            let mut kills: Vec<_> = points::of(self.plan.guarantee).map(Kill::At).collect();
            kills.extend([Kill::Random; RANDOMS]);
            self.random.shuffle(&mut kills);
            self.bag = kills.into();
        }
        self.bag.pop_front().unwrap_or(Kill::Random)
    }

    /// One life to its end, and what it left behind.
    fn one(&mut self, kill: Kill) -> Result<ControlFlow<()>> {
        if !self.done.is_empty() && self.random.one_in(4) {
            self.empty_disk()?;
        }
        let armed = match kill {
            Kill::At(point) => {
                let hit = 1 + self.random.below(point.within);
                let lingers = self.random.below(25);
                Some(format!("{}:{hit}:{lingers}", point.name))
            }
            Kill::Random => None,
        };
        let mut life = self.start(armed)?;
        let ended = match kill {
            Kill::At(_) => life.wait(PATIENCE, |_| false)?,
            Kill::Random => self.kill_at_random(&mut life)?,
        };
        let said = life.said();
        let was_killed = match (kill, &ended) {
            (Kill::At(_), Some(Waited::Ended(_))) => said.killed.is_some(),
            (Kill::Random, Some(Waited::True)) => true,
            _ => false,
        };
        if !was_killed {
            let place = kill.place();
            let what = format!("on the way to {place}, {ended:?}:\n    {}", said.tail());
            return Ok(self.found([Finding {
                oracle: Oracle::GoesOn,
                what,
            }]));
        }
        self.restarted(said.first);
        self.count(kill, said.killed.as_deref())?;
        self.look(kill)
    }

    /// Some lives flush at once after each barrier; others when it is time, in the middle of one.
    fn start(&mut self, armed: Option<String>) -> Result<Life> {
        let flush_bytes = if self.random.one_in(3) { 1 } else { 1 << 20 };
        Ok(self.birth.start(armed, flush_bytes)?)
    }

    /// Kills a process some time after it began to work, or, sometimes, after it was started; tells
    /// what came instead, if something did.
    fn kill_at_random(&mut self, life: &mut Life) -> Result<Option<Waited>> {
        let (from_start, after) = match self.random.one_in(4) {
            true => (true, self.random.below(1500)),
            false => (false, self.random.below(300)),
        };
        let began = life.wait(PATIENCE, |life| from_start || life.has_begun())?;
        if !matches!(began, Some(Waited::True)) {
            return Ok(began);
        }
        let ended = life.wait(Duration::from_millis(after), |_| false)?;
        if ended.is_some() {
            return Ok(ended);
        }
        life.kill()?;
        Ok(Some(Waited::True))
    }

    /// A new disk, for the same member of the group.
    fn empty_disk(&mut self) -> Result<()> {
        if let Some(last) = self.done.last() {
            self.summary.at(last.place).emptied += 1;
        }
        match std::fs::remove_dir_all(tables(&self.birth.data)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Notes how long a process took until it worked.
    fn restarted(&mut self, first: Option<Duration>) {
        if let (Some(first), Some(last)) = (first, self.done.last()) {
            self.summary.at(last.place).restarts += 1;
            self.summary.restarts.push(first);
        }
    }

    /// Counts a kill, if it hit something.
    fn count(&mut self, kill: Kill, killed: Option<&str>) -> Result<()> {
        let (handled, settled) = Counters::read(&self.birth.data)?;
        let told = killed.and_then(|line| line.rsplit_once("records=")?.1.parse().ok());
        let records = told.unwrap_or(handled - settled);
        let tally = self.summary.at(kill.place());
        if records > 0 {
            tally.kills += 1;
            tally.records += records;
        } else {
            tally.empty += 1;
        }
        Ok(())
    }

    /// Looks at what a process left behind when it was killed.
    fn look(&mut self, kill: Kill) -> Result<ControlFlow<()>> {
        self.read_outputs(false)?;
        self.ledger.end_life();
        self.done.push(Done {
            place: kill.place(),
            committed: self.broker.committed(INPUTS)?,
        });
        let findings = self.judge_stores()?;
        Ok(self.found(findings))
    }

    fn last_place(&self) -> &'static str {
        self.done.last().map_or(RANDOM, |done| done.place)
    }

    /// Reads the outputs that can be read now, or to their end; tells whether it came there.
    fn read_outputs(&mut self, to_the_end: bool) -> Result<bool> {
        let ends = match to_the_end {
            true => self.broker.ends(OUTPUTS)?,
            false => self.broker.stable_ends(OUTPUTS)?,
        };
        self.read_inputs()?;
        let ledger = &mut self.ledger;
        let take = |seen: crate::topics::Seen<'_>| ledger.take_output(seen);
        Ok(self.followers.outputs.reach(&ends, PATIENCE, take)?)
    }

    fn read_inputs(&mut self) -> Result<()> {
        let ends = self.broker.ends(INPUTS)?;
        let ledger = &mut self.ledger;
        let inputs = &mut self.followers.inputs;
        match inputs.reach(&ends, PATIENCE, |seen| ledger.take_input(seen))? {
            true => Ok(()),
            false => Err("the input cannot be read to its end".into()),
        }
    }

    fn read_changelog(&mut self, targets: &[i64]) -> Result<bool> {
        if self.followers.changelog.is_none() {
            // The first life made it.
            self.followers.changelog = Some(Follower::new(&self.birth.brokers, TABLE)?);
        }
        let Some(changelog) = &mut self.followers.changelog else {
            return Ok(false);
        };
        let ledger = &mut self.ledger;
        Ok(changelog.reach(targets, PATIENCE, |seen| ledger.take_change(seen))?)
    }

    /// Reads every store, of a copy: opening one mends it, which is for the next life to do.
    fn judge_stores(&mut self) -> Result<Vec<Finding>> {
        let copy = TempDir::with_prefix("goka-crash-copy-")?;
        let stores = read_stores(&tables(&self.birth.data), copy.path())?;
        if stores.is_empty() {
            return Ok(Vec::new());
        }
        let ends = self.broker.ends(TABLE)?;
        let mut findings = Vec::new();
        let mut targets = vec![0; PARTITIONS as usize];
        for (partition, stamp, _) in &stores {
            let end = ends[*partition as usize];
            targets[*partition as usize] = (*stamp).min(end);
            if *stamp > end {
                let what = format!(
                    "partition {partition}: the store says that it reaches offset {stamp} of the \
                     group topic, which ends at {end}"
                );
                findings.push(Finding {
                    oracle: Oracle::StoreAhead,
                    what,
                });
            }
        }
        if !self.read_changelog(&targets)? {
            let what = format!("no transaction commits what stores hold: {targets:?}");
            findings.push(Finding {
                oracle: Oracle::StoreAhead,
                what,
            });
            return Ok(findings);
        }
        for (partition, stamp, rows) in &stores {
            findings.extend(self.ledger.judge_store(*partition, *stamp, rows));
        }
        Ok(findings)
    }

    /// A life that is left alone until all input is handled: then everything is compared.
    fn check(&mut self, inputs: &Inputs) -> Result<ControlFlow<()>> {
        let mut life = self.start(None)?;
        // What is left to handle shows how long the restart took.
        let began = life.wait(PATIENCE, Life::has_begun)?;
        inputs.pause()?;
        let ends = self.broker.ends(INPUTS)?;
        let (broker, mut asked) = (&self.broker, Ok(()));
        let is_level = |committed: Vec<i64>| committed.iter().zip(&ends).all(|(at, end)| at >= end);
        let waited = life.wait(PATIENCE, |_| match broker.committed(INPUTS) {
            Ok(committed) => is_level(committed),
            Err(error) => {
                asked = Err(error);
                true
            }
        })?;
        asked?;
        if !matches!((&began, &waited), (Some(Waited::True), Some(Waited::True))) {
            let tail = life.said().tail();
            let what = format!("left alone it does not come to the end of its input:\n    {tail}");
            return Ok(self.found([Finding {
                oracle: Oracle::GoesOn,
                what,
            }]));
        }
        self.restarted(life.said().first);
        let mut findings = self.judge_topics()?;
        findings.extend(self.stop_and_judge(&mut life)?);
        self.summary.checks += 1;
        inputs.resume();
        Ok(self.found(findings))
    }

    /// Group topic and outputs against the input.
    fn judge_topics(&mut self) -> Result<Vec<Finding>> {
        let ends = self.broker.ends(TABLE)?;
        if !self.read_outputs(true)? || !self.read_changelog(&ends)? {
            let what = "a transaction stays open though all input is committed".to_owned();
            return Ok(vec![Finding {
                oracle: Oracle::GoesOn,
                what,
            }]);
        }
        let findings = self.ledger.judge_all();
        for (partition, offset) in self.ledger.lost() {
            // Lost by the first kill that left it committed.
            let by = self
                .done
                .iter()
                .find(|done| done.committed[partition as usize] > offset);
            let place = by.map_or_else(|| self.last_place(), |done| done.place);
            self.summary.at(place).losses += 1;
        }
        Ok(findings)
    }

    fn stop_and_judge(&mut self, life: &mut Life) -> Result<Vec<Finding>> {
        match life.stop(PATIENCE)? {
            Some(Waited::Ended(status)) if status.success() => {}
            other => {
                let what = format!("told to stop, {other:?}:\n    {}", life.said().tail());
                return Ok(vec![Finding {
                    oracle: Oracle::GoesOn,
                    what,
                }]);
            }
        }
        let mut findings = self.judge_stores()?;
        let copy = TempDir::with_prefix("goka-crash-copy-")?;
        let stores = read_stores(&tables(&self.birth.data), copy.path())?;
        let ends = self.broker.ends(TABLE)?;
        for (partition, end) in (0..).zip(ends) {
            let stamp = stores
                .iter()
                .find(|(of, ..)| *of == partition)
                .map(|(_, stamp, _)| *stamp);
            // Behind the last record only the end of a transaction may lie.
            if self.ledger.has_changes_from(partition, stamp.unwrap_or(0)) {
                let what =
                    format!("partition {partition}: at {stamp:?}, the group topic ends at {end}");
                findings.push(Finding {
                    oracle: Oracle::StoreIsLevel,
                    what,
                });
            }
        }
        Ok(findings)
    }

    /// Takes what was found; the run ends with it.
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

/// Copies the stores of the group table, and reads the copies: partition, stamp and rows.
fn read_stores(tables: &Path, copy: &Path) -> Result<Vec<(i32, i64, Rows)>> {
    let from = tables.join(TABLE);
    if !from.exists() {
        return Ok(Vec::new());
    }
    std::fs::create_dir(copy.join(TABLE))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&from)? {
        files.push(entry?.path());
    }
    files.sort();
    let stores = RedbStores::new(copy.to_owned(), CACHE);
    let mut read = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(&file, copy.join(TABLE).join(name))?;
        let Some(partition) = file
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok())
        else {
            continue;
        };
        let store = stores.open(TABLE, partition)?;
        let mut rows = Rows::new();
        let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        store.range(everything, &mut |key, stored| {
            rows.insert(key.to_vec(), stored.value.to_vec());
            ControlFlow::Continue(())
        })?;
        let stamp = store.checkpoint()?.map_or(0, |stamp| stamp.offset);
        read.push((partition, stamp, rows));
    }
    Ok(read)
}
