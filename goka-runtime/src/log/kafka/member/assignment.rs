//! The tasks that the group assigned to the member, each with the epoch of its assignment. A task is
//! announced to the driver once its committed offsets are known; until then it waits for them. Knows no
//! client.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::super::{Epoch, Group};
use crate::record::{TaskId, TopicId};

#[derive(Debug, Default)]
pub(super) struct AssignedTasks {
    tasks: BTreeMap<TaskId, Assigned>,
    /// The number of the last assignment.
    epoch: u64,
}

#[derive(Debug)]
struct Assigned {
    epoch: Epoch,
    since: Instant,
    /// Whether the driver knows of it.
    is_announced: bool,
}

impl AssignedTasks {
    /// Takes tasks in that the group has assigned, under a new epoch.
    pub(super) fn assign(&mut self, tasks: impl IntoIterator<Item = TaskId>, now: Instant) {
        self.epoch += 1;
        for task in tasks {
            let assigned = Assigned {
                epoch: Epoch(self.epoch),
                since: now,
                is_announced: false,
            };
            self.tasks.insert(task, assigned);
        }
    }

    /// Takes a task out; whether it was assigned.
    pub(super) fn remove(&mut self, task: TaskId) -> bool {
        self.tasks.remove(&task).is_some()
    }

    pub(super) fn owns(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
    }

    /// The epoch of a task that the driver knows of.
    pub(super) fn announced(&self, task: TaskId) -> Option<Epoch> {
        let assigned = self.tasks.get(&task).filter(|task| task.is_announced);
        assigned.map(|task| task.epoch)
    }

    /// Marks a task as known to the driver, unless it was given back or assigned anew meanwhile.
    pub(super) fn announce(&mut self, task: TaskId, epoch: Epoch) -> bool {
        let assigned = self.tasks.get_mut(&task);
        let assigned = assigned.filter(|task| task.epoch == epoch);
        assigned.map(|task| task.is_announced = true).is_some()
    }

    /// The tasks whose committed offsets are not known yet, and since when the first of them waits.
    pub(super) fn waiting(&self) -> Option<(Instant, Vec<(TaskId, Epoch)>)> {
        let waiting = self.tasks.iter().filter(|(_, task)| !task.is_announced);
        let since = waiting.clone().map(|(_, task)| task.since).min()?;
        Some((since, waiting.map(|(id, task)| (*id, task.epoch)).collect()))
    }
}

/// The task that reads a partition, and the id of its topic.
pub(super) fn task_of(group: &Group, topic: &str, partition: i32) -> Option<(TaskId, TopicId)> {
    let topic = group.topic_id(topic)?;
    let lead = group.lead.unwrap_or(topic);
    Some((TaskId { lead, partition }, topic))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::group;
    use super::*;

    fn task(partition: i32) -> TaskId {
        TaskId {
            lead: TopicId(0),
            partition,
        }
    }

    #[test]
    fn a_task_is_announced_only_under_the_epoch_that_was_asked_for() {
        let (mut tasks, now) = (AssignedTasks::default(), Instant::now());
        tasks.assign([task(0), task(1)], now);
        let (since, asked) = tasks.waiting().expect("two wait");
        assert_eq!(since, now);
        assert_eq!(asked, [(task(0), Epoch(1)), (task(1), Epoch(1))]);
        assert!(tasks.remove(task(0)) && tasks.remove(task(1)));
        let later = now + Duration::from_secs(1);
        tasks.assign([task(1)], later);
        assert!(!tasks.announce(task(0), Epoch(1)), "given back");
        assert!(!tasks.announce(task(1), Epoch(1)), "assigned anew");
        assert_eq!(tasks.announced(task(1)), None);
        assert_eq!(tasks.waiting().map(|(since, _)| since), Some(later));
        assert!(tasks.announce(task(1), Epoch(2)));
        assert_eq!(tasks.announced(task(1)), Some(Epoch(2)));
        assert_eq!(tasks.waiting(), None);
        assert!(tasks.owns(task(1)) && !tasks.owns(task(0)));
    }

    #[test]
    fn inputs_belong_to_the_task_of_their_lead_and_without_one_to_themselves() {
        let mut group = group();
        let input = TopicId(1);
        assert_eq!(task_of(&group, "input", 3), Some((task(3), input)));
        assert_eq!(group.leads(), ["table".into()]);
        group.lead = None;
        let own = TaskId {
            lead: input,
            partition: 3,
        };
        assert_eq!(task_of(&group, "input", 3), Some((own, input)));
        assert_eq!(task_of(&group, "other", 3), None);
        assert_eq!(group.leads(), ["input".into()]);
    }
}
