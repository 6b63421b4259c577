//! Reads a table's topic into a local copy, in sorted batches of bounded memory, each written with the
//! position behind it. Ends at a position and not at a record: the last offsets may hold none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::{Job, JobError, JobId, RestoreContext};
use super::inspect::{ask_until_answered, inspect_changelog, read_checkpoint};
use crate::core::recovery::{ChangelogPartition, RestoreFrom, Role, decide};
use crate::core::{FailedRecord, StopReason, key_check};
use crate::graph::Format;
use crate::log::{Isolation, LogError};
use crate::record::{Offset, Record, Timestamp, TopicPartition};
use crate::table::{Checkpoint, Durability, FORMAT, LatestWrites, SortedWrites, Store, StoreError};

/// A batch is written to the store when it has so many keys or bytes.
const BATCH_KEYS: usize = 50_000;
const BATCH_BYTES: usize = 16 << 20;
/// With so many rows whose keys are in another form, a joined table is refused before its end is reached:
/// their deletions may follow, but have to be kept in memory until then.
const MOST_UNREACHABLE: usize = 500_000;
const POLL: Duration = Duration::from_millis(100);
/// After this time without progress a restore is reported.
const WATCHDOG: Duration = Duration::from_secs(10);

/// Opens a joined table's copy, decides how to recover it, and brings it up to its topic.
pub(super) fn follow(
    context: &Arc<RestoreContext>,
    job: &mut Job,
) -> Result<(Offset, String), JobError> {
    let copy = job.copy;
    let checkpoint = read_checkpoint(context, job)?;
    let inspection = ask_until_answered(context, job.id(), inspect_changelog)?;
    let (name, fingerprint) = context.definition(copy.table)?;
    let topic = ChangelogPartition {
        name,
        cluster: &context.plan.cluster,
        id: &inspection.id,
        partition: copy.task.partition,
        start: inspection.range.start,
        end: inspection.range.high,
        delete_retention: inspection.delete_retention,
    };
    let now = context.clock.wall();
    let (checkpoint, role) = (checkpoint.as_ref(), Role::Follower);
    let decision = decide(checkpoint, &topic, fingerprint, &role, now);
    let from = decision.restore_from(topic.start);
    restore(context, job, from.map_err(StopReason::Recovery)?)
}

pub(super) fn restore(
    context: &Arc<RestoreContext>,
    job: &mut Job,
    RestoreFrom { from, rebuild }: RestoreFrom,
) -> Result<(Offset, String), JobError> {
    let (id, copy) = (job.id(), job.copy);
    let store = &mut **job.store.as_mut().ok_or(JobError::Cancelled)?;
    let (_, fingerprint) = context.definition(copy.table)?;
    let (task, topic) = (copy.task, context.plan.group.topic(copy.table));
    let began = context.clock.wall();
    let inspection = ask_until_answered(context, id, inspect_changelog)?;
    // Until it is level, a copy is as old as it was: deletions that it missed may be compacted away.
    let synced_at = match (&rebuild, store.checkpoint()) {
        (None, Ok(Some(checkpoint))) => checkpoint.synced_at,
        (None, Err(error)) => return Err(error.into()),
        _ => began,
    };
    if let Some(why) = rebuild {
        tracing::info!(topic = &**topic, partition = task.partition, %why, "rebuilding");
        store.clear()?;
    }
    let mut reading = Replay {
        context,
        job: id,
        store,
        topic,
        topic_id: inspection.id,
        fingerprint,
        end: match mutant!(RestoreToStable) {
            true => inspection.range.stable,
            false => inspection.range.high,
        },
        key: context.plan.join(copy.table).map(|join| join.key),
        synced_at,
        began,
        batch: LatestWrites::default(),
        unreachable_rows: BTreeMap::new(),
        records: 0,
        position: from,
    };
    loop {
        match reading.read_and_sync() {
            Ok(true) => break,
            Ok(false) => return Err(JobError::Cancelled),
            Err(ReplayError::Store(error)) => {
                let at = reading.position;
                // A store that was rolled back is inspected again.
                let is_here = !matches!(error, StoreError::RolledBack { .. });
                if !is_here || !context.may_retry(id, at, "writing to the store", &error) {
                    return Err(error.into());
                }
            }
            Err(ReplayError::Log(error @ LogError::OutOfRange { .. })) => {
                return Err(StopReason::Input(error).into());
            }
            Err(ReplayError::Log(error)) => {
                context.log_failed(id, reading.position, "reading the topic", &error);
            }
        }
        reading.resume_from_store(from);
        context.pause(id)?;
    }
    if let Some((key, other)) = reading.first_unreachable() {
        let record = FailedRecord::new(topic, task.partition, other.offset, key);
        return Err(key_check::refusal(record, &other.form).into());
    }
    let (partition, records, end) = (task.partition, reading.records, reading.position);
    tracing::info!(topic = &**topic, partition, from, end, records, "restored");
    Ok((end, reading.topic_id))
}

enum ReplayError {
    Log(LogError),
    Store(StoreError),
}

struct Replay<'a> {
    context: &'a RestoreContext,
    job: JobId,
    store: &'a mut dyn Store,
    topic: &'a Arc<str>,
    topic_id: String,
    fingerprint: &'a str,
    /// Where to read to.
    end: Offset,
    /// The form of the keys of a joined table; keys of the group's own table were checked as inputs.
    key: Option<Format>,
    /// When the copy was last level, and when this restore began.
    synced_at: Timestamp,
    began: Timestamp,
    batch: LatestWrites,
    /// The rows whose keys are in another form than this program writes, by the keys as they are.
    unreachable_rows: BTreeMap<Vec<u8>, UnreachableRow>,
    records: u64,
    /// The next changelog offset to read.
    position: Offset,
}

/// A row that no join finds, since its key is in another form.
struct UnreachableRow {
    offset: Offset,
    /// The key in the form that this program writes.
    form: Vec<u8>,
}

impl Replay<'_> {
    /// The first row in the topic that no join finds.
    fn first_unreachable(&self) -> Option<(&Vec<u8>, &UnreachableRow)> {
        self.unreachable_rows
            .iter()
            .min_by_key(|(_, other)| other.offset)
    }

    /// Reads to the target and writes all of it to the disk; `false` when the job is cancelled, or would wait.
    fn read_and_sync(&mut self) -> Result<bool, ReplayError> {
        if self.position < self.end && !self.read()? {
            return Ok(false);
        }
        self.apply(self.began, Durability::Synced)?;
        Ok(true)
    }

    fn read(&mut self) -> Result<bool, ReplayError> {
        let partition = self.job.0.task.partition;
        let at = TopicPartition::new(Arc::clone(self.topic), partition);
        let (log, from) = (&self.context.log, [(at, self.position)]);
        let reader = log.reader(&from, Isolation::ReadCommitted);
        let mut reader = reader.map_err(ReplayError::Log)?;
        let mut moved_at = Instant::now();
        let mut last = None;
        while self.position < self.end && self.unreachable_rows.len() < MOST_UNREACHABLE {
            if !self.context.is_current(self.job) {
                return Ok(false);
            }
            let (batch, records) = (&mut self.batch, &mut self.records);
            let (others, format) = (&mut self.unreachable_rows, self.key.as_ref());
            reader
                .poll(POLL, &mut |_, read| {
                    *records += read.len() as u64;
                    for record in read {
                        batch.take(record);
                        note_unreachable(others, format, record);
                    }
                    last = read.last().map(|record| record.offset).or(last);
                })
                .map_err(ReplayError::Log)?;
            let reached = match mutant!(RestoreByRecord) {
                true => last.map_or(self.position, |last| last + 1),
                false => reader.position(0),
            };
            if reached > self.position {
                (self.position, moved_at) = (reached, Instant::now());
                self.context.made_progress(self.job.0, reached, false);
            } else if self.context.is_inline {
                return Ok(false);
            } else if moved_at.elapsed() >= WATCHDOG {
                moved_at = Instant::now();
                if self.context.should_log(self.job, self.position) {
                    let (topic, position, target) = (&**self.topic, self.position, self.end);
                    tracing::warn!(
                        topic,
                        partition,
                        position,
                        target,
                        "restore makes no progress"
                    );
                }
            }
            if self.batch.count() >= BATCH_KEYS || self.batch.bytes() >= BATCH_BYTES {
                self.apply(self.synced_at, Durability::Relaxed)?;
            }
        }
        Ok(true)
    }

    /// After a failure, goes on from what the store holds.
    fn resume_from_store(&mut self, from: Offset) {
        self.batch = LatestWrites::default();
        self.position = match self.store.checkpoint() {
            Ok(Some(checkpoint)) => checkpoint.offset.max(from),
            _ => from,
        };
    }

    fn apply(&mut self, synced_at: Timestamp, durability: Durability) -> Result<(), ReplayError> {
        // The next restore finds the rows again that this one is refused for.
        let refused = self.first_unreachable().map(|(_, other)| other.offset);
        let offset = refused.map_or(self.position, |refused| refused.min(self.position));
        let batch = std::mem::take(&mut self.batch);
        let checkpoint = Checkpoint {
            format: FORMAT,
            cluster: self.context.plan.cluster.clone(),
            topic_id: self.topic_id.clone(),
            partition: self.job.0.task.partition,
            offset,
            fingerprint: self.fingerprint.to_owned(),
            synced_at,
        };
        let applied = self.store.apply(&batch, &checkpoint, durability);
        applied.map_err(ReplayError::Store)?;
        self.context.made_progress(self.job.0, self.position, true);
        Ok(())
    }
}

/// Remembers a row whose key is in another form until it is deleted.
fn note_unreachable(
    others: &mut BTreeMap<Vec<u8>, UnreachableRow>,
    format: Option<&Format>,
    record: &Record<'_>,
) {
    let (Some(key), Some(format)) = (record.key, format) else {
        return;
    };
    if record.value.is_none() {
        others.remove(key);
        return;
    }
    let (offset, mut form) = (record.offset, Vec::new());
    if key_check::is_other(format, key, &mut form) {
        others.insert(key.to_vec(), UnreachableRow { offset, form });
    }
}
