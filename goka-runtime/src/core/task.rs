//! One task: a partition of the table with all its inputs, from its assignment to its end. A task is made
//! of parts, each of which owns one matter; this file has its life and what takes several parts.
//!
//! `Inspecting -> Restoring -> Starting -> Verifying -> Running -> Stopped | Gone`. A barrier that fails
//! with its records in the log or not leads back to `Inspecting`. The core decides when a task goes on;
//! [`super::handler_call`] and [`super::visit`] call the handlers.

mod copies;
mod flushes;
mod guards;
mod offsets;
mod phase;
mod progress;
mod reads;
mod walk;

use std::ops::Range;
use std::time::Duration;

pub use self::phase::State;

pub(super) use self::copies::{Copies, FlushRules, JoinedCopies};
pub(super) use self::guards::Guards;
pub(super) use self::offsets::Offsets;
pub(super) use self::progress::CommitProgress;
#[cfg(test)]
pub(super) use self::progress::RECOMMIT;
pub(super) use self::reads::{StoreFailure, StoreFailures};
pub(super) use self::walk::{Visit, Walk};

use self::phase::Phase;
use super::event::Effect;
use super::ids::{CopyId, Now, RecordId};
use super::plan::Plan;
use crate::log::{Assignment, CommitBatch, Epoch, TaskAcks};
use crate::record::{Offset, TaskId, TopicId};

/// Without a commit for so long, the control records of the last one are surely written.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) epoch: Epoch,
    phase: Phase,
    pub(super) offsets: Offsets,
    pub(super) copies: Copies,
    pub(super) guards: Guards,
    pub(super) walk: Walk,
    pub(super) progress: CommitProgress,
    pub(super) reads: StoreFailures,
}

impl Task {
    pub(super) fn new(plan: &Plan, assignment: &Assignment, now: Duration) -> Self {
        let (id, committed) = (assignment.task, &assignment.committed);
        let mut offsets = Offsets::new(committed);
        offsets.add_deaths(&plan.deaths, &plan.group, id);
        let visits = plan.visits.as_ref();
        Self {
            id,
            epoch: assignment.epoch,
            phase: Phase::Inspecting,
            offsets,
            copies: Copies::new(plan.table.as_ref().map(|table| table.topic)),
            guards: Guards::default(),
            walk: Walk::new(visits.and_then(|visits| committed.get(&visits.topic))),
            progress: CommitProgress::new(now),
            reads: StoreFailures::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.phase.state()
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether what it wrote still counts: it handles records, or did before it failed.
    pub(super) fn has_run(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Stopped { .. })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Stopped { .. } | Phase::Gone)
    }

    /// Whether it waits for an inspection, or for another one: a store that lost commits while it was
    /// restored is inspected again.
    pub(super) fn awaits_inspection(&self, table: Option<TopicId>) -> bool {
        match &self.phase {
            Phase::Restoring(copies) => table.is_some_and(|table| copies.contains(&table)),
            phase => *phase == Phase::Inspecting,
        }
    }

    /// It was inspected: its own copy is restored, if `restores` has its topic, and so are those of the
    /// tables that it joins. Returns the joined copies that are to be followed now.
    pub(super) fn inspected(&mut self, restores: Option<TopicId>, plan: &Plan) -> Vec<CopyId> {
        let mut follows = Vec::new();
        let mut waiting = match std::mem::replace(&mut self.phase, Phase::Inspecting) {
            // Inspected again: the joined copies go on.
            Phase::Restoring(waiting) => waiting,
            _ => {
                for join in &plan.joins {
                    let (task, table) = (self.id, join.topic);
                    self.copies.join(table);
                    follows.push(CopyId { task, table });
                }
                follows.iter().map(|copy| copy.table).collect()
            }
        };
        waiting.extend(restores);
        self.phase = match waiting.is_empty() {
            true => Phase::Starting,
            false => Phase::Restoring(waiting),
        };
        follows
    }

    /// Whether a copy is one of those being restored; from now on it is not.
    pub(super) fn end_restore(&mut self, table: TopicId) -> bool {
        match &mut self.phase {
            Phase::Restoring(copies) => copies.remove(&table),
            _ => false,
        }
    }

    /// A copy whose restore has ended reaches a changelog offset.
    pub(super) fn restored(&mut self, table: TopicId, offset: Offset, expects_markers: bool) {
        self.copies.restored(table, offset, expects_markers);
        if matches!(&self.phase, Phase::Restoring(copies) if copies.is_empty()) {
            self.phase = Phase::Starting;
        }
    }

    /// Handles records from now on.
    pub(super) fn run(&mut self, out: &mut Vec<Effect>) {
        self.phase = Phase::Running;
        self.fetch(out);
    }

    /// Fetches inputs and joined tables.
    fn fetch(&self, out: &mut Vec<Effect>) {
        let all = self.inputs().chain(self.copies.joined_positions());
        out.push(Effect::Fetch(self.id, all.collect()));
    }

    /// The next record of each input.
    fn inputs(&self) -> impl Iterator<Item = (TopicId, Offset)> {
        let positions = self.offsets.positions().iter();
        positions.map(|(topic, next)| (*topic, *next))
    }

    /// Handles the record again that could not read its store, once its time has come.
    pub(super) fn retry_reads(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.reads.is_retry_due(now.monotonic) && self.is_running() {
            self.fetch(out);
        }
    }

    /// Skips offsets that hold nothing. Records before them that were not handled, or not
    /// applied, hold the position back: they are fetched again, and the gap is reported again after them.
    pub(super) fn skip_gap(&mut self, topic: TopicId, gap: &Range<Offset>) {
        if !self.offsets.skip_gap(topic, gap) {
            self.copies.skip_gap(topic, gap);
        }
    }

    /// Whether a barrier has something to do for it.
    pub(super) fn is_dirty(&self) -> bool {
        match self.phase {
            Phase::Starting => true,
            Phase::Running | Phase::Stopped { .. } => {
                self.progress.has_written()
                    || self.progress.is_owed()
                    || self.offsets.are_ahead(&self.guards)
            }
            _ => false,
        }
    }

    /// Whether everything that it handled is durable.
    pub(super) fn is_durable(&self) -> bool {
        matches!(
            self.phase.state(),
            State::Inspecting | State::Restoring | State::Gone
        ) || (!self.is_dirty() && self.copies.is_flushed() && !self.has_guards())
    }

    /// Whether handlers left work behind that is not done and counts.
    pub(super) fn has_guards(&self) -> bool {
        self.is_running() && !self.guards.is_empty()
    }

    /// Whether a guard holds back records, and something was written since the last barrier.
    pub(super) fn is_guarded(&self) -> bool {
        !self.guards.is_empty() && self.progress.has_written()
    }

    /// Whether intake is to wait for it.
    pub(super) fn stops_intake(&self) -> bool {
        let waits = self.progress.is_unknown() || self.guards.are_many();
        waits && self.state() != State::Stopped
    }

    /// Whether its records wait for a store that cannot be read.
    pub(super) fn awaits_store(&self) -> bool {
        self.reads.is_retry_awaited()
    }

    /// Whether a walk of it can go on.
    pub(super) fn walks(&self) -> bool {
        self.walk.is_under_way() && self.is_running() && !self.awaits_store()
    }

    /// Has its offsets committed again before they expire.
    pub(super) fn owe_old_commit(&mut self, now: Duration) {
        if matches!(
            self.phase,
            Phase::Running | Phase::Stopped { recommits: true }
        ) {
            self.progress.owe_if_old(now);
        }
    }

    /// What a barrier commits for it.
    pub(super) fn commits(&self, plan: &Plan) -> Vec<(TaskId, TopicId, Offset, String)> {
        let table_end = plan.table.as_ref();
        let table_end = table_end.map(|_| self.copies.own().acknowledged());
        let visits = plan.visits.as_ref().map(|visits| visits.topic);
        let committable = self.offsets.committable(&self.guards);
        let commit = |(topic, offset)| {
            let mut text = self.offsets.commit_text(topic, offset, table_end);
            if visits == Some(topic) {
                let position = self.offsets.position(topic);
                let is_held = self.guards.holds(topic);
                text = self.walk.add_to(text, position, is_held);
            }
            (self.id, topic, offset, text)
        };
        committable.map(commit).collect()
    }

    /// Takes back the metadata that names this program, of a task that is new to the group.
    pub(super) fn withdraw(&mut self) -> Vec<(TaskId, TopicId, Offset, String)> {
        let is_withdrawn = self.phase == Phase::Verifying && self.offsets.are_new();
        self.phase = Phase::Gone;
        let committed = self.offsets.all_committed().iter();
        committed
            .filter(|_| is_withdrawn)
            .map(|(topic, offset)| (self.id, *topic, *offset, String::new()))
            .collect()
    }

    /// The group has its offsets. Returns whether it begins to run; with `verifies` it first waits until
    /// it is known that no other program uses the group's name.
    pub(super) fn committed(
        &mut self,
        now: Duration,
        batch: &CommitBatch,
        verifies: bool,
        out: &mut Vec<Effect>,
    ) -> bool {
        for (_, topic, offset, text) in batch.offsets.iter().filter(|(of, ..)| *of == self.id) {
            self.offsets.commit(*topic, *offset);
            self.walk.commit(*offset, text);
        }
        self.progress.committed(now);
        if self.phase != Phase::Starting {
            return false;
        }
        self.offsets.started();
        if verifies {
            self.phase = Phase::Verifying;
            out.push(Effect::Verify(self.id, self.epoch));
        } else {
            self.run(out);
        }
        !verifies
    }

    /// What it wrote since the last barrier is acknowledged. Returns `false` if records of another
    /// writer lie between its own.
    pub(super) fn acknowledge(&mut self, acks: &TaskAcks) -> bool {
        let made = self.progress.take_written();
        let Some((first, last, count)) = acks.changelog else {
            return made == 0;
        };
        let buffer = self.copies.own_mut();
        let is_together = u64::try_from(last - first + 1) == Ok(made) && count == made;
        if is_together && buffer.expects(first) {
            let markers = Offset::try_from(acks.markers).unwrap_or(Offset::MAX);
            buffer.acknowledge(last + 1, markers);
            return true;
        }
        let (partition, expected) = (self.id.partition, buffer.acknowledged());
        tracing::warn!(
            partition,
            first,
            expected,
            "another writer in the group topic, restoring"
        );
        false
    }

    /// Forgets what is not acknowledged: the inputs are read again from what is committed.
    pub(super) fn forget_unacknowledged(&mut self) {
        let buffer = self.copies.own_mut();
        if !mutant!(OverlayKept) {
            buffer.drop_overlay();
        }
        if self.progress.rewind() {
            buffer.expect_anything();
        }
        self.offsets.rewind();
        self.guards.clear();
        self.walk.rewind();
    }

    /// What it did since the last barrier did not happen: its inputs are read again from what is
    /// committed. Its copy is as it was.
    pub(super) fn rewind(&mut self, out: &mut Vec<Effect>) {
        if !self.has_run() {
            // Nothing was handled yet.
            return;
        }
        self.forget_unacknowledged();
        if self.is_running() {
            out.push(Effect::Fetch(self.id, self.inputs().collect()));
        }
    }

    /// Whether the overlay's records are in the log is not known: the overlay is dropped, the memtable
    /// flushed, the copy restored from its own offset, and the inputs read again from what is committed.
    pub(super) fn reopen(&mut self, out: &mut Vec<Effect>) {
        self.release(out);
        self.forget_unacknowledged();
        if matches!(self.phase, Phase::Stopped { .. }) {
            return;
        }
        self.copies.drop_joined();
        self.phase = Phase::Flushing;
        self.inspect_if_flushed(out);
    }

    /// The store of a copy went back behind what its buffer counts on: the buffer is dropped, since the
    /// changelog has what was acknowledged, and the inputs what was not.
    pub(super) fn store_rolled_back(&mut self, table: TopicId, out: &mut Vec<Effect>) {
        self.copies.drop_copy(table);
        match self.phase {
            Phase::Running | Phase::Starting => self.reopen(out),
            // The changelog has what it was going to flush.
            Phase::Flushing => self.inspect(out),
            _ => {}
        }
    }

    /// Goes on to the inspection that waited for a flush.
    pub(super) fn inspect_if_flushed(&mut self, out: &mut Vec<Effect>) {
        if self.phase == Phase::Flushing && self.copies.own().is_flushed() {
            self.inspect(out);
        }
    }

    fn inspect(&mut self, out: &mut Vec<Effect>) {
        self.phase = Phase::Inspecting;
        out.push(Effect::Inspect(self.id, self.epoch));
    }

    /// Stops for good: what it handled before stays for the next barrier.
    pub(super) fn stop(&mut self, recommits: bool, out: &mut Vec<Effect>) {
        if !self.is_running() {
            self.forget_unacknowledged();
        }
        self.release(out);
        self.phase = Phase::Stopped { recommits };
    }

    /// Another member owns it: nothing of it is ours to finish.
    pub(super) fn gone(&mut self, out: &mut Vec<Effect>) {
        self.release(out);
        self.forget_unacknowledged();
        self.phase = Phase::Gone;
    }

    fn release(&self, out: &mut Vec<Effect>) {
        if self.is_running() {
            out.push(Effect::Release(self.id));
        }
    }

    /// Whether it goes on once everything is flushed.
    pub(super) fn waits_for_flush(&self) -> bool {
        self.phase == Phase::Flushing
    }

    /// Flushes all that is due.
    pub(super) fn flush(&mut self, now: Now, mut rules: FlushRules, out: &mut Vec<Effect>) {
        rules.is_urgent |= self.waits_for_flush();
        let due = self.copies.due_flushes(now, rules);
        for (_, table) in due {
            self.flush_copy(table, now, rules, out);
        }
    }

    pub(super) fn flush_copy(
        &mut self,
        table: TopicId,
        now: Now,
        rules: FlushRules,
        out: &mut Vec<Effect>,
    ) {
        let task = self.id;
        let batch = self.copies.start_flush(table, now, rules);
        out.extend(batch.map(|batch| Effect::Flush(CopyId { task, table }, batch)));
    }

    /// Without commits for a while, its copy is level with its topic: only control records lie ahead.
    pub(super) fn pass_markers_if_idle(&mut self, now: Duration) {
        if self.progress.age(now) >= IDLE && self.is_running() && !self.is_dirty() {
            self.copies.own_mut().pass_markers();
        }
    }

    /// A record of this assignment, with the number of its next guard.
    pub(super) fn record(&self, topic: TopicId, offset: Offset) -> RecordId {
        RecordId {
            task: self.id,
            epoch: self.epoch,
            topic,
            offset,
            guard: self.guards.next(),
        }
    }
}
