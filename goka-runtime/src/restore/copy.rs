//! Reads a table's topic into a local copy: sorted batches of bounded memory, the position stamped as
//! it goes. Ends by position, never by a record's offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::inspect::{look_at_table, patiently};
use crate::codec::Format;
use crate::core::recovery::RecoveryReason;
use crate::core::{CopyId, StopReason, form};
use crate::log::{Epoch, Isolation, LogError};
use crate::record::{Offset, Record, Timestamp, TopicPartition};
use crate::table::{Checkpoint, Durability, FORMAT, Store, StoreError, StoredRef, Write};

/// Applied to the store when so many keys or bytes are gathered.
const BATCH_KEYS: usize = 50_000;
const BATCH_BYTES: usize = 16 << 20;
/// A joined table with so many rows whose keys are in another form is refused without looking for their
/// deletions.
const MOST_OTHERS: usize = 500_000;
const POLL: Duration = Duration::from_millis(100);
/// A restore whose position does not move for so long is reported.
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
    rebuild: Option<RecoveryReason>,
) -> Option<Result<(Offset, String), StopReason>> {
    let (_, fingerprint) = context.definition(copy.table)?;
    let (task, topic) = (copy.task, context.plan.group.topic(copy.table));
    let began = context.clock.wall();
    let facts = match patiently(context, copy, epoch, look_at_table)? {
        Ok(facts) => facts,
        Err(cause) => return Some(Err(cause)),
    };
    let target = Target {
        topic,
        id: facts.id,
        fingerprint,
        end: match mutant!(RestoreToStable) {
            true => facts.range.stable,
            false => facts.range.high,
        },
        key: context.plan.join(copy.table).map(|join| join.key),
    };
    // Until it is level, a copy is as old as it was: what it missed meanwhile may be compacted away.
    let synced_at = match (&rebuild, store.stamp()) {
        (None, Ok(Some(stamp))) => stamp.synced_at,
        (None, Err(error)) => return Some(Err(StopReason::Store(error))),
        _ => began,
    };
    if let Some(why) = rebuild {
        tracing::info!(topic = &**topic, partition = task.partition, %why, "rebuilding");
        if let Err(error) = store.clear() {
            return Some(Err(StopReason::Store(error)));
        }
    }
    let mut reading = Copy {
        context,
        copy,
        store,
        target,
        batch: Batch::default(),
        others: BTreeMap::new(),
        records: 0,
        position: from,
    };
    loop {
        match reading.follow(epoch, synced_at, began) {
            Ok(true) => break,
            Ok(false) => return None,
            Err(Trouble::Store(error)) => {
                let (of, at) = ((copy, epoch), reading.position);
                // One that fell back is inspected again.
                let is_here = !matches!(error, StoreError::RolledBack { .. });
                if !is_here || !context.may_retry(of, at, "writing to the store", &error) {
                    return Some(Err(StopReason::Store(error)));
                }
            }
            Err(Trouble::Log(error @ LogError::OutOfRange { .. })) => {
                return Some(Err(StopReason::Input(error)));
            }
            Err(Trouble::Log(error)) => {
                context.log_failed((copy, epoch), reading.position, "reading the topic", &error);
            }
        }
        reading.begin_again(from);
        if !context.pause(task, epoch) {
            return None;
        }
    }
    let (position, copy) = (reading.position, reading);
    if let Some((key, other)) = copy.first_other() {
        let at = (&**topic, task.partition, other.offset);
        return Some(Err(form::refusal(at, key, &other.form)));
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
    copy: CopyId,
    store: &'a mut dyn Store,
    target: Target<'a>,
    batch: Batch,
    /// The rows whose keys are in another form, by their keys as they are.
    others: BTreeMap<Vec<u8>, Other>,
    records: u64,
    /// The next changelog offset to read.
    position: Offset,
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

    /// Reads to the target, and brings all of it to the disk; `false` when nobody waits for it any more.
    fn follow(
        &mut self,
        epoch: Epoch,
        synced_at: Timestamp,
        began: Timestamp,
    ) -> Result<bool, Trouble> {
        if self.position < self.target.end && !self.read(epoch, synced_at)? {
            return Ok(false);
        }
        self.apply(began, Durability::Synced)?;
        Ok(true)
    }

    fn read(&mut self, epoch: Epoch, synced_at: Timestamp) -> Result<bool, Trouble> {
        let task = self.copy.task;
        let partition = TopicPartition::new(Arc::clone(self.target.topic), task.partition);
        let log = &self.context.log;
        let mut reader = log
            .reader(&[(partition, self.position)], Isolation::ReadCommitted)
            .map_err(Trouble::Log)?;
        let mut moved = Instant::now();
        let mut last = None;
        while self.position < self.target.end && self.others.len() < MOST_OTHERS {
            if !self.context.is_current(task, epoch) {
                return Ok(false);
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
            let reached = match mutant!(RestoreByRecord) {
                true => last.map_or(self.position, |last| last + 1),
                false => reader.position(0),
            };
            if reached > self.position {
                (self.position, moved) = (reached, Instant::now());
                self.context.moved(self.copy, reached, false);
            } else if self.context.is_inline {
                return Ok(false);
            } else if moved.elapsed() >= WATCHDOG {
                moved = Instant::now();
                if self.context.reminds((self.copy, epoch), self.position) {
                    let (topic, target) = (&**self.target.topic, self.target.end);
                    let (partition, position) = (task.partition, self.position);
                    tracing::warn!(topic, partition, position, target, "restore does not move");
                }
            }
            if self.batch.writes.len() >= BATCH_KEYS || self.batch.bytes >= BATCH_BYTES {
                self.apply(synced_at, Durability::Relaxed)?;
            }
        }
        Ok(true)
    }

    /// After a failure, goes on from what is stored.
    fn begin_again(&mut self, from: Offset) {
        self.batch = Batch::default();
        self.position = match self.store.stamp() {
            Ok(Some(stamp)) => stamp.offset.max(from),
            _ => from,
        };
    }

    fn apply(&mut self, synced_at: Timestamp, durability: Durability) -> Result<(), Trouble> {
        // Whoever goes on from here finds the rows that this restore is refused for.
        let refused = self.first_other().map(|(_, other)| other.offset);
        let offset = refused.map_or(self.position, |refused| refused.min(self.position));
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
        let stamp = Checkpoint {
            format: FORMAT,
            cluster: self.context.plan.cluster.clone(),
            topic_id: self.target.id.clone(),
            partition: self.copy.task.partition,
            offset,
            fingerprint: self.target.fingerprint.to_owned(),
            synced_at,
        };
        let applied = self.store.apply(&writes, &stamp, durability);
        applied.map_err(Trouble::Store)?;
        self.context.moved(self.copy, self.position, true);
        Ok(())
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
