//! The inputs in the client's assignment: which are fetched, and up to which offset each was reported to
//! the driver. Knows no client.

use std::collections::BTreeMap;

use super::super::super::super::Epoch;
use crate::record::{Offset, TaskId, TopicId};

/// How an input in the client's assignment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchState {
    /// It is fetched; the driver knows of everything before this offset.
    Fetching(Offset),
    /// It is paused; records of it that still arrive are dropped.
    Paused,
    /// The client has stopped reading it because of an error.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Inputs {
    tasks: BTreeMap<TaskId, TaskInputs>,
}

#[derive(Debug)]
struct TaskInputs {
    epoch: Epoch,
    inputs: BTreeMap<TopicId, FetchState>,
}

impl Inputs {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn state(&self, task: TaskId, topic: TopicId) -> Option<FetchState> {
        self.tasks.get(&task)?.inputs.get(&topic).copied()
    }

    pub(super) fn start(&mut self, task: TaskId, epoch: Epoch, positions: &[(TopicId, Offset)]) {
        if positions.is_empty() {
            return;
        }
        let new = || TaskInputs {
            epoch,
            inputs: BTreeMap::new(),
        };
        let task = self.tasks.entry(task).or_insert_with(new);
        let states = positions.iter();
        task.inputs
            .extend(states.map(|(topic, at)| (*topic, FetchState::Fetching(*at))));
    }

    /// Pauses what is fetched of a task, and returns that.
    pub(super) fn pause(&mut self, task: TaskId) -> Vec<TopicId> {
        let mut paused = Vec::new();
        let inputs = self.tasks.get_mut(&task).map(|task| &mut task.inputs);
        for (topic, state) in inputs.into_iter().flatten() {
            if matches!(state, FetchState::Fetching(_)) {
                *state = FetchState::Paused;
                paused.push(*topic);
            }
        }
        paused
    }

    pub(super) fn fail(&mut self, task: TaskId, topic: TopicId) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.inputs.insert(topic, FetchState::Failed);
        }
    }

    /// Takes a task out, and returns its inputs in the client's assignment.
    pub(super) fn remove(&mut self, task: TaskId) -> Vec<TopicId> {
        let removed = self.tasks.remove(&task);
        removed.map_or_else(Vec::new, |task| task.inputs.into_keys().collect())
    }

    /// Everything in the client's assignment.
    pub(super) fn all(&self) -> impl Iterator<Item = (TaskId, TopicId)> + '_ {
        let tasks = self.tasks.iter();
        tasks.flat_map(|(task, of)| of.inputs.keys().map(move |topic| (*task, *topic)))
    }

    pub(super) fn fetching(&self) -> impl Iterator<Item = (TaskId, TopicId)> + '_ {
        self.all()
            .filter(|(task, topic)| self.epoch_of(*task, *topic).is_some())
    }

    /// The epoch of the task of an input, if that is fetched.
    pub(super) fn epoch_of(&self, task: TaskId, topic: TopicId) -> Option<Epoch> {
        match self.state(task, topic) {
            Some(FetchState::Fetching(_)) => self.tasks.get(&task).map(|task| task.epoch),
            _ => None,
        }
    }

    /// The driver now knows of everything before `to`. Returns the offset up to which it knew before, if it
    /// knows more now.
    pub(super) fn advance(&mut self, task: TaskId, topic: TopicId, to: Offset) -> Option<Offset> {
        match self.tasks.get_mut(&task)?.inputs.get_mut(&topic)? {
            FetchState::Fetching(known) if *known < to => Some(std::mem::replace(known, to)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId {
        lead: TopicId(0),
        partition: 2,
    };
    const CLICKS: TopicId = TopicId(1);
    const VIEWS: TopicId = TopicId(2);

    fn fetched() -> Inputs {
        let mut inputs = Inputs::default();
        inputs.start(TASK, Epoch(7), &[(CLICKS, 10), (VIEWS, 20)]);
        inputs
    }

    #[test]
    fn an_input_advances_forward_and_only_while_it_is_fetched() {
        let mut inputs = fetched();
        assert_eq!(inputs.advance(TASK, CLICKS, 15), Some(10));
        assert_eq!(inputs.advance(TASK, CLICKS, 15), None, "known already");
        assert_eq!(inputs.advance(TASK, CLICKS, 12), None, "older");
        inputs.fail(TASK, CLICKS);
        assert_eq!(inputs.advance(TASK, CLICKS, 30), None);
        assert_eq!(inputs.pause(TASK), [VIEWS]);
        assert_eq!(inputs.advance(TASK, VIEWS, 30), None);
    }

    #[test]
    fn only_what_is_fetched_is_paused_or_belongs_to_an_epoch() {
        let mut inputs = fetched();
        inputs.fail(TASK, VIEWS);
        assert_eq!(inputs.fetching().collect::<Vec<_>>(), [(TASK, CLICKS)]);
        assert_eq!(inputs.epoch_of(TASK, CLICKS), Some(Epoch(7)));
        assert_eq!(inputs.epoch_of(TASK, VIEWS), None);
        assert_eq!(inputs.pause(TASK), [CLICKS]);
        assert_eq!(inputs.pause(TASK), []);
        assert_eq!(inputs.state(TASK, CLICKS), Some(FetchState::Paused));
        assert_eq!(inputs.state(TASK, VIEWS), Some(FetchState::Failed));
        inputs.start(TASK, Epoch(7), &[(VIEWS, 5)]);
        assert_eq!(inputs.state(TASK, VIEWS), Some(FetchState::Fetching(5)));
    }

    #[test]
    fn a_task_that_is_given_back_takes_all_its_inputs_along() {
        let mut inputs = fetched();
        inputs.pause(TASK);
        assert_eq!(inputs.all().count(), 2);
        assert_eq!(inputs.remove(TASK), [CLICKS, VIEWS]);
        assert!(inputs.is_empty());
        assert_eq!(inputs.remove(TASK), []);
    }
}
