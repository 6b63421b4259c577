//! Topics and groups with unique names, records that can be compared, a driver that records its events, and
//! waiting with a deadline.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use goka_runtime::log::{
    Appender, Assignment, CommitBatch, CommitId, CommitOutcome, Committed, Committer, Driver,
    Epoch, Failure, Fetched, Group, Isolation, Log, LogError, Member, MemberEvent, NewTopic, Sent,
};
use goka_runtime::record::{
    Append, AppendKind, Appends, Guarantee, Offset, Record, TaskId, Timestamp, TopicId,
    TopicPartition,
};

pub use crate::support::TIMEOUT;
pub use crate::support::unique;

/// How long one poll waits for events.
pub const TICK: Duration = Duration::from_millis(100);
/// The session timeout: the shortest that brokers accept by default.
pub const SESSION: Duration = Duration::from_secs(6);

pub fn deadline() -> Instant {
    Instant::now() + TIMEOUT
}

/// Waits until a condition is true. The condition may wait by itself, as a poll does.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    crate::support::wait_until(what, TIMEOUT, condition);
}

/// Creates a topic with a unique name, and waits until it is known.
pub fn topic(log: &dyn Log, name: &str, partitions: i32, compact: bool) -> String {
    let name = unique(name);
    let new = NewTopic {
        name: name.clone(),
        partitions,
        compact,
        retention: None,
    };
    log.create(&new).expect("the topic is made");
    wait_until("the new topic is described", || {
        log.describe(&[&name]).is_ok_and(|found| found[0].is_some())
    });
    name
}

pub fn stream(log: &dyn Log, partitions: i32) -> String {
    topic(log, "stream", partitions, false)
}

/// A record as it was read, with owned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rec {
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Rec {
    pub fn of(record: &Record<'_>) -> Self {
        let headers = record.headers.iter();
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers
                .map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or(b"(none)")).into_owned()
    }
}

pub fn offsets(records: &[Rec]) -> Vec<Offset> {
    records.iter().map(|record| record.offset).collect()
}

pub fn texts(records: &[Rec]) -> Vec<String> {
    records.iter().map(Rec::text).collect()
}

pub fn sent<'a>(topic: &'a str, partition: i32, key: &'a str, value: &'a str) -> Sent<'a> {
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    Sent {
        topic,
        partition,
        key,
        value,
        timestamp: -1,
        headers: &[],
    }
}

/// The deliveries that an appender reported, by token.
pub type Deliveries = Arc<Mutex<Vec<(u64, Result<(i32, Offset), Failure>)>>>;

pub fn appender(log: &dyn Log) -> (Box<dyn Appender>, Deliveries) {
    let deliveries = Deliveries::default();
    let reported = deliveries.clone();
    let appender = log.appender(Arc::new(move |token, outcome| {
        reported
            .lock()
            .expect("no test panics while it holds the lock")
            .push((token, outcome));
    }));
    (appender.expect("an appender is made"), deliveries)
}

/// Writes numbers as text to a partition, and waits until they are written.
pub fn write(log: &dyn Log, topic: &str, partition: i32, numbers: std::ops::Range<u64>) {
    let (appender, deliveries) = appender(log);
    let count = numbers.end - numbers.start;
    for number in numbers {
        let text = number.to_string();
        let sent = sent(topic, partition, "key", &text);
        appender
            .send(sent, number, deadline())
            .expect("there is room");
    }
    appender.flush(deadline()).expect("everything is written");
    let deliveries = deliveries
        .lock()
        .expect("no test panics while it holds the lock");
    assert_eq!(deliveries.len() as u64, count);
    assert!(
        deliveries.iter().all(|(_, outcome)| outcome.is_ok()),
        "{deliveries:?}"
    );
}

pub fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub fn high(log: &dyn Log, topic: &str, partition: i32) -> Offset {
    log.ranges(&[tp(topic, partition)])
        .expect("the partition is there")[0]
        .high
}

/// Reads from an offset to the present end.
pub fn read(log: &dyn Log, topic: &str, partition: i32, from: Offset) -> Vec<Rec> {
    let end = high(log, topic, partition);
    let mut reader = log
        .reader(&[(tp(topic, partition), from)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut all = Vec::new();
    wait_until("the reader comes to the end", || {
        let each = &mut |_: usize, records: &[Record<'_>]| all.extend(records.iter().map(Rec::of));
        reader.poll(TICK, each).expect("readable");
        reader.position(0) >= end
    });
    all
}

/// A stateful group: topic 0 is its table, 1 and so on its inputs.
pub fn stateful(log: &dyn Log, inputs: &[String], partitions: i32) -> Group {
    let table = topic(log, "table", partitions, true);
    let topics = std::iter::once(&table)
        .chain(inputs)
        .map(|name| name.as_str().into())
        .collect();
    Group {
        name: unique("group").into(),
        topics,
        inputs: (1..=inputs.len()).map(|at| TopicId(at as u16)).collect(),
        lead: Some(TopicId(0)),
        instance: unique("instance"),
        worker: 0,
        session_timeout: SESSION,
        max_poll_interval: Duration::from_secs(300),
        guarantee: Guarantee::AtLeastOnce,
        transaction_timeout: Duration::from_secs(10),
    }
}

/// The same group with another worker number.
pub fn worker(group: &Group, worker: u32) -> Group {
    Group {
        worker,
        ..group.clone()
    }
}

/// The task of a stateful group's partition.
pub fn task(partition: i32) -> TaskId {
    TaskId {
        lead: TopicId(0),
        partition,
    }
}

/// What a driver does when tasks are revoked.
pub type OnRevoke = Box<dyn FnMut(&[TaskId], &mut dyn Committer) + Send>;

/// A driver that records its events, and calls `on_revoke` when tasks are revoked.
#[derive(Default)]
pub struct Recorder {
    pub owned: BTreeMap<TaskId, (Epoch, BTreeMap<TopicId, Committed>)>,
    pub batches: Vec<(TaskId, Epoch, TopicId, Vec<Rec>)>,
    pub gaps: Vec<(TaskId, Epoch, TopicId, Range<Offset>)>,
    pub lost: Vec<TaskId>,
    pub failed_inputs: Vec<(TaskId, TopicId, LogError)>,
    pub revoked: Vec<TaskId>,
    pub degraded: Vec<Option<String>>,
    pub on_revoke: Option<OnRevoke>,
    /// How many more records it takes; all unless set.
    pub room: Option<usize>,
}

impl Recorder {
    /// The records of one input of one task, in the order of their arrival.
    pub fn records(&self, of: TaskId, topic: TopicId) -> Vec<Rec> {
        let batches = self
            .batches
            .iter()
            .filter(|(task, _, input, _)| (*task, *input) == (of, topic));
        batches.flat_map(|(.., records)| records.clone()).collect()
    }
}

impl Driver for Recorder {
    fn event(&mut self, event: MemberEvent<'_>) {
        match event {
            MemberEvent::Assigned(assignments) => {
                for Assignment {
                    task,
                    epoch,
                    committed,
                } in assignments
                {
                    let before = self.owned.insert(*task, (*epoch, committed.clone()));
                    assert!(before.is_none(), "{task:?} was assigned twice");
                }
            }
            MemberEvent::OffsetGap(gap) => {
                let (from, to) = (gap.from, gap.to);
                assert!(from < to, "an empty gap from {from} to {to}");
                self.gaps.push((gap.task, gap.epoch, gap.topic, from..to));
            }
            MemberEvent::Lost(tasks) => {
                self.lost.extend(tasks);
                self.owned.retain(|task, _| !tasks.contains(task));
            }
            MemberEvent::InputFailed { task, topic, error } => {
                self.failed_inputs.push((task, topic, error))
            }
            MemberEvent::Degraded(why) => self.degraded.push(why),
        }
    }

    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        let Fetched {
            task,
            epoch,
            topic,
            records,
        } = fetched;
        assert!(!records.is_empty(), "an empty batch");
        let taken = records.len().min(self.room.unwrap_or(usize::MAX));
        self.room = self.room.map(|room| room - taken);
        let records: Vec<_> = records[..taken].iter().map(Rec::of).collect();
        if !records.is_empty() {
            self.batches.push((task, epoch, topic, records));
        }
        taken
    }

    fn revoking(&mut self, tasks: &[TaskId], committer: &mut dyn Committer) {
        if let Some(on_revoke) = &mut self.on_revoke {
            on_revoke(tasks, committer);
        }
        self.revoked.extend(tasks);
        self.owned.retain(|task, _| !tasks.contains(task));
    }
}

/// A member with the events that it reported.
pub struct TestMember {
    pub inner: Box<dyn Member>,
    pub recorder: Recorder,
    commits: u64,
}

impl TestMember {
    pub fn join(log: &dyn Log, group: &Group) -> Self {
        let inner = log.join(group).expect("the group can be joined");
        Self {
            inner,
            recorder: Recorder::default(),
            commits: 0,
        }
    }

    pub fn poll(&mut self) {
        self.inner
            .poll(TICK, &mut self.recorder)
            .expect("the member goes on");
    }

    /// Joins and waits until it owns that many tasks.
    pub fn owning(log: &dyn Log, group: &Group, tasks: usize) -> Self {
        let mut member = Self::join(log, group);
        member.poll_until("the tasks are assigned", |recorder| {
            recorder.owned.len() == tasks
        });
        member
    }

    pub fn poll_until(&mut self, what: &str, condition: impl Fn(&Recorder) -> bool) {
        wait_until(what, || {
            self.poll();
            condition(&self.recorder)
        });
    }

    pub fn fetch(&mut self, task: TaskId, topic: u16, position: Offset) {
        self.inner
            .fetch(task, &[(TopicId(topic), position)])
            .expect("an owned task can be fetched");
    }

    pub fn append(&mut self, records: &[(TaskId, AppendKind, u16, i32, &str)]) {
        let mut appends = Appends::default();
        for (task, kind, topic, partition, value) in records {
            appends.push(Append {
                task: *task,
                kind: *kind,
                topic: TopicId(*topic),
                partition: *partition,
                key: Some(b"key"),
                value: Some(value.as_bytes()),
                timestamp: -1,
                headers: &[],
            });
        }
        self.inner.append(&appends);
    }

    pub fn commit(&mut self, offsets: &[(TaskId, u16, Offset)]) -> CommitOutcome {
        self.commits += 1;
        let batch = commit_batch(self.commits, offsets);
        self.inner.commit(&batch, deadline())
    }
}

/// A commit batch whose offsets carry `at <offset>` as metadata.
pub fn commit_batch(id: u64, offsets: &[(TaskId, u16, Offset)]) -> CommitBatch {
    let offsets = offsets.iter();
    let offsets =
        offsets.map(|(task, topic, at)| (*task, TopicId(*topic), *at, format!("at {at}")));
    CommitBatch {
        id: CommitId(id),
        offsets: offsets.collect(),
    }
}

pub fn at(offset: Offset) -> Committed {
    Committed {
        offset,
        metadata: format!("at {offset}"),
    }
}

/// Asserts that a task's part of a commit is durable.
pub fn assert_committed(outcome: &CommitOutcome, task: TaskId) {
    let ack = outcome.acks.get(&task);
    assert!(ack.is_none_or(Result::is_ok), "{outcome:?}");
    assert_eq!(outcome.offsets.get(&task), Some(&Ok(())), "{outcome:?}");
}
