//! What the group gives and takes, and what it committed for what it gives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::super::super::{Assignment, Committed, Committer, Driver, Epoch, LogError, MemberEvent};
use super::super::client_error;
use super::super::codes::is_final;
use super::super::native::{Code, Fault, List, Place, text};
use super::super::offsets::committed;
use super::{KafkaMember, Task, Trouble};
use crate::record::{TaskId, TopicId};

/// How long one request for committed offsets may take, and how long until the next one.
const LOOKUP_WAIT: Duration = Duration::from_secs(2);
const LOOKUP_AGAIN: Duration = Duration::from_millis(50);

/// The request for committed offsets under way, on a thread of its own: it blocks.
#[derive(Default)]
pub(super) struct Lookup {
    asked: Option<Asked>,
    next: Option<Instant>,
    why_not: Option<String>,
}

struct Asked {
    tasks: Vec<(TaskId, Epoch)>,
    answer: Receiver<Result<Vec<Place>, Fault>>,
}

impl KafkaMember {
    fn tasks_of(&self, places: &[Place]) -> Vec<TaskId> {
        places
            .iter()
            .filter_map(|place| {
                Some(TaskId {
                    lead: self.topic_id(&place.topic)?,
                    partition: place.partition,
                })
            })
            .collect()
    }

    /// Answers an assignment; the driver hears of it once the committed offsets are known.
    pub(super) fn assigned(
        &mut self,
        places: &[Place],
        driver: &mut dyn Driver,
    ) -> Result<bool, LogError> {
        self.adopt(places)?;
        self.epoch += 1;
        for task in self.tasks_of(places) {
            self.in_hand.forget(task);
            self.tasks.insert(
                task,
                Task {
                    epoch: Epoch(self.epoch),
                    since: Instant::now(),
                    known: false,
                    added: BTreeMap::new(),
                },
            );
        }
        self.client()
            .incremental_assign(&List::new())
            .map_err(|fault| client_error("taking an assignment", fault))?;
        Ok(self.healed(Trouble::Subscription, driver))
    }

    /// Runs the driver's barrier, then gives back exactly what was added.
    pub(super) fn revoked(
        &mut self,
        places: &[Place],
        lost: bool,
        driver: &mut dyn Driver,
    ) -> Result<bool, LogError> {
        let tasks = self.tasks_of(places);
        let known =
            |member: &Self, task: &TaskId| member.tasks.get(task).is_some_and(|task| task.known);
        let told: Vec<TaskId> = tasks
            .iter()
            .copied()
            .filter(|task| known(self, task))
            .collect();
        if !lost && !told.is_empty() {
            driver.revoking(&told, self as &mut dyn Committer);
        }
        let mut list = List::new();
        for id in tasks {
            let Some(task) = self.tasks.remove(&id) else {
                continue;
            };
            self.producer.forget(id);
            self.in_hand.forget(id);
            for input in task.added.keys() {
                self.list(&mut list, *input, id.partition)?;
            }
        }
        self.client()
            .incremental_unassign(&list)
            .map_err(|fault| client_error("giving partitions back", fault))?;
        if lost && !told.is_empty() {
            driver.event(MemberEvent::Lost(&told));
        }
        Ok(!told.is_empty())
    }

    /// Adds one input's partition to a list.
    pub(super) fn list(
        &self,
        list: &mut List,
        input: TopicId,
        partition: i32,
    ) -> Result<(), LogError> {
        list.add(self.group.topic(input), partition)
            .map_err(|fault| client_error("listing partitions", fault))
    }

    /// Everything in the client's assignment.
    pub(super) fn all_added(&self) -> List {
        let mut list = List::new();
        for (id, task) in &self.tasks {
            for input in task.added.keys() {
                // The name was a topic's before, so it is one still.
                drop(list.add(self.group.topic(*input), id.partition));
            }
        }
        list
    }

    /// Begins to ask what the group committed for the inputs of these tasks.
    fn ask(&self, tasks: Vec<(TaskId, Epoch)>) -> Result<Asked, LogError> {
        let of = |task: &TaskId| {
            let partition = task.partition;
            let inputs = self.group.inputs_of(*task);
            inputs.map(move |input| (Arc::clone(self.group.topic(input)), partition))
        };
        let places: Vec<_> = tasks.iter().flat_map(|(task, _)| of(task)).collect();
        let (client, wait) = (self.client().clone(), LOOKUP_WAIT.min(self.config.deadline));
        let (send, answer) = channel();
        let look = move || {
            let mut list = List::new();
            let listed = places
                .iter()
                .try_for_each(|(topic, partition)| list.add(topic, *partition));
            // Nobody waits any more when the member is gone.
            let _ = send.send(listed.and_then(|()| client.committed(&list, wait)));
        };
        std::thread::Builder::new()
            .name("kafka-offsets".to_owned())
            .spawn(look)
            .map_err(|error| LogError::Client {
                what: "reading committed offsets".to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Asked { tasks, answer })
    }

    /// Asks for the committed offsets of tasks that wait for them.
    pub(super) fn look_up(&mut self, driver: &mut dyn Driver) -> Result<bool, LogError> {
        let now = Instant::now();
        let waiting = self.tasks.iter().filter(|(_, task)| !task.known);
        let Some(since) = waiting.clone().map(|(_, task)| task.since).min() else {
            return Ok(self.healed(Trouble::Lookup, driver));
        };
        if let Some(why) = self.producer.why_not() {
            // What a predecessor left open may be this group's offsets: it is ended first.
            self.lookup.why_not = Some(why);
        } else if self.lookup.asked.is_none() && self.lookup.next.is_none_or(|next| next <= now) {
            let tasks: Vec<_> = waiting.map(|(id, task)| (*id, task.epoch)).collect();
            self.lookup.asked = Some(self.ask(tasks)?);
        }
        if let Some(asked) = self.lookup.asked.take() {
            match asked.answer.try_recv() {
                Ok(answer) => return self.looked_up(asked.tasks, answer, driver),
                Err(TryRecvError::Empty) => self.lookup.asked = Some(asked),
                // Its thread ended without a word: asked again.
                Err(TryRecvError::Disconnected) => {}
            }
        }
        if now.duration_since(since) > self.config.deadline {
            let why = self.lookup.why_not.clone();
            let why = why.unwrap_or_else(|| "the coordinator does not answer".to_owned());
            let why = format!("reading the committed offsets: {why}");
            return Ok(self.in_trouble(Trouble::Lookup, why, driver));
        }
        Ok(false)
    }

    /// Tells the driver of the tasks whose committed offsets are now known.
    fn looked_up(
        &mut self,
        asked: Vec<(TaskId, Epoch)>,
        answer: Result<Vec<Place>, Fault>,
        driver: &mut dyn Driver,
    ) -> Result<bool, LogError> {
        self.lookup.next = Some(Instant::now() + LOOKUP_AGAIN);
        let places = match answer {
            Ok(places) => places,
            Err(fault) if self.client().fatal().is_some() => return Err(self.fatal(fault)),
            Err(Fault { code, reason }) if is_final(code) => {
                let what = format!("reading the offsets of group `{}`", self.group.name);
                return Err(LogError::Refused { what, reason });
            }
            // Whatever else it is may pass: it is asked again, and said when it takes too long.
            Err(fault) => {
                self.lookup.why_not = Some(fault.reason);
                return Ok(false);
            }
        };
        // A topic that is gone, or not heard of yet, has no offsets.
        let failed = |place: &Place| match place.error {
            Some(Code::UnknownTopicOrPartition) => None,
            error => error,
        };
        for place in &places {
            if let Some(code) = failed(place).filter(|code| is_final(*code)) {
                let (topic, group) = (&place.topic, &self.group.name);
                return Err(LogError::Refused {
                    what: format!("reading the offsets of group `{group}` for topic `{topic}`"),
                    reason: text(code),
                });
            }
        }
        let unsettled: Vec<(String, i32)> = places
            .iter()
            .filter_map(|place| {
                let code = failed(place)?;
                self.lookup.why_not = Some(text(code));
                Some((place.topic.clone(), place.partition))
            })
            .collect();
        let found: BTreeMap<(String, i32), Committed> =
            places.into_iter().filter_map(committed).collect();
        let mut assignments = Vec::new();
        for (id, epoch) in asked {
            let inputs: Vec<TopicId> = self.group.inputs_of(id).collect();
            let key = |input: &TopicId| (self.group.topic(*input).to_string(), id.partition);
            if inputs.iter().any(|input| unsettled.contains(&key(input))) {
                continue;
            }
            let committed = inputs
                .iter()
                .filter_map(|input| Some((*input, found.get(&key(input))?.clone())))
                .collect();
            if let Some(task) = self.tasks.get_mut(&id).filter(|task| task.epoch == epoch) {
                task.known = true;
                assignments.push(Assignment {
                    task: id,
                    epoch,
                    committed,
                });
            }
        }
        if assignments.is_empty() {
            return Ok(false);
        }
        driver.event(MemberEvent::Assigned(&assignments));
        Ok(true)
    }
}
