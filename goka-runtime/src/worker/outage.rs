//! One warning when the log does not take what is written, one for each topic that is found short of
//! replicas meanwhile, and one line when writing goes on. Commits that fail during a rebalance are
//! expected, so only failures that lasted count: one commit that waited for a broker, or one after the
//! other that a full disk refuses at once.
//!
//! Which topics are short is asked on a thread of its own, again and again until the outage is over:
//! the brokers that know may be the ones away, a dead replica counts as in sync for a while, and a
//! member that waits for its transactional id writes nothing that could fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Worker, WorkerConfig, WorkerState};
use crate::log::{CommitOutcome, Failure, LogError, TopicInfo};
use crate::record::TaskId;

/// What failed for a shorter time may be a rebalance.
const WAITED: Duration = Duration::from_secs(5);

/// How long after an answer it is asked again which topics are short of replicas.
const AGAIN: Duration = Duration::from_secs(3);

/// How soon whoever asks sees that there is nothing to ask for any more.
const GLANCE: Duration = Duration::from_millis(100);

/// What was told of an outage; it outlives a client that dies in it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    told: bool,
    /// The tasks that could not write and have not written since; whether it was their records that
    /// failed, and not only their offsets.
    tasks: BTreeMap<TaskId, bool>,
    /// Since when the commits of a task fail; whether its records do, and not only its offsets.
    failing: BTreeMap<TaskId, (Instant, bool)>,
    /// Since when the member is in trouble: it may be kept from owning anything.
    trouble: Option<Instant>,
    /// The topics that were told to be short of replicas.
    short: BTreeSet<String>,
    /// Whether any was when last asked.
    is_short: bool,
    /// Whether a thread asks for them.
    is_asked: bool,
}

impl Outage {
    fn lasts(&self) -> bool {
        self.waited() || self.trouble.is_some()
    }

    /// Whether it lasts for so long that it is worth a question.
    fn waited(&self) -> bool {
        let is_long = |since: Instant| since.elapsed() >= WAITED;
        self.told || self.is_short || self.trouble.is_some_and(is_long)
    }

    /// Whether what was told is over, now that somebody has written. A part of a topic may take records
    /// all the time, and the tasks that wrote to the other may be somebody else's by now.
    fn is_over(&self) -> bool {
        let was_told = self.told || !self.short.is_empty();
        was_told && !self.is_short && self.tasks.is_empty()
    }

    /// Takes what became of one task's part of a unit that took so long until `now`; gives back why
    /// that waited in vain.
    fn take<'f>(
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
            Err(failure) if may_heal(failure) => {
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
            Err(failure) if waited >= WAITED && may_heal(failure) => {
                *self.tasks.entry(task).or_default() |= of_records;
                Some(failure)
            }
            Err(_) => None,
        }
    }
}

impl WorkerState {
    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody hears any more of an outage.
    pub(super) fn forget_outage(&self) {
        let mut outage = self.outage();
        *outage = Outage {
            is_asked: outage.is_asked,
            ..Outage::default()
        };
    }
}

impl Worker {
    /// Tells what a settlement shows of the log's state, when that or an append took so long.
    pub(super) fn tell(&self, settlement: &CommitOutcome, waited: Duration) {
        let mut outage = self.parts.signals.outage();
        // Nobody here hears any more of a task that was given back.
        let owned: BTreeSet<TaskId> = self.core.tasks().map(|(task, ..)| task).collect();
        outage.tasks.retain(|task, _| owned.contains(task));
        outage.failing.retain(|task, _| owned.contains(task));
        let now = Instant::now();
        let (acks, offsets) = (&settlement.acks, &settlement.offsets);
        let (mut written, mut why) = (false, None);
        let tasks: BTreeSet<_> = acks.keys().chain(offsets.keys()).collect();
        for task in tasks {
            let records = acks.get(task).map(|ack| ack.as_ref().map(drop));
            let offsets = offsets
                .get(task)
                .map_or(Ok(()), |set| set.as_ref().copied());
            written |= records.unwrap_or(Ok(())).and(offsets).is_ok();
            let stuck = outage.take(*task, records, offsets, waited, now);
            why = why.or(stuck);
        }
        match why {
            Some(failure) => self.fails(outage, failure),
            None if written && outage.is_over() => {
                (outage.told, outage.short) = (false, BTreeSet::new());
                let group = &*self.parts.plan.group.name;
                tracing::info!(group, "writing goes on");
            }
            None => {}
        }
    }

    /// Tells that a transaction could not be ended: nobody has written then.
    pub(super) fn tell_unended(&self, failure: &Failure, waited: Duration) {
        if waited >= WAITED && may_heal(failure) {
            let mut outage = self.parts.signals.outage();
            let tasks = self.core.tasks().map(|(task, ..)| (task, true));
            outage.tasks.extend(tasks);
            self.fails(outage, failure);
        }
    }

    /// Takes that the member is in trouble, or no more.
    pub(super) fn tell_trouble(&self, is_troubled: bool) {
        let mut outage = self.parts.signals.outage();
        outage.trouble = is_troubled.then(Instant::now);
        ask(&self.parts, outage);
    }

    fn fails(&self, mut outage: MutexGuard<'_, Outage>, failure: &Failure) {
        if !std::mem::replace(&mut outage.told, true) {
            let group = &*self.parts.plan.group.name;
            tracing::warn!(group, %failure, "what is written is not taken, trying again");
        }
        ask(&self.parts, outage);
    }
}

/// Whether a failure may be the log's state, and not what was written or by whom.
fn may_heal(failure: &Failure) -> bool {
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

/// Has a thread ask for as long as the outage lasts, unless one does. On a clock that stands still
/// nothing lasts.
fn ask(parts: &Arc<WorkerConfig>, mut outage: MutexGuard<'_, Outage>) {
    if outage.is_asked || !outage.lasts() || parts.clock.is_simulated() {
        return;
    }
    let theirs = Arc::clone(parts);
    let asker = thread::Builder::new().name("goka-outage".to_owned());
    // Without a thread now there may be one at the next failure.
    outage.is_asked = asker.spawn(move || ask_on(&theirs)).is_ok();
}

fn ask_on(parts: &WorkerConfig) {
    let mut next = Instant::now();
    loop {
        let mut outage = parts.signals.outage();
        if parts.signals.stops() || !outage.lasts() {
            outage.is_asked = false;
            return;
        }
        let is_due = outage.waited() && Instant::now() >= next;
        drop(outage);
        if is_due {
            match short(parts) {
                Ok(topics) => tell_short(parts, &topics),
                Err(error) => tracing::debug!(%error, "replicas in sync are not known"),
            }
            next = Instant::now() + AGAIN;
        }
        thread::park_timeout(GLANCE);
    }
}

/// The topics with fewer replicas in sync than they ask for, as far as the log says so now.
fn short(parts: &WorkerConfig) -> Result<Vec<TopicInfo>, LogError> {
    let topics = &parts.plan.group.topics;
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    let found = parts.log.describe(&names)?.into_iter().flatten();
    Ok(found
        .filter(|topic| topic.in_sync < topic.min_in_sync)
        .collect())
}

fn tell_short(parts: &WorkerConfig, topics: &[TopicInfo]) {
    let group = &*parts.plan.group.name;
    let mut outage = parts.signals.outage();
    outage.is_short = !topics.is_empty() && outage.lasts();
    for topic in topics {
        let (name, has, wants) = (&topic.name, topic.in_sync, topic.min_in_sync);
        if outage.is_short && outage.short.insert(name.clone()) {
            let s = if has == 1 { "" } else { "s" };
            let short = format!(
                "topic `{name}` has {has} replica{s} in sync and asks for {wants} \
                 (min.insync.replicas): start its brokers"
            );
            tracing::warn!(
                group,
                short,
                "what is written is not taken for want of replicas"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TopicId;

    type Part = Result<(), Failure>;

    #[test]
    fn what_waited_in_vain_is_an_outage_until_it_is_written() {
        let (ok, unknown): (Part, Part) = (Ok(()), Err(Failure::Unknown(String::new())));
        let fatal: Part = Err(Failure::Fatal(String::new()));
        let (stale, lost): (Part, Part) = (
            Err(Failure::Stale(String::new())),
            Err(Failure::Lost(String::new())),
        );
        let (soon, late) = (Duration::from_secs(1), WAITED);
        // What became of records and offsets, after how long; whether that tells, and the tasks left.
        let rows: [(Option<&Part>, &Part, Duration, bool, usize); 11] = [
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
        for (at, (records, offsets, waited, tells, left)) in (0..).zip(rows) {
            let records = records.map(|part| part.as_ref().copied());
            let offsets = offsets.as_ref().copied();
            let now = Instant::now();
            let told = outage.take(TaskId { lead, partition }, records, offsets, waited, now);
            assert_eq!(
                (told.is_some(), outage.tasks.len()),
                (tells, left),
                "row {at}"
            );
        }
    }

    #[test]
    fn what_fails_at_once_again_and_again_is_an_outage_too() {
        let ok: Part = Ok(());
        let (full, lost): (Part, Part) = (
            Err(Failure::Retriable("the disk is full".to_owned())),
            Err(Failure::Lost(String::new())),
        );
        let (lead, partition) = (TopicId(0), 0);
        let began = Instant::now();
        // What became of records and offsets, how many seconds after the first; whether that tells.
        let rows: [(Option<&Part>, &Part, u64, bool); 15] = [
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
        for (at, (records, offsets, after, tells)) in (0..).zip(rows) {
            let now = began + Duration::from_secs(after);
            let records = records.map(|part| part.as_ref().copied());
            let offsets = offsets.as_ref().copied();
            let task = TaskId { lead, partition };
            let told = outage.take(task, records, offsets, Duration::ZERO, now);
            assert_eq!(told.is_some(), tells, "row {at}");
        }
        assert!(outage.tasks.is_empty() && outage.failing.is_empty());
    }

    #[test]
    fn an_outage_lasts_while_replicas_are_short() {
        let mut outage = Outage::default();
        assert!(!outage.lasts() && !outage.is_over());
        outage.trouble = Some(Instant::now());
        assert!(outage.lasts() && !outage.waited());
        (outage.trouble, outage.told) = (None, true);
        assert!(outage.waited() && outage.is_over());
        outage.is_short = true;
        outage.short.insert("topic".to_owned());
        assert!(outage.waited() && !outage.is_over());
        outage.told = false;
        assert!(outage.waited() && !outage.is_over());
        outage.is_short = false;
        assert!(!outage.lasts() && outage.is_over());
    }
}
