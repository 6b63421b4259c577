//! The world's log with transactions: records are in it as soon as they are appended, and become
//! visible, or not, with the control record that ends their transaction.

use super::*;

impl World {
    pub(super) fn exactly_once(partitions: i32) -> Self {
        let mut plan = plan(partitions);
        plan.group.guarantee = Guarantee::ExactlyOnce;
        Self::of(plan, partitions, Arc::new(MemoryStores::default()))
    }

    pub(super) fn is_exactly_once(&self) -> bool {
        self.core.plan().group.guarantee == Guarantee::ExactlyOnce
    }

    pub(super) fn send(&mut self, task: TaskId, mut row: Row) {
        if self.is_exactly_once() {
            row.kind = Kind::Open;
            self.changelog.get_mut(&task).unwrap().push(row);
        } else {
            self.in_flight.push((task, row));
        }
    }

    /// A member that joins under the transactional id of a dead one ends its transaction.
    pub(super) fn end_predecessor(&mut self) {
        if self.is_exactly_once() {
            self.in_doubt = None;
            self.end(Kind::Aborted);
        }
    }

    pub(super) fn abort(&mut self) {
        assert!(
            self.in_doubt.is_none(),
            "what may be committed is not aborted"
        );
        self.aborts += 1;
        self.end(Kind::Aborted);
    }

    fn end(&mut self, as_kind: Kind) {
        for log in self.changelog.values_mut() {
            let mut touched = false;
            for row in log.iter_mut().filter(|row| row.kind == Kind::Open) {
                row.kind = as_kind;
                touched = true;
            }
            if touched {
                log.push(marker());
            }
        }
    }

    fn commit(&mut self, batch: &CommitBatch) {
        self.end(Kind::Data);
        for (task, topic, offset, metadata) in &batch.offsets {
            let (offset, metadata) = (*offset, metadata.clone());
            let committed = Committed { offset, metadata };
            match *topic {
                INPUT => self.committed.insert(*task, committed),
                topic => self.others.insert((*task, topic), committed),
            };
        }
    }

    pub(super) fn commit_once(&mut self, batch: &CommitBatch) -> CommitOutcome {
        let next_commit = std::mem::replace(&mut self.next_commit, NextCommit::Succeeds);
        if let Some((in_doubt, _)) = &self.in_doubt {
            assert_eq!(
                in_doubt.id, batch.id,
                "the commit in doubt is asked for first"
            );
        }
        let acked = self.in_doubt.take().map(|(_, acked)| acked);
        let acked = acked.unwrap_or_else(|| self.acked());
        let failure = match next_commit {
            NextCommit::Succeeds => {
                self.commit(batch);
                return answer(batch, &acked, &Ok(()));
            }
            NextCommit::InDoubt(0, true) => {
                self.commit(batch);
                return answer(batch, &acked, &Ok(()));
            }
            NextCommit::InDoubt(0, false) => Failure::Abortable("it had been aborted".into()),
            NextCommit::InDoubt(left, outcome) => {
                self.next_commit = NextCommit::InDoubt(left - 1, outcome);
                self.in_doubt = Some((batch.clone(), acked.clone()));
                return answer(batch, &acked, &Err(Failure::Unknown("late".into())));
            }
            NextCommit::ProduceFails(landed) => {
                self.tear(landed);
                Failure::Abortable("no ack".into())
            }
            NextCommit::CommitFails(failure) => failure,
            NextCommit::Refused => Failure::Refused {
                topic: "group-state".into(),
                key: "a".into(),
                reason: "too large".into(),
            },
        };
        let tasks = batch.offsets.iter().map(|(task, ..)| *task);
        CommitOutcome {
            acks: tasks.map(|task| (task, Err(failure.clone()))).collect(),
            offsets: BTreeMap::new(),
        }
    }

    fn acked(&self) -> BTreeMap<TaskId, TaskAcks> {
        let mut acked: BTreeMap<TaskId, TaskAcks> = BTreeMap::new();
        for (task, log) in &self.changelog {
            let open = |row: &Row| row.kind == Kind::Open;
            let count = log.iter().filter(|row| open(row)).count();
            let Some(first) = log.iter().position(open) else {
                continue;
            };
            let last = log.iter().rposition(open).unwrap();
            let changelog = Some((first as Offset, last as Offset, count as u64));
            let markers = 1;
            acked.insert(*task, TaskAcks { changelog, markers });
        }
        acked
    }

    /// Of the open transaction only so many records were written.
    fn tear(&mut self, landed: usize) {
        for log in self.changelog.values_mut() {
            let open = log.iter().filter(|row| row.kind == Kind::Open).count();
            let keep = log.len() - open.saturating_sub(landed);
            log.truncate(keep);
        }
    }

    /// At every moment what is visible of the table is the fold of exactly the inputs that are
    /// committed.
    pub(super) fn check_once(&self) {
        if !self.is_exactly_once() {
            return;
        }
        for (task, log) in &self.changelog {
            let committed = self.committed.get(task);
            let committed = committed.map_or(0, |committed| committed.offset as usize);
            let read = &self.input[task][..committed];
            assert_eq!(fold_rows(log), fold_input(read), "{task:?} at {committed}");
            let data = |rows: &[Row]| rows.iter().filter(|row| row.kind == Kind::Data).count();
            assert_eq!(data(log), data(read), "one visible update for each input");
        }
    }
}

fn answer(
    batch: &CommitBatch,
    acked: &BTreeMap<TaskId, TaskAcks>,
    outcome: &Result<(), Failure>,
) -> CommitOutcome {
    let tasks = batch.offsets.iter().map(|(task, ..)| *task);
    CommitOutcome {
        acks: acked
            .iter()
            .map(|(task, acked)| (*task, Ok(*acked)))
            .collect(),
        offsets: tasks.map(|task| (task, outcome.clone())).collect(),
    }
}
