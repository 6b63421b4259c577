//! What the state machine of [`Transactions`] asks of a log: the calls of one producer, and what a commit
//! asks of the member that has it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::commit::{CommitBatch, TaskResults};
use super::super::error::{Failure, LogError};
use super::Transactions;
use super::batch_tasks::Failures;
use crate::record::TaskId;

/// The calls of one producer with a transactional id. Nothing is committed by one that fails: the same call
/// may succeed ([`Failure::Retriable`]), the transaction has to be aborted ([`Failure::Abortable`]), or the
/// client is of no more use ([`Failure::Fatal`]).
pub(crate) trait TransactionClient {
    /// The time since some fixed moment.
    fn now(&self) -> Duration;
    /// Takes the transactional id over, without waiting: the broker first ends what a predecessor left
    /// open. Returns why that is not done yet, or `None` once it is.
    fn take_over(&mut self) -> Result<Option<String>, LogError>;
    fn begin(&mut self) -> Result<(), Failure>;
    /// Commits the open transaction, or asks again how that ended. Returns whether that was answered by
    /// the deadline.
    fn commit(&mut self, deadline: Instant) -> Result<bool, Failure>;
    /// Aborts the open transaction. Returns whether that was answered by the deadline.
    fn abort(&mut self, deadline: Instant) -> Result<bool, Failure>;
    /// Forgets everything that was appended and not committed.
    fn clear(&mut self);
    /// Waits a moment until a call is made again; `false` when the deadline is over.
    fn pause(&mut self, deadline: Instant) -> bool;
    /// What ended the client for good, if anything: the broker knows a newer producer with the
    /// transactional id, or has ended its transaction ([`Failure::ProducerFenced`]); it knows a newer member
    /// with the instance name ([`Failure::InstanceFenced`]); or anything else ([`Failure::Fatal`]).
    fn ended(&self) -> Option<Failure>;
    /// A message with the last error that the client reported.
    fn with_last_error(&self, what: &str) -> String {
        what.to_owned()
    }
}

/// What a commit asks of a member: its producer's calls, its appends, its tasks, its place in the group.
pub(crate) trait CommitClient {
    /// The client of the member's producer.
    type Calls: TransactionClient;

    fn calls(&mut self) -> &mut Self::Calls;
    /// Waits until everything appended is acknowledged or has failed, at most until `deadline`.
    fn acks(&mut self, deadline: Instant) -> TaskResults;
    /// The failures of appends, with the reason that only the open transaction knows. Called while one is open.
    fn explain(&mut self, failures: Failures) -> Failures {
        failures
    }
    /// Why no task is the member's any more, if that is so.
    fn lost(&self) -> Option<&'static str> {
        None
    }
    fn owns(&self, task: TaskId) -> bool;
    /// Makes the offsets of a batch part of the open transaction.
    fn send_offsets(
        &mut self,
        open: &Transactions,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        deadline: Instant,
    ) -> Result<(), Failures>;
    /// Whether no time is left before the deadline.
    fn is_late(&self, deadline: Instant) -> bool;
}
