//! Reads a table's topic into a local copy: sorted batches of bounded memory, the position stamped as
//! it goes. Ends by position, never by a record's offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inspect::{look_at_table, open, patiently};
use super::{Context, OpenStore, wall_clock};
use crate::core::judge::Why;
use crate::core::{Cause, CopyId};
use crate::log::{Epoch, Isolation, LogError};
use crate::record::{Offset, TaskId, Timestamp, TopicPartition};
use crate::table::{Durability, FORMAT, Stamp, Store, StoreError, StoredRef, Write};

/// Applied to the store when so many keys or bytes are gathered.
const BATCH_KEYS: usize = 50_000;
const BATCH_BYTES: usize = 16 << 20;
const POLL: Duration = Duration::from_millis(100);
/// How often a disk that refuses is tried: with the pause between, as long as a flush tries it.
const DISK_TRIES: u32 = 10;
/// A restore whose position does not move for so long is reported, again and again.
const WATCHDOG: Duration = Duration::from_secs(10);

struct Target<'a> {
    topic: &'a Arc<str>,
    id: String,
    fingerprint: &'a str,
    end: Offset,
}

/// Restores; a disk that refuses (it is full) is given some time, then the task stops.
pub(super) fn restore_over_faults(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
    mut from: Offset,
    mut rebuild: Option<Why>,
) -> Option<Result<(Offset, String), Cause>> {
    let mut tries = 0;
    loop {
        let target = &mut **store.as_mut()?;
        let done = restore(context, copy, epoch, target, from, rebuild.clone())?;
        let Err(Cause::Store(mut error @ StoreError::Io { .. })) = done else {
            return Some(done);
        };
        if tries == 0 {
            let partition = copy.task.partition;
            tracing::warn!(partition, %error, "restore cannot write, retrying");
        }
        // Opened anew a store holds what was synced, and that is where to go on.
        *store = None;
        while store.is_none() {
            tries += 1;
            if tries > DISK_TRIES {
                return Some(Err(Cause::Store(error)));
            }
            if !context.pause(copy.task, epoch) {
                return None;
            }
            match open(context, copy, epoch)? {
                Ok(opened) => *store = Some(opened),
                Err(again @ StoreError::Io { .. }) => error = again,
                Err(error) => return Some(Err(Cause::Store(error))),
            }
        }
        if rebuild.is_some() {
            continue;
        }
        match store.as_ref()?.stamp() {
            Ok(Some(stamp)) => from = from.min(stamp.offset),
            Ok(None) => {
                let facts = match patiently(context, copy, epoch, || look_at_table(context, copy))?
                {
                    Ok(facts) => facts,
                    Err(cause) => return Some(Err(cause)),
                };
                from = facts.range.start;
                rebuild = Some(Why::NothingStored {
                    table: context.plan.group.topic(copy.table).to_string(),
                    partition: copy.task.partition,
                });
            }
            Err(error) => return Some(Err(Cause::Store(error))),
        }
    }
}

pub(super) fn restore(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut dyn Store,
    from: Offset,
    rebuild: Option<Why>,
) -> Option<Result<(Offset, String), Cause>> {
    let (_, fingerprint) = context.definition(copy.table)?;
    let (task, topic) = (copy.task, context.plan.group.topic(copy.table));
    let began = wall_clock();
    let facts = match patiently(context, copy, epoch, || look_at_table(context, copy))? {
        Ok(facts) => facts,
        Err(cause) => return Some(Err(cause)),
    };
    let target = Target {
        topic,
        id: facts.id,
        fingerprint,
        end: facts.range.high,
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
        records: 0,
    };
    let mut position = from;
    while position < copy.target.end {
        match copy.follow(epoch, position, synced_at) {
            Ok(Some(reached)) => position = reached,
            Ok(None) => return None,
            Err(Trouble::Store(error)) => return Some(Err(Cause::Store(error))),
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
    records: u64,
}

impl Copy<'_> {
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
        while position < self.target.end {
            if !self.context.is_current(self.task, epoch) {
                return Ok(None);
            }
            let (batch, records) = (&mut self.batch, &mut self.records);
            reader
                .poll(POLL, &mut |_, read| {
                    *records += read.len() as u64;
                    read.iter().for_each(|record| batch.take(record));
                })
                .map_err(Trouble::Log)?;
            let reached = reader.position(0);
            if reached > position {
                (position, moved) = (reached, Instant::now());
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

impl Batch {
    fn take(&mut self, record: &crate::record::Record<'_>) {
        // A record without a key is nobody's row; only a foreign writer makes one.
        let Some(key) = record.key else { return };
        self.bytes += key.len() + record.value.map_or(0, <[u8]>::len) + 64;
        self.writes.insert(
            key.to_vec(),
            (record.timestamp, record.value.map(<[u8]>::to_vec)),
        );
    }
}
