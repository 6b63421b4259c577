//! The thread of a view: reads the table topic's partitions into their copies, judges what it finds
//! on disk, and comes back by itself when the log was away or a copy could not be written. A copy that
//! is damaged is moved aside and made anew from the topic. Readers never wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::shared::{Shared, ViewState};
use crate::core::recovery::{ChangelogPartition, RecoveryDecision, Role, decide, is_other_topic};
use crate::log::{Isolation, Log, LogError, OffsetRange, TopicInfo, cancel};
use crate::record::{Offset, Record, Timestamp, TopicPartition};
use crate::reminder::Reminder;
use crate::table::{Checkpoint, Durability, FORMAT, Store, StoreError, StoredRef, Stores, Write};
use crate::view::ViewError;

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
    pub(super) copies: Vec<Copy>,
    pub(super) shared: Arc<Shared>,
    pub(super) trouble: Reminder,
    pub(super) policy: Reminder,
    /// How old the time on disk may be of a copy that is level with an idle topic, in milliseconds.
    pub(super) restamp: Timestamp,
}

/// One partition's copy, and how far it is.
pub(super) struct Copy {
    /// `None` until it is opened, at first or again.
    store: Option<Box<dyn Store>>,
    stamp: Option<Checkpoint>,
    /// The end of the partition when it was last asked for, and when that was.
    target: (Offset, Timestamp),
    /// Whether something is newer than what is surely on disk.
    dirty: bool,
    /// The time of the stamp that is surely on disk.
    stamped: Timestamp,
}

impl Copy {
    pub(super) fn new() -> Self {
        Self {
            store: None,
            stamp: None,
            target: (Offset::MAX, 0),
            dirty: false,
            stamped: 0,
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
        match (&mut self.store, &self.stamp) {
            (Some(store), Some(stamp)) => store.apply(writes, stamp, durability),
            _ => Ok(()),
        }
    }

    /// Shows readers what it holds. Whether they may read it is told by `reached`: a copy from an
    /// earlier process may have been half built.
    fn publish(&self, shared: &Shared) -> Result<(), StoreError> {
        if let (Some(store), Some(stamp)) = (&self.store, &self.stamp) {
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
enum End {
    Away(LogError),
    /// The copy of a partition.
    Copy(i32, StoreError),
    Final(String),
    /// The topic has other partitions, or is another one.
    Changed,
    /// Nobody reads it any more.
    Dropped,
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        End::Away(error)
    }
}

/// A failure of a partition's copy.
fn of_copy(partition: i32) -> impl FnOnce(StoreError) -> End {
    move |error| End::Copy(partition, error)
}

impl Follower {
    /// Judges every copy against the topic as it is now; clears those of no use.
    fn begin(&mut self) -> Result<Vec<(TopicPartition, Offset)>, End> {
        let info = self.look()?;
        self.resize(&info)?;
        // Far below the time past which a copy is not trusted.
        let [least, most] = RESTAMP;
        let kept = Timestamp::try_from(info.delete_retention.as_millis()).unwrap_or(most);
        self.restamp = (kept / 20).clamp(least, most);
        let partitions = self.partitions();
        let (cluster, ranges) =
            self.ask(move |log| Ok((log.cluster()?, log.ranges(&partitions)?)))?;
        let now = wall_clock();
        let mut from = Vec::with_capacity(self.copies.len());
        for (partition, (copy, range)) in (0i32..).zip(self.copies.iter_mut().zip(&ranges)) {
            let store = copy.open(&*self.stores, &self.topic, partition);
            let store = store.map_err(of_copy(partition))?;
            let topic = ChangelogPartition {
                name: &self.topic,
                cluster: &cluster,
                id: &info.id,
                partition,
                start: range.start,
                end: range.high,
                delete_retention: info.delete_retention,
            };
            let found = store.stamp().map_err(of_copy(partition))?;
            let verdict = decide(
                found.as_ref(),
                &topic,
                &self.fingerprint,
                &Role::Follower,
                now,
            );
            let stamp = match (verdict, found) {
                (RecoveryDecision::CatchUp { .. }, Some(stamp)) => stamp,
                (RecoveryDecision::Refuse(why), _) => return Err(End::Final(why.to_string())),
                (RecoveryDecision::Rebuild(why), found) => {
                    if found.is_some() {
                        tracing::info!(topic = &*self.topic, partition, %why, "rebuilding the view");
                    }
                    self.shared.forget(partition);
                    store.clear().map_err(of_copy(partition))?;
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
            copy.stamp = Some(stamp);
        }
        Ok(from)
    }

    /// What the topic is now.
    fn look(&self) -> Result<TopicInfo, End> {
        let topic = self.topic.clone();
        self.ask(move |log| {
            let info = log.describe(&[&topic])?.into_iter().next().flatten();
            info.ok_or_else(|| LogError::UnknownTopic {
                topic: topic.to_string(),
            })
        })
    }

    /// Whether the topic is another one than the copies are of.
    fn is_other(&self, info: &TopicInfo) -> bool {
        let mut stamps = self.copies.iter().filter_map(|copy| copy.stamp.as_ref());
        stamps.any(|stamp| is_other_topic(&stamp.topic_id, &info.id))
    }

    /// Whether it has partitions that are not followed. Fewer are an old answer, unless it is another
    /// topic.
    fn is_changed(&self, info: &TopicInfo) -> bool {
        count(info) > self.copies.len() || self.is_other(info)
    }

    /// Has one copy for each partition.
    fn resize(&mut self, info: &TopicInfo) -> Result<(), End> {
        let (before, now) = (self.copies.len(), count(info));
        if now == before || !self.is_changed(info) {
            return Ok(());
        }
        let added = now.saturating_sub(before);
        let expected = self.stores.expect(added);
        expected.map_err(|error| End::Final(error.to_string()))?;
        tracing::warn!(
            topic = &*self.topic,
            before,
            now,
            "view: the table has another number of partitions; keys are looked for where that places \
             them, and rows that were written before are found again once they are written anew"
        );
        self.copies.resize_with(now, Copy::new);
        self.shared.resize(now);
        Ok(())
    }

    /// Looks whether the topic is still what it was.
    fn look_again(&mut self) -> Result<(), End> {
        let info = self.look()?;
        if self.is_changed(&info) {
            return Err(End::Changed);
        }
        if info.policy.is_of_a_table() {
            self.policy.is_over();
        } else if self.policy.is_due() {
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
    ) -> Result<T, End> {
        let log = Arc::clone(&self.log);
        let asked = cancel::unless(|| self.shared.is_stopping(), move || ask(&*log));
        Ok(asked.ok_or(End::Dropped)??)
    }

    /// The first judgement, on the caller's thread: what is wrong at the start refuses to start.
    pub(super) fn check(&mut self) -> Result<(), ViewError> {
        match self.begin() {
            Ok(_) => self
                .copies
                .iter()
                .try_for_each(|copy| copy.publish(&self.shared))
                .map_err(ViewError::Store),
            Err(End::Away(error)) => Err(error.into()),
            Err(End::Copy(_, error)) => Err(error.into()),
            Err(End::Final(reason)) => Err(ViewError::Stopped {
                topic: self.topic.to_string(),
                reason,
            }),
            // Nobody has it yet; only a session looks again.
            Err(End::Dropped | End::Changed) => Ok(()),
        }
    }

    /// Follows until the view is dropped.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            match self.session() {
                Ok(()) | Err(End::Dropped) => break,
                Err(End::Changed) => {}
                Err(End::Away(error)) => {
                    if self.trouble.is_due() {
                        tracing::warn!(topic = &*self.topic, %error, "view: the log is away, serving what is here");
                    }
                    self.shared.set_state(ViewState::Away {
                        reason: error.to_string(),
                    });
                    self.shared.pause(RETRY);
                }
                Err(End::Copy(partition, error)) => self.copy_failed(partition, error),
                Err(End::Final(reason)) => {
                    tracing::error!(topic = &*self.topic, %reason, "view stopped");
                    self.shared.set_state(ViewState::Stopped { reason });
                    return;
                }
            }
        }
        if let Err(End::Copy(_, error)) = self.sync() {
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
        if self.trouble.is_due() {
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

    fn session(&mut self) -> Result<(), End> {
        let from = self.begin()?;
        let mut reader = self.log.reader(&from, Isolation::ReadCommitted)?;
        for (partition, copy) in (0..).zip(&self.copies) {
            copy.publish(&self.shared).map_err(of_copy(partition))?;
        }
        if self.trouble.is_over() {
            tracing::info!(topic = &*self.topic, "view: following again");
        }
        self.shared.set_state(ViewState::Following);
        let mut next_sync = Instant::now() + SYNC;
        let mut next_look = Instant::now() + LOOK;
        let mut batches: Vec<Batch> = from.iter().map(|_| Batch::default()).collect();
        while !self.shared.is_stopping() {
            reader.poll(POLL, &mut |at, records| batches[at].take(records))?;
            if let Some((partition, error)) = self.shared.damage() {
                return Err(End::Copy(partition, error));
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
                self.look_again()?;
                next_look = Instant::now() + LOOK;
            }
        }
        Ok(())
    }

    /// Applies a batch of one partition, and tells its readers how far it is.
    fn advance(&mut self, at: usize, batch: &mut Batch, position: Offset) -> Result<(), End> {
        let copy = &mut self.copies[at];
        let Some(stamp) = &mut copy.stamp else {
            return Ok(());
        };
        let moved = position != stamp.offset;
        stamp.offset = position;
        let level = position >= copy.target.0;
        if level {
            stamp.synced_at = stamp.synced_at.max(copy.target.1);
        }
        copy.dirty |= moved;
        let partition = stamp.partition;
        if !batch.last.is_empty() {
            let writes: Vec<_> = batch.writes().collect();
            let applied = copy.apply(&writes, Durability::Relaxed);
            batch.last.clear();
            applied
                .and_then(|()| copy.publish(&self.shared))
                .map_err(of_copy(partition))?;
        }
        self.shared
            .reached(partition, position, copy.target.1, level);
        Ok(())
    }

    /// Puts what was applied on disk.
    fn sync(&mut self) -> Result<(), End> {
        for copy in &mut self.copies {
            let Some(stamp) = &copy.stamp else { continue };
            let (partition, at) = (stamp.partition, stamp.synced_at);
            if copy.dirty || at >= copy.stamped.saturating_add(self.restamp) {
                let synced = copy.apply(&[], Durability::Synced);
                synced.map_err(of_copy(partition))?;
                copy.dirty = false;
                copy.stamped = at;
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

/// The last change of each key in a batch.
#[derive(Default)]
struct Batch {
    last: BTreeMap<Vec<u8>, Option<(Timestamp, Vec<u8>)>>,
}

impl Batch {
    fn take(&mut self, records: &[Record<'_>]) {
        for record in records {
            // A null key is in no table; whoever wrote it was not the table's owner.
            let Some(key) = record.key else { continue };
            let value = record.value.map(|value| (record.timestamp, value.to_vec()));
            self.last.insert(key.to_vec(), value);
        }
    }

    fn writes(&self) -> impl Iterator<Item = Write<'_>> {
        self.last.iter().map(|(key, value)| Write {
            key,
            value: value.as_ref().map(|(timestamp, value)| StoredRef {
                timestamp: *timestamp,
                value,
            }),
        })
    }
}

/// Milliseconds since the epoch.
pub(super) fn wall_clock() -> Timestamp {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| since.as_millis().try_into().ok())
        .unwrap_or(0)
}
