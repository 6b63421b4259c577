//! What the commits of a worker and its member show of the log's state: one warning when the log does not
//! take what is written, one for each topic that is short of replicas meanwhile, and one line when writes
//! are accepted again.
//!
//! A thread of its own asks which topics are short until the outage is over: the brokers that know may be
//! the unavailable ones, a dead replica counts as in sync for a while, and a member that waits for its
//! transactional id writes nothing that could fail.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::config::WorkerConfig;
use super::outage::{LONG, Outage, may_recover};
use super::state::WorkerState;
use crate::core::Plan;
use crate::lock::lock;
use crate::log::{CommitOutcome, Failure, Log, LogError, TopicInfo};
use crate::record::TaskId;
use crate::text::counted;

/// How long after an answer it is asked again which topics are short of replicas.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// How often the thread that asks looks whether the outage is over.
const LOOK: Duration = Duration::from_millis(100);

/// The log's state, as far as one client has seen it.
pub(super) struct LogHealth {
    watched: Arc<Watched>,
    is_degraded: bool,
    /// The longest that an append waited since the last commit.
    longest_append: Duration,
}

/// What the thread needs that asks for replicas.
struct Watched {
    log: Arc<dyn Log>,
    plan: Arc<Plan>,
    state: Arc<WorkerState>,
    /// On a simulated clock nothing lasts.
    is_simulated: bool,
}

impl LogHealth {
    /// For a new member: it is not degraded, whatever the one before was.
    pub(super) fn new(config: &WorkerConfig) -> Self {
        let health = Self {
            watched: Arc::new(Watched {
                log: Arc::clone(&config.log),
                plan: Arc::clone(&config.plan),
                state: Arc::clone(&config.state),
                is_simulated: config.clock.is_simulated(),
            }),
            is_degraded: false,
            longest_append: Duration::ZERO,
        };
        health.set_degraded(false);
        health
    }

    /// The member says that the log does not serve it, or that it does again.
    pub(super) fn degraded(&mut self, reason: Option<&str>) {
        let was_degraded = std::mem::replace(&mut self.is_degraded, reason.is_some());
        match reason {
            Some(reason) if !was_degraded => {
                tracing::warn!(%reason, "log unavailable, resuming when it recovers");
                self.set_degraded(true);
            }
            None if was_degraded => {
                tracing::info!("log available again");
                self.set_degraded(false);
            }
            _ => {}
        }
    }

    fn set_degraded(&self, is_degraded: bool) {
        let mut outage = self.outage();
        outage.degraded_since = is_degraded.then(Instant::now);
        self.watch(outage);
    }

    /// An append to the log took so long.
    pub(super) fn appended(&mut self, took: Duration) {
        self.longest_append = self.longest_append.max(took);
    }

    /// A commit took so long and ended so, for a worker that owns these tasks.
    pub(super) fn committed(
        &mut self,
        outcome: &CommitOutcome,
        took: Duration,
        owned: &BTreeSet<TaskId>,
    ) {
        let waited = std::mem::take(&mut self.longest_append).max(took);
        let mut outage = self.outage();
        outage.keep(owned);
        let now = Instant::now();
        let (acks, offsets) = (&outcome.acks, &outcome.offsets);
        let (mut has_written, mut failure) = (false, None);
        let tasks: BTreeSet<_> = acks.keys().chain(offsets.keys()).collect();
        for task in tasks {
            let records = acks.get(task).map(|ack| ack.as_ref().map(drop));
            let offsets = offsets
                .get(task)
                .map_or(Ok(()), |set| set.as_ref().copied());
            has_written |= records.unwrap_or(Ok(())).and(offsets).is_ok();
            let of_task = outage.take(*task, records, offsets, waited, now);
            failure = failure.or(of_task);
        }
        match failure {
            Some(failure) => self.begin_outage(outage, failure),
            None if has_written && outage.end_if_over() => {
                let group = &*self.watched.plan.group.name;
                tracing::info!(group, "writes accepted again");
            }
            None => {}
        }
    }

    /// An abort failed after so long: no task has written then.
    pub(super) fn abort_failed(
        &self,
        failure: &Failure,
        took: Duration,
        owned: impl Iterator<Item = TaskId>,
    ) {
        if took >= LONG && may_recover(failure) {
            let mut outage = self.outage();
            outage.tasks.extend(owned.map(|task| (task, true)));
            self.begin_outage(outage, failure);
        }
    }

    fn begin_outage(&self, mut outage: MutexGuard<'_, Outage>, failure: &Failure) {
        if !std::mem::replace(&mut outage.is_logged, true) {
            let group = &*self.watched.plan.group.name;
            tracing::warn!(group, %failure, "writes not accepted, trying again");
        }
        self.watch(outage);
    }

    /// Starts a thread that asks for replicas as long as the outage lasts, unless there is one.
    fn watch(&self, mut outage: MutexGuard<'_, Outage>) {
        if outage.is_watched || !outage.lasts() || self.watched.is_simulated {
            return;
        }
        let watched = Arc::clone(&self.watched);
        let thread = thread::Builder::new().name("goka-outage".to_owned());
        // Without a thread now there may be one at the next failure.
        outage.is_watched = thread.spawn(move || watched.run()).is_ok();
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        lock(&self.watched.state.outage)
    }
}

impl Watched {
    fn run(&self) {
        let mut next = Instant::now();
        loop {
            let mut outage = lock(&self.state.outage);
            if self.state.stops() || !outage.lasts() {
                outage.is_watched = false;
                return;
            }
            let is_due = outage.is_long() && Instant::now() >= next;
            drop(outage);
            if is_due {
                match self.short_topics() {
                    Ok(topics) => self.log_short(&topics),
                    Err(error) => tracing::debug!(%error, "in-sync replicas not known"),
                }
                next = Instant::now() + ASK_AGAIN;
            }
            thread::park_timeout(LOOK);
        }
    }

    /// The topics with fewer replicas in sync than they ask for, as far as the log says so now.
    fn short_topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let topics = &self.plan.group.topics;
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        let found = self.log.describe(&names)?.into_iter().flatten();
        Ok(found
            .filter(|topic| topic.in_sync < topic.min_in_sync)
            .collect())
    }

    fn log_short(&self, topics: &[TopicInfo]) {
        let group = &*self.plan.group.name;
        let mut outage = lock(&self.state.outage);
        outage.is_short = !topics.is_empty() && outage.lasts();
        for topic in topics {
            let (name, wanted) = (&topic.name, topic.min_in_sync);
            if outage.is_short && outage.short_topics.insert(name.clone()) {
                let replicas = counted(topic.in_sync, "replica");
                let short = format!(
                    "topic `{name}` has {replicas} in sync and asks for {wanted} \
                     (min.insync.replicas): start its brokers"
                );
                tracing::warn!(group, short, "writes rejected: not enough in-sync replicas");
            }
        }
    }
}
