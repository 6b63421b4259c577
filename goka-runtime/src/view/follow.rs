//! The thread of a view: reads the partitions of the table's topic into their copies, and begins a new
//! session when the log was unavailable, a copy could not be written, or the topic changed. Readers never
//! wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{ViewError, ViewState};
use super::shared::ViewShared;
use crate::clock::wall_clock;
use crate::core::recovery::{ChangelogPartition, RecoveryDecision, Role, decide};
use crate::log::{Isolation, Log, LogError, TopicInfo, cancel};
use crate::record::{Offset, Timestamp, TopicPartition};
use crate::reminder::Reminder;
use crate::table::{Checkpoint, Durability, LatestWrites, SortedWrites, Store, StoreError, Stores};
use crate::topic_change::TopicChange;

const POLL: Duration = Duration::from_millis(100);

/// How often copies are put on disk, and the topic's end is asked for.
const SYNC: Duration = Duration::from_secs(3);

/// How often it is checked whether the topic has more partitions, or was made again.
const LOOK: Duration = Duration::from_secs(20);

/// The least and the most of [`Follower::checkpoint_interval`], in milliseconds. Each checkpoint costs a sync
/// of the copy's file.
const CHECKPOINT_INTERVALS: [Timestamp; 2] = [60_000, 3_600_000];

/// How long to wait before the log, or a store that failed, is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    pub(super) log: Arc<dyn Log>,
    pub(super) topic: Arc<str>,
    pub(super) fingerprint: String,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) copies: Vec<PartitionCopy>,
    pub(super) shared: Arc<ViewShared>,
    pub(super) failure_reminder: Reminder,
    pub(super) policy_reminder: Reminder,
    /// How often a copy that is level with an idle topic writes a checkpoint, only for its time, in
    /// milliseconds.
    pub(super) checkpoint_interval: Timestamp,
}

pub(super) struct PartitionCopy {
    /// `None` until it is opened.
    store: Option<Box<dyn Store>>,
    checkpoint: Option<Checkpoint>,
    /// The end of the partition when it was last asked for, and when that was.
    target: (Offset, Timestamp),
    /// Whether it has changed since it was last synced.
    is_dirty: bool,
    /// The time of the last checkpoint that was synced.
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

    /// Its store, opened if it is not. A file that cannot be read is moved aside, since the topic has every
    /// row.
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

    fn apply(
        &mut self,
        writes: &dyn SortedWrites,
        durability: Durability,
    ) -> Result<(), StoreError> {
        match (&mut self.store, &self.checkpoint) {
            (Some(store), Some(checkpoint)) => store.apply(writes, checkpoint, durability),
            _ => Ok(()),
        }
    }

    /// Shows readers what it holds. They read it once [`ViewShared::advance`] says that it is level: a copy
    /// of an earlier process may have been half built.
    fn publish(&self, shared: &ViewShared) -> Result<(), StoreError> {
        if let (Some(store), Some(checkpoint)) = (&self.store, &self.checkpoint) {
            shared.publish(checkpoint.partition, store.snapshot()?);
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

enum SessionEnd {
    LogUnavailable(LogError),
    /// The copy of a partition failed.
    Copy(i32, StoreError),
    /// The view cannot go on.
    Final(String),
    /// The topic has other partitions, or is another one.
    Changed,
    Dropped,
}

impl From<LogError> for SessionEnd {
    fn from(error: LogError) -> Self {
        SessionEnd::LogUnavailable(error)
    }
}

fn copy_failure(partition: i32) -> impl FnOnce(StoreError) -> SessionEnd {
    move |error| SessionEnd::Copy(partition, error)
}

impl Follower {
    /// Opens the copies and decides how to recover each from the topic as it is now; gives the offsets to
    /// read from.
    fn begin(&mut self) -> Result<Vec<(TopicPartition, Offset)>, SessionEnd> {
        let info = self.describe_topic()?;
        self.resize(&info)?;
        // Far below the time past which a copy is rebuilt.
        let [least, most] = CHECKPOINT_INTERVALS;
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
            let topic = ChangelogPartition {
                name: &self.topic,
                cluster: &cluster,
                id: &info.id,
                partition,
                start: range.start,
                end: range.high,
                delete_retention: info.delete_retention,
            };
            let found = store.checkpoint().map_err(copy_failure(partition))?;
            let decision = decide(
                found.as_ref(),
                &topic,
                &self.fingerprint,
                &Role::Follower,
                now,
            );
            let checkpoint = match (decision, found) {
                (RecoveryDecision::Refuse(why), _) => {
                    return Err(SessionEnd::Final(why.to_string()));
                }
                (RecoveryDecision::CatchUp { .. }, Some(checkpoint)) => checkpoint,
                (decision, found) => {
                    if let (RecoveryDecision::Rebuild(why), Some(_)) = (decision, found) {
                        tracing::info!(topic = &*self.topic, partition, %why, "rebuilding the view");
                    }
                    self.shared.forget(partition);
                    store.clear().map_err(copy_failure(partition))?;
                    topic.new_checkpoint(&self.fingerprint, now)
                }
            };
            copy.target = (range.high, now);
            from.push((
                TopicPartition::new(self.topic.clone(), partition),
                checkpoint.offset,
            ));
            copy.checkpoint = Some(checkpoint);
        }
        Ok(from)
    }

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
            "view: the table has another number of partitions; a key is looked up in its new partition, \
             so a row that was written before is found again once it is written anew"
        );
        self.copies.resize_with(now, PartitionCopy::new);
        self.shared.resize(now);
        Ok(())
    }

    /// Ends the session if the topic has changed, and warns if it would lose rows.
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
                "view: the table's topic does not only compact, so its rows expire; this copy keeps them, \
                 but one that is rebuilt lacks them: set cleanup.policy=compact"
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

    /// The first start of a session, on the caller's thread: what is wrong then is the caller's error.
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
            // Neither happens before the thread runs.
            Err(SessionEnd::Dropped | SessionEnd::Changed) => Ok(()),
        }
    }

    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            match self.session() {
                Ok(()) | Err(SessionEnd::Dropped) => break,
                Err(SessionEnd::Changed) => {}
                Err(SessionEnd::LogUnavailable(error)) => {
                    if self.failure_reminder.is_due() {
                        tracing::warn!(topic = &*self.topic, %error, "view: log unavailable, serving what was read");
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
            tracing::warn!(topic = &*self.topic, %error, "view: last records not on disk, they are read again");
        }
    }

    /// Takes the failure of a copy. A damaged one is moved aside, and rebuilt by the next session; one that
    /// lost commits is closed, and opened by the next session; others are retried by it.
    fn copy_failed(&mut self, partition: i32, error: StoreError) {
        let copy = usize::try_from(partition)
            .ok()
            .and_then(|at| self.copies.get_mut(at));
        let failed = match (&error, copy) {
            (StoreError::Unreadable { .. }, Some(copy)) => {
                self.shared.forget(partition);
                // The file has to be closed before it is moved.
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
                "view: copy not written, serving what was read and trying again"
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
            tracing::info!(topic = &*self.topic, "view: following resumed");
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

    /// Applies a batch of one partition, and shows its readers how far it is.
    fn advance(
        &mut self,
        at: usize,
        batch: &mut LatestWrites,
        position: Offset,
    ) -> Result<(), SessionEnd> {
        let copy = &mut self.copies[at];
        let Some(checkpoint) = &mut copy.checkpoint else {
            return Ok(());
        };
        let made_progress = position != checkpoint.offset;
        checkpoint.offset = position;
        let level = position >= copy.target.0;
        if level {
            checkpoint.synced_at = checkpoint.synced_at.max(copy.target.1);
        }
        copy.is_dirty |= made_progress;
        let partition = checkpoint.partition;
        if batch.count() > 0 {
            let batch = std::mem::take(batch);
            copy.apply(&batch, Durability::Relaxed)
                .and_then(|()| copy.publish(&self.shared))
                .map_err(copy_failure(partition))?;
        }
        self.shared
            .advance(partition, position, copy.target.1, level);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), SessionEnd> {
        for copy in &mut self.copies {
            let Some(checkpoint) = &copy.checkpoint else {
                continue;
            };
            let (partition, at) = (checkpoint.partition, checkpoint.synced_at);
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
