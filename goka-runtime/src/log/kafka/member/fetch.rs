//! Fetching: positions in, batches out.

use std::collections::VecDeque;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use super::super::super::{Driver, Epoch, Fetched, LogError, MemberEvent};
use super::super::client_error;
use super::super::codes::is_fetched_again;
use super::super::native::{Batch, Code, List, Message, PartitionError};
use super::super::reader::read_error;
use super::{Flow, KafkaMember, Trouble};
use crate::record::{Offset, Record, TaskId, TopicId, TopicPartition};

/// How many messages are taken at once.
const BATCH: usize = 2_000;

/// How often the client is asked where it has come to while something is fetched; more and more seldom,
/// up to the second of them, while nothing is.
pub(super) const POSITIONS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// After so long without a fetch that fails they are taken to succeed again. librdkafka waits half a
/// second between two.
const QUIET: Duration = Duration::from_secs(5);

/// Fetches that fail and are made again by the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failing {
    since: Instant,
    last: Instant,
}

/// How long moving a partition may take: it is a matter between threads.
const SEEK_WAIT: Duration = Duration::from_secs(2);

/// What was taken from the client's queue, and what of it the driver did not take yet.
#[derive(Default)]
pub(super) struct InHand {
    batch: Batch,
    runs: VecDeque<Run>,
}

/// Records of one input of one task that follow each other in a batch, or one failure.
struct Run {
    task: TaskId,
    epoch: Epoch,
    topic: TopicId,
    messages: Range<usize>,
}

impl InHand {
    /// Drops what there is of a task.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.runs.retain(|run| run.task != task);
    }

    fn has(&self, task: TaskId, topic: TopicId) -> bool {
        let mut runs = self.runs.iter();
        runs.any(|run| (run.task, run.topic) == (task, topic))
    }
}

impl KafkaMember {
    /// Starts fetching, or moves what was released.
    pub(super) fn start(
        &mut self,
        id: TaskId,
        positions: &[(TopicId, Offset)],
    ) -> Result<(), LogError> {
        // What the group took meanwhile is seen before the assignment is touched.
        self.events.pull(Duration::ZERO);
        let Some(task) = self.tasks.get(&id).filter(|task| task.known) else {
            return Err(LogError::Client {
                what: format!("fetching partition {}", id.partition),
                reason: "it is not owned".to_owned(),
            });
        };
        // These are not the records that come next.
        let moved = |run: &Run| run.task == id && positions.iter().any(|(of, _)| *of == run.topic);
        self.in_hand.runs.retain(|run| !moved(run));
        let (mut add, mut drop_first, mut seek) = (List::new(), List::new(), List::new());
        let failed = |fault| client_error(format!("fetching partition {}", id.partition), fault);
        for (input, offset) in positions {
            let topic = self.group.topic(*input);
            let list = match task.added.get(input) {
                Some(Flow::On(_) | Flow::Off) => &mut seek,
                Some(Flow::Broken) => {
                    drop_first.add(topic, id.partition).map_err(failed)?;
                    &mut add
                }
                None => &mut add,
            };
            list.add_with(topic, id.partition, *offset, "")
                .map_err(failed)?;
        }
        if !drop_first.is_empty() {
            // Given back now, they would answer the revocation.
            if self.events.has_revocation() {
                return Ok(());
            }
            self.client()
                .incremental_unassign(&drop_first)
                .map_err(failed)?;
            // Stopping goes on by itself, and ends by cutting the partition off our queue: what is
            // forwarded before that would never arrive. A seek is refused once it is done.
            drop(self.client().seek(&drop_first, SEEK_WAIT));
        }
        if !add.is_empty() {
            self.forgotten(&add).map_err(failed)?;
            for place in add.places() {
                self.client()
                    .forward(&place.topic, place.partition, &self.records)
                    .map_err(failed)?;
            }
            // A partition that was released and then taken away is still paused: librdkafka keeps
            // that over assignments.
            self.client().resume(&add);
            self.client().incremental_assign(&add).map_err(failed)?;
        }
        if !seek.is_empty() {
            self.client().resume(&seek);
            self.seek(&seek).map_err(failed)?;
        }
        if let Some(task) = self.tasks.get_mut(&id) {
            let flows = positions.iter().map(|(input, at)| (*input, Flow::On(*at)));
            task.added.extend(flows);
        }
        Ok(())
    }

    /// Waits until the client has forgotten how far it had read partitions before they were taken from
    /// it, which goes on by itself: what it says of them from then on is of what is to come.
    fn forgotten(&self, list: &List) -> Result<(), super::Fault> {
        let until = Instant::now() + SEEK_WAIT;
        loop {
            // A list of its own: the answer overwrites the offsets.
            let mut asked = List::new();
            for place in list.places() {
                asked.add(&place.topic, place.partition)?;
            }
            let at = self.client().positions(&asked);
            match at.iter().any(|place| place.offset >= 0) {
                false => return Ok(()),
                true if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
                true => {
                    return Err(super::Fault {
                        code: Code::State,
                        reason: "the client is not done with its last assignment".to_owned(),
                    });
                }
            }
        }
    }

    /// Moves partitions; one that was just added is not ready at once.
    fn seek(&self, list: &List) -> Result<(), super::Fault> {
        let until = Instant::now() + SEEK_WAIT;
        loop {
            match self.client().seek(list, SEEK_WAIT) {
                Err(fault) if fault.code == Code::State && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(5));
                }
                done => return done,
            }
        }
    }

    /// Stops fetching a task that stays owned.
    pub(super) fn stop(&mut self, id: TaskId) {
        self.in_hand.forget(id);
        let mut list = List::new();
        if let Some(task) = self.tasks.get_mut(&id) {
            for (input, flow) in &mut task.added {
                if matches!(flow, Flow::On(_)) {
                    *flow = Flow::Off;
                    // The name was a topic's before, so it is one still.
                    drop(list.add(self.group.topic(*input), id.partition));
                }
            }
        }
        if !list.is_empty() {
            self.client().pause(&list);
        }
    }

    /// Hands over what was fetched, first what the driver left; tells whether it heard something.
    pub(super) fn take(&mut self, wait: Duration, driver: &mut dyn Driver) -> bool {
        let mut in_hand = std::mem::take(&mut self.in_hand);
        if in_hand.runs.is_empty() {
            in_hand.batch.fill(&self.records, BATCH, wait);
            fail_point!("after-fetch", in_hand.batch.messages().len());
            self.find_runs(&mut in_hand);
        }
        let mut told = self.lost_sight(in_hand.batch.take_errors(), driver);
        told |= self.hand_over(&mut in_hand, driver);
        self.in_hand = in_hand;
        let [least, most] = POSITIONS;
        if told {
            let soon = Instant::now() + least;
            (self.positions_every, self.next_positions) = (least, soon.min(self.next_positions));
        }
        if self.next_positions <= Instant::now() {
            let heard = self.tell_positions(driver);
            self.positions_every = match heard {
                true => least,
                false => (self.positions_every * 2).min(most),
            };
            told |= heard;
            self.next_positions = Instant::now() + self.positions_every;
        }
        told
    }

    /// Whether fetches succeed again, if the driver was told that they fail.
    pub(super) fn fetches_again(&mut self, driver: &mut dyn Driver) -> bool {
        if self.failing.is_none_or(|it| it.last.elapsed() < QUIET) {
            return false;
        }
        self.failing = None;
        self.healed(Trouble::Fetch, driver)
    }

    /// A fetch failed with what may pass: the client makes it again, and it is said when that takes
    /// too long.
    fn fetch_failed(&mut self, reason: String, driver: &mut dyn Driver) -> bool {
        let now = Instant::now();
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            last: now,
        });
        failing.last = now;
        if failing.since.elapsed() < self.config.deadline {
            tracing::debug!(reason, "a fetch failed, and is made again");
            return false;
        }
        self.in_trouble(Trouble::Fetch, reason, driver)
    }

    /// Tells where the client has come to behind the records that were handed over: over control
    /// records, and so over what they abort.
    ///
    /// Events of a partition's end would say the same, but batches that hold one leave the client's
    /// position one too far, and there it goes on after the next rebalance: a record is lost.
    fn tell_positions(&mut self, driver: &mut dyn Driver) -> bool {
        let mut fetched = List::new();
        for (id, task) in &self.tasks {
            for (input, flow) in &task.added {
                // The client counts records in hand as read, and they are not handled.
                if matches!(flow, Flow::On(_)) && !self.in_hand.has(*id, *input) {
                    // The name was a topic's before, so it is one still.
                    drop(fetched.add(self.group.topic(*input), id.partition));
                }
            }
        }
        let mut told = false;
        for place in self.client().positions(&fetched) {
            let to = place.offset;
            if let Some((task, epoch, topic)) = self.whose(&place.topic, place.partition)
                && let Some(from) = self.reached(task, topic, to)
            {
                told = true;
                driver.event(MemberEvent::OffsetGap {
                    task,
                    epoch,
                    topic,
                    from,
                    to,
                });
            }
        }
        told
    }

    /// Notes how far an input was told about; how far that was before, if it is further now.
    fn reached(&mut self, task: TaskId, topic: TopicId, to: Offset) -> Option<Offset> {
        match self.tasks.get_mut(&task)?.added.get_mut(&topic)? {
            Flow::On(at) if *at < to => Some(std::mem::replace(at, to)),
            _ => None,
        }
    }

    /// Splits a batch into records of one input of one task each.
    fn find_runs(&self, in_hand: &mut InHand) {
        let mut from = 0;
        for run in in_hand
            .batch
            .messages()
            .chunk_by(|a, b| a.same_partition(b) && a.error().is_none() && b.error().is_none())
        {
            let messages = from..from + run.len();
            from = messages.end;
            if let Some((task, epoch, topic)) = self.whose(run[0].topic(), run[0].partition()) {
                in_hand.runs.push_back(Run {
                    task,
                    epoch,
                    topic,
                    messages,
                });
            }
        }
    }

    /// Hands over the runs until the driver leaves some of one; tells whether it heard something.
    fn hand_over(&mut self, in_hand: &mut InHand, driver: &mut dyn Driver) -> bool {
        let mut told = false;
        let InHand { batch, runs } = in_hand;
        let mut records: Vec<Record<'_>> = Vec::new();
        while let Some(run) = runs.front_mut() {
            let (task, epoch, topic) = (run.task, run.epoch, run.topic);
            let messages = &batch.messages()[run.messages.clone()];
            if messages[0].error().is_some_and(is_fetched_again) {
                told |= self.fetch_failed(messages[0].error_text(), driver);
                runs.pop_front();
                continue;
            }
            told = true;
            if let Some(code) = messages[0].error() {
                let (offset, words) = (messages[0].offset(), messages[0].error_text());
                self.broken(task, topic, driver, |at| {
                    read_error(code, at, offset, words)
                });
                // The client gave the input up: nothing of it is handled behind the failure.
                runs.retain(|run| (run.task, run.topic) != (task, topic));
                continue;
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
                self.reached(task, topic, last.offset() + 1);
            }
            if taken < messages.len() {
                run.messages.start += taken;
                // The other inputs have their turn before this one has another.
                let left = |run: &Run| (run.task, run.topic) == (task, topic);
                runs.make_contiguous().sort_by_key(left);
                return true;
            }
            runs.pop_front();
        }
        batch.clear();
        told
    }

    /// Tells of partitions that the client lost sight of.
    fn lost_sight(&mut self, adrift: Vec<PartitionError>, driver: &mut dyn Driver) -> bool {
        let mut told = false;
        for lost in adrift {
            if is_fetched_again(lost.fault.code) {
                told |= self.fetch_failed(lost.fault.reason, driver);
            } else if let Some((task, _, topic)) = self.whose(&lost.topic, lost.partition) {
                told = true;
                self.broken(task, topic, driver, |at| {
                    read_error(lost.fault.code, at, 0, lost.fault.reason.clone())
                });
            }
        }
        told
    }

    fn broken(
        &mut self,
        task: TaskId,
        topic: TopicId,
        driver: &mut dyn Driver,
        error: impl FnOnce(&TopicPartition) -> LogError,
    ) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.added.insert(topic, Flow::Broken);
        }
        let at = TopicPartition::new(self.group.topic(topic).clone(), task.partition);
        let error = error(&at);
        driver.event(MemberEvent::InputFailed { task, topic, error });
    }

    /// Whose input or joined table a partition is, if that is fetched.
    fn whose(&self, name: &str, partition: i32) -> Option<(TaskId, Epoch, TopicId)> {
        let at = self
            .group
            .topics
            .iter()
            .position(|topic| **topic == *name)?;
        let topic = TopicId(u16::try_from(at).ok()?);
        let id = TaskId {
            lead: self.group.lead.unwrap_or(topic),
            partition,
        };
        let task = self.tasks.get(&id)?;
        let fetched = matches!(task.added.get(&topic), Some(Flow::On(_)));
        fetched.then_some((id, task.epoch, topic))
    }
}
