//! A thread that brings memtables to their stores, so that no record waits for the disk. It has one
//! store of each copy at a time; the worker reads a snapshot meanwhile. Made by the worker; what is
//! handed over before it is dropped is still written.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::core::{CopyId, Frozen};
use crate::record::Offset;
use crate::table::{Stamp, Store, StoreError};

/// A store and what it is to take.
pub(super) struct Flush {
    pub(super) copy: CopyId,
    pub(super) store: Box<dyn Store>,
    pub(super) frozen: Frozen,
    pub(super) stamp: Stamp,
}

/// A store that comes back.
pub(super) struct Flushed {
    pub(super) copy: CopyId,
    pub(super) store: Box<dyn Store>,
    /// The changelog offset that it reaches if all went well.
    pub(super) offset: Offset,
    pub(super) result: Result<(), StoreError>,
}

/// The thread, and what it has in hand.
pub(super) struct Flusher {
    work: Option<Sender<Flush>>,
    done: Receiver<Flushed>,
    thread: Option<JoinHandle<()>>,
    in_hand: BTreeMap<CopyId, usize>,
}

impl Flusher {
    pub(super) fn new() -> Self {
        let (work, jobs) = channel::<Flush>();
        let (results, done) = channel();
        let thread = std::thread::spawn(move || {
            for job in jobs {
                // A worker that is gone needs no answer: the store closes here.
                let _ = results.send(run(job));
            }
        });
        Self {
            work: Some(work),
            done,
            thread: Some(thread),
            in_hand: BTreeMap::new(),
        }
    }

    /// Whether it has a store of the copy in hand.
    pub(super) fn has(&self, copy: CopyId) -> bool {
        self.in_hand.contains_key(&copy)
    }

    pub(super) fn flush(&mut self, flush: Flush) {
        *self.in_hand.entry(flush.copy).or_default() += 1;
        if let Some(work) = &self.work {
            let sent = work.send(flush);
            debug_assert!(sent.is_ok(), "the thread lives as long as its queue");
        }
    }

    /// The next store that comes back.
    pub(super) fn next(&mut self) -> Option<Flushed> {
        let flushed = self.done.try_recv().ok()?;
        self.in_hand.remove(&flushed.copy);
        Some(flushed)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(job: Flush) -> Flushed {
    let Flush {
        copy,
        mut store,
        frozen,
        stamp,
    } = job;
    let result = store.apply(&frozen.writes(), &stamp, frozen.durability);
    Flushed {
        copy,
        store,
        offset: frozen.offset,
        result,
    }
}
