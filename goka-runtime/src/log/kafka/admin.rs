//! Questions to the cluster, each with a deadline; the client's own words say why one failed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{ClusterId, Committed, Isolation, LogError, NewTopic, Policy, Range, TopicInfo};
use super::config::KafkaConfig;
use super::native::{Ask, Client, Code, Described, Event, Fault, Kind, List, Place, Queue};
use super::{client_error, is_unreachable};
use crate::record::{Offset, TopicPartition};

/// How long to wait before asking again what was not settled yet.
const AGAIN: Duration = Duration::from_millis(20);

pub(super) struct Admin {
    config: KafkaConfig,
    errors: Queue,
    brokers: String,
    deadline: Duration,
    /// What a broker last failed with; forgotten once one answers.
    last_word: Mutex<Option<String>>,
}

impl Admin {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, LogError> {
        let client = Client::new(Kind::Producer, &config.asking())
            .map_err(|fault| client_error("making the Kafka client", fault))?;
        Ok(Self {
            config: config.clone(),
            errors: client.main_queue(),
            brokers: config.brokers.clone(),
            deadline: config.deadline,
            last_word: Mutex::default(),
        })
    }

    fn client(&self) -> &Client {
        self.errors.client()
    }

    fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Starts a call and waits for its answer.
    fn ask(
        &self,
        what: &str,
        until: Instant,
        start: impl FnOnce(&Ask<'_>) -> Result<(), Fault>,
    ) -> Result<Event, LogError> {
        self.ask_of(self.client(), what, until, start)?
            .map_err(|fault| self.refused(what, fault))
    }

    fn ask_of(
        &self,
        client: &Client,
        what: &str,
        until: Instant,
        start: impl FnOnce(&Ask<'_>) -> Result<(), Fault>,
    ) -> Result<Result<Event, Fault>, LogError> {
        let queue = client.new_queue();
        let wait = until.saturating_duration_since(Instant::now());
        let ask = Ask {
            queue: &queue,
            wait,
            opaque: 0,
        };
        start(&ask).map_err(|fault| self.refused(what, fault))?;
        // The client's own timer runs out first, if only just.
        let answer = queue.poll(wait + Duration::from_millis(100));
        self.listen();
        match answer {
            None => Err(self.silent(what, Code::OperationTimedOut)),
            Some(answer) => match answer.fault() {
                None => {
                    *self.word() = None;
                    Ok(Ok(answer))
                }
                Some(fault) if is_unreachable(fault.code) => Err(self.silent(what, fault.code)),
                Some(fault) => Ok(Err(fault)),
            },
        }
    }

    fn word(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.last_word
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the client's errors; "all brokers are down" says less than the one before it.
    fn listen(&self) {
        while let Some(event) = self.errors.poll(Duration::ZERO) {
            if let Some(fault) = event.fault() {
                let mut word = self.word();
                if word.is_none() || fault.code != Code::AllBrokersDown {
                    *word = Some(fault.reason);
                }
            }
        }
    }

    fn silent(&self, what: &str, code: Code) -> LogError {
        match self.word().clone() {
            None if code == Code::OperationTimedOut || code == Code::TimedOutQueue => {
                LogError::Timeout {
                    what: what.to_owned(),
                    after: self.deadline,
                }
            }
            word => LogError::Unreachable {
                brokers: self.brokers.clone(),
                reason: word.unwrap_or_else(|| super::native::text(code)),
            },
        }
    }

    fn refused(&self, what: &str, fault: Fault) -> LogError {
        LogError::Refused {
            what: what.to_owned(),
            reason: fault.reason,
        }
    }

    fn described(
        &self,
        topics: &[&str],
        until: Instant,
    ) -> Result<HashMap<String, Described>, LogError> {
        let mut found = HashMap::new();
        if topics.is_empty() {
            return Ok(found);
        }
        let answer = self.ask("describing topics", until, |ask| {
            self.client().describe_topics(topics, ask)
        })?;
        for topic in answer.described() {
            match &topic.error {
                None => {
                    found.insert(topic.name.clone(), topic);
                }
                Some(fault)
                    if matches!(
                        fault.code,
                        Code::UnknownTopicOrPartition | Code::UnknownTopic
                    ) => {}
                Some(fault) => {
                    let what = format!("describing topic `{}`", topic.name);
                    return Err(self.refused(&what, fault.clone()));
                }
            }
        }
        Ok(found)
    }

    pub(super) fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let until = self.until();
        let found = self.described(topics, until)?;
        let there: Vec<&str> = found.keys().map(String::as_str).collect();
        let mut settings = HashMap::new();
        if !there.is_empty() {
            let answer = self.ask("reading topics' settings", until, |ask| {
                self.client().describe_configs(&there, ask)
            })?;
            for (topic, set) in there.iter().zip(answer.settings()) {
                match set {
                    Ok(set) => {
                        settings.insert(*topic, set);
                    }
                    Err(fault) if fault.code == Code::UnknownTopicOrPartition => {}
                    Err(fault) => {
                        let what = format!("reading the settings of topic `{topic}`");
                        return Err(self.refused(&what, fault));
                    }
                }
            }
        }
        Ok(topics
            .iter()
            .map(|topic| Some(info(found.get(*topic)?, settings.get(*topic)?)))
            .collect())
    }

    pub(super) fn ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<Range>, LogError> {
        let until = self.until();
        let mut topics: Vec<&str> = partitions.iter().map(|at| &*at.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let found = self.described(&topics, until)?;
        for at in partitions {
            let count = found
                .get(&*at.topic)
                .map(|topic| topic.partitions)
                .ok_or_else(|| unknown_topic(&at.topic))?;
            if !(0..count).contains(&at.partition) {
                return Err(unknown_partition(at));
            }
        }
        let start = self.offsets(partitions, -2, Isolation::ReadUncommitted, until)?;
        let stable = self.offsets(partitions, -1, Isolation::ReadCommitted, until)?;
        // Last, so that it is never behind the stable one.
        let high = self.offsets(partitions, -1, Isolation::ReadUncommitted, until)?;
        partitions
            .iter()
            .map(|at| {
                let of = |all: &Offsets| all.get(&key(at)).copied();
                of(&start)
                    .zip(of(&stable))
                    .zip(of(&high))
                    .map(|((start, stable), high)| Range {
                        start,
                        stable,
                        high,
                    })
                    .ok_or_else(|| unknown_partition(at))
            })
            .collect()
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: Offset,
        isolation: Isolation,
        until: Instant,
    ) -> Result<Offsets, LogError> {
        let what = "reading partitions' offsets";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        loop {
            let list = list(partitions, which).map_err(|fault| self.refused(what, fault))?;
            let answer = self.ask(what, until, |ask| {
                self.client().list_offsets(&list, isolation, ask);
                Ok(())
            })?;
            let places = answer.offsets();
            let Some(bad) = places.iter().find(|place| place.error.is_some()) else {
                return Ok(places
                    .into_iter()
                    .map(|place| ((place.topic, place.partition), place.offset))
                    .collect());
            };
            self.retry(what, bad, until)?;
        }
    }

    /// Waits a moment where a place's error may pass, else is the error.
    fn retry(&self, what: &str, place: &Place, until: Instant) -> Result<(), LogError> {
        let code = place.error.unwrap_or(Code::Unknown);
        let passes = matches!(
            code,
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::KafkaStorageError
                | Code::UnstableOffsetCommit
                | Code::BrokerTransportFailure
                | Code::RequestTimedOut
        );
        if !passes {
            let reason = super::native::text(code);
            let what = format!("{what} of {}[{}]", place.topic, place.partition);
            return Err(LogError::Refused { what, reason });
        }
        if Instant::now() + AGAIN >= until {
            return Err(LogError::Timeout {
                what: format!("{what}: {}", super::native::text(code)),
                after: self.deadline,
            });
        }
        thread::sleep(AGAIN);
        Ok(())
    }

    pub(super) fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        let until = self.until();
        let mut settings = vec![
            ("message.timestamp.type", "CreateTime".to_owned()),
            (
                "cleanup.policy",
                if topic.compact { "compact" } else { "delete" }.to_owned(),
            ),
        ];
        if let Some(retention) = topic.retention {
            settings.push(("retention.ms", retention.as_millis().to_string()));
        }
        let what = format!("creating topic `{}`", topic.name);
        let answer = self.ask(&what, until, |ask| {
            self.client()
                .create_topic(&topic.name, topic.partitions, &settings, ask)
        })?;
        match answer.created() {
            Ok(()) => {}
            Err(fault) if fault.code == Code::TopicAlreadyExists => {
                return Err(LogError::TopicExists {
                    topic: topic.name.clone(),
                });
            }
            Err(fault) if is_unreachable(fault.code) => return Err(self.silent(&what, fault.code)),
            Err(fault) => return Err(self.refused(&what, fault)),
        }
        loop {
            let found = self.described(&[&topic.name], until)?;
            if found
                .get(&topic.name)
                .is_some_and(|found| found.partitions == topic.partitions && found.leaderless == 0)
            {
                return Ok(());
            }
            if Instant::now() + AGAIN >= until {
                let what = format!("waiting for the leaders of topic `{}`", topic.name);
                return Err(LogError::Timeout {
                    what,
                    after: self.deadline,
                });
            }
            thread::sleep(AGAIN);
        }
    }

    pub(super) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError> {
        let what = format!("reading the committed offsets of group `{group}`");
        let until = self.until();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        // A client of that group, though it never joins: librdkafka 2.12 dereferences a null group
        // when a coordinator that has moved answers a client without one.
        let client = Client::new(Kind::Consumer, &self.config.asking_of(group))
            .map_err(|fault| client_error("making the Kafka client", fault))?;
        loop {
            let list = list(partitions, -1001).map_err(|fault| self.refused(&what, fault))?;
            let answer = self.ask_of(&client, &what, until, |ask| {
                client.group_offsets(group, &list, ask)
            })?;
            let places = match answer.and_then(|answer| answer.committed()) {
                Ok(places) => places,
                Err(fault) if is_unreachable(fault.code) => {
                    return Err(self.silent(&what, fault.code));
                }
                Err(fault) if coordinator_moves(fault.code) && Instant::now() + AGAIN < until => {
                    thread::sleep(AGAIN);
                    continue;
                }
                Err(fault) => return Err(self.refused(&what, fault)),
            };
            let bad = places.iter().find(|place| {
                place
                    .error
                    .is_some_and(|code| code != Code::UnknownTopicOrPartition)
            });
            if let Some(bad) = bad {
                self.retry(&what, bad, until)?;
                continue;
            }
            let found: BTreeMap<(String, i32), Committed> =
                places.into_iter().filter_map(committed).collect();
            return Ok(partitions
                .iter()
                .map(|at| found.get(&key(at)).cloned())
                .collect());
        }
    }

    pub(super) fn cluster(&self) -> Result<ClusterId, LogError> {
        let what = "reading the cluster's identity";
        let answer = self.ask(what, self.until(), |ask| {
            self.client().describe_cluster(ask);
            Ok(())
        })?;
        answer.cluster().ok_or_else(|| LogError::Refused {
            what: what.to_owned(),
            reason: "the broker names none".to_owned(),
        })
    }
}

type Offsets = HashMap<(String, i32), Offset>;

fn key(at: &TopicPartition) -> (String, i32) {
    (at.topic.to_string(), at.partition)
}

fn list(partitions: &[TopicPartition], offset: Offset) -> Result<List, Fault> {
    let mut list = List::new();
    for at in partitions {
        list.add_with(&at.topic, at.partition, offset, "")?;
    }
    Ok(list)
}

/// What a place of a committed-offsets answer holds, if anything was committed.
pub(super) fn committed(place: Place) -> Option<((String, i32), Committed)> {
    (place.error.is_none() && place.offset >= 0).then_some((
        (place.topic, place.partition),
        Committed {
            offset: place.offset,
            metadata: place.metadata,
        },
    ))
}

/// Whether a coordinator is being found or elected.
pub(super) fn coordinator_moves(code: Code) -> bool {
    matches!(
        code,
        Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::UnstableOffsetCommit
            | Code::WaitingForCoordinator
    )
}

fn unknown_topic(topic: &str) -> LogError {
    LogError::UnknownTopic {
        topic: topic.to_owned(),
    }
}

fn unknown_partition(at: &TopicPartition) -> LogError {
    LogError::UnknownPartition {
        topic: at.topic.to_string(),
        partition: at.partition,
    }
}

fn info(topic: &Described, settings: &BTreeMap<String, String>) -> TopicInfo {
    let set = |name: &str| settings.get(name).map_or("", String::as_str);
    let policies: Vec<&str> = set("cleanup.policy").split(',').map(str::trim).collect();
    let policy = Policy {
        compact: policies.contains(&"compact"),
        delete: policies.contains(&"delete"),
    };
    let millis = |name: &str| set(name).parse::<u64>().ok().map(Duration::from_millis);
    TopicInfo {
        name: topic.name.clone(),
        id: topic.id.clone(),
        partitions: topic.partitions,
        policy,
        retention: millis("retention.ms").filter(|_| policy.delete),
        delete_retention: millis("delete.retention.ms").unwrap_or(Duration::from_secs(86_400)),
        max_message_bytes: set("max.message.bytes").parse().unwrap_or(1_048_588),
    }
}
