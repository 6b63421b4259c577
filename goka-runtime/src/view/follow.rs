//! The thread of a view: reads the table topic's partitions into their copies, judges what it finds
//! on disk, and comes back by itself when the log was away or a copy could not be written. A copy that
//! is damaged is moved aside and made anew from the topic. Readers never wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::ViewError;
use super::shared::{ViewShared, ViewState};
use crate::clock::wall_clock;
use crate::core::recovery::{RecoveryDecision, Role, Topic, decide};
use crate::log::{Isolation, Log, LogError, OffsetRange, TopicInfo, cancel};
use crate::record::{Offset, Timestamp, TopicPartition};
use crate::reminder::Reminder;
use crate::table::{
    Checkpoint, Durability, FORMAT, LatestWrites, Store, StoreError, Stores, Write,
};
use crate::topic_change::TopicChange;

/// How long one poll waits for records.
const POLL: Duration = Duration::from_millis(100);

/// How often copies are put on disk, and the topic's end is asked for.
const SYNC: Duration = Duration::from_secs(3);

/// How often the topic is looked at: whether it has more partitions, or was made again.
const LOOK: Duration = Duration::from_secs(20);

/// How old the time on disk may be of a copy that is level with an idle topic, in milliseconds: at
/// least, and at most. Each time costs a sync of the copy's file.
const RESTAMP: [Timestamp; 2] = [60_000, 3_600_000];

/// How long to wait before the log, or a store that failed, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows one table.
pub(super) struct Follower {
    pub(super) log: Arc<dyn Log>,
    pub(super) topic: Arc<str>,
    pub(super) fingerprint: String,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) copies: Vec<PartitionCopy>,
    pub(super) shared: Arc<ViewShared>,
    pub(super) failure_reminder: Reminder,
    pub(super) policy_reminder: Reminder,
    /// How old the time on disk may be of a copy that is level with an idle topic, in milliseconds.
    pub(super) checkpoint_interval: Timestamp,
}

/// One partition's copy, and how far it is.
pub(super) struct PartitionCopy {
    /// `None` until it is opened, at first or again.
    store: Option<Box<dyn Store>>,
    checkpoint: Option<Checkpoint>,
    /// The end of the partition when it was last asked for, and when that was.
    target: (Offset, Timestamp),
    /// Whether something is newer than what is surely on disk.
    is_dirty: bool,
    /// The time of the stamp that is surely on disk.
    checkpointed_at: Timestamp,
}

impl PartitionCopy {
    pub(super) fn new() -> Self {
        Self {
            store: None,
            checkpoint: None,
            target: (Offset::MAX, 0),
            is_dirty: false,
            checkpointed_at: 0,
        }
    }

    /// Its store, opened if it is not. What is there and cannot be read is moved aside, for the topic
    /// has it all.
    fn open(
        &mut self,
        stores: &dyn Stores,
        table: &str,
        partition: i32,
    ) -> Result<&mut Box<dyn Store>, StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => match stores.open(table, partition) {
                Err(error @ StoreError::Unreadable { .. }) => {
                    set_aside(stores, table, partition, &error)?;
                    stores.open(table, partition)?
                }
                opened => opened?,
            },
        };
        Ok(self.store.insert(store))
    }

    fn apply(&mut self, writes: &[Write<'_>], durability: Durability) -> Result<(), StoreError> {
        match (&mut self.store, &self.checkpoint) {
            (Some(store), Some(stamp)) => store.apply(writes, stamp, durability),
            _ => Ok(()),
        }
    }

    /// Shows readers what it holds. Whether they may read it is told by `reached`: a copy from an
    /// earlier process may have been half built.
    fn publish(&self, shared: &ViewShared) -> Result<(), StoreError> {
        if let (Some(store), Some(stamp)) = (&self.store, &self.checkpoint) {
            shared.publish(stamp.partition, store.snapshot()?);
        }
        Ok(())
    }
}

fn set_aside(
    stores: &dyn Stores,
    table: &str,
    partition: i32,
    error: &StoreError,
) -> Result<(), StoreError> {
    let aside = stores.set_aside(table, partition)?;
    tracing::warn!(table, partition, %error, aside, "view: unreadable copy moved aside, rebuilding");
    Ok(())
}

/// What ends a session: the log and the disk may come back, the rest is final.
enum SessionEnd {
    LogUnavailable(LogError),
    /// The copy of a partition.
    Copy(i32, StoreError),
    Final(String),
    /// The topic has other partitions, or is another one.
    Changed,
    /// Nobody reads it any more.
    Dropped,
}

impl From<LogError> for SessionEnd {
    fn from(error: LogError) -> Self {
        SessionEnd::LogUnavailable(error)
    }
}

/// A failure of a partition's copy.
fn copy_failure(partition: i32) -> impl FnOnce(StoreError) -> SessionEnd {
    move |error| SessionEnd::Copy(partition, error)
}

impl Follower {
    /// Judges every copy against the topic as it is now; clears those of no use.
    fn begin(&mut self) -> Result<Vec<(TopicPartition, Offset)>, SessionEnd> {
        let info = self.describe_topic()?;
        self.resize(&info)?;
        // Far below the time past which a copy is not trusted.
        let [least, most] = RESTAMP;
        let kept = Timestamp::try_from(info.delete_retention.as_millis()).unwrap_or(most);
        self.checkpoint_interval = (kept / 20).clamp(least, most);
        let partitions = self.partitions();
        let (cluster, ranges) =
            self.ask(move |log| Ok((log.cluster()?, log.ranges(&partitions)?)))?;
        let now = wall_clock();
        let mut from = Vec::with_capacity(self.copies.len());
        for (partition, (copy, range)) in (0i32..).zip(self.copies.iter_mut().zip(&ranges)) {
            let store = copy.open(&*self.stores, &self.topic, partition);
            let store = store.map_err(copy_failure(partition))?;
            let topic = Topic {
                name: &self.topic,
                cluster: &cluster,
                id: &info.id,
                partition,
                start: range.start,
                end: range.high,
                delete_retention: info.delete_retention,
            };
            let found = store.checkpoint().map_err(copy_failure(partition))?;
            let verdict = decide(
                found.as_ref(),
                &topic,
                &self.fingerprint,
                &Role::Follower,
                now,
            );
            let stamp = match (verdict, found) {
                (RecoveryDecision::CatchUp { .. }, Some(stamp)) => stamp,
                (RecoveryDecision::Refuse(why), _) => {
                    return Err(SessionEnd::Final(why.to_string()));
                }
                (RecoveryDecision::Rebuild(why), found) => {
                    if found.is_some() {
                        tracing::info!(topic = &*self.topic, partition, %why, "rebuilding the view");
                    }
                    self.shared.forget(partition);
                    store.clear().map_err(copy_failure(partition))?;
                    fresh(&cluster, &info, partition, range, &self.fingerprint, now)
                }
                (RecoveryDecision::CatchUp { .. }, None) => {
                    fresh(&cluster, &info, partition, range, &self.fingerprint, now)
                }
            };
            copy.target = (range.high, now);
            from.push((
                TopicPartition::new(self.topic.clone(), partition),
                stamp.offset,
            ));
            copy.checkpoint = Some(stamp);
        }
        Ok(from)
    }

    /// What the topic is now.
    fn describe_topic(&self) -> Result<TopicInfo, SessionEnd> {
        let topic = self.topic.clone();
        self.ask(move |log| {
            let info = log.describe(&[&topic])?.into_iter().next().flatten();
            info.ok_or_else(|| LogError::UnknownTopic {
                topic: topic.to_string(),
            })
        })
    }

    /// Whether the topic has partitions that are not followed, or is another one than before.
    fn is_changed(&self, info: &TopicInfo) -> bool {
        let known = i32::try_from(self.copies.len()).unwrap_or(i32::MAX);
        let checkpoints = self.copies.iter().map(|copy| copy.checkpoint.as_ref());
        let ids = checkpoints.map(|found| found.map_or("", |found| &*found.topic_id));
        // A view of no partition has no identity to compare either.
        let mut changes = ids.chain([""]).map(|id| TopicChange::of(id, known, info));
        changes.any(|change| change.is_some())
    }

    /// Has one copy for each partition.
    fn resize(&mut self, info: &TopicInfo) -> Result<(), SessionEnd> {
        let (before, now) = (self.copies.len(), count(info));
        if now == before || !self.is_changed(info) {
            return Ok(());
        }
        let added = now.saturating_sub(before);
        let expected = self.stores.reserve(added);
        expected.map_err(|error| SessionEnd::Final(error.to_string()))?;
        tracing::warn!(
            topic = &*self.topic,
            before,
            now,
            "view: the table has another number of partitions; keys are looked for where that places \
             them, and rows that were written before are found again once they are written anew"
        );
        self.copies.resize_with(now, PartitionCopy::new);
        self.shared.resize(now);
        Ok(())
    }

    /// Looks whether the topic is still what it was.
    fn recheck_topic(&mut self) -> Result<(), SessionEnd> {
        let info = self.describe_topic()?;
        if self.is_changed(&info) {
            return Err(SessionEnd::Changed);
        }
        if info.policy.is_of_a_table() {
            self.policy_reminder.is_over();
        } else if self.policy_reminder.is_due() {
            let policy = info.policy.name();
            tracing::warn!(
                topic = &*self.topic,
                policy,
                "view: the table's topic is not compacted only, so its rows expire; this copy keeps \
                 them, one that is made anew lacks them: set cleanup.policy=compact"
            );
        }
        Ok(())
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        let numbers = (0i32..).zip(&self.copies);
        numbers
            .map(|(partition, _)| TopicPartition::new(self.topic.clone(), partition))
            .collect()
    }

    /// Asks the log, unless the view is dropped meanwhile.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl Fn(&dyn Log) -> Result<T, LogError> + Send + Sync + 'static,
    ) -> Result<T, SessionEnd> {
        let log = Arc::clone(&self.log);
        let asked = cancel::unless(|| self.shared.is_stopping(), move || ask(&*log));
        Ok(asked.ok_or(SessionEnd::Dropped)??)
    }

    /// The first judgement, on the caller's thread: what is wrong at the start refuses to start.
    pub(super) fn check(&mut self) -> Result<(), ViewError> {
        match self.begin() {
            Ok(_) => self
                .copies
                .iter()
                .try_for_each(|copy| copy.publish(&self.shared))
                .map_err(ViewError::Store),
            Err(SessionEnd::LogUnavailable(error)) => Err(error.into()),
            Err(SessionEnd::Copy(_, error)) => Err(error.into()),
            Err(SessionEnd::Final(reason)) => Err(ViewError::Stopped {
                topic: self.topic.to_string(),
                reason,
            }),
            // Nobody has it yet; only a session looks again.
            Err(SessionEnd::Dropped | SessionEnd::Changed) => Ok(()),
        }
    }

    /// Follows until the view is dropped.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            match self.session() {
                Ok(()) | Err(SessionEnd::Dropped) => break,
                Err(SessionEnd::Changed) => {}
                Err(SessionEnd::LogUnavailable(error)) => {
                    if self.failure_reminder.is_due() {
                        tracing::warn!(topic = &*self.topic, %error, "view: the log is away, serving what is here");
                    }
                    self.shared.set_state(ViewState::Away {
                        reason: error.to_string(),
                    });
                    self.shared.pause(RETRY);
                }
                Err(SessionEnd::Copy(partition, error)) => self.copy_failed(partition, error),
                Err(SessionEnd::Final(reason)) => {
                    tracing::error!(topic = &*self.topic, %reason, "view stopped");
                    self.shared.set_state(ViewState::Stopped { reason });
                    return;
                }
            }
        }
        if let Err(SessionEnd::Copy(_, error)) = self.sync() {
            tracing::warn!(topic = &*self.topic, %error, "view: the last records are not on disk and will be read again");
        }
    }

    /// A copy failed: one that is damaged is moved aside, and the next session makes it anew; one that
    /// lost commits is judged by the next session; else the disk may have room again.
    fn copy_failed(&mut self, partition: i32, error: StoreError) {
        let copy = usize::try_from(partition)
            .ok()
            .and_then(|at| self.copies.get_mut(at));
        let failed = match (&error, copy) {
            (StoreError::Unreadable { .. }, Some(copy)) => {
                self.shared.forget(partition);
                // A file that is in use cannot be opened.
                copy.store = None;
                match set_aside(&*self.stores, &self.topic, partition, &error) {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            (StoreError::RolledBack { .. }, Some(copy)) => {
                copy.store = None;
                error
            }
            _ => error,
        };
        if self.failure_reminder.is_due() {
            tracing::warn!(
                topic = &*self.topic,
                partition,
                error = %failed,
                "view: its copy cannot be written, serving what is here and trying again"
            );
        }
        self.shared.set_state(ViewState::Failing {
            reason: failed.to_string(),
        });
        self.shared.pause(RETRY);
    }

    fn session(&mut self) -> Result<(), SessionEnd> {
        let from = self.begin()?;
        let mut reader = self.log.reader(&from, Isolation::ReadCommitted)?;
        for (partition, copy) in (0..).zip(&self.copies) {
            copy.publish(&self.shared)
                .map_err(copy_failure(partition))?;
        }
        if self.failure_reminder.is_over() {
            tracing::info!(topic = &*self.topic, "view: following again");
        }
        self.shared.set_state(ViewState::Following);
        let mut next_sync = Instant::now() + SYNC;
        let mut next_look = Instant::now() + LOOK;
        let mut batches: Vec<LatestWrites> = from.iter().map(|_| LatestWrites::default()).collect();
        while !self.shared.is_stopping() {
            reader.poll(POLL, &mut |at, records| {
                records.iter().for_each(|record| batches[at].take(record))
            })?;
            if let Some((partition, error)) = self.shared.damage() {
                return Err(SessionEnd::Copy(partition, error));
            }
            for (at, batch) in batches.iter_mut().enumerate() {
                self.advance(at, batch, reader.position(at))?;
            }
            if Instant::now() >= next_sync {
                self.sync()?;
                let now = wall_clock();
                let partitions = self.partitions();
                let ranges = self.ask(move |log| log.ranges(&partitions))?;
                for (copy, range) in self.copies.iter_mut().zip(ranges) {
                    copy.target = (range.high, now);
                }
                next_sync = Instant::now() + SYNC;
            }
            if Instant::now() >= next_look {
                self.recheck_topic()?;
                next_look = Instant::now() + LOOK;
            }
        }
        Ok(())
    }

    /// Applies a batch of one partition, and tells its readers how far it is.
    fn advance(
        &mut self,
        at: usize,
        batch: &mut LatestWrites,
        position: Offset,
    ) -> Result<(), SessionEnd> {
        let copy = &mut self.copies[at];
        let Some(stamp) = &mut copy.checkpoint else {
            return Ok(());
        };
        let moved = position != stamp.offset;
        stamp.offset = position;
        let level = position >= copy.target.0;
        if level {
            stamp.synced_at = stamp.synced_at.max(copy.target.1);
        }
        copy.is_dirty |= moved;
        let partition = stamp.partition;
        if batch.len() > 0 {
            let batch = std::mem::take(batch);
            let writes: Vec<_> = batch.writes().collect();
            copy.apply(&writes, Durability::Relaxed)
                .and_then(|()| copy.publish(&self.shared))
                .map_err(copy_failure(partition))?;
        }
        self.shared
            .advance(partition, position, copy.target.1, level);
        Ok(())
    }

    /// Puts what was applied on disk.
    fn sync(&mut self) -> Result<(), SessionEnd> {
        for copy in &mut self.copies {
            let Some(stamp) = &copy.checkpoint else {
                continue;
            };
            let (partition, at) = (stamp.partition, stamp.synced_at);
            if copy.is_dirty
                || at
                    >= copy
                        .checkpointed_at
                        .saturating_add(self.checkpoint_interval)
            {
                let synced = copy.apply(&[], Durability::Synced);
                synced.map_err(copy_failure(partition))?;
                copy.is_dirty = false;
                copy.checkpointed_at = at;
            }
        }
        Ok(())
    }
}

fn count(info: &TopicInfo) -> usize {
    usize::try_from(info.partitions).unwrap_or(0)
}

/// The stamp of a copy whose construction begins now.
fn fresh(
    cluster: &str,
    info: &TopicInfo,
    partition: i32,
    range: &OffsetRange,
    fingerprint: &str,
    now: Timestamp,
) -> Checkpoint {
    Checkpoint {
        format: FORMAT,
        cluster: cluster.to_owned(),
        topic_id: info.id.clone(),
        partition,
        offset: range.start,
        fingerprint: fingerprint.to_owned(),
        synced_at: now,
    }
}
