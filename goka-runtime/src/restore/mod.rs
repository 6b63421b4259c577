//! Brings local copies up to their group topics, apart from the worker's thread: inspects what is
//! there, reads the changelog in sorted batches of bounded memory, stamps the position as it goes.
//! A restore ends by position, never by a record's offset. Knows no handler. Driven by the worker.

mod copy;
mod inspect;
mod trouble;
mod verify;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::copy::restore;
use self::inspect::{follow, inspect, look_at_table, patiently, set_aside, stamp};
use self::trouble::Trouble;
use self::verify::Others;
use crate::clock::Clock;
use crate::core::recovery::RecoveryReason;
use crate::core::{CopyId, Inspection, Plan, StopReason};
use crate::log::{Epoch, Log};
use crate::record::{Offset, TaskId, TopicId};
use crate::table::{Store, StoreError, Stores};
use crate::worker::WorkerConfig;

const RETRY: Duration = Duration::from_millis(500);

type OpenStore = Option<Box<dyn Store>>;

enum Work {
    Inspect,
    Verify,
    Restore {
        from: Offset,
        rebuild: Option<RecoveryReason>,
    },
    /// A joined table: judged here, since only the copy itself is at stake.
    Follow,
}

struct Job {
    copy: CopyId,
    epoch: Epoch,
    store: OpenStore,
    work: Work,
}

/// What a job found.
pub(crate) enum Found {
    Inspected(Result<Inspection, StopReason>),
    Verified(Result<(), StopReason>),
    /// The offset reached, and the identity of the topic it was read from.
    Restored(Result<(Offset, String), StopReason>),
    /// The store lost commits that it had when it was inspected: it is closed, and to be inspected again.
    FellBack,
}

/// A finished job, with the store that it worked on.
pub(crate) struct Done {
    pub(crate) copy: CopyId,
    pub(crate) epoch: Epoch,
    pub(crate) store: OpenStore,
    pub(crate) found: Found,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The copies that a thread has in hand: a job for one of them waits, cancelled or not, since the
    /// copy's store is open there.
    working: BTreeSet<CopyId>,
    /// The assignment that is worth working for.
    current: BTreeMap<TaskId, Epoch>,
    troubles: BTreeMap<CopyId, Trouble>,
    closed: bool,
}

struct Context {
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    plan: Plan,
    clock: Clock,
    others: Others,
    /// Nobody else moves time on: what would wait is given up and begun again.
    is_inline: bool,
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Context {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_current(&self, task: TaskId, epoch: Epoch) -> bool {
        let queue = self.queue();
        !queue.closed && queue.current.get(&task) == Some(&epoch)
    }

    /// The topic's name and what the table is, as text.
    fn definition(&self, table: TopicId) -> Option<(&str, &str)> {
        let name = &**self.plan.group.topic(table);
        let own = self.plan.table.as_ref().filter(|own| own.topic == table);
        let fingerprint = own.map(|own| own.fingerprint.as_str());
        let joined = || Some(self.plan.join(table)?.fingerprint.as_str());
        Some((name, fingerprint.or_else(joined)?))
    }

    /// Where a copy lies: `@` is in no topic's name, so that a joined copy is apart from the table
    /// of a processor of this process.
    fn store_name(&self, table: TopicId) -> String {
        let topic = self.plan.group.topic(table);
        match &self.plan.table {
            Some(own) if own.topic == table => topic.to_string(),
            _ => format!("{topic}@{}", self.plan.group.name),
        }
    }

    /// Waits a little, unless the job is of no use any more.
    fn pause(&self, task: TaskId, epoch: Epoch) -> bool {
        if self.is_inline {
            return false;
        }
        let queue = self.queue();
        let wanted = |queue: &mut Queue| !queue.closed && queue.current.get(&task) == Some(&epoch);
        let _ = self
            .wake
            .wait_timeout_while(queue, RETRY, wanted)
            .unwrap_or_else(PoisonError::into_inner);
        self.is_current(task, epoch)
    }
}

/// A few threads that inspect and restore.
pub(crate) struct Restorer {
    context: Arc<Context>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
}

impl Restorer {
    /// Starts `threads` threads; without any, work is done by whoever asks for what is done.
    pub(crate) fn new(parts: &WorkerConfig, threads: usize) -> Self {
        let (queue, wake) = (Mutex::default(), Condvar::new());
        let context = Arc::new(Context {
            log: Arc::clone(&parts.log),
            stores: Arc::clone(&parts.stores),
            plan: parts.plan.clone(),
            clock: parts.clock.clone(),
            others: Others::new(parts.signals.has_run()),
            is_inline: threads == 0,
            queue,
            wake,
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

    /// Looks at a task: a store that is open already comes along.
    pub(crate) fn inspect(&self, copy: CopyId, epoch: Epoch, store: OpenStore) {
        self.push(copy, epoch, store, Work::Inspect);
    }

    /// Looks for another program under the group's name.
    pub(crate) fn verify(&self, copy: CopyId, epoch: Epoch) {
        self.push(copy, epoch, None, Work::Verify);
    }

    /// Restores a copy from a changelog offset on.
    pub(crate) fn restore(
        &self,
        copy: CopyId,
        epoch: Epoch,
        store: OpenStore,
        from: Offset,
        rebuild: Option<RecoveryReason>,
    ) {
        self.push(copy, epoch, store, Work::Restore { from, rebuild });
    }

    /// Brings the copy of a joined table up to the end of its topic.
    pub(crate) fn follow(&self, copy: CopyId, epoch: Epoch, store: OpenStore) {
        self.push(copy, epoch, store, Work::Follow);
    }

    fn push(&self, copy: CopyId, epoch: Epoch, store: OpenStore, work: Work) {
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

    /// A task is not owned any more: what works for it stops and closes its store.
    pub(crate) fn cancel(&self, task: TaskId) {
        let mut queue = self.context.queue();
        queue.current.remove(&task);
        queue.troubles.retain(|copy, _| copy.task != task);
        drop(queue);
        self.context.wake.notify_all();
    }

    /// A finished job, if there is one.
    pub(crate) fn next(&self) -> Option<Done> {
        if self.context.is_inline {
            return self.work();
        }
        self.done.try_recv().ok()
    }

    /// Does the next job that can be done now.
    fn work(&self) -> Option<Done> {
        let waiting = self.context.queue().jobs.len();
        for _ in 0..waiting {
            let mut job = self.context.queue().jobs.pop_front()?;
            let (copy, epoch) = (job.copy, job.epoch);
            let found = run(&self.context, &mut job);
            if !self.context.is_current(copy.task, epoch) {
                continue;
            }
            let Some(found) = found else {
                self.context.queue().jobs.push_back(job);
                continue;
            };
            let store = job.store;
            return Some(Done {
                copy,
                epoch,
                store,
                found,
            });
        }
        None
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        self.context.queue().closed = true;
        self.context.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve(context: &Arc<Context>, done: &Sender<Done>) {
    loop {
        let job = {
            let mut queue = context.queue();
            loop {
                if queue.closed {
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
        let mut job = job;
        let (copy, epoch) = (job.copy, job.epoch);
        let found = run(context, &mut job).filter(|_| context.is_current(copy.task, epoch));
        let finished = found.map(|found| (job.store.take(), found));
        drop(job);
        let ended = |context: &Context| {
            context.queue().working.remove(&copy);
            context.wake.notify_all();
        };
        let Some((store, found)) = finished else {
            // What nobody waits for is closed before the next one may open it.
            ended(context);
            continue;
        };
        ended(context);
        if done
            .send(Done {
                copy,
                epoch,
                store,
                found,
            })
            .is_err()
        {
            return;
        }
    }
}

/// Does a job. A copy that turns out to be damaged while it is restored is rebuilt in a new file; a store
/// that fails is tried again for a while.
fn run(context: &Arc<Context>, job: &mut Job) -> Option<Found> {
    let (copy, epoch) = (job.copy, job.epoch);
    let mut is_rebuilt = false;
    loop {
        let found = run_once(context, job)?;
        let error = match &found {
            Found::Inspected(Err(StopReason::Store(error))) => error,
            Found::Restored(Err(StopReason::Store(error))) => error,
            Found::Inspected(_) => {
                context.moved(copy, Offset::MAX, false);
                return Some(found);
            }
            _ => {
                context.over(copy);
                return Some(found);
            }
        };
        match error {
            StoreError::Unreadable { .. } if !is_rebuilt && !matches!(job.work, Work::Inspect) => {
                job.store = None;
                if set_aside(context, copy, error).is_err() {
                    return Some(found);
                }
                is_rebuilt = true;
                if let Work::Restore { from, .. } = &mut job.work {
                    if let Err(error) = stamp(context, copy, epoch, &mut job.store)? {
                        return Some(Found::Restored(Err(StopReason::Store(error))));
                    }
                    match patiently(context, copy, epoch, look_at_table)? {
                        Ok(facts) => *from = facts.range.start,
                        Err(cause) => return Some(Found::Restored(Err(cause))),
                    }
                }
            }
            error if context.may_retry((copy, epoch), 0, "using the store", error) => {
                if matches!(error, StoreError::RolledBack { .. }) {
                    job.store = None;
                    if matches!(job.work, Work::Restore { .. }) {
                        return Some(Found::FellBack);
                    }
                }
                if !context.pause(copy.task, epoch) {
                    return None;
                }
            }
            _ => return Some(found),
        }
    }
}

fn run_once(context: &Arc<Context>, job: &mut Job) -> Option<Found> {
    let (copy, epoch, store) = (job.copy, job.epoch, &mut job.store);
    Some(match &job.work {
        Work::Inspect => match verify::before(context, copy, epoch)? {
            Ok(()) => Found::Inspected(inspect(context, copy, epoch, store)?),
            Err(cause) => Found::Inspected(Err(cause)),
        },
        Work::Verify => Found::Verified(verify::after(context, copy, epoch)?),
        Work::Restore { from, rebuild } => {
            let store = &mut **store.as_mut()?;
            let rebuild = rebuild.clone();
            Found::Restored(restore(context, copy, epoch, store, *from, rebuild)?)
        }
        Work::Follow => Found::Restored(follow(context, copy, epoch, store)?),
    })
}
