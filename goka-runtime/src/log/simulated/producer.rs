//! A member's producer, as the client sees it: what was appended since the last commit and whether it was
//! written, task by task, and the calls of its transactions. Knows no offsets of tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::{Fault, StepKind, Written};
use super::groups::Offsets;
use super::history::ClientId;
use super::produce::{Outgoing, Unwritten};
use super::state::{Shared, State};
use crate::log::commit::TaskResults;
use crate::log::transactions::{TransactionClient, Transactions};
use crate::log::{Failure, Group, LogError, MemberTimeout, Sent, TaskAcks};
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

pub(super) struct Producer {
    pub(super) client: ProducerClient,
    /// Exactly once, everything is written in transactions.
    pub(super) transactions: Option<Transactions>,
}

/// A producer without its transactions.
pub(super) struct ProducerClient {
    shared: Arc<Shared>,
    group: Arc<Group>,
    pub(super) who: String,
    pub(super) id: ClientId,
    ledgers: BTreeMap<TaskId, Ledger>,
    /// Once the transactional id is taken over.
    epoch: Option<u64>,
    /// Whether the transaction that is being committed is committed already, though that was not
    /// answered.
    is_committed: bool,
    /// What ended the client for good.
    ended: Option<Failure>,
}

/// A producer's calls, which arrive at the log at once.
pub(super) struct ProducerCalls<'a> {
    pub(super) client: &'a mut ProducerClient,
    pub(super) state: &'a mut State,
}

impl Producer {
    pub(super) fn new(shared: Arc<Shared>, group: Arc<Group>, who: String, id: ClientId) -> Self {
        let transactions = match group.guarantee {
            Guarantee::AtLeastOnce => None,
            Guarantee::ExactlyOnce => {
                Some(Transactions::new(who.clone(), group.transaction_timeout))
            }
        };
        Self {
            client: ProducerClient {
                shared,
                group,
                who,
                id,
                ledgers: BTreeMap::new(),
                epoch: None,
                is_committed: false,
                ended: None,
            },
            transactions,
        }
    }

    /// The transactions, and the calls that they are made with; `None` at least once.
    pub(super) fn transactions<'a>(
        &'a mut self,
        state: &'a mut State,
    ) -> Option<(&'a mut Transactions, ProducerCalls<'a>)> {
        let client = &mut self.client;
        Some((self.transactions.as_mut()?, ProducerCalls { client, state }))
    }

    pub(super) fn append(&mut self, appends: &Appends) {
        if appends.is_empty() {
            return;
        }
        let shared = self.client.shared.clone();
        let mut state = shared.lock();
        let begun = match self.transactions(&mut state) {
            Some((transactions, mut calls)) => transactions
                .begin(&mut calls, Instant::now())
                .and_then(|()| transactions.ended(&calls).map_or(Ok(()), Err)),
            None => Ok(()),
        };
        for append in appends.iter() {
            let ledger = self.client.ledgers.entry(append.task).or_default();
            if let Err(failure) = &begun {
                ledger.failure.get_or_insert_with(|| failure.clone());
            }
            // What follows a failed record is dropped with it, so the order is kept.
            if ledger.failure.is_none()
                && self.client.produce(&mut state, &append).is_err()
                && let Some((transactions, calls)) = self.transactions(&mut state)
            {
                let failure = transactions.ended(&calls);
                self.client.ledgers.entry(append.task).or_default().failure = failure;
            }
        }
    }

    /// Drops what is known of a task that is not owned any more.
    pub(super) fn forget(&mut self, task: TaskId) {
        if self.client.ledgers.remove(&task).is_some()
            && !mutant!(StaleWrites)
            && let Some(transactions) = &mut self.transactions
        {
            transactions.disown();
        }
    }

    /// Drops what was appended and not committed, and aborts the transaction that holds it; at least once,
    /// it may be written already.
    pub(super) fn abort(&mut self, state: &mut State) -> Result<(), Failure> {
        match self.transactions(state) {
            Some((transactions, mut calls)) => transactions.abort(&mut calls, Instant::now()),
            None => Err(Failure::Fatal("no transaction is open".to_owned())),
        }
    }

    /// Commits or aborts what is open, so that the next producer need not wait for it.
    pub(super) fn close(&mut self, state: &mut State) -> Result<(), Failure> {
        match self.transactions(state) {
            Some((transactions, mut calls)) => transactions.close(&mut calls, Instant::now()),
            None => Ok(()),
        }
    }
}

impl ProducerClient {
    /// Writes a record; a failure of the record alone is noted with its task. The error is that there is a
    /// newer producer with the transactional id.
    fn produce(&mut self, state: &mut State, append: &Append<'_>) -> Result<(), Failure> {
        let is_loop =
            append.kind == AppendKind::Output && self.group.inputs.contains(&append.topic);
        let epoch = self
            .epoch
            .filter(|_| !(is_loop && mutant!(LoopbackOutside)));
        let written = state.produce(&Outgoing {
            who: &self.who,
            client: Some(self.id),
            tp: &self.group.place(append.topic, append.partition),
            record: Sent::of(append, self.group.topic(append.topic)),
            producer: epoch.map(|epoch| (&*self.who, epoch)),
        });
        let is_changelog = append.kind == AppendKind::Changelog;
        let ledger = self.ledgers.entry(append.task).or_default();
        match written {
            Ok(Written::At(offset)) if is_changelog => ledger.count(offset),
            Ok(Written::At(_)) => {}
            Ok(Written::UnderWay(ticket)) => ledger.tickets.push((ticket, is_changelog)),
            Err(Unwritten::Failed(failure)) => ledger.failure = Some(failure),
            Err(Unwritten::Fenced) => return Err(self.fenced()),
        }
        Ok(())
    }

    /// The acknowledgements of everything appended since this was last called, task by task.
    pub(super) fn close(&mut self, state: &mut State) -> TaskResults {
        let ledgers = std::mem::take(&mut self.ledgers).into_iter();
        ledgers
            .map(|(task, ledger)| (task, ledger.close(state)))
            .collect()
    }

    /// Drops what is known of everything appended and not committed. Records already sent are written
    /// before anything that is appended from now on.
    pub(super) fn clear(&mut self, state: &mut State) {
        self.ledgers.clear();
        state.purge(self.id);
    }

    fn fenced(&mut self) -> Failure {
        let why = "there is a newer producer with it".to_owned();
        self.ended
            .get_or_insert(Failure::ProducerFenced(why.clone()));
        Failure::Fatal(why)
    }
}

impl ProducerCalls<'_> {
    fn end(&mut self, commit: bool, late: Duration) -> Result<bool, Failure> {
        let epoch = self.client.epoch.unwrap_or_default();
        let ended = self.state.end(&self.client.who, epoch, commit, late);
        ended.map(|()| true).map_err(|_| self.client.fenced())
    }

    /// Makes offsets part of the open transaction, at the coordinator.
    pub(super) fn attach(&mut self, offsets: Offsets) -> Result<(), Failure> {
        let client = &mut *self.client;
        let epoch = client.epoch.unwrap_or_default();
        let group = &client.group.name;
        let attached = self
            .state
            .attach(&client.who, epoch, client.id, group, offsets);
        attached.map_err(|_| client.fenced())
    }

    pub(super) fn inject(&mut self, step: StepKind) -> Option<Fault> {
        self.state
            .inject(step, &self.client.who, Some(self.client.id), None)
    }

    fn break_down(&mut self) -> Failure {
        let why = "the client broke".to_owned();
        self.client.ended.get_or_insert(Failure::Fatal(why.clone()));
        Failure::Fatal(why)
    }
}

impl TransactionClient for ProducerCalls<'_> {
    fn now(&self) -> Duration {
        self.state.now
    }

    fn take_over(&mut self) -> Result<Option<String>, LogError> {
        if self.state.is_out() {
            return Ok(Some("no broker answers".to_owned()));
        }
        let client = &mut *self.client;
        let timeout = client.group.transaction_timeout;
        if timeout > LONGEST_TRANSACTION {
            return Err(LogError::TimeoutRefused {
                timeout: MemberTimeout::Transaction,
                given: timeout,
                group: client.group.name.to_string(),
                reason: format!(
                    "the broker takes at most {} ms; shorten it, or raise the broker's \
                     `transaction.max.timeout.ms`",
                    LONGEST_TRANSACTION.as_millis()
                ),
            });
        }
        client.epoch = Some(self.state.take_over(&client.who, timeout));
        Ok(None)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.client.is_committed = false;
        Ok(())
    }

    fn commit(&mut self, _deadline: Instant) -> Result<bool, Failure> {
        let fault = self.inject(StepKind::End);
        if self.state.is_out() {
            return Ok(false);
        }
        let is_committed = self.client.is_committed;
        match fault {
            Some(Fault::CommitUnknown { happened }) => {
                if happened && !is_committed {
                    self.end(true, Duration::ZERO)?;
                }
                self.client.is_committed |= happened;
                Ok(false)
            }
            Some(Fault::Fatal) => Err(self.break_down()),
            Some(Fault::Abortable) if !is_committed => {
                Err(Failure::Abortable("the coordinator refuses".to_owned()))
            }
            Some(Fault::LateMarkers(late)) => self.end(true, late),
            // The coordinator accepts the same end a second time.
            _ => self.end(true, Duration::ZERO),
        }
    }

    /// While no broker answers it is asked until one does, which takes no time here: the difference
    /// cannot be seen before.
    fn abort(&mut self, _deadline: Instant) -> Result<bool, Failure> {
        match self.inject(StepKind::Abort) {
            Some(Fault::Fatal) => Err(self.break_down()),
            _ => self.end(false, Duration::ZERO),
        }
    }

    fn clear(&mut self) {
        self.client.clear(self.state);
    }

    /// No time passes during a call.
    fn pause(&mut self, _deadline: Instant) -> bool {
        false
    }

    fn ended(&self) -> Option<Failure> {
        self.client.ended.clone()
    }
}
