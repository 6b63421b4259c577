//! Watches a worker whose handler does not return: keeps its member in the group, and says which
//! record is slow while it still is. The worker's thread writes down what it has in hand; a thread
//! beside it reads that a few times in a session. Made by the worker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::WorkerConfig;
use crate::core::RecordId;
use crate::log::{Group, KeepAlive, Member};
use crate::record::{Guarantee, Offset};

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// A record that a handler is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handling {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
}

impl fmt::Display for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            offset,
        } = self;
        write!(f, "{topic}[{partition}] offset {offset}")
    }
}

/// What the worker's thread has in hand. Written with every record, so without a lock.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    /// Counts begins and ends: odd while a handler runs.
    calls: AtomicU64,
    topic: AtomicU32,
    partition: AtomicI32,
    offset: AtomicI64,
}

impl InHand {
    /// A handler is called. By the worker's thread alone.
    pub(super) fn begin(&self, record: &RecordId) {
        self.topic.store(record.topic.0.into(), Ordering::Relaxed);
        self.partition
            .store(record.task.partition, Ordering::Relaxed);
        self.offset.store(record.offset, Ordering::Relaxed);
        self.step();
    }

    /// It has returned.
    pub(super) fn end(&self) {
        self.step();
    }

    fn step(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls.wrapping_add(1), Ordering::Release);
    }

    /// The number of the call under way.
    fn call(&self) -> Option<u64> {
        let calls = self.calls.load(Ordering::Acquire);
        (calls % 2 == 1).then_some(calls)
    }

    /// The record of the call under way: the number of its topic, its partition, its offset. Takes no
    /// lock and no memory.
    pub(crate) fn numbers(&self) -> Option<(u32, i32, Offset)> {
        let call = self.call()?;
        let topic = self.topic.load(Ordering::Relaxed);
        let partition = self.partition.load(Ordering::Relaxed);
        let offset = self.offset.load(Ordering::Relaxed);
        // Another call would have written over some of it.
        (self.call() == Some(call)).then_some((topic, partition, offset))
    }

    /// The record of the call under way.
    pub(super) fn read(&self, group: &Group) -> Option<Handling> {
        let (topic, partition, offset) = self.numbers()?;
        let topic = group.topics.get(usize::try_from(topic).ok()?)?;
        Some(Handling {
            topic: topic.to_string(),
            partition,
            offset,
        })
    }
}

/// The thread that watches, until this is dropped.
pub(super) struct Watch {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch. A machine that gives no thread leaves the worker unwatched, and says so.
    pub(super) fn start(parts: &Arc<WorkerConfig>, member: &dyn Member) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            parts: Arc::clone(parts),
            member: member.keep_alive(),
            ends: Arc::clone(&ends),
        };
        let thread = std::thread::Builder::new()
            .name("goka-watch".to_owned())
            .spawn(move || watcher.run());
        let thread = thread
            .inspect_err(|error| tracing::warn!(%error, "no thread to watch slow handlers"))
            .ok();
        Self { ends, thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It does not panic, and if it did the worker would go on all the same.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    parts: Arc<WorkerConfig>,
    member: Arc<dyn KeepAlive>,
    ends: Arc<AtomicBool>,
}

impl Watcher {
    fn run(&self) {
        let group = &self.parts.plan.group;
        let look = (group.session_timeout.min(group.max_poll_interval) / 4).min(LOOK);
        let slow = self.slow();
        let mut seen: Option<Seen> = None;
        while !self.ends.load(Ordering::Acquire) {
            std::thread::park_timeout(look);
            let Some(call) = self.parts.signals.in_hand.call() else {
                if let Some(seen) = seen.take() {
                    seen.ended();
                }
                continue;
            };
            self.member.beat();
            match &mut seen {
                Some(seen) if seen.call == call => self.say(seen, slow),
                other => {
                    if let Some(before) = other.replace(Seen::new(call)) {
                        before.ended();
                    }
                }
            }
        }
    }

    /// A handler is reported as slow after half of the shortest timeout that it could exceed.
    fn slow(&self) -> Duration {
        let group = &self.parts.plan.group;
        let most = match group.guarantee {
            Guarantee::AtLeastOnce => group.session_timeout.min(group.max_poll_interval),
            Guarantee::ExactlyOnce => group.session_timeout.min(group.transaction_timeout),
        };
        most / 2
    }

    /// Says that a handler is slow, again after twice the time.
    fn say(&self, seen: &mut Seen, slow: Duration) {
        let took = seen.since.elapsed();
        if took < slow || took < seen.said * 2 {
            return;
        }
        let group = &self.parts.plan.group;
        let Some(record) = self.parts.signals.in_hand(group) else {
            return;
        };
        seen.said = took;
        seen.record = Some(record.to_string());
        let (name, seconds) = (&*group.name, took.as_secs());
        match group.guarantee {
            Guarantee::AtLeastOnce => tracing::warn!(
                group = name,
                %record,
                seconds,
                max_poll_interval = ?group.max_poll_interval,
                "the handler is slow: a rebalance that waits for longer than `--max-poll-interval` \
                 gives its partition away, and the record is handled again there"
            ),
            Guarantee::ExactlyOnce => tracing::warn!(
                group = name,
                %record,
                seconds,
                transaction_timeout = ?group.transaction_timeout,
                "the handler is slow: a transaction that is open for longer than \
                 `--transaction-timeout` is aborted, and its records are handled again"
            ),
        }
    }
}

/// A call that was under way when it was looked at.
struct Seen {
    call: u64,
    since: Instant,
    /// After how long it was last said to be slow.
    said: Duration,
    /// The record, once it was.
    record: Option<String>,
}

impl Seen {
    fn new(call: u64) -> Self {
        Self {
            call,
            since: Instant::now(),
            said: Duration::ZERO,
            record: None,
        }
    }

    fn ended(&self) {
        if let Some(record) = &self.record {
            let seconds = self.since.elapsed().as_secs();
            tracing::info!(record, seconds, "the slow handler has returned");
        }
    }
}
