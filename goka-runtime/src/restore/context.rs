//! What the jobs of restores share: the log, the stores, the plan, and the queue that says which jobs wait
//! and which are cancelled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::core::recovery::RestoreFrom;
use crate::core::{CopyId, Plan, StopReason};
use crate::lock::lock;
use crate::log::{Epoch, Log, LogError};
use crate::record::{Offset, TaskId, TopicId};
use crate::reminder::Reminder;
use crate::table::{Store, StoreError, Stores};

/// How long to wait before something that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) enum Work {
    Inspect,
    /// Another program under the group's name is looked for.
    Verify,
    /// The group's own copy is brought up to its topic.
    Restore(RestoreFrom),
    /// A joined table's copy is brought up to its topic: what becomes of it is decided here, since it depends
    /// on nothing else.
    Follow,
}

pub(super) enum JobError {
    /// It is cancelled, or would wait.
    Cancelled,
    Stopped(StopReason),
}

impl From<StopReason> for JobError {
    fn from(reason: StopReason) -> Self {
        Self::Stopped(reason)
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Stopped(StopReason::Store(error))
    }
}

pub(super) type JobId = (CopyId, Epoch);

pub(super) struct Job {
    pub(super) copy: CopyId,
    pub(super) epoch: Epoch,
    pub(super) store: Option<Box<dyn Store>>,
    pub(super) work: Work,
}

impl Job {
    pub(super) fn id(&self) -> JobId {
        (self.copy, self.epoch)
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    /// The copies that a thread works on: another job for one of them waits, even if the first was
    /// cancelled, since the copy's store is open there.
    pub(super) working: BTreeSet<CopyId>,
    /// The present assignment of each task: jobs of older ones are dropped.
    pub(super) current: BTreeMap<TaskId, Epoch>,
    pub(super) failures: BTreeMap<CopyId, CopyFailures>,
    pub(super) is_closed: bool,
}

impl Queue {
    fn is_current(&self, (copy, epoch): JobId) -> bool {
        !self.is_closed && self.current.get(&copy.task) == Some(&epoch)
    }
}

pub(super) struct RestoreContext {
    pub(super) log: Arc<dyn Log>,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) plan: Arc<Plan>,
    pub(super) clock: Clock,
    /// Whether another program was looked for, before the first commit and before the first handler, and none
    /// was found.
    pub(super) are_programs_checked: [Mutex<bool>; 2],
    /// Without threads, as on a simulated clock: a job that would wait returns, and is run again later.
    pub(super) is_inline: bool,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
}

impl RestoreContext {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub(super) fn is_current(&self, job: JobId) -> bool {
        self.queue().is_current(job)
    }

    /// The topic's name and the fingerprint of the table.
    pub(super) fn definition(&self, table: TopicId) -> Result<(&str, &str), JobError> {
        let fingerprint = self.plan.fingerprint(table);
        let fingerprint = fingerprint.ok_or(JobError::Cancelled)?;
        Ok((&**self.plan.group.topic(table), fingerprint))
    }

    /// The name of a copy among the stores. `@` is in no topic's name, so a joined copy is kept apart from
    /// the table of another processor of this process.
    pub(super) fn store_name(&self, table: TopicId) -> String {
        let topic = self.plan.group.topic(table);
        match &self.plan.table {
            Some(own) if own.topic == table => topic.to_string(),
            _ => format!("{topic}@{}", self.plan.group.name),
        }
    }

    /// Waits before a retry, unless the job is not to go on.
    pub(super) fn pause(&self, job: JobId) -> Result<(), JobError> {
        if self.is_inline {
            return Err(JobError::Cancelled);
        }
        let is_wanted = |queue: &mut Queue| queue.is_current(job);
        let waited = self.wake.wait_timeout_while(self.queue(), RETRY, is_wanted);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match queue.is_current(job) {
            true => Ok(()),
            false => Err(JobError::Cancelled),
        }
    }

    /// Notes a failure at a changelog offset, unless the assignment is over: of the log, or of the store, which
    /// has the time. Says whether it is to be logged, and for how long the store has failed.
    fn note_failure(
        &self,
        (copy, epoch): JobId,
        at: Offset,
        store: Option<Duration>,
    ) -> (bool, Duration) {
        let mut queue = self.queue();
        if queue.current.get(&copy.task) != Some(&epoch) {
            return (false, Duration::ZERO);
        }
        let failures = queue.failures.entry(copy).or_default();
        failures.at = failures.at.max(at);
        let failing = store.map(|now| now.saturating_sub(*failures.store_since.get_or_insert(now)));
        (failures.reminder.is_due(), failing.unwrap_or_default())
    }

    /// Notes that a restore makes no progress; says whether that is to be logged.
    pub(super) fn should_log(&self, job: JobId, at: Offset) -> bool {
        self.note_failure(job, at, None).0
    }

    /// Notes a failure of the log, which is always retried.
    pub(super) fn log_failed(&self, job: JobId, at: Offset, doing: &str, error: &LogError) {
        if self.should_log(job, at) {
            self.warn(job.0, doing, error);
        }
    }

    /// Notes a failure of the store; says whether it is retried.
    pub(super) fn may_retry(
        &self,
        job: JobId,
        at: Offset,
        doing: &str,
        error: &StoreError,
    ) -> bool {
        if !error.may_recover() {
            return false;
        }
        let (is_due, failing) = self.note_failure(job, at, Some(self.clock.monotonic()));
        if is_due {
            self.warn(job.0, doing, error);
        }
        failing < self.plan.store_timeout
    }

    fn warn(&self, copy: CopyId, doing: &str, error: &dyn Display) {
        let (topic, partition) = (&**self.plan.group.topic(copy.table), copy.task.partition);
        tracing::warn!(topic, partition, doing, %error, "restore failed, trying again");
    }

    /// A copy has come to a changelog offset, in memory or `in_store`: if that is past its failures, they
    /// are over.
    pub(super) fn made_progress(&self, copy: CopyId, to: Offset, in_store: bool) {
        let queue = self.queue();
        let failures = queue.failures.get(&copy);
        let are_over = failures.is_some_and(|failures| {
            to > failures.at && (in_store || failures.store_since.is_none())
        });
        drop(queue);
        if are_over {
            self.recovered(copy);
        }
    }

    /// Ends the failures of a copy: it is ready, or makes progress.
    pub(super) fn recovered(&self, copy: CopyId) {
        let failures = self.queue().failures.remove(&copy);
        if failures.is_some_and(|mut failures| failures.reminder.is_over()) {
            let (topic, partition) = (&**self.plan.group.topic(copy.table), copy.task.partition);
            tracing::info!(topic, partition, "restore resumed");
        }
    }
}

/// The failures of the jobs for one copy and assignment. Kept from one job to the next: a store that lost
/// commits is inspected again, which is no progress. The log is waited for as long as the task is owned; a
/// store that fails for longer than the plan allows ends the job, as it ends a task that runs.
#[derive(Default)]
pub(super) struct CopyFailures {
    reminder: Reminder,
    /// Since when the store fails.
    store_since: Option<Duration>,
    /// The last changelog offset at which they failed.
    at: Offset,
}
