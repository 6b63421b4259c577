//! The producer of a member: its records, and exactly once the calls of the transactions that hold them. Every
//! call has a deadline. The one that ends a transaction runs on a thread of its own, and goes on there when
//! its deadline is over; delivery reports are taken meanwhile. It knows nothing of tasks' offsets and of what
//! a commit means to them, and what the calls mean to a transaction is decided by [`Transactions`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::cancel::Call;
use super::super::transactions::{TransactionClient, Transactions};
use super::super::{Failure, Group, LogError};
use super::codes::{ended, refused_takeover, too_old};
use super::config::KafkaConfig;
use super::identity::TransactionalId;
use super::native::{Client, Failed, Fault, Kind, List, Membership, Remedy};
use super::producer::Producer;
use crate::record::{Appends, Guarantee, TaskId};

/// How often delivery reports are taken while a transaction is being ended: an abort waits for them all.
const SERVE_EVERY: Duration = Duration::from_millis(10);

/// How much longer than its timeout sending offsets may take: one `socket.timeout.ms`, and some
/// scheduling.
const SEND_GRACE: Duration = Duration::from_secs(6);

/// How long a call that was refused at once waits before it is made again.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The version of `TxnOffsetCommit` from which on the group's generation is in it.
const FENCES: i16 = 3;

pub(super) struct MemberProducer {
    config: KafkaConfig,
    batch_bytes: usize,
    calls: ProducerCalls,
    /// Exactly once, everything is written in transactions.
    transactions: Option<Transactions>,
}

/// A producer, and the calls of its transactions.
pub(super) struct ProducerCalls {
    group: Arc<Group>,
    pub(super) producer: Producer,
    /// Held for as long as the producer lives; `None` at least once.
    id: Option<TransactionalId>,
    /// The call that ends the open transaction, until it has returned.
    ending: Option<Call<Result<(), Failed>>>,
    began: Instant,
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
        let failed = |fault| LogError::client("making the producer", fault);
        let timeout = group.transaction_timeout;
        let (properties, id) = match group.guarantee {
            Guarantee::AtLeastOnce => (config.producing(batch_bytes, &[]), None),
            Guarantee::ExactlyOnce => {
                let id = TransactionalId::of(&group);
                let properties = config.transacting(batch_bytes, id.name(), timeout);
                (properties, Some(id))
            }
        };
        let client = Client::new(Kind::RD_KAFKA_PRODUCER, &properties).map_err(failed)?;
        let producer = Producer::new(&client, Arc::clone(&group), config.deadline);
        let of = |id: &TransactionalId| Transactions::new(id.name().to_owned(), timeout);
        Ok(Self {
            transactions: id.as_ref().map(of),
            calls: ProducerCalls {
                group,
                producer: producer.map_err(failed)?,
                id,
                ending: None,
                began: Instant::now(),
            },
            config,
            batch_bytes,
        })
    }

    /// Replaces the client with a new one; what was appended and not acknowledged is dropped.
    pub(super) fn replace(&mut self) -> Result<(), LogError> {
        let group = Arc::clone(&self.calls.group);
        let new = Self::new(self.config.clone(), group, self.batch_bytes)?;
        self.calls.client().purge();
        *self = new;
        Ok(())
    }

    /// The transactions, and the calls that they are made with; `None` at least once.
    pub(super) fn transactions(&mut self) -> Option<(&mut Transactions, &mut ProducerCalls)> {
        Some((self.transactions.as_mut()?, &mut self.calls))
    }

    /// Produces records; exactly once, in a transaction that is begun where none is open.
    pub(super) fn append(&mut self, appends: &Appends) {
        let deadline = Instant::now() + self.config.deadline;
        let begun = match self.transactions() {
            Some((transactions, calls)) => transactions.begin(calls, deadline),
            None => Ok(()),
        };
        self.calls.producer.append(appends, &begun);
    }

    pub(super) fn records(&mut self) -> &mut Producer {
        &mut self.calls.producer
    }

    /// Forgets a task that is not owned any more.
    pub(super) fn forget(&mut self, task: TaskId) {
        if self.calls.producer.forget(task)
            && let Some(transactions) = &mut self.transactions
        {
            transactions.disown();
        }
    }

    pub(super) fn pending_start(&self) -> Option<String> {
        self.transactions.as_ref()?.pending_start(&self.calls)
    }

    pub(super) fn ended(&self) -> Option<Failure> {
        match &self.transactions {
            Some(transactions) => transactions.ended(&self.calls),
            None => Some(Failure::Fatal(self.calls.client().fatal()?.reason)),
        }
    }

    /// Drops what was appended and not committed; at least once, it may be written already.
    pub(super) fn abort(&mut self, deadline: Instant) -> Result<(), Failure> {
        match self.transactions() {
            Some((transactions, calls)) => transactions.abort(calls, deadline),
            None => Err(Failure::Fatal("no transaction is open".to_owned())),
        }
    }

    /// Ends the producer: at least once everything is delivered, exactly once what is open is committed or
    /// aborted, so that the next producer need not wait for it. The error says what was not done.
    pub(super) fn close(&mut self, deadline: Instant) -> Result<(), String> {
        match self.transactions() {
            Some((transactions, calls)) => transactions
                .close(calls, deadline)
                .map_err(|failure| format!("ending the last transaction: {failure}")),
            None => {
                let closed = self.calls.producer.close(deadline);
                closed.map_err(|records| format!("delivering the last {records} records"))
            }
        }
    }
}

impl ProducerCalls {
    fn client(&self) -> &Client {
        self.producer.client()
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

    /// Why librdkafka has given the open transaction up, where it did. It says so only when another
    /// transaction is begun, which it refuses in any case while one is open: not to be called otherwise.
    pub(super) fn abort_reason(&self) -> Option<Fault> {
        let refusal = self.client().begin_transaction().err()?;
        (refusal.remedy == Remedy::Abort).then_some(refusal.fault)
    }

    /// Makes offsets of the consumer's group part of the open transaction.
    pub(super) fn send_offsets(
        &mut self,
        open: &Transactions,
        mut offsets: List,
        consumer: &Client,
        deadline: Instant,
    ) -> Result<(), Unsent> {
        // Later the broker has ended the transaction.
        let ends_at = open.time_left(self.now()).map(|left| Instant::now() + left);
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
            let call = Call::start("kafka-call", send).map_err(|error| dead(error.to_string()))?;
            let Ok((sent, back)) = call.wait(wait + SEND_GRACE) else {
                let why = self.with_last_error("sending offsets to the transaction does not end");
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
                    self.producer.serve(RETRY_AFTER);
                }
                Err(Failed { mut fault, .. }) => {
                    if let Some(why) = open.timed_out(self.now(), &fault.reason) {
                        fault.reason = why;
                    }
                    return Err(match open.ended(self) {
                        Some(ended) => Unsent::Ended(ended),
                        None => Unsent::Refused(fault),
                    });
                }
            }
        }
    }

    /// Waits for the call that ends the open transaction, which is made where none is under way. Returns
    /// whether it has returned by the deadline.
    fn await_end(
        &mut self,
        end: fn(&Client) -> Result<(), Failed>,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let call = match self.ending.take() {
            Some(call) => call,
            None => {
                let client = self.client().clone();
                Call::start("kafka-call", move || end(&client)).map_err(|error| {
                    Failure::Fatal(format!("starting a thread to end the transaction: {error}"))
                })?
            }
        };
        loop {
            let left = left(deadline);
            if let Ok(returned) = call.wait(left.min(SERVE_EVERY)) {
                return Ok(returned.map(|()| true)?);
            }
            self.producer.serve(Duration::ZERO);
            if left.is_zero() {
                self.ending = Some(call);
                return Ok(false);
            }
        }
    }
}

impl TransactionClient for ProducerCalls {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn take_over(&mut self) -> Result<Option<String>, LogError> {
        match self.client().init_transactions(Duration::ZERO) {
            Ok(()) => self.check_fencing().map(|()| None),
            Err(Failed {
                fault,
                remedy: Remedy::Again,
            }) => Ok(Some(fault.reason)),
            Err(Failed { fault, .. }) => {
                let fault = self.client().fatal().unwrap_or(fault);
                let id = self.id.as_ref().map_or("", TransactionalId::name);
                Err(refused_takeover(id, &self.group, fault))
            }
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        Ok(self.client().begin_transaction()?)
    }

    fn commit(&mut self, deadline: Instant) -> Result<bool, Failure> {
        self.await_end(Client::commit_transaction, deadline)
    }

    fn abort(&mut self, deadline: Instant) -> Result<bool, Failure> {
        self.await_end(Client::abort_transaction, deadline)
    }

    fn clear(&mut self) {
        self.producer.clear();
    }

    fn pause(&mut self, deadline: Instant) -> bool {
        if left(deadline).is_zero() {
            return false;
        }
        self.producer.serve(RETRY_AFTER);
        true
    }

    fn ended(&self) -> Option<Failure> {
        ended(self.client())
    }

    fn with_last_error(&self, what: &str) -> String {
        self.producer.with_last_error(what)
    }
}

/// Why offsets did not become part of a transaction.
pub(super) enum Unsent {
    /// The consumer is in no generation of its group.
    NoMember,
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
            let mut slow = Self {
                cluster,
                producer: producer.expect("a producer"),
            };
            let (transactions, calls) = slow.parts();
            let begun = transactions.begin(calls, soon());
            begun.expect("the id is taken over");
            calls.client().slow_down(PAUSE);
            slow
        }

        fn parts(&mut self) -> (&mut Transactions, &mut ProducerCalls) {
            self.producer.transactions().expect("it has transactions")
        }

        fn commit(&mut self, deadline: Instant) -> Result<(), Failure> {
            let (transactions, calls) = self.parts();
            transactions.await_commit(calls, deadline)
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
            let acks = self.producer.records().await_acks(soon());
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
            assert_eq!(slow.commit(soon()), Ok(()), "round {round}");
        }
    }

    #[test]
    fn a_commit_is_asked_for_until_it_is_answered() {
        let mut slow = Slow::new();
        for wait in [0, 100, 400].map(Duration::from_millis) {
            slow.write();
            slow.hold();
            for _ in 0..5 {
                let outcome = slow.commit(Instant::now() + wait);
                assert!(matches!(outcome, Err(Failure::Unknown(_))), "{outcome:?}");
            }
            slow.release();
            assert_eq!(slow.commit(soon()), Ok(()), "{wait:?}");
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
            assert_eq!(slow.commit(soon()), Ok(()), "{wait:?}");
        }
    }
}
