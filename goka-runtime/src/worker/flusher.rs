//! A thread that writes memtables to their stores and reads what keys they have, so that no record waits for the disk.
//! It has one flush of each copy at a time. What was handed over is still written when it is dropped. Made by the owner
//! of the stores.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::core::{CopyId, FlushBatch, StoredKeys};
use crate::record::Offset;
use crate::table::{Checkpoint, Store, StoreError, StoreRead};

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

/// A store whose keys are read.
pub(super) struct KeyScan {
    pub(super) copy: CopyId,
    pub(super) snapshot: Box<dyn StoreRead + Send>,
    /// Nobody wants to know any more.
    pub(super) is_cancelled: Arc<AtomicBool>,
}

impl KeyScan {
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

enum Job {
    Flush(Flush),
    Scan(KeyScan),
}

/// What has ended.
pub(super) enum Done {
    Flush(Flushed),
    /// The keys of a store that could be read.
    Scan(KeyScan, StoredKeys),
}

/// Flushes one store after the other.
pub(super) struct Flusher {
    work: Option<Sender<Job>>,
    mode: Mode,
    /// The copies whose stores it has.
    under_way: BTreeSet<CopyId>,
}

enum Mode {
    Thread(Receiver<Done>, Option<JoinHandle<()>>),
    /// Without a thread: [`Flusher::next`] runs the queued flush.
    Inline(Receiver<Job>),
}

impl Flusher {
    pub(super) fn new(with_thread: bool) -> Self {
        let (work, jobs) = channel();
        let mode = if with_thread {
            let (results, done) = channel();
            let thread = std::thread::spawn(move || {
                for job in jobs {
                    if let Some(done) = run(job) {
                        // The owner of the stores is gone: the store closes here.
                        let _ = results.send(done);
                    }
                }
            });
            Mode::Thread(done, Some(thread))
        } else {
            Mode::Inline(jobs)
        };
        Self {
            work: Some(work),
            mode,
            under_way: BTreeSet::new(),
        }
    }

    /// Whether it has the store of the copy.
    pub(super) fn has(&self, copy: CopyId) -> bool {
        self.under_way.contains(&copy)
    }

    pub(super) fn flush(&mut self, flush: Flush) {
        self.under_way.insert(flush.copy);
        self.send(Job::Flush(flush));
    }

    pub(super) fn scan(&mut self, scan: KeyScan) {
        self.send(Job::Scan(scan));
    }

    fn send(&mut self, job: Job) {
        let work = self.work.as_ref();
        let taken = work.is_some_and(|work| work.send(job).is_ok());
        debug_assert!(taken, "the thread lives as long as its queue");
    }

    /// What has ended next.
    pub(super) fn next(&mut self) -> Option<Done> {
        let done = match &mut self.mode {
            Mode::Thread(done, _) => done.try_recv().ok()?,
            Mode::Inline(jobs) => loop {
                if let Some(done) = run(jobs.try_recv().ok()?) {
                    break done;
                }
            },
        };
        if let Done::Flush(flushed) = &done {
            self.under_way.remove(&flushed.copy);
        }
        Some(done)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.work = None;
        if let Mode::Thread(_, thread) = &mut self.mode
            && let Some(thread) = thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn run(job: Job) -> Option<Done> {
    match job {
        Job::Flush(job) => Some(Done::Flush(flush(job))),
        Job::Scan(scan) => {
            let keys = StoredKeys::read(&*scan.snapshot, &|| !scan.is_cancelled()).ok()?;
            Some(Done::Scan(scan, keys))
        }
    }
}

fn flush(job: Flush) -> Flushed {
    let (copy, offset) = (job.copy, job.batch.offset);
    // A store that panicked is dropped, since its state is unknown; its file may be intact.
    let applied = catch_unwind(AssertUnwindSafe(move || {
        let (mut store, batch) = (job.store, job.batch);
        let result = store.apply(&batch, &job.checkpoint, batch.durability);
        (Some(store), result)
    }));
    let (store, result) = applied.unwrap_or_else(|_| {
        (
            None,
            Err(StoreError::io(format!("{copy:?}"), "it panicked")),
        )
    });
    Flushed {
        copy,
        store,
        offset,
        result,
    }
}
