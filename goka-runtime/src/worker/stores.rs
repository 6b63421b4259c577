//! The stores of the worker's copies: with the restorer, here, or with the flusher; each has one owner
//! at a time.

use super::Worker;
use super::flusher::{Flush, Flushed};
use super::reach::Open;
use crate::core::{CopyId, Event, Frozen};
use crate::record::TaskId;
use crate::restore::{Done, Found};
use crate::table::{FORMAT, Stamp, StoreError};

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
    pub(super) fn flush(&mut self, copy: CopyId, frozen: Frozen) {
        let plan = &self.parts.plan;
        let Some((store, fingerprint)) = self.reach.take(copy).zip(plan.fingerprint(copy.table))
        else {
            let (path, reason) = (format!("{copy:?}"), "it is not open".to_owned());
            return self.step(Event::Flushed(copy, Err(StoreError::Io { path, reason })));
        };
        let stamp = Stamp {
            format: FORMAT,
            cluster: plan.cluster.clone(),
            topic_id: self.table_ids.get(&copy).cloned().unwrap_or_default(),
            partition: copy.task.partition,
            offset: frozen.offset,
            fingerprint: fingerprint.to_owned(),
            synced_at: frozen.synced_at,
        };
        match store.snapshot() {
            Ok(snapshot) => {
                self.reach.stores.insert(copy, Open::Away(snapshot));
                self.flusher.flush(Flush {
                    copy,
                    store,
                    frozen,
                    stamp,
                });
            }
            Err(error) => {
                self.reach.stores.insert(copy, Open::Here(store));
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
        if !matches!(self.reach.stores.get(&copy), Some(Open::Away(_))) {
            // Its task was given back meanwhile; another assignment of it may wait for the file.
            return drop(store);
        }
        self.reach.stores.remove(&copy);
        let is_closed = store.is_none();
        if let Some(store) = store {
            self.reach.stores.insert(copy, Open::Here(store));
        }
        let went_back = match &result {
            Ok(()) => false,
            Err(StoreError::Regressed { .. }) => {
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
            self.step(Event::Regressed(copy));
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
            Err(StoreError::Regressed { .. }) => 0,
            Err(_) => had,
        };
        if has >= had {
            self.reach.stores.insert(copy, Open::Here(store));
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
            self.reach.stores.insert(copy, Open::Here(store));
        }
        match found {
            Found::Inspected(facts) => {
                if let Ok(Some(table)) = facts.as_ref().map(|facts| facts.table.as_ref()) {
                    self.table_ids.insert(copy, table.id.clone());
                }
                self.step(Event::Inspected(copy.task, epoch, facts));
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
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::clock::Clock;
    use crate::core::{Effect, State, tests::joining_plan};
    use crate::log::embedded::Embedded;
    use crate::log::{Assignment, Driver, Epoch, Log, Member, MemberEvent, NewTopic, Sent};
    use crate::restore::Restorer;
    use crate::table::Stores;
    use crate::table::memory::MemoryStores;
    use crate::table::redb::RedbStores;
    use crate::worker::flusher::Flusher;
    use crate::worker::{Parts, Signals};

    /// A worker whose restores and flushes are done when they are asked for, and its member.
    fn worker(log: &Arc<dyn Log>) -> (Worker, Box<dyn Member>) {
        worker_on(log, Arc::new(MemoryStores::default()))
    }

    fn worker_on(log: &Arc<dyn Log>, stores: Arc<dyn Stores>) -> (Worker, Box<dyn Member>) {
        let plan = joining_plan();
        for (at, name) in plan.group.topics.iter().enumerate() {
            let new = NewTopic {
                name: name.to_string(),
                partitions: 1,
                compact: at == 0 || name.as_ref() == "joined",
                retention: None,
            };
            log.create(&new).unwrap();
        }
        let member = log.join(&plan.group).unwrap();
        let parts = Arc::new(Parts {
            plan,
            log: Arc::clone(log),
            stores,
            shared: Arc::new(()),
            lookups: Vec::new(),
            deadline: Duration::from_secs(10),
            on_stop: crate::processor::OnStop::default(),
            clock: Clock::default(),
            #[cfg(feature = "tester")]
            witness: None,
            signals: Arc::new(Signals::default()),
        });
        let mut worker = Worker::new(&parts);
        worker.restorer = Restorer::new(&parts, 0);
        worker.flusher = Flusher::new(false);
        (worker, member)
    }

    fn turn_until(worker: &mut Worker, member: &mut dyn Member, is_so: impl Fn(&Worker) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so(worker) {
            assert!(Instant::now() < deadline, "waited in vain");
            worker.turn(member).unwrap();
        }
    }

    fn state(worker: &Worker) -> Option<State> {
        worker.core.tasks().next().map(|(_, state, _)| state)
    }

    /// Does what the restorer has to do, and what follows from it.
    fn restore(worker: &mut Worker, member: &mut dyn Member) {
        while let Some(done) = worker.restorer.next() {
            worker.finished(done);
            worker.perform(member);
        }
    }

    #[test]
    fn a_copy_is_followed_again_when_the_flush_of_its_last_assignment_is_through() {
        let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
        let (mut worker, mut member) = worker(&log);
        let member = &mut *member;
        turn_until(&mut worker, member, |worker| {
            state(worker) == Some(State::Running)
        });
        let task = worker.core.tasks().next().unwrap().0;
        let table = worker.parts.plan.joins[0].topic;
        let copy = CopyId { task, table };

        let appender = log.appender(Arc::new(|_, _| {})).unwrap();
        let sent = Sent {
            topic: "joined",
            partition: 0,
            key: Some(b"a"),
            value: Some(b"profile"),
            timestamp: 1,
            headers: &[],
        };
        let by = Instant::now() + Duration::from_secs(10);
        appender.send(sent, 0, by).unwrap();
        appender.flush(by).unwrap();
        turn_until(&mut worker, member, |worker| worker.flusher.has(copy));

        // The task is taken and given again; its copy is with the flusher all the while.
        let epoch = Epoch(worker.core.epoch(task).unwrap().0 + 1);
        worker.event(MemberEvent::Lost(&[task]));
        worker.perform(member);
        let assignment = Assignment {
            task,
            epoch,
            committed: BTreeMap::new(),
        };
        worker.event(MemberEvent::Assigned(&[assignment]));
        worker.perform(member);
        restore(&mut worker, member);
        assert!(
            matches!(&*worker.waiting, [Effect::Follow(of, at)] if (*of, *at) == (copy, epoch)),
            "{:?}",
            worker.waiting
        );
        assert_eq!(
            state(&worker),
            Some(State::Restoring),
            "its own table is there"
        );

        let flushed = worker.flusher.next().unwrap();
        assert!(flushed.result.is_ok());
        worker.flushed(flushed);
        worker.perform(member);
        restore(&mut worker, member);
        assert!(worker.waiting.is_empty());
        assert_eq!(state(&worker), Some(State::Starting));
        let Some(Open::Here(store)) = worker.reach.stores.get(&copy) else {
            panic!("the copy is not here");
        };
        assert_eq!(
            store.stamp().unwrap().unwrap().offset,
            1,
            "what was flushed"
        );
        assert!(store.get(b"a").unwrap().is_some());
    }

    const KEYS: i32 = 500;

    /// Stores in files, and the file of the joined copy.
    struct Files {
        stores: RedbStores,
        path: PathBuf,
    }

    impl Files {
        /// Flips a bit of every block behind the first ones, and so of what a cache does not hold.
        fn damage(&self) {
            let mut bytes = std::fs::read(&self.path).unwrap();
            for byte in bytes[4 * 4096..].iter_mut().step_by(4096) {
                *byte ^= 1;
            }
            std::fs::write(&self.path, bytes).unwrap();
        }
    }

    #[test]
    fn a_copy_that_is_damaged_while_it_is_used_is_moved_aside_and_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            stores: RedbStores::new(dir.path().to_owned(), 1 << 20),
            path: dir.path().join("joined@group/0.redb"),
        };
        let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
        let (mut worker, mut member) = worker_on(&log, Arc::new(files.stores.clone()));
        let member = &mut *member;
        turn_until(&mut worker, member, |worker| {
            state(worker) == Some(State::Running)
        });
        let task = worker.core.tasks().next().unwrap().0;
        let table = worker.parts.plan.joins[0].topic;
        let copy = CopyId { task, table };
        let profiles = |worker: &mut Worker, member: &mut dyn Member, fill: u8| {
            let appender = log.appender(Arc::new(|_, _| {})).unwrap();
            let by = Instant::now() + Duration::from_secs(60);
            for key in 0..KEYS {
                let sent = Sent {
                    topic: "joined",
                    partition: 0,
                    key: Some(&key.to_be_bytes()),
                    value: Some(&[fill; 4_000]),
                    timestamp: 1,
                    headers: &[],
                };
                appender.send(sent, 0, by).unwrap();
            }
            appender.flush(by).unwrap();
            turn_until(worker, member, |worker| {
                let Some(Open::Here(store)) = worker.reach.stores.get(&copy) else {
                    return false;
                };
                let last = store.get(&(KEYS - 1).to_be_bytes());
                let has = matches!(last, Ok(Some(found)) if found.value[0] == fill);
                state(worker) == Some(State::Running) && has
            });
        };
        profiles(&mut worker, member, 1);
        files.damage();
        // Its flush reads pages that the cache does not hold.
        profiles(&mut worker, member, 2);
        let kept = files.path.with_extension("redb.bad-1");
        assert!(kept.exists(), "nothing was noticed");
        let Some(Open::Here(store)) = worker.reach.stores.get(&copy) else {
            panic!("the copy is not here");
        };
        for key in 0..KEYS {
            let found = store.get(&key.to_be_bytes()).unwrap();
            assert_eq!(found.map(|found| found.value), Some(vec![2; 4_000]));
        }
    }
}
