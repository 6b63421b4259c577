//! The durable half of a member: acknowledgements first, then offsets; exactly once all of it in one
//! transaction. The outcomes are those of the Kafka engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::faults::{Fault, StepKind};
use super::groups::{Offsets, Standing};
use super::member::{OwnedTask, SimulatedMember};
use super::producer::ProducerCalls;
use super::state::State;
use crate::log::commit::TaskResults;
use crate::log::seats::MemberId;
use crate::log::transactions::{
    CommitClient, Failures, Transactions, all, failed, not_owned, tasks,
};
use crate::log::{CommitBatch, CommitOutcome, Committed, Committer, Failure, Group};
use crate::record::{Appends, TaskId};

impl Committer for SimulatedMember {
    fn append(&mut self, appends: &Appends) {
        if !self.shared.lock().dead.contains(&self.client) {
            self.producer.append(appends);
        }
    }

    fn commit(&mut self, batch: &CommitBatch, deadline: Instant) -> CommitOutcome {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.dead.contains(&self.client) {
            let why = Failure::Fatal("this member was killed".to_owned());
            return failed(batch, all(&tasks(batch, []), &why));
        }
        self.heard(&mut state);
        let Some((transactions, calls)) = self.producer.transactions(&mut state) else {
            return self.commit_at_least_once(&mut state, batch);
        };
        let mut member = TransactionCommit {
            group: &self.group,
            id: self.id,
            calls,
            tasks: &self.tasks,
        };
        transactions.commit(&mut member, batch, deadline)
    }

    fn abort(&mut self, _deadline: Instant) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.dead.contains(&self.client) {
            return Err(Failure::Fatal("this member was killed".to_owned()));
        }
        self.producer.abort(&mut state)
    }
}

impl SimulatedMember {
    /// A commit counts as a heartbeat, if it reaches the group.
    fn heard(&self, state: &mut State) {
        let now = state.now;
        if state.is_out() || state.cut.contains_key(&self.client) {
            return;
        }
        if let Some(id) = self.id {
            state.group(&self.group.name, |group, _| {
                group.members.seats.heard(id, now)
            });
        }
    }

    fn commit_at_least_once(&mut self, state: &mut State, batch: &CommitBatch) -> CommitOutcome {
        let acks = self.producer.client.close(state);
        let mut offsets = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for (task, ..) in &batch.offsets {
            if acks.get(task).is_some_and(Result::is_err) && !mutant!(CommitBeforeAcks) {
                continue;
            }
            match self.tasks.contains_key(task) {
                true => drop(listed.insert(*task)),
                false => drop(offsets.insert(*task, Err(not_owned(*task)))),
            }
        }
        if !listed.is_empty() {
            let list = offsets_of(&self.group, batch, |task| listed.contains(&task));
            let outcome = self.commit_offsets(state, list);
            offsets.extend(listed.into_iter().map(|task| (task, outcome.clone())));
        }
        CommitOutcome { acks, offsets }
    }

    fn commit_offsets(&self, state: &mut State, offsets: Offsets) -> Result<(), Failure> {
        let who = &self.producer.client.who;
        let fault = state.inject(StepKind::Commit, who, Some(self.client), None);
        if state.is_out() {
            let why = "committing offsets: no broker answers";
            return Err(Failure::Retriable(why.to_owned()));
        }
        if fault == Some(Fault::Stale) {
            return Err(stale("is in another generation"));
        }
        if fault != Some(Fault::CommitUnknown { happened: false }) {
            check_standing(state, &self.group, self.id, who)?;
            state.count(self.client, &self.group.name, offsets);
            state.version += 1;
        }
        match fault {
            Some(Fault::CommitUnknown { .. }) => Err(Failure::Unknown(
                "the commit of offsets was not answered in time".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

fn stale(why: &str) -> Failure {
    Failure::Stale(format!("committing offsets: the group {why}"))
}

fn check_standing(
    state: &mut State,
    group: &Group,
    id: Option<MemberId>,
    who: &str,
) -> Result<(), Failure> {
    if mutant!(NoFence) {
        return Ok(());
    }
    match state.group(&group.name, |group, _| group.members.standing(id)) {
        Standing::In => Ok(()),
        Standing::Unknown => Err(stale("does not know this member")),
        Standing::Fenced => Err(Failure::InstanceFenced(format!(
            "committing offsets: group instance `{who}` has a newer member"
        ))),
    }
}

fn offsets_of(group: &Group, batch: &CommitBatch, of: impl Fn(TaskId) -> bool) -> Offsets {
    let offsets = batch.offsets.iter().filter(|(task, ..)| of(*task));
    let offsets = offsets.map(|(task, topic, offset, metadata)| {
        let (offset, metadata) = (*offset, metadata.clone());
        let committed = Committed { offset, metadata };
        (group.place(*topic, task.partition), committed)
    });
    offsets.collect()
}

/// What a commit works with.
struct TransactionCommit<'m> {
    group: &'m Group,
    id: Option<MemberId>,
    calls: ProducerCalls<'m>,
    tasks: &'m BTreeMap<TaskId, OwnedTask>,
}

impl TransactionCommit<'_> {
    /// Makes offsets part of the transaction, as the coordinators do.
    fn attach(&mut self, offsets: Offsets) -> Result<(), Failure> {
        let fault = self.calls.inject(StepKind::Attach);
        if self.calls.state.is_out() {
            let why = "committing offsets: no broker answers";
            return Err(Failure::Abortable(why.to_owned()));
        }
        match fault {
            Some(Fault::Stale) => return Err(stale("is in another generation")),
            Some(Fault::Abortable) => {
                let why = "committing offsets: the coordinator refuses";
                return Err(Failure::Abortable(why.to_owned()));
            }
            _ => {}
        }
        // The transaction's coordinator is asked first, the group's afterwards (AddOffsetsToTxn, then
        // TxnOffsetCommit).
        let fenced = |_| Failure::Abortable("the producer is fenced".to_owned());
        self.calls.attach(Offsets::default()).map_err(fenced)?;
        let who = &self.calls.client.who;
        check_standing(self.calls.state, self.group, self.id, who)?;
        self.calls.attach(offsets).map_err(fenced)
    }
}

impl<'m> CommitClient for TransactionCommit<'m> {
    type Calls = ProducerCalls<'m>;

    fn calls(&mut self) -> &mut ProducerCalls<'m> {
        &mut self.calls
    }

    fn acks(&mut self, _deadline: Instant) -> TaskResults {
        self.calls.client.close(self.calls.state)
    }

    fn owns(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
    }

    fn send_offsets(
        &mut self,
        open: &Transactions,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        _deadline: Instant,
    ) -> Result<(), Failures> {
        let sent = self.attach(offsets_of(self.group, batch, |_| true));
        sent.map_err(|failure| {
            let failure = open.ended(&self.calls).unwrap_or(failure);
            all(tasks, &failure)
        })
    }

    /// No time passes during a commit.
    fn is_late(&self, _deadline: Instant) -> bool {
        false
    }
}
