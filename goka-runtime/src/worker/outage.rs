//! When it counts as an outage that the log does not take what is written. Commits that fail during a
//! rebalance are expected, so only failures that last count: one commit that waited for a broker, or one
//! after the other that is refused at once, as by a full disk. Knows no thread and asks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::log::Failure;
use crate::record::TaskId;

/// What failed for a shorter time may be a rebalance.
pub(super) const LONG: Duration = Duration::from_secs(5);

/// What is known of an outage; it outlives a client that dies in it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Whether it was logged.
    pub(super) is_logged: bool,
    /// The tasks that could not write and have not written since; whether it was their records that
    /// failed, and not only their offsets.
    pub(super) tasks: BTreeMap<TaskId, bool>,
    /// Since when the commits of a task fail; whether its records do, and not only its offsets.
    failing: BTreeMap<TaskId, (Instant, bool)>,
    /// Since when the member is degraded: it may own nothing then, and write nothing that could fail.
    pub(super) degraded_since: Option<Instant>,
    /// The topics that were logged as short of replicas.
    pub(super) short_topics: BTreeSet<String>,
    /// Whether any was when last asked.
    pub(super) is_short: bool,
    /// Whether a thread asks for them.
    pub(super) is_watched: bool,
}

impl Outage {
    /// Whether there is one, or may be.
    pub(super) fn lasts(&self) -> bool {
        self.is_long() || self.degraded_since.is_some()
    }

    /// Whether it has lasted for so long that brokers are asked about replicas.
    pub(super) fn is_long(&self) -> bool {
        let is_long = |since: Instant| since.elapsed() >= LONG;
        self.is_logged || self.is_short || self.degraded_since.is_some_and(is_long)
    }

    /// Whether what was logged is over, now that a task has written. Other partitions of a topic may have
    /// taken records all the time, and the tasks that wrote to the short one may be owned elsewhere by now.
    pub(super) fn is_over(&self) -> bool {
        let was_logged = self.is_logged || !self.short_topics.is_empty();
        was_logged && !self.is_short && self.tasks.is_empty()
    }

    /// It is over; says whether that is to be logged.
    pub(super) fn end_if_over(&mut self) -> bool {
        let is_over = self.is_over();
        if is_over {
            self.is_logged = false;
            self.short_topics.clear();
        }
        is_over
    }

    /// Forgets it, when the processor ends.
    pub(super) fn forget(&mut self) {
        *self = Self {
            is_watched: self.is_watched,
            ..Self::default()
        };
    }

    /// Forgets tasks that are not owned any more: their commits are seen elsewhere.
    pub(super) fn keep(&mut self, owned: &BTreeSet<TaskId>) {
        self.tasks.retain(|task, _| owned.contains(task));
        self.failing.retain(|task, _| owned.contains(task));
    }

    /// Takes the outcome of one task's part of a commit that had waited for `waited` at `now`; gives back
    /// the failure if that makes an outage.
    pub(super) fn take<'f>(
        &mut self,
        task: TaskId,
        records: Option<Result<(), &'f Failure>>,
        offsets: Result<(), &'f Failure>,
        waited: Duration,
        now: Instant,
    ) -> Option<&'f Failure> {
        let of_records = records.is_some_and(|records| records.is_err());
        let outcome = records.unwrap_or(Ok(())).and(offsets);
        let waited = match outcome {
            Err(failure) if may_recover(failure) => {
                let (since, records) = self.failing.entry(task).or_insert((now, false));
                *records |= of_records;
                waited.max(now.saturating_duration_since(*since))
            }
            // Offsets alone show nothing of a topic that does not take records.
            Ok(()) if records.is_none() && self.failing.get(&task).is_some_and(|of| of.1) => waited,
            _ => {
                self.failing.remove(&task);
                waited
            }
        };
        match outcome {
            Ok(()) => {
                if records.is_some() || self.tasks.get(&task) == Some(&false) {
                    self.tasks.remove(&task);
                }
                None
            }
            Err(failure) if waited >= LONG && may_recover(failure) => {
                *self.tasks.entry(task).or_default() |= of_records;
                Some(failure)
            }
            Err(_) => None,
        }
    }
}

/// Whether a failure may be due to the state of the log, and not to what was written or by whom.
pub(super) fn may_recover(failure: &Failure) -> bool {
    match failure {
        Failure::Unknown(_) | Failure::Abortable(_) | Failure::Retriable(_) | Failure::Fatal(_) => {
            true
        }
        Failure::Stale(_)
        | Failure::Lost(_)
        | Failure::InstanceFenced(_)
        | Failure::ProducerFenced(_)
        | Failure::Refused { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicId;

    type Outcome = Result<(), Failure>;

    #[test]
    fn a_commit_that_waited_and_failed_is_an_outage_until_its_task_writes() {
        let (ok, unknown): (Outcome, Outcome) = (Ok(()), Err(Failure::Unknown(String::new())));
        let fatal: Outcome = Err(Failure::Fatal(String::new()));
        let (stale, lost): (Outcome, Outcome) = (
            Err(Failure::Stale(String::new())),
            Err(Failure::Lost(String::new())),
        );
        let (soon, late) = (Duration::from_secs(1), LONG);
        // The outcome of records and offsets, after how long; whether it is an outage, and the tasks left.
        let rows: [(Option<&Outcome>, &Outcome, Duration, bool, usize); 11] = [
            (Some(&unknown), &ok, soon, false, 0),
            (Some(&stale), &lost, late, false, 0),
            (Some(&ok), &ok, late, false, 0),
            (Some(&unknown), &ok, late, true, 1),
            (None, &ok, soon, false, 1),
            (Some(&unknown), &ok, soon, false, 1),
            (Some(&ok), &unknown, late, true, 1),
            (Some(&ok), &ok, soon, false, 0),
            (None, &unknown, late, true, 1),
            (None, &ok, soon, false, 0),
            (Some(&fatal), &fatal, late, true, 1),
        ];
        let mut outage = Outage::default();
        let (lead, partition) = (TopicId(0), 0);
        for (at, (records, offsets, waited, is_outage, left)) in (0..).zip(rows) {
            let records = records.map(|part| part.as_ref().copied());
            let offsets = offsets.as_ref().copied();
            let now = Instant::now();
            let failure = outage.take(TaskId { lead, partition }, records, offsets, waited, now);
            assert_eq!(
                (failure.is_some(), outage.tasks.len()),
                (is_outage, left),
                "row {at}"
            );
        }
    }

    #[test]
    fn commits_that_fail_at_once_for_long_are_an_outage() {
        let ok: Outcome = Ok(());
        let (full, lost): (Outcome, Outcome) = (
            Err(Failure::Retriable("the disk is full".to_owned())),
            Err(Failure::Lost(String::new())),
        );
        let (lead, partition) = (TopicId(0), 0);
        let began = Instant::now();
        // The outcome of records and offsets, how many seconds after the first; whether it is an outage.
        let rows: [(Option<&Outcome>, &Outcome, u64, bool); 15] = [
            (None, &full, 0, false),
            (None, &full, 4, false),
            (None, &ok, 5, false),
            (None, &full, 6, false),
            (None, &lost, 10, false),
            (None, &full, 12, false),
            (None, &full, 16, false),
            (None, &full, 17, true),
            (None, &ok, 18, false),
            // Its start offsets find room each time, its records do not.
            (Some(&full), &ok, 20, false),
            (None, &ok, 22, false),
            (Some(&full), &ok, 24, false),
            (None, &ok, 25, false),
            (Some(&full), &ok, 26, true),
            (Some(&ok), &ok, 27, false),
        ];
        let mut outage = Outage::default();
        for (at, (records, offsets, after, is_outage)) in (0..).zip(rows) {
            let now = began + Duration::from_secs(after);
            let records = records.map(|part| part.as_ref().copied());
            let offsets = offsets.as_ref().copied();
            let task = TaskId { lead, partition };
            let failure = outage.take(task, records, offsets, Duration::ZERO, now);
            assert_eq!(failure.is_some(), is_outage, "row {at}");
        }
        assert!(outage.tasks.is_empty() && outage.failing.is_empty());
    }

    #[test]
    fn an_outage_lasts_while_replicas_are_short() {
        let mut outage = Outage::default();
        assert!(!outage.lasts() && !outage.is_over());
        outage.degraded_since = Some(Instant::now());
        assert!(outage.lasts() && !outage.is_long());
        (outage.degraded_since, outage.is_logged) = (None, true);
        assert!(outage.is_long() && outage.is_over());
        outage.is_short = true;
        outage.short_topics.insert("topic".to_owned());
        assert!(outage.is_long() && !outage.is_over());
        outage.is_logged = false;
        assert!(outage.is_long() && !outage.is_over());
        outage.is_short = false;
        assert!(!outage.lasts() && outage.is_over());
    }
}
