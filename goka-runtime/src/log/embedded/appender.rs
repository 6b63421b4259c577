//! Writes records outside a group. Senders fill a bounded queue; a thread of its own writes what
//! has gathered while the last commit was under way, so many senders share one fsync.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Embedded;
use super::chunk::Run;
use super::shared::{Shared, now_millis};
use crate::log::{Appender, Failure, LogError, OnDelivery, Sent, lock};
use crate::record::Offset;

/// How much may wait to be written.
const QUEUE_BYTES: usize = 32 << 20;
const QUEUE_RECORDS: usize = 100_000;
const TURN: Duration = Duration::from_secs(60);

/// What waits for one partition.
#[derive(Debug)]
struct Lane {
    partition: i32,
    run: Run,
    tokens: Vec<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    lanes: BTreeMap<u32, Lane>,
    bytes: usize,
    records: usize,
    sent: u64,
    done: u64,
    closing: bool,
}

#[derive(Default)]
struct Channel {
    queue: Mutex<Queue>,
    /// Room, work, or something done.
    changed: Condvar,
}

impl Channel {
    /// Waits while `hold`, at most until `deadline`; says whether it holds no more.
    fn wait<'q>(
        &self,
        queue: MutexGuard<'q, Queue>,
        deadline: Option<Instant>,
        hold: impl Fn(&Queue) -> bool,
    ) -> (MutexGuard<'q, Queue>, bool) {
        let Some(deadline) = deadline else {
            let queue = self.changed.wait_while(queue, |queue| hold(queue));
            return (queue.unwrap_or_else(PoisonError::into_inner), true);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .changed
            .wait_timeout_while(queue, left, |queue| hold(queue));
        let (queue, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        (queue, !waited.timed_out())
    }
}

pub(super) struct EmbeddedAppender {
    /// Keeps the log open.
    log: Embedded,
    channel: Arc<Channel>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedAppender {
    pub(super) fn new(log: Embedded, delivered: OnDelivery) -> Result<Self, LogError> {
        let channel = Arc::new(Channel::default());
        let (shared, theirs) = (log.shared().clone(), channel.clone());
        let thread = std::thread::Builder::new().name("goka-log-appender".to_owned());
        let writer = thread.spawn(move || write(&shared, &theirs, &delivered));
        let writer = writer
            .map_err(|error| LogError::client("starting the thread that writes records", error))?;
        Ok(Self {
            log,
            channel,
            writer: Some(writer),
        })
    }
}

impl Appender for EmbeddedAppender {
    fn send(&self, record: Sent<'_>, token: u64, deadline: Instant) -> Result<(), LogError> {
        let begun = Instant::now();
        let record = record.stamped(now_millis());
        let (handle, place) = {
            let state = self.log.shared().state();
            (
                state.handle(record.topic, record.partition)?,
                state.topics.get(record.topic).cloned(),
            )
        };
        if let Some(place) = place
            && let Some(reason) = record.refusal(place.compact, place.max_message_bytes)
        {
            let what = format!("writing to `{}`", record.topic);
            return Err(LogError::refused_for(what, reason, None));
        }
        let full = |queue: &Queue| queue.bytes >= QUEUE_BYTES || queue.records >= QUEUE_RECORDS;
        let (mut queue, has_room) =
            self.channel
                .wait(lock(&self.channel.queue), Some(deadline), full);
        if !has_room {
            let what = format!("waiting for room to write to `{}`", record.topic);
            return Err(LogError::late(what, begun.elapsed()));
        }
        let was_idle = queue.records == 0;
        let lane = queue.lanes.entry(handle).or_insert_with(|| Lane {
            partition: record.partition,
            run: Run::default(),
            tokens: Vec::new(),
        });
        let before = lane.run.bytes;
        lane.run.push(&record);
        lane.tokens.push(token);
        let grown = lane.run.bytes - before;
        queue.bytes += grown;
        queue.records += 1;
        queue.sent += 1;
        if was_idle {
            self.channel.changed.notify_all();
        }
        Ok(())
    }

    fn flush(&self, deadline: Instant) -> Result<(), LogError> {
        let begun = Instant::now();
        let queue = lock(&self.channel.queue);
        let sent = queue.sent;
        let (queue, done) = self
            .channel
            .wait(queue, Some(deadline), |queue| queue.done < sent);
        if done {
            return Ok(());
        }
        let what = format!("writing {} records", sent - queue.done);
        Err(LogError::late(what, begun.elapsed()))
    }
}

impl Drop for EmbeddedAppender {
    fn drop(&mut self) {
        lock(&self.channel.queue).closing = true;
        self.channel.changed.notify_all();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(log = %self.log.shared().what, "the thread that writes records panicked");
        }
    }
}

/// Writes what was sent until the appender is dropped and nothing is left.
fn write(shared: &Shared, channel: &Channel, delivered: &OnDelivery) {
    loop {
        let idle = |queue: &Queue| queue.records == 0 && !queue.closing;
        let (mut queue, _) = channel.wait(lock(&channel.queue), None, idle);
        if queue.records == 0 {
            return;
        }
        let lanes = std::mem::take(&mut queue.lanes);
        (queue.bytes, queue.records) = (0, 0);
        drop(queue);
        channel.changed.notify_all();

        let outcome = commit(shared, &lanes);
        let mut count = 0;
        for (index, lane) in lanes.values().enumerate() {
            for (at, token) in (0..).zip(&lane.tokens) {
                let told = match &outcome {
                    Ok(bases) => Ok((lane.partition, bases[index] + at)),
                    Err(failure) => Err(failure.clone()),
                };
                delivered(*token, told);
                count += 1;
            }
        }
        lock(&channel.queue).done += count;
        channel.changed.notify_all();
    }
}

fn commit(shared: &Shared, lanes: &BTreeMap<u32, Lane>) -> Result<Vec<Offset>, Failure> {
    let turn = shared.turn(Instant::now() + TURN);
    let turn = turn.map_err(|error| Failure::Retriable(error.to_string()))?;
    let runs = lanes.iter().map(|(handle, lane)| (*handle, &lane.run));
    let runs: Vec<(u32, &Run)> = runs.collect();
    Ok(shared.append(&turn, &runs, Vec::new())?)
}
