//! The barrier of a worker: whether one is under way, which is the next, and what its outcome means for
//! one task. Which tasks it is of and what becomes of them is not decided here: [`super::commit`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::ids::CopyId;
use super::plan::RETRY;
use crate::log::{CommitBatch, CommitId, CommitOutcome, Epoch, Failure, TaskAcks};
use crate::record::{Guarantee, Offset, TaskId, TopicId};

/// A commit that was begun, with the assignments that it is of: an answer is for no later one.
#[derive(Debug)]
pub(super) struct PendingCommit {
    pub(super) batch: CommitBatch,
    pub(super) epochs: BTreeMap<TaskId, Epoch>,
    /// Whether its answer is awaited; one in doubt is asked for again after a while.
    is_asked: bool,
    /// Exactly once: it is not known whether the transaction is committed.
    is_in_doubt: bool,
    /// The copies whose stores went back while it was in doubt.
    pub(super) rolled_back: Vec<CopyId>,
}

/// The barriers of one worker, of which one at most is under way.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    pending: Option<PendingCommit>,
    /// The number of the last commit.
    last: u64,
    /// When the last one began.
    began: Duration,
    /// When a commit that failed is tried again.
    retry_at: Option<Duration>,
    /// Exactly once: since when the next one waits for guards.
    guarded_since: Option<Duration>,
}

impl Barrier {
    /// Whether no commit waits for its outcome.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_none()
    }

    /// Whether the answer to a commit is awaited.
    pub(super) fn is_committing(&self) -> bool {
        self.pending.as_ref().is_some_and(|commit| commit.is_asked)
    }

    /// Whether it is not known if a transaction is committed.
    pub(super) fn is_in_doubt(&self) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|commit| commit.is_in_doubt)
    }

    fn in_doubt(&mut self) -> Option<&mut PendingCommit> {
        self.pending.as_mut().filter(|commit| commit.is_in_doubt)
    }

    /// The store of a copy went back. Returns whether that has to wait for the outcome of a transaction.
    pub(super) fn defer_rollback(&mut self, copy: CopyId) -> bool {
        let rolled_back = self.in_doubt().map(|commit| commit.rolled_back.push(copy));
        rolled_back.is_some()
    }

    pub(super) fn due_at(&self, interval: Duration) -> Duration {
        self.began + interval
    }

    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// What failed is tried again in a while.
    pub(super) fn retry_later(&mut self, now: Duration) {
        self.retry_at = Some(now + RETRY);
    }

    /// The commit in doubt, whose outcome is asked for now.
    pub(super) fn ask_again(&mut self, now: Duration) -> Option<CommitBatch> {
        let commit = self.in_doubt()?;
        commit.is_asked = true;
        let batch = commit.batch.clone();
        self.began = now;
        Some(batch)
    }

    /// A barrier begins, with something to commit or not.
    pub(super) fn begin(&mut self, now: Duration) {
        self.began = now;
    }

    /// Commits offsets, for which an answer is awaited.
    pub(super) fn commit(
        &mut self,
        epochs: BTreeMap<TaskId, Epoch>,
        offsets: Vec<(TaskId, TopicId, Offset, String)>,
    ) -> CommitBatch {
        let batch = self.batch(offsets);
        self.pending = Some(PendingCommit {
            batch: batch.clone(),
            epochs,
            is_asked: true,
            is_in_doubt: false,
            rolled_back: Vec::new(),
        });
        batch
    }

    /// A commit with a number of its own.
    pub(super) fn batch(&mut self, offsets: Vec<(TaskId, TopicId, Offset, String)>) -> CommitBatch {
        self.last += 1;
        let id = CommitId(self.last);
        CommitBatch { id, offsets }
    }

    /// A commit was answered. Returns `None` if it is not the one that is awaited, or if its outcome is
    /// in doubt and will be asked for again.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        id: CommitId,
        is_in_doubt: bool,
    ) -> Option<PendingCommit> {
        let awaited = |commit: &&mut PendingCommit| commit.is_asked && commit.batch.id == id;
        let commit = self.pending.as_mut().filter(awaited)?;
        self.retry_at = None;
        if !is_in_doubt {
            return self.pending.take();
        }
        tracing::warn!("the outcome of a transaction is not known yet, asking again");
        (commit.is_asked, commit.is_in_doubt) = (false, true);
        self.retry_later(now);
        None
    }

    pub(super) fn awaits_guards(&self) -> bool {
        self.guarded_since.is_some()
    }

    /// Nothing is to wait for guards any more.
    pub(super) fn guards_ended(&mut self) {
        self.guarded_since = None;
    }

    /// The barrier is to wait for guards. Returns whether it may: they have `most` time.
    pub(super) fn may_wait_for_guards(&mut self, now: Duration, most: Duration) -> bool {
        let since = *self.guarded_since.get_or_insert(now);
        now.saturating_sub(since) < most
    }
}

/// What an outcome means for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// All of it is durable.
    Done,
    /// The records are; the offsets are committed again. Their outcome may be unknown.
    CommitAgain { is_unknown: bool },
    /// Nothing happened: read again from what is committed.
    Rewind,
    /// It is not known what happened: the copy is restored first.
    Reopen,
    /// Another member owns the task.
    Gone,
    /// The log never takes a record: the task stops.
    Refused(Failure),
    /// The worker ends.
    End(Failure),
}

impl Next {
    pub(super) fn of(
        guarantee: Guarantee,
        acks: &Result<TaskAcks, Failure>,
        offsets: Option<&Result<(), Failure>>,
    ) -> Self {
        let is_once = guarantee == Guarantee::ExactlyOnce;
        let (failure, has_records) = match (acks, offsets) {
            (Err(failure), _) => (failure, false),
            (Ok(_), Some(Err(failure))) => (failure, true),
            (Ok(_), _) => return Self::Done,
        };
        match failure {
            Failure::InstanceFenced(_) | Failure::ProducerFenced(_) => Self::End(failure.clone()),
            Failure::Fatal(_) if is_once => Self::End(failure.clone()),
            Failure::Lost(_) => Self::Gone,
            Failure::Refused { .. } if has_records => Self::End(failure.clone()),
            Failure::Refused { .. } => Self::Refused(failure.clone()),
            _ if is_once => Self::Rewind,
            _ if !has_records => Self::Reopen,
            failure => Self::CommitAgain {
                is_unknown: matches!(failure, Failure::Unknown(_)),
            },
        }
    }
}

/// Whether all is written and only the end of the transaction is unknown.
pub(super) fn is_in_doubt(outcome: &CommitOutcome) -> bool {
    let unknown = |outcome: &Result<(), Failure>| matches!(outcome, Err(Failure::Unknown(_)));
    outcome.acks.values().all(Result::is_ok) && outcome.offsets.values().any(unknown)
}

/// Whether anything of the commit did not happen.
pub(super) fn has_failed(outcome: &CommitOutcome) -> bool {
    outcome.acks.values().any(Result::is_err) || outcome.offsets.values().any(Result::is_err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> CopyId {
        let (lead, table) = (TopicId(0), TopicId(0));
        let task = TaskId { lead, partition: 0 };
        CopyId { task, table }
    }

    #[test]
    fn a_commit_in_doubt_is_asked_for_until_its_outcome_is_known() {
        let now = Duration::from_secs(1);
        let mut barrier = Barrier::default();
        let id = barrier.commit(BTreeMap::new(), Vec::new()).id;
        assert!(barrier.is_committing() && !barrier.defer_rollback(copy()));
        let older = CommitId(id.0 - 1);
        assert!(barrier.answered(now, older, false).is_none() && barrier.is_committing());
        assert!(barrier.answered(now, id, true).is_none());
        assert!(barrier.is_in_doubt() && !barrier.is_committing());
        assert_eq!(barrier.retry_at(), Some(now + RETRY));
        assert!(barrier.defer_rollback(copy()));
        assert!(
            barrier.answered(now, id, false).is_none(),
            "nothing was asked"
        );
        assert_eq!(barrier.ask_again(now).map(|batch| batch.id), Some(id));
        assert!(barrier.is_in_doubt() && barrier.is_committing());
        let settled = barrier.answered(now, id, false).expect("it is known");
        assert_eq!(settled.rolled_back, [copy()]);
        assert!(barrier.is_idle() && barrier.retry_at().is_none());
        assert!(barrier.ask_again(now).is_none());
    }
}
