//! Questions to the cluster, each with a deadline; the client's own words say why one failed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{ClusterId, LogError, NewTopic, Policy, TopicInfo};
use super::config::KafkaConfig;
use super::native::{Ask, Client, Code, Described, Event, Fault, Kind, Queue};
use super::{TOPIC_TIMEOUT, client_error, is_unreachable};

/// How long to wait before asking again what was not settled yet.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// When a topic was first heard of.
#[derive(Debug, Clone, Copy)]
enum Heard {
    /// It was asked for, and is not there.
    Not,
    /// It was there when it was first asked for: made some time ago, or a moment ago.
    Found(Instant),
    /// It was made here, or was not there before: it was made a moment ago.
    Made(Instant),
}

pub(super) struct Admin {
    pub(super) config: KafkaConfig,
    errors: Queue,
    brokers: String,
    pub(super) deadline: Duration,
    /// What a broker last failed with; forgotten once one answers.
    last_word: Mutex<Option<String>>,
    /// When each topic was first heard of: made here, or found.
    heard: Mutex<HashMap<String, Heard>>,
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
            heard: Mutex::default(),
        })
    }

    pub(super) fn client(&self) -> &Client {
        self.errors.client()
    }

    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Starts a call and waits for its answer.
    pub(super) fn ask(
        &self,
        what: &str,
        until: Instant,
        start: impl FnOnce(&Ask<'_>) -> Result<(), Fault>,
    ) -> Result<Event, LogError> {
        self.ask_of(&self.errors, what, until, start)?
            .map_err(|fault| self.refused(what, fault))
    }

    /// The same of the client whose errors come to `errors`; a broker's refusal is left to the caller.
    pub(super) fn ask_of(
        &self,
        errors: &Queue,
        what: &str,
        until: Instant,
        start: impl FnOnce(&Ask<'_>) -> Result<(), Fault>,
    ) -> Result<Result<Event, Fault>, LogError> {
        let queue = errors.client().new_queue();
        let wait = until.saturating_duration_since(Instant::now());
        let ask = Ask {
            queue: &queue,
            wait,
            opaque: 0,
        };
        start(&ask).map_err(|fault| self.refused(what, fault))?;
        // The client's own timer runs out first, if only just.
        let answer = queue.poll(wait + Duration::from_millis(100));
        self.listen(errors);
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

    fn word(&self) -> MutexGuard<'_, Option<String>> {
        self.last_word
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the client's errors; "all brokers are down" says less than the one before it.
    pub(super) fn listen(&self, errors: &Queue) {
        while let Some(event) = errors.poll(Duration::ZERO) {
            if let Some(fault) = event.fault() {
                let mut word = self.word();
                if word.is_none() || fault.code != Code::AllBrokersDown {
                    *word = Some(fault.reason);
                }
            }
        }
    }

    pub(super) fn silent(&self, what: &str, code: Code) -> LogError {
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

    pub(super) fn refused(&self, what: &str, fault: Fault) -> LogError {
        LogError::Refused {
            what: what.to_owned(),
            reason: fault.reason,
        }
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a topic was heard of so recently that a broker may not know it yet.
    pub(super) fn is_new(&self, topic: &str) -> bool {
        match self.heard().get(topic) {
            Some(Heard::Found(since) | Heard::Made(since)) => since.elapsed() < TOPIC_TIMEOUT,
            Some(Heard::Not) | None => false,
        }
    }

    /// Whether a topic was surely made so recently that brokers may still be settling it.
    fn is_just_made(&self, topic: &str) -> bool {
        let heard = self.heard();
        matches!(heard.get(topic), Some(Heard::Made(since)) if since.elapsed() < TOPIC_TIMEOUT)
    }

    fn was_made(&self, topic: &str) {
        let made = Heard::Made(Instant::now());
        self.heard().insert(topic.to_owned(), made);
    }

    /// Notes which topics a broker knows.
    fn hear(&self, topics: &[&str], found: &HashMap<String, Described>) {
        let mut heard = self.heard();
        for topic in topics {
            let now = Instant::now();
            let new = match (heard.get(*topic), found.contains_key(*topic)) {
                (None, false) => Heard::Not,
                (None, true) => Heard::Found(now),
                (Some(Heard::Not), true) => Heard::Made(now),
                // Another broker does not know it yet, or it was deleted.
                (Some(Heard::Found(since) | Heard::Made(since)), false)
                    if since.elapsed() >= TOPIC_TIMEOUT =>
                {
                    Heard::Not
                }
                (Some(_), _) => continue,
            };
            heard.insert((*topic).to_owned(), new);
        }
    }

    /// Those of the topics that exist. Each call may reach another broker, and one that has not heard
    /// of a new topic says that there is none, or has heard of some of its partitions: it is asked
    /// again then.
    pub(super) fn described(
        &self,
        topics: &[&str],
        until: Instant,
    ) -> Result<HashMap<String, Described>, LogError> {
        loop {
            let found = self.described_once(topics, until)?;
            self.hear(topics, &found);
            let is_settled = |topic: &&str| match found.get(*topic) {
                None => !self.is_new(topic),
                Some(found) => found.leaderless == 0 || !self.is_just_made(topic),
            };
            if Instant::now() + AGAIN >= until || topics.iter().all(is_settled) {
                return Ok(found);
            }
            thread::sleep(AGAIN);
        }
    }

    fn described_once(
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
                // One that has no partitions yet cannot be used: it is about to be made.
                None if topic.partitions == 0 => {}
                None => {
                    found.insert(topic.name.clone(), topic);
                }
                Some(fault)
                    if matches!(
                        fault.code,
                        Code::UnknownTopicOrPartition
                            | Code::UnknownTopic
                            | Code::LeaderNotAvailable
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
        let mut settings = HashMap::new();
        let mut left: Vec<&str> = found.keys().map(String::as_str).collect();
        while !left.is_empty() {
            left = self.set(&left, &mut settings, until)?;
            left.retain(|topic| self.is_new(topic));
            if Instant::now() + AGAIN >= until {
                break;
            }
            if !left.is_empty() {
                thread::sleep(AGAIN);
            }
        }
        Ok(topics
            .iter()
            .map(|topic| Some(info(found.get(*topic)?, settings.get(*topic)?)))
            .collect())
    }

    /// Reads topics' settings; gives back the topics that the broker does not know.
    fn set<'t>(
        &self,
        topics: &[&'t str],
        settings: &mut HashMap<&'t str, BTreeMap<String, String>>,
        until: Instant,
    ) -> Result<Vec<&'t str>, LogError> {
        let answer = self.ask("reading topics' settings", until, |ask| {
            self.client().describe_configs(topics, ask)
        })?;
        let mut unknown = Vec::new();
        for (topic, set) in topics.iter().zip(answer.settings()) {
            match set {
                Ok(set) => {
                    settings.insert(*topic, set);
                }
                Err(fault) if fault.code == Code::UnknownTopicOrPartition => unknown.push(*topic),
                Err(fault) => {
                    let what = format!("reading the settings of topic `{topic}`");
                    return Err(self.refused(&what, fault));
                }
            }
        }
        Ok(unknown)
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
            Ok(()) => self.was_made(&topic.name),
            Err(fault) if fault.code == Code::TopicAlreadyExists => {
                // By a twin, a moment ago.
                self.was_made(&topic.name);
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
                self.was_made(&topic.name);
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
        replicas: topic.replicas,
        in_sync: topic.in_sync,
        min_in_sync: set("min.insync.replicas").parse().unwrap_or(1),
    }
}
