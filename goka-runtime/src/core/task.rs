//! One task: a partition of the table with all its inputs, from assignment to its end.
//!
//! `Inspecting -> Restoring -> Starting -> Running -> (Stopped)`; a failed barrier leads back to
//! `Inspecting`. The core decides when; this file holds what a task is and what one batch does to it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::event::Cause;
use super::metadata::OffsetMetadata;
use super::overlay::Layers;
use super::plan::{InputPlan, Plan};
use super::scope::{Begin, RecordScope, Scratch, text};
use crate::dispatch::{Call, Incoming, Raw, Shared};
use crate::log::{Assignment, Epoch};
use crate::record::{Appends, Offset, Record, TaskId, TopicId};
use crate::table::{Durability, StoreRead};

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for what is known of its copy and its topics.
    Inspecting,
    /// Its copy is brought up to the end of the group topic.
    Restoring,
    /// Its start offsets are being committed: before that, a crash would look like lost offsets.
    Starting,
    /// Its inputs are fetched and handled.
    Running,
    /// It failed; its offsets stay where they were.
    Stopped,
    /// Somebody else owns it, though the log has not said so yet.
    Gone,
}

pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) epoch: Epoch,
    pub(crate) state: State,
    pub(crate) layers: Layers,
    /// The next record of each input to handle.
    pub(crate) positions: BTreeMap<TopicId, Offset>,
    /// The next record of each input, as the group has it.
    pub(crate) committed: BTreeMap<TopicId, Offset>,
    /// What the group has with the offsets.
    pub(crate) metadata: Option<OffsetMetadata>,
    /// Its commit is owed even if no position moved.
    pub(crate) commit_owed: bool,
    pub(crate) last_commit: Duration,
    /// How many changelog records were made since the last barrier.
    pub(crate) updates: u64,
    last_synced: Duration,
    pub(crate) flush_failures: u32,
    /// It is inspected again once its memtable is flushed.
    pub(crate) reopens: bool,
}

/// What a task needs at hand while it handles records.
pub(crate) struct Desk<'a> {
    pub(crate) store: Option<&'a dyn StoreRead>,
    pub(crate) shared: &'a Shared,
    pub(crate) appends: &'a mut Appends,
    pub(crate) scratch: &'a mut Scratch,
}

impl Task {
    pub(crate) fn new(assignment: &Assignment, now: Duration) -> Self {
        let metadata = assignment
            .committed
            .values()
            .find_map(|committed| OffsetMetadata::parse(&committed.metadata));
        let committed: BTreeMap<_, _> = assignment
            .committed
            .iter()
            .map(|(topic, committed)| (*topic, committed.offset))
            .collect();
        Self {
            id: assignment.task,
            epoch: assignment.epoch,
            state: State::Inspecting,
            layers: Layers::default(),
            positions: BTreeMap::new(),
            committed,
            metadata,
            commit_owed: false,
            last_commit: now,
            updates: 0,
            last_synced: now,
            flush_failures: 0,
            reopens: false,
        }
    }

    /// Whether a barrier has something to do for it.
    pub(crate) fn is_dirty(&self) -> bool {
        match self.state {
            State::Starting => true,
            State::Running | State::Stopped => {
                self.updates > 0 || self.commit_owed || self.positions != self.committed
            }
            State::Inspecting | State::Restoring | State::Gone => false,
        }
    }

    /// Drops what is not acknowledged; the inputs are to be read again from what is committed.
    pub(crate) fn rewind(&mut self) {
        self.layers.drop_overlay();
        self.updates = 0;
        self.positions = self.committed.clone();
    }

    /// How durable the next flush is: every few seconds one is synced, so that a restart replays
    /// little and the file can free its pages.
    pub(crate) fn durability(&mut self, now: Duration, closing: bool) -> Durability {
        const SYNCED_EVERY: Duration = Duration::from_secs(5);
        if closing || now.saturating_sub(self.last_synced) >= SYNCED_EVERY {
            self.last_synced = now;
            Durability::Synced
        } else {
            Durability::Relaxed
        }
    }

    /// Handles records of one input until one fails.
    ///
    /// # Errors
    /// Why the task stops: the position is then exactly at the failed record, whose writes and
    /// outputs are dropped whole.
    pub(crate) fn handle(
        &mut self,
        plan: &Plan,
        input: &InputPlan,
        records: &[Record<'_>],
        desk: Desk<'_>,
    ) -> Result<(), Cause> {
        let Desk {
            store,
            shared,
            appends,
            scratch,
        } = desk;
        let topic = plan.group.topic(input.topic);
        let mut position = self.positions.get(&input.topic).copied().unwrap_or(0);
        for record in records {
            if record.offset < position {
                continue;
            }
            self.positions.insert(input.topic, record.offset);
            self.check_key(plan, input, record)?;
            let begin = Begin::of(appends);
            let mut scope = RecordScope {
                plan,
                task: self.id,
                key: record.key,
                timestamp: record.timestamp,
                layers: &self.layers,
                store,
                appends,
                scratch,
                written: None,
                updates: 0,
            };
            let incoming = Incoming {
                group: &plan.group.name,
                topic,
                partition: self.id.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            let raw = Raw {
                record: incoming,
                scope: &mut scope,
            };
            // A panicking handler may leave its own shared state torn; ours is dropped whole.
            let outcome = catch_unwind(AssertUnwindSafe(|| match input.call {
                Call::Sync(call) => call(shared, raw),
                Call::Async(_) => Ok(()),
            }));
            let (written, updates) = (scope.written, scope.updates);
            let error = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(chain(&*error)),
                Err(panic) => Some(format!("the handler panicked: {}", panic_text(&*panic))),
            };
            if let Some(error) = error {
                begin.drop_all_since(appends);
                return Err(Cause::Handler {
                    topic: topic.to_string(),
                    partition: self.id.partition,
                    offset: record.offset,
                    key: text(record.key.unwrap_or_default()),
                    error,
                });
            }
            if let (Some(entry), Some(key)) = (written, record.key) {
                self.layers.write(key, entry);
            }
            self.updates += updates;
            position = record.offset + 1;
            self.positions.insert(input.topic, position);
        }
        Ok(())
    }

    fn check_key(&self, plan: &Plan, input: &InputPlan, record: &Record<'_>) -> Result<(), Cause> {
        if plan.table.is_none() {
            return Ok(());
        }
        let topic = || plan.group.topic(input.topic).to_string();
        let (partition, offset) = (self.id.partition, record.offset);
        let Some(key) = record.key else {
            return Err(Cause::NullKey {
                topic: topic(),
                partition,
                offset,
            });
        };
        let expected = (input.place)(key, input.partitions);
        if expected == partition {
            return Ok(());
        }
        let (key, partitioner) = (text(key), input.partitioner);
        Err(Cause::Misplaced {
            topic: topic(),
            partition,
            offset,
            key,
            partitioner,
            expected,
        })
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
