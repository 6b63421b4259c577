//! Watches a worker whose handler does not return: keeps its member in the group, and logs which record is
//! slow while it still is. The worker's thread writes down the record in hand; a thread beside it reads
//! that a few times in a session. Made for each member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::config::WorkerConfig;
use crate::log::{KeepAlive, Member};
use crate::record::Guarantee;

/// The longest time between two looks at the record in hand.
const LOOK: Duration = Duration::from_secs(1);

/// The thread that watches, until this is dropped.
pub(super) struct Watch {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread. Without one the worker is not watched, which is logged.
    pub(super) fn start(config: &Arc<WorkerConfig>, member: &dyn Member) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            config: Arc::clone(config),
            member: member.keep_alive(),
            ends: Arc::clone(&ends),
        };
        let thread = std::thread::Builder::new()
            .name("goka-watch".to_owned())
            .spawn(move || watcher.run());
        let thread = thread
            .inspect_err(|error| tracing::warn!(%error, "no thread to watch for slow handlers"))
            .ok();
        Self { ends, thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread does not matter to the worker.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    config: Arc<WorkerConfig>,
    member: Arc<dyn KeepAlive>,
    ends: Arc<AtomicBool>,
}

impl Watcher {
    fn run(&self) {
        let group = &self.config.plan.group;
        let look = (group.session_timeout.min(group.max_poll_interval) / 4).min(LOOK);
        let slow = self.slow_after();
        let mut seen: Option<ObservedCall> = None;
        while !self.ends.load(Ordering::Acquire) {
            std::thread::park_timeout(look);
            let Some(call) = self.config.state.in_hand.call() else {
                if let Some(seen) = seen.take() {
                    seen.ended();
                }
                continue;
            };
            self.member.beat();
            match &mut seen {
                Some(seen) if seen.call == call => self.report_slow(seen, slow),
                other => {
                    if let Some(before) = other.replace(ObservedCall::new(call)) {
                        before.ended();
                    }
                }
            }
        }
    }

    /// A handler is reported as slow after half of the shortest timeout that it could exceed.
    fn slow_after(&self) -> Duration {
        let group = &self.config.plan.group;
        let most = match group.guarantee {
            Guarantee::AtLeastOnce => group.session_timeout.min(group.max_poll_interval),
            Guarantee::ExactlyOnce => group.session_timeout.min(group.transaction_timeout),
        };
        most / 2
    }

    /// Logs that a handler is slow, again after twice the time.
    fn report_slow(&self, seen: &mut ObservedCall, slow: Duration) {
        let took = seen.since.elapsed();
        if took < slow || took < seen.reported_after * 2 {
            return;
        }
        let group = &self.config.plan.group;
        let Some(record) = self.config.state.in_hand(group) else {
            return;
        };
        seen.reported_after = took;
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

/// A call of a handler that was under way at a look.
struct ObservedCall {
    call: u64,
    since: Instant,
    /// After how long it was last reported as slow.
    reported_after: Duration,
    /// The record, once it was reported.
    record: Option<String>,
}

impl ObservedCall {
    fn new(call: u64) -> Self {
        Self {
            call,
            since: Instant::now(),
            reported_after: Duration::ZERO,
            record: None,
        }
    }

    fn ended(&self) {
        if let Some(record) = &self.record {
            let seconds = self.since.elapsed().as_secs();
            tracing::info!(record, seconds, "slow handler returned");
        }
    }
}
