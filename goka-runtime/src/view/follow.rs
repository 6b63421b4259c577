//! The thread of a view: reads the table topic's partitions into their copies, judges what it finds
//! on disk, and comes back by itself when the log was away. Readers never wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::shared::{Shared, ViewState};
use crate::core::judge::{Role, Topic, Verdict, judge};
use crate::log::{Isolation, Log, LogError, Range, TopicInfo, cancel};
use crate::record::{Offset, Record, Timestamp, TopicPartition};
use crate::table::{Durability, FORMAT, Stamp, Store, StoreError, StoredRef, Write};
use crate::view::ViewError;

/// How long one poll waits for records.
const POLL: Duration = Duration::from_millis(100);

/// How often copies are put on disk, and the topic's end is asked for.
const SYNC: Duration = Duration::from_secs(3);

/// How old the time on disk may be of a copy that is level with an idle topic, in milliseconds.
/// Far below `delete.retention.ms`, past which a copy is not trusted.
const RESTAMP: Timestamp = 60_000;

/// How long to wait before the log is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows one table.
pub(super) struct Follower {
    pub(super) log: Arc<dyn Log>,
    pub(super) topic: Arc<str>,
    pub(super) fingerprint: String,
    pub(super) copies: Vec<Copy>,
    pub(super) shared: Arc<Shared>,
}

/// One partition's copy, and how far it is.
pub(super) struct Copy {
    pub(super) store: Box<dyn Store>,
    stamp: Option<Stamp>,
    /// The end of the partition when it was last asked for, and when that was.
    target: (Offset, Timestamp),
    /// Whether something is newer than what is surely on disk.
    dirty: bool,
    /// The time of the stamp that is surely on disk.
    stamped: Timestamp,
}

impl Copy {
    pub(super) fn new(store: Box<dyn Store>) -> Self {
        Self {
            store,
            stamp: None,
            target: (Offset::MAX, 0),
            dirty: false,
            stamped: 0,
        }
    }
}

/// What ends a session: the log may come back, the rest is final.
enum End {
    Away(LogError),
    Final(String),
    /// Nobody reads it any more.
    Dropped,
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        End::Away(error)
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        End::Final(error.to_string())
    }
}

impl Follower {
    /// Judges every copy against the topic as it is now; clears those of no use.
    fn begin(&mut self) -> Result<Vec<(TopicPartition, Offset)>, End> {
        let topic = self.topic.clone();
        let partitions = self.partitions();
        let (info, cluster, ranges) = self.ask(move |log| {
            let info = log.describe(&[&topic])?.into_iter().next().flatten();
            let info = info.ok_or_else(|| LogError::UnknownTopic {
                topic: topic.to_string(),
            })?;
            Ok((info, log.cluster()?, log.ranges(&partitions)?))
        })?;
        let now = wall_clock();
        let mut from = Vec::with_capacity(self.copies.len());
        for (partition, (copy, range)) in (0i32..).zip(self.copies.iter_mut().zip(&ranges)) {
            let topic = Topic {
                name: &self.topic,
                cluster: &cluster,
                id: &info.id,
                partition,
                start: range.start,
                end: range.high,
                delete_retention: info.delete_retention,
            };
            let found = copy.store.stamp()?;
            let verdict = judge(
                found.as_ref(),
                &topic,
                &self.fingerprint,
                &Role::Follower,
                now,
            );
            let stamp = match (verdict, found) {
                (Verdict::CatchUp { .. }, Some(stamp)) => stamp,
                (Verdict::Refuse(why), _) => return Err(End::Final(why.to_string())),
                (Verdict::Rebuild(why), found) => {
                    if found.is_some() {
                        tracing::info!(topic = &*self.topic, partition, %why, "rebuilding the view");
                    }
                    self.shared.forget(partition);
                    copy.store.clear()?;
                    fresh(&cluster, &info, partition, range, &self.fingerprint, now)
                }
                (Verdict::CatchUp { .. }, None) => {
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
            Ok(_) => self.publish_all().map_err(ViewError::Store),
            Err(End::Away(error)) => Err(error.into()),
            Err(End::Final(reason)) => Err(ViewError::Stopped {
                topic: self.topic.to_string(),
                reason,
            }),
            // Nobody has it yet.
            Err(End::Dropped) => Ok(()),
        }
    }

    /// Follows until the view is dropped.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            match self.session() {
                Ok(()) | Err(End::Dropped) => break,
                Err(End::Away(error)) => {
                    tracing::warn!(topic = &*self.topic, %error, "view: the log is away, serving what is here");
                    self.shared.set_state(ViewState::Away {
                        reason: error.to_string(),
                    });
                    self.shared.pause(RETRY);
                }
                Err(End::Final(reason)) => {
                    tracing::error!(topic = &*self.topic, %reason, "view stopped");
                    self.shared.set_state(ViewState::Stopped { reason });
                    return;
                }
            }
        }
        if let Err(error) = self.sync() {
            tracing::warn!(topic = &*self.topic, %error, "view: the last records are not on disk and will be read again");
        }
    }

    fn session(&mut self) -> Result<(), End> {
        let from = self.begin()?;
        let mut reader = self.log.reader(&from, Isolation::ReadCommitted)?;
        self.publish_all()?;
        self.shared.set_state(ViewState::Following);
        let mut next_sync = Instant::now() + SYNC;
        let mut batches: Vec<Batch> = from.iter().map(|_| Batch::default()).collect();
        while !self.shared.is_stopping() {
            reader.poll(POLL, &mut |at, records| batches[at].take(records))?;
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
        }
        Ok(())
    }

    /// Applies a batch of one partition, and tells its readers how far it is.
    fn advance(
        &mut self,
        at: usize,
        batch: &mut Batch,
        position: Offset,
    ) -> Result<(), StoreError> {
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
            copy.store.apply(&writes, stamp, Durability::Relaxed)?;
            batch.last.clear();
            self.shared.publish(partition, copy.store.snapshot()?);
        }
        self.shared
            .reached(partition, position, copy.target.1, level);
        Ok(())
    }

    /// Puts what was applied on disk.
    fn sync(&mut self) -> Result<(), StoreError> {
        for copy in &mut self.copies {
            let Some(stamp) = &copy.stamp else { continue };
            if copy.dirty || stamp.synced_at >= copy.stamped.saturating_add(RESTAMP) {
                copy.store.apply(&[], stamp, Durability::Synced)?;
                copy.dirty = false;
                copy.stamped = stamp.synced_at;
            }
        }
        Ok(())
    }

    /// Shows readers what the copies hold now. Whether they may read it is told by `reached`: a copy
    /// from an earlier process may have been half built.
    fn publish_all(&mut self) -> Result<(), StoreError> {
        for copy in &self.copies {
            if let Some(stamp) = &copy.stamp {
                self.shared.publish(stamp.partition, copy.store.snapshot()?);
            }
        }
        Ok(())
    }
}

/// The stamp of a copy whose construction begins now.
fn fresh(
    cluster: &str,
    info: &TopicInfo,
    partition: i32,
    range: &Range,
    fingerprint: &str,
    now: Timestamp,
) -> Stamp {
    Stamp {
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
