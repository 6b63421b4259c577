//! Brings local copies up to their topics, on threads beside the worker's: inspects a copy and its topics,
//! reads the changelog in sorted batches of bounded memory, and notes the position in the copy. Knows no
//! handler and no worker; driven by the owner of the stores.

mod context;
mod inspect;
mod other_program;
mod replay;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

pub(crate) use self::context::Work;
use self::context::{Job, JobError, RestoreContext};
use self::inspect::{ask_until_answered, inspect, inspect_changelog, read_checkpoint, set_aside};
use self::replay::{follow, restore};
use crate::clock::Clock;
use crate::core::{CopyId, Inspection, Plan, StopReason};
use crate::log::{Epoch, Log};
use crate::record::{Offset, TaskId};
use crate::table::{Store, StoreError, Stores};

pub(crate) struct RestoreConfig {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) stores: Arc<dyn Stores>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Clock,
    /// Whether this process has looked for another program under the group's name already, with a client
    /// that died.
    pub(crate) is_verified: bool,
}

pub(crate) enum JobOutcome {
    Inspected(Result<Inspection, StopReason>),
    Verified(Result<(), StopReason>),
    /// The changelog offset that the copy is at, and the identity of the topic that was read.
    Restored(Result<(Offset, String), StopReason>),
    /// The store lost commits that it had when it was inspected: it was closed, and is to be inspected
    /// again.
    RolledBack,
}

/// A job that has ended, with the store that it worked on.
pub(crate) struct FinishedJob {
    pub(crate) copy: CopyId,
    pub(crate) epoch: Epoch,
    pub(crate) store: Option<Box<dyn Store>>,
    pub(crate) outcome: JobOutcome,
}

/// A few threads that inspect and restore.
pub(crate) struct Restorer {
    context: Arc<RestoreContext>,
    done: Receiver<FinishedJob>,
    threads: Vec<JoinHandle<()>>,
}

impl Restorer {
    /// Starts so many threads; without any, jobs are run by [`next`](Self::next).
    pub(crate) fn new(config: RestoreConfig, threads: usize) -> Self {
        let context = Arc::new(RestoreContext {
            log: config.log,
            stores: config.stores,
            plan: config.plan,
            clock: config.clock,
            are_programs_checked: [(); 2].map(|()| Mutex::new(config.is_verified)),
            is_inline: threads == 0,
            queue: Mutex::default(),
            wake: Condvar::new(),
        });
        let (sender, done) = channel();
        let threads = (0..threads)
            .map(|_| {
                let (context, sender) = (Arc::clone(&context), sender.clone());
                std::thread::spawn(move || serve(&context, &sender))
            })
            .collect();
        Self {
            context,
            done,
            threads,
        }
    }

    /// Adds a job for a copy, with its store if that is open.
    pub(crate) fn push(
        &self,
        copy: CopyId,
        epoch: Epoch,
        store: Option<Box<dyn Store>>,
        work: Work,
    ) {
        let mut queue = self.context.queue();
        queue.current.insert(copy.task, epoch);
        queue.jobs.push_back(Job {
            copy,
            epoch,
            store,
            work,
        });
        self.context.wake.notify_all();
    }

    /// Moves aside the file of a copy that is damaged and closed.
    pub(crate) fn set_aside(&self, copy: CopyId, error: &StoreError) {
        if let Err(failure) = set_aside(&self.context, copy, error) {
            let partition = copy.task.partition;
            tracing::warn!(partition, %error, %failure, "damaged store not moved aside");
        }
    }

    /// A task is not owned any more: its jobs end, and close their stores.
    pub(crate) fn cancel(&self, task: TaskId) {
        let mut queue = self.context.queue();
        queue.current.remove(&task);
        queue.failures.retain(|copy, _| copy.task != task);
        drop(queue);
        self.context.wake.notify_all();
    }

    pub(crate) fn next(&self) -> Option<FinishedJob> {
        if self.context.is_inline {
            return self.work();
        }
        self.done.try_recv().ok()
    }

    /// Runs the next job that can end now.
    fn work(&self) -> Option<FinishedJob> {
        let waiting = self.context.queue().jobs.len();
        for _ in 0..waiting {
            let mut job = self.context.queue().jobs.pop_front()?;
            match finish(&self.context, &mut job) {
                Some(finished) => return Some(finished),
                None if self.context.is_current(job.id()) => {
                    self.context.queue().jobs.push_back(job);
                }
                None => {}
            }
        }
        None
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.context.queue().is_closed = true;
        self.context.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(context: &Arc<RestoreContext>, done: &Sender<FinishedJob>) {
    loop {
        let mut job = {
            let mut queue = context.queue();
            loop {
                if queue.is_closed {
                    return;
                }
                let free = queue
                    .jobs
                    .iter()
                    .position(|job| !queue.working.contains(&job.copy));
                if let Some(job) = free.and_then(|at| queue.jobs.remove(at)) {
                    queue.working.insert(job.copy);
                    break job;
                }
                queue = context
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        let copy = job.copy;
        let finished = finish(context, &mut job);
        // The store of a cancelled job is closed before the next one may open it.
        drop(job);
        context.queue().working.remove(&copy);
        context.wake.notify_all();
        if let Some(finished) = finished
            && done.send(finished).is_err()
        {
            return;
        }
    }
}

/// Runs a job; `None` when it is cancelled, or would wait.
fn finish(context: &Arc<RestoreContext>, job: &mut Job) -> Option<FinishedJob> {
    let outcome = run(context, job)?;
    context.is_current(job.id()).then(|| FinishedJob {
        copy: job.copy,
        epoch: job.epoch,
        store: job.store.take(),
        outcome,
    })
}

/// Runs a job. A copy that turns out to be damaged while it is restored is rebuilt in a new file; a store
/// that fails is tried again for a while. `None` when the job is cancelled, or would wait.
fn run(context: &Arc<RestoreContext>, job: &mut Job) -> Option<JobOutcome> {
    let (id, copy) = (job.id(), job.copy);
    let mut is_rebuilt = false;
    loop {
        let outcome = run_once(context, job)?;
        let error = match &outcome {
            JobOutcome::Inspected(Err(StopReason::Store(error))) => error,
            JobOutcome::Restored(Err(StopReason::Store(error))) => error,
            JobOutcome::Inspected(_) => {
                context.made_progress(copy, Offset::MAX, false);
                return Some(outcome);
            }
            _ => {
                context.recovered(copy);
                return Some(outcome);
            }
        };
        match error {
            StoreError::Unreadable { .. } if !is_rebuilt && !matches!(job.work, Work::Inspect) => {
                job.store = None;
                if set_aside(context, copy, error).is_err() {
                    return Some(outcome);
                }
                is_rebuilt = true;
                if let Err(cause) = ended(start_over(context, job))? {
                    return Some(JobOutcome::Restored(Err(cause)));
                }
            }
            error if context.may_retry(id, 0, "using the store", error) => {
                if matches!(error, StoreError::RolledBack { .. }) {
                    job.store = None;
                    if matches!(job.work, Work::Restore(_)) {
                        return Some(JobOutcome::RolledBack);
                    }
                }
                context.pause(id).ok()?;
            }
            _ => return Some(outcome),
        }
    }
}

fn run_once(context: &Arc<RestoreContext>, job: &mut Job) -> Option<JobOutcome> {
    Some(match &job.work {
        Work::Inspect => {
            let checked = other_program::check(context, job.id(), false);
            JobOutcome::Inspected(ended(checked.and_then(|()| inspect(context, job)))?)
        }
        Work::Verify => JobOutcome::Verified(ended(other_program::check(context, job.id(), true))?),
        Work::Restore(from) => {
            let from = from.clone();
            JobOutcome::Restored(ended(restore(context, job, from))?)
        }
        Work::Follow => JobOutcome::Restored(ended(follow(context, job))?),
    })
}

/// The result of a job; `None` when it is cancelled, or would wait.
fn ended<T>(result: Result<T, JobError>) -> Option<Result<T, StopReason>> {
    match result {
        Ok(found) => Some(Ok(found)),
        Err(JobError::Stopped(reason)) => Some(Err(reason)),
        Err(JobError::Cancelled) => None,
    }
}

/// Opens a new store in place of a damaged one, to be restored from where its topic begins.
fn start_over(context: &Arc<RestoreContext>, job: &mut Job) -> Result<(), JobError> {
    if matches!(job.work, Work::Restore(_)) {
        read_checkpoint(context, job)?;
    }
    let id = job.id();
    if let Work::Restore(at) = &mut job.work {
        at.from = ask_until_answered(context, id, inspect_changelog)?
            .range
            .start;
    }
    Ok(())
}
