//! A member of a group: what it owns, what it fetches, and the order in which it tells its driver. No
//! lock is held while the driver is called. What it settles is in `settle`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::{Fault, StepKind};
use super::groups::{MemberId, Step};
use super::producer::Producer;
use super::state::{ClientId, Shared, State};
use super::topics::{OutOfRange, Page};
use crate::log::balance::Slot;
use crate::log::{
    Assignment, Driver, Epoch, Group, Isolation, LogError, Member, MemberEvent, Settle,
};
use crate::record::{Guarantee, Offset, Record, TaskId, TopicId, TopicPartition};

/// How many records a batch has at most.
const BATCH: usize = 2_000;
/// How long committed offsets are waited for before that is trouble.
const LOOKUP: Duration = Duration::from_secs(10);

/// A task given by the group.
#[derive(Debug)]
pub(super) struct Held {
    epoch: Epoch,
    since: Duration,
    /// Whether the driver was told.
    known: bool,
    intakes: BTreeMap<TopicId, Offset>,
}

/// What may heal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Brokers,
    Lookup,
}

/// What a look at the log brought.
enum Found {
    Step(Step),
    Assigned(Vec<Assignment>),
    Trouble(String),
    Healed,
    Batch(TaskId, TopicId, Page),
    Broken(TaskId, TopicId, LogError),
}

#[derive(Debug)]
pub(super) struct SimulatedMember {
    pub(super) shared: Arc<Shared>,
    pub(super) group: Arc<Group>,
    pub(super) client: ClientId,
    /// In the group, from the first poll on.
    pub(super) id: Option<MemberId>,
    pub(super) producer: Producer,
    pub(super) held: BTreeMap<TaskId, Held>,
    paused: bool,
    trouble: Option<Trouble>,
    /// Whose records came last: the others go first.
    last: Option<(TaskId, TopicId)>,
    /// What ended the member.
    ended: Option<LogError>,
    left: bool,
}

impl SimulatedMember {
    pub(super) fn join(shared: Arc<Shared>, group: Group) -> Self {
        let group = Arc::new(group);
        let (client, who) = {
            let mut state = shared.lock();
            let client = state.number();
            let who = match group.instance.as_str() {
                "" => format!("{}/#{client}/{}", group.name, group.worker),
                instance => format!("{}/{instance}/{}", group.name, group.worker),
            };
            state.clients.insert(client, who.clone());
            (client, who)
        };
        let producer = Producer::new(shared.clone(), group.clone(), who, client);
        Self {
            shared,
            group,
            client,
            id: None,
            producer,
            held: BTreeMap::new(),
            paused: false,
            trouble: None,
            last: None,
            ended: None,
            left: false,
        }
    }

    /// Whether somebody killed it: nothing that it does arrives any more.
    pub(super) fn is_dead(&self) -> bool {
        self.shared.lock().dead.contains(&self.client)
    }

    /// The task of a slot, in this member's numbering.
    fn task(&self, slot: &Slot) -> Option<TaskId> {
        let topics = &self.group.topics;
        let lead = topics.iter().position(|topic| *topic == slot.0)?;
        Some(TaskId {
            lead: TopicId(u16::try_from(lead).ok()?),
            partition: slot.1,
        })
    }

    fn enter(&mut self, state: &mut State) -> MemberId {
        if let Some(id) = self.id {
            return id;
        }
        let group = &self.group;
        let leads = match group.lead {
            Some(table) => vec![group.topic(table).clone()],
            None => group
                .inputs
                .iter()
                .map(|input| group.topic(*input).clone())
                .collect(),
        };
        let instance = match group.instance.as_str() {
            "" => None,
            instance => Some(format!("{instance}-{}", group.worker)),
        };
        let (id, now) = (MemberId(state.number()), state.now);
        state.group(&group.name, |all, _| {
            all.members.enter(id, instance, leads, group.session, now);
        });
        state.version += 1;
        let who = &self.producer.who;
        state.note(|| format!("{who}: enters as member {}", id.0));
        self.id = Some(id);
        id
    }

    /// Looks at the log for whatever is to be told next, and says at which version that was.
    fn look(&mut self) -> Result<(Option<Found>, u64), LogError> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let found = match state.dead.contains(&self.client) {
            true => None,
            false => self.look_at(&mut state)?,
        };
        Ok((found, state.version))
    }

    fn look_at(&mut self, state: &mut State) -> Result<Option<Found>, LogError> {
        state.strike(StepKind::Poll, &self.producer.who, Some(self.client), None);
        if state.is_out() {
            let why = "no broker answers".to_owned();
            return Ok(self.in_trouble(Trouble::Brokers, why));
        }
        if self.trouble == Some(Trouble::Brokers) {
            self.trouble = None;
            return Ok(Some(Found::Healed));
        }
        // What a predecessor left open may be this group's offsets: it is ended first.
        self.producer.start(state)?;
        if !state.cut.contains_key(&self.client) {
            let id = self.enter(state);
            let now = state.now;
            let step = state.group(&self.group.name, |group, partitions| {
                group.members.step(id, now, partitions)
            });
            if let Step::Own(slots) = &step {
                self.hold(slots, now);
            }
            if step != Step::Rest {
                self.note(state, &step);
                return Ok(Some(Found::Step(step)));
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

    fn note(&self, state: &mut State, step: &Step) {
        let who = &self.producer.who;
        let generation = state.group(&self.group.name, |group, _| group.members.generation());
        state.version += 1;
        state.note(|| {
            let slot = |(topic, partition): &Slot| format!("{topic}[{partition}]");
            let what = match step {
                Step::Rest => "rests".to_owned(),
                Step::Out => "is out".to_owned(),
                Step::Fenced => "is fenced".to_owned(),
                Step::Revoke(slots) => {
                    let slots: Vec<String> = slots.iter().map(slot).collect();
                    format!("gives back {}", slots.join(" "))
                }
                Step::Own(slots) => {
                    let slots: Vec<String> = slots.iter().map(|(at, _)| slot(at)).collect();
                    format!("owns {}", slots.join(" "))
                }
            };
            format!("{who}: generation {generation}: {what}")
        });
    }

    fn hold(&mut self, slots: &[(Slot, u64)], since: Duration) {
        for (slot, epoch) in slots {
            let Some(task) = self.task(slot) else {
                continue;
            };
            let held = Held {
                epoch: Epoch(*epoch),
                since,
                known: false,
                intakes: BTreeMap::new(),
            };
            self.held.insert(task, held);
        }
    }

    /// Reads what is committed for tasks that the driver does not know; what a transaction holds
    /// is waited for.
    fn look_up(&mut self, state: &mut State) -> Option<Found> {
        let now = state.now;
        let mut assignments = Vec::new();
        let mut oldest = None;
        for (task, held) in self.held.iter_mut().filter(|(_, held)| !held.known) {
            let topics: Vec<TopicId> = self.group.inputs_of(*task).collect();
            let names = &self.group;
            let committed = state.group(&self.group.name, |group, _| {
                let is_pending =
                    |input: &TopicId| group.is_pending(names.topic(*input), task.partition);
                if topics.iter().any(is_pending) {
                    return None;
                }
                let committed = topics.iter().filter_map(|input| {
                    let found = group.committed(names.topic(*input), task.partition)?;
                    Some((*input, found))
                });
                Some(committed.collect())
            });
            let Some(committed) = committed else {
                oldest = oldest.min(Some(held.since)).or(Some(held.since));
                continue;
            };
            held.known = true;
            assignments.push(Assignment {
                task: *task,
                epoch: held.epoch,
                committed,
            });
        }
        if !assignments.is_empty() {
            return Some(Found::Assigned(assignments));
        }
        match oldest {
            Some(since) if now.saturating_sub(since) > LOOKUP => {
                let why = "reading the committed offsets: a transaction holds some of them";
                self.in_trouble(Trouble::Lookup, why.to_owned())
            }
            None if self.trouble == Some(Trouble::Lookup) => {
                self.trouble = None;
                Some(Found::Healed)
            }
            _ => None,
        }
    }

    fn in_trouble(&mut self, trouble: Trouble, why: String) -> Option<Found> {
        if self.trouble.is_some() {
            return None;
        }
        self.trouble = Some(trouble);
        Some(Found::Trouble(why))
    }

    /// One batch, of the input after the one that came last.
    fn fetched(&mut self, state: &mut State) -> Option<Found> {
        let all = self
            .held
            .iter()
            .flat_map(|(task, held)| held.intakes.keys().map(move |topic| (*task, *topic)));
        let (mut order, first): (Vec<_>, Vec<_>) = all.partition(|place| Some(*place) > self.last);
        order.extend(first);
        for (task, topic) in order {
            let found = self.fetch_one(state, task, topic);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn fetch_one(&mut self, state: &mut State, task: TaskId, topic: TopicId) -> Option<Found> {
        let intakes = &mut self.held.get_mut(&task)?.intakes;
        let position = *intakes.get(&topic)?;
        let tp = TopicPartition::new(self.group.topic(topic).clone(), task.partition);
        if state.away_until(&tp.topic, tp.partition).is_some() {
            return None;
        }
        let page = match state.partition(&tp) {
            Ok(partition) => partition.read(position, Isolation::ReadCommitted, BATCH),
            Err(error) => {
                intakes.remove(&topic);
                return Some(Found::Broken(task, topic, error));
            }
        };
        let mut page = match page {
            Ok(page) => page?,
            Err(OutOfRange) => {
                intakes.remove(&topic);
                let error = LogError::OutOfRange {
                    topic: tp.topic.to_string(),
                    partition: tp.partition,
                    offset: position,
                };
                return Some(Found::Broken(task, topic, error));
            }
        };
        if page.records.is_empty() {
            intakes.insert(topic, page.next);
            return None;
        }
        let (who, place) = (&self.producer.who, Some((&tp.topic, tp.partition)));
        match state.strike(StepKind::Fetch, who, Some(self.client), place) {
            Some(Fault::Slow) => return None,
            Some(Fault::Few(most)) => page.cut(most),
            _ => {}
        }
        if state.away_until(&tp.topic, tp.partition).is_some() {
            return None;
        }
        intakes.insert(topic, page.next);
        self.last = Some((task, topic));
        Some(Found::Batch(task, topic, page))
    }

    /// Tells the driver what was found.
    fn tell(&mut self, found: Found, driver: &mut dyn Driver) -> Result<(), LogError> {
        match found {
            Found::Step(Step::Rest | Step::Own(_)) => {}
            Found::Step(Step::Out) => self.out(driver),
            Found::Step(Step::Fenced) => {
                return Err(LogError::Fenced {
                    who: format!("group instance `{}`", self.producer.who),
                    reason: "a newer member has it".to_owned(),
                });
            }
            Found::Step(Step::Revoke(slots)) => self.revoke(&slots, driver),
            Found::Assigned(assignments) => driver.event(MemberEvent::Assigned(&assignments)),
            Found::Trouble(why) => driver.event(MemberEvent::Trouble(Some(why))),
            Found::Healed => driver.event(MemberEvent::Trouble(None)),
            Found::Broken(task, topic, error) => {
                driver.event(MemberEvent::Broken { task, topic, error });
            }
            Found::Batch(task, topic, page) => {
                let epoch = self.held.get(&task).map_or(Epoch(0), |held| held.epoch);
                let records = page.records.iter();
                let records: Vec<Record<'_>> =
                    records.map(|(offset, body)| body.record(*offset)).collect();
                driver.event(MemberEvent::Batch {
                    task,
                    epoch,
                    topic,
                    records: &records,
                });
            }
        }
        Ok(())
    }

    fn out(&mut self, driver: &mut dyn Driver) {
        self.id = None;
        let mut lost = Vec::new();
        for (task, held) in std::mem::take(&mut self.held) {
            self.producer.forget(task);
            if held.known {
                lost.push(task);
            }
        }
        if !lost.is_empty() {
            driver.event(MemberEvent::Lost(&lost));
        }
    }

    fn revoke(&mut self, slots: &[Slot], driver: &mut dyn Driver) {
        let tasks: Vec<TaskId> = slots.iter().filter_map(|slot| self.task(slot)).collect();
        let is_known = |task: &TaskId| self.held.get(task).is_some_and(|held| held.known);
        let told: Vec<TaskId> = tasks.iter().copied().filter(is_known).collect();
        if !told.is_empty() {
            driver.revoking(&told, self as &mut dyn Settle);
        }
        for task in tasks {
            self.producer.forget(task);
            self.held.remove(&task);
        }
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let now = state.now;
        if let Some(id) = self.id.filter(|_| !state.dead.contains(&self.client)) {
            state.group(&self.group.name, |group, _| {
                group.members.gave_back(id, slots, now);
            });
            state.version += 1;
        }
    }

    /// Ends what is in flight and says that it goes, where anybody hears that.
    fn leave(&mut self) -> Result<(), LogError> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.dead.contains(&self.client) {
            return Ok(());
        }
        let who = self.producer.who.clone();
        state.strike(StepKind::Leave, &who, Some(self.client), None);
        let away = |what: &str| LogError::Timeout {
            what: format!("{what} of `{who}`"),
            after: Duration::ZERO,
        };
        if state.is_out() {
            return Err(away("leaving the group"));
        }
        let ended = match self.group.guarantee {
            Guarantee::AtLeastOnce => Ok(()),
            Guarantee::ExactlyOnce => self.producer.finish(&mut state),
        };
        if let Some(id) = self.id
            && !state.cut.contains_key(&self.client)
        {
            state.group(&self.group.name, |group, _| group.members.leave(id));
            state.version += 1;
        }
        state.note(|| format!("{who}: left"));
        ended.map_err(|_| away("ending the last transaction"))
    }
}

impl Member for SimulatedMember {
    fn poll(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let by = Instant::now() + max;
        loop {
            let told = self.look().and_then(|(found, version)| match found {
                // The driver hears of it when the committed offsets are known.
                Some(Found::Step(Step::Own(_))) => Ok(None),
                Some(found) => self.tell(found, driver).map(|()| None),
                None => Ok(Some(version)),
            });
            match told {
                Ok(Some(version)) => {
                    if !self.shared.wait(version, by) {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.ended = Some(error.clone());
                    return Err(error);
                }
            }
        }
    }

    fn fetch(&mut self, task: TaskId, positions: &[(TopicId, Offset)]) -> Result<(), LogError> {
        let Some(held) = self.held.get_mut(&task).filter(|held| held.known) else {
            let topic = self.group.topic(task.lead);
            return Err(LogError::Client {
                what: format!("fetching {topic}[{}]", task.partition),
                reason: "this member does not own the task".to_owned(),
            });
        };
        held.intakes.extend(positions.iter().copied());
        Ok(())
    }

    fn release(&mut self, task: TaskId) {
        if let Some(held) = self.held.get_mut(&task) {
            held.intakes.clear();
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    fn rebuild(&mut self) -> Result<(), LogError> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if self.group.guarantee == Guarantee::AtLeastOnce {
            self.producer.clear(&mut state);
            return Ok(());
        }
        // A new client would fence this one and end its transaction, and no more.
        let aborted = self.producer.abort(&mut state);
        aborted.map_err(|failure| LogError::Client {
            what: "aborting the transaction".to_owned(),
            reason: failure.to_string(),
        })
    }

    fn close(mut self: Box<Self>, _by: Instant) -> Result<(), LogError> {
        self.leave()
    }
}

impl Drop for SimulatedMember {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::debug!(group = %self.group.name, %error, "left the group in a hurry");
        }
    }
}
