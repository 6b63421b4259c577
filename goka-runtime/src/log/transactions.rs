//! The transactions of a member, exactly once: one state machine for every log whose transactions are the
//! member's. It decides when one is begun, committed and aborted, and what a failure means; a
//! [`TransactionClient`] makes the calls.
//!
//! Each commit batch is one transaction. The appends are acknowledged, the transaction gets the offsets, and
//! is committed; no step follows one that failed.

mod batch_tasks;
mod client;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use self::batch_tasks::{Acks, acknowledged, all_acked};
pub(super) use self::batch_tasks::{Failures, all, each, failed, tasks};
pub(super) use self::client::{CommitClient, TransactionClient};
use super::commit::{CommitBatch, CommitId, CommitOutcome, TaskResults};
use super::error::{Failure, LogError};
use crate::record::TaskId;

/// How long until taking the transactional id over is tried again.
const START_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Transactions {
    id: String,
    /// After which the broker aborts an open transaction.
    timeout: Duration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The transactional id is being taken over.
    Starting {
        next: Duration,
        pending: Option<String>,
    },
    Idle,
    /// One is open; with a reason why it may not be committed it can only be aborted.
    Open {
        since: Duration,
        abort_only: Option<String>,
    },
    /// One is being committed, and the outcome is not known. The acknowledgements of the batch are
    /// reported when it is.
    InDoubt {
        since: Duration,
        batch: CommitId,
        acks: Acks,
    },
    /// The client ended while it committed.
    Ended(Failure),
}

impl Transactions {
    pub(super) fn new(id: String, timeout: Duration) -> Self {
        Self {
            id,
            timeout,
            phase: Phase::Starting {
                next: Duration::ZERO,
                pending: None,
            },
        }
    }

    fn since(&self) -> Option<Duration> {
        match self.phase {
            Phase::Open { since, .. } | Phase::InDoubt { since, .. } => Some(since),
            Phase::Starting { .. } | Phase::Idle | Phase::Ended(_) => None,
        }
    }

    /// Whether a transaction holds records or offsets.
    pub(super) fn is_open(&self) -> bool {
        self.since().is_some()
    }

    /// How long until the broker aborts the open transaction.
    pub(super) fn time_left(&self, now: Duration) -> Option<Duration> {
        Some((self.since()? + self.timeout).saturating_sub(now))
    }

    /// The reason of a failure, if the transaction has been open for longer than the timeout. The broker
    /// aborts it some time after that; until then its errors say other things, or it does not answer.
    pub(super) fn timed_out(&self, now: Duration, reason: &str) -> Option<String> {
        let open = now.saturating_sub(self.since()?);
        (open >= self.timeout).then(|| {
            format!(
                "the transaction was open for {} ms, and the broker ends one after {} ms \
                 (transaction.timeout.ms): {reason}",
                open.as_millis(),
                self.timeout.as_millis()
            )
        })
    }

    /// The failure that the end of the client means, if it has ended.
    pub(super) fn ended(&self, client: &impl TransactionClient) -> Option<Failure> {
        let ended = client.ended()?;
        // The broker has one error for both: another producer took the id over, or the transaction timed
        // out.
        if let Failure::ProducerFenced(reason) | Failure::InstanceFenced(reason) = &ended
            && let Some(why) = self.timed_out(client.now(), reason)
        {
            return Some(Failure::Fatal(why));
        }
        Some(match ended {
            Failure::ProducerFenced(reason) => {
                Failure::ProducerFenced(format!("transactional id `{}`: {reason}", self.id))
            }
            ended => ended,
        })
    }

    fn failure(&self, client: &impl TransactionClient, what: &str, error: Failure) -> Failure {
        let why = format!("{what}: {error}");
        self.ended(client).unwrap_or(match error {
            Failure::Retriable(_) | Failure::Abortable(_) => Failure::Abortable(why),
            _ => Failure::Fatal(why),
        })
    }

    /// Keeps the open transaction from being committed.
    fn mark_abort_only(&mut self, why: &str) {
        if let Phase::Open { abort_only, .. } = &mut self.phase {
            abort_only.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Records in the open transaction are of a task that is not owned any more: they would become visible
    /// without the offsets that cover them.
    pub(super) fn disown(&mut self) {
        self.mark_abort_only("it holds records of a partition that is not owned any more");
    }

    /// Takes the transactional id over, without waiting; returns whether that is done. A broker that does not
    /// answer is no error: see [`pending_start`](Transactions::pending_start).
    pub(super) fn start(&mut self, client: &mut impl TransactionClient) -> Result<bool, LogError> {
        let Phase::Starting { next, .. } = self.phase else {
            return Ok(true);
        };
        let now = client.now();
        if now < next {
            return Ok(false);
        }
        let pending = client.take_over()?;
        let is_done = pending.is_none();
        self.phase = match is_done {
            true => Phase::Idle,
            false => Phase::Starting {
                next: now + START_AGAIN,
                pending,
            },
        };
        Ok(is_done)
    }

    /// Why the transactional id is not taken over yet.
    pub(super) fn pending_start(&self, client: &impl TransactionClient) -> Option<String> {
        let Phase::Starting { pending, .. } = &self.phase else {
            return None;
        };
        let why = pending.as_deref().unwrap_or_default();
        Some(client.with_last_error(&format!("taking the transactional id over: {why}")))
    }

    /// Begins a transaction where none is open; waits until `deadline` for the transactional id.
    pub(super) fn begin(
        &mut self,
        client: &mut impl TransactionClient,
        deadline: Instant,
    ) -> Result<(), Failure> {
        match &self.phase {
            Phase::Open {
                abort_only: None, ..
            } => return Ok(()),
            Phase::Open {
                abort_only: Some(why),
                ..
            } => return Err(Failure::Abortable(why.clone())),
            Phase::InDoubt { .. } => {
                let why = "it is not known yet whether the transaction before is committed";
                return Err(Failure::Abortable(why.to_owned()));
            }
            Phase::Ended(failure) => return Err(failure.clone()),
            Phase::Starting { .. } | Phase::Idle => {}
        }
        if let Some(ended) = self.ended(client) {
            return Err(ended);
        }
        while !self
            .start(client)
            .map_err(|error| Failure::Fatal(error.to_string()))?
        {
            if !client.pause(deadline) {
                let why = self.pending_start(client).unwrap_or_default();
                return Err(Failure::Abortable(why));
            }
        }
        client
            .begin()
            .map_err(|error| self.failure(client, "beginning a transaction", error))?;
        self.phase = Phase::Open {
            since: client.now(),
            abort_only: None,
        };
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        member: &mut impl CommitClient,
        batch: &CommitBatch,
        deadline: Instant,
    ) -> CommitOutcome {
        if let Phase::InDoubt {
            batch: in_doubt,
            acks,
            ..
        } = &mut self.phase
        {
            if *in_doubt == batch.id {
                let acks = std::mem::take(acks);
                return self.end(member.calls(), batch, acks, deadline);
            }
            let why = format!(
                "batch {} is committed while it is not known whether batch {} is",
                batch.id.0, in_doubt.0
            );
            return failed(batch, all(&tasks(batch, []), &Failure::Fatal(why)));
        }
        let acks = member.acks(deadline);
        let tasks = tasks(batch, acks.keys().copied());
        if tasks.is_empty() {
            if self.is_open() {
                // It only holds records of tasks that are not owned any more. If this fails, the next batch
                // reports it.
                drop(self.abort(member.calls(), deadline));
            }
            return CommitOutcome::default();
        }
        match self.prepare(member, batch, &tasks, acks, deadline) {
            Ok(acks) => self.end(member.calls(), batch, acks, deadline),
            Err(failures) => {
                self.mark_abort_only("a part of it failed, and it is not aborted yet");
                failed(batch, failures)
            }
        }
    }

    fn prepare(
        &mut self,
        member: &mut impl CommitClient,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        acks: TaskResults,
        deadline: Instant,
    ) -> Result<Acks, Failures> {
        if let Some(ended) = self.ended(member.calls()) {
            return Err(all(tasks, &ended));
        }
        let acks = acknowledged(tasks, acks).map_err(|failures| match self.is_open() {
            true => member.explain(failures),
            false => failures,
        })?;
        fail_point!("after-acks", acks.len());
        check_owned(member, tasks)?;
        self.begin(member.calls(), deadline)
            .map_err(|failure| all(tasks, &failure))?;
        if !batch.offsets.is_empty() {
            member.send_offsets(self, batch, tasks, deadline)?;
        }
        if member.is_late(deadline) {
            let why = "no time was left to commit the transaction";
            return Err(all(tasks, &Failure::Abortable(why.to_owned())));
        }
        Ok(acks)
    }

    /// Commits the transaction. An outcome that is not known is asked for by the next commit of the batch.
    fn end(
        &mut self,
        client: &mut impl TransactionClient,
        batch: &CommitBatch,
        acks: Acks,
        deadline: Instant,
    ) -> CommitOutcome {
        fail_point!("before-transaction-end", batch.offsets.len());
        match self.await_commit(client, deadline) {
            Ok(()) => {
                fail_point!("after-transaction-end", batch.offsets.len());
                all_acked(batch, &acks, &Ok(()))
            }
            Err(unknown @ Failure::Unknown(_)) => {
                let outcome = all_acked(batch, &acks, &Err(unknown));
                let since = self.since().unwrap_or_else(|| client.now());
                self.phase = Phase::InDoubt {
                    since,
                    batch: batch.id,
                    acks,
                };
                outcome
            }
            Err(failure) => {
                let tasks = tasks(batch, acks.keys().copied());
                failed(batch, all(&tasks, &failure))
            }
        }
    }

    /// Commits the open transaction, or asks again how that ended. To be called again after
    /// [`Failure::Unknown`], the error at the deadline.
    pub(super) fn await_commit(
        &mut self,
        client: &mut impl TransactionClient,
        deadline: Instant,
    ) -> Result<(), Failure> {
        loop {
            match client.commit(deadline) {
                Ok(true) => {
                    self.phase = Phase::Idle;
                    return Ok(());
                }
                Ok(false) => {
                    let why = "the commit of the transaction was not answered in time";
                    return Err(Failure::Unknown(client.with_last_error(why)));
                }
                Err(Failure::Retriable(_)) => {
                    client.pause(deadline);
                }
                Err(error) => {
                    let failure = self.failure(client, "committing the transaction", error);
                    self.phase = match (&failure, self.since()) {
                        (Failure::Abortable(why), Some(since)) => Phase::Open {
                            since,
                            abort_only: Some(why.clone()),
                        },
                        _ => Phase::Ended(failure.clone()),
                    };
                    return Err(failure);
                }
            }
        }
    }

    /// Drops what was appended and not committed, and aborts the transaction that holds it.
    pub(super) fn abort(
        &mut self,
        client: &mut impl TransactionClient,
        deadline: Instant,
    ) -> Result<(), Failure> {
        client.clear();
        match &self.phase {
            Phase::Open { .. } => {}
            Phase::InDoubt { .. } => {
                let why = "the transaction may be committed already, and cannot be aborted";
                return Err(Failure::Fatal(why.to_owned()));
            }
            Phase::Ended(failure) => return Err(failure.clone()),
            Phase::Starting { .. } | Phase::Idle => return Ok(()),
        }
        if let Some(ended) = self.ended(client) {
            return Err(ended);
        }
        self.mark_abort_only("it is being aborted");
        loop {
            match client.abort(deadline) {
                Ok(true) => {
                    self.phase = Phase::Idle;
                    return Ok(());
                }
                Ok(false) => return Err(not_aborted(client, "")),
                // One that the broker refused is begun anew by the next call.
                Err(Failure::Retriable(why) | Failure::Abortable(why)) => {
                    if !client.pause(deadline) {
                        return Err(not_aborted(client, &format!(": {why}")));
                    }
                }
                Err(error) => return Err(self.failure(client, "aborting the transaction", error)),
            }
        }
    }

    /// Commits what is in doubt, or aborts what is open, so that the next producer need not wait for it.
    pub(super) fn close(
        &mut self,
        client: &mut impl TransactionClient,
        deadline: Instant,
    ) -> Result<(), Failure> {
        match self.phase {
            Phase::InDoubt { .. } => self.await_commit(client, deadline),
            _ => self.abort(client, deadline),
        }
    }
}

fn not_aborted(client: &impl TransactionClient, reason: &str) -> Failure {
    let why = format!("the transaction could not be aborted in time{reason}");
    Failure::Fatal(client.with_last_error(&why))
}

/// The failure of a commit for a task that is not the member's.
pub(super) fn not_owned(task: TaskId) -> Failure {
    Failure::Lost(format!(
        "partition {} is not owned any more",
        task.partition
    ))
}

/// Refuses a batch with a task that another member may own.
fn check_owned(member: &impl CommitClient, tasks: &BTreeSet<TaskId>) -> Result<(), Failures> {
    if let Some(why) = member.lost() {
        return Err(all(tasks, &Failure::Lost(why.to_owned())));
    }
    if mutant!(StaleWrites) || tasks.iter().all(|task| member.owns(*task)) {
        return Ok(());
    }
    Err(each(tasks, |task| match member.owns(task) {
        false => not_owned(task),
        true => Failure::Abortable("a task of the batch is not owned any more".to_owned()),
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::log::TaskAcks;
    use crate::record::TopicId;

    const TASK: TaskId = TaskId {
        lead: TopicId(0),
        partition: 0,
    };

    /// A member whose transactional id is not taken over, and whose only append has failed.
    #[derive(Default)]
    struct Waiting {
        begun: usize,
        explained: usize,
    }

    impl TransactionClient for Waiting {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn take_over(&mut self) -> Result<Option<String>, LogError> {
            Ok(Some("no coordinator answers".to_owned()))
        }

        fn begin(&mut self) -> Result<(), Failure> {
            self.begun += 1;
            Ok(())
        }

        fn commit(&mut self, _: Instant) -> Result<bool, Failure> {
            Err(Failure::Fatal("nothing is open".to_owned()))
        }

        fn abort(&mut self, _: Instant) -> Result<bool, Failure> {
            Err(Failure::Fatal("nothing is open".to_owned()))
        }

        fn clear(&mut self) {}

        fn pause(&mut self, _: Instant) -> bool {
            false
        }

        fn ended(&self) -> Option<Failure> {
            None
        }
    }

    impl CommitClient for Waiting {
        type Calls = Self;

        fn calls(&mut self) -> &mut Self {
            self
        }

        fn acks(&mut self, _: Instant) -> BTreeMap<TaskId, Result<TaskAcks, Failure>> {
            [(TASK, Err(Failure::Abortable("not begun".to_owned())))].into()
        }

        fn explain(&mut self, failures: Failures) -> Failures {
            self.explained += 1;
            failures
        }

        fn owns(&self, _: TaskId) -> bool {
            true
        }

        fn send_offsets(
            &mut self,
            _: &Transactions,
            _: &CommitBatch,
            _: &BTreeSet<TaskId>,
            _: Instant,
        ) -> Result<(), Failures> {
            Ok(())
        }

        fn is_late(&self, _: Instant) -> bool {
            false
        }
    }

    /// On Kafka the explanation is what librdkafka says when another transaction is begun. Where none is open,
    /// it would begin one that nobody knows of.
    #[test]
    fn failures_outside_of_a_transaction_are_not_explained_by_it() {
        let mut member = Waiting::default();
        let mut transactions = Transactions::new("id".to_owned(), Duration::from_secs(10));
        let deadline = Instant::now();
        let begun = transactions.begin(&mut member, deadline);
        assert!(matches!(begun, Err(Failure::Abortable(_))), "{begun:?}");
        let batch = CommitBatch {
            id: CommitId(1),
            offsets: Vec::new(),
        };
        let outcome = transactions.commit(&mut member, &batch, deadline);
        assert!(outcome.acks[&TASK].is_err(), "{outcome:?}");
        assert_eq!((member.begun, member.explained), (0, 0));
        assert_eq!(transactions.abort(&mut member, deadline), Ok(()));
    }
}
