//! From memory to the stores: when the memtables are flushed, what a flush that fails does, and how
//! much memory all of it may take. A store is never ahead of the acknowledged changelog, and behind
//! it by two flush intervals at most. Part of [`Core`].

use std::time::Duration;

use super::barrier::reopen;
use super::event::Effect;
use super::ids::{CopyId, Now};
use super::stop_reason::StopReason;
use super::table_buffer::TableBuffer;
use super::task::{State, Task};
use super::{Core, RETRY};
use crate::record::{Offset, Timestamp};
use crate::table::{Durability, StoreError};

/// After so long without a commit the control records of the last one are surely written.
const IDLE: Duration = Duration::from_secs(60);
/// How many damaged copies of a task are rebuilt before it stops.
const DAMAGED: u32 = 3;
/// How many rows the cache looks through at a time.
const LOOKS: usize = 50_000;

/// How one copy's flushes stand.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// Since when something waits for the store.
    waits_since: Option<Duration>,
    last_synced: Option<Duration>,
    /// Since when every flush fails.
    failing_since: Option<Duration>,
    retry_at: Option<Duration>,
    /// Of a joined copy, where its topic was seen to end, and when: until it has come there.
    seen_end: Option<(Offset, Timestamp)>,
    /// Of a joined copy, when it held all that its topic did.
    level_at: Option<Timestamp>,
}

impl Flushes {
    fn is_due(&mut self, now: Duration, interval: Duration) -> bool {
        let since = *self.waits_since.get_or_insert(now);
        now.saturating_sub(since) >= interval
    }

    /// What is not synced is lost with the process, so one flush in an interval is synced, and only
    /// those between come cheaper: a restart replays what two intervals wrote at most.
    fn begin(&mut self, now: Duration, interval: Duration, closing: bool) -> Durability {
        self.waits_since = None;
        self.retry_at = None;
        let since = self.last_synced.map(|last| now.saturating_sub(last));
        if closing || since.is_none_or(|since| since >= interval) {
            self.last_synced = Some(now);
            Durability::Synced
        } else {
            Durability::Relaxed
        }
    }

    /// Takes where the topic of a joined copy ended at a time. One that lags comes to the earlier end
    /// first, and is level as of then.
    fn see_end(&mut self, end: Offset, at: Timestamp) {
        self.seen_end.get_or_insert((end, at));
    }

    /// When a joined copy that reaches an offset was level, if that is known.
    fn level_at(&mut self, reached: Offset) -> Option<Timestamp> {
        if let Some((_, at)) = self.seen_end.take_if(|(end, _)| *end <= reached) {
            self.level_at = Some(at);
        }
        self.level_at
    }

    fn fails(&mut self, now: Duration) -> Duration {
        self.retry_at = Some(now + RETRY);
        now.saturating_sub(*self.failing_since.get_or_insert(now))
    }
}

impl Core {
    pub(super) fn flush_all(&mut self, now: Now, closing: bool, out: &mut Vec<Effect>) {
        let full = self.memory().1 >= self.plan.flush_bytes;
        let mut tasks = std::mem::take(&mut self.tasks);
        for task in tasks.values_mut() {
            let idle = now.monotonic.saturating_sub(task.last_commit) >= IDLE;
            if idle && task.state == State::Running && !task.is_dirty() {
                task.layers.pass_markers();
            }
            self.flush_task(now, full, closing, task, out);
        }
        self.tasks = tasks;
        self.evict();
    }

    /// Flushes what is due of one task.
    pub(super) fn flush_task(
        &self,
        now: Now,
        full: bool,
        closing: bool,
        task: &mut Task,
        out: &mut Vec<Effect>,
    ) {
        // Most tasks have nothing, at most ticks.
        if task.is_storeless || !task.can_flush() {
            return;
        }
        let urgent = full || closing || task.reopens;
        // A walk goes through all that is not stored with every slice.
        let interval = match &task.visit {
            Some(_) => self.plan.flush_interval.min(self.plan.barrier),
            None => self.plan.flush_interval,
        };
        for copy in task.copies(&self.plan) {
            let layers = task.buffer_of(&self.plan, copy.table);
            if !layers.is_some_and(|layers| layers.can_flush()) {
                continue;
            }
            let flushes = task.flushes.entry(copy.table).or_default();
            let due = flushes.is_due(now.monotonic, interval) || urgent;
            let waits = flushes.retry_at.is_some_and(|retry| now.monotonic < retry);
            if !due || (waits && !closing) {
                continue;
            }
            let interval = self.plan.flush_interval;
            let durability = flushes.begin(now.monotonic, interval, closing);
            // The group writes its own table alone; others' records may be on their way to a joined one.
            let joined = task.joins.get(&copy.table).map(TableBuffer::acknowledged);
            let synced_at = match joined {
                Some(reached) => {
                    let flushes = task.flushes.entry(copy.table).or_default();
                    flushes.level_at(reached)
                }
                None => Some(now.wall),
            };
            if let Some(layers) = task.buffer_of(&self.plan, copy.table) {
                out.push(Effect::Flush(
                    copy,
                    layers.start_flush(synced_at, durability),
                ));
            }
        }
    }

    /// Takes where the topic of a joined copy ended at a time.
    pub(super) fn saw_end(&mut self, copy: CopyId, end: Offset, at: Timestamp) {
        let task = self.tasks.get_mut(&copy.task);
        if let Some(task) = task.filter(|task| task.joins.contains_key(&copy.table)) {
            let flushes = task.flushes.entry(copy.table).or_default();
            flushes.see_end(end, at);
        }
    }

    pub(super) fn flushed(
        &mut self,
        now: Now,
        copy: CopyId,
        result: Result<(), StoreError>,
        out: &mut Vec<Effect>,
    ) {
        let id = copy.task;
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if let Some(layers) = task.buffer_of(&self.plan, copy.table) {
            layers.flushed(result.is_ok());
        }
        let is_storeless = task.is_storeless;
        let flushes = task.flushes.entry(copy.table).or_default();
        match result {
            _ if is_storeless => {}
            Ok(()) => {
                if flushes.failing_since.take().is_some() {
                    tracing::info!(task = id.partition, "the store takes writes again");
                }
                if task.reopens && task.layers.is_flushed() {
                    task.reopens = false;
                    out.push(Effect::Inspect(id, task.epoch));
                }
            }
            Err(error @ StoreError::Unreadable { .. }) => self.damaged(copy, error, out),
            Err(error) => {
                if flushes.failing_since.is_none() {
                    tracing::warn!(task = id.partition, %error, "store flush failed, retrying");
                }
                if flushes.fails(now.monotonic) >= self.plan.patience {
                    self.stop(id, StopReason::Store(error), out);
                }
            }
        }
        self.pace(out);
    }

    /// A copy is damaged: it is rebuilt like one that is missing. A disk that damages whatever is
    /// written would be filled with what was moved aside, so the task stops after some.
    pub(super) fn damaged(&mut self, copy: CopyId, error: StoreError, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(&copy.task) else {
            return;
        };
        task.damaged += 1;
        if task.damaged > DAMAGED {
            return self.stop(copy.task, StopReason::Store(error), out);
        }
        out.push(Effect::SetAside(copy, error));
        self.regressed(copy, out);
    }

    /// A store went back behind what the layers count on: all of them are dropped, since the
    /// changelog has what was acknowledged, and the inputs what was not.
    pub(super) fn regressed(&mut self, copy: CopyId, out: &mut Vec<Effect>) {
        if self.is_in_doubt() {
            // What may be committed cannot be aborted; nothing is read until it is known.
            return self.regressed.push(copy);
        }
        if self.is_exactly_once() && self.tasks.get(&copy.task).is_some_and(Task::has_written) {
            self.abort(out);
        }
        let Some(task) = self.tasks.get_mut(&copy.task) else {
            return;
        };
        if let Some(layers) = task.buffer_of(&self.plan, copy.table) {
            *layers = TableBuffer::default();
        }
        task.flushes.remove(&copy.table);
        if matches!(task.state, State::Running | State::Starting) {
            reopen(task, out);
        } else if task.state == State::Inspecting && std::mem::take(&mut task.reopens) {
            out.push(Effect::Inspect(copy.task, task.epoch));
        }
        self.pace(out);
    }

    /// The memory of all copies: all of it, and what waits for the stores.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let layers = self
            .tasks
            .values()
            .flat_map(|task| std::iter::once(&task.layers).chain(task.joins.values()));
        layers.fold((0, 0), |(all, unstored), layers| {
            let (bytes, waits) = layers.bytes();
            (all + bytes, unstored + waits)
        })
    }

    /// Whether writes come in faster than the disk takes them.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.memory().1 > self.plan.memory
    }

    fn evict(&mut self) {
        let (bytes, _) = self.memory();
        let Some(over) = bytes.checked_sub(self.plan.memory).filter(|over| *over > 0) else {
            return;
        };
        let tasks = self.tasks.values_mut();
        for layers in
            tasks.flat_map(|task| std::iter::once(&mut task.layers).chain(task.joins.values_mut()))
        {
            // Each gives its share of what is too much.
            let (own, _) = layers.bytes();
            let share = (over as u128 * own as u128 / bytes as u128) as usize;
            layers.evict(own - share, LOOKS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flush_in_an_interval_is_synced() {
        let mut flushes = Flushes::default();
        let (interval, ms) = (Duration::from_millis(1000), Duration::from_millis);
        let rows = [
            (200, Durability::Synced),
            (400, Durability::Relaxed),
            (1_199, Durability::Relaxed),
            (1_200, Durability::Synced),
            (1_300, Durability::Relaxed),
            (9_000, Durability::Synced),
        ];
        for (at, expected) in rows {
            assert_eq!(flushes.begin(ms(at), interval, false), expected, "{at}");
        }
        assert_eq!(flushes.begin(ms(9_001), interval, true), Durability::Synced);
    }
}
