//! A member of a group.
//!
//! - A stateful group subscribes to its table's topic only: the lead. Its partitions are never
//!   fetched; the inputs are added to the client's assignment by [`Member::fetch`].
//! - A rebalance is an event in the client's queue. It is taken from there first and answered after,
//!   so that a barrier can run between with the whole member at hand.
//! - While a revocation is unanswered nothing else may take partitions away: librdkafka would take
//!   that for the answer. So a task that is released is paused, and moved when it is fetched again.
//! - Records come from a queue of our own, to which each partition is forwarded: batches taken from
//!   the consumer's queue would swallow rebalances.

mod events;
mod fetch;
mod leave;
mod orphans;
mod rebalance;
mod settle;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{
    CommitBatch, CommitOutcome, Committer, Driver, Epoch, Failure, Group, KeepAlive, LogError,
    Member, MemberEvent,
};
use super::client_error;
use super::codes::is_unreachable;
use super::config::{KafkaConfig, instance};
use super::native::{Ask, Client, Code, Event, EventKind, Fault, Kind, Queue};
use super::producer::Producer;
use crate::record::{Appends, Guarantee, Offset, TaskId, TopicId};
use events::Events;
use fetch::InHand;

/// How long one look at the queues may sleep while something else can come.
const GLANCE: Duration = Duration::from_millis(20);

/// What marks the answer to a probe.
const PROBE: usize = 1;

/// How long a probe waits, and how long until the next one.
const PROBE_WAIT: Duration = Duration::from_secs(2);

pub(super) struct KafkaMember {
    config: KafkaConfig,
    group: Group,
    batch_bytes: usize,
    /// Records taken from the client that the driver did not take yet.
    in_hand: InHand,
    records: Queue,
    commits: Queue,
    events: Arc<Events>,
    producer: Producer,
    tasks: BTreeMap<TaskId, Task>,
    /// The name under which the group was last looked at for what is nobody's.
    named: String,
    /// Exactly once, the unit whose outcome is not known.
    unfinished: Option<transaction::Unfinished>,
    epoch: u64,
    lookup: rebalance::Lookup,
    commit: usize,
    paused: bool,
    /// When the client is asked next where it has come to.
    next_positions: Instant,
    positions_every: Duration,
    trouble: Option<Trouble>,
    failing: Option<fetch::Failing>,
    next_probe: Option<Instant>,
    /// What a broker last failed with.
    complaint: Option<String>,
    /// What ended the member.
    dead: Option<LogError>,
    left: bool,
}

/// A task given by the group.
struct Task {
    epoch: Epoch,
    since: Instant,
    /// Whether the driver was told.
    known: bool,
    /// What of its inputs is in the client's assignment.
    added: BTreeMap<TopicId, Flow>,
}

/// How an input that is in the client's assignment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// It is fetched, and told about up to there.
    On(Offset),
    /// It is paused; whatever still comes is dropped.
    Off,
    /// The client gave it up.
    Broken,
}

/// What may heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// No broker answers; a probe shows when one does.
    Brokers,
    /// A subscribed topic is missing; an assignment ends it.
    Subscription,
    /// Committed offsets cannot be read; the lookup ends it.
    Lookup,
    /// Records cannot be fetched; a while without such a failure ends it.
    Fetch,
}

impl KafkaMember {
    pub(super) fn join(
        config: KafkaConfig,
        group: Group,
        batch_bytes: usize,
    ) -> Result<Self, LogError> {
        let failed = |fault: Fault| client_error(format!("joining group `{}`", group.name), fault);
        let client = Client::new(Kind::Consumer, &config.member(&group)).map_err(failed)?;
        let producer = Producer::new(&config, &group, batch_bytes)?;
        client.subscribe(&leads(&group)).map_err(failed)?;
        Ok(Self {
            in_hand: InHand::default(),
            records: client.new_queue(),
            commits: client.new_queue(),
            events: Arc::new(Events::of(&client)),
            producer,
            tasks: BTreeMap::new(),
            named: String::new(),
            unfinished: None,
            epoch: 0,
            lookup: rebalance::Lookup::default(),
            commit: 0,
            paused: false,
            next_positions: Instant::now(),
            positions_every: fetch::POSITIONS[0],
            trouble: None,
            failing: None,
            next_probe: None,
            complaint: None,
            dead: None,
            left: false,
            config,
            group,
            batch_bytes,
        })
    }

    fn client(&self) -> &Client {
        self.events.client()
    }

    fn topic_id(&self, name: &str) -> Option<TopicId> {
        let at = self.group.topics.iter().position(|topic| **topic == *name);
        at.and_then(|at| u16::try_from(at).ok()).map(TopicId)
    }

    /// Handles what was taken; tells whether the driver heard something.
    fn handle(&mut self, driver: &mut dyn Driver) -> Result<bool, LogError> {
        let mut told = false;
        while let Some((event, lost)) = self.events.next() {
            told |= match event.kind() {
                EventKind::Assign => self.assigned(&event.places(), driver)?,
                EventKind::Revoke => self.revoked(&event.places(), lost, driver)?,
                EventKind::Error => self.complained(&event, driver)?,
                EventKind::Answer if event.opaque() == PROBE => self.probed(&event, driver),
                EventKind::Answer
                | EventKind::Deliveries
                | EventKind::Commit
                | EventKind::Other => false,
            };
        }
        Ok(told)
    }

    fn complained(&mut self, event: &Event, driver: &mut dyn Driver) -> Result<bool, LogError> {
        let Some(fault) = event.fault() else {
            return Ok(false);
        };
        // A consumer's event has the code of the failure itself, and not the one of all fatal ones.
        if event.is_fatal() || self.client().fatal().is_some() {
            return Err(self.fatal(fault));
        }
        let refused = |what| LogError::Refused {
            what,
            reason: fault.reason.clone(),
        };
        match fault.code {
            Code::AllBrokersDown => {
                let reason = self.complaint.clone().unwrap_or(fault.reason);
                Ok(self.in_trouble(Trouble::Brokers, reason, driver))
            }
            code if is_unreachable(code) => {
                self.complaint = Some(fault.reason);
                Ok(false)
            }
            Code::GroupAuthorizationFailed | Code::InvalidGroupId => {
                Err(refused(format!("joining group `{}`", self.group.name)))
            }
            Code::InvalidSessionTimeout => Err(LogError::Refused {
                what: format!(
                    "a session timeout (`--session`) of {} ms for group `{}`",
                    self.group.session_timeout.as_millis(),
                    self.group.name
                ),
                reason: format!(
                    "{}; set one between the broker's `group.min.session.timeout.ms` and \
                     `group.max.session.timeout.ms`, or change those",
                    fault.reason
                ),
            }),
            Code::TopicAuthorizationFailed => Err(refused(format!(
                "subscribing to topic `{}`",
                event.topic().unwrap_or_default()
            ))),
            // The group may get room, and members of another kind may leave it.
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::GroupMaxSizeReached
            | Code::InconsistentGroupProtocol => {
                Ok(self.in_trouble(Trouble::Subscription, fault.reason, driver))
            }
            code => {
                tracing::debug!(?code, reason = fault.reason, "the consumer complains");
                Ok(false)
            }
        }
    }

    fn fatal(&self, fault: Fault) -> LogError {
        let fault = self.client().fatal().unwrap_or(fault);
        match fault.code {
            Code::FencedInstanceId | Code::UnreleasedInstanceId => LogError::InstanceFenced {
                who: format!("group instance `{}`", instance(&self.group)),
                reason: fault.reason,
            },
            _ => client_error(format!("group `{}`", self.group.name), fault),
        }
    }

    fn in_trouble(&mut self, trouble: Trouble, reason: String, driver: &mut dyn Driver) -> bool {
        if self.trouble.is_some() {
            return false;
        }
        self.trouble = Some(trouble);
        self.next_probe = (trouble == Trouble::Brokers).then(Instant::now);
        driver.event(MemberEvent::Degraded(Some(reason)));
        true
    }

    fn healed(&mut self, trouble: Trouble, driver: &mut dyn Driver) -> bool {
        if self.trouble != Some(trouble) {
            return false;
        }
        self.trouble = None;
        self.next_probe = None;
        self.complaint = None;
        driver.event(MemberEvent::Degraded(None));
        true
    }

    /// While no broker answers, asks one now and then.
    fn probe(&mut self) {
        if self.next_probe.is_some_and(|next| next <= Instant::now()) {
            self.next_probe = None;
            self.client().describe_cluster(&Ask {
                queue: self.events.queue(),
                wait: PROBE_WAIT,
                opaque: PROBE,
            });
        }
    }

    fn probed(&mut self, answer: &Event, driver: &mut dyn Driver) -> bool {
        if answer.fault().is_none() {
            return self.healed(Trouble::Brokers, driver);
        }
        if self.trouble == Some(Trouble::Brokers) {
            self.next_probe = Some(Instant::now() + PROBE_WAIT / 4);
        }
        false
    }

    fn turn(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError> {
        let until = Instant::now() + max;
        loop {
            self.events.pull(Duration::ZERO);
            self.producer.serve(Duration::ZERO);
            self.producer.start()?;
            self.probe();
            let mut told = self.handle(driver)?;
            told |= self.look_up(driver)?;
            told |= self.fetches_again(driver);
            if told {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            let wait = left.min(GLANCE);
            let fetching = self.tasks.values().any(|task| !task.added.is_empty());
            if fetching && !self.paused {
                if self.take(wait, driver) {
                    return Ok(());
                }
            } else {
                self.events.pull(wait);
            }
            if left.is_zero() && self.events.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError> {
        if let Some(dead) = &self.dead {
            return Err(dead.clone());
        }
        self.turn(max, driver)
            .inspect_err(|error| self.dead = Some(error.clone()))
    }

    fn keep_alive(&self) -> Arc<dyn KeepAlive> {
        self.events.clone()
    }

    fn fetch(&mut self, task: TaskId, positions: &[(TopicId, Offset)]) -> Result<(), LogError> {
        self.start(task, positions)
    }

    fn release(&mut self, task: TaskId) {
        self.stop(task);
    }

    fn pause(&mut self, paused: bool) {
        // What is fetched stays in hand and in the queue, which is bounded by the client.
        self.paused = paused;
    }

    fn rebuild(&mut self) -> Result<(), LogError> {
        if self.group.guarantee == Guarantee::ExactlyOnce {
            // A new client would fence this one and end its transaction, and no more.
            let by = Instant::now() + self.config.deadline;
            let done = self.producer.abort(by);
            return done.map_err(|failure| LogError::Client {
                what: "aborting the transaction".to_owned(),
                reason: failure.to_string(),
            });
        }
        let new = Producer::new(&self.config, &self.group, self.batch_bytes)?;
        self.producer.purge();
        self.producer = new;
        Ok(())
    }

    fn close(mut self: Box<Self>, by: Instant) -> Result<(), LogError> {
        self.go(by, false)
    }

    fn leave(mut self: Box<Self>, by: Instant) -> Result<(), LogError> {
        self.go(by, true)
    }
}

impl Committer for KafkaMember {
    fn append(&mut self, appends: &Appends) {
        self.producer.append(appends);
    }

    fn commit(&mut self, unit: &CommitBatch, deadline: Instant) -> CommitOutcome {
        match self.group.guarantee {
            Guarantee::AtLeastOnce => self.settle_unit(unit, deadline),
            Guarantee::ExactlyOnce => self.settle_transaction(unit, deadline),
        }
    }

    fn abort(&mut self, deadline: Instant) -> Result<(), Failure> {
        match self.group.guarantee {
            // What is appended may be written already, and nothing takes it back.
            Guarantee::AtLeastOnce => Err(Failure::Fatal("no transaction is open".to_owned())),
            Guarantee::ExactlyOnce => self.producer.abort(deadline),
        }
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // Not closed, so not drained: what was appended and not settled is worth nothing. A
        // transaction is aborted, which purges what it may.
        if self.group.guarantee == Guarantee::AtLeastOnce {
            self.producer.purge();
        }
        let by = Instant::now() + self.config.deadline;
        if let Err(error) = self.go(by, false) {
            tracing::warn!(group = %self.group.name, %error, "left the group in a hurry");
        }
    }
}

/// What the group hands out.
fn leads(group: &Group) -> Vec<&str> {
    match group.lead {
        Some(table) => vec![group.topic(table)],
        None => group.inputs.iter().map(|id| &**group.topic(*id)).collect(),
    }
}

/// A failure that is not of one record or commit.
fn lost(task: TaskId) -> Failure {
    Failure::Lost(format!(
        "partition {} is not owned any more",
        task.partition
    ))
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::log::{CommitId, Fetched};
    use crate::record::{Append, AppendKind};

    #[derive(Default)]
    struct Owned(Vec<TaskId>);

    impl Driver for Owned {
        fn event(&mut self, event: MemberEvent<'_>) {
            if let MemberEvent::Assigned(assignments) = event {
                self.0.extend(assignments.iter().map(|of| of.task));
            }
        }

        fn batch(&mut self, fetched: Fetched<'_>) -> usize {
            fetched.records.len()
        }

        fn revoking(&mut self, _: &[TaskId], _: &mut dyn Committer) {}
    }

    #[test]
    fn a_member_writes_again_after_its_producer_ended() {
        let cluster = MockCluster::new(1).expect("a cluster");
        for topic in ["table", "input"] {
            cluster.create_topic(topic, 1, 1).expect("made");
        }
        let config = KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            ..KafkaConfig::default()
        };
        let group = Group {
            name: "group".into(),
            topics: ["table", "input"].map(Arc::from).to_vec(),
            inputs: vec![TopicId(1)],
            lead: Some(TopicId(0)),
            instance: String::new(),
            worker: 0,
            session_timeout: Duration::from_secs(6),
            max_poll_interval: Duration::from_secs(300),
            guarantee: Guarantee::AtLeastOnce,
            transaction_timeout: Duration::from_secs(10),
        };
        let mut member = KafkaMember::join(config, group, 1 << 20).expect("a member");
        let until = Instant::now() + Duration::from_secs(60);
        let mut owned = Owned::default();
        while owned.0.is_empty() {
            assert!(Instant::now() < until, "nothing is assigned");
            member.poll(GLANCE, &mut owned).expect("it lives");
        }
        let task = owned.0[0];
        let mut appends = Appends::default();
        appends.push(Append {
            task,
            kind: AppendKind::Changelog,
            topic: TopicId(0),
            partition: 0,
            key: Some(b"key"),
            value: Some(b"value"),
            timestamp: 1,
            headers: &[],
        });
        let settle = |member: &mut KafkaMember, id| {
            member.append(&appends);
            let unit = CommitBatch {
                id: CommitId(id),
                offsets: vec![(task, TopicId(1), 0, String::new())],
            };
            let mut settlement = member.commit(&unit, until);
            settlement.acks.remove(&task).expect("told")
        };
        assert!(settle(&mut member, 1).is_ok());
        member.producer.client().end(Code::Inconsistent, "as asked");
        let failure = settle(&mut member, 2).expect_err("its producer ended");
        assert!(matches!(failure, Failure::Fatal(_)), "{failure:?}");
        member.rebuild().expect("a new producer");
        assert!(settle(&mut member, 3).is_ok());
    }
}
