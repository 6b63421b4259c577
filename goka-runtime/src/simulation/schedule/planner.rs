//! Draws the settings of a run, and the steps of each kind of fault, from a seed's dice.

use std::time::Duration;

use super::super::Dice;
use super::{FaultKind, HandlerTimes, Setting, StepAction};
use crate::log::simulated::{Fault, StepKind};
use crate::processor::ProcessorOptions;
use crate::record::Timestamp;

pub(super) fn below(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(limit as u64)).unwrap_or(0)
}

fn millis(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn one_of<T: Copy>(dice: &mut Dice, of: &[T]) -> T {
    *dice.pick(of).expect("a list of choices is not empty")
}

impl Setting {
    pub(super) fn of(dice: &mut Dice, faults: &[FaultKind]) -> Self {
        let mut setting = Self::any(dice);
        // A run is short. For an instance to be down for longer than tombstones are kept, that time and
        // the session have to be short, too.
        if faults.contains(&FaultKind::Absence) && dice.chance(40) {
            setting.delete_retention = millis(1_000);
            setting.options.session_timeout = millis(1_500);
            setting.pace = millis(40);
        }
        setting.handlers = Self::handlers(dice, &setting);
        setting
    }

    /// In some runs handlers take no time; in others all take a little, some take more, or a few take
    /// longer than the session timeout or the transaction timeout.
    fn handlers(dice: &mut Dice, setting: &Self) -> HandlerTimes {
        let options = &setting.options;
        let (session, transaction) = (options.session_timeout, options.transaction_timeout);
        let none = (0, Duration::ZERO, Duration::ZERO);
        let (per_mille, from, to) = one_of(
            dice,
            &[
                none,
                none,
                none,
                (1_000, Duration::ZERO, millis(5)),
                (1_000, millis(5), millis(20)),
                (100, millis(20), millis(100)),
                (10, session / 2, session * 2),
                (10, transaction / 2, transaction * 2),
            ],
        );
        HandlerTimes {
            per_mille,
            from,
            to,
        }
    }

    fn any(dice: &mut Dice) -> Self {
        Self {
            handlers: HandlerTimes::default(),
            options: ProcessorOptions {
                barrier_interval: millis(one_of(dice, &[10, 50, 100, 300])),
                session_timeout: millis(one_of(dice, &[1_500, 3_000])),
                transaction_timeout: millis(one_of(dice, &[1_000, 3_000])),
                flush_interval: millis(one_of(dice, &[50, 200, 1_000])),
                flush_bytes: one_of(dice, &[256, 4 << 10, 1 << 20]),
                memory_bytes: one_of(dice, &[4 << 10, 64 << 10, 4 << 20]),
                ..ProcessorOptions::default()
            },
            batch: one_of(dice, &[1, 5, 50, 500]),
            delete_retention: Duration::from_secs(24 * 3_600),
            is_static: dice.chance(60),
            pace: millis(one_of(dice, &[10, 20, 40])),
        }
    }
}

pub(super) struct Planner<'s> {
    pub(super) dice: Dice,
    pub(super) instances: usize,
    pub(super) is_exactly_once: bool,
    pub(super) setting: &'s Setting,
    pub(super) steps: Vec<(usize, StepAction)>,
}

impl Planner<'_> {
    fn push(&mut self, at: usize, what: StepAction) {
        self.steps.push((at, what));
    }

    fn start(&mut self, at: usize, instance: usize, on_empty_disk: bool) {
        let start = StepAction::Start {
            instance,
            on_empty_disk,
        };
        self.push(at, start);
    }

    /// Kills a process, after a log operation or at once, with a loss of power or not.
    fn kill(&mut self, turn: usize, instance: usize, how: (Option<StepKind>, bool)) {
        let (at, power) = how;
        let kill = StepAction::Kill {
            instance,
            at,
            power,
        };
        self.push(turn, kill);
    }

    fn inject(&mut self, at: usize, fault: Fault) {
        let is_for_one = self.dice.chance(50);
        let on = is_for_one.then(|| below(&mut self.dice, self.instances));
        self.push(at, StepAction::Inject { fault, on });
    }

    /// About how many turns take this long.
    fn turns(&self, time: Duration) -> usize {
        let turn = self.setting.pace.as_millis().max(2) / 2;
        usize::try_from(time.as_millis() / turn).unwrap_or(usize::MAX)
    }

    pub(super) fn plan(&mut self, kind: FaultKind, at: usize, turns: usize) {
        let instance = below(&mut self.dice, self.instances);
        match kind {
            FaultKind::Crash => self.crash(at, instance),
            FaultKind::Rebalance => {
                let back = at + 1 + below(&mut self.dice, 80);
                let emptied = self.dice.chance(20);
                self.push(at, StepAction::Stop { instance });
                self.start(back, instance, emptied);
            }
            FaultKind::Duplicate => self.duplicate(at),
            FaultKind::Zombie => self.zombie(at, instance),
            FaultKind::TornWrite => self.torn(at, instance),
            FaultKind::Outage => self.outage(at),
            FaultKind::Slow => {
                for _ in 0..3 {
                    let fault = match self.dice.chance(50) {
                        true => Fault::Slow,
                        false => Fault::Few(1 + below(&mut self.dice, 3)),
                    };
                    self.inject(at, fault);
                }
            }
            FaultKind::Compaction => {
                let what = match self.dice.chance(70) {
                    true => StepAction::Compact,
                    false => StepAction::ApplyRetention,
                };
                self.push(at, what);
            }
            FaultKind::Absence => self.absence(at, instance, turns),
            FaultKind::ClockJump => {
                // Back by much less than tombstones are kept: beyond that a copy that is too old cannot
                // be recognized by its clock.
                let back = self.setting.delete_retention.as_millis() / 50;
                let back = Timestamp::try_from(back.min(3_600_000)).unwrap_or(0);
                let by = match self.dice.chance(50) {
                    true => -back,
                    false => 3_600_000,
                };
                self.push(at, StepAction::SetClock(by));
            }
            FaultKind::LostOffsets => {
                for instance in 0..self.instances {
                    self.push(at, StepAction::Stop { instance });
                    self.start(at + 2, instance, false);
                }
                self.push(at + 1, StepAction::LoseOffsets);
            }
        }
    }

    fn crash(&mut self, at: usize, instance: usize) {
        use StepKind::{Abort, Append, Attach, Commit, End, Fetch, Leave, Poll};
        let steps: &[StepKind] = match self.is_exactly_once {
            true => &[Poll, Fetch, Append, Attach, End, Abort, Leave],
            false => &[Poll, Fetch, Append, Commit, Leave],
        };
        let step = match self.dice.chance(80) {
            true => self.dice.pick(steps).copied(),
            false => None,
        };
        self.kill(at, instance, (step, false));
        if step == Some(StepKind::Leave) {
            self.push(at + 1, StepAction::Stop { instance });
        }
        if step == Some(StepKind::Abort) {
            let fault = Fault::Abortable;
            let on = Some(instance);
            self.push(at, StepAction::Inject { fault, on });
        }
        self.restart(at, instance);
    }

    /// Starts the instance again, before or after its session has timed out.
    fn restart(&mut self, at: usize, instance: usize) {
        let most = self.turns(self.setting.options.session_timeout * 2);
        let back = at + 5 + below(&mut self.dice, most);
        let emptied = self.dice.chance(20);
        self.start(back, instance, emptied);
    }

    fn duplicate(&mut self, at: usize) {
        let happened = self.dice.chance(50);
        let fault = match self.dice.below(4) {
            0 => Fault::AckLost,
            1 => Fault::Late(millis(50 + self.dice.below(1_500))),
            2 => Fault::NotWritten,
            _ => Fault::CommitUnknown { happened },
        };
        self.inject(at, fault);
    }

    fn zombie(&mut self, at: usize, instance: usize) {
        let time = self.setting.options.session_timeout + millis(self.dice.below(2_000));
        match self.dice.chance(50) {
            true => self.push(at, StepAction::Stall { instance, time }),
            false => {
                let (fault, on) = (Fault::CutOff(time), Some(instance));
                self.push(at, StepAction::Inject { fault, on });
            }
        }
    }

    fn torn(&mut self, at: usize, instance: usize) {
        match self.dice.below(4) {
            0 => {
                self.kill(at, instance, (None, true));
                self.restart(at, instance);
            }
            1 => {
                let syncs = 1 + self.dice.below(3);
                self.push(at, StepAction::FailSyncs { instance, syncs });
            }
            2 => {
                let until = at + 10 + below(&mut self.dice, 60);
                for (at, is_full) in [(at, true), (until, false)] {
                    self.push(at, StepAction::SetDiskFull { instance, is_full });
                }
            }
            _ => {
                let writes = self.dice.below(12);
                self.push(at, StepAction::LosePowerWriting { instance, writes });
                self.restart(at, instance);
            }
        }
    }

    fn outage(&mut self, at: usize) {
        let time = millis(20 + self.dice.below(2_000));
        let kinds = if self.is_exactly_once { 7 } else { 4 };
        let fault = match self.dice.below(kinds) {
            0 => Fault::Outage(time),
            1 => Fault::LeaderMove(time),
            2 => Fault::Stale,
            3 => Fault::Refused,
            4 => Fault::LateMarkers(time),
            5 => Fault::Abortable,
            _ => Fault::Fatal,
        };
        self.inject(at, fault);
    }

    /// Keeps an instance down for longer than tombstones are kept, while compaction goes on.
    fn absence(&mut self, at: usize, instance: usize, turns: usize) {
        let kept = self.setting.delete_retention.min(millis(1_000));
        let noticed = self.setting.options.session_timeout;
        let at = at.min(turns / 4);
        let away = self.turns(noticed + kept * 5 / 2);
        self.kill(at, instance, (None, false));
        // The first pass of compaction sets until when a tombstone is kept, the second removes it.
        for pass in [noticed + kept, noticed + kept * 5 / 2] {
            self.push(at + self.turns(pass), StepAction::Compact);
        }
        self.start(at + away, instance, false);
    }
}
