//! The state of the transactions of a member's producer, as the client sees them.

use std::time::Duration;

use crate::log::outcome::Acks;
use crate::log::{CommitId, Failure};

/// How the transaction of a producer stands.
#[derive(Debug, Default)]
pub(super) enum Phase<A> {
    #[default]
    Idle,
    /// One is open; with a reason why it may not be committed it can only be aborted.
    Open {
        since: Duration,
        abort_only: Option<String>,
    },
    /// One is being committed, and the outcome is not known. The acknowledgements of the batch are
    /// reported when it is.
    Committing {
        since: Duration,
        batch: CommitId,
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
