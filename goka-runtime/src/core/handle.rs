//! What records do to a task: inputs are handled, joined tables followed. A record's writes and
//! outputs are kept whole when its handler returns `Ok`, dropped whole otherwise.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::form;
use super::ids::RecordId;
use super::plan::{InputPlan, JoinPlan, Plan};
use super::scope::{RecordScope, Savepoint, Scratch};
use super::services::HandlerServices;
use super::stop_reason::{StopReason, key_text};
use super::table_buffer::RowValue;
use super::task::{Held, Task};
use super::turn::Turn;
use crate::dispatch::{Call, Incoming, ProcessorState, RawRecord};
use crate::record::{Appends, Offset, Record, TopicId};

/// What a task needs at hand while it handles records.
pub(crate) struct HandlerEnv<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) around: &'a dyn HandlerServices,
    pub(crate) shared: &'a ProcessorState,
    pub(crate) appends: &'a mut Appends,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) turn: &'a mut Turn,
}

impl Task {
    /// Handles records of one input until one fails or the turn is over; gives how many it took.
    ///
    /// # Errors
    /// Why the task stops: the position is then exactly at the failed record.
    pub(crate) fn handle(
        &mut self,
        input: &InputPlan,
        records: &[Record<'_>],
        desk: &mut HandlerEnv<'_>,
    ) -> Result<usize, StopReason> {
        let mut position = self.positions.get(&input.topic).copied().unwrap_or(0);
        let handled = self.handle_from(&mut position, input, records, desk);
        self.positions.insert(input.topic, position);
        handled
    }

    fn handle_from(
        &mut self,
        position: &mut Offset,
        input: &InputPlan,
        records: &[Record<'_>],
        desk: &mut HandlerEnv<'_>,
    ) -> Result<usize, StopReason> {
        let topic = desk.plan.group.topic(input.topic);
        for (at, record) in records.iter().enumerate() {
            if record.offset < *position {
                continue;
            }
            if !self.may_call(input.topic, record.offset, &[], desk) {
                return Ok(at);
            }
            *position = record.offset;
            self.check_key(input, record, desk)?;
            let incoming = Incoming {
                group: &desk.plan.group.name,
                topic,
                partition: self.id.partition,
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            self.call(input.call, input.topic, incoming, &[], desk)?;
            fail_point!("after-handler", 1);
            *position = record.offset + 1;
        }
        Ok(records.len())
    }

    /// Whether a call is to be made in this turn; `key` tells the calls of one visit apart.
    pub(crate) fn may_call(
        &self,
        topic: TopicId,
        offset: Offset,
        key: &[u8],
        desk: &mut HandlerEnv<'_>,
    ) -> bool {
        if desk.turn.is_over(desk.appends) {
            return false;
        }
        !desk.turn.is_once() || {
            let record = self.record(topic, offset);
            desk.turn.may_call(&record, key, desk.appends)
        }
    }

    fn record(&self, topic: TopicId, offset: Offset) -> RecordId {
        RecordId {
            task: self.id,
            epoch: self.epoch,
            topic,
            offset,
            guard: self.guards,
        }
    }

    /// Calls one handler and keeps or drops what it did. `visited` is the key of a visit, else empty.
    pub(crate) fn call(
        &mut self,
        call: Call,
        topic: TopicId,
        incoming: Incoming<'_>,
        visited: &[u8],
        desk: &mut HandlerEnv<'_>,
    ) -> Result<(), StopReason> {
        self.check_deaths(topic, &incoming)?;
        let begin = Savepoint::of(desk.appends);
        let (task, record) = (self.id, self.record(topic, incoming.offset));
        let mut scope = RecordScope {
            plan: desk.plan,
            task,
            key: incoming.key,
            timestamp: incoming.timestamp,
            record,
            layers: &mut self.layers,
            row: None,
            unreadable: None,
            joins: &self.joins,
            around: desk.around,
            appends: desk.appends,
            scratch: desk.scratch,
            written: None,
            updates: 0,
        };
        let raw = RawRecord {
            record: incoming,
            scope: &mut scope,
        };
        let (around, shared) = (desk.around, desk.shared);
        around.began(&record);
        // A panicking handler may leave its own shared state torn; ours is dropped whole.
        let outcome = catch_unwind(AssertUnwindSafe(|| match call {
            Call::Sync(call) => call(shared, raw),
            Call::Async(call) => around.drive(call(shared, raw)),
        }));
        desk.turn.called(around.ended(), &record, visited);
        let unreadable = scope.unreadable.take();
        let (written, updates, guards) = (scope.written, scope.updates, scope.record.guard);
        #[cfg(feature = "tester")]
        let record = scope.record;
        let row = scope.row;
        let first = std::mem::replace(&mut self.guards, guards);
        let error = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&*error)),
            Err(panic) => Some(format!("the handler panicked: {}", panic_text(&*panic))),
        };
        if let Some((copy, error)) = unreadable {
            // Whatever the handler made of it: what it did rests on what it could not read.
            begin.drop_all_since(desk.appends);
            self.unread_copy = copy;
            return Err(StopReason::Store(error));
        }
        if let Some(error) = error {
            begin.drop_all_since(desk.appends);
            let at = (self.id.partition, incoming.offset);
            let key = key_text(incoming.key.unwrap_or_default());
            return Err(failed(desk.plan, topic, at, key, error));
        }
        #[cfg(feature = "tester")]
        around.handled(record, desk.appends, begin.place());
        if let (Some(entry), Some(key)) = (written, incoming.key) {
            self.layers.write(key, row, entry);
        }
        for guard in first..guards {
            let held = Held {
                topic,
                offset: incoming.offset,
                key: key_text(incoming.key.unwrap_or_default()),
            };
            self.deferred.insert(guard, held);
        }
        self.updates += updates;
        self.appended |= begin != Savepoint::of(desk.appends);
        Ok(())
    }

    /// Takes records of a joined table into its copy.
    ///
    /// # Errors
    /// A row whose key is in another form: no join would find it. Deleting such a row is no mistake.
    pub(crate) fn follow(
        &mut self,
        join: &JoinPlan,
        records: &[Record<'_>],
        desk: &mut HandlerEnv<'_>,
    ) -> Result<(), StopReason> {
        let Some(layers) = self.joins.get_mut(&join.topic) else {
            return Ok(());
        };
        for record in records {
            // A record without a key is nobody's row.
            let Some(key) = record.key else { continue };
            if record.value.is_some() && form::is_other(&join.key, key, &mut desk.scratch.form) {
                layers.advance_to(record.offset);
                let topic = &**desk.plan.group.topic(join.topic);
                let at = (topic, self.id.partition, record.offset);
                return Err(form::cause(at, key, &desk.scratch.form));
            }
            let entry = RowValue::new(record.timestamp, record.value);
            layers.apply(key, entry);
        }
        if let Some(last) = records.last() {
            layers.advance_to(last.offset + 1);
        }
        Ok(())
    }

    /// Goes on behind offsets that hold nothing. Records before them that were not handled, or not
    /// taken, hold the position back: they are fetched again, and this is told again after them.
    pub(crate) fn pass(&mut self, topic: TopicId, nothing: Range<Offset>) {
        match (self.positions.get_mut(&topic), self.joins.get_mut(&topic)) {
            (Some(position), _) if nothing.contains(position) => *position = nothing.end,
            (None, Some(layers)) if nothing.contains(&layers.acknowledged()) => {
                layers.advance_to(nothing.end);
            }
            _ => {}
        }
    }

    fn check_key(
        &self,
        input: &InputPlan,
        record: &Record<'_>,
        desk: &mut HandlerEnv<'_>,
    ) -> Result<(), StopReason> {
        let plan = desk.plan;
        if input.keyless || (plan.table.is_none() && plan.joins.is_empty()) {
            return Ok(());
        }
        let topic = || plan.group.topic(input.topic).to_string();
        let (partition, offset) = (self.id.partition, record.offset);
        let Some(key) = record.key else {
            if plan.table.is_none() {
                return Ok(());
            }
            return Err(StopReason::NullKey {
                topic: topic(),
                partition,
                offset,
            });
        };
        if form::is_other(&input.key, key, &mut desk.scratch.form) {
            let at = (&**plan.group.topic(input.topic), partition, offset);
            return Err(form::cause(at, key, &desk.scratch.form));
        }
        let expected = (input.place)(key, input.partitions);
        if plan.table.is_none() || expected == partition {
            return Ok(());
        }
        let (key, partitioner) = (key_text(key), input.partitioner);
        Err(StopReason::Misplaced {
            topic: topic(),
            partition,
            offset,
            key,
            partitioner,
            expected,
        })
    }
}

/// Why a task stops when what was called for a record fails.
pub(super) fn failed(
    plan: &Plan,
    topic: TopicId,
    (partition, offset): (i32, Offset),
    key: String,
    error: String,
) -> StopReason {
    let name = plan.group.topic(topic).to_string();
    match &plan.visits {
        Some(visits) if visits.topic == topic => StopReason::Visit {
            topic: name,
            partition,
            offset,
            key,
            error,
        },
        _ => StopReason::Handler {
            topic: name,
            partition,
            offset,
            key,
            error,
        },
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
