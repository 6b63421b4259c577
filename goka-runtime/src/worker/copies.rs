//! The stores of a worker's local copies: opens, flushes, closes them and moves damaged ones aside. Each
//! store has one owner at a time: the restorer until its task runs, then this, or the flusher. What
//! happens to them is given back as events for the core; knows neither the worker nor its member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::flusher::{Done, Flush, Flushed, Flusher, KeyScan};
use crate::core::{CopyId, Effect, Event, FlushBatch, Plan};
use crate::log::Epoch;
use crate::record::{Offset, TaskId, Timestamp};
use crate::restore::{FinishedJob, JobOutcome, RestoreConfig, Restorer, Work};
use crate::table::{Checkpoint, FORMAT, Store, StoreError, StoreRead};

/// The store of a copy.
enum CopyStore {
    Open(Box<dyn Store>),
    /// The flusher has the store; this snapshot is read meanwhile.
    Flushing(Box<dyn StoreRead + Send>),
}

/// What follows from a flush or a scan that has ended.
#[derive(Default)]
pub(super) struct FlushEnded {
    /// What waited for the flusher, to be performed now.
    pub(super) waited: Vec<Effect>,
    /// What the core is to know, in order.
    pub(super) events: Vec<Event<'static>>,
}

/// The stores of a worker's copies, and the threads that work on them.
pub(super) struct CopyStores {
    plan: Arc<Plan>,
    // Few, and looked at with most records: hashing would cost more than the search.
    stores: BTreeMap<CopyId, CopyStore>,
    /// The identity of the topic that each open store was restored from.
    topic_ids: BTreeMap<CopyId, String>,
    /// The changelog offset of the last flush of each open store.
    flushed_to: BTreeMap<CopyId, Offset>,
    /// The scans of keys that are under way; each cancels the one before it of its copy.
    scans: BTreeMap<CopyId, Arc<AtomicBool>>,
    flusher: Flusher,
    restorer: Restorer,
    /// Effects that need a store that the flusher has.
    waiting: Vec<Effect>,
}

impl CopyStores {
    /// Restores on so many threads and flushes on one more; with 0, work is done in
    /// [`next_job`](Self::next_job) and [`next_flush`](Self::next_flush).
    pub(super) fn new(config: RestoreConfig, restore_threads: usize) -> Self {
        Self {
            plan: Arc::clone(&config.plan),
            stores: BTreeMap::new(),
            topic_ids: BTreeMap::new(),
            flushed_to: BTreeMap::new(),
            scans: BTreeMap::new(),
            flusher: Flusher::new(restore_threads > 0),
            restorer: Restorer::new(config, restore_threads),
            waiting: Vec::new(),
        }
    }

    /// What is read of a copy; `None` where there is no store.
    pub(super) fn read(&self, copy: CopyId) -> Option<&dyn StoreRead> {
        Some(match self.stores.get(&copy)? {
            CopyStore::Open(store) => &**store as &dyn StoreRead,
            CopyStore::Flushing(snapshot) => &**snapshot as &dyn StoreRead,
        })
    }

    /// Performs what is asked of the stores, and gives back any other effect. What needs a store that the
    /// flusher has, as after an assignment that is over, waits until its flush has ended.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Effect> {
        let needed = match &effect {
            Effect::Inspect(task, _) => Some(self.group_copy(*task)),
            Effect::Follow(copy, _) | Effect::SetAside(copy, _) => Some(*copy),
            _ => None,
        };
        if needed.is_some_and(|copy| self.flusher.has(copy)) {
            self.waiting.push(effect);
            return None;
        }
        match effect {
            Effect::Inspect(task, epoch) => self.begin(self.group_copy(task), epoch, Work::Inspect),
            Effect::Verify(task, epoch) => {
                let copy = self.group_copy(task);
                self.restorer.push(copy, epoch, None, Work::Verify);
            }
            Effect::Restore(task, epoch, from) => {
                self.begin(self.group_copy(task), epoch, Work::Restore(from));
            }
            Effect::Follow(copy, epoch) => self.begin(copy, epoch, Work::Follow),
            Effect::SetAside(copy, error) => self.set_aside(copy, &error),
            Effect::Close(task) => self.close(task),
            effect => return Some(effect),
        }
        None
    }

    /// Begins a job with the store, if that is open.
    fn begin(&mut self, copy: CopyId, epoch: Epoch, work: Work) {
        self.cancel_scans(|scanned| scanned == copy);
        let store = self.take(copy);
        self.restorer.push(copy, epoch, store, work);
    }

    /// Closes a damaged store and moves it aside. One that is not open was closed or moved before.
    fn set_aside(&mut self, copy: CopyId, error: &StoreError) {
        if let Some(store) = self.take(copy) {
            drop(store);
            self.flushed_to.remove(&copy);
            self.restorer.set_aside(copy, error);
        }
    }

    /// Closes the stores of a task, and cancels what is done for it.
    fn close(&mut self, task: TaskId) {
        self.restorer.cancel(task);
        self.cancel_scans(|copy| copy.task == task);
        self.waiting.retain(|effect| match effect {
            Effect::Inspect(of, _) => *of != task,
            Effect::Follow(copy, _) | Effect::SetAside(copy, _) => copy.task != task,
            _ => true,
        });
        self.stores.retain(|copy, _| copy.task != task);
        self.topic_ids.retain(|copy, _| copy.task != task);
        self.flushed_to.retain(|copy, _| copy.task != task);
    }

    /// Hands a store to the flusher; until it is back, a snapshot of it is read. Gives back the answer
    /// of a flush that fails at once.
    pub(super) fn flush(&mut self, copy: CopyId, batch: FlushBatch) -> Option<Event<'static>> {
        let begun = self.begin_flush(copy, batch);
        begun.err().map(|error| Event::Flushed(copy, Err(error)))
    }

    fn begin_flush(&mut self, copy: CopyId, batch: FlushBatch) -> Result<(), StoreError> {
        let plan = Arc::clone(&self.plan);
        let Some((store, fingerprint)) = self.take(copy).zip(plan.fingerprint(copy.table)) else {
            return Err(StoreError::io(format!("{copy:?}"), "it is not open"));
        };
        let synced_at = match batch.synced_at {
            Some(synced_at) => Ok(synced_at),
            // The copy is as old as it was; one without a checkpoint was never level.
            None => store.checkpoint().map(|checkpoint| {
                checkpoint.map_or(Timestamp::MIN, |checkpoint| checkpoint.synced_at)
            }),
        };
        let begun = synced_at.and_then(|synced_at| Ok((synced_at, store.snapshot()?)));
        let (synced_at, snapshot) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.stores.insert(copy, CopyStore::Open(store));
                return Err(error);
            }
        };
        let checkpoint = Checkpoint {
            format: FORMAT,
            cluster: plan.cluster.clone(),
            topic_id: self.topic_ids.get(&copy).cloned().unwrap_or_default(),
            partition: copy.task.partition,
            offset: batch.offset,
            fingerprint: fingerprint.to_owned(),
            synced_at,
        };
        self.stores.insert(copy, CopyStore::Flushing(snapshot));
        self.flusher.flush(Flush {
            copy,
            store,
            batch,
            checkpoint,
        });
        Ok(())
    }

    /// What follows from the next flush or scan that has ended, if one has.
    pub(super) fn next_flush(&mut self) -> Option<FlushEnded> {
        match self.flusher.next()? {
            Done::Flush(flushed) => Some(self.flush_ended(flushed)),
            Done::Scan(scan, keys) => {
                // What was cancelled may have read a part only, or is about a store as it was before a restore.
                let events = (!scan.is_cancelled()).then(|| Event::StoredKeys(scan.copy, keys));
                Some(FlushEnded {
                    waited: Vec::new(),
                    events: events.into_iter().collect(),
                })
            }
        }
    }

    fn flush_ended(&mut self, flushed: Flushed) -> FlushEnded {
        let copy = flushed.copy;
        let mut ended = FlushEnded {
            waited: std::mem::take(&mut self.waiting),
            events: Vec::new(),
        };
        if !matches!(self.stores.get(&copy), Some(CopyStore::Flushing(_))) {
            // The task was given back meanwhile, and another assignment of it may wait for the file: the
            // store is closed here.
            return ended;
        }
        self.stores.remove(&copy);
        let is_closed = flushed.store.is_none();
        if let Some(store) = flushed.store {
            self.stores.insert(copy, CopyStore::Open(store));
        }
        let is_rolled_back = match &flushed.result {
            Ok(()) => {
                self.flushed_to.insert(copy, flushed.offset);
                false
            }
            Err(StoreError::RolledBack { .. }) => {
                // Closed here; the restorer opens it.
                self.stores.remove(&copy);
                self.flushed_to.remove(&copy);
                true
            }
            Err(_) => is_closed || self.close_if_rolled_back(copy),
        };
        ended.events.push(Event::Flushed(copy, flushed.result));
        if is_rolled_back {
            ended.events.push(Event::StoreRolledBack(copy));
        }
        ended
    }

    /// Reads the keys of a store that is not empty, for the core to know which it does not have.
    fn scan_keys(&mut self, copy: CopyId) {
        let snapshot = match self.stores.get(&copy) {
            Some(CopyStore::Open(store)) => store.snapshot(),
            _ => return,
        };
        // A store that cannot be read is found out by whoever reads a value.
        let Ok(snapshot) = snapshot else { return };
        let is_cancelled = Arc::new(AtomicBool::new(false));
        self.scans.insert(copy, Arc::clone(&is_cancelled));
        self.flusher.scan(KeyScan {
            copy,
            snapshot,
            is_cancelled,
        });
    }

    fn cancel_scans(&mut self, is_over: impl Fn(CopyId) -> bool) {
        self.scans.retain(|copy, is_cancelled| {
            let is_over = is_over(*copy);
            is_cancelled.fetch_or(is_over, Ordering::Relaxed);
            !is_over
        });
    }

    /// After a failed flush, closes a store that lost commits: the restorer opens and inspects it. One
    /// that cannot be asked now is kept, since it may be as it was.
    fn close_if_rolled_back(&mut self, copy: CopyId) -> bool {
        let Some(had) = self.flushed_to.get(&copy).copied() else {
            return false;
        };
        let Some(store) = self.take(copy) else {
            return false;
        };
        let has = match store.checkpoint() {
            Ok(checkpoint) => checkpoint.map_or(0, |checkpoint| checkpoint.offset),
            Err(StoreError::RolledBack { .. }) => 0,
            Err(_) => had,
        };
        if has >= had {
            self.stores.insert(copy, CopyStore::Open(store));
            return false;
        }
        self.flushed_to.remove(&copy);
        true
    }

    /// The next job of the restorer that has ended, if one has. Its store closes when it is dropped: that
    /// of a task that was given back meanwhile.
    pub(super) fn next_job(&self) -> Option<FinishedJob> {
        self.restorer.next()
    }

    /// Takes the store of a job back, and gives what the core is to know.
    pub(super) fn job_ended(&mut self, job: FinishedJob) -> Option<Event<'static>> {
        let (copy, epoch) = (job.copy, job.epoch);
        if let Some(store) = job.store {
            self.stores.insert(copy, CopyStore::Open(store));
        }
        match job.outcome {
            JobOutcome::Inspected(inspection) => {
                if let Ok(Some(table)) = inspection.as_ref().map(|found| found.table.as_ref()) {
                    self.topic_ids.insert(copy, table.id.clone());
                }
                Some(Event::Inspected(copy.task, epoch, inspection))
            }
            JobOutcome::RolledBack => {
                self.flushed_to.remove(&copy);
                self.restorer.push(copy, epoch, None, Work::Inspect);
                None
            }
            JobOutcome::Verified(verified) => Some(Event::Verified(copy.task, epoch, verified)),
            JobOutcome::Restored(restored) => {
                let restored = restored.map(|(offset, id)| {
                    self.topic_ids.insert(copy, id);
                    if offset > 0 {
                        self.scan_keys(copy);
                    }
                    offset
                });
                Some(Event::Restored(copy, epoch, restored))
            }
        }
    }

    /// Whether the flusher has the store of a copy.
    #[cfg(test)]
    pub(super) fn is_flushing(&self, copy: CopyId) -> bool {
        self.flusher.has(copy)
    }

    /// The effects that wait for the flusher.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> &[Effect] {
        &self.waiting
    }

    /// The copy of the group's own table; in a stateless group it names no store.
    fn group_copy(&self, task: TaskId) -> CopyId {
        let table = self.plan.table.as_ref();
        CopyId {
            task,
            table: table.map_or(task.lead, |table| table.topic),
        }
    }

    /// Takes a store out, if it is open here.
    fn take(&mut self, copy: CopyId) -> Option<Box<dyn Store>> {
        match self.stores.remove(&copy)? {
            CopyStore::Open(store) => Some(store),
            flushing => {
                self.stores.insert(copy, flushing);
                None
            }
        }
    }
}

impl Drop for CopyStores {
    fn drop(&mut self) {
        self.cancel_scans(|_| true);
    }
}

#[cfg(test)]
mod tests;
