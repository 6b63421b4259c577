//! Fetching: positions in, batches out.

use std::thread;
use std::time::{Duration, Instant};

use super::super::super::{Driver, Epoch, LogError, MemberEvent};
use super::super::client_error;
use super::super::native::{Batch, Code, EventKind, List, Message};
use super::super::reader::read_error;
use super::{Flow, KafkaMember};
use crate::record::{Offset, Record, TaskId, TopicId, TopicPartition};

/// How many messages are taken at once.
const BATCH: usize = 2_000;

/// How long moving a partition may take: it is a matter between threads.
const SEEK_WAIT: Duration = Duration::from_secs(2);

impl KafkaMember {
    /// Starts fetching, or moves what was released.
    pub(super) fn start(
        &mut self,
        id: TaskId,
        positions: &[(TopicId, Offset)],
    ) -> Result<(), LogError> {
        // What the group took meanwhile is seen before the assignment is touched.
        self.pull(Duration::ZERO);
        let Some(task) = self.tasks.get(&id).filter(|task| task.known) else {
            return Err(LogError::Client {
                what: format!("fetching partition {}", id.partition),
                reason: "it is not owned".to_owned(),
            });
        };
        let (mut add, mut drop_first, mut seek) = (List::new(), List::new(), List::new());
        let failed = |fault| client_error(format!("fetching partition {}", id.partition), fault);
        for (input, offset) in positions {
            let topic = self.group.topic(*input);
            let list = match task.added.get(input) {
                Some(Flow::On | Flow::Off) => &mut seek,
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
            if self.revocation_waits() {
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
            let flows = positions.iter().map(|(input, _)| (*input, Flow::On));
            task.added.extend(flows);
        }
        Ok(())
    }

    /// Whether a revocation was taken and is not answered: what is given back now would answer it.
    fn revocation_waits(&self) -> bool {
        self.backlog
            .iter()
            .any(|(event, _)| event.kind() == EventKind::Revoke)
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
        let mut list = List::new();
        if let Some(task) = self.tasks.get_mut(&id) {
            for (input, flow) in &mut task.added {
                if *flow == Flow::On {
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

    /// Takes what was fetched; tells whether the driver heard something.
    pub(super) fn take(&mut self, wait: Duration, driver: &mut dyn Driver) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        batch.fill(&self.records, BATCH, wait);
        fail_point!("after-fetch", batch.messages().len());
        let told = self.hand_over(&batch, driver);
        batch.clear();
        self.batch = batch;
        told
    }

    fn hand_over(&mut self, batch: &Batch, driver: &mut dyn Driver) -> bool {
        let messages = batch.messages();
        let mut records: Vec<Record<'_>> = Vec::with_capacity(messages.len());
        let mut told = false;
        for run in messages
            .chunk_by(|a, b| a.same_partition(b) && a.error().is_none() && b.error().is_none())
        {
            let first = &run[0];
            let Some((task, epoch, topic)) = self.whose(first.topic(), first.partition()) else {
                continue;
            };
            told = true;
            match first.error() {
                None => {
                    records.clear();
                    records.extend(run.iter().map(Message::record));
                    driver.event(MemberEvent::Batch {
                        task,
                        epoch,
                        topic,
                        records: &records,
                    });
                }
                Some(code) => {
                    let (offset, words) = (first.offset(), first.error_text());
                    self.broken(task, topic, driver, |at| {
                        read_error(code, at, offset, words)
                    });
                }
            }
        }
        for lost in batch.adrift() {
            if let Some((task, _, topic)) = self.whose(&lost.topic, lost.partition) {
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
        driver.event(MemberEvent::Broken { task, topic, error });
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
        (task.added.get(&topic) == Some(&Flow::On)).then_some((id, task.epoch, topic))
    }
}
