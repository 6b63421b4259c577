//! A member's producer, as the client sees it: what was appended since the last commit and whether it was
//! written, task by task, and its transactions: taken over, begun, committed, aborted. Knows no offsets of
//! tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::faults::{Fault, StepKind, Written};
use super::groups::Offsets;
use super::history::ClientId;
use super::produce::{Outgoing, Unwritten};
use super::state::{Shared, State};
use super::topics::Body;
use super::transacting::{Phase, Transactions};
use crate::log::outcome::Acks;
use crate::log::{Failure, Group, LogError, MemberTimeout, TaskAcks};
use crate::record::{Append, AppendKind, Appends, Guarantee, Offset, TaskId};

/// Kafka's `transaction.max.timeout.ms` by default.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(15 * 60);

/// One task's records since the last commit.
#[derive(Debug, Default)]
struct Ledger {
    changelog: Option<(Offset, Offset, u64)>,
    /// What is under way, and whether it counts as changelog.
    tickets: Vec<(u64, bool)>,
    failure: Option<Failure>,
}

impl Ledger {
    fn count(&mut self, offset: Offset) {
        let (first, last, count) = self.changelog.unwrap_or((offset, offset, 0));
        self.changelog = Some((first.min(offset), last.max(offset), count + 1));
    }

    fn close(mut self, state: &mut State) -> Result<TaskAcks, Failure> {
        for (ticket, is_changelog) in std::mem::take(&mut self.tickets) {
            match state.arrived.remove(&ticket) {
                Some(offset) if is_changelog => self.count(offset),
                Some(_) => {}
                None => {
                    state.forget_ticket(ticket);
                    let late = Failure::Unknown("not acknowledged in time".to_owned());
                    self.failure.get_or_insert(late);
                }
            }
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(TaskAcks {
                changelog: self.changelog,
                markers: 0,
            }),
        }
    }
}

#[derive(Debug)]
pub(super) struct Producer {
    pub(super) shared: Arc<Shared>,
    pub(super) group: Arc<Group>,
    pub(super) who: String,
    pub(super) client: ClientId,
    ledgers: BTreeMap<TaskId, Ledger>,
    /// Exactly once, everything is written in transactions.
    pub(super) transactions: Option<Transactions>,
}

impl Producer {
    pub(super) fn new(
        shared: Arc<Shared>,
        group: Arc<Group>,
        who: String,
        client: ClientId,
    ) -> Self {
        let transactions = match group.guarantee {
            Guarantee::AtLeastOnce => None,
            Guarantee::ExactlyOnce => Some(Transactions::default()),
        };
        Self {
            shared,
            group,
            who,
            client,
            ledgers: BTreeMap::new(),
            transactions,
        }
    }

    pub(super) fn append(&mut self, appends: &Appends) {
        if appends.is_empty() {
            return;
        }
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let begun = self.begin(&mut state);
        for append in appends.iter() {
            let ledger = self.ledgers.entry(append.task).or_default();
            if let Err(failure) = &begun {
                ledger.failure.get_or_insert_with(|| failure.clone());
            }
            // What follows a failed record is dropped with it, so the order is kept.
            if ledger.failure.is_none() {
                self.produce(&mut state, &append);
            }
        }
    }

    fn produce(&mut self, state: &mut State, append: &Append<'_>) {
        let timestamp = match append.timestamp {
            -1 => state.wall,
            timestamp => timestamp,
        };
        let body = Body {
            timestamp,
            key: append.key.map(<[u8]>::to_vec),
            value: append.value.map(<[u8]>::to_vec),
            headers: append.headers.to_vec(),
        };
        let is_loop =
            append.kind == AppendKind::Output && self.group.inputs.contains(&append.topic);
        let epoch = self.transactions.as_ref().and_then(|all| all.epoch);
        let epoch = epoch.filter(|_| !(is_loop && mutant!(LoopbackOutside)));
        let written = state.produce(&Outgoing {
            who: &self.who,
            client: Some(self.client),
            topic: self.group.topic(append.topic),
            partition: append.partition,
            body: body.into(),
            producer: epoch.map(|epoch| (&*self.who, epoch)),
        });
        let is_changelog = append.kind == AppendKind::Changelog;
        let ledger = self.ledgers.entry(append.task).or_default();
        match written {
            Ok(Written::At(offset)) if is_changelog => ledger.count(offset),
            Ok(Written::At(_)) => {}
            Ok(Written::UnderWay(ticket)) => ledger.tickets.push((ticket, is_changelog)),
            Err(Unwritten::Failed(failure)) => ledger.failure = Some(failure),
            Err(Unwritten::Fenced) => {
                let failure = self.fenced(state.now);
                self.ledgers.entry(append.task).or_default().failure = Some(failure);
            }
        }
    }

    /// The acknowledgements of everything appended since this was last called, task by task.
    pub(super) fn close(
        &mut self,
        state: &mut State,
    ) -> BTreeMap<TaskId, Result<TaskAcks, Failure>> {
        let ledgers = std::mem::take(&mut self.ledgers).into_iter();
        ledgers
            .map(|(task, ledger)| (task, ledger.close(state)))
            .collect()
    }

    /// Drops what is known of a task that is not owned any more.
    pub(super) fn forget(&mut self, task: TaskId) {
        if self.ledgers.remove(&task).is_some() && !mutant!(StaleWrites) {
            // Its records would become visible without the offsets that cover them.
            self.mark_abort_only("it holds records of a partition that is not owned any more");
        }
    }

    /// Keeps the open transaction from being committed.
    pub(super) fn mark_abort_only(&mut self, why: &str) {
        if let Some(transactions) = &mut self.transactions
            && let Phase::Open { abort_only, .. } = &mut transactions.phase
        {
            abort_only.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Drops what is known of everything appended and not committed. Records already sent are written
    /// before anything that is appended from now on.
    pub(super) fn clear(&mut self, state: &mut State) {
        self.ledgers.clear();
        state.purge(self.client);
    }

    /// The failure that a newer epoch at the coordinator means.
    pub(super) fn fenced(&mut self, now: Duration) -> Failure {
        let timeout = self.group.transaction_timeout;
        let Some(transactions) = &mut self.transactions else {
            return Failure::Fatal("this producer has no transactions".to_owned());
        };
        // The broker has one error for both: another producer took the id over, or the transaction timed
        // out.
        let open = transactions.since().map(|since| now.saturating_sub(since));
        let failure = match open {
            Some(open) if open >= timeout => Failure::Fatal(format!(
                "the transaction was open for {} ms, and the broker ends one after {} ms \
                 (transaction.timeout.ms)",
                open.as_millis(),
                timeout.as_millis()
            )),
            _ => Failure::ProducerFenced(format!(
                "transactional id `{}`: there is a newer producer with it",
                self.who
            )),
        };
        transactions.ended.get_or_insert(failure).clone()
    }

    /// Takes the transactional id over, if that is not done; what a predecessor left open is ended.
    ///
    /// # Errors
    /// What does not pass.
    pub(super) fn start(&mut self, state: &mut State) -> Result<(), LogError> {
        let timeout = self.group.transaction_timeout;
        let Some(transactions) = &mut self.transactions else {
            return Ok(());
        };
        if transactions.epoch.is_some() {
            return Ok(());
        }
        if timeout > LONGEST_TRANSACTION {
            return Err(LogError::TimeoutRefused {
                timeout: MemberTimeout::Transaction,
                given: timeout,
                group: self.group.name.to_string(),
                reason: format!(
                    "the broker takes at most {} ms; shorten it, or raise the broker's \
                     `transaction.max.timeout.ms`",
                    LONGEST_TRANSACTION.as_millis()
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
            Phase::Open {
                abort_only: None, ..
            } => return Ok(()),
            Phase::Open {
                abort_only: Some(why),
                ..
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
            abort_only: None,
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
    pub(super) fn attach(&mut self, state: &mut State, offsets: Offsets) -> Result<(), Failure> {
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

    /// Drops what was appended and not committed, and aborts the transaction that holds it. While no
    /// broker answers it is asked until one does, which takes no time here: the difference
    /// cannot be seen before.
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
        let fault = state.inject(StepKind::Abort, &self.who, Some(self.client), None);
        if fault == Some(Fault::Fatal) {
            return Err(self.break_down());
        }
        self.end(state, false, Duration::ZERO)?;
        self.enter(Phase::Idle);
        Ok(())
    }

    /// Commits or aborts what is open, so that the next producer need not wait for it.
    pub(super) fn finish(&mut self, state: &mut State) -> Result<(), Failure> {
        match self.transactions.as_ref().map(|all| &all.phase) {
            Some(Phase::Committing { .. }) => self.end(state, true, Duration::ZERO),
            _ => self.abort(state),
        }
    }
}
