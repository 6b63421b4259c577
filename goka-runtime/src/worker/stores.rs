//! The stores of the worker's copies: with the restorer, here, or with the flusher; each has one owner
//! at a time.

use super::Worker;
use super::flusher::{Flush, Flushed};
use super::services::OpenStore;
use crate::core::{CopyId, Event, FlushBatch};
use crate::record::{TaskId, Timestamp};
use crate::restore::{Done, Found};
use crate::table::{Checkpoint, FORMAT, StoreError};

impl Worker {
    /// The copy of the group's own table; in a stateless group it names nothing.
    pub(super) fn own(&self, task: TaskId) -> CopyId {
        let own = self.parts.plan.table.as_ref();
        CopyId {
            task,
            table: own.map_or(task.lead, |table| table.topic),
        }
    }

    /// Hands a store to the flusher; until it is back, a snapshot of it is read.
    pub(super) fn flush(&mut self, copy: CopyId, frozen: FlushBatch) {
        let plan = &self.parts.plan;
        let Some((store, fingerprint)) = self.reach.take(copy).zip(plan.fingerprint(copy.table))
        else {
            let (path, reason) = (format!("{copy:?}"), "it is not open".to_owned());
            return self.step(Event::Flushed(copy, Err(StoreError::Io { path, reason })));
        };
        let synced_at = match frozen.synced_at {
            Some(synced_at) => Ok(synced_at),
            // It is as old as it was; a copy without a stamp is in none.
            None => store
                .stamp()
                .map(|stamp| stamp.map_or(Timestamp::MIN, |stamp| stamp.synced_at)),
        };
        let synced_at = match synced_at {
            Ok(synced_at) => synced_at,
            Err(error) => {
                self.reach.stores.insert(copy, OpenStore::Here(store));
                return self.step(Event::Flushed(copy, Err(error)));
            }
        };
        let stamp = Checkpoint {
            format: FORMAT,
            cluster: plan.cluster.clone(),
            topic_id: self.table_ids.get(&copy).cloned().unwrap_or_default(),
            partition: copy.task.partition,
            offset: frozen.offset,
            fingerprint: fingerprint.to_owned(),
            synced_at,
        };
        match store.snapshot() {
            Ok(snapshot) => {
                self.reach.stores.insert(copy, OpenStore::Away(snapshot));
                self.flusher.flush(Flush {
                    copy,
                    store,
                    frozen,
                    stamp,
                });
            }
            Err(error) => {
                self.reach.stores.insert(copy, OpenStore::Here(store));
                self.step(Event::Flushed(copy, Err(error)));
            }
        }
    }

    /// Takes a store back from the flusher.
    pub(super) fn flushed(&mut self, flushed: Flushed) {
        let Flushed {
            copy,
            store,
            offset,
            result,
        } = flushed;
        self.effects.append(&mut self.waiting);
        if !matches!(self.reach.stores.get(&copy), Some(OpenStore::Away(_))) {
            // Its task was given back meanwhile; another assignment of it may wait for the file.
            return drop(store);
        }
        self.reach.stores.remove(&copy);
        let is_closed = store.is_none();
        if let Some(store) = store {
            self.reach.stores.insert(copy, OpenStore::Here(store));
        }
        let went_back = match &result {
            Ok(()) => false,
            Err(StoreError::RolledBack { .. }) => {
                // Closed here; the restorer opens it.
                self.reach.stores.remove(&copy);
                self.reached.remove(&copy);
                true
            }
            Err(_) => is_closed || self.went_back(copy),
        };
        if result.is_ok() {
            self.reached.insert(copy, offset);
        }
        self.step(Event::Flushed(copy, result));
        if went_back {
            self.step(Event::StoreRolledBack(copy));
        }
    }

    /// After a failed flush: a store that lost commits it had has to be judged again. One that
    /// cannot say so now may be as it was.
    pub(super) fn went_back(&mut self, copy: CopyId) -> bool {
        let Some(had) = self.reached.get(&copy).copied() else {
            return false;
        };
        let Some(store) = self.reach.take(copy) else {
            return false;
        };
        let has = match store.stamp() {
            Ok(stamp) => stamp.map_or(0, |stamp| stamp.offset),
            Err(StoreError::RolledBack { .. }) => 0,
            Err(_) => had,
        };
        if has >= had {
            self.reach.stores.insert(copy, OpenStore::Here(store));
            return false;
        }
        // Closed here; the restorer opens it.
        self.reached.remove(&copy);
        true
    }

    pub(super) fn finished(&mut self, done: Done) {
        let Done {
            copy,
            epoch,
            store,
            found,
        } = done;
        if self.core.epoch(copy.task) != Some(epoch) {
            // Given back meanwhile: the store closes here.
            return;
        }
        if let Some(store) = store {
            self.reach.stores.insert(copy, OpenStore::Here(store));
        }
        match found {
            Found::Inspected(facts) => {
                if let Ok(Some(table)) = facts.as_ref().map(|facts| facts.table.as_ref()) {
                    self.table_ids.insert(copy, table.id.clone());
                }
                self.step(Event::Inspected(copy.task, epoch, facts));
            }
            Found::FellBack => {
                self.reached.remove(&copy);
                self.restorer.inspect(copy, epoch, None);
            }
            Found::Verified(found) => self.step(Event::Verified(copy.task, epoch, found)),
            Found::Restored(reached) => {
                let reached = reached.map(|(offset, id)| {
                    self.table_ids.insert(copy, id);
                    offset
                });
                self.step(Event::Restored(copy, epoch, reached));
            }
        }
    }
}

#[cfg(test)]
mod tests;
