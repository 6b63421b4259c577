//! Brings local copies up to their group topics, apart from the worker's thread: inspects what is
//! there, reads the changelog in sorted batches of bounded memory, stamps the position as it goes.
//! A restore ends by position, never by a record's offset. Knows no handler. Driven by the worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::judge::Why;
use crate::core::{Cause, Facts, Plan, TableFacts};
use crate::log::{Epoch, Isolation, Log, LogError};
use crate::record::{Offset, TaskId, Timestamp, TopicPartition};
use crate::table::{Durability, FORMAT, Stamp, Store, StoreError, StoredRef, Stores, Write};

/// Applied to the store when so many keys or bytes are gathered.
const BATCH_KEYS: usize = 50_000;
const BATCH_BYTES: usize = 16 << 20;
const POLL: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_millis(500);
/// A restore whose position does not move for so long is reported, again and again.
const WATCHDOG: Duration = Duration::from_secs(10);
/// How long a store may still be held by the assignment before.
const STORE_HELD: Duration = Duration::from_secs(10);

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}

type OpenStore = Option<Box<dyn Store>>;

enum Work {
    Inspect,
    Restore { from: Offset, rebuild: Option<Why> },
}

struct Job {
    task: TaskId,
    epoch: Epoch,
    store: OpenStore,
    work: Work,
}

/// What a job found.
pub(crate) enum Found {
    Inspected(Result<Facts, Cause>),
    Restored(Result<Offset, Cause>),
}

/// A finished job, with the store that it worked on.
pub(crate) struct Done {
    pub(crate) task: TaskId,
    pub(crate) epoch: Epoch,
    pub(crate) store: OpenStore,
    pub(crate) found: Found,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The assignment that is worth working for.
    current: BTreeMap<TaskId, Epoch>,
    closed: bool,
}

struct Context {
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
    plan: Plan,
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

    /// Waits a little, unless the job is of no use any more.
    fn pause(&self, task: TaskId, epoch: Epoch) -> bool {
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
    /// Starts `threads` threads.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        stores: Arc<dyn Stores>,
        plan: Plan,
        threads: usize,
    ) -> Self {
        let (queue, wake) = (Mutex::default(), Condvar::new());
        let context = Arc::new(Context {
            log,
            stores,
            plan,
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
    pub(crate) fn inspect(&self, task: TaskId, epoch: Epoch, store: OpenStore) {
        self.push(Job {
            task,
            epoch,
            store,
            work: Work::Inspect,
        });
    }

    /// Restores a task from a changelog offset on.
    pub(crate) fn restore(
        &self,
        task: TaskId,
        epoch: Epoch,
        store: OpenStore,
        from: Offset,
        rebuild: Option<Why>,
    ) {
        self.push(Job {
            task,
            epoch,
            store,
            work: Work::Restore { from, rebuild },
        });
    }

    fn push(&self, job: Job) {
        let mut queue = self.context.queue();
        queue.current.insert(job.task, job.epoch);
        queue.jobs.push_back(job);
        self.context.wake.notify_all();
    }

    /// A task is not owned any more: what works for it stops and closes its store.
    pub(crate) fn cancel(&self, task: TaskId) {
        self.context.queue().current.remove(&task);
        self.context.wake.notify_all();
    }

    /// A finished job, if there is one.
    pub(crate) fn next(&self) -> Option<Done> {
        self.done.try_recv().ok()
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

fn serve(context: &Context, done: &Sender<Done>) {
    loop {
        let job = {
            let mut queue = context.queue();
            loop {
                if queue.closed {
                    return;
                }
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                queue = context
                    .wake
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        let (task, epoch) = (job.task, job.epoch);
        let finished = run(context, job);
        if let Some((store, found)) = finished
            && context.is_current(task, epoch)
            && done
                .send(Done {
                    task,
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

fn run(context: &Context, job: Job) -> Option<(OpenStore, Found)> {
    let Job {
        task,
        epoch,
        mut store,
        work,
    } = job;
    match work {
        Work::Inspect => {
            let found = inspect(context, task, epoch, &mut store)?;
            Some((store, Found::Inspected(found)))
        }
        Work::Restore { from, rebuild } => {
            let mut store = store?;
            let found = restore(context, task, epoch, &mut *store, from, rebuild)?;
            Some((Some(store), Found::Restored(found)))
        }
    }
}

fn inspect(
    context: &Context,
    task: TaskId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<Facts, Cause>> {
    let plan = &context.plan;
    if let (Some(table), None) = (&plan.table, &*store) {
        let topic = plan.group.topic(table.topic);
        match open(context, task, epoch, topic)? {
            Ok(opened) => *store = Some(opened),
            Err(error) => return Some(Err(Cause::Store(error))),
        }
    }
    let stamp = match store.as_ref().map(|store| store.stamp()).transpose() {
        Ok(stamp) => stamp.flatten(),
        Err(error) => return Some(Err(Cause::Store(error))),
    };
    let mut warned = false;
    loop {
        match look(context, task, stamp.clone()) {
            Ok(facts) => return Some(Ok(facts)),
            Err(error @ (LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. })) => {
                return Some(Err(Cause::Input(error)));
            }
            Err(error) => {
                if !warned {
                    tracing::warn!(partition = task.partition, %error, "cannot look at the topics yet");
                    warned = true;
                }
                if !context.pause(task, epoch) {
                    return None;
                }
            }
        }
    }
}

/// Opens a store; one that cannot be read is moved aside, to be rebuilt.
fn open(
    context: &Context,
    task: TaskId,
    epoch: Epoch,
    topic: &str,
) -> Option<Result<Box<dyn Store>, StoreError>> {
    let began = Instant::now();
    loop {
        match context.stores.open(topic, task.partition) {
            Ok(store) => match store.stamp() {
                Ok(_) => return Some(Ok(store)),
                Err(error) => {
                    drop(store);
                    if let Err(error) = aside(context, task, topic, &error) {
                        return Some(Err(error));
                    }
                }
            },
            Err(error @ StoreError::Unreadable { .. }) => {
                if let Err(error) = aside(context, task, topic, &error) {
                    return Some(Err(error));
                }
            }
            Err(StoreError::Locked { .. }) if began.elapsed() < STORE_HELD => {
                if !context.pause(task, epoch) {
                    return None;
                }
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

fn aside(
    context: &Context,
    task: TaskId,
    topic: &str,
    error: &StoreError,
) -> Result<(), StoreError> {
    let kept = context.stores.set_aside(topic, task.partition)?;
    tracing::warn!(topic, partition = task.partition, %error, kept, "store moved aside, rebuilding");
    Ok(())
}

fn look(context: &Context, task: TaskId, stamp: Option<Stamp>) -> Result<Facts, LogError> {
    let plan = &context.plan;
    let group = &plan.group;
    let table = match &plan.table {
        Some(table) => {
            let name = group.topic(table.topic);
            let info = context
                .log
                .describe(&[&**name])?
                .into_iter()
                .next()
                .flatten();
            let info = info.ok_or_else(|| LogError::UnknownTopic {
                topic: name.to_string(),
            })?;
            let partition = TopicPartition::new(Arc::clone(name), task.partition);
            let range = context
                .log
                .ranges(&[partition])?
                .into_iter()
                .next()
                .unwrap_or_default();
            let (id, delete_retention) = (info.id, info.delete_retention);
            Some(TableFacts {
                id,
                range,
                delete_retention,
            })
        }
        None => None,
    };
    let topics: Vec<_> = group.inputs_of(task).collect();
    let partitions: Vec<_> = topics
        .iter()
        .map(|topic| TopicPartition::new(Arc::clone(group.topic(*topic)), task.partition))
        .collect();
    let ranges = context.log.ranges(&partitions)?;
    Ok(Facts {
        stamp,
        table,
        inputs: topics.into_iter().zip(ranges).collect(),
    })
}

struct Target<'a> {
    topic: &'a Arc<str>,
    id: String,
    fingerprint: &'a str,
    end: Offset,
}

fn restore(
    context: &Context,
    task: TaskId,
    epoch: Epoch,
    store: &mut dyn Store,
    from: Offset,
    rebuild: Option<Why>,
) -> Option<Result<Offset, Cause>> {
    let table = context.plan.table.as_ref()?;
    let topic = context.plan.group.topic(table.topic);
    let began = wall_clock();
    let facts = loop {
        match look(context, task, None) {
            Ok(facts) => break facts.table?,
            Err(error) => {
                tracing::warn!(topic = &**topic, partition = task.partition, %error, "restore waits");
                if !context.pause(task, epoch) {
                    return None;
                }
            }
        }
    };
    let (fingerprint, end) = (table.fingerprint.as_str(), facts.range.high);
    let target = Target {
        topic,
        id: facts.id,
        fingerprint,
        end,
    };
    // Until it is level, a copy is as old as it was: what it missed meanwhile may be compacted away.
    let synced_at = match (&rebuild, store.stamp()) {
        (None, Ok(Some(stamp))) => stamp.synced_at,
        (None, Err(error)) => return Some(Err(Cause::Store(error))),
        _ => began,
    };
    if let Some(why) = rebuild {
        tracing::info!(topic = &**topic, partition = task.partition, %why, "rebuilding");
        if let Err(error) = store.clear() {
            return Some(Err(Cause::Store(error)));
        }
    }
    let mut copy = Copy {
        context,
        task,
        store,
        target,
        batch: Batch::default(),
        records: 0,
    };
    let mut position = from;
    while position < copy.target.end {
        match copy.follow(epoch, position, synced_at) {
            Ok(Some(reached)) => position = reached,
            Ok(None) => return None,
            Err(Trouble::Store(error)) => return Some(Err(Cause::Store(error))),
            Err(Trouble::Log(error @ LogError::OutOfRange { .. })) => {
                return Some(Err(Cause::Input(error)));
            }
            Err(Trouble::Log(error)) => {
                tracing::warn!(topic = &**topic, partition = task.partition, position, %error, "restore reads again");
                position = copy.stored_position(from);
                copy.batch = Batch::default();
                if !context.pause(task, epoch) {
                    return None;
                }
            }
        }
    }
    if let Err(error) = copy.apply(position, began, Durability::Synced) {
        return Some(Err(Cause::Store(error)));
    }
    let (partition, records) = (task.partition, copy.records);
    tracing::info!(
        topic = &**topic,
        partition,
        from,
        end = position,
        records,
        "restored"
    );
    Some(Ok(position))
}

enum Trouble {
    Log(LogError),
    Store(StoreError),
}

#[derive(Default)]
struct Batch {
    writes: BTreeMap<Vec<u8>, (Timestamp, Option<Vec<u8>>)>,
    bytes: usize,
}

struct Copy<'a> {
    context: &'a Context,
    task: TaskId,
    store: &'a mut dyn Store,
    target: Target<'a>,
    batch: Batch,
    records: u64,
}

impl Copy<'_> {
    /// Reads from `position` until the target; `None` when nobody waits for it any more.
    fn follow(
        &mut self,
        epoch: Epoch,
        from: Offset,
        synced_at: Timestamp,
    ) -> Result<Option<Offset>, Trouble> {
        let partition = TopicPartition::new(Arc::clone(self.target.topic), self.task.partition);
        let log = &self.context.log;
        let mut reader = log
            .reader(&[(partition, from)], Isolation::ReadCommitted)
            .map_err(Trouble::Log)?;
        let (mut position, mut moved) = (from, Instant::now());
        while position < self.target.end {
            if !self.context.is_current(self.task, epoch) {
                return Ok(None);
            }
            let (batch, records) = (&mut self.batch, &mut self.records);
            reader
                .poll(POLL, &mut |_, read| {
                    *records += read.len() as u64;
                    read.iter().for_each(|record| batch.take(record));
                })
                .map_err(Trouble::Log)?;
            let reached = reader.position(0);
            if reached > position {
                (position, moved) = (reached, Instant::now());
            } else if moved.elapsed() >= WATCHDOG {
                moved = Instant::now();
                let (topic, target) = (&**self.target.topic, self.target.end);
                let partition = self.task.partition;
                tracing::warn!(topic, partition, position, target, "restore does not move");
            }
            if self.batch.writes.len() >= BATCH_KEYS || self.batch.bytes >= BATCH_BYTES {
                self.apply(position, synced_at, Durability::Relaxed)
                    .map_err(Trouble::Store)?;
            }
        }
        Ok(Some(position))
    }

    fn stored_position(&self, from: Offset) -> Offset {
        match self.store.stamp() {
            Ok(Some(stamp)) => stamp.offset.max(from),
            _ => from,
        }
    }

    fn apply(
        &mut self,
        offset: Offset,
        synced_at: Timestamp,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.batch);
        let writes: Vec<_> = batch
            .writes
            .iter()
            .map(|(key, (timestamp, value))| Write {
                key,
                value: value.as_deref().map(|value| StoredRef {
                    timestamp: *timestamp,
                    value,
                }),
            })
            .collect();
        let stamp = Stamp {
            format: FORMAT,
            cluster: self.context.plan.cluster.clone(),
            topic_id: self.target.id.clone(),
            partition: self.task.partition,
            offset,
            fingerprint: self.target.fingerprint.to_owned(),
            synced_at,
        };
        self.store.apply(&writes, &stamp, durability)
    }
}

impl Batch {
    fn take(&mut self, record: &crate::record::Record<'_>) {
        // A record without a key is nobody's row; only a foreign writer makes one.
        let Some(key) = record.key else { return };
        self.bytes += key.len() + record.value.map_or(0, <[u8]>::len) + 64;
        self.writes.insert(
            key.to_vec(),
            (record.timestamp, record.value.map(<[u8]>::to_vec)),
        );
    }
}
