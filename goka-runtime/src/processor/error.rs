//! Why a processor does not start, and how it ends: each says what, where and what to do.

use std::time::Duration;

use super::options::OptionError;
use crate::core::StopReason;
use crate::graph::Location;
use crate::log::{LogError, after};
use crate::shared_error::SharedError;
use crate::table::StoreError;
use crate::text::counted;
use crate::view::ViewError;

/// Why a processor does not start: what, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log does not answer, or refuses.
    #[error("group `{group}`: {source}")]
    Log {
        /// The group.
        group: String,
        /// The error of the log.
        source: LogError,
    },
    /// Streams are missing, and this log does not create them.
    #[error("group `{group}` ({location}): topics do not exist{}: {}; create them: {}", after(*.waited), names(.topics), commands(.topics))]
    MissingTopics {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// Each with the partitions it needs.
        topics: Vec<(String, i32)>,
        /// How long they were waited for; zero where nothing that is missing appears.
        waited: Duration,
    },
    /// Topics of the group have different partition counts.
    #[error("{mismatch} ({location})")]
    Copartition {
        /// The counts.
        mismatch: Mismatch,
        /// Where the group is declared.
        location: Location,
    },
    /// A topic has another partition count than declared.
    #[error(
        "topic `{topic}` has {}, {location} declares {declared}; correct the declaration",
        counted(*found, "partition")
    )]
    OtherCount {
        /// The topic.
        topic: String,
        /// The count of the topic.
        found: i32,
        /// The declared count.
        declared: i32,
        /// Where.
        location: Location,
    },
    /// A table that is joined does not exist.
    #[error(
        "group `{group}` ({location}): table `{table}` does not exist{}; run the processor that writes it first",
        after(*.waited)
    )]
    MissingTable {
        /// The group.
        group: String,
        /// The table's topic.
        table: String,
        /// Where it is joined.
        location: Location,
        /// How long it was waited for; zero where nothing that is missing appears.
        waited: Duration,
    },
    /// The group's loop or visit topic would lose records that were not handled yet.
    #[error(
        "topic `{topic}` of group `{group}` keeps records for less than seven days, so an outage could \
         lose some; set cleanup.policy=delete and retention.ms=604800000 or more"
    )]
    LoopRetention {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// The group's loop or visit topic would lose records that were not handled yet.
    #[error(
        "topic `{topic}` of group `{group}` is compacted, so of records with one key that wait in it \
         only the last would be handled; set cleanup.policy=delete and retention.ms=604800000 or more"
    )]
    LoopCompacted {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// A table that is joined would lose rows.
    #[error(
        "table `{topic}`, which group `{group}` joins ({location}), is not compacted \
         (cleanup.policy={policy}), so its rows would expire; have its owner set \
         cleanup.policy=compact, or declare it as a stream"
    )]
    JoinNotCompacted {
        /// The group.
        group: String,
        /// The table's topic.
        topic: String,
        /// Its policy.
        policy: &'static str,
        /// Where it is joined.
        location: Location,
    },
    /// The group topic would lose the table's rows.
    #[error(
        "group topic `{topic}` of `{group}` is not compacted (cleanup.policy={policy}), so the table's \
         rows would expire; set it: kafka-configs.sh --bootstrap-server <brokers> --alter --entity-type \
         topics --entity-name {topic} --add-config cleanup.policy=compact"
    )]
    NotCompacted {
        /// The group.
        group: String,
        /// The group topic.
        topic: String,
        /// Its policy.
        policy: &'static str,
    },
    /// A topic that the group writes to keeps fewer copies than a record has to have.
    #[error(
        "topic `{topic}`, to which group `{group}` writes, has {}, and its \
         min.insync.replicas asks for {wanted} in sync: no record could have as many copies; give it \
         more replicas (kafka-reassign-partitions.sh), or ask for fewer: kafka-configs.sh \
         --bootstrap-server <brokers> --alter --entity-type topics --entity-name {topic} --add-config \
         min.insync.replicas={replicas}",
        counted(*replicas, "replica")
    )]
    TooFewReplicas {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// How many copies it keeps.
        replicas: usize,
        /// How many it asks for.
        wanted: usize,
    },
    /// A time in the options is not possible.
    #[error("group `{group}` ({location}): {source}")]
    Options {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// Which, and why.
        source: Box<OptionError>,
    },
    /// Exactly once, the log would end a transaction before its barrier does.
    #[error(
        "group `{group}` ({location}): a barrier every {barrier:?} takes longer than a transaction may \
         be open, which is {timeout:?}; set a shorter barrier interval or a longer transaction timeout"
    )]
    TransactionTimeout {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// How often a barrier runs.
        barrier: Duration,
        /// How long a transaction may be open.
        timeout: Duration,
    },
    /// A table that is looked up cannot be followed.
    #[error("group `{group}` ({location}): {source}")]
    Lookup {
        /// The group.
        group: String,
        /// Where it is looked up.
        location: Location,
        /// Why.
        source: Box<ViewError>,
    },
    /// The local stores cannot hold the group's tables.
    #[error("group `{group}` ({location}): {source}")]
    Store {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// Why.
        source: StoreError,
    },
    /// The system gives no thread for the worker.
    #[error("group `{group}` ({location}): no thread for its worker: {source}")]
    Thread {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// The error of the system.
        source: SharedError,
    },
    /// The graph cannot be run as it is.
    #[error("group `{group}` ({location}): {reason}")]
    Graph {
        /// The group.
        group: String,
        /// Where it is declared.
        location: Location,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Topics of one group that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the topics of group `{group}` need one partition count, found {}; recreate the odd ones, or write \
     them again into topics of {} partitions",
    counts(.topics),
    .topics.iter().map(|counted| counted.partitions).max().unwrap_or_default()
)]
pub struct Mismatch {
    /// The group.
    pub group: String,
    /// Every topic with its count, in the order of the group's edges.
    pub topics: Vec<Counted>,
}

/// A topic and its partition count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
}

fn counts(topics: &[Counted]) -> String {
    let counts: Vec<_> = topics
        .iter()
        .map(|counted| format!("`{}` with {}", counted.topic, counted.partitions))
        .collect();
    counts.join(", ")
}

fn names(topics: &[(String, i32)]) -> String {
    let quoted: Vec<_> = topics.iter().map(|(name, _)| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn commands(topics: &[(String, i32)]) -> String {
    let lines: Vec<_> = topics
        .iter()
        .map(|(name, count)| {
            format!(
                "kafka-topics.sh --bootstrap-server <brokers> --create --topic {name} --partitions {count}"
            )
        })
        .collect();
    lines.join(" && ")
}

/// Why a processor ended, or what of it did not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessorError {
    /// Nothing could go on.
    #[error("group `{group}`: {cause}")]
    Failed {
        /// The group.
        group: String,
        /// Why.
        #[source]
        cause: StopReason,
    },
    /// Partitions stopped; the others went on.
    #[error("group `{group}`: {} stopped, the first of them: {}", numbers(.stopped), first(.stopped))]
    Stopped {
        /// The group.
        group: String,
        /// Each with its cause.
        stopped: Vec<(i32, StopReason)>,
    },
    /// It stopped before it could commit the last records that it handled.
    #[error(
        "group `{group}`: the last records that it handled could not be committed in time; they are \
         handled again by the next owners of their partitions"
    )]
    Uncommitted {
        /// The group.
        group: String,
    },
    /// The worker's thread panicked: a defect of this library.
    #[error("group `{group}`: the worker panicked; this is a defect of goka")]
    Panicked {
        /// The group.
        group: String,
    },
}

/// So many partitions are named one by one.
const NAMED: usize = 16;

fn numbers(stopped: &[(i32, StopReason)]) -> String {
    let s = if stopped.len() == 1 { "" } else { "s" };
    let numbers: Vec<_> = stopped.iter().map(|(at, _)| at.to_string()).collect();
    match numbers.len() {
        0..=NAMED => format!("partition{s} {}", numbers.join(", ")),
        count => format!("{count} partitions ({}, ..)", numbers[..NAMED].join(", ")),
    }
}

fn first(stopped: &[(i32, StopReason)]) -> String {
    stopped
        .first()
        .map(|(_, cause)| cause.to_string())
        .unwrap_or_default()
}
