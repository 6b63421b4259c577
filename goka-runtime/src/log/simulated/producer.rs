//! A member's producer, as the client sees it: what was appended since the last unit and what became of
//! it, task by task, and the state of its transactions. Ends of transactions are in `transacting`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::faults::Written;
use super::produce::{Outgoing, Unwritten};
use super::state::{ClientId, Shared, State};
use super::topics::Body;
use super::transacting::{Phase, Transactions};
use crate::log::{Failure, Group, TaskAcks};
use crate::record::{Append, AppendKind, Appends, Guarantee, Offset, TaskId};

/// What became of one task's records since the last unit.
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
            // What follows a failed record is dropped with it, so the order is never broken.
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

    /// What became of everything appended since this was last asked, task by task.
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
            self.spoil("it holds records of a partition that is not owned any more");
        }
    }

    /// Keeps the open transaction from being committed.
    pub(super) fn spoil(&mut self, why: &str) {
        if let Some(transactions) = &mut self.transactions
            && let Phase::Open { spoiled, .. } = &mut transactions.phase
        {
            spoiled.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Drops what is known of everything appended and not settled. What is out of our hands lands
    /// before anything that is written from now on.
    pub(super) fn clear(&mut self, state: &mut State) {
        self.ledgers.clear();
        state.purge(self.client);
    }

    /// What it means that the coordinator knows a newer epoch.
    pub(super) fn fenced(&mut self, now: Duration) -> Failure {
        let timeout = self.group.transaction_timeout;
        let Some(transactions) = &mut self.transactions else {
            return Failure::Fatal("this producer has no transactions".to_owned());
        };
        // The broker has one word for both: a twin took the id over, or the time-out did.
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
}
