//! The transactions of a member's producer: taken over, begun, committed, aborted, as the client sees
//! them. What is settled in one is the member's matter.

use std::time::Duration;

use super::faults::{Fault, StepKind};
use super::producer::Producer;
use super::state::State;
use crate::log::outcome::Acks;
use crate::log::{CommitId, Failure, LogError};

/// Kafka's `transaction.max.timeout.ms` by default.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Where a producer is.
#[derive(Debug, Default)]
pub(super) enum Phase<A> {
    #[default]
    Idle,
    /// One is open; if it is spoiled, it can only be aborted.
    Open {
        since: Duration,
        spoiled: Option<String>,
    },
    /// One may have been committed; the unit and its acknowledgements are told when that is known.
    Committing {
        since: Duration,
        unit: CommitId,
        acks: A,
        happened: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Once the transactional id is taken over.
    pub(super) epoch: Option<u64>,
    pub(super) phase: Phase<Acks>,
    /// What ended the client for good.
    pub(super) ended: Option<Failure>,
}

impl Transactions {
    /// Since when one is open.
    pub(super) fn since(&self) -> Option<Duration> {
        match self.phase {
            Phase::Open { since, .. } | Phase::Committing { since, .. } => Some(since),
            Phase::Idle => None,
        }
    }
}

impl Producer {
    /// Takes the transactional id over, if that is not done; what a predecessor left open is ended.
    ///
    /// # Errors
    /// What no waiting heals.
    pub(super) fn start(&mut self, state: &mut State) -> Result<(), LogError> {
        let timeout = self.group.transaction_timeout;
        let Some(transactions) = &mut self.transactions else {
            return Ok(());
        };
        if transactions.epoch.is_some() {
            return Ok(());
        }
        if timeout > LONGEST {
            return Err(LogError::Refused {
                what: format!(
                    "a transaction time-out of {} ms (transaction.timeout.ms)",
                    timeout.as_millis()
                ),
                reason: format!(
                    "the broker takes at most {} ms; shorten it, or raise the broker's \
                     `transaction.max.timeout.ms`",
                    LONGEST.as_millis()
                ),
            });
        }
        transactions.epoch = Some(state.take_over(&self.who, timeout));
        Ok(())
    }

    /// Begins a transaction where none is open.
    pub(super) fn begin(&mut self, state: &mut State) -> Result<(), Failure> {
        let Some(transactions) = &self.transactions else {
            return Ok(());
        };
        if let Some(ended) = &transactions.ended {
            return Err(ended.clone());
        }
        match &transactions.phase {
            Phase::Open { spoiled: None, .. } => return Ok(()),
            Phase::Open {
                spoiled: Some(why), ..
            } => return Err(Failure::Abortable(why.clone())),
            Phase::Committing { .. } => {
                let why = "it is not known yet whether the transaction before is committed";
                return Err(Failure::Abortable(why.to_owned()));
            }
            Phase::Idle => {}
        }
        if transactions.epoch.is_none() && state.is_out() {
            let why = "the transactional id is not taken over: no broker answers";
            return Err(Failure::Abortable(why.to_owned()));
        }
        self.start(state)
            .map_err(|error| Failure::Fatal(error.to_string()))?;
        self.enter(Phase::Open {
            since: state.now,
            spoiled: None,
        });
        Ok(())
    }

    pub(super) fn enter(&mut self, phase: Phase<Acks>) {
        if let Some(transactions) = &mut self.transactions {
            transactions.phase = phase;
        }
    }

    /// What ended the client for good, if anything.
    pub(super) fn ended(&self) -> Option<Failure> {
        self.transactions.as_ref()?.ended.clone()
    }

    /// Whether a transaction holds records or offsets.
    pub(super) fn is_open(&self) -> bool {
        let transactions = self.transactions.as_ref();
        transactions.is_some_and(|transactions| transactions.since().is_some())
    }

    fn epoch(&self) -> u64 {
        let epoch = self.transactions.as_ref().and_then(|all| all.epoch);
        epoch.unwrap_or_default()
    }

    /// The end of a transaction, at the coordinator.
    pub(super) fn end(
        &mut self,
        state: &mut State,
        commit: bool,
        late: Duration,
    ) -> Result<(), Failure> {
        match state.end(&self.who, self.epoch(), commit, late) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.fenced(state.now)),
        }
    }

    /// Makes offsets part of the open transaction, at the coordinator.
    pub(super) fn attach(
        &mut self,
        state: &mut State,
        offsets: super::transactions::Offsets,
    ) -> Result<(), Failure> {
        match state.attach(
            &self.who,
            self.epoch(),
            self.client,
            &self.group.name,
            offsets,
        ) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.fenced(state.now)),
        }
    }

    /// Breaks the client.
    pub(super) fn break_down(&mut self) -> Failure {
        let failure = Failure::Fatal("the client broke".to_owned());
        if let Some(transactions) = &mut self.transactions {
            return transactions.ended.get_or_insert(failure).clone();
        }
        failure
    }

    /// Drops what was appended and not settled, and aborts the transaction that holds it. While no
    /// broker answers it is asked until one does, which takes no time here: nobody can see the
    /// difference before.
    pub(super) fn abort(&mut self, state: &mut State) -> Result<(), Failure> {
        if let Some(ended) = self.ended() {
            return Err(ended);
        }
        self.clear(state);
        match self.transactions.as_ref().map(|all| &all.phase) {
            Some(Phase::Open { .. }) => {}
            Some(Phase::Committing { .. }) => {
                let why = "the transaction may be committed already, and cannot be aborted";
                return Err(Failure::Fatal(why.to_owned()));
            }
            Some(Phase::Idle) | None => return Ok(()),
        }
        let fault = state.strike(StepKind::Abort, &self.who, Some(self.client), None);
        if fault == Some(Fault::Fatal) {
            return Err(self.break_down());
        }
        self.end(state, false, Duration::ZERO)?;
        self.enter(Phase::Idle);
        Ok(())
    }

    /// Ends what is open, one way or the other, so that whoever comes next need not wait for it.
    pub(super) fn finish(&mut self, state: &mut State) -> Result<(), Failure> {
        match self.transactions.as_ref().map(|all| &all.phase) {
            Some(Phase::Committing { .. }) => self.end(state, true, Duration::ZERO),
            _ => self.abort(state),
        }
    }
}
