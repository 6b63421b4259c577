//! The transactions of a member's producer: taken over, begun, given offsets, ended. Every step has a
//! deadline; a step that librdkafka resumes is called in slices, so that reports are taken between.
//! It knows nothing of units and tasks: what is settled is the member's matter.

use std::time::{Duration, Instant};

use super::super::{Failure, LogError};
use super::bounded::within;
use super::identity::TransactionalId;
use super::native::{Client, Code, Failed, Fault, List, Membership, Remedy};
use super::producer::Producer;

/// How long until it is asked again whether the transactional id is taken over.
const START_AGAIN: Duration = Duration::from_millis(50);

/// One slice of a commit: it ends by itself as soon as the outcome is known.
const COMMIT_SLICE: Duration = Duration::from_millis(100);

/// One slice of an abort: no delivery report is taken meanwhile, and the abort waits for them all.
const ABORT_SLICE: Duration = Duration::from_millis(20);

/// What sending offsets may take beyond its time: one `socket.timeout.ms`, and some scheduling.
const SEND_GRACE: Duration = Duration::from_secs(6);

/// How long a call that was refused at once waits before it is made again.
const PAUSE: Duration = Duration::from_millis(10);

/// The version of `TxnOffsetCommit` from which on the group's generation is in it.
const FENCES: i16 = 3;

/// The transactions of one producer.
pub(super) struct Transactions {
    id: TransactionalId,
    timeout: Duration,
    state: State,
}

enum State {
    /// The transactional id is being taken over.
    Starting {
        next: Instant,
        why_not: Option<String>,
    },
    /// None is open.
    Idle,
    /// One is open; if it is spoiled, it can only be aborted.
    Open {
        since: Instant,
        spoiled: Option<String>,
    },
    /// One may have been committed.
    Committing { since: Instant },
}

impl Transactions {
    pub(super) fn new(id: TransactionalId, timeout: Duration) -> Self {
        let state = State::Starting {
            next: Instant::now(),
            why_not: None,
        };
        Self { id, timeout, state }
    }

    /// Since when one is open.
    fn since(&self) -> Option<Instant> {
        match self.state {
            State::Open { since, .. } | State::Committing { since } => Some(since),
            State::Starting { .. } | State::Idle => None,
        }
    }

    /// What a fault that ended the client means.
    fn fatal(&self, fault: &Fault) -> Failure {
        let reason = &fault.reason;
        if !is_fenced(fault.code) {
            return Failure::Fatal(reason.clone());
        }
        // The broker has one word for both: a twin took the id over, or the time-out did.
        match self.outlived(reason) {
            Some(why) => Failure::Fatal(why),
            None if fault.code == Code::FencedInstanceId => Failure::InstanceFenced(reason.clone()),
            None => {
                Failure::ProducerFenced(format!("transactional id `{}`: {reason}", self.id.name()))
            }
        }
    }

    /// What a reason is put down to when one has been open for too long. The broker ends it some time
    /// after that; until it has, a refusal says other things, or nothing comes at all.
    fn outlived(&self, reason: &str) -> Option<String> {
        let open = self.since()?.elapsed();
        (open >= self.timeout).then(|| {
            format!(
                "the transaction was open for {} ms, and the broker ends one after {} ms \
                 (transaction.timeout.ms): {reason}",
                open.as_millis(),
                self.timeout.as_millis()
            )
        })
    }

    /// Why the transactional id cannot be taken over, and what to do.
    fn refused(&self, fault: Fault) -> LogError {
        let who = format!("transactional id `{}`", self.id.name());
        let reason = fault.reason;
        match fault.code {
            code if is_fenced(code) => LogError::ProducerFenced { who, reason },
            Code::InvalidTransactionTimeout => LogError::Refused {
                what: format!(
                    "a transaction timeout (`--transaction-timeout`, transaction.timeout.ms) of \
                     {} ms",
                    self.timeout.as_millis()
                ),
                reason: format!(
                    "{reason}; set a shorter one, or raise the broker's `transaction.max.timeout.ms`"
                ),
            },
            Code::TransactionalIdAuthorizationFailed => LogError::Refused {
                what: who,
                reason: format!(
                    "{reason}; allow WRITE and DESCRIBE on the transactional ids of the group \
                     (they begin with its name), or choose the guarantee at-least-once"
                ),
            },
            Code::ClusterAuthorizationFailed => LogError::Refused { what: who, reason },
            Code::UnsupportedFeature => too_old(&reason),
            _ => LogError::Client { what: who, reason },
        }
    }
}

fn too_old(reason: &str) -> LogError {
    LogError::Refused {
        what: "the guarantee exactly-once".to_owned(),
        reason: format!(
            "{reason}; it needs Apache Kafka 2.5 or later, with transactions: choose \
             at-least-once, or another cluster"
        ),
    }
}

fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId
    )
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

impl Producer {
    /// Takes the transactional id over, a glance at a time; tells whether that is done. What a
    /// predecessor left open is ended before. Without transactions it is done at once.
    ///
    /// # Errors
    /// What no waiting heals. A broker that is away is none: see [`why_not`](Producer::why_not).
    pub(super) fn start(&mut self) -> Result<bool, LogError> {
        let Some(transactions) = &self.transactions else {
            return Ok(true);
        };
        match transactions.state {
            State::Starting { next, .. } if next > Instant::now() => return Ok(false),
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
                why_not: Some(fault.reason),
            },
            Err(Failed { fault, .. }) => {
                let fault = self.client().fatal().unwrap_or(fault);
                return Err(transactions.refused(fault));
            }
        };
        let done = matches!(state, State::Idle);
        self.enter(state);
        Ok(done)
    }

    /// Refuses brokers that do not look at the generation and the member with which offsets are sent:
    /// a member that lost its partitions could commit there. librdkafka sends them without, and
    /// succeeds.
    fn check_fencing(&self) -> Result<(), LogError> {
        match self.client().txn_offset_commit() {
            Some(newest) if newest < FENCES => Err(too_old(&format!(
                "a broker speaks TxnOffsetCommit up to version {newest}, without the group's \
                 generation, which version {FENCES} has (KIP-447)"
            ))),
            _ => Ok(()),
        }
    }

    /// Why the transactional id is not taken over yet.
    pub(super) fn why_not(&self) -> Option<String> {
        match &self.transactions.as_ref()?.state {
            State::Starting { why_not, .. } => {
                let why = why_not.clone().unwrap_or_default();
                Some(self.because(&format!("taking the transactional id over: {why}")))
            }
            _ => None,
        }
    }

    fn enter(&mut self, state: State) {
        if let Some(transactions) = &mut self.transactions {
            transactions.state = state;
        }
    }

    /// Whether a transaction holds records or offsets.
    pub(super) fn is_open(&self) -> bool {
        let transactions = self.transactions.as_ref();
        transactions.is_some_and(|transactions| transactions.since().is_some())
    }

    /// Keeps the open transaction from being committed.
    pub(super) fn spoil(&mut self, why: &str) {
        if let Some(transactions) = &mut self.transactions
            && let State::Open { spoiled, .. } = &mut transactions.state
        {
            spoiled.get_or_insert_with(|| why.to_owned());
        }
    }

    /// What ended the client for good, if anything.
    pub(super) fn ended(&self) -> Option<Failure> {
        let fault = self.client().fatal()?;
        Some(match &self.transactions {
            Some(transactions) => transactions.fatal(&fault),
            None => Failure::Fatal(fault.reason),
        })
    }

    /// Why librdkafka gave the open transaction up, where it did. It has no word for that but its
    /// refusal of another transaction, which is refused in any case while one is open.
    pub(super) fn given_up(&self) -> Option<Fault> {
        self.transactions.as_ref()?.since()?;
        let refusal = self.client().begin_transaction().err()?;
        (refusal.remedy == Remedy::Abort).then_some(refusal.fault)
    }

    /// Begins a transaction where none is open; waits until `until` for the transactional id.
    pub(super) fn begin(&mut self, until: Instant) -> Result<(), Failure> {
        let Some(transactions) = &self.transactions else {
            return Ok(());
        };
        match &transactions.state {
            State::Open { spoiled: None, .. } => return Ok(()),
            State::Open {
                spoiled: Some(why), ..
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
            if left(until).is_zero() {
                let why = self.why_not().unwrap_or_default();
                return Err(Failure::Abortable(why));
            }
            self.serve(PAUSE);
        }
        self.client()
            .begin_transaction()
            .map_err(|failed| self.failure("beginning a transaction", failed))?;
        self.enter(State::Open {
            since: Instant::now(),
            spoiled: None,
        });
        Ok(())
    }

    /// What a failed call means, where nothing is committed.
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
        until: Instant,
    ) -> Result<(), Unsent> {
        // Later the broker has ended the transaction.
        let until = self.ends_at().map_or(until, |end| end.min(until));
        loop {
            // Read each time: the generation may change between two attempts. Offsets of one that
            // names no member would be taken from anybody.
            let membership = consumer
                .membership()
                .filter(Membership::is_of_a_member)
                .ok_or(Unsent::NoMember)?;
            let (client, wait) = (self.client().clone(), left(until));
            let send = move || {
                let sent = client.send_offsets(&offsets, &membership, wait);
                (sent, offsets)
            };
            let sent = within(wait + SEND_GRACE, send);
            let dead = |why: String| Unsent::Ended(Failure::Fatal(why));
            let Some((sent, back)) = sent.map_err(|error| dead(error.to_string()))? else {
                let why = self.because("sending offsets to the transaction does not end");
                return Err(dead(why));
            };
            offsets = back;
            match sent {
                // The group's coordinator may be another broker than those of the start.
                Ok(()) => {
                    let fenced = self.check_fencing();
                    return fenced.map_err(|error| dead(error.to_string()));
                }
                Err(failed) if failed.remedy == Remedy::Again && !left(until).is_zero() => {
                    self.serve(PAUSE);
                }
                Err(Failed { mut fault, .. }) => {
                    let transactions = self.transactions.as_ref();
                    if let Some(why) = transactions.and_then(|all| all.outlived(&fault.reason)) {
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

    /// When the broker ends the open transaction.
    fn ends_at(&self) -> Option<Instant> {
        let transactions = self.transactions.as_ref()?;
        Some(transactions.since()? + transactions.timeout)
    }

    /// Commits the open transaction, or asks again how that ended.
    ///
    /// # Errors
    /// [`Failure::Unknown`] at the deadline: to be called again.
    pub(super) fn commit(&mut self, until: Instant) -> Result<(), Failure> {
        if let Some(since) = self.transactions.as_ref().and_then(Transactions::since) {
            self.enter(State::Committing { since });
        }
        loop {
            let slice = left(until).min(COMMIT_SLICE);
            match self.client().commit_transaction(slice) {
                Ok(()) => {
                    self.enter(State::Idle);
                    return Ok(());
                }
                Err(failed) if failed.remedy == Remedy::Again => {
                    if left(until).is_zero() {
                        return Err(Failure::Unknown(self.because(&format!(
                            "the commit of the transaction was not answered in time: {}",
                            failed.fault.reason
                        ))));
                    }
                    self.serve(PAUSE);
                }
                Err(failed) => {
                    let failure = self.failure("committing the transaction", failed);
                    if let Failure::Abortable(why) = &failure
                        && let Some(since) =
                            self.transactions.as_ref().and_then(Transactions::since)
                    {
                        let spoiled = Some(why.clone());
                        self.enter(State::Open { since, spoiled });
                    }
                    return Err(failure);
                }
            }
        }
    }

    /// Drops what was appended and not settled, and aborts the transaction that holds it.
    pub(super) fn abort(&mut self, until: Instant) -> Result<(), Failure> {
        self.clear();
        match self.transactions.as_ref().map(|all| &all.state) {
            Some(State::Open { .. }) => {}
            Some(State::Committing { .. }) => {
                let why = "the transaction may be committed already, and cannot be aborted";
                return Err(Failure::Fatal(why.to_owned()));
            }
            Some(State::Starting { .. } | State::Idle) | None => return Ok(()),
        }
        loop {
            let slice = left(until).min(ABORT_SLICE);
            match self.client().abort_transaction(slice) {
                Ok(()) => {
                    self.enter(State::Idle);
                    return Ok(());
                }
                // One that the broker refused is begun anew by the next call.
                Err(failed) if matches!(failed.remedy, Remedy::Again | Remedy::Abort) => {
                    if left(until).is_zero() {
                        return Err(Failure::Fatal(self.because(&format!(
                            "the transaction could not be aborted in time: {}",
                            failed.fault.reason
                        ))));
                    }
                    self.serve(PAUSE);
                }
                Err(failed) => return Err(self.failure("aborting the transaction", failed)),
            }
        }
    }

    /// Ends what is open, one way or the other, so that whoever comes next need not wait for it.
    pub(super) fn end(&mut self, until: Instant) -> Result<(), Failure> {
        match self.transactions.as_ref().map(|all| &all.state) {
            Some(State::Committing { .. }) => self.commit(until),
            _ => self.abort(until),
        }
    }
}

/// Why offsets are not part of a transaction.
pub(super) enum Unsent {
    /// The consumer is in no generation of its group.
    NoMember,
    /// The client is of no more use.
    Ended(Failure),
    /// Refused; the transaction has to be aborted.
    Refused(Fault),
}
