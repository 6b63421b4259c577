//! The records of a member: they are produced with the number of their task's ledger, delivery reports are
//! counted there, and a commit asks for the acknowledgements. Used by one thread, through
//! [`MemberProducer`](super::member_producer::MemberProducer); knows no transactions and no offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::commit::TaskResults;
use super::super::{Failure, Group, Sent, TaskAcks};
use super::native::{Client, Code, EventKind, Fault, Message, Queue, Topic, text};
use crate::clock::Clock;
use crate::record::{Append, AppendKind, Appends, Offset, TaskId, Timestamp};

/// A timestamp that is so much ahead of now, in milliseconds, is one that a topic may refuse.
const FUTURE: Timestamp = 60_000;

pub(super) struct Producer {
    group: Arc<Group>,
    topics: Vec<Topic>,
    reports: Queue,
    ledgers: Vec<Ledger>,
    numbers: BTreeMap<TaskId, usize>,
    /// The ledger of the last append: records come task by task.
    last: Option<(TaskId, usize)>,
    /// The number of records without a delivery report.
    pending: u64,
    /// Bumped when a commit times out; delivery reports of older generations are ignored.
    generation: usize,
    /// The topics of records that failed since the last commit.
    failed: BTreeSet<String>,
    /// The last error of the client that did not end it.
    last_error: Option<String>,
    /// The error that ended the client.
    fatal: Option<String>,
    /// How long an append waits for room.
    timeout: Duration,
}

/// One task's records since the last commit.
struct Ledger {
    task: TaskId,
    /// Whether the task appended.
    used: bool,
    /// The number of records without a delivery report.
    pending: u64,
    /// First and last offset of acknowledged changelog records, and their number.
    changelog: Option<(Offset, Offset, u64)>,
    failure: Option<Failure>,
    /// The size of the record that `failure` names.
    size: usize,
    /// The record with the latest timestamp of those that are far in the future.
    ahead: Option<Ahead>,
}

/// The timestamp and the key of a record whose timestamp is far in the future, which a topic may refuse.
pub(super) type Ahead = (Timestamp, Vec<u8>);

impl Ledger {
    fn of(task: TaskId) -> Self {
        Self {
            task,
            used: false,
            pending: 0,
            changelog: None,
            failure: None,
            size: 0,
            ahead: None,
        }
    }

    fn fail(&mut self, failure: Failure, size: usize) {
        // Of several refused records the largest is reported: a small one may be refused for the batch that
        // it shares with a large one.
        let refused = |failure: &Failure| matches!(failure, Failure::Refused { .. });
        let replace = match &self.failure {
            None => true,
            Some(Failure::Fatal(_)) => false,
            Some(old) if refused(old) => refused(&failure) && size > self.size,
            Some(_) => refused(&failure) || matches!(failure, Failure::Fatal(_)),
        };
        if replace {
            self.failure = Some(failure);
            self.size = size;
        }
    }

    fn is_ahead(&mut self, append: &Append<'_>) {
        let farthest = self.ahead.as_ref().map(|(timestamp, _)| *timestamp);
        if farthest.is_none_or(|farthest| append.timestamp > farthest) {
            let key = append.key.unwrap_or_default();
            self.ahead = Some((append.timestamp, key.to_vec()));
        }
    }

    fn close(&mut self) -> Option<Result<TaskAcks, Failure>> {
        if !self.used {
            return None;
        }
        let closed = std::mem::replace(self, Self::of(self.task));
        Some(match closed.failure {
            Some(failure) => Err(failure),
            None => Ok(TaskAcks {
                changelog: closed.changelog,
                markers: 0,
            }),
        })
    }
}

/// What a delivery report is about, in the one word that a record carries: no record costs an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReportId {
    generation: usize,
    ledger: usize,
    kind: AppendKind,
}

impl ReportId {
    const HALF: u32 = usize::BITS / 2;
    const LOW: usize = (1 << Self::HALF) - 1;

    fn word(self) -> usize {
        let changelog = usize::from(self.kind == AppendKind::Changelog);
        self.generation << Self::HALF | (self.ledger << 1 | changelog) & Self::LOW
    }

    fn of(word: usize) -> Self {
        Self {
            generation: word >> Self::HALF,
            ledger: (word & Self::LOW) >> 1,
            kind: match word & 1 {
                1 => AppendKind::Changelog,
                _ => AppendKind::Output,
            },
        }
    }
}

impl Producer {
    pub(super) fn new(
        client: &Client,
        group: Arc<Group>,
        timeout: Duration,
    ) -> Result<Self, Fault> {
        let topics = group.topics.iter().map(|name| client.topic(name));
        Ok(Self {
            topics: topics.collect::<Result<_, _>>()?,
            group,
            reports: client.main_queue(),
            ledgers: Vec::new(),
            numbers: BTreeMap::new(),
            last: None,
            pending: 0,
            generation: 0,
            failed: BTreeSet::new(),
            last_error: None,
            fatal: None,
            timeout,
        })
    }

    pub(super) fn client(&self) -> &Client {
        self.reports.client()
    }

    fn ledger(&mut self, task: TaskId) -> usize {
        if let Some((last, number)) = self.last
            && last == task
        {
            return number;
        }
        let next = self.ledgers.len();
        let number = *self.numbers.entry(task).or_insert(next);
        if number == next {
            self.ledgers.push(Ledger::of(task));
        }
        self.last = Some((task, number));
        number
    }

    /// Produces records, unless `begun` says why they cannot be.
    pub(super) fn append(&mut self, appends: &Appends, begun: &Result<(), Failure>) {
        let future = Clock::default().wall().saturating_add(FUTURE);
        for (_at, append) in (0usize..).zip(appends.iter()) {
            fail_point!("mid-produce", _at);
            let number = self.ledger(append.task);
            self.ledgers[number].used = true;
            if append.timestamp > future {
                self.ledgers[number].is_ahead(&append);
            }
            if let Err(failure) = begun {
                self.ledgers[number].fail(failure.clone(), 0);
            }
            // What follows a failed record is dropped with it, so the order is kept.
            if self.ledgers[number].failure.is_none()
                && let Err(failure) = self.produce(&append, number)
            {
                self.ledgers[number].fail(failure, size(append.key, append.value));
            }
        }
        self.serve(Duration::ZERO);
    }

    fn produce(&mut self, append: &Append<'_>, number: usize) -> Result<(), Failure> {
        let group = Arc::clone(&self.group);
        let name = group.topic(append.topic);
        let record = Sent::of(append, name);
        let id = ReportId {
            generation: self.generation,
            ledger: number,
            kind: append.kind,
        };
        let mut deadline = None;
        loop {
            if let Some(fatal) = &self.fatal {
                return Err(Failure::Fatal(fatal.clone()));
            }
            let topic = &self.topics[usize::from(append.topic.0)];
            match self.client().produce(topic, &record, id.word()) {
                Ok(()) => {
                    self.ledgers[number].pending += 1;
                    self.pending += 1;
                    return Ok(());
                }
                Err(Code::QueueFull) if self.pending > 0 => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.timeout);
                    if Instant::now() >= deadline {
                        let why = "no room in the producer's queue: the broker takes nothing";
                        return Err(Failure::Unknown(self.with_last_error(why)));
                    }
                    self.serve(Duration::from_millis(10));
                }
                Err(code) => return Err(failure(code, name, append.key, None)),
            }
        }
    }

    pub(super) fn with_last_error(&self, what: &str) -> String {
        match &self.last_error {
            Some(error) => format!("{what} ({error})"),
            None => what.to_owned(),
        }
    }

    /// Takes delivery reports and errors; waits at most `wait` for the first. Returns whether there was any.
    pub(super) fn serve(&mut self, wait: Duration) -> bool {
        let mut event = self.reports.poll(wait);
        let any = event.is_some();
        while let Some(some) = event {
            match some.kind() {
                EventKind::Deliveries => some.deliveries(|message| self.delivered(message)),
                EventKind::Error if some.is_fatal() => {
                    let fault = self.client().fatal().or_else(|| some.fault());
                    self.fatal = fault.map(|fault| fault.reason);
                }
                EventKind::Error => {
                    if let Some(fault) = some.fault() {
                        self.last_error = Some(fault.reason);
                    }
                }
                _ => {}
            }
            event = self.reports.poll(Duration::ZERO);
        }
        any
    }

    fn delivered(&mut self, message: &Message) {
        let id = ReportId::of(message.opaque());
        if id.generation != self.generation {
            return;
        }
        let ledger = &mut self.ledgers[id.ledger];
        ledger.pending -= 1;
        self.pending -= 1;
        let Some(code) = message.error() else {
            if id.kind == AppendKind::Changelog {
                let offset = message.offset();
                let (first, last, count) = ledger.changelog.unwrap_or((offset, offset, 0));
                ledger.changelog = Some((first.min(offset), last.max(offset), count + 1));
            }
            return;
        };
        let (code, why) = match denied(self.reports.client()) {
            Some(fault) => (fault.code, Some(fault.reason)),
            None => (code, None),
        };
        let failure = undelivered(code, message, why, ledger.ahead.as_ref());
        ledger.fail(failure, size(message.key(), message.value()));
        self.failed.insert(message.topic().to_owned());
    }

    /// The topics of records that failed since this was last asked.
    pub(super) fn take_failed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.failed)
    }

    /// Drops the ledger of a task that is not owned any more: its next owner may be this member. Returns
    /// whether it had records that were not committed.
    pub(super) fn forget(&mut self, task: TaskId) -> bool {
        let mut is_uncommitted = false;
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.task == task) {
            is_uncommitted |= ledger.used;
            (ledger.changelog, ledger.failure, ledger.used) = (None, None, false);
        }
        is_uncommitted
    }

    /// Drops the ledgers of everything appended and not committed.
    pub(super) fn clear(&mut self) {
        for ledger in &mut self.ledgers {
            ledger.used = true;
            ledger.close();
        }
        self.failed.clear();
        self.forget_reports();
    }

    /// Delivery reports of records appended before are ignored from now on.
    fn forget_reports(&mut self) {
        for ledger in &mut self.ledgers {
            ledger.pending = 0;
        }
        self.pending = 0;
        self.generation = (self.generation + 1) & ReportId::LOW;
    }

    /// Waits until all records are reported, at most until `deadline`, and closes the ledgers.
    pub(super) fn await_acks(&mut self, deadline: Instant) -> TaskResults {
        self.serve(Duration::ZERO);
        self.client().nudge();
        while self.pending > 0 && self.fatal.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if !self.serve(left.min(Duration::from_millis(5))) {
                self.client().nudge();
            }
        }
        if self.pending > 0 {
            let failure = match (&self.fatal, denied(self.client())) {
                (_, Some(fault)) => failure(fault.code, "(any)", None, Some(fault.reason)),
                (Some(fatal), None) => Failure::Fatal(fatal.clone()),
                (None, None) => Failure::Unknown(self.with_last_error("not acknowledged in time")),
            };
            for ledger in &mut self.ledgers {
                // The ledger of a task that was forgotten is not reported; the task may use it again later.
                if ledger.pending > 0 && ledger.used {
                    ledger.fail(failure.clone(), 0);
                }
            }
            self.forget_reports();
        }
        self.ledgers
            .iter_mut()
            .filter_map(|ledger| Some((ledger.task, ledger.close()?)))
            .collect()
    }

    /// Waits until everything is delivered, at most until `deadline`, and gives the rest up. The error is
    /// the number of records that were given up.
    pub(super) fn close(&mut self, deadline: Instant) -> Result<(), u64> {
        self.await_acks(deadline);
        match self.client().in_flight() {
            0 => Ok(()),
            left => {
                self.client().purge();
                Err(left as u64)
            }
        }
    }
}

fn size(key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
    key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)
}

/// A producer that may write nowhere is refused before its first record, for good.
fn denied(client: &Client) -> Option<Fault> {
    client
        .fatal()
        .filter(|fault| fault.code == Code::ClusterAuthorizationFailed)
}

/// The failure of a record that was not delivered. Where one record of a batch has a timestamp that the
/// topic does not take, librdkafka 2.12.1 gives all of them that code
/// (`rd_kafka_interceptors_on_acknowledgement_queue`); `ahead` is the one that is far in the future.
pub(super) fn undelivered(
    code: Code,
    message: &Message,
    words: Option<String>,
    ahead: Option<&Ahead>,
) -> Failure {
    const SETTINGS: &str = "outside what the topic takes; see the topic's settings \
        `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`";
    match (code, words, ahead) {
        (Code::InvalidTimestamp | Code::InvalidRecord, None, Some((timestamp, key))) => {
            let words = format!("its timestamp {timestamp} is {SETTINGS}");
            failure(code, message.topic(), Some(key), Some(words))
        }
        (Code::InvalidTimestamp, None, None) => {
            let words =
                format!("its timestamp, or that of another record of its batch, is {SETTINGS}");
            failure(code, message.topic(), message.key(), Some(words))
        }
        (_, words, _) => failure(code, message.topic(), message.key(), words),
    }
}

/// The failure that a code means for a record.
pub(super) fn failure(
    code: Code,
    topic: &str,
    key: Option<&[u8]>,
    words: Option<String>,
) -> Failure {
    let reason = words.unwrap_or_else(|| text(code));
    match code {
        Code::QueueFull => {
            let reason = "larger than the client's send buffer".to_owned();
            Failure::refused(topic, key, reason)
        }
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::InvalidTopic
        | Code::InvalidArgument
        | Code::PolicyViolation
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition => Failure::refused(topic, key, reason),
        Code::Fatal | Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => {
            Failure::Fatal(reason)
        }
        _ => Failure::Unknown(format!("writing to topic `{topic}`: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicId;

    #[test]
    fn a_report_id_survives_the_word_that_carries_it() {
        for (generation, ledger, kind) in [
            (0, 0, AppendKind::Output),
            (0, 0, AppendKind::Changelog),
            (3, 70_000, AppendKind::Changelog),
            (ReportId::LOW, 1, AppendKind::Output),
        ] {
            let id = ReportId {
                generation,
                ledger,
                kind,
            };
            assert_eq!(ReportId::of(id.word()), id);
        }
    }

    #[test]
    fn the_worst_failure_is_reported() {
        let refused = |key: &str| Failure::Refused {
            topic: "topic".to_owned(),
            key: key.to_owned(),
            reason: String::new(),
        };
        let unknown = || Failure::Unknown(String::new());
        let fatal = || Failure::Fatal(String::new());
        let rows = [
            (vec![(unknown(), 9), (refused("a"), 1)], refused("a")),
            (vec![(refused("a"), 1), (unknown(), 9)], refused("a")),
            (vec![(refused("a"), 1), (refused("b"), 2)], refused("b")),
            (vec![(refused("a"), 2), (refused("b"), 1)], refused("a")),
            (vec![(fatal(), 0), (refused("a"), 1)], fatal()),
            (vec![(unknown(), 0), (fatal(), 0)], fatal()),
        ];
        for (failures, expected) in rows {
            let lead = TopicId(0);
            let mut ledger = Ledger {
                used: true,
                changelog: Some((1, 1, 1)),
                ..Ledger::of(TaskId { lead, partition: 0 })
            };
            for (failure, size) in failures {
                ledger.fail(failure, size);
            }
            assert_eq!(ledger.close(), Some(Err(expected)));
            assert_eq!(ledger.close(), None, "reported once");
        }
    }
}
