//! Which properties each client gets, and why. What is ours to set cannot be overridden.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{Group, Isolation, LogError};

/// How to reach a Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// The addresses to start from: `host:port`, several with commas between.
    pub brokers: String,
    /// librdkafka's properties, for all clients, applied last: security, compression, buffers.
    pub properties: BTreeMap<String, String>,
    /// How long a call waits for a broker.
    pub deadline: Duration,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            properties: BTreeMap::new(),
            deadline: Duration::from_secs(10),
        }
    }
}

/// Properties that carry the guarantees.
const OURS: &[&str] = &[
    "acks",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "max.poll.interval.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

pub(super) type Properties = BTreeMap<String, String>;

impl KafkaConfig {
    /// Refuses properties that are ours.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.properties.keys().find(|key| OURS.contains(&&***key)) {
            Some(key) => Err(LogError::failed(
                format!("client property `{key}`"),
                "goka sets it itself; remove it",
            )),
            None => Ok(()),
        }
    }

    fn with(&self, own: &[(&str, &str)]) -> Properties {
        let of_all = [
            ("bootstrap.servers", &*self.brokers),
            ("client.id", "goka"),
            // A broker that comes back is found within a second, not ten.
            ("reconnect.backoff.max.ms", "1000"),
            // A missing topic is reported after five seconds, not thirty.
            ("topic.metadata.propagation.max.ms", "5000"),
        ];
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut all: Properties = of_all.iter().chain(own).map(owned).collect();
        all.extend(self.properties.clone());
        all
    }

    /// For a client that only asks.
    pub(super) fn asking(&self) -> Properties {
        // Most questions go to the broker that the last metadata named as the controller, those about
        // offsets to leaders that it named. This client does not notice when one of them dies unless
        // something goes wrong on a connection of its own: at the default of five minutes it would
        // wait there, unanswered, long after the cluster has others.
        self.with(&[("topic.metadata.refresh.interval.ms", "2000")])
    }

    /// For a client that asks about one group and never joins it.
    pub(super) fn asking_of(&self, group: &str) -> Properties {
        self.with(&[("group.id", group), ("enable.auto.commit", "false")])
    }

    /// The same, for what is committed now, whatever transactions are pending.
    pub(super) fn asking_of_now(&self, group: &str) -> Properties {
        let mut all = self.asking_of(group);
        all.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
        all
    }

    /// For a member of a group.
    pub(super) fn member(&self, group: &Group) -> Properties {
        let millis = |time: Duration| time.as_millis().to_string();
        let instance = instance(group);
        let mut own = vec![
            ("group.id", &*group.name),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("isolation.level", "read_committed"),
            // A position that is gone is reported, never replaced.
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // The default of a second starves a fast reader.
            ("fetch.queue.backoff.ms", "2"),
            // A partition that is added waits for the fetch under way; each fetch names all partitions.
            ("fetch.wait.max.ms", "250"),
            // A broker that had not heard of a new topic is asked again; at the default of five
            // minutes the group would be without its partitions so long.
            ("topic.metadata.refresh.interval.ms", "5000"),
        ];
        let times = [
            ("session.timeout.ms", millis(group.session_timeout)),
            ("max.poll.interval.ms", millis(group.max_poll_interval)),
            ("heartbeat.interval.ms", millis(heartbeat(group))),
        ];
        own.extend(times.iter().map(|(key, time)| (*key, &**time)));
        if !group.instance.is_empty() {
            own.push(("group.instance.id", &instance));
        }
        self.with(&own)
    }

    /// For a producer of transactions in the name of `id`.
    pub(super) fn transacting(&self, batch: usize, id: &str, timeout: Duration) -> Properties {
        let millis = timeout.as_millis();
        let own = [
            ("transactional.id", id),
            ("transaction.timeout.ms", &millis.to_string()),
            // A record that outlives its transaction is worth nothing.
            ("message.timeout.ms", &millis.min(30_000).to_string()),
            // What the one call that cannot be cut short may take beyond its time.
            ("socket.timeout.ms", &millis.clamp(10, 5_000).to_string()),
        ];
        let mut all = self.producing(batch, &own);
        // Whether brokers fence offsets by the group's generation shows in these log lines only.
        let debug = all.entry("debug".to_owned()).or_default();
        let comma = if debug.is_empty() { "" } else { "," };
        *debug = format!("{debug}{comma}feature");
        all
    }

    /// For a producer whose batches stay below `batch` bytes, with more properties of its `own`.
    pub(super) fn producing(&self, batch: usize, own: &[(&str, &str)]) -> Properties {
        let batch = batch.clamp(1, 1_000_000).to_string();
        let of_all = [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("linger.ms", "5"),
            ("batch.size", &*batch),
            // The largest that it takes: the topic decides what is too large.
            ("message.max.bytes", "1000000000"),
            ("queue.buffering.max.messages", "200000"),
            ("queue.buffering.max.kbytes", "1048576"),
            // Above what a change of leaders takes, so that it is ridden out.
            ("message.timeout.ms", "30000"),
        ];
        self.with(&[&of_all, own].concat())
    }

    /// For reading without a group.
    pub(super) fn reading(&self, isolation: Isolation) -> Properties {
        let level = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        self.with(&[
            ("isolation.level", level),
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("auto.commit.enable", "false"),
            // Where the end is shows in these events only.
            ("enable.partition.eof", "true"),
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.wait.max.ms", "10"),
        ])
    }
}

/// How often a member tells its group that it lives, and hears of a rebalance: partitions of one that
/// leaves wait for that.
pub(super) fn heartbeat(group: &Group) -> Duration {
    (group.session_timeout / 3).clamp(Duration::from_millis(1), Duration::from_millis(500))
}

/// The static identity of a member.
pub(super) fn instance(group: &Group) -> String {
    format!("{}-{}", group.instance, group.worker)
}
