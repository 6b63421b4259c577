//! Questions to the cluster, each with a deadline; the client's last error says why one failed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::super::topics::{DELETE_RETENTION, MAX_MESSAGE_BYTES};
use super::super::{CleanupPolicy, ClusterId, LogError, NewTopic, TopicInfo, lock};
use super::codes::{is_final, is_unreachable};
use super::config::{KafkaConfig, Properties};
use super::native::{Ask, Client, Code, Described, Event, Fault, Kind, Queue, text};

/// How long a missing topic is waited for, and how long after it was first found a broker may still not
/// know it. A new topic reaches the brokers one after the other, usually within a second.
pub(super) const TOPIC_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before a request is repeated that had no final answer.
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
    /// The last error of a connection to a broker; cleared once a broker answers.
    last_error: Mutex<Option<String>>,
    /// When each topic was first heard of: made here, or found.
    heard: Mutex<HashMap<String, Heard>>,
}

impl Admin {
    pub(super) fn new(config: KafkaConfig) -> Result<Self, LogError> {
        Ok(Self {
            errors: asking(Kind::RD_KAFKA_PRODUCER, &config.asking())?,
            config,
            last_error: Mutex::default(),
            heard: Mutex::default(),
        })
    }

    pub(super) fn client(&self) -> &Client {
        self.errors.client()
    }

    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.config.deadline
    }

    /// Starts a call and waits for its answer; once more, until there is no time left, when it failed
    /// with what may pass.
    pub(super) fn ask(
        &self,
        what: &str,
        until: Instant,
        start: impl Fn(&Ask<'_>) -> Result<(), Fault>,
    ) -> Result<Event, LogError> {
        loop {
            match self.ask_once(what, until, &start) {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(fault)) => self.again(what, &fault, until)?,
                Err(error) if !has_time(until) => return Err(error),
                // A connection that broke.
                Err(LogError::Timeout { .. } | LogError::Unreachable { .. }) => {
                    thread::sleep(AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits a moment before what failed is asked again. The error is the fault, where that would change
    /// nothing or no time is left.
    pub(super) fn again(&self, what: &str, fault: &Fault, until: Instant) -> Result<(), LogError> {
        if is_final(fault.code) {
            return Err(self.refused(what, fault.clone()));
        }
        if !has_time(until) {
            return Err(self.late(format!("{what}: {}", fault.reason)));
        }
        thread::sleep(AGAIN);
        Ok(())
    }

    /// Starts a call and waits for its answer; a broker's refusal is left to the caller.
    fn ask_once(
        &self,
        what: &str,
        until: Instant,
        start: impl FnOnce(&Ask<'_>) -> Result<(), Fault>,
    ) -> Result<Result<Event, Fault>, LogError> {
        let errors = &self.errors;
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
                    *lock(&self.last_error) = None;
                    Ok(Ok(answer))
                }
                Some(fault) if is_unreachable(fault.code) => Err(self.silent(what, fault.code)),
                Some(fault) => Ok(Err(fault)),
            },
        }
    }

    fn late(&self, what: impl Into<String>) -> LogError {
        LogError::late(what, self.config.deadline)
    }

    /// Takes the client's errors; "all brokers are down" says less than the one before it.
    pub(super) fn listen(&self, errors: &Queue) {
        while let Some(event) = errors.poll(Duration::ZERO) {
            if let Some(fault) = event.fault() {
                let mut last = lock(&self.last_error);
                if last.is_none() || fault.code != Code::AllBrokersDown {
                    *last = Some(fault.reason);
                }
            }
        }
    }

    pub(super) fn silent(&self, what: &str, code: Code) -> LogError {
        match lock(&self.last_error).clone() {
            None if matches!(code, Code::OperationTimedOut | Code::TimedOutQueue) => {
                self.late(what)
            }
            last => LogError::Unreachable {
                brokers: self.config.brokers.clone(),
                reason: last.unwrap_or_else(|| text(code)),
            },
        }
    }

    pub(super) fn refused(&self, what: &str, fault: Fault) -> LogError {
        if fault.code != Code::UnsupportedFeature {
            return LogError::refused(what, fault);
        }
        let reason = format!("{}; Apache Kafka 2.4 or later is needed", fault.reason);
        LogError::refused_for(what, reason, Some(fault.into()))
    }

    /// Whether a topic was heard of so recently that a broker may not know it yet.
    pub(super) fn is_new(&self, topic: &str) -> bool {
        match lock(&self.heard).get(topic) {
            Some(Heard::Found(since) | Heard::Made(since)) => since.elapsed() < TOPIC_TIMEOUT,
            Some(Heard::Not) | None => false,
        }
    }

    /// Whether a topic was created so recently that some brokers may not know it yet.
    fn is_just_made(&self, topic: &str) -> bool {
        let heard = lock(&self.heard);
        matches!(heard.get(topic), Some(Heard::Made(since)) if since.elapsed() < TOPIC_TIMEOUT)
    }

    fn was_made(&self, topic: &str) {
        let made = Heard::Made(Instant::now());
        lock(&self.heard).insert(topic.to_owned(), made);
    }

    fn hear(&self, topics: &[&str], found: &HashMap<String, Described>) {
        let mut heard = lock(&self.heard);
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
        use Code::{LeaderNotAvailable, UnknownTopic, UnknownTopicOrPartition};
        let mut found = HashMap::new();
        if topics.is_empty() {
            return Ok(found);
        }
        'asking: loop {
            let answer = self.ask("describing topics", until, |ask| {
                self.client().describe_topics(topics, ask)
            })?;
            found.clear();
            for topic in answer.described() {
                match topic.error.as_ref().map(|fault| (fault.code, fault)) {
                    // One that has no partitions yet cannot be used: it is about to be made.
                    None if topic.partitions == 0 => {}
                    None => {
                        found.insert(topic.name.clone(), topic);
                    }
                    Some((UnknownTopicOrPartition | UnknownTopic | LeaderNotAvailable, _)) => {}
                    Some((_, fault)) => {
                        let what = format!("describing topic `{}`", topic.name);
                        self.again(&what, fault, until)?;
                        continue 'asking;
                    }
                }
            }
            self.hear(topics, &found);
            let is_visible = |topic: &&str| match found.get(*topic) {
                None => !self.is_new(topic),
                Some(found) => found.leaderless == 0 || !self.is_just_made(topic),
            };
            if !has_time(until) || topics.iter().all(is_visible) {
                return Ok(found);
            }
            thread::sleep(AGAIN);
        }
    }

    pub(super) fn describe(&self, topics: &[&str]) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let until = self.until();
        let found = self.described(topics, until)?;
        let mut settings = HashMap::new();
        let mut left: Vec<&str> = found.keys().map(String::as_str).collect();
        'asking: while !left.is_empty() {
            let answer = self.ask("reading topics' settings", until, |ask| {
                self.client().describe_configs(&left, ask)
            })?;
            let mut unknown = Vec::new();
            for (topic, set) in left.iter().zip(answer.settings()) {
                match set {
                    Ok(set) => {
                        settings.insert(*topic, set);
                    }
                    Err(fault) if fault.code == Code::UnknownTopicOrPartition => {
                        unknown.push(*topic);
                    }
                    Err(fault) => {
                        let what = format!("reading the settings of topic `{topic}`");
                        self.again(&what, &fault, until)?;
                        continue 'asking;
                    }
                }
            }
            left = unknown;
            left.retain(|topic| self.is_new(topic));
            if !has_time(until) {
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

    pub(super) fn create(&self, topic: &NewTopic) -> Result<(), LogError> {
        let until = self.until();
        let mut settings = vec![
            ("message.timestamp.type", "CreateTime".to_owned()),
            (
                "cleanup.policy",
                if topic.compact { "compact" } else { "delete" }.to_owned(),
            ),
        ];
        // What is derived from a record has its timestamp, and an input may take any.
        settings.extend(TIMESTAMP_LIMITS.map(|limit| (limit, i64::MAX.to_string())));
        if let Some(retention) = topic.retention {
            settings.push(("retention.ms", retention.as_millis().to_string()));
        }
        let what = format!("creating topic `{}`", topic.name);
        // An attempt whose outcome is not known may have made it.
        let mut may_be_ours = false;
        loop {
            let asked = self.ask_once(&what, until, |ask| {
                self.client()
                    .create_topic(&topic.name, topic.partitions, &settings, ask)
            });
            let fault = match asked {
                Ok(Ok(answer)) => match answer.created() {
                    Ok(()) => break,
                    Err(fault) => fault,
                },
                Ok(Err(fault)) => fault,
                Err(LogError::Timeout { .. } | LogError::Unreachable { .. }) if has_time(until) => {
                    may_be_ours = true;
                    thread::sleep(AGAIN);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let limits = settings.len();
            settings.retain(|(setting, _)| {
                fault.code != Code::InvalidConfig || !TIMESTAMP_LIMITS.contains(setting)
            });
            if settings.len() < limits {
                // A broker before 3.6 does not know them, and takes any timestamp.
                continue;
            }
            if fault.code == Code::TopicAlreadyExists {
                // By another process, a moment ago, or by us.
                self.was_made(&topic.name);
                if may_be_ours {
                    break;
                }
                return Err(LogError::topic_exists(&topic.name));
            }
            may_be_ours = true;
            self.again(&what, &fault, until)?;
        }
        self.was_made(&topic.name);
        loop {
            let found = self.described(&[&topic.name], until)?;
            let found = found.get(&topic.name);
            if found.is_some_and(|it| it.partitions == topic.partitions && it.leaderless == 0) {
                self.was_made(&topic.name);
                return Ok(());
            }
            if !has_time(until) {
                // A broker may report fewer partitions for a moment, but not for so long.
                if found.is_some_and(|it| it.partitions != topic.partitions) {
                    return Err(LogError::topic_exists(&topic.name));
                }
                return Err(self.late(format!("waiting for the leaders of topic `{}`", topic.name)));
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
        let unnamed = || LogError::refused_for(what, "the broker names none", None);
        answer.cluster().ok_or_else(unnamed)
    }
}

/// How far timestamps of records may be from the broker's time; since Kafka 3.6 (KIP-937).
const TIMESTAMP_LIMITS: [&str; 2] = [
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
];

/// Makes a client that asks. Its errors come to the queue, which has it.
pub(super) fn asking(kind: Kind, properties: &Properties) -> Result<Queue, LogError> {
    let client = Client::new(kind, properties);
    let client = client.map_err(|fault| LogError::client("making the Kafka client", fault))?;
    Ok(client.main_queue())
}

/// Whether something may be asked again before `until`.
pub(super) fn has_time(until: Instant) -> bool {
    Instant::now() + AGAIN < until
}

fn info(topic: &Described, settings: &BTreeMap<String, String>) -> TopicInfo {
    let set = |name: &str| settings.get(name).map_or("", String::as_str);
    let policies: Vec<&str> = set("cleanup.policy").split(',').map(str::trim).collect();
    let policy = CleanupPolicy {
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
        delete_retention: millis("delete.retention.ms").unwrap_or(DELETE_RETENTION),
        max_message_bytes: set("max.message.bytes")
            .parse()
            .unwrap_or(MAX_MESSAGE_BYTES),
        replicas: topic.replicas,
        in_sync: topic.in_sync,
        min_in_sync: set("min.insync.replicas").parse().unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    /// It writes nothing, so nothing that ends a producer keeps it from asking.
    #[test]
    fn a_client_that_only_asks_goes_on_after_a_fatal_error() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("topic", 1, 1).expect("made");
        let config = KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            ..KafkaConfig::default()
        };
        let admin = Admin::new(config).expect("a client");
        let at = [crate::record::TopicPartition::new("topic", 0)];
        for round in 0..2 {
            let list = super::super::offsets::list(&at, -1).expect("a list");
            let asked = admin.ask("asking", admin.until(), |ask| {
                let isolation = super::super::Isolation::ReadUncommitted;
                admin.client().list_offsets(&list, isolation, ask);
                Ok(())
            });
            let found = asked.expect("answered").offsets();
            assert_eq!(
                (found[0].offset, found[0].error),
                (0, None),
                "round {round}"
            );
            admin.client().end(Code::Inconsistent, "as asked");
        }
    }

    /// librdkafka refuses the call itself, by the versions that a broker says it has.
    #[test]
    fn what_a_broker_is_too_old_for_is_refused_with_the_version_that_is_needed() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let config = KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            ..KafkaConfig::default()
        };
        let admin = Admin::new(config).expect("a client");
        let fault = Fault {
            code: Code::UnsupportedFeature,
            reason: "ListOffsets is not supported by broker".to_owned(),
        };
        let error = admin.refused("asking for offsets", fault).to_string();
        assert!(error.contains("ListOffsets is not supported"), "{error}");
        assert!(error.contains("Apache Kafka 2.4 or later"), "{error}");
    }
}
