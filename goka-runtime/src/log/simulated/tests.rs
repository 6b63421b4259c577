//! The simulated log on a clock that stands still until a test moves it: nothing here waits.

mod faults;
mod groups;
mod soak;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::topics::Body;
use super::{Fault, Faults, Kind, Simulated, Step, StepKind};
use crate::clock::Clock;
use crate::log::{
    CommitBatch, CommitId, CommitOutcome, Committed, Committer, Driver, Failure, Fetched, Group,
    Isolation, Log, LogError, Member, MemberEvent, NewTopic, OffsetRange,
};
use crate::record::{
    Append, AppendKind, Appends, Guarantee, Offset, TaskId, TopicId, TopicPartition,
};

const SESSION: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn task(partition: i32) -> TaskId {
    TaskId {
        lead: TopicId(0),
        partition,
    }
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// A log with a table `t`, an input `in` and an output `out`, and the clock that it lives by.
struct Rig {
    log: Simulated,
    clock: Clock,
}

impl Rig {
    fn new(partitions: i32) -> Self {
        let clock = Clock::simulated(1_000_000);
        let log = Simulated::new(clock.clone());
        for (name, compact) in [("t", true), ("in", false), ("out", false)] {
            let new = NewTopic {
                name: name.to_owned(),
                partitions,
                compact,
                retention: None,
            };
            log.create(&new).expect("made");
        }
        Self { log, clock }
    }

    fn group(guarantee: Guarantee) -> Group {
        Group {
            name: "g".into(),
            topics: vec!["t".into(), "in".into(), "out".into()],
            inputs: vec![TopicId(1)],
            lead: Some(TopicId(0)),
            instance: "i".to_owned(),
            worker: 0,
            session_timeout: SESSION,
            max_poll_interval: Duration::from_secs(300),
            guarantee,
            transaction_timeout: TIMEOUT,
        }
    }

    fn join(&self, group: &Group) -> Seat {
        Seat {
            member: self.log.join(group).expect("joined"),
            tape: Tape::default(),
            units: 0,
        }
    }

    /// A member of one worker that owns all tasks.
    fn owning(&self, guarantee: Guarantee) -> Seat {
        let mut seat = self.join(&Self::group(guarantee));
        seat.polls();
        assert!(!seat.tape.owned.is_empty());
        seat
    }

    fn faulty(&self, rule: impl FnMut(&Step<'_>) -> Option<Fault> + Send + 'static) {
        self.log.set_faults(Some(Box::new(Rule(rule))));
    }

    fn fired(&self, name: &str) -> u64 {
        self.log.fired().get(name).copied().unwrap_or_default()
    }

    /// Writes values to a partition from outside.
    fn write(&self, topic: &str, partition: i32, keys: &[(&str, Option<&str>)]) {
        let delivered: crate::log::OnDelivery = Arc::new(|_, outcome| {
            outcome.expect("written");
        });
        let appender = self.log.appender(delivered).expect("made");
        for (key, value) in keys {
            let sent = crate::log::Sent {
                topic,
                partition,
                key: Some(key.as_bytes()),
                value: value.map(str::as_bytes),
                timestamp: -1,
                headers: &[],
            };
            appender.send(sent, 0, Instant::now()).expect("sent");
        }
    }

    /// Writes a value to the input, past every fault.
    fn write_surely(&self, partition: i32, value: &str) {
        let mut state = self.log.0.lock();
        let body = Body {
            timestamp: state.wall,
            key: Some(b"k".to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        };
        state.written += 1;
        let written = state.written;
        let topic = state.topics.get_mut("in").expect("made");
        let partition = topic.partition_mut(partition).expect("there");
        partition.append(body.into(), 0, written);
        state.version += 1;
    }

    fn range(&self, topic: &str) -> (Offset, Offset, Offset) {
        let OffsetRange {
            start,
            stable,
            high,
        } = self.log.ranges(&[tp(topic, 0)]).expect("there")[0];
        (start, stable, high)
    }

    fn kinds(&self, topic: &str) -> Vec<Kind> {
        let kept = self.log.records(topic, 0);
        kept.iter().map(|kept| kept.kind).collect()
    }

    /// What a reader sees of a partition, and where it ends.
    fn read(
        &self,
        topic: &str,
        partition: i32,
        isolation: Isolation,
    ) -> (Vec<(Offset, String)>, Offset) {
        let start = self.log.ranges(&[tp(topic, partition)]).expect("there")[0].start;
        let from = [(tp(topic, partition), start)];
        let mut reader = self.log.reader(&from, isolation).expect("made");
        let mut all = Vec::new();
        loop {
            let before = reader.position(0);
            let each = &mut |_: usize, records: &[crate::record::Record<'_>]| {
                all.extend(records.iter().map(|record| (record.offset, text(record))));
            };
            reader.poll(Duration::ZERO, each).expect("readable");
            if reader.position(0) == before {
                return (all, before);
            }
        }
    }

    fn seen(&self, topic: &str) -> Vec<String> {
        let (records, _) = self.read(topic, 0, Isolation::ReadCommitted);
        records.into_iter().map(|(_, text)| text).collect()
    }

    fn committed(&self) -> Option<Offset> {
        let found = Log::committed(&self.log, "g", &[tp("in", 0)]).expect("told");
        found[0].as_ref().map(|found| found.offset)
    }
}

fn text(record: &crate::record::Record<'_>) -> String {
    String::from_utf8_lossy(record.value.unwrap_or(b"(none)")).into_owned()
}

struct Rule<F>(F);

impl<F: FnMut(&Step<'_>) -> Option<Fault> + Send> Faults for Rule<F> {
    fn at(&mut self, step: &Step<'_>) -> Option<Fault> {
        (self.0)(step)
    }
}

/// Does `fault` the first time that a step of this kind is taken.
fn once(kind: StepKind, fault: Fault) -> impl FnMut(&Step<'_>) -> Option<Fault> + Send {
    let mut fault = Some(fault);
    move |step| fault.take_if(|_| step.kind == kind)
}

#[derive(Default)]
struct Tape {
    owned: BTreeMap<TaskId, BTreeMap<TopicId, Committed>>,
    records: Vec<(TaskId, Offset, String)>,
    lost: Vec<TaskId>,
    revoked: Vec<TaskId>,
    passed: Vec<(TaskId, std::ops::Range<Offset>)>,
    broken: Vec<LogError>,
    troubles: Vec<bool>,
    /// Committed when tasks are revoked.
    on_revoke: Vec<(TaskId, u16, Offset)>,
    settled: Option<CommitOutcome>,
}

impl Driver for Tape {
    fn event(&mut self, event: MemberEvent<'_>) {
        match event {
            MemberEvent::Assigned(all) => {
                for one in all {
                    let before = self.owned.insert(one.task, one.committed.clone());
                    assert!(before.is_none(), "{:?} was assigned twice", one.task);
                }
            }
            MemberEvent::Lost(tasks) => {
                self.lost.extend(tasks);
                self.owned.retain(|task, _| !tasks.contains(task));
            }
            MemberEvent::OffsetGap(gap) => self.passed.push((gap.task, gap.from..gap.to)),
            MemberEvent::InputFailed { error, .. } => self.broken.push(error),
            MemberEvent::Degraded(why) => self.troubles.push(why.is_some()),
        }
    }

    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        let records = fetched.records.iter();
        let records = records.map(|record| (fetched.task, record.offset, text(record)));
        self.records.extend(records);
        fetched.records.len()
    }

    fn revoking(&mut self, tasks: &[TaskId], settle: &mut dyn Committer) {
        if !self.on_revoke.is_empty() {
            let unit = unit(1_000, &self.on_revoke);
            self.settled = Some(settle.commit(&unit, Instant::now()));
        }
        self.revoked.extend(tasks);
        self.owned.retain(|task, _| !tasks.contains(task));
    }
}

fn unit(id: u64, offsets: &[(TaskId, u16, Offset)]) -> CommitBatch {
    let offsets = offsets.iter();
    let offsets = offsets.map(|(task, topic, at)| (*task, TopicId(*topic), *at, String::new()));
    CommitBatch {
        id: CommitId(id),
        offsets: offsets.collect(),
    }
}

struct Seat {
    member: Box<dyn Member>,
    tape: Tape,
    units: u64,
}

impl Seat {
    fn poll(&mut self) -> Result<(), LogError> {
        self.member.poll(Duration::ZERO, &mut self.tape)
    }

    /// Polls until nothing more can come.
    fn polls(&mut self) {
        for _ in 0..10 {
            self.poll().expect("the member goes on");
        }
    }

    fn append(&mut self, topic: u16, partition: i32, value: &str) {
        let mut appends = Appends::default();
        appends.push(Append {
            task: task(partition),
            kind: match topic {
                0 => AppendKind::Changelog,
                _ => AppendKind::Output,
            },
            topic: TopicId(topic),
            partition,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            timestamp: -1,
            headers: &[],
        });
        self.member.append(&appends);
    }

    fn settle(&mut self, offsets: &[(TaskId, u16, Offset)]) -> CommitOutcome {
        self.units += 1;
        self.member
            .commit(&unit(self.units, offsets), Instant::now())
    }

    /// One changelog record, and an offset of the input, of task 0.
    fn settle_one(&mut self, value: &str, offset: Offset) -> CommitOutcome {
        self.append(0, 0, value);
        self.settle(&[(task(0), 1, offset)])
    }

    fn abort(&mut self) -> Result<(), Failure> {
        self.member.abort(Instant::now())
    }
}

/// Two members with four tasks, two each.
fn two(rig: &Rig, guarantee: Guarantee) -> (Seat, Seat) {
    let mut first = rig.owning(guarantee);
    let mut second = rig.join(&Group {
        worker: 1,
        ..Rig::group(guarantee)
    });
    for _ in 0..10 {
        second.poll().expect("it goes on");
        first.poll().expect("it goes on");
    }
    assert_eq!((first.tape.owned.len(), second.tape.owned.len()), (2, 2));
    (first, second)
}

#[track_caller]
fn assert_settled(settlement: &CommitOutcome) {
    let acks = settlement.acks.values().all(Result::is_ok);
    let offsets = settlement.offsets.values().all(Result::is_ok);
    assert!(
        acks && offsets && !settlement.offsets.is_empty(),
        "{settlement:?}"
    );
}

/// What task 0 failed with.
#[track_caller]
fn failure(settlement: &CommitOutcome) -> &Failure {
    let ack = settlement
        .acks
        .get(&task(0))
        .and_then(|ack| ack.as_ref().err());
    let offset = || settlement.offsets[&task(0)].as_ref().expect_err("it fails");
    ack.unwrap_or_else(offset)
}

impl Fault {
    /// The names of all of them, for runs that want to see each one fire.
    pub(crate) const NAMES: [&'static str; 16] = [
        "ack lost",
        "late write",
        "not written",
        "refused",
        "commit unknown, happened",
        "commit unknown, not happened",
        "stale generation",
        "abortable",
        "fatal",
        "late markers",
        "outage",
        "leader move",
        "process dies",
        "cut off",
        "slow fetch",
        "short fetch",
    ];
}
