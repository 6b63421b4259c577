//! The state of a member's transactions, and what a failure means in it. Decides nothing by itself and
//! calls no client: that is [`MemberProducer`](super::member_producer::MemberProducer).

use std::time::{Duration, Instant};

use super::super::{Failure, LogError, MemberTimeout};
use super::identity::TransactionalId;
use super::native::{Code, Fault};
use crate::shared_error::SharedError;

/// The transactions of one producer.
pub(super) struct Transactions {
    id: TransactionalId,
    timeout: Duration,
    state: State,
}

pub(super) enum State {
    /// The transactional id is being taken over.
    Starting {
        next: Instant,
        last_error: Option<String>,
    },
    /// None is open.
    Idle,
    /// One is open; with a reason why it may not be committed it can only be aborted.
    Open {
        since: Instant,
        abort_only: Option<String>,
    },
    /// One is being committed; the outcome is not known.
    Committing { since: Instant },
}

impl Transactions {
    pub(super) fn new(id: TransactionalId, timeout: Duration) -> Self {
        let state = State::Starting {
            next: Instant::now(),
            last_error: None,
        };
        Self { id, timeout, state }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
    }

    /// Keeps the open transaction from being committed.
    pub(super) fn mark_abort_only(&mut self, why: &str) {
        if let State::Open { abort_only, .. } = &mut self.state {
            abort_only.get_or_insert_with(|| why.to_owned());
        }
    }

    /// When the broker aborts the open transaction.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        Some(self.since()? + self.timeout)
    }

    /// Since when one is open.
    pub(super) fn since(&self) -> Option<Instant> {
        match self.state {
            State::Open { since, .. } | State::Committing { since } => Some(since),
            State::Starting { .. } | State::Idle => None,
        }
    }

    /// The failure that a fault means which ended the client.
    pub(super) fn fatal(&self, fault: &Fault) -> Failure {
        let reason = &fault.reason;
        if !is_fenced(fault.code) {
            return Failure::Fatal(reason.clone());
        }
        // The broker has one error for both: another producer took the id over, or the transaction timed
        // out.
        match self.timed_out(reason) {
            Some(why) => Failure::Fatal(why),
            None if fault.code == Code::FencedInstanceId => Failure::InstanceFenced(reason.clone()),
            None => {
                Failure::ProducerFenced(format!("transactional id `{}`: {reason}", self.id.name()))
            }
        }
    }

    /// The reason of a failure, if the transaction has been open for longer than the timeout. The broker
    /// aborts it some time after that; until then its errors say other things, or it does not answer.
    pub(super) fn timed_out(&self, reason: &str) -> Option<String> {
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
    pub(super) fn refused(&self, group: &str, fault: Fault) -> LogError {
        let who = format!("transactional id `{}`", self.id.name());
        let reason = fault.reason.clone();
        let advised = |what: String, advice: &str| LogError::Refused {
            what,
            reason: format!("{reason}; {advice}"),
            source: Some(SharedError::from(fault.clone())),
        };
        match fault.code {
            code if is_fenced(code) => LogError::ProducerFenced { who, reason },
            Code::InvalidTransactionTimeout => LogError::TimeoutRefused {
                timeout: MemberTimeout::Transaction,
                given: self.timeout,
                group: group.to_owned(),
                reason: format!(
                    "{reason}; set a shorter one, or raise the broker's `transaction.max.timeout.ms`"
                ),
            },
            Code::TransactionalIdAuthorizationFailed => advised(
                who,
                "allow WRITE and DESCRIBE on the transactional ids of the group (they begin with its \
                 name), or choose the guarantee at-least-once",
            ),
            Code::ClusterAuthorizationFailed => LogError::refused(who, fault),
            Code::UnsupportedFeature => too_old(&reason, Some(fault.into())),
            _ => LogError::client(who, fault),
        }
    }
}

/// A broker does not speak what exactly once needs.
pub(super) fn too_old(reason: &str, source: Option<SharedError>) -> LogError {
    LogError::Refused {
        what: "the guarantee exactly-once".to_owned(),
        reason: format!(
            "{reason}; it needs Apache Kafka 2.5 or later, with transactions: choose \
             at-least-once, or another cluster"
        ),
        source,
    }
}

fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId
    )
}
