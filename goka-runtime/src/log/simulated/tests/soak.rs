//! Under faults by seed: exactly once is exactly once, at least once loses nothing, and the same seed
//! gives the same trace. The drivers here are as small as can be; the worker has its own simulation.

use super::*;

const RECORDS: i64 = 60;

/// Numbers that look random (xorshift).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let time = Duration::from_millis(dice.roll(4_000));
    match dice.roll(14) {
        0 => Fault::AckLost,
        1 => Fault::Late(time),
        2 => Fault::NotWritten,
        3 => Fault::CommitUnknown { happened: true },
        4 => Fault::CommitUnknown { happened: false },
        5 => Fault::Stale,
        6 => Fault::Abortable,
        7 => Fault::Fatal,
        8 => Fault::LateMarkers(time),
        9 => Fault::Outage(time),
        10 => Fault::LeaderMove(time),
        11 => Fault::CutOff(4 * time),
        12 => Fault::Slow,
        _ => Fault::Few(1),
    }
}

/// Copies its input: what it has read and not committed, and the commit batch whose outcome it does not know.
struct Copier {
    group: Group,
    seat: Seat,
    positions: BTreeMap<TaskId, Offset>,
    doubt: Option<CommitBatch>,
    units: u64,
}

impl Copier {
    fn new(rig: &Rig, worker: u32, guarantee: Guarantee) -> Self {
        let group = Group {
            worker,
            ..Rig::group(guarantee)
        };
        Self {
            seat: rig.join(&group),
            group,
            positions: BTreeMap::new(),
            doubt: None,
            units: 0,
        }
    }

    /// Joins anew; a predecessor that is killed does not know.
    fn restart(&mut self, rig: &Rig) {
        let guarantee = self.group.guarantee;
        *self = Self::new(rig, self.group.worker, guarantee);
    }

    /// One turn; `false` when the member is of no more use.
    fn turn(&mut self, rig: &Rig, settles: bool) -> bool {
        if self.seat.poll().is_err() {
            return false;
        }
        let tape = &mut self.seat.tape;
        tape.revoked.clear();
        tape.lost.clear();
        self.positions
            .retain(|task, _| tape.owned.contains_key(task));
        let owned: Vec<TaskId> = self.seat.tape.owned.keys().copied().collect();
        for task in owned {
            if !self.positions.contains_key(&task) {
                self.rewind(rig, task);
            }
        }
        if self.doubt.is_none() {
            self.copy();
        }
        !settles || self.settle(rig)
    }

    fn rewind(&mut self, rig: &Rig, task: TaskId) {
        let committed = rig.log.offsets_of("g");
        let at = committed.get(&tp("in", task.partition));
        let at = at.map_or(0, |at| at.offset);
        self.positions.insert(task, at);
        self.seat.tape.records.retain(|(of, ..)| *of != task);
        let fetched = self.seat.member.fetch(task, &[(TopicId(1), at)]);
        fetched.expect("it owns the task");
    }

    fn copy(&mut self) {
        for (task, offset, value) in std::mem::take(&mut self.seat.tape.records) {
            let position = self.positions.get_mut(&task);
            let Some(position) = position.filter(|position| **position <= offset) else {
                continue;
            };
            *position = offset + 1;
            self.seat.append(2, task.partition, &value);
        }
    }

    fn settle(&mut self, rig: &Rig) -> bool {
        let once = self.group.guarantee == Guarantee::ExactlyOnce;
        let unit = self.doubt.take().unwrap_or_else(|| {
            self.units += 1;
            let positions = self.positions.iter();
            let offsets: Vec<_> = positions.map(|(task, at)| (*task, 1, *at)).collect();
            unit(self.units, &offsets)
        });
        let settlement = self.seat.member.commit(&unit, Instant::now());
        let acks = settlement.acks.values().find_map(|ack| ack.as_ref().err());
        let offsets = settlement.offsets.values();
        let offsets = offsets
            .into_iter()
            .find_map(|outcome| outcome.as_ref().err());
        match acks.or(offsets) {
            None => return true,
            Some(Failure::Fatal(_) | Failure::InstanceFenced(_) | Failure::ProducerFenced(_)) => {
                return false;
            }
            Some(Failure::Unknown(_)) if once => {
                self.doubt = Some(unit);
                return true;
            }
            Some(_) => {}
        }
        if once && self.seat.abort().is_err() {
            return false;
        }
        // What is committed is read when it is known again, and everything from there on.
        if !once && acks.is_some() {
            self.seat.member.rebuild().expect("rebuilt");
        }
        for task in self.positions.keys().copied().collect::<Vec<_>>() {
            self.rewind(rig, task);
        }
        true
    }
}

/// How often each fault fired.
type Fired = BTreeMap<&'static str, u64>;

/// Runs two copiers under faults, then without; gives what was copied and what happened.
fn run(seed: u64, guarantee: Guarantee) -> (Vec<Vec<String>>, Vec<String>, Fired) {
    let rig = Rig::new(2);
    rig.log.keep_trace();
    let mut dice = Dice(seed);
    let mut theirs = Dice(seed ^ 0x9e37_79b9_7f4a_7c15);
    rig.faulty(move |_| (theirs.roll(25) == 0).then(|| fault(&mut theirs)));
    let mut copiers = [0, 1].map(|worker| Copier::new(&rig, worker, guarantee));
    let mut sent = 0;
    for turn in 0..3_000 {
        if turn == 1_000 {
            rig.log.set_faults(None);
        }
        if sent < RECORDS && turn < 1_000 && turn % 12 == 0 {
            rig.write_surely((sent % 2) as i32, &sent.to_string());
            sent += 1;
        }
        rig.clock.advance(Duration::from_millis(dice.roll(200)));
        let copier = &mut copiers[dice.roll(2) as usize];
        if turn < 1_000 && dice.roll(100) == 0 {
            let who = format!("g/i/{}", copier.group.worker);
            rig.log.kill(&who);
            copier.restart(&rig);
        }
        if !copier.turn(&rig, dice.roll(3) == 0) {
            copier.restart(&rig);
        }
    }
    let copied = [0, 1].map(|number| {
        let (records, _) = rig.read("out", number, Isolation::ReadCommitted);
        records.into_iter().map(|(_, text)| text).collect()
    });
    (copied.to_vec(), rig.log.take_trace(), rig.log.fired())
}

fn expected(number: i64) -> Vec<String> {
    let all = (0..RECORDS).filter(|sent| sent % 2 == number);
    all.map(|sent| sent.to_string()).collect()
}

#[test]
fn exactly_once_is_exactly_once() {
    let mut all = BTreeMap::new();
    for seed in 1..20 {
        let (copied, _, fired) = run(seed, Guarantee::ExactlyOnce);
        assert_eq!(copied, [expected(0), expected(1)], "seed {seed}");
        for (name, count) in fired {
            *all.entry(name).or_insert(0) += count;
        }
    }
    // One that is refused for good stops its task, and nothing more is copied; members are killed here
    // between two turns.
    let mut silent = Fault::NAMES.to_vec();
    silent.retain(|name| !all.contains_key(name) && !["refused", "process dies"].contains(name));
    assert!(silent.is_empty(), "never fired: {silent:?} of {all:?}");
}

#[test]
fn at_least_once_loses_nothing() {
    let mut again = 0;
    for seed in 1..20 {
        let (copied, _, _) = run(seed, Guarantee::AtLeastOnce);
        for (number, copied) in (0..).zip(copied) {
            let mut missing = expected(number);
            missing.retain(|value| !copied.contains(value));
            assert!(missing.is_empty(), "seed {seed} loses {missing:?}");
            again += copied.len() - expected(number).len();
        }
    }
    assert!(again > 0, "without a second time nothing went wrong");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let (_, first, _) = run(7, guarantee);
        let (_, second, _) = run(7, guarantee);
        assert!(first.len() > 100);
        assert_eq!(first, second);
    }
}
