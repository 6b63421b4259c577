//! Transactional ids as their coordinator keeps them: the epoch of the current producer, and what its open
//! transaction touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::history::ClientId;
use super::topics::Serial;
use crate::record::TopicPartition;

/// A partition of a topic, with the number of the topic: one that is created again has another.
pub(super) type Touched = (TopicPartition, u64);

/// The producer's epoch is not the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fenced;

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) serial: Serial,
    pub(super) began: Duration,
    pub(super) partitions: BTreeSet<Touched>,
    /// The groups whose offsets it holds, each with the client that sent them last.
    pub(super) groups: BTreeMap<Arc<str>, ClientId>,
    /// Whether it is committed, and when the control records are written, once that is decided.
    pub(super) ending: Option<(bool, Duration)>,
}

/// A transactional id.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) epoch: u64,
    pub(super) timeout: Duration,
    pub(super) open: Option<Transaction>,
}

/// All transactional ids.
pub(super) type Identities = BTreeMap<String, Identity>;
