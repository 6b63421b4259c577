//! What a member finds when it polls the log: its next step in the group, committed offsets of tasks that
//! were assigned, records. Runs under the log's lock; the driver is called afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faults::{Fault, StepKind};
use super::member::{Degraded, OwnedTask, Polled, SimulatedMember};
use super::state::State;
use crate::log::seats::{MemberId, Step};
use crate::log::{Assignment, Epoch, Isolation, LogError, MemberEvent, OffsetGap};
use crate::record::{TaskId, TopicId, TopicPartition};

const BATCH: usize = 2_000;
/// How long committed offsets are waited for before the member counts as degraded.
const LOOKUP: Duration = Duration::from_secs(10);

impl SimulatedMember {
    fn enter(&mut self, state: &mut State) -> MemberId {
        if let Some(id) = self.id {
            return id;
        }
        let group = &self.group;
        let leads = group.leads();
        let instance = match group.instance.as_str() {
            "" => None,
            instance => Some(format!("{instance}-{}", group.worker)),
        };
        let (id, now) = (MemberId(state.number()), state.now);
        state.group(&group.name, |all, _| {
            all.members
                .enter(id, instance, leads, group.session_timeout, now);
        });
        state.version += 1;
        let who = &self.producer.client.who;
        state.note(|| format!("{who}: enters as member {}", id.0));
        self.id = Some(id);
        self.heard_as.store(id.0, Ordering::Relaxed);
        id
    }

    /// Finds what is to be reported next, and the version of the log at that moment.
    pub(super) fn poll_log(&mut self) -> Result<(Option<Polled>, u64), LogError> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let found = match state.dead.contains(&self.client) {
            true => None,
            false => self.poll_state(&mut state)?,
        };
        Ok((found, state.version))
    }

    fn poll_state(&mut self, state: &mut State) -> Result<Option<Polled>, LogError> {
        state.inject(
            StepKind::Poll,
            &self.producer.client.who,
            Some(self.client),
            None,
        );
        if state.is_out() {
            let why = "no broker answers".to_owned();
            return Ok(self.degrade(Degraded::Brokers, why));
        }
        if self.degraded == Some(Degraded::Brokers) {
            self.degraded = None;
            return Ok(Some(Polled::Event(MemberEvent::Degraded(None))));
        }
        // What a predecessor left open may be this group's offsets: it is ended first.
        if let Some((transactions, mut calls)) = self.producer.transactions(state) {
            transactions.start(&mut calls)?;
        }
        if !state.cut.contains_key(&self.client) {
            let id = self.enter(state);
            let now = state.now;
            let step = state.group(&self.group.name, |group, partitions| {
                group.members.step(id, now, partitions)
            });
            if let Some(Step::Own(slots)) = &step {
                self.hold(slots, now);
            }
            if step != Some(Step::Rest) {
                self.note(state, step.as_ref());
                return Ok(Some(step.map_or(Polled::Fenced, Polled::Step)));
            }
            let found = self.look_up(state);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(match self.paused {
            true => None,
            false => self.fetched(state),
        })
    }

    fn note(&self, state: &mut State, step: Option<&Step>) {
        let who = &self.producer.client.who;
        let generation = state.group(&self.group.name, |group, _| group.members.generation);
        state.version += 1;
        state.note(|| {
            let (what, slots) = match step {
                Some(Step::Rest) => ("rests", Vec::new()),
                Some(Step::Out) => ("is out", Vec::new()),
                None => ("is fenced", Vec::new()),
                Some(Step::Revoke(slots)) => ("gives back", slots.iter().collect()),
                Some(Step::Own(slots)) => ("owns", slots.iter().map(|(slot, _)| slot).collect()),
            };
            let slots: String = slots.iter().map(|slot| format!(" {slot}")).collect();
            format!("{who}: generation {generation}: {what}{slots}")
        });
    }

    fn hold(&mut self, slots: &[(TopicPartition, u64)], since: Duration) {
        for (slot, epoch) in slots {
            let Some(task) = self.group.task(slot) else {
                continue;
            };
            let owned = OwnedTask {
                epoch: Epoch(*epoch),
                since,
                is_announced: false,
                inputs: BTreeMap::new(),
            };
            self.tasks.insert(task, owned);
        }
    }

    /// Reads what is committed for tasks that the driver does not know; what a transaction holds
    /// is waited for.
    fn look_up(&mut self, state: &mut State) -> Option<Polled> {
        let now = state.now;
        let mut assignments = Vec::new();
        let mut oldest = None;
        for (task, held) in self.tasks.iter_mut().filter(|(_, held)| !held.is_announced) {
            let inputs = self.group.inputs_of(*task);
            let inputs: Vec<(TopicId, TopicPartition)> = inputs
                .map(|input| (input, self.group.place(input, task.partition)))
                .collect();
            let committed = state.group(&self.group.name, |group, _| {
                if inputs.iter().any(|(_, tp)| group.is_pending(tp)) {
                    return None;
                }
                let committed = inputs.iter().filter_map(|(input, tp)| {
                    let found = group.offsets.get(tp)?;
                    Some((*input, found.clone()))
                });
                Some(committed.collect())
            });
            let Some(committed) = committed else {
                oldest = oldest.min(Some(held.since)).or(Some(held.since));
                continue;
            };
            held.is_announced = true;
            assignments.push(Assignment {
                task: *task,
                epoch: held.epoch,
                committed,
            });
        }
        if !assignments.is_empty() {
            return Some(Polled::Assigned(assignments));
        }
        match oldest {
            Some(since) if now.saturating_sub(since) > LOOKUP => {
                let why = "reading the committed offsets: a transaction holds some of them";
                self.degrade(Degraded::Lookup, why.to_owned())
            }
            None if self.degraded == Some(Degraded::Lookup) => {
                self.degraded = None;
                Some(Polled::Event(MemberEvent::Degraded(None)))
            }
            _ => None,
        }
    }

    fn degrade(&mut self, degraded: Degraded, why: String) -> Option<Polled> {
        if self.degraded.is_some() {
            return None;
        }
        self.degraded = Some(degraded);
        Some(Polled::Event(MemberEvent::Degraded(Some(why))))
    }

    /// One batch, of the input after the one that came last.
    fn fetched(&mut self, state: &mut State) -> Option<Polled> {
        let all = self.tasks.iter().flat_map(|(task, held)| {
            let topics = held.inputs.keys();
            topics.map(|topic| (*task, *topic))
        });
        let (mut order, first): (Vec<_>, Vec<_>) = all.partition(|place| Some(*place) > self.last);
        order.extend(first);
        let mut order = order.into_iter();
        order.find_map(|(task, topic)| self.fetch_one(state, task, topic))
    }

    fn fetch_one(&mut self, state: &mut State, task: TaskId, topic: TopicId) -> Option<Polled> {
        let held = self.tasks.get_mut(&task)?;
        let (epoch, intakes) = (held.epoch, &mut held.inputs);
        let position = *intakes.get(&topic)?;
        let tp = self.group.place(topic, task.partition);
        if state.away_until(&tp).is_some() {
            return None;
        }
        let most = state.batch.unwrap_or(BATCH);
        let mut page = match state.read(&tp, position, Isolation::ReadCommitted, most) {
            Ok(page) => page?,
            Err(error) => {
                intakes.remove(&topic);
                let failed = MemberEvent::InputFailed { task, topic, error };
                return Some(Polled::Event(failed));
            }
        };
        if page.records.is_empty() {
            intakes.insert(topic, page.next);
            return Some(Polled::Event(MemberEvent::OffsetGap(OffsetGap {
                task,
                epoch,
                topic,
                from: position,
                to: page.next,
            })));
        }
        let who = &self.producer.client.who;
        match state.inject(StepKind::Fetch, who, Some(self.client), Some(&tp)) {
            Some(Fault::Slow) => return None,
            Some(Fault::Few(most)) => page.cut(most),
            _ => {}
        }
        if state.away_until(&tp).is_some() {
            return None;
        }
        // A gap behind the last of them is reported by the next poll.
        let next = page.records.last().map_or(page.next, |(last, _)| last + 1);
        intakes.insert(topic, next);
        self.last = Some((task, topic));
        Some(Polled::Batch(task, topic, page))
    }
}
