//! A member's producer: records go out with the number of their task's ledger, delivery reports are
//! counted there, and a barrier asks how it went. Used by one thread; never commits offsets. Its
//! transactions, exactly once, are in `transaction`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::{Failure, Group, LogError, TaskAcks};
use super::client_error;
use super::config::KafkaConfig;
use super::identity::TransactionalId;
use super::native::{Client, Code, EventKind, Fault, Kind, Message, Outgoing, Queue, Topic, text};
use super::transaction::Transactions;
use crate::clock::Clock;
use crate::record::{Append, AppendKind, Appends, Guarantee, Offset, TaskId, Timestamp};

/// A timestamp that is so much ahead of now, in milliseconds, is one that a topic may refuse.
const FUTURE: Timestamp = 60_000;

pub(super) struct Producer {
    topics: Vec<Topic>,
    reports: Queue,
    ledgers: Vec<Ledger>,
    numbers: BTreeMap<TaskId, usize>,
    /// The ledger of the last append: records come task by task.
    last: Option<(TaskId, usize)>,
    /// Everything that is not reported yet.
    pending: u64,
    /// Counts the barriers that ended in the dark: reports of older records count no more.
    round: usize,
    /// The topics of records that failed since the last barrier.
    failed: BTreeSet<String>,
    /// What the client last complained of.
    complaint: Option<String>,
    /// Why the client is of no more use.
    fatal: Option<String>,
    /// How long an append waits for room.
    deadline: Duration,
    /// Exactly once, everything is written in transactions.
    pub(super) transactions: Option<Transactions>,
}

/// What became of one task's records since the last barrier.
struct Ledger {
    task: TaskId,
    used: bool,
    pending: u64,
    changelog: Option<(Offset, Offset, u64)>,
    failure: Option<Failure>,
    /// The size of the record that `failure` names.
    size: usize,
    /// Of the records that are far in the future, the one that is farthest.
    ahead: Option<Ahead>,
}

/// A record whose timestamp is far in the future: some topics take none of those.
#[derive(Debug)]
pub(super) struct Ahead {
    timestamp: Timestamp,
    key: Vec<u8>,
}

impl Ledger {
    fn fail(&mut self, failure: Failure, size: usize) {
        // Of several refused ones the largest is named: one that was in a batch with it may be small.
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
        let farthest = self.ahead.as_ref().map(|ahead| ahead.timestamp);
        if farthest.is_none_or(|farthest| append.timestamp > farthest) {
            self.ahead = Some(Ahead {
                timestamp: append.timestamp,
                key: append.key.unwrap_or_default().to_vec(),
            });
        }
    }

    fn close(&mut self) -> Option<Result<TaskAcks, Failure>> {
        if !std::mem::take(&mut self.used) {
            return None;
        }
        let changelog = self.changelog.take();
        self.size = 0;
        self.pending = 0;
        self.ahead = None;
        Some(match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(TaskAcks {
                changelog,
                markers: 0,
            }),
        })
    }
}

/// What a delivery report is of, in one word: no record costs an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    round: usize,
    ledger: usize,
    kind: AppendKind,
}

impl Mark {
    const HALF: u32 = usize::BITS / 2;
    const LOW: usize = (1 << Self::HALF) - 1;

    fn word(self) -> usize {
        let changelog = usize::from(self.kind == AppendKind::Changelog);
        self.round << Self::HALF | (self.ledger << 1 | changelog) & Self::LOW
    }

    fn of(word: usize) -> Self {
        Self {
            round: word >> Self::HALF,
            ledger: (word & Self::LOW) >> 1,
            kind: match word & 1 {
                1 => AppendKind::Changelog,
                _ => AppendKind::Output,
            },
        }
    }
}

impl Producer {
    pub(super) fn new(config: &KafkaConfig, group: &Group, batch: usize) -> Result<Self, LogError> {
        let failed = |fault| client_error("making the producer", fault);
        let (properties, transactions) = match group.guarantee {
            Guarantee::AtLeastOnce => (config.producing(batch), None),
            Guarantee::ExactlyOnce => {
                let (id, timeout) = (TransactionalId::of(group), group.transaction_timeout);
                let properties = config.transacting(batch, id.name(), timeout);
                (properties, Some(Transactions::new(id, timeout)))
            }
        };
        let client = Client::new(Kind::Producer, &properties).map_err(failed)?;
        let topics = group.topics.iter().map(|name| client.topic(name));
        Ok(Self {
            topics: topics.collect::<Result<_, _>>().map_err(failed)?,
            reports: client.main_queue(),
            ledgers: Vec::new(),
            numbers: BTreeMap::new(),
            last: None,
            pending: 0,
            round: 0,
            failed: BTreeSet::new(),
            complaint: None,
            fatal: None,
            deadline: config.deadline,
            transactions,
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
            self.ledgers.push(Ledger {
                task,
                used: false,
                pending: 0,
                changelog: None,
                failure: None,
                size: 0,
                ahead: None,
            });
        }
        self.last = Some((task, number));
        number
    }

    pub(super) fn append(&mut self, appends: &Appends) {
        let begun = self.begin(Instant::now() + self.deadline);
        let future = Clock::default().wall().saturating_add(FUTURE);
        for (_at, append) in (0usize..).zip(appends.iter()) {
            fail_point!("mid-produce", _at);
            let number = self.ledger(append.task);
            self.ledgers[number].used = true;
            if append.timestamp > future {
                self.ledgers[number].is_ahead(&append);
            }
            if let Err(failure) = &begun {
                self.ledgers[number].fail(failure.clone(), 0);
            }
            // What follows a failed record is dropped with it, so the order is never broken.
            if self.ledgers[number].failure.is_none()
                && let Err((failure, size)) = self.produce(&append, number)
            {
                self.ledgers[number].fail(failure, size);
            }
        }
        self.serve(Duration::ZERO);
    }

    fn produce(&mut self, append: &Append<'_>, number: usize) -> Result<(), (Failure, usize)> {
        let size = append.key.map_or(0, <[u8]>::len) + append.value.map_or(0, <[u8]>::len);
        let record = Outgoing {
            partition: append.partition,
            key: append.key,
            value: append.value,
            timestamp: append.timestamp,
            headers: append.headers,
            opaque: Mark {
                round: self.round,
                ledger: number,
                kind: append.kind,
            }
            .word(),
        };
        let mut until = None;
        loop {
            if let Some(fatal) = &self.fatal {
                return Err((Failure::Fatal(fatal.clone()), size));
            }
            let topic = &self.topics[usize::from(append.topic.0)];
            match self.client().produce(topic, &record) {
                Ok(()) => {
                    self.ledgers[number].pending += 1;
                    self.pending += 1;
                    return Ok(());
                }
                Err(Code::QueueFull) if self.pending > 0 => {
                    let until = *until.get_or_insert_with(|| Instant::now() + self.deadline);
                    if Instant::now() >= until {
                        let why = "no room in the producer's queue: the broker takes nothing";
                        return Err((Failure::Unknown(self.because(why)), size));
                    }
                    self.serve(Duration::from_millis(10));
                }
                Err(code) => {
                    let topic = topic_name(append, self);
                    return Err((failure(code, &topic, append.key, None), size));
                }
            }
        }
    }

    pub(super) fn because(&self, what: &str) -> String {
        match &self.complaint {
            Some(complaint) => format!("{what} ({complaint})"),
            None => what.to_owned(),
        }
    }

    /// Takes what is reported; waits at most `wait` for the first. Tells whether there was any.
    pub(super) fn serve(&mut self, wait: Duration) -> bool {
        let mut event = self.reports.poll(wait);
        let any = event.is_some();
        while let Some(some) = event {
            match some.kind() {
                EventKind::Deliveries => some.deliveries(|message| self.delivered(message)),
                EventKind::Error => {
                    if let Some(fault) = some.fault() {
                        if some.is_fatal() {
                            let fault = self.client().fatal().unwrap_or(fault);
                            self.fatal = Some(fault.reason);
                        } else {
                            self.complaint = Some(fault.reason);
                        }
                    }
                }
                _ => {}
            }
            event = self.reports.poll(Duration::ZERO);
        }
        any
    }

    fn delivered(&mut self, message: &Message) {
        let mark = Mark::of(message.opaque());
        if mark.round != self.round {
            return;
        }
        let ledger = &mut self.ledgers[mark.ledger];
        ledger.pending -= 1;
        self.pending -= 1;
        let Some(code) = message.error() else {
            if mark.kind == AppendKind::Changelog {
                let offset = message.offset();
                let (first, last, count) = ledger.changelog.unwrap_or((offset, offset, 0));
                ledger.changelog = Some((first.min(offset), last.max(offset), count + 1));
            }
            return;
        };
        let size = message.key().map_or(0, <[u8]>::len) + message.value().map_or(0, <[u8]>::len);
        let (code, why) = match denied(self.reports.client()) {
            Some(fault) => (fault.code, Some(fault.reason)),
            None => (code, None),
        };
        let failure = undelivered(code, message, why, ledger.ahead.as_ref());
        ledger.fail(failure, size);
        self.failed.insert(message.topic().to_owned());
    }

    /// The topics of records that failed since this was last asked.
    pub(super) fn take_failed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.failed)
    }

    /// Drops what is known of a task that is not owned any more: its next owner may be this member.
    pub(super) fn forget(&mut self, task: TaskId) {
        let mut unsettled = false;
        for ledger in self.ledgers.iter_mut().filter(|ledger| ledger.task == task) {
            unsettled |= ledger.used;
            (ledger.changelog, ledger.failure, ledger.used) = (None, None, false);
        }
        if unsettled {
            // Its records would become visible without the offsets that cover them.
            self.spoil("it holds records of a partition that is not owned any more");
        }
    }

    /// Drops what is known of everything appended and not settled.
    pub(super) fn clear(&mut self) {
        for ledger in &mut self.ledgers {
            ledger.used = true;
            ledger.close();
        }
        self.failed.clear();
        self.forget_reports();
    }

    /// What is still reported of records appended before counts no more.
    fn forget_reports(&mut self) {
        for ledger in &mut self.ledgers {
            ledger.pending = 0;
        }
        self.pending = 0;
        self.round = (self.round + 1) & Mark::LOW;
    }

    /// Waits until all records are reported, at most until `until`, and closes the ledgers.
    pub(super) fn settle(&mut self, until: Instant) -> BTreeMap<TaskId, Result<TaskAcks, Failure>> {
        self.serve(Duration::ZERO);
        self.client().nudge();
        while self.pending > 0 && self.fatal.is_none() {
            let left = until.saturating_duration_since(Instant::now());
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
                (None, None) => Failure::Unknown(self.because("not acknowledged in time")),
            };
            for ledger in &mut self.ledgers {
                // One that was forgotten is told to nobody, and may be its task's again later.
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

    /// Gives up whatever is not acknowledged.
    pub(super) fn purge(&self) {
        self.client().purge();
    }

    /// Waits until everything is out, at most until `until`; gives up the rest.
    pub(super) fn close(&mut self, until: Instant) -> Result<(), u64> {
        self.settle(until);
        match self.client().in_flight() {
            0 => Ok(()),
            left => {
                self.client().purge();
                Err(left as u64)
            }
        }
    }
}

fn topic_name(append: &Append<'_>, producer: &Producer) -> String {
    producer.topics[usize::from(append.topic.0)].name()
}

/// A producer that may write nowhere is refused before its first record, for good.
fn denied(client: &Client) -> Option<Fault> {
    client
        .fatal()
        .filter(|fault| fault.code == Code::ClusterAuthorizationFailed)
}

/// What a record means that was not delivered. Where one record of a batch has a timestamp that the
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
        (Code::InvalidTimestamp | Code::InvalidRecord, None, Some(ahead)) => {
            let words = format!("its timestamp {} is {SETTINGS}", ahead.timestamp);
            failure(code, message.topic(), Some(&ahead.key), Some(words))
        }
        (Code::InvalidTimestamp, None, None) => {
            let words =
                format!("its timestamp, or that of another record of its batch, is {SETTINGS}");
            failure(code, message.topic(), message.key(), Some(words))
        }
        (_, words, _) => failure(code, message.topic(), message.key(), words),
    }
}

/// What a failed record means.
pub(super) fn failure(
    code: Code,
    topic: &str,
    key: Option<&[u8]>,
    words: Option<String>,
) -> Failure {
    let reason = words.unwrap_or_else(|| text(code));
    match code {
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::QueueFull
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
        | Code::UnknownPartition => Failure::Refused {
            topic: topic.to_owned(),
            key: key.map_or("(none)".into(), |key| {
                String::from_utf8_lossy(key).into_owned()
            }),
            reason: match code {
                Code::QueueFull => "larger than the client's send buffer".to_owned(),
                _ => reason,
            },
        },
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
    fn a_mark_survives_its_word() {
        for (round, ledger, kind) in [
            (0, 0, AppendKind::Output),
            (0, 0, AppendKind::Changelog),
            (3, 70_000, AppendKind::Changelog),
            (Mark::LOW, 1, AppendKind::Output),
        ] {
            let mark = Mark {
                round,
                ledger,
                kind,
            };
            assert_eq!(Mark::of(mark.word()), mark);
        }
    }

    #[test]
    fn the_worst_failure_is_told() {
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
                task: TaskId { lead, partition: 0 },
                used: true,
                pending: 0,
                changelog: Some((1, 1, 1)),
                failure: None,
                size: 0,
                ahead: None,
            };
            for (failure, size) in failures {
                ledger.fail(failure, size);
            }
            assert_eq!(ledger.close(), Some(Err(expected)));
            assert_eq!(ledger.close(), None, "told once");
        }
    }
}
