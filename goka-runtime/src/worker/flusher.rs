//! A thread that writes memtables to their stores, so that no record waits for the disk. It has one flush
//! of each copy at a time. What was handed over is still written when it is dropped. Made by the owner
//! of the stores.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::core::{CopyId, FlushBatch};
use crate::record::Offset;
use crate::table::{Checkpoint, Store, StoreError};

/// A store, and what is written to it.
pub(super) struct Flush {
    pub(super) copy: CopyId,
    pub(super) store: Box<dyn Store>,
    pub(super) batch: FlushBatch,
    pub(super) checkpoint: Checkpoint,
}

/// A store that comes back.
pub(super) struct Flushed {
    pub(super) copy: CopyId,
    /// `None` if it panicked: it is closed then.
    pub(super) store: Option<Box<dyn Store>>,
    /// The changelog offset that the store is at if the flush succeeded.
    pub(super) offset: Offset,
    pub(super) result: Result<(), StoreError>,
}

/// Flushes one store after the other.
pub(super) struct Flusher {
    mode: Mode,
    /// The copies whose stores it has.
    under_way: BTreeSet<CopyId>,
}

enum Mode {
    Thread {
        work: Option<Sender<Flush>>,
        done: Receiver<Flushed>,
        thread: Option<JoinHandle<()>>,
    },
    /// Without a thread: [`Flusher::next`] runs the queued flush.
    Inline(VecDeque<Flush>),
}

impl Flusher {
    pub(super) fn new(with_thread: bool) -> Self {
        let under_way = BTreeSet::new();
        if !with_thread {
            let mode = Mode::Inline(VecDeque::new());
            return Self { mode, under_way };
        }
        let (work, jobs) = channel::<Flush>();
        let (results, done) = channel();
        let thread = std::thread::spawn(move || {
            for job in jobs {
                // The owner of the stores is gone: the store closes here.
                let _ = results.send(run(job));
            }
        });
        let mode = Mode::Thread {
            work: Some(work),
            done,
            thread: Some(thread),
        };
        Self { mode, under_way }
    }

    /// Whether it has the store of the copy.
    pub(super) fn has(&self, copy: CopyId) -> bool {
        self.under_way.contains(&copy)
    }

    pub(super) fn flush(&mut self, flush: Flush) {
        self.under_way.insert(flush.copy);
        match &mut self.mode {
            Mode::Thread { work, .. } => {
                let taken = work.as_ref().is_some_and(|work| work.send(flush).is_ok());
                debug_assert!(taken, "the thread lives as long as its queue");
            }
            Mode::Inline(jobs) => jobs.push_back(flush),
        }
    }

    /// The next store that comes back.
    pub(super) fn next(&mut self) -> Option<Flushed> {
        let flushed = match &mut self.mode {
            Mode::Thread { done, .. } => done.try_recv().ok()?,
            Mode::Inline(jobs) => run(jobs.pop_front()?),
        };
        self.under_way.remove(&flushed.copy);
        Some(flushed)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if let Mode::Thread { work, thread, .. } = &mut self.mode {
            *work = None;
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}

fn run(job: Flush) -> Flushed {
    let (copy, offset) = (job.copy, job.batch.offset);
    // A store that panicked is dropped, since its state is unknown; its file may be intact.
    let applied = catch_unwind(AssertUnwindSafe(move || {
        let (mut store, batch) = (job.store, job.batch);
        let result = store.apply(&batch.writes(), &job.checkpoint, batch.durability);
        (Some(store), result)
    }));
    let (store, result) = applied.unwrap_or_else(|_| {
        let (path, source) = (format!("{copy:?}"), "it panicked".into());
        (None, Err(StoreError::Io { path, source }))
    });
    Flushed {
        copy,
        store,
        offset,
        result,
    }
}
