//! Brings local copies up to their group topics, apart from the worker's thread: inspects what is
//! there, reads the changelog in sorted batches of bounded memory, stamps the position as it goes.
//! A restore ends by position, never by a record's offset. Knows no handler. Driven by the worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::judge::{Role, Topic, Verdict, Why, judge};
use crate::core::{Cause, CopyId, Facts, Plan, TableFacts};
use crate::log::{Epoch, Isolation, Log, LogError, Range};
use crate::record::{Offset, TaskId, Timestamp, TopicId, TopicPartition};
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
    Restore {
        from: Offset,
        rebuild: Option<Why>,
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
    Inspected(Result<Facts, Cause>),
    /// The offset reached, and the identity of the topic it was read from.
    Restored(Result<(Offset, String), Cause>),
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
    pub(crate) fn inspect(&self, copy: CopyId, epoch: Epoch, store: OpenStore) {
        self.push(copy, epoch, store, Work::Inspect);
    }

    /// Restores a copy from a changelog offset on.
    pub(crate) fn restore(
        &self,
        copy: CopyId,
        epoch: Epoch,
        store: OpenStore,
        from: Offset,
        rebuild: Option<Why>,
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
        let (copy, epoch) = (job.copy, job.epoch);
        let finished = run(context, job);
        if let Some((store, found)) = finished
            && context.is_current(copy.task, epoch)
            && done
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

fn run(context: &Context, job: Job) -> Option<(OpenStore, Found)> {
    let Job {
        copy,
        epoch,
        mut store,
        work,
    } = job;
    match work {
        Work::Inspect => {
            let found = inspect(context, copy, epoch, &mut store)?;
            Some((store, Found::Inspected(found)))
        }
        Work::Restore { from, rebuild } => {
            let mut store = store?;
            let found = restore(context, copy, epoch, &mut *store, from, rebuild)?;
            Some((Some(store), Found::Restored(found)))
        }
        Work::Follow => {
            let found = follow(context, copy, epoch, &mut store)?;
            Some((store, Found::Restored(found)))
        }
    }
}

fn inspect(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<Facts, Cause>> {
    let is_stateful = context.plan.table.is_some();
    let stamp = match is_stateful {
        true => match stamp(context, copy, epoch, store)? {
            Ok(stamp) => stamp,
            Err(error) => return Some(Err(Cause::Store(error))),
        },
        false => None,
    };
    let facts = patiently(context, copy, epoch, || {
        let table = match is_stateful {
            true => Some(look_at_table(context, copy)?),
            false => None,
        };
        let inputs = look_at_inputs(context, copy.task)?;
        Ok((table, inputs))
    })?;
    Some(facts.map(|(table, inputs)| Facts {
        stamp,
        table,
        inputs,
    }))
}

/// Opens a joined table's copy, judges it and brings it up.
fn follow(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<(Offset, String), Cause>> {
    let stamp = match stamp(context, copy, epoch, store)? {
        Ok(stamp) => stamp,
        Err(error) => return Some(Err(Cause::Store(error))),
    };
    let facts = match patiently(context, copy, epoch, || look_at_table(context, copy))? {
        Ok(facts) => facts,
        Err(cause) => return Some(Err(cause)),
    };
    let (name, fingerprint) = context.definition(copy.table)?;
    let topic = Topic {
        name,
        cluster: &context.plan.cluster,
        id: &facts.id,
        partition: copy.task.partition,
        start: facts.range.start,
        end: facts.range.high,
        delete_retention: facts.delete_retention,
    };
    let now = wall_clock();
    let (from, rebuild) = match judge(stamp.as_ref(), &topic, fingerprint, &Role::Follower, now) {
        Verdict::CatchUp { from } => (from, None),
        Verdict::Rebuild(why) => (facts.range.start, Some(why)),
        Verdict::Refuse(why) => return Some(Err(Cause::Unfit(why))),
    };
    restore(context, copy, epoch, &mut **store.as_mut()?, from, rebuild)
}

/// Asks the log until it answers, or nobody waits any more.
fn patiently<T>(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    mut look: impl FnMut() -> Result<T, LogError>,
) -> Option<Result<T, Cause>> {
    let mut warned = false;
    loop {
        match look() {
            Ok(found) => return Some(Ok(found)),
            Err(error @ (LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. })) => {
                return Some(Err(Cause::Input(error)));
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    let partition = copy.task.partition;
                    tracing::warn!(partition, %error, "cannot look at the topics yet");
                }
                if !context.pause(copy.task, epoch) {
                    return None;
                }
            }
        }
    }
}

/// What a copy says of itself; opened when it is not.
fn stamp(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut OpenStore,
) -> Option<Result<Option<Stamp>, StoreError>> {
    if store.is_none() {
        match open(context, copy, epoch)? {
            Ok(opened) => *store = Some(opened),
            Err(error) => return Some(Err(error)),
        }
    }
    let stamp = store.as_ref().map(|store| store.stamp()).transpose();
    Some(stamp.map(Option::flatten))
}

/// Opens a store; one that cannot be read is moved aside, to be rebuilt.
fn open(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
) -> Option<Result<Box<dyn Store>, StoreError>> {
    let (began, name) = (Instant::now(), context.store_name(copy.table));
    let partition = copy.task.partition;
    loop {
        let error = match context.stores.open(&name, partition) {
            Ok(store) => match store.stamp() {
                Ok(_) => return Some(Ok(store)),
                Err(error) => error,
            },
            Err(StoreError::Locked { .. }) if began.elapsed() < STORE_HELD => {
                if !context.pause(copy.task, epoch) {
                    return None;
                }
                continue;
            }
            Err(error @ StoreError::Unreadable { .. }) => error,
            Err(error) => return Some(Err(error)),
        };
        match context.stores.set_aside(&name, partition) {
            Ok(kept) => {
                tracing::warn!(table = name, partition, %error, kept, "store moved aside, rebuilding");
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

fn look_at_table(context: &Context, copy: CopyId) -> Result<TableFacts, LogError> {
    let name = context.plan.group.topic(copy.table);
    let info = context
        .log
        .describe(&[&**name])?
        .into_iter()
        .next()
        .flatten();
    let info = info.ok_or_else(|| LogError::UnknownTopic {
        topic: name.to_string(),
    })?;
    let partition = TopicPartition::new(Arc::clone(name), copy.task.partition);
    let range = context.log.ranges(&[partition])?.into_iter().next();
    Ok(TableFacts {
        id: info.id,
        range: range.unwrap_or_default(),
        delete_retention: info.delete_retention,
    })
}

fn look_at_inputs(context: &Context, task: TaskId) -> Result<BTreeMap<TopicId, Range>, LogError> {
    let group = &context.plan.group;
    let topics: Vec<_> = group.inputs_of(task).collect();
    let partitions: Vec<_> = topics
        .iter()
        .map(|topic| TopicPartition::new(Arc::clone(group.topic(*topic)), task.partition))
        .collect();
    let ranges = context.log.ranges(&partitions)?;
    Ok(topics.into_iter().zip(ranges).collect())
}

struct Target<'a> {
    topic: &'a Arc<str>,
    id: String,
    fingerprint: &'a str,
    end: Offset,
}

fn restore(
    context: &Context,
    copy: CopyId,
    epoch: Epoch,
    store: &mut dyn Store,
    from: Offset,
    rebuild: Option<Why>,
) -> Option<Result<(Offset, String), Cause>> {
    let (_, fingerprint) = context.definition(copy.table)?;
    let (task, topic) = (copy.task, context.plan.group.topic(copy.table));
    let began = wall_clock();
    let facts = match patiently(context, copy, epoch, || look_at_table(context, copy))? {
        Ok(facts) => facts,
        Err(cause) => return Some(Err(cause)),
    };
    let target = Target {
        topic,
        id: facts.id,
        fingerprint,
        end: facts.range.high,
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
    Some(Ok((position, copy.target.id)))
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
