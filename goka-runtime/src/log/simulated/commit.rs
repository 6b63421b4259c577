//! The durable half of a member: acknowledgements first, then offsets; exactly once all of it in one
//! transaction. The outcomes are those of the Kafka engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::outcome::{Acks, Failures, acknowledged, all_acked, each, failed, tasks};
use super::faults::{Fault, StepKind};
use super::groups::{Offsets, Standing};
use super::member::SimulatedMember;
use super::state::{Locked, State};
use super::transacting::Phase;
use crate::log::{CommitBatch, CommitOutcome, Committed, Committer, Failure, TaskAcks};
use crate::record::{Appends, Guarantee, TaskId};

impl Committer for SimulatedMember {
    fn append(&mut self, appends: &Appends) {
        if !self.is_dead() {
            self.producer.append(appends);
        }
    }

    fn commit(&mut self, batch: &CommitBatch, _deadline: Instant) -> CommitOutcome {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.dead.contains(&self.client) {
            let why = Failure::Fatal("this member was killed".to_owned());
            return failed(batch, each(&tasks(batch, []), |_| why.clone()));
        }
        self.heard(&mut state);
        match self.group.guarantee {
            Guarantee::AtLeastOnce => self.commit_at_least_once(&mut state, batch),
            Guarantee::ExactlyOnce => self.commit_transaction(&mut state, batch),
        }
    }

    fn abort(&mut self, _deadline: Instant) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.dead.contains(&self.client) {
            return Err(Failure::Fatal("this member was killed".to_owned()));
        }
        match self.group.guarantee {
            // What is appended may be written already, and cannot be taken back.
            Guarantee::AtLeastOnce => Err(Failure::Fatal("no transaction is open".to_owned())),
            Guarantee::ExactlyOnce => self.producer.abort(&mut state),
        }
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
            state.group(&self.group.name, |group, _| group.members.heard(id, now));
        }
    }

    /// Whether the group's coordinator takes offsets from this member.
    fn standing(&self, state: &mut State) -> Result<(), Failure> {
        let id = self.id;
        if mutant!(NoFence) {
            return Ok(());
        }
        match state.group(&self.group.name, |group, _| group.members.standing(id)) {
            Standing::In => Ok(()),
            Standing::Unknown => Err(Failure::Stale(
                "committing offsets: the group does not know this member".to_owned(),
            )),
            Standing::Fenced => Err(Failure::InstanceFenced(format!(
                "committing offsets: group instance `{}` has a newer member",
                self.producer.who
            ))),
        }
    }

    fn offsets<'u>(&self, batch: &'u CommitBatch, of: impl Fn(TaskId) -> bool + 'u) -> Offsets {
        let offsets = batch.offsets.iter().filter(|(task, ..)| of(*task));
        offsets
            .map(|(task, topic, offset, metadata)| {
                let committed = Committed {
                    offset: *offset,
                    metadata: metadata.clone(),
                };
                let topic: Arc<str> = self.group.topic(*topic).clone();
                ((topic, task.partition), committed)
            })
            .collect()
    }

    fn commit_at_least_once(
        &mut self,
        state: &mut Locked<'_>,
        batch: &CommitBatch,
    ) -> CommitOutcome {
        let acks = self.producer.close(state);
        let mut offsets = BTreeMap::new();
        let mut listed = BTreeSet::new();
        for (task, ..) in &batch.offsets {
            if acks.get(task).is_some_and(Result::is_err) && !mutant!(CommitBeforeAcks) {
                continue;
            }
            match self.tasks.contains_key(task) {
                true => drop(listed.insert(*task)),
                false => drop(offsets.insert(*task, Err(lost(*task)))),
            }
        }
        if !listed.is_empty() {
            let list = self.offsets(batch, |task| listed.contains(&task));
            let outcome = self.commit_offsets(state, list);
            offsets.extend(listed.into_iter().map(|task| (task, outcome.clone())));
        }
        CommitOutcome { acks, offsets }
    }

    /// Commits offsets outside a transaction.
    fn commit_offsets(&self, state: &mut State, offsets: Offsets) -> Result<(), Failure> {
        let who = &self.producer.who;
        let fault = state.inject(StepKind::Commit, who, Some(self.client), None);
        if state.is_out() {
            let why = "committing offsets: no broker answers";
            return Err(Failure::Retriable(why.to_owned()));
        }
        if fault == Some(Fault::Stale) {
            let why = "committing offsets: the group is in another generation";
            return Err(Failure::Stale(why.to_owned()));
        }
        let unknown = match fault {
            Some(Fault::CommitUnknown { happened }) => Some(happened),
            _ => None,
        };
        if unknown != Some(false) {
            self.standing(state)?;
            state.count(self.client, &self.group.name, offsets);
            state.version += 1;
        }
        match unknown {
            None => Ok(()),
            Some(_) => Err(Failure::Unknown(
                "the commit of offsets was not answered in time".to_owned(),
            )),
        }
    }

    fn commit_transaction(&mut self, state: &mut Locked<'_>, batch: &CommitBatch) -> CommitOutcome {
        let transactions = self.producer.transactions.as_mut();
        if let Some(transactions) = transactions
            && let Phase::Committing { batch: of, .. } = &transactions.phase
        {
            let of = *of;
            if of != batch.id {
                let why = format!(
                    "batch {} is committed while it is not known whether batch {} is",
                    batch.id.0, of.0
                );
                return failed(
                    batch,
                    each(&tasks(batch, []), |_| Failure::Fatal(why.clone())),
                );
            }
            if let Phase::Committing {
                since,
                acks,
                happened,
                ..
            } = std::mem::take(&mut transactions.phase)
            {
                return self.end(state, batch, since, acks, happened);
            }
        }
        let acks = self.producer.close(state);
        let tasks = tasks(batch, acks.keys().copied());
        if tasks.is_empty() {
            if self.producer.is_open() {
                // It only holds records of tasks that are not owned any more. If this fails, the next batch
                // reports it.
                drop(self.producer.abort(state));
            }
            return CommitOutcome::default();
        }
        match self.prepare(state, batch, &tasks, acks) {
            Ok((since, acks)) => self.end(state, batch, since, acks, false),
            Err(failures) => {
                self.producer
                    .mark_abort_only("a part of it failed, and it is not aborted yet");
                failed(batch, failures)
            }
        }
    }

    /// Everything before the commit.
    fn prepare(
        &mut self,
        state: &mut State,
        batch: &CommitBatch,
        tasks: &BTreeSet<TaskId>,
        acks: BTreeMap<TaskId, Result<TaskAcks, Failure>>,
    ) -> Result<(Duration, Acks), Failures> {
        let all = |failure: &Failure| each(tasks, |_| failure.clone());
        if let Some(ended) = self.producer.ended() {
            return Err(all(&ended));
        }
        let acks = acknowledged(tasks, acks)?;
        self.owned(tasks)?;
        self.producer
            .begin(state)
            .map_err(|failure| all(&failure))?;
        if !batch.offsets.is_empty() {
            let offsets = self.offsets(batch, |_| true);
            self.attach(state, offsets)
                .map_err(|failure| all(&failure))?;
        }
        let transactions = self.producer.transactions.as_ref();
        let since = transactions.and_then(|all| all.since());
        Ok((since.unwrap_or(state.now), acks))
    }

    /// Refuses a batch with a task that another member may own.
    fn owned(&self, tasks: &BTreeSet<TaskId>) -> Result<(), Failures> {
        if mutant!(StaleWrites) || tasks.iter().all(|task| self.tasks.contains_key(task)) {
            return Ok(());
        }
        Err(each(tasks, |task| match self.tasks.contains_key(&task) {
            false => lost(task),
            true => Failure::Abortable("a task of the batch is not owned any more".to_owned()),
        }))
    }

    /// Makes the batch's offsets part of its transaction.
    fn attach(&mut self, state: &mut State, offsets: Offsets) -> Result<(), Failure> {
        let who = &self.producer.who;
        let fault = state.inject(StepKind::Attach, who, Some(self.client), None);
        if state.is_out() {
            let why = "committing offsets: no broker answers";
            return Err(Failure::Abortable(why.to_owned()));
        }
        match fault {
            Some(Fault::Stale) => {
                let why = "committing offsets: the group is in another generation";
                return Err(Failure::Stale(why.to_owned()));
            }
            Some(Fault::Abortable) => {
                let why = "committing offsets: the coordinator refuses";
                return Err(Failure::Abortable(why.to_owned()));
            }
            _ => {}
        }
        // The transaction's coordinator is asked first, the group's afterwards (AddOffsetsToTxn, then
        // TxnOffsetCommit).
        self.producer.attach(state, Offsets::default())?;
        self.standing(state)?;
        self.producer.attach(state, offsets)
    }

    /// Commits the transaction. An outcome that is not known is asked for by the next commit of the batch.
    fn end(
        &mut self,
        state: &mut State,
        batch: &CommitBatch,
        since: Duration,
        acks: Acks,
        happened: bool,
    ) -> CommitOutcome {
        let who = &self.producer.who;
        let fault = state.inject(StepKind::End, who, Some(self.client), None);
        let open = Phase::Open {
            since,
            abort_only: None,
        };
        self.producer.enter(open);
        let mut unknown = None;
        let outcome = match fault {
            _ if state.is_out() => {
                unknown = Some(happened);
                Ok(())
            }
            Some(Fault::CommitUnknown { happened: now }) => {
                unknown = Some(happened || now);
                match now && !happened {
                    true => self.producer.end(state, true, Duration::ZERO),
                    false => Ok(()),
                }
            }
            Some(Fault::Fatal) => Err(self.producer.break_down()),
            Some(Fault::Abortable) if !happened => {
                let why = "committing the transaction: the coordinator refuses";
                Err(Failure::Abortable(why.to_owned()))
            }
            Some(Fault::LateMarkers(late)) => self.producer.end(state, true, late),
            // The coordinator accepts the same end a second time.
            _ => self.producer.end(state, true, Duration::ZERO),
        };
        match (outcome, unknown) {
            (Ok(()), None) => {
                self.producer.enter(Phase::Idle);
                all_acked(batch, &acks, &Ok(()))
            }
            (Ok(()), Some(happened)) => {
                let why = "the commit of the transaction was not answered in time";
                let answer = all_acked(batch, &acks, &Err(Failure::Unknown(why.to_owned())));
                self.producer.enter(Phase::Committing {
                    since,
                    batch: batch.id,
                    acks,
                    happened,
                });
                answer
            }
            (Err(failure), _) => {
                self.producer.mark_abort_only(&failure.to_string());
                let tasks = tasks(batch, acks.keys().copied());
                failed(batch, each(&tasks, |_| failure.clone()))
            }
        }
    }
}

fn lost(task: TaskId) -> Failure {
    Failure::Lost(format!(
        "partition {} is not owned any more",
        task.partition
    ))
}
