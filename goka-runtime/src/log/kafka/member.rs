//! A member of a consumer group on Kafka: a consumer and a producer, used by one worker's thread. It coordinates
//! its parts, which do not know each other's state: the tasks that the group assigned, the fetcher, the
//! committer, the producer, and its health.
//!
//! - A stateful group subscribes to its group topic only, the lead topic, whose partitions are never
//!   fetched; the inputs are added to the client's assignment by [`Member::fetch`].
//! - A rebalance is an event in the client's queue. The member takes it from the queue and answers it later,
//!   from `poll`, so that the driver's barrier can use the whole member before a revocation is answered.
//! - While a revocation is unanswered nothing else may take partitions away: librdkafka would take
//!   that for the answer. So a task that is released is paused, and moved when it is fetched again.
//! - Records come from a queue of our own, to which each partition is forwarded: reading batches from
//!   the consumer's queue would discard the rebalances in it.

mod assignment;
mod committer;
mod errors;
mod events;
mod fetcher;
mod health;
mod leave;
mod lookup;
#[cfg(test)]
pub(super) mod testing;
mod transactions;
mod unassigned;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{
    CommitBatch, CommitOutcome, Committer, Driver, Failure, Group, KeepAlive, LogError, Member,
    MemberEvent,
};
use super::config::KafkaConfig;
use super::member_producer::MemberProducer;
use super::native::{Ask, Client, Event, EventKind, Fault, Kind, List, Place};
use crate::record::{Appends, Guarantee, Offset, TaskId, TopicId};
use assignment::AssignedTasks;
use committer::OffsetCommitter;
use errors::{ConsumerError, classify, ended};
use events::Events;
use fetcher::Fetcher;
use health::{Degraded, Health, PROBE_TIMEOUT};
use leave::Leaving;
use lookup::OffsetLookup;
use transactions::TransactionCommit;
use unassigned::UnassignedCheck;

/// The longest wait for one queue, records or events, before the other one is looked at.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// The opaque of a probe, which its answer carries, too.
const PROBE: usize = 1;

pub(super) struct KafkaMember {
    group: Arc<Group>,
    /// How long a broker may take before the member counts as degraded.
    timeout: Duration,
    events: Arc<Events>,
    tasks: AssignedTasks,
    lookup: OffsetLookup,
    unassigned: UnassignedCheck,
    fetcher: Fetcher,
    /// Commits at least once.
    committer: OffsetCommitter,
    producer: MemberProducer,
    health: Health,
    /// The error that ended the member.
    ended: Option<LogError>,
    has_left: bool,
}

impl KafkaMember {
    pub(super) fn join(
        config: KafkaConfig,
        group: Group,
        batch_bytes: usize,
    ) -> Result<Self, LogError> {
        let group = Arc::new(group);
        let failed =
            |fault: Fault| LogError::client(format!("joining group `{}`", group.name), fault);
        let client =
            Client::new(Kind::RD_KAFKA_CONSUMER, &config.member(&group)).map_err(failed)?;
        let timeout = config.deadline;
        let producer = MemberProducer::new(config, Arc::clone(&group), batch_bytes)?;
        client.subscribe(&group.leads()).map_err(failed)?;
        Ok(Self {
            timeout,
            events: Arc::new(Events::of(&client)),
            tasks: AssignedTasks::default(),
            lookup: OffsetLookup::default(),
            unassigned: UnassignedCheck::default(),
            fetcher: Fetcher::new(&client, Arc::clone(&group)),
            committer: OffsetCommitter::new(&client, Arc::clone(&group)),
            producer,
            health: Health::new(timeout),
            ended: None,
            has_left: false,
            group,
        })
    }

    fn client(&self) -> &Client {
        self.events.client()
    }

    /// Handles the events taken from the client; returns whether the driver was called.
    fn handle(&mut self, driver: &mut dyn Driver) -> Result<bool, LogError> {
        let mut reported = false;
        while let Some((event, is_lost)) = self.events.next() {
            reported |= match event.kind() {
                EventKind::Assign => self.assigned(&event.places(), driver)?,
                EventKind::Revoke => self.revoked(&event.places(), is_lost, driver)?,
                EventKind::Error => self.failed(&event, driver)?,
                EventKind::Answer if event.opaque() == PROBE => {
                    self.health.probed(event.fault().is_none(), driver)
                }
                _ => false,
            };
        }
        Ok(reported)
    }

    /// Answers an assignment, with an empty list: partitions are fetched only from offsets that the driver
    /// chooses. The driver gets the tasks from `look_up`, once their committed offsets are known.
    fn assigned(&mut self, places: &[Place], driver: &mut dyn Driver) -> Result<bool, LogError> {
        let client = self.events.client();
        self.unassigned
            .rejoin_if_unassigned(client, &self.group, places)?;
        let tasks = self.group.tasks(places.iter().map(|place| &place.at));
        for task in &tasks {
            self.fetcher.forget(*task);
        }
        self.tasks.assign(tasks, Instant::now());
        client
            .incremental_assign(&List::new())
            .map_err(|fault| LogError::client("taking an assignment", fault))?;
        Ok(self.health.recover(Degraded::Subscription, driver))
    }

    /// Runs the driver's barrier, then gives back exactly what was added to the client's assignment. Without
    /// the barrier if the tasks are lost: others may own them, and a commit would be refused.
    fn revoked(
        &mut self,
        places: &[Place],
        is_lost: bool,
        driver: &mut dyn Driver,
    ) -> Result<bool, LogError> {
        let tasks = self.group.tasks(places.iter().map(|place| &place.at));
        let is_announced = |task: &TaskId| self.tasks.announced(*task).is_some();
        let announced: Vec<TaskId> = tasks.iter().copied().filter(is_announced).collect();
        if !is_lost && !announced.is_empty() {
            driver.revoking(&announced, self as &mut dyn Committer);
        }
        let mut inputs = Vec::new();
        for task in tasks {
            if self.tasks.remove(task) {
                self.producer.forget(task);
                inputs.extend(self.fetcher.forget(task));
            }
        }
        self.client()
            .incremental_unassign(&self.fetcher.list(inputs))
            .map_err(|fault| LogError::client("giving partitions back", fault))?;
        if is_lost && !announced.is_empty() {
            driver.event(MemberEvent::Lost(&announced));
        }
        Ok(!announced.is_empty())
    }

    fn failed(&mut self, event: &Event, driver: &mut dyn Driver) -> Result<bool, LogError> {
        let Some(fault) = event.fault() else {
            return Ok(false);
        };
        // The event of a fatal error has the code of its cause, not `Fatal`, so the client is asked, too.
        if event.is_fatal() || self.client().fatal().is_some() {
            return Err(ended(self.client(), &self.group, fault));
        }
        match classify(&self.group, fault, event.topic()) {
            ConsumerError::AllBrokers(reason) => Ok(self.health.all_brokers_failed(reason, driver)),
            ConsumerError::Broker(reason) => {
                self.health.broker_failed(reason);
                Ok(false)
            }
            ConsumerError::Subscription(reason) => {
                Ok(self.health.degrade(Degraded::Subscription, reason, driver))
            }
            ConsumerError::Refused(error) => Err(error),
            ConsumerError::Other => Ok(false),
        }
    }

    /// Requests the committed offsets of new tasks, and reports the tasks whose offsets have arrived.
    fn look_up(&mut self, driver: &mut dyn Driver) -> Result<bool, LogError> {
        let client = self.events.client();
        let Some((since, waiting)) = self.tasks.waiting() else {
            return Ok(self.health.recover(Degraded::Lookup, driver));
        };
        match self.producer.pending_start() {
            // A transaction that a predecessor left open may hold offsets of this group: it is ended first.
            Some(reason) => self.lookup.hold_back(reason),
            None => self
                .lookup
                .ask(client, &self.group, waiting, self.timeout)?,
        }
        if let Some(mut found) = self.lookup.answer(client, &self.group)? {
            found.retain(|of| self.tasks.announce(of.task, of.epoch));
            if found.is_empty() {
                return Ok(false);
            }
            driver.event(MemberEvent::Assigned(&found));
            return Ok(true);
        }
        if since.elapsed() > self.timeout {
            let reason = self.lookup.reason();
            return Ok(self.health.degrade(Degraded::Lookup, reason, driver));
        }
        Ok(false)
    }

    /// Sends a request to find out whether any broker answers; the answer is an event.
    fn probe(&self, wait: Duration) {
        self.client().describe_cluster(&Ask {
            queue: self.events.queue(),
            wait,
            opaque: PROBE,
        });
    }

    /// Polls until the driver was called, or for `max`.
    fn turn(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError> {
        let deadline = Instant::now() + max;
        loop {
            self.events.pull(Duration::ZERO);
            self.producer.records().serve(Duration::ZERO);
            if let Some((transactions, calls)) = self.producer.transactions() {
                transactions.start(calls)?;
            }
            if self.health.starts_probe(Instant::now()) {
                self.probe(PROBE_TIMEOUT);
            }
            let mut reported = self.handle(driver)?;
            reported |= self.look_up(driver)?;
            reported |= self.health.check_fetches(Instant::now(), driver);
            if reported {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = left.min(WAIT_SLICE);
            if self.fetcher.is_active() {
                if self.fetcher.poll(wait, &mut self.health, driver) {
                    return Ok(());
                }
            } else {
                self.events.pull(wait);
            }
            // Events that came during the wait are handled before the poll ends.
            if left.is_zero() && self.events.is_empty() {
                return Ok(());
            }
        }
    }

    /// Closes the producer, then the consumer. A static member keeps its place in the group unless `gives_up`.
    fn go(&mut self, by: Instant, gives_up: bool) -> Result<(), LogError> {
        if std::mem::replace(&mut self.has_left, true) {
            return Ok(());
        }
        let began = Instant::now();
        let producer_by = match self.group.guarantee {
            Guarantee::AtLeastOnce => by,
            // Half of the time is left for the group, in case the transaction coordinator does not answer.
            Guarantee::ExactlyOnce => began + by.saturating_duration_since(began) / 2,
        };
        let closed = self.producer.close(producer_by);
        self.probe(leave::PROBE_TIMEOUT);
        let mut leaving = Leaving::new(&self.events, &self.group, self.fetcher.assigned(), by);
        leaving.answer_taken();
        if matches!(self.producer.ended(), Some(Failure::ProducerFenced(_))) {
            leaving.await_fence();
        }
        let is_gone = leaving.leave(gives_up && !self.health.is_without_brokers())?;
        let what = match (closed, is_gone) {
            (Ok(()), true) => return Ok(()),
            (Err(pending), _) => pending,
            (Ok(()), false) => format!("leaving group `{}`", self.group.name),
        };
        Err(LogError::late(what, began.elapsed()))
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        self.turn(max, driver)
            .inspect_err(|error| self.ended = Some(error.clone()))
    }

    fn keep_alive(&self) -> Arc<dyn KeepAlive> {
        self.events.clone()
    }

    fn fetch(&mut self, task: TaskId, positions: &[(TopicId, Offset)]) -> Result<(), LogError> {
        // A revocation must be seen before the client's assignment is changed.
        self.events.pull(Duration::ZERO);
        let Some(epoch) = self.tasks.announced(task) else {
            return Err(self.group.not_owned(task));
        };
        let is_revoking = || self.events.has_revocation();
        self.fetcher.fetch(task, epoch, positions, is_revoking)
    }

    fn release(&mut self, task: TaskId) {
        self.fetcher.release(task);
    }

    fn pause(&mut self, paused: bool) {
        self.fetcher.pause(paused);
    }

    fn rebuild(&mut self) -> Result<(), LogError> {
        if self.group.guarantee == Guarantee::AtLeastOnce {
            return self.producer.replace();
        }
        // A new client would only fence this one and abort its transaction: aborting does the same.
        let aborted = self.producer.abort(Instant::now() + self.timeout);
        aborted.map_err(|failure| LogError::client("aborting the transaction", failure))
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

    fn commit(&mut self, batch: &CommitBatch, deadline: Instant) -> CommitOutcome {
        let Some((transactions, calls)) = self.producer.transactions() else {
            let acks = self.producer.records().await_acks(deadline);
            fail_point!("after-acks", acks.len());
            return self.committer.commit(batch, acks, &self.tasks, deadline);
        };
        let mut member = TransactionCommit {
            group: &self.group,
            calls,
            consumer: self.events.client(),
            tasks: &self.tasks,
            failed: BTreeSet::new(),
        };
        transactions.commit(&mut member, batch, deadline)
    }

    fn abort(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.producer.abort(deadline)
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        // A member that is dropped was not drained: records that were appended and not committed are of no
        // use. Exactly once, closing the producer ends the transaction that holds them.
        if self.group.guarantee == Guarantee::AtLeastOnce {
            self.producer.records().client().purge();
        }
        let by = Instant::now() + self.timeout;
        if let Err(error) = self.go(by, false) {
            tracing::warn!(group = %self.group.name, %error, "could not leave the consumer group cleanly");
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::super::native::Code;
    use super::testing::{Recorder, group};
    use super::*;
    use crate::log::CommitId;
    use crate::record::{Append, AppendKind};

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
        let mut member = KafkaMember::join(config, group(), 1 << 20).expect("a member");
        let until = Instant::now() + Duration::from_secs(60);
        let mut owned = Recorder::default();
        while owned.assigned.is_empty() {
            assert!(Instant::now() < until, "nothing is assigned");
            member.poll(WAIT_SLICE, &mut owned).expect("it lives");
        }
        let task = owned.assigned[0];
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
        let commit = |member: &mut KafkaMember, id| {
            member.append(&appends);
            let batch = CommitBatch {
                id: CommitId(id),
                offsets: vec![(task, TopicId(1), 0, String::new())],
            };
            let mut outcome = member.commit(&batch, until);
            outcome.acks.remove(&task).expect("an entry for the task")
        };
        assert!(commit(&mut member, 1).is_ok());
        let client = member.producer.records().client();
        client.end(Code::Inconsistent, "as asked");
        let failure = commit(&mut member, 2).expect_err("its producer ended");
        assert!(matches!(failure, Failure::Fatal(_)), "{failure:?}");
        member.rebuild().expect("a new producer");
        assert!(commit(&mut member, 3).is_ok());
    }
}
