//! A thread that brings memtables to their stores, so that no record waits for the disk. It has one
//! store of each copy at a time; the worker reads a snapshot meanwhile. Made by the worker; what is
//! handed over before it is dropped is still written.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::core::{CopyId, FlushBatch};
use crate::record::Offset;
use crate::table::{Checkpoint, Store, StoreError};

/// A store and what it is to take.
pub(super) struct Flush {
    pub(super) copy: CopyId,
    pub(super) store: Box<dyn Store>,
    pub(super) frozen: FlushBatch,
    pub(super) stamp: Checkpoint,
}

/// A store that comes back.
pub(super) struct Flushed {
    pub(super) copy: CopyId,
    /// Closed, if it panicked.
    pub(super) store: Option<Box<dyn Store>>,
    /// The changelog offset that it reaches if all went well.
    pub(super) offset: Offset,
    pub(super) result: Result<(), StoreError>,
}

/// The thread, if there is one, and what is in hand.
pub(super) struct Flusher {
    hands: Hands,
    in_hand: BTreeMap<CopyId, usize>,
}

enum Hands {
    Thread {
        work: Option<Sender<Flush>>,
        done: Receiver<Flushed>,
        thread: Option<JoinHandle<()>>,
    },
    /// Whoever asks for what is done does it.
    Own(VecDeque<Flush>),
}

impl Flusher {
    pub(super) fn new(with_thread: bool) -> Self {
        let in_hand = BTreeMap::new();
        if !with_thread {
            let hands = Hands::Own(VecDeque::new());
            return Self { hands, in_hand };
        }
        let (work, jobs) = channel::<Flush>();
        let (results, done) = channel();
        let thread = std::thread::spawn(move || {
            for job in jobs {
                // A worker that is gone needs no answer: the store closes here.
                let _ = results.send(run(job));
            }
        });
        let hands = Hands::Thread {
            work: Some(work),
            done,
            thread: Some(thread),
        };
        Self { hands, in_hand }
    }

    /// Whether it has a store of the copy in hand.
    pub(super) fn has(&self, copy: CopyId) -> bool {
        self.in_hand.contains_key(&copy)
    }

    pub(super) fn flush(&mut self, flush: Flush) {
        *self.in_hand.entry(flush.copy).or_default() += 1;
        match &mut self.hands {
            Hands::Thread { work, .. } => {
                let taken = work.as_ref().is_some_and(|work| work.send(flush).is_ok());
                debug_assert!(taken, "the thread lives as long as its queue");
            }
            Hands::Own(jobs) => jobs.push_back(flush),
        }
    }

    /// The next store that comes back.
    pub(super) fn next(&mut self) -> Option<Flushed> {
        let flushed = match &mut self.hands {
            Hands::Thread { done, .. } => done.try_recv().ok()?,
            Hands::Own(jobs) => run(jobs.pop_front()?),
        };
        self.in_hand.remove(&flushed.copy);
        Some(flushed)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if let Hands::Thread { work, thread, .. } = &mut self.hands {
            *work = None;
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
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
    let offset = frozen.offset;
    // A store that panics is in no state to be used; its file may be.
    let applied = catch_unwind(AssertUnwindSafe(move || {
        let result = store.apply(&frozen.writes(), &stamp, frozen.durability);
        (store, result)
    }));
    let (store, result) = match applied {
        Ok((store, result)) => (Some(store), result),
        Err(_) => {
            let (path, reason) = (format!("{copy:?}"), "it panicked".to_owned());
            (None, Err(StoreError::Io { path, reason }))
        }
    };
    Flushed {
        copy,
        store,
        offset,
        result,
    }
}
