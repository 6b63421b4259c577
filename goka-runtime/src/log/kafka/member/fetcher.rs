//! Fetching: positions in, batches and offset gaps out. It owns the queue to which each fetched partition
//! is forwarded, and knows which inputs are in the client's assignment.

mod in_hand;
mod inputs;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::super::{Driver, Epoch, Fetched, Group, LogError, MemberEvent, OffsetGap};
use super::super::codes::is_fetched_again;
use super::super::native::{Client, Code, Fault, List, Message, PartitionError, Queue};
use super::super::offsets;
use super::super::reader::read_error;
use super::assignment::task_of;
use super::health::Health;
use crate::record::{Offset, Record, TaskId, TopicId};
use in_hand::InHand;
use inputs::{FetchState, Inputs};

/// How long moving a partition may take. It involves only threads of this process.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);

/// The interval between two questions for positions while something is fetched.
const SHORTEST: Duration = Duration::from_millis(50);

/// While nothing is fetched, the interval is doubled up to this.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) struct Fetcher {
    group: Arc<Group>,
    records: Queue,
    inputs: Inputs,
    in_hand: InHand,
    gaps: GapSchedule,
    is_paused: bool,
}

impl Fetcher {
    pub(super) fn new(client: &Client, group: Arc<Group>) -> Self {
        Self {
            group,
            records: client.new_queue(),
            inputs: Inputs::default(),
            in_hand: InHand::default(),
            gaps: GapSchedule::new(Instant::now()),
            is_paused: false,
        }
    }

    fn client(&self) -> &Client {
        self.records.client()
    }

    /// Whether records may come.
    pub(super) fn is_active(&self) -> bool {
        !self.is_paused && !self.inputs.is_empty()
    }

    /// Stops and restarts the intake. What was fetched stays in hand and in the queue, which the client
    /// bounds.
    pub(super) fn pause(&mut self, paused: bool) {
        self.is_paused = paused;
    }

    /// Starts fetching inputs of a task, or moves them. `is_revoking` says whether a revocation was taken
    /// from the client and is not answered.
    pub(super) fn fetch(
        &mut self,
        task: TaskId,
        epoch: Epoch,
        positions: &[(TopicId, Offset)],
        is_revoking: impl Fn() -> bool,
    ) -> Result<(), LogError> {
        for (topic, _) in positions {
            // These are not the records that come next.
            self.in_hand.forget_input(task, *topic);
        }
        let moved = self.move_inputs(task, positions, is_revoking);
        let failed =
            |fault| LogError::client(format!("fetching partition {}", task.partition), fault);
        if moved.map_err(failed)? {
            self.inputs.start(task, epoch, positions);
        }
        Ok(())
    }

    /// Adds inputs to the client's assignment, and seeks those that are in it. Returns whether it did: with
    /// a revocation pending the task's partitions may be going away.
    fn move_inputs(
        &self,
        task: TaskId,
        positions: &[(TopicId, Offset)],
        is_revoking: impl Fn() -> bool,
    ) -> Result<bool, Fault> {
        let (mut add, mut drop_first, mut seek) = (List::new(), List::new(), List::new());
        for (input, offset) in positions {
            let topic = self.group.topic(*input);
            let list = match self.inputs.state(task, *input) {
                Some(FetchState::Fetching(_) | FetchState::Paused) => &mut seek,
                Some(FetchState::Failed) => {
                    drop_first.add(topic, task.partition)?;
                    &mut add
                }
                None => &mut add,
            };
            list.add_with(topic, task.partition, *offset, "")?;
        }
        if !drop_first.is_empty() {
            // Taken out now, they would answer the revocation.
            if is_revoking() {
                return Ok(false);
            }
            self.client().incremental_unassign(&drop_first)?;
            // The client stops them asynchronously, and cuts them off from our queue when it is done: a
            // partition that is forwarded before that would never arrive. A seek is refused after that.
            drop(self.client().seek(&drop_first, SEEK_TIMEOUT));
        }
        if !add.is_empty() {
            self.await_cleared_positions(&add)?;
            for place in add.places() {
                self.client().forward(&place.at, &self.records)?;
            }
            // A partition that was released and then taken away is still paused: librdkafka keeps
            // that over assignments.
            self.client().resume(&add);
            self.client().incremental_assign(&add)?;
        }
        if !seek.is_empty() {
            self.client().resume(&seek);
            self.seek(&seek)?;
        }
        Ok(true)
    }

    /// Waits until librdkafka has cleared the positions of partitions that were taken from the client
    /// before. It does so asynchronously; positions reported afterwards belong to the new assignment.
    fn await_cleared_positions(&self, list: &List) -> Result<(), Fault> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        let places: Vec<_> = list.places().into_iter().map(|place| place.at).collect();
        loop {
            // A list of its own: the answer overwrites the offsets.
            let positions = self.client().positions(&offsets::list(&places, -1001)?);
            match positions.iter().any(|place| place.offset >= 0) {
                false => return Ok(()),
                true if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                true => {
                    return Err(Fault {
                        code: Code::State,
                        reason: "the client is not done with its last assignment".to_owned(),
                    });
                }
            }
        }
    }

    /// Moves partitions. One that was just added is refused until the client is ready for it.
    fn seek(&self, list: &List) -> Result<(), Fault> {
        let deadline = Instant::now() + SEEK_TIMEOUT;
        loop {
            match self.client().seek(list, SEEK_TIMEOUT) {
                Err(fault) if fault.code == Code::State && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                done => return done,
            }
        }
    }

    /// Stops fetching a task that stays owned. It is paused in the client: while a revocation is
    /// unanswered, taking its partitions out would answer that.
    pub(super) fn release(&mut self, task: TaskId) {
        self.in_hand.forget(task);
        let paused = self.inputs.pause(task);
        let list = self.list(paused.into_iter().map(|topic| (task, topic)));
        if !list.is_empty() {
            self.client().pause(&list);
        }
    }

    /// Forgets a task that is not owned any more. Returns its inputs in the client's assignment.
    pub(super) fn forget(&mut self, task: TaskId) -> Vec<(TaskId, TopicId)> {
        self.in_hand.forget(task);
        let inputs = self.inputs.remove(task);
        inputs.into_iter().map(|topic| (task, topic)).collect()
    }

    pub(super) fn list(&self, inputs: impl IntoIterator<Item = (TaskId, TopicId)>) -> List {
        let mut list = List::new();
        for (task, topic) in inputs {
            // Refused only for a NUL in the name, and this one is of a topic that was added before.
            drop(list.add(self.group.topic(topic), task.partition));
        }
        list
    }

    pub(super) fn assigned(&self) -> List {
        self.list(self.inputs.all())
    }

    /// Hands over what was fetched, first what the driver left, and then offset gaps; returns whether the
    /// driver got anything.
    pub(super) fn poll(
        &mut self,
        wait: Duration,
        health: &mut Health,
        driver: &mut dyn Driver,
    ) -> bool {
        let (group, inputs) = (&self.group, &self.inputs);
        let errors = self
            .in_hand
            .refill(&self.records, wait, |topic, partition| {
                owner(group, inputs, topic, partition)
            });
        let mut reported = self.report_errors(errors, health, driver);
        reported |= self.hand_over(health, driver);
        if reported {
            self.gaps.made_progress(Instant::now());
        }
        if self.gaps.is_due(Instant::now()) {
            let found = self.report_gaps(driver);
            self.gaps.asked(found, Instant::now());
            reported |= found;
        }
        reported
    }

    /// Reports how far the client has come behind the records that were handed over: over control
    /// records, and so over the aborted records before them.
    ///
    /// End-of-partition events would show the same, but batches that hold one leave the client's
    /// position one too far, and fetching resumes there after the next rebalance: a record is lost.
    fn report_gaps(&mut self, driver: &mut dyn Driver) -> bool {
        // The client counts records in hand as read, and they are not handled.
        let fetching = self.inputs.fetching();
        let fetching = self.list(fetching.filter(|(task, topic)| !self.in_hand.has(*task, *topic)));
        let mut found = false;
        for place in self.client().positions(&fetching) {
            let to = place.offset;
            let at = &place.at;
            let owner = owner(&self.group, &self.inputs, &at.topic, at.partition);
            if let Some((task, epoch, topic)) = owner
                && let Some(from) = self.inputs.advance(task, topic, to)
            {
                found = true;
                driver.event(MemberEvent::OffsetGap(OffsetGap {
                    task,
                    epoch,
                    topic,
                    from,
                    to,
                }));
            }
        }
        found
    }

    /// Hands over the runs until the driver leaves records of one; returns whether the driver got anything.
    fn hand_over(&mut self, health: &mut Health, driver: &mut dyn Driver) -> bool {
        let mut reported = false;
        let mut records: Vec<Record<'_>> = Vec::new();
        while let Some(run) = self.in_hand.runs.front() {
            let (task, epoch, topic) = (run.task, run.epoch, run.topic);
            let messages = &self.in_hand.batch.messages()[run.messages.clone()];
            let first = &messages[0];
            match first.error() {
                Some(code) if is_fetched_again(code) => {
                    reported |= health.fetch_failed(first.error_text(), Instant::now(), driver);
                    self.in_hand.runs.pop_front();
                    continue;
                }
                Some(code) => {
                    reported = true;
                    let at = self.group.place(topic, task.partition);
                    let error = read_error(code, &at, first.offset(), first.error_text());
                    self.inputs.fail(task, topic);
                    driver.event(MemberEvent::InputFailed { task, topic, error });
                    // Nothing of the input behind the error may be handled.
                    self.in_hand.runs.retain(|run| !run.is_of(task, topic));
                    continue;
                }
                None => reported = true,
            }
            records.clear();
            records.extend(messages.iter().map(Message::record));
            let taken = driver.batch(Fetched {
                task,
                epoch,
                topic,
                records: &records,
            });
            if let Some(last) = taken.checked_sub(1).and_then(|last| messages.get(last)) {
                self.inputs.advance(task, topic, last.offset() + 1);
            }
            if taken < messages.len() {
                records.clear();
                self.in_hand.left(taken);
                return true;
            }
            self.in_hand.runs.pop_front();
        }
        self.in_hand.batch.clear();
        reported
    }

    /// Reports errors of partitions that came beside the messages.
    fn report_errors(
        &mut self,
        errors: Vec<PartitionError>,
        health: &mut Health,
        driver: &mut dyn Driver,
    ) -> bool {
        let mut reported = false;
        for PartitionError { at, fault } in errors {
            let owner = owner(&self.group, &self.inputs, &at.topic, at.partition);
            if is_fetched_again(fault.code) {
                reported |= health.fetch_failed(fault.reason, Instant::now(), driver);
            } else if let Some((task, _, topic)) = owner {
                reported = true;
                let error = read_error(fault.code, &at, 0, fault.reason);
                self.inputs.fail(task, topic);
                driver.event(MemberEvent::InputFailed { task, topic, error });
            }
        }
        reported
    }
}

/// The task whose input or joined table a partition is, if that is fetched.
fn owner(
    group: &Group,
    inputs: &Inputs,
    topic: &str,
    partition: i32,
) -> Option<(TaskId, Epoch, TopicId)> {
    let (task, topic) = task_of(group, topic, partition)?;
    Some((task, inputs.epoch_of(task, topic)?, topic))
}

/// When the client is asked for its positions, which show offset gaps.
struct GapSchedule {
    next: Instant,
    interval: Duration,
}

impl GapSchedule {
    fn new(now: Instant) -> Self {
        Self {
            next: now,
            interval: SHORTEST,
        }
    }

    fn made_progress(&mut self, now: Instant) {
        self.interval = SHORTEST;
        self.next = self.next.min(now + SHORTEST);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// The client was asked, and a gap was found or not.
    fn asked(&mut self, found: bool, now: Instant) {
        self.interval = match found {
            true => SHORTEST,
            false => (self.interval * 2).min(LONGEST),
        };
        self.next = now + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_asked_more_and_more_seldom_until_something_is_fetched() {
        let mut now = Instant::now();
        let mut schedule = GapSchedule::new(now);
        assert!(schedule.is_due(now));
        for millis in [100, 200, 400, 800, 1000, 1000] {
            schedule.asked(false, now);
            let interval = Duration::from_millis(millis);
            assert!(!schedule.is_due(now + interval - Duration::from_millis(1)));
            now += interval;
            assert!(schedule.is_due(now));
        }
        schedule.asked(false, now);
        schedule.made_progress(now);
        assert!(!schedule.is_due(now));
        assert!(schedule.is_due(now + SHORTEST));
        schedule.asked(true, now);
        assert!(schedule.is_due(now + SHORTEST));
    }
}
