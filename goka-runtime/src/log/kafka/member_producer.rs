//! The producer of a member: its records, and exactly once the transactions that hold them: taken over,
//! begun, given offsets, ended. Every step has a deadline. The call that ends a transaction runs on a thread
//! of its own, and goes on there when its deadline is over; delivery reports are taken meanwhile. It knows
//! nothing of tasks' offsets and of what a commit means to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{Failure, Group, LogError, TaskAcks};
use super::bounded::Call;
use super::config::KafkaConfig;
use super::identity::TransactionalId;
use super::native::{Client, Failed, Fault, Kind, List, Membership, Remedy};
use super::producer::Producer;
use super::transaction::{State, Transactions, too_old};
use crate::record::{Appends, Guarantee, TaskId};

/// How long until taking the transactional id over is tried again.
const START_AGAIN: Duration = Duration::from_millis(50);

/// How often delivery reports are taken while a transaction is being ended: an abort waits for them all.
const SERVE_EVERY: Duration = Duration::from_millis(10);

/// How much longer than its timeout sending offsets may take: one `socket.timeout.ms`, and some
/// scheduling.
const SEND_GRACE: Duration = Duration::from_secs(6);

/// How long a call that was refused at once waits before it is made again.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The version of `TxnOffsetCommit` from which on the group's generation is in it.
const FENCES: i16 = 3;

/// What a producer is made of.
#[derive(Debug, Clone)]
struct Settings {
    config: KafkaConfig,
    group: Arc<Group>,
    batch_bytes: usize,
}

pub(super) struct MemberProducer {
    settings: Settings,
    producer: Producer,
    /// Exactly once, everything is written in transactions.
    transactions: Option<Transactions>,
    /// The call that ends the open transaction, until it has returned: a commit when the transaction is
    /// being committed, else an abort.
    ending: Option<Call<Result<(), Failed>>>,
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

impl MemberProducer {
    /// Makes a producer whose batches stay below `batch_bytes`.
    pub(super) fn new(
        config: KafkaConfig,
        group: Arc<Group>,
        batch_bytes: usize,
    ) -> Result<Self, LogError> {
        Self::with(Settings {
            config,
            group,
            batch_bytes,
        })
    }

    fn with(settings: Settings) -> Result<Self, LogError> {
        let failed = |fault| LogError::client("making the producer", fault);
        let Settings {
            config,
            group,
            batch_bytes,
        } = &settings;
        let (properties, transactions) = match group.guarantee {
            Guarantee::AtLeastOnce => (config.producing(*batch_bytes), None),
            Guarantee::ExactlyOnce => {
                let (id, timeout) = (TransactionalId::of(group), group.transaction_timeout);
                let properties = config.transacting(*batch_bytes, id.name(), timeout);
                (properties, Some(Transactions::new(id, timeout)))
            }
        };
        let client = Client::new(Kind::Producer, &properties).map_err(failed)?;
        let producer = Producer::new(&client, group, config.deadline).map_err(failed)?;
        Ok(Self {
            settings,
            producer,
            transactions,
            ending: None,
        })
    }

    /// Replaces the client with a new one; what was appended and not acknowledged is dropped.
    pub(super) fn replace(&mut self) -> Result<(), LogError> {
        let new = Self::with(self.settings.clone())?;
        self.producer.purge();
        *self = new;
        Ok(())
    }

    pub(super) fn client(&self) -> &Client {
        self.producer.client()
    }

    /// Produces records; exactly once, in a transaction that is begun where none is open.
    pub(super) fn append(&mut self, appends: &Appends) {
        let begun = self.begin(Instant::now() + self.settings.config.deadline);
        self.producer.append(appends, &begun);
    }

    /// Takes delivery reports and errors; waits at most `wait` for the first.
    pub(super) fn serve(&mut self, wait: Duration) {
        self.producer.serve(wait);
    }

    /// Waits until all records are acknowledged or have failed, at most until `deadline`.
    pub(super) fn await_acks(
        &mut self,
        deadline: Instant,
    ) -> BTreeMap<TaskId, Result<TaskAcks, Failure>> {
        self.producer.await_acks(deadline)
    }

    /// The topics of records that failed since this was last asked.
    pub(super) fn take_failed(&mut self) -> BTreeSet<String> {
        self.producer.take_failed()
    }

    /// Forgets a task that is not owned any more.
    pub(super) fn forget(&mut self, task: TaskId) {
        if self.producer.forget(task) {
            // Its records would become visible without the offsets that cover them.
            self.mark_abort_only("it holds records of a partition that is not owned any more");
        }
    }

    /// Gives up whatever is not acknowledged.
    pub(super) fn purge(&self) {
        self.producer.purge();
    }

    fn enter(&mut self, state: State) {
        if let Some(transactions) = &mut self.transactions {
            transactions.enter(state);
        }
    }

    /// Keeps the open transaction from being committed.
    pub(super) fn mark_abort_only(&mut self, why: &str) {
        if let Some(transactions) = &mut self.transactions {
            transactions.mark_abort_only(why);
        }
    }

    /// Takes the transactional id over, without waiting; returns whether that is done. The broker first
    /// ends what a predecessor left open. Without transactions there is nothing to do.
    ///
    /// # Errors
    /// What does not pass. A broker that does not answer is no error: see
    /// [`pending_start`](MemberProducer::pending_start).
    pub(super) fn start(&mut self) -> Result<bool, LogError> {
        let Some(transactions) = &self.transactions else {
            return Ok(true);
        };
        match transactions.state() {
            State::Starting { next, .. } if *next > Instant::now() => return Ok(false),
            State::Starting { .. } => {}
            _ => return Ok(true),
        }
        let state = match self.client().init_transactions(Duration::ZERO) {
            Ok(()) => {
                self.check_fencing()?;
                State::Idle
            }
            Err(Failed {
                fault,
                remedy: Remedy::Again,
            }) => State::Starting {
                next: Instant::now() + START_AGAIN,
                last_error: Some(fault.reason),
            },
            Err(Failed { fault, .. }) => {
                let fault = self.client().fatal().unwrap_or(fault);
                return Err(transactions.refused(&self.settings.group.name, fault));
            }
        };
        let done = matches!(state, State::Idle);
        self.enter(state);
        Ok(done)
    }

    /// Refuses brokers that do not check the generation and the member with which offsets are sent: a
    /// member that lost its partitions could commit there. librdkafka sends the offsets without them,
    /// and succeeds.
    fn check_fencing(&self) -> Result<(), LogError> {
        match self.client().txn_offset_commit() {
            Some(newest) if newest < FENCES => Err(too_old(
                &format!(
                    "a broker speaks TxnOffsetCommit up to version {newest}, without the group's \
                     generation, which version {FENCES} has (KIP-447)"
                ),
                None,
            )),
            _ => Ok(()),
        }
    }

    /// Why the transactional id is not taken over yet.
    pub(super) fn pending_start(&self) -> Option<String> {
        match self.transactions.as_ref()?.state() {
            State::Starting { last_error, .. } => {
                let why = last_error.clone().unwrap_or_default();
                let what = format!("taking the transactional id over: {why}");
                Some(self.producer.with_last_error(&what))
            }
            _ => None,
        }
    }

    /// Whether a transaction holds records or offsets.
    pub(super) fn is_open(&self) -> bool {
        let transactions = self.transactions.as_ref();
        transactions.is_some_and(|transactions| transactions.since().is_some())
    }

    /// What ended the client for good, if anything.
    pub(super) fn ended(&self) -> Option<Failure> {
        let fault = self.client().fatal()?;
        Some(match &self.transactions {
            Some(transactions) => transactions.fatal(&fault),
            None => Failure::Fatal(fault.reason),
        })
    }

    /// Why librdkafka has given the open transaction up, where it did. It says so only when another
    /// transaction is begun, which it refuses in any case while one is open.
    pub(super) fn abort_reason(&self) -> Option<Fault> {
        self.transactions.as_ref()?.since()?;
        let refusal = self.client().begin_transaction().err()?;
        (refusal.remedy == Remedy::Abort).then_some(refusal.fault)
    }

    /// Begins a transaction where none is open; waits until `deadline` for the transactional id.
    pub(super) fn begin(&mut self, deadline: Instant) -> Result<(), Failure> {
        let Some(transactions) = &self.transactions else {
            return Ok(());
        };
        match transactions.state() {
            State::Open {
                abort_only: None, ..
            } => return Ok(()),
            State::Open {
                abort_only: Some(why),
                ..
            } => return Err(Failure::Abortable(why.clone())),
            State::Committing { .. } => {
                let why = "it is not known yet whether the transaction before is committed";
                return Err(Failure::Abortable(why.to_owned()));
            }
            State::Starting { .. } | State::Idle => {}
        }
        while !self
            .start()
            .map_err(|error| Failure::Fatal(error.to_string()))?
        {
            if left(deadline).is_zero() {
                let why = self.pending_start().unwrap_or_default();
                return Err(Failure::Abortable(why));
            }
            self.serve(RETRY_AFTER);
        }
        self.client()
            .begin_transaction()
            .map_err(|failed| self.failure("beginning a transaction", failed))?;
        self.enter(State::Open {
            since: Instant::now(),
            abort_only: None,
        });
        Ok(())
    }

    /// The failure that a failed call means, where nothing is committed.
    fn failure(&self, what: &str, failed: Failed) -> Failure {
        let Failed { fault, remedy } = failed;
        match self.ended() {
            Some(ended) => ended,
            None => {
                let why = format!("{what}: {}", fault.reason);
                match remedy {
                    Remedy::Again | Remedy::Abort => Failure::Abortable(why),
                    Remedy::None | Remedy::Unsaid => Failure::Fatal(why),
                }
            }
        }
    }

    /// Makes offsets of the consumer's group part of the open transaction.
    ///
    /// # Errors
    /// [`Unsent`]: nothing is committed then.
    pub(super) fn send_offsets(
        &mut self,
        mut offsets: List,
        consumer: &Client,
        deadline: Instant,
    ) -> Result<(), Unsent> {
        // Later the broker has ended the transaction.
        let ends_at = self.transactions.as_ref().and_then(Transactions::ends_at);
        let deadline = ends_at.map_or(deadline, |end| end.min(deadline));
        loop {
            // Read each time: the generation may change between two attempts. Without a member id the
            // broker would take the offsets from anybody.
            let membership = consumer
                .membership()
                .filter(Membership::is_of_a_member)
                .ok_or(Unsent::NoMember)?;
            let (client, wait) = (self.client().clone(), left(deadline));
            let send = move || {
                let sent = client.send_offsets(&offsets, &membership, wait);
                (sent, offsets)
            };
            let dead = |why: String| Unsent::Ended(Failure::Fatal(why));
            let call = Call::start(send).map_err(|error| dead(error.to_string()))?;
            let Some((sent, back)) = call.wait(wait + SEND_GRACE) else {
                let why = self
                    .producer
                    .with_last_error("sending offsets to the transaction does not end");
                return Err(dead(why));
            };
            offsets = back;
            match sent {
                // The group's coordinator may be another broker than those of the start.
                Ok(()) => {
                    let fenced = self.check_fencing();
                    return fenced.map_err(|error| dead(error.to_string()));
                }
                Err(failed) if failed.remedy == Remedy::Again && !left(deadline).is_zero() => {
                    self.serve(RETRY_AFTER);
                }
                Err(Failed { mut fault, .. }) => {
                    let transactions = self.transactions.as_ref();
                    if let Some(why) = transactions.and_then(|all| all.timed_out(&fault.reason)) {
                        fault.reason = why;
                    }
                    return Err(match self.ended() {
                        Some(ended) => Unsent::Ended(ended),
                        None => Unsent::Refused(fault),
                    });
                }
            }
        }
    }

    /// Waits for the call that ends the open transaction, which is made where none is under way; `None` when
    /// it has not returned at the deadline.
    fn await_end(
        &mut self,
        end: fn(&Client) -> Result<(), Failed>,
        deadline: Instant,
    ) -> Result<Option<Result<(), Failed>>, Failure> {
        let call = match self.ending.take() {
            Some(call) => call,
            None => {
                let client = self.client().clone();
                Call::start(move || end(&client)).map_err(|error| {
                    Failure::Fatal(format!("starting a thread to end the transaction: {error}"))
                })?
            }
        };
        loop {
            let left = left(deadline);
            if let Some(returned) = call.wait(left.min(SERVE_EVERY)) {
                return Ok(Some(returned));
            }
            self.serve(Duration::ZERO);
            if left.is_zero() {
                self.ending = Some(call);
                return Ok(None);
            }
        }
    }

    /// Commits the open transaction, or asks again how that ended.
    ///
    /// # Errors
    /// [`Failure::Unknown`] at the deadline: to be called again.
    pub(super) fn commit(&mut self, deadline: Instant) -> Result<(), Failure> {
        let since = self.transactions.as_ref().and_then(Transactions::since);
        if let Some(since) = since {
            self.enter(State::Committing { since });
        }
        loop {
            match self.await_end(Client::commit_transaction, deadline)? {
                Some(Ok(())) => {
                    self.enter(State::Idle);
                    return Ok(());
                }
                Some(Err(failed)) if failed.remedy == Remedy::Again => {
                    self.serve(RETRY_AFTER);
                }
                Some(Err(failed)) => {
                    let failure = self.failure("committing the transaction", failed);
                    if let (Failure::Abortable(why), Some(since)) = (&failure, since) {
                        let abort_only = Some(why.clone());
                        self.enter(State::Open { since, abort_only });
                    }
                    return Err(failure);
                }
                None => {
                    let why = "the commit of the transaction was not answered in time";
                    return Err(Failure::Unknown(self.producer.with_last_error(why)));
                }
            }
        }
    }

    /// Drops what was appended and not committed, and aborts the transaction that holds it.
    pub(super) fn abort(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.producer.clear();
        match self.transactions.as_ref().map(Transactions::state) {
            Some(State::Open { .. }) => {}
            Some(State::Committing { .. }) => {
                let why = "the transaction may be committed already, and cannot be aborted";
                return Err(Failure::Fatal(why.to_owned()));
            }
            Some(State::Starting { .. } | State::Idle) | None => return Ok(()),
        }
        self.mark_abort_only("it is being aborted");
        let late = |producer: &Producer, reason: &str| {
            let why = format!("the transaction could not be aborted in time{reason}");
            Failure::Fatal(producer.with_last_error(&why))
        };
        loop {
            match self.await_end(Client::abort_transaction, deadline)? {
                Some(Ok(())) => {
                    self.enter(State::Idle);
                    return Ok(());
                }
                // One that the broker refused is begun anew by the next call.
                Some(Err(failed)) if matches!(failed.remedy, Remedy::Again | Remedy::Abort) => {
                    if left(deadline).is_zero() {
                        let reason = format!(": {}", failed.fault.reason);
                        return Err(late(&self.producer, &reason));
                    }
                    self.serve(RETRY_AFTER);
                }
                Some(Err(failed)) => return Err(self.failure("aborting the transaction", failed)),
                None => return Err(late(&self.producer, "")),
            }
        }
    }

    /// Ends the producer: at least once everything is delivered, exactly once what is open is committed or
    /// aborted, so that the next producer need not wait for it. The error says what was not done.
    pub(super) fn close(&mut self, deadline: Instant) -> Result<(), String> {
        if self.transactions.is_none() {
            let closed = self.producer.close(deadline);
            return closed.map_err(|records| format!("delivering the last {records} records"));
        }
        let ended = self.end(deadline);
        ended.map_err(|failure| format!("ending the last transaction: {failure}"))
    }

    fn end(&mut self, deadline: Instant) -> Result<(), Failure> {
        match self.transactions.as_ref().map(Transactions::state) {
            Some(State::Committing { .. }) => self.commit(deadline),
            _ => self.abort(deadline),
        }
    }
}

/// Why offsets did not become part of a transaction.
pub(super) enum Unsent {
    /// The consumer is in no generation of its group.
    NoMember,
    /// The client has ended.
    Ended(Failure),
    /// Refused; the transaction has to be aborted.
    Refused(Fault),
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

    use super::*;
    use crate::record::{Append, AppendKind, TopicId};

    /// Longer than a client's own thread takes on any machine with nothing else to do.
    const PAUSE: Duration = Duration::from_millis(150);

    const TASK: TaskId = TaskId {
        lead: TopicId(0),
        partition: 0,
    };

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// A producer of transactions whose own thread is slow, and the cluster that it speaks to.
    struct Slow {
        cluster: MockCluster<'static, DefaultProducerContext>,
        producer: MemberProducer,
    }

    impl Slow {
        fn new() -> Self {
            let cluster = MockCluster::new(1).expect("a cluster");
            cluster.create_topic("table", 1, 1).expect("made");
            let config = KafkaConfig {
                brokers: cluster.bootstrap_servers(),
                properties: [("debug".to_owned(), "eos".to_owned())].into(),
                ..KafkaConfig::default()
            };
            let group = Group {
                guarantee: Guarantee::ExactlyOnce,
                transaction_timeout: Duration::from_secs(300),
                ..super::super::member::testing::group()
            };
            let producer = MemberProducer::new(config, group.into(), 1 << 20);
            let mut producer = producer.expect("a producer");
            producer.begin(soon()).expect("the id is taken over");
            producer.client().slow_down(PAUSE);
            Self { cluster, producer }
        }

        /// Appends a record, and waits until it is written.
        fn write(&mut self) {
            let mut appends = Appends::default();
            appends.push(Append {
                task: TASK,
                kind: AppendKind::Changelog,
                topic: TopicId(0),
                partition: 0,
                key: Some(b"key"),
                value: Some(b"value"),
                timestamp: 1,
                headers: &[],
            });
            self.producer.append(&appends);
            let acks = self.producer.await_acks(soon());
            assert!(acks[&TASK].is_ok(), "{acks:?}");
        }

        /// The coordinator ends no transaction until it is told to.
        fn hold(&self) {
            let busy = Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
            self.cluster.request_errors(Api::EndTxn, &[busy; 10_000]);
        }

        fn release(&self) {
            self.cluster.clear_request_errors(Api::EndTxn);
        }
    }

    #[test]
    fn a_transaction_is_committed_by_a_client_that_is_slow() {
        let mut slow = Slow::new();
        for round in 0..3 {
            slow.write();
            assert_eq!(slow.producer.commit(soon()), Ok(()), "round {round}");
        }
    }

    #[test]
    fn a_commit_is_asked_for_until_it_is_answered() {
        let mut slow = Slow::new();
        for wait in [0, 100, 400].map(Duration::from_millis) {
            slow.write();
            slow.hold();
            for _ in 0..5 {
                let outcome = slow.producer.commit(Instant::now() + wait);
                assert!(matches!(outcome, Err(Failure::Unknown(_))), "{outcome:?}");
            }
            slow.release();
            assert_eq!(slow.producer.commit(soon()), Ok(()), "{wait:?}");
        }
    }

    #[test]
    fn a_transaction_is_aborted_by_a_client_that_is_slow() {
        let mut slow = Slow::new();
        for wait in [0, 100, 400].map(Duration::from_millis) {
            slow.write();
            slow.hold();
            for _ in 0..5 {
                let Err(Failure::Fatal(why)) = slow.producer.abort(Instant::now() + wait) else {
                    panic!("nothing has ended it");
                };
                assert!(why.contains("could not be aborted in time"), "{why}");
            }
            slow.release();
            assert_eq!(slow.producer.abort(soon()), Ok(()), "{wait:?}");
            slow.write();
            assert_eq!(slow.producer.commit(soon()), Ok(()), "{wait:?}");
        }
    }
}
