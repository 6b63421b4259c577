//! The world's log with transactions: records lie in it as soon as they are appended, and become
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

    pub(super) fn fly(&mut self, task: TaskId, mut row: Row) {
        if self.is_exactly_once() {
            row.kind = Kind::Open;
            self.changelog.get_mut(&task).unwrap().push(row);
        } else {
            self.flying.push((task, row));
        }
    }

    /// Whoever joins in the name of a dead member ends its transaction.
    pub(super) fn end_predecessor(&mut self) {
        if self.is_exactly_once() {
            self.doubtful = None;
            self.end(Kind::Aborted);
        }
    }

    pub(super) fn abort(&mut self) {
        assert!(
            self.doubtful.is_none(),
            "nobody aborts what may be committed"
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

    fn commit(&mut self, unit: &CommitBatch) {
        self.end(Kind::Data);
        for (task, topic, offset, metadata) in &unit.offsets {
            let (offset, metadata) = (*offset, metadata.clone());
            let committed = Committed { offset, metadata };
            match *topic {
                INPUT => self.committed.insert(*task, committed),
                topic => self.others.insert((*task, topic), committed),
            };
        }
    }

    pub(super) fn settle_once(&mut self, unit: &CommitBatch) -> CommitOutcome {
        let settles = std::mem::replace(&mut self.settles, Settles::Well);
        if let Some((doubtful, _)) = &self.doubtful {
            assert_eq!(doubtful.id, unit.id, "the doubtful unit is asked for first");
        }
        let acked = self.doubtful.take().map(|(_, acked)| acked);
        let acked = acked.unwrap_or_else(|| self.acked());
        let failure = match settles {
            Settles::Well => {
                self.commit(unit);
                return answer(unit, &acked, &Ok(()));
            }
            Settles::Doubt(0, true) => {
                self.commit(unit);
                return answer(unit, &acked, &Ok(()));
            }
            Settles::Doubt(0, false) => Failure::Abortable("it had been aborted".into()),
            Settles::Doubt(left, outcome) => {
                self.settles = Settles::Doubt(left - 1, outcome);
                self.doubtful = Some((unit.clone(), acked.clone()));
                return answer(unit, &acked, &Err(Failure::Unknown("late".into())));
            }
            Settles::ProduceFails(landed) => {
                self.tear(landed);
                Failure::Abortable("no ack".into())
            }
            Settles::CommitFails(failure) => failure,
            Settles::Refused => Failure::Refused {
                topic: "group-state".into(),
                key: "a".into(),
                reason: "too large".into(),
            },
        };
        let tasks = unit.offsets.iter().map(|(task, ..)| *task);
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
    unit: &CommitBatch,
    acked: &BTreeMap<TaskId, TaskAcks>,
    outcome: &Result<(), Failure>,
) -> CommitOutcome {
    let tasks = unit.offsets.iter().map(|(task, ..)| *task);
    CommitOutcome {
        acks: acked
            .iter()
            .map(|(task, acked)| (*task, Ok(*acked)))
            .collect(),
        offsets: tasks.map(|task| (task, outcome.clone())).collect(),
    }
}
