//! What happens in a run, and when: decided by the seed before it begins.

mod kinds;
mod planner;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::kinds::FaultKind;
use self::planner::{Planner, below};
use super::Dice;
use super::run::Case;
use super::workload::{Fresh, Workload};
use crate::core::RecordId;
use crate::graph::TopicSpec;
use crate::log::simulated::{Fault, StepKind};
use crate::record::Timestamp;

/// The least number of turns of a run.
const TURNS: usize = 600;
/// So many turns a record, where there are many.
const TURNS_PER_RECORD: usize = 2;
/// What goes wrong by itself, in one run.
const TROUBLES: (u64, u64) = (6, 10);

/// Something that happens in a run.
#[derive(Debug, Clone)]
pub(super) enum StepAction {
    /// A record is fed to a topic of the workload.
    Feed { topic: TopicSpec, record: Fresh },
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

impl fmt::Display for StepAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepAction::Feed { topic, record } => {
                let key = record.key.as_deref().map(String::from_utf8_lossy);
                let key = key.map_or_else(|| "no key".to_owned(), |key| format!("key {key:?}"));
                write!(f, "topic `{}` is fed a record with {key}", topic.name)
            }
            StepAction::Strike { fault, on: None } => {
                write!(f, "{fault}, for whomever it fits first")
            }
            StepAction::Strike {
                fault,
                on: Some(on),
            } => write!(f, "{fault}, for instance {on}"),
            StepAction::Die {
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
            StepAction::DieWriting { instance, writes } => {
                write!(
                    f,
                    "instance {instance} loses its power {writes} disk writes from now"
                )
            }
            StepAction::Stop { instance } => write!(f, "instance {instance} stops in order"),
            StepAction::Start {
                instance,
                emptied: false,
            } => write!(f, "instance {instance} starts on its disk"),
            StepAction::Start { instance, .. } => {
                write!(f, "instance {instance} starts on an empty disk")
            }
            StepAction::Stall { instance, time } => {
                write!(f, "instance {instance} stalls for {} ms", time.as_millis())
            }
            StepAction::FailSyncs { instance, syncs } => {
                write!(f, "{syncs} syncs of instance {instance}'s disk fail")
            }
            StepAction::Full {
                instance,
                is_full: true,
            } => write!(f, "the disk of instance {instance} is full"),
            StepAction::Full { instance, .. } => {
                write!(f, "the disk of instance {instance} has room again")
            }
            StepAction::Compact => f.write_str("compaction strikes"),
            StepAction::Expire => f.write_str("retention takes what is committed of the inputs"),
            StepAction::SetClock(by) => write!(f, "the clocks are set by {by} ms"),
            StepAction::Forget => f.write_str("the groups forget their offsets"),
        }
    }
}

/// Something that happens at a turn of the run.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) what: StepAction,
}

impl fmt::Display for Step {
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
    /// How long handlers take, unless the workload says so.
    pub(super) handlers: HandlerTimes,
}

/// How long handlers take: none of their time is the clock's but what is said here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HandlerTimes {
    /// Of so many in a thousand records.
    pub(super) per_mille: u64,
    /// At least.
    pub(super) from: Duration,
    /// Less than.
    pub(super) to: Duration,
}

impl HandlerTimes {
    /// How long one takes.
    fn of(&self, dice: &mut Dice) -> Duration {
        if dice.below(1_000) >= self.per_mille {
            return Duration::ZERO;
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let more = dice.below(micros(self.to.saturating_sub(self.from)));
        self.from + Duration::from_micros(more)
    }
}

/// How long the handler of a record takes.
pub(super) type HandlerTakes = Arc<dyn Fn(&RecordId) -> Duration + Send + Sync>;

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
    pub(super) acts: Vec<Step>,
}

impl Schedule {
    /// How long handlers take: decided by the seed and the record, so that a record takes the same time
    /// whenever it is handled.
    pub(super) fn handler_takes(&self, workload: &Workload) -> HandlerTakes {
        let (seed, times) = (self.seed, self.setting.handlers);
        let own = workload.handler_takes.clone();
        Arc::new(move |record| {
            let place =
                u64::from(record.topic.0) << 32 | u64::from(record.task.partition.unsigned_abs());
            let mut dice = Dice::new(seed);
            let mut dice = Dice::new(dice.below(u64::MAX) ^ place.rotate_left(17));
            let mut dice = Dice::new(dice.below(u64::MAX) ^ record.offset.unsigned_abs());
            match &own {
                Some(own) => own(&mut dice),
                None => times.of(&mut dice),
            }
        })
    }

    /// The schedule of a seed.
    pub(super) fn of(seed: u64, case: &Case<'_>) -> Self {
        let mut dice = Dice::new(seed);
        let records: usize = case.workload.feeds.iter().map(|feed| feed.count).sum();
        let turns = TURNS.max(records * TURNS_PER_RECORD);
        let setting = Setting::of(&mut dice.fork(), case.faults);
        let mut acts = Vec::new();
        let (mut content, mut moments) = (dice.fork(), dice.fork());
        for feed in &case.workload.feeds {
            for _ in 0..feed.count {
                let record = (feed.make)(&mut content);
                let at = below(&mut moments, turns * 9 / 10);
                acts.push((
                    at,
                    StepAction::Feed {
                        topic: feed.topic,
                        record,
                    },
                ));
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
        let acts = acts.into_iter().map(|(at, what)| Step { at, what });
        Self {
            seed,
            turns,
            order: dice.fork(),
            acts: acts.collect(),
            setting,
        }
    }
}
