//! The records taken from the client's queue, and what of them the driver did not take yet.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::super::super::super::Epoch;
use super::super::super::native::{Batch, PartitionError, Queue};
use crate::record::{TaskId, TopicId};

const BATCH: usize = 2_000;

#[derive(Default)]
pub(super) struct InHand {
    pub(super) batch: Batch,
    pub(super) runs: VecDeque<Run>,
}

/// Records of one input of one task that follow each other in a batch, or one error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) task: TaskId,
    pub(super) epoch: Epoch,
    pub(super) topic: TopicId,
    /// Indices of messages of the batch.
    pub(super) messages: Range<usize>,
}

impl Run {
    pub(super) fn is_of(&self, task: TaskId, topic: TopicId) -> bool {
        (self.task, self.topic) == (task, topic)
    }
}

impl InHand {
    /// Takes the next batch if nothing is in hand. `owner` names the task that reads a partition; records
    /// without one are dropped. Returns the errors of partitions that the fetch met.
    pub(super) fn refill(
        &mut self,
        records: &Queue,
        wait: Duration,
        owner: impl Fn(&str, i32) -> Option<(TaskId, Epoch, TopicId)>,
    ) -> Vec<PartitionError> {
        if self.runs.is_empty() {
            self.batch.fill(records, BATCH, wait);
            fail_point!("after-fetch", self.batch.messages().len());
            let mut from = 0;
            for run in self.batch.runs() {
                let messages = from..from + run.len();
                from = messages.end;
                if let Some((task, epoch, topic)) = owner(run[0].topic(), run[0].partition()) {
                    self.runs.push_back(Run {
                        task,
                        epoch,
                        topic,
                        messages,
                    });
                }
            }
        }
        self.batch.take_errors()
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        self.runs.retain(|run| run.task != task);
    }

    pub(super) fn forget_input(&mut self, task: TaskId, topic: TopicId) {
        self.runs.retain(|run| !run.is_of(task, topic));
    }

    pub(super) fn has(&self, task: TaskId, topic: TopicId) -> bool {
        self.runs.iter().any(|run| run.is_of(task, topic))
    }

    /// The driver took so many records of the first run and left the rest: the other inputs are handed
    /// over before this one again.
    pub(super) fn left(&mut self, taken: usize) {
        let Some(first) = self.runs.front_mut() else {
            return;
        };
        first.messages.start += taken;
        let (task, topic) = (first.task, first.topic);
        let runs = self.runs.make_contiguous();
        runs.sort_by_key(|run| run.is_of(task, topic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(partition: i32, messages: Range<usize>) -> Run {
        let lead = TopicId(0);
        Run {
            task: TaskId { lead, partition },
            epoch: Epoch(1),
            topic: TopicId(1),
            messages,
        }
    }

    #[test]
    fn what_the_driver_left_comes_after_the_other_inputs_in_its_order() {
        let runs = [run(0, 0..5), run(1, 5..6), run(0, 6..8), run(2, 8..9)];
        let mut in_hand = InHand {
            runs: runs.into(),
            ..InHand::default()
        };
        in_hand.left(3);
        let expected = [run(1, 5..6), run(2, 8..9), run(0, 3..5), run(0, 6..8)];
        assert_eq!(in_hand.runs, expected);
        in_hand.forget(run(0, 0..0).task);
        assert_eq!(in_hand.runs, [run(1, 5..6), run(2, 8..9)]);
        in_hand.forget_input(run(1, 0..0).task, TopicId(2));
        assert!(in_hand.has(run(1, 0..0).task, TopicId(1)));
        in_hand.forget_input(run(1, 0..0).task, TopicId(1));
        assert_eq!(in_hand.runs, [run(2, 8..9)]);
    }
}
