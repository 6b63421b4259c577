//! The schedule of a run: which records are written and which faults are injected at which turn. The
//! seed decides it before the run begins.

mod planner;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::planner::{Planner, below};
use super::Dice;
use super::SimulationConfig;
use super::fault_kind::FaultKind;
use super::workload::{FedRecord, Workload};
use crate::core::RecordId;
use crate::graph::TopicSpec;
use crate::log::simulated::{Fault, StepKind};
use crate::processor::ProcessorOptions;
use crate::record::Timestamp;

/// The minimum number of turns of a run.
const TURNS: usize = 600;
/// Turns for each record, where that is more than the minimum.
const TURNS_PER_RECORD: usize = 2;
/// The minimum and maximum number of faults that are planned for a run.
const FAULTS: (u64, u64) = (6, 10);

#[derive(Debug, Clone)]
pub(super) enum StepAction {
    Feed {
        topic: TopicSpec,
        record: FedRecord,
    },
    /// Arms a fault: it fires at the next log operation that it fits, of one instance or of any.
    Inject {
        fault: Fault,
        on: Option<usize>,
    },
    /// Kills a process, at once or right after its next log operation of a kind. With a loss of power,
    /// its disk also loses what was not synced.
    Kill {
        instance: usize,
        at: Option<StepKind>,
        power: bool,
    },
    /// Cuts the power in the middle of a disk write, after this many writes.
    LosePowerWriting {
        instance: usize,
        writes: u64,
    },
    Stop {
        instance: usize,
    },
    Start {
        instance: usize,
        on_empty_disk: bool,
    },
    /// Suspends a process for a time, while the others go on.
    Stall {
        instance: usize,
        time: Duration,
    },
    FailSyncs {
        instance: usize,
        syncs: u64,
    },
    /// Makes a disk refuse writes for want of space, or accept them again.
    SetDiskFull {
        instance: usize,
        is_full: bool,
    },
    Compact,
    ApplyRetention,
    /// Moves the wall clocks of all machines, by milliseconds.
    SetClock(Timestamp),
    /// Deletes the committed offsets of the groups; only while no instance is running.
    LoseOffsets,
}

impl fmt::Display for StepAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepAction::Feed { topic, record } => {
                let key = record.key.as_deref().map(String::from_utf8_lossy);
                let key = key.map_or_else(|| "no key".to_owned(), |key| format!("key {key:?}"));
                write!(f, "topic `{}` gets a record with {key}", topic.name)
            }
            StepAction::Inject { fault, on: None } => {
                write!(f, "{fault}, for the first instance that it fits")
            }
            StepAction::Inject {
                fault,
                on: Some(on),
            } => write!(f, "{fault}, for instance {on}"),
            StepAction::Kill {
                instance,
                at,
                power,
            } => {
                let what = match power {
                    true => "loses its power",
                    false => "is killed",
                };
                match at {
                    Some(at) => write!(f, "instance {instance} {what} after its next {at}"),
                    None => write!(f, "instance {instance} {what}"),
                }
            }
            StepAction::LosePowerWriting { instance, writes } => {
                write!(
                    f,
                    "instance {instance} loses its power {writes} disk writes from now"
                )
            }
            StepAction::Stop { instance } => write!(f, "instance {instance} stops cleanly"),
            StepAction::Start {
                instance,
                on_empty_disk: false,
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
            StepAction::SetDiskFull {
                instance,
                is_full: true,
            } => write!(f, "the disk of instance {instance} is full"),
            StepAction::SetDiskFull { instance, .. } => {
                write!(f, "the disk of instance {instance} has room again")
            }
            StepAction::Compact => f.write_str("compaction of all tables"),
            StepAction::ApplyRetention => {
                f.write_str("retention deletes the committed records of the inputs")
            }
            StepAction::SetClock(by) => write!(f, "the clocks are moved by {by} ms"),
            StepAction::LoseOffsets => {
                f.write_str("the committed offsets of the groups are deleted")
            }
        }
    }
}

/// An action, and the turn of the run before which it is done.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) at: usize,
    pub(super) action: StepAction,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}: {}", self.at, self.action)
    }
}

/// How the processors are set up in a run.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) options: ProcessorOptions,
    /// The most records of one fetch.
    pub(super) batch: usize,
    /// How long compaction keeps tombstones.
    pub(super) delete_retention: Duration,
    /// Whether an instance keeps its name, and so its static membership, over restarts.
    pub(super) is_static: bool,
    /// The most time that passes at a turn.
    pub(super) pace: Duration,
    /// How long handlers take, unless the workload says so.
    pub(super) handlers: HandlerTimes,
}

/// How long handlers take on the run's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HandlerTimes {
    /// How many of a thousand records take time at all.
    pub(super) per_mille: u64,
    /// The shortest time of one that does.
    pub(super) from: Duration,
    /// An upper bound, not reached.
    pub(super) to: Duration,
}

impl HandlerTimes {
    fn of(&self, dice: &mut Dice) -> Duration {
        if dice.below(1_000) >= self.per_mille {
            return Duration::ZERO;
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let more = dice.below(micros(self.to.saturating_sub(self.from)));
        self.from + Duration::from_micros(more)
    }
}

pub(super) type HandlerTime = Arc<dyn Fn(&RecordId) -> Duration + Send + Sync>;

/// The schedule of a run. The same schedule of the same configuration gives the same run.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) setting: Setting,
    pub(super) turns: usize,
    /// Decides which worker has the next turn, and how much time passes.
    pub(super) order: Dice,
    /// Input records and faults, in the order of their turns. Shrinking leaves any of them out.
    pub(super) steps: Vec<Step>,
}

impl Schedule {
    /// How long handlers take: decided by the seed and the record, so that a record takes the same time
    /// whenever it is handled.
    pub(super) fn handler_time(&self, workload: &Workload) -> HandlerTime {
        let (seed, times) = (self.seed, self.setting.handlers);
        let own = workload.handler_takes.clone();
        Arc::new(move |record| {
            let partition =
                u64::from(record.topic.0) << 32 | u64::from(record.task.partition.unsigned_abs());
            let mut dice = Dice::new(seed);
            let mut dice = Dice::new(dice.below(u64::MAX) ^ partition.rotate_left(17));
            let mut dice = Dice::new(dice.below(u64::MAX) ^ record.offset.unsigned_abs());
            match &own {
                Some(own) => own(&mut dice),
                None => times.of(&mut dice),
            }
        })
    }

    pub(super) fn of(seed: u64, config: &SimulationConfig<'_>) -> Self {
        let mut dice = Dice::new(seed);
        let fed = config.workload.fed_topics.iter();
        let records: usize = fed.map(|feed| feed.count).sum();
        let turns = TURNS.max(records * TURNS_PER_RECORD);
        let setting = Setting::of(&mut dice.fork(), config.faults);
        let mut steps = Vec::new();
        let (mut content, mut moments) = (dice.fork(), dice.fork());
        for feed in &config.workload.fed_topics {
            for _ in 0..feed.count {
                let record = (feed.make)(&mut content);
                let at = below(&mut moments, turns * 9 / 10);
                let topic = feed.topic;
                steps.push((at, StepAction::Feed { topic, record }));
            }
        }
        let mut planner = Planner {
            dice: dice.fork(),
            instances: config.instances,
            is_exactly_once: config.is_exactly_once(),
            setting: &setting,
            steps,
        };
        let faults = FAULTS.0 + planner.dice.below(FAULTS.1 - FAULTS.0 + 1);
        for _ in 0..faults {
            let at = turns / 50 + below(&mut planner.dice, turns * 4 / 5);
            if let Some(kind) = planner.dice.pick(config.faults).copied() {
                planner.plan(kind, at, turns);
            }
        }
        let mut steps = planner.steps;
        steps.sort_by_key(|(at, _)| *at);
        let steps = steps.into_iter().map(|(at, action)| Step { at, action });
        Self {
            seed,
            turns,
            order: dice.fork(),
            steps: steps.collect(),
            setting,
        }
    }
}
