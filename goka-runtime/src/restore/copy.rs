//! Reads a table's topic into a local copy: sorted batches of bounded memory, the position stamped as
//! it goes. Ends by position, never by a record's offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::inspect::{STORE_HELD, look_at_table, patiently};
use crate::core::judge::Why;
use crate::core::{Cause, CopyId, form};
use crate::graph::Format;
use crate::log::{Epoch, Isolation, LogError};
use crate::record::{Offset, Record, TaskId, Timestamp, TopicPartition};
use crate::table::{Durability, FORMAT, Stamp, Store, StoreError, StoredRef, Write};

/// Applied to the store when so many keys or bytes are gathered.
const BATCH_KEYS: usize = 50_000;
const BATCH_BYTES: usize = 16 << 20;
/// A joined table with so many rows whose keys are in another form is refused without looking for their
/// deletions.
const MOST_OTHERS: usize = 500_000;
const POLL: Duration = Duration::from_millis(100);
/// A restore whose position does not move for so long is reported, again and again.
const WATCHDOG: Duration = Duration::from_secs(10);

struct Target<'a> {
    topic: &'a Arc<str>,
    id: String,
    fingerprint: &'a str,
    end: Offset,
    /// How the keys of a joined table travel; those of the group's own were checked as inputs.
    key: Option<Format>,
}

pub(super) fn restore(
    context: &Arc<Context>,
    copy: CopyId,
    epoch: Epoch,
    store: &mut dyn Store,
    from: Offset,
    rebuild: Option<Why>,
) -> Option<Result<(Offset, String), Cause>> {
    let (_, fingerprint) = context.definition(copy.table)?;
    let (task, topic) = (copy.task, context.plan.group.topic(copy.table));
    let (began, began_at) = (context.clock.wall(), Instant::now());
    let facts = match patiently(context, copy, epoch, look_at_table)? {
        Ok(facts) => facts,
        Err(cause) => return Some(Err(cause)),
    };
    let target = Target {
        topic,
        id: facts.id,
        fingerprint,
        end: match planted!(RestoreToStable) {
            true => facts.range.stable,
            false => facts.range.high,
        },
        key: context.plan.join(copy.table).map(|join| join.key),
    };
    // Until it is level, a copy is as old as it was: what it missed meanwhile may be compacted away.
    let synced_at = match (&rebuild, store.stamp()) {
        (None, Ok(Some(stamp))) => stamp.synced_at,
        (None, Err(error)) => return Some(Err(Cause::Store(error))),
        _ => began,
    };
    if let Some(why) = rebuild {
        tracing::info!(topic = &**topic, partition = task.partition, %why, "rebuilding");
        if let Err(error) = store.clear() {
            return Some(Err(Cause::Store(error)));
        }
    }
    let mut copy = Copy {
        context,
        task,
        store,
        target,
        batch: Batch::default(),
        others: BTreeMap::new(),
        records: 0,
    };
    let mut position = from;
    while position < copy.target.end && copy.others.len() < MOST_OTHERS {
        match copy.follow(epoch, position, synced_at) {
            Ok(Some(reached)) => position = reached,
            Ok(None) => return None,
            Err(Trouble::Store(error)) if !error.may_heal() || began_at.elapsed() >= STORE_HELD => {
                return Some(Err(Cause::Store(error)));
            }
            Err(Trouble::Store(error)) => {
                tracing::warn!(topic = &**topic, partition = task.partition, position, %error, "restore writes again");
                position = copy.stored_position(from);
                copy.batch = Batch::default();
                if !context.pause(task, epoch) {
                    return None;
                }
            }
            Err(Trouble::Log(error @ LogError::OutOfRange { .. })) => {
                return Some(Err(Cause::Input(error)));
            }
            Err(Trouble::Log(error)) => {
                tracing::warn!(topic = &**topic, partition = task.partition, position, %error, "restore reads again");
                position = copy.stored_position(from);
                copy.batch = Batch::default();
                if !context.pause(task, epoch) {
                    return None;
                }
            }
        }
    }
    if let Err(error) = copy.apply(position, began, Durability::Synced) {
        return Some(Err(Cause::Store(error)));
    }
    if let Some((key, other)) = copy.first_other() {
        let at = (&**topic, task.partition, other.offset);
        return Some(Err(form::cause(at, key, &other.form)));
    }
    let (partition, records) = (task.partition, copy.records);
    tracing::info!(
        topic = &**topic,
        partition,
        from,
        end = position,
        records,
        "restored"
    );
    Some(Ok((position, copy.target.id)))
}

enum Trouble {
    Log(LogError),
    Store(StoreError),
}

#[derive(Default)]
struct Batch {
    writes: BTreeMap<Vec<u8>, (Timestamp, Option<Vec<u8>>)>,
    bytes: usize,
}

struct Copy<'a> {
    context: &'a Context,
    task: TaskId,
    store: &'a mut dyn Store,
    target: Target<'a>,
    batch: Batch,
    /// The rows whose keys are in another form, by their keys as they are.
    others: BTreeMap<Vec<u8>, Other>,
    records: u64,
}

/// A row that no join would find.
struct Other {
    offset: Offset,
    /// Its key as it would be written.
    form: Vec<u8>,
}

impl Copy<'_> {
    /// The first row in the topic that no join would find.
    fn first_other(&self) -> Option<(&Vec<u8>, &Other)> {
        self.others.iter().min_by_key(|(_, other)| other.offset)
    }

    /// Reads from `position` until the target; `None` when nobody waits for it any more.
    fn follow(
        &mut self,
        epoch: Epoch,
        from: Offset,
        synced_at: Timestamp,
    ) -> Result<Option<Offset>, Trouble> {
        let partition = TopicPartition::new(Arc::clone(self.target.topic), self.task.partition);
        let log = &self.context.log;
        let mut reader = log
            .reader(&[(partition, from)], Isolation::ReadCommitted)
            .map_err(Trouble::Log)?;
        let (mut position, mut moved) = (from, Instant::now());
        let mut last = None;
        while position < self.target.end && self.others.len() < MOST_OTHERS {
            if !self.context.is_current(self.task, epoch) {
                return Ok(None);
            }
            let (batch, records) = (&mut self.batch, &mut self.records);
            let (others, format) = (&mut self.others, self.target.key.as_ref());
            reader
                .poll(POLL, &mut |_, read| {
                    *records += read.len() as u64;
                    for record in read {
                        batch.take(record);
                        note_other(others, format, record);
                    }
                    last = read.last().map(|record| record.offset).or(last);
                })
                .map_err(Trouble::Log)?;
            let reached = match planted!(RestoreByRecord) {
                true => last.map_or(position, |last| last + 1),
                false => reader.position(0),
            };
            if reached > position {
                (position, moved) = (reached, Instant::now());
            } else if self.context.is_inline {
                return Ok(None);
            } else if moved.elapsed() >= WATCHDOG {
                moved = Instant::now();
                let (topic, target) = (&**self.target.topic, self.target.end);
                let partition = self.task.partition;
                tracing::warn!(topic, partition, position, target, "restore does not move");
            }
            if self.batch.writes.len() >= BATCH_KEYS || self.batch.bytes >= BATCH_BYTES {
                self.apply(position, synced_at, Durability::Relaxed)
                    .map_err(Trouble::Store)?;
            }
        }
        Ok(Some(position))
    }

    fn stored_position(&self, from: Offset) -> Offset {
        match self.store.stamp() {
            Ok(Some(stamp)) => stamp.offset.max(from),
            _ => from,
        }
    }

    fn apply(
        &mut self,
        offset: Offset,
        synced_at: Timestamp,
        durability: Durability,
    ) -> Result<(), StoreError> {
        // Whoever goes on from here finds the rows that this restore is refused for.
        let refused = self.first_other().map(|(_, other)| other.offset);
        let offset = refused.map_or(offset, |refused| refused.min(offset));
        let batch = std::mem::take(&mut self.batch);
        let writes: Vec<_> = batch
            .writes
            .iter()
            .map(|(key, (timestamp, value))| Write {
                key,
                value: value.as_deref().map(|value| StoredRef {
                    timestamp: *timestamp,
                    value,
                }),
            })
            .collect();
        let stamp = Stamp {
            format: FORMAT,
            cluster: self.context.plan.cluster.clone(),
            topic_id: self.target.id.clone(),
            partition: self.task.partition,
            offset,
            fingerprint: self.target.fingerprint.to_owned(),
            synced_at,
        };
        self.store.apply(&writes, &stamp, durability)
    }
}

/// Remembers a row whose key is in another form until it is deleted.
fn note_other(others: &mut BTreeMap<Vec<u8>, Other>, format: Option<&Format>, record: &Record<'_>) {
    let (Some(key), Some(format)) = (record.key, format) else {
        return;
    };
    if record.value.is_none() {
        others.remove(key);
        return;
    }
    let (offset, mut form) = (record.offset, Vec::new());
    if form::is_other(format, key, &mut form) {
        others.insert(key.to_vec(), Other { offset, form });
    }
}

impl Batch {
    fn take(&mut self, record: &Record<'_>) {
        // A record without a key is nobody's row; only a foreign writer makes one.
        let Some(key) = record.key else { return };
        self.bytes += key.len() + record.value.map_or(0, <[u8]>::len) + 64;
        self.writes.insert(
            key.to_vec(),
            (record.timestamp, record.value.map(<[u8]>::to_vec)),
        );
    }
}
