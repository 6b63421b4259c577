//! What happens in a run, and when: decided by the seed before it begins.

use std::fmt;
use std::time::Duration;

use super::Dice;
use super::run::Case;
use super::workload::Fresh;
use crate::log::simulated::{Fault, StepKind};
use crate::record::Timestamp;

/// The least number of turns of a run.
const TURNS: usize = 600;
/// So many turns a record, where there are many.
const TURNS_PER_RECORD: usize = 2;
/// What goes wrong by itself, in one run.
const TROUBLES: (u64, u64) = (6, 10);

/// The kinds of faults that a schedule is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FaultKind {
    /// Processes die, at any step, and start again on their disk or an empty one.
    Crash,
    /// Processes stop in order and start again.
    Rebalance,
    /// Acknowledgements are lost or late, commits are not answered, records are written and seem not
    /// to be, or the other way round.
    Duplicate,
    /// Members that the group put out go on as if nothing were, and come back.
    Zombie,
    /// The power goes and leaves torn files; syncs fail; disks are full.
    TornWrite,
    /// Brokers are away, leaders move, coordinators refuse, control records are late.
    Outage,
    /// Fetches are slow or short.
    Slow,
    /// Compaction strikes, and retention.
    Compaction,
    /// An instance is away for longer than tombstones are kept.
    Absence,
    /// Clocks are set.
    ClockJump,
    /// The group forgets offsets, as Kafka does for a group that was down for long.
    LostOffsets,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Crash,
        Self::Rebalance,
        Self::Duplicate,
        Self::Zombie,
        Self::TornWrite,
        Self::Outage,
        Self::Slow,
        Self::Compaction,
        Self::Absence,
        Self::ClockJump,
        Self::LostOffsets,
    ];

    /// As `faults(..)` of `#[goka::simulate]` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Rebalance => "rebalance",
            Self::Duplicate => "duplicate",
            Self::Zombie => "zombie",
            Self::TornWrite => "torn_write",
            Self::Outage => "outage",
            Self::Slow => "slow",
            Self::Compaction => "compaction",
            Self::Absence => "absence",
            Self::ClockJump => "clock_jump",
            Self::LostOffsets => "lost_offsets",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that happens in a run.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A record is fed to a topic of the workload.
    Feed { feed: usize, record: Fresh },
    /// This goes wrong at the next step where it can, of an instance or of anybody.
    Strike { fault: Fault, on: Option<usize> },
    /// The process dies right after its next step of a kind; with the power, the disk forgets.
    Die {
        instance: usize,
        at: Option<StepKind>,
        power: bool,
    },
    /// The power goes in the middle of a write of the disk, so many from now.
    DieWriting { instance: usize, writes: u64 },
    /// The process stops in order.
    Stop { instance: usize },
    /// It starts, if it is not there; on an empty disk, maybe.
    Start { instance: usize, emptied: bool },
    /// It takes no turn for so long: the others go on.
    Stall { instance: usize, time: Duration },
    /// So many syncs of its disk fail.
    FailSyncs { instance: usize, syncs: u64 },
    /// Its disk takes nothing more, or takes it again.
    Full { instance: usize, is_full: bool },
    /// One pass of compaction over all tables.
    Compact,
    /// Retention takes from the inputs what is committed.
    Expire,
    /// The clocks of all machines are set by so much.
    SetClock(Timestamp),
    /// The groups forget their offsets. Only when nobody is there.
    Forget,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Feed { feed, record } => {
                let key = record.key.as_deref().map(String::from_utf8_lossy);
                let key = key.map_or_else(|| "no key".to_owned(), |key| format!("key {key:?}"));
                write!(f, "input {feed} is fed a record with {key}")
            }
            What::Strike { fault, on: None } => write!(f, "{fault}, for whomever it fits first"),
            What::Strike {
                fault,
                on: Some(on),
            } => write!(f, "{fault}, for instance {on}"),
            What::Die {
                instance,
                at,
                power,
            } => {
                let what = if *power { "loses its power" } else { "dies" };
                match at {
                    Some(at) => write!(f, "instance {instance} {what} after its next {at}"),
                    None => write!(f, "instance {instance} {what}"),
                }
            }
            What::DieWriting { instance, writes } => {
                write!(
                    f,
                    "instance {instance} loses its power {writes} disk writes from now"
                )
            }
            What::Stop { instance } => write!(f, "instance {instance} stops in order"),
            What::Start {
                instance,
                emptied: false,
            } => write!(f, "instance {instance} starts on its disk"),
            What::Start { instance, .. } => {
                write!(f, "instance {instance} starts on an empty disk")
            }
            What::Stall { instance, time } => {
                write!(f, "instance {instance} stalls for {} ms", time.as_millis())
            }
            What::FailSyncs { instance, syncs } => {
                write!(f, "{syncs} syncs of instance {instance}'s disk fail")
            }
            What::Full {
                instance,
                is_full: true,
            } => write!(f, "the disk of instance {instance} is full"),
            What::Full { instance, .. } => {
                write!(f, "the disk of instance {instance} has room again")
            }
            What::Compact => f.write_str("compaction strikes"),
            What::Expire => f.write_str("retention takes what is committed of the inputs"),
            What::SetClock(by) => write!(f, "the clocks are set by {by} ms"),
            What::Forget => f.write_str("the groups forget their offsets"),
        }
    }
}

/// Something that happens at a turn of the run.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) at: usize,
    pub(super) what: What,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}: {}", self.at, self.what)
    }
}

/// How the processors are set up in a run.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) barrier: Duration,
    pub(super) session: Duration,
    pub(super) transaction_timeout: Duration,
    pub(super) flush_interval: Duration,
    pub(super) flush_bytes: usize,
    pub(super) memory: usize,
    /// So many records at once.
    pub(super) batch: usize,
    /// How long tombstones stay.
    pub(super) delete_retention: Duration,
    /// Whether an instance that starts again is the same member of its group.
    pub(super) is_static: bool,
    /// How long a turn takes at most.
    pub(super) pace: Duration,
}

/// A run, decided beforehand. The same schedule of the same case gives the same run.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) setting: Setting,
    pub(super) turns: usize,
    /// Who has the turn, and how long it takes.
    pub(super) order: Dice,
    /// In the order of their turns: records that are fed, and what goes wrong. Any of them may be left
    /// out.
    pub(super) acts: Vec<Act>,
}

impl Schedule {
    /// The schedule of a seed.
    pub(super) fn of(seed: u64, case: &Case<'_>) -> Self {
        let mut dice = Dice::new(seed);
        let records: usize = case.workload.feeds.iter().map(|feed| feed.count).sum();
        let turns = TURNS.max(records * TURNS_PER_RECORD);
        let setting = Setting::of(&mut dice.fork(), case.faults);
        let mut acts = Vec::new();
        let (mut content, mut moments) = (dice.fork(), dice.fork());
        for (number, feed) in case.workload.feeds.iter().enumerate() {
            for _ in 0..feed.count {
                let record = (feed.make)(&mut content);
                let at = below(&mut moments, turns * 9 / 10);
                let feed = number;
                acts.push((at, What::Feed { feed, record }));
            }
        }
        let mut planner = Planner {
            dice: dice.fork(),
            instances: case.instances,
            is_once: case.is_once(),
            setting: &setting,
            acts,
        };
        let troubles = TROUBLES.0 + planner.dice.below(TROUBLES.1 - TROUBLES.0 + 1);
        for _ in 0..troubles {
            let at = turns / 50 + below(&mut planner.dice, turns * 4 / 5);
            if let Some(kind) = planner.dice.pick(case.faults).copied() {
                planner.plan(kind, at, turns);
            }
        }
        let mut acts = planner.acts;
        acts.sort_by_key(|(at, _)| *at);
        let acts = acts.into_iter().map(|(at, what)| Act { at, what });
        Self {
            seed,
            turns,
            order: dice.fork(),
            acts: acts.collect(),
            setting,
        }
    }
}

fn below(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(limit as u64)).unwrap_or(0)
}

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn one_of<T: Copy>(dice: &mut Dice, of: &[T]) -> T {
    *dice.pick(of).expect("a list of choices is not empty")
}

impl Setting {
    fn of(dice: &mut Dice, faults: &[FaultKind]) -> Self {
        let mut setting = Self::any(dice);
        // Runs are short: where somebody is away for longer than tombstones stay, these stay shortly,
        // and the group soon notices.
        if faults.contains(&FaultKind::Absence) && dice.chance(40) {
            setting.delete_retention = millis(1_000);
            setting.session = millis(1_500);
            setting.pace = millis(40);
        }
        setting
    }

    fn any(dice: &mut Dice) -> Self {
        Self {
            barrier: millis(one_of(dice, &[10, 50, 100, 300])),
            session: millis(one_of(dice, &[1_500, 3_000])),
            transaction_timeout: millis(one_of(dice, &[1_000, 3_000])),
            flush_interval: millis(one_of(dice, &[50, 200, 1_000])),
            flush_bytes: one_of(dice, &[256, 4 << 10, 1 << 20]),
            memory: one_of(dice, &[4 << 10, 64 << 10, 4 << 20]),
            batch: one_of(dice, &[1, 5, 50, 500]),
            delete_retention: Duration::from_secs(24 * 3_600),
            is_static: dice.chance(60),
            pace: millis(one_of(dice, &[10, 20, 40])),
        }
    }
}

/// Makes acts of kinds of faults.
struct Planner<'s> {
    dice: Dice,
    instances: usize,
    /// Whether anybody writes in transactions.
    is_once: bool,
    setting: &'s Setting,
    acts: Vec<(usize, What)>,
}

impl Planner<'_> {
    fn at(&mut self, at: usize, what: What) {
        self.acts.push((at, what));
    }

    fn strike(&mut self, at: usize, fault: Fault) {
        let on = self
            .dice
            .chance(50)
            .then(|| below(&mut self.dice, self.instances));
        self.at(at, What::Strike { fault, on });
    }

    /// So many turns take about as long.
    fn turns(&self, time: Duration) -> usize {
        let turn = self.setting.pace.as_millis().max(2) / 2;
        usize::try_from(time.as_millis() / turn).unwrap_or(usize::MAX)
    }

    fn plan(&mut self, kind: FaultKind, at: usize, turns: usize) {
        let instance = below(&mut self.dice, self.instances);
        match kind {
            FaultKind::Crash => self.crash(at, instance),
            FaultKind::Rebalance => {
                let back = at + 1 + below(&mut self.dice, 80);
                let emptied = self.dice.chance(20);
                self.at(at, What::Stop { instance });
                self.at(back, What::Start { instance, emptied });
            }
            FaultKind::Duplicate => {
                let fault = self.duplicate();
                self.strike(at, fault);
            }
            FaultKind::Zombie => self.zombie(at, instance),
            FaultKind::TornWrite => self.torn(at, instance),
            FaultKind::Outage => {
                let fault = self.outage();
                self.strike(at, fault);
            }
            FaultKind::Slow => {
                for _ in 0..3 {
                    let fault = match self.dice.chance(50) {
                        true => Fault::Slow,
                        false => Fault::Few(1 + below(&mut self.dice, 3)),
                    };
                    self.strike(at, fault);
                }
            }
            FaultKind::Compaction => {
                let what = if self.dice.chance(70) {
                    What::Compact
                } else {
                    What::Expire
                };
                self.at(at, what);
            }
            FaultKind::Absence => self.absence(at, instance, turns),
            FaultKind::ClockJump => {
                // Back by much less than tombstones stay: nobody can tell a machine's clock.
                let back = self.setting.delete_retention.as_millis() / 50;
                let back = Timestamp::try_from(back.min(3_600_000)).unwrap_or(0);
                let by = match self.dice.chance(50) {
                    true => -back,
                    false => 3_600_000,
                };
                self.at(at, What::SetClock(by));
            }
            FaultKind::LostOffsets => {
                for instance in 0..self.instances {
                    self.at(at, What::Stop { instance });
                    self.at(
                        at + 2,
                        What::Start {
                            instance,
                            emptied: false,
                        },
                    );
                }
                self.at(at + 1, What::Forget);
            }
        }
    }

    fn crash(&mut self, at: usize, instance: usize) {
        use StepKind::{Abort, Append, Attach, Commit, End, Fetch, Leave, Poll};
        let steps: &[StepKind] = match self.is_once {
            true => &[Poll, Fetch, Append, Attach, End, Abort, Leave],
            false => &[Poll, Fetch, Append, Commit, Leave],
        };
        let step = match self.dice.chance(80) {
            true => self.dice.pick(steps).copied(),
            false => None,
        };
        self.at(
            at,
            What::Die {
                instance,
                at: step,
                power: false,
            },
        );
        if step == Some(StepKind::Leave) {
            self.at(at + 1, What::Stop { instance });
        }
        if step == Some(StepKind::Abort) {
            let fault = Fault::Abortable;
            let on = Some(instance);
            self.at(at, What::Strike { fault, on });
        }
        self.start(at, instance);
    }

    /// It starts again: soon, or when the group has noticed.
    fn start(&mut self, at: usize, instance: usize) {
        let most = self.turns(self.setting.session * 2);
        let back = at + 5 + below(&mut self.dice, most);
        let emptied = self.dice.chance(20);
        self.at(back, What::Start { instance, emptied });
    }

    fn duplicate(&mut self) -> Fault {
        let happened = self.dice.chance(50);
        match self.dice.below(4) {
            0 => Fault::AckLost,
            1 => Fault::Late(millis(50 + self.dice.below(1_500))),
            2 => Fault::NotWritten,
            _ => Fault::CommitUnknown { happened },
        }
    }

    fn zombie(&mut self, at: usize, instance: usize) {
        let time = self.setting.session + millis(self.dice.below(2_000));
        match self.dice.chance(50) {
            true => self.at(at, What::Stall { instance, time }),
            false => {
                let (fault, on) = (Fault::CutOff(time), Some(instance));
                self.at(at, What::Strike { fault, on });
            }
        }
    }

    fn torn(&mut self, at: usize, instance: usize) {
        match self.dice.below(4) {
            0 => {
                self.at(
                    at,
                    What::Die {
                        instance,
                        at: None,
                        power: true,
                    },
                );
                self.start(at, instance);
            }
            1 => {
                let syncs = 1 + self.dice.below(3);
                self.at(at, What::FailSyncs { instance, syncs });
            }
            2 => {
                let until = at + 10 + below(&mut self.dice, 60);
                self.at(
                    at,
                    What::Full {
                        instance,
                        is_full: true,
                    },
                );
                self.at(
                    until,
                    What::Full {
                        instance,
                        is_full: false,
                    },
                );
            }
            _ => {
                let writes = self.dice.below(12);
                self.at(at, What::DieWriting { instance, writes });
                self.start(at, instance);
            }
        }
    }

    fn outage(&mut self) -> Fault {
        let time = millis(20 + self.dice.below(2_000));
        let kinds = if self.is_once { 7 } else { 4 };
        match self.dice.below(kinds) {
            0 => Fault::Outage(time),
            1 => Fault::LeaderMove(time),
            2 => Fault::Stale,
            3 => Fault::Refused,
            4 => Fault::LateMarkers(time),
            5 => Fault::Abortable,
            _ => Fault::Fatal,
        }
    }

    /// Away for longer than tombstones stay, while compaction goes on.
    fn absence(&mut self, at: usize, instance: usize, turns: usize) {
        let kept = self.setting.delete_retention.min(millis(1_000));
        let noticed = self.setting.session;
        let at = at.min(turns / 4);
        let away = self.turns(noticed + kept * 5 / 2);
        self.at(
            at,
            What::Die {
                instance,
                at: None,
                power: false,
            },
        );
        // The first pass says until when a tombstone stays, the second takes it.
        for pass in [noticed + kept, noticed + kept * 5 / 2] {
            self.at(at + self.turns(pass), What::Compact);
        }
        self.at(
            at + away,
            What::Start {
                instance,
                emptied: false,
            },
        );
    }
}
