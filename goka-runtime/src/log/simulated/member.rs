//! A member of a group: the tasks it owns, and what it reports to its driver, in which order. No lock is
//! held while the driver is called. Polling the log is in `member_poll`, committing in `commit`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::faults::StepKind;
use super::history::{ClientId, Happened};
use super::producer::Producer;
use super::state::Shared;
use super::topics::Page;
use crate::log::seats::{MemberId, Step};
use crate::log::{
    Assignment, Committer, Driver, Epoch, Fetched, Group, KeepAlive, LogError, Member, MemberEvent,
};
use crate::record::{Guarantee, Offset, Record, TaskId, TopicId, TopicPartition};

pub(super) struct OwnedTask {
    pub(super) epoch: Epoch,
    pub(super) since: Duration,
    /// Whether the driver knows of it.
    pub(super) is_announced: bool,
    /// The positions of the inputs that are fetched.
    pub(super) inputs: BTreeMap<TopicId, Offset>,
}

/// A failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Degraded {
    Brokers,
    /// Committed offsets cannot be read.
    Lookup,
}

pub(super) enum Polled {
    Step(Step),
    /// A newer member has its static identity.
    Fenced,
    Assigned(Vec<Assignment>),
    Batch(TaskId, TopicId, Page),
    Event(MemberEvent<'static>),
}

pub(super) struct SimulatedMember {
    pub(super) shared: Arc<Shared>,
    pub(super) group: Arc<Group>,
    pub(super) client: ClientId,
    /// In the group, from the first poll on.
    pub(super) id: Option<MemberId>,
    /// The same for [`Heartbeat`].
    pub(super) heard_as: Arc<AtomicU64>,
    pub(super) producer: Producer,
    pub(super) tasks: BTreeMap<TaskId, OwnedTask>,
    pub(super) paused: bool,
    pub(super) degraded: Option<Degraded>,
    /// The input whose records came last: the others go first.
    pub(super) last: Option<(TaskId, TopicId)>,
    /// The error that ended the member.
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
            let joined = who.clone();
            state.remember(|| Happened::Joined {
                client,
                who: joined,
            });
            (client, who)
        };
        let producer = Producer::new(shared.clone(), group.clone(), who, client);
        Self {
            shared,
            group,
            client,
            id: None,
            heard_as: Arc::default(),
            producer,
            tasks: BTreeMap::new(),
            paused: false,
            degraded: None,
            last: None,
            ended: None,
            left: false,
        }
    }

    fn report(&mut self, found: Polled, driver: &mut dyn Driver) -> Result<(), LogError> {
        match found {
            Polled::Step(Step::Rest | Step::Own(_)) => {}
            Polled::Step(Step::Out) => self.out(driver),
            Polled::Fenced => {
                return Err(LogError::InstanceFenced {
                    who: format!("group instance `{}`", self.producer.client.who),
                    reason: "a newer member has it".to_owned(),
                });
            }
            Polled::Step(Step::Revoke(slots)) => self.revoke(&slots, driver),
            Polled::Assigned(assignments) => driver.event(MemberEvent::Assigned(&assignments)),
            Polled::Event(event) => driver.event(event),
            Polled::Batch(task, topic, page) => {
                let epoch = self.tasks.get(&task).map_or(Epoch(0), |held| held.epoch);
                let records = page.records.iter();
                let records: Vec<Record<'_>> =
                    records.map(|(offset, body)| body.record(*offset)).collect();
                let taken = driver.batch(Fetched {
                    task,
                    epoch,
                    topic,
                    records: &records,
                });
                if let Some(next) = records.get(taken).map(|next| next.offset)
                    && let Some(held) = self.tasks.get_mut(&task)
                {
                    held.inputs.insert(topic, next);
                }
            }
        }
        Ok(())
    }

    fn out(&mut self, driver: &mut dyn Driver) {
        self.id = None;
        self.heard_as.store(0, Ordering::Relaxed);
        let mut lost = Vec::new();
        for (task, held) in std::mem::take(&mut self.tasks) {
            self.producer.forget(task);
            if held.is_announced {
                lost.push(task);
            }
        }
        if !lost.is_empty() {
            driver.event(MemberEvent::Lost(&lost));
        }
    }

    fn revoke(&mut self, slots: &[TopicPartition], driver: &mut dyn Driver) {
        let tasks = self.group.tasks(slots);
        let is_known = |task: &TaskId| self.tasks.get(task).is_some_and(|held| held.is_announced);
        let told: Vec<TaskId> = tasks.iter().copied().filter(is_known).collect();
        if !told.is_empty() {
            driver.revoking(&told, self as &mut dyn Committer);
        }
        for task in tasks {
            self.producer.forget(task);
            self.tasks.remove(&task);
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

    /// Ends what is in flight and leaves the group, if that can be reached.
    fn go(&mut self, gives_up: bool) -> Result<(), LogError> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.dead.contains(&self.client) {
            return Ok(());
        }
        let who = self.producer.client.who.clone();
        state.inject(StepKind::Leave, &who, Some(self.client), None);
        let away = |what: &str| LogError::late(format!("{what} of `{who}`"), Duration::ZERO);
        if state.is_out() {
            return Err(away("leaving the group"));
        }
        let ended = self.producer.close(&mut state);
        if let Some(id) = self.id
            && !state.cut.contains_key(&self.client)
        {
            state.group(&self.group.name, |group, _| {
                group.members.leave(id, gives_up)
            });
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
            let told = self.poll_log().and_then(|(found, version)| match found {
                // The driver is called when the committed offsets are known.
                Some(Polled::Step(Step::Own(_))) => Ok(None),
                Some(found) => self.report(found, driver).map(|()| None),
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

    fn keep_alive(&self) -> Arc<dyn KeepAlive> {
        Arc::new(Heartbeat {
            shared: self.shared.clone(),
            group: self.group.name.clone(),
            client: self.client,
            id: self.heard_as.clone(),
        })
    }

    fn fetch(&mut self, task: TaskId, positions: &[(TopicId, Offset)]) -> Result<(), LogError> {
        let Some(held) = self.tasks.get_mut(&task).filter(|held| held.is_announced) else {
            return Err(self.group.not_owned(task));
        };
        held.inputs.extend(positions.iter().copied());
        Ok(())
    }

    fn release(&mut self, task: TaskId) {
        if let Some(held) = self.tasks.get_mut(&task) {
            held.inputs.clear();
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    fn rebuild(&mut self) -> Result<(), LogError> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if self.group.guarantee == Guarantee::AtLeastOnce {
            self.producer.client.clear(&mut state);
            return Ok(());
        }
        // A new client would fence this one and end its transaction, and no more.
        let aborted = self.producer.abort(&mut state);
        aborted.map_err(|failure| LogError::client("aborting the transaction", failure))
    }

    fn close(mut self: Box<Self>, _by: Instant) -> Result<(), LogError> {
        self.go(false)
    }

    fn leave(mut self: Box<Self>, _by: Instant) -> Result<(), LogError> {
        self.go(true)
    }
}

/// Sends the heartbeats of a member.
struct Heartbeat {
    shared: Arc<Shared>,
    group: Arc<str>,
    client: ClientId,
    /// The member's present number; 0 before it has one.
    id: Arc<AtomicU64>,
}

impl KeepAlive for Heartbeat {
    fn beat(&self) {
        let mut state = self.shared.lock();
        let is_heard = !state.is_out()
            && !state.dead.contains(&self.client)
            && !state.cut.contains_key(&self.client);
        if is_heard {
            let (now, id) = (state.now, MemberId(self.id.load(Ordering::Relaxed)));
            state.group(&self.group, |group, _| group.members.seats.heard(id, now));
        }
    }
}

impl Drop for SimulatedMember {
    fn drop(&mut self) {
        if let Err(error) = self.go(false) {
            tracing::debug!(group = %self.group.name, %error, "could not leave the group cleanly");
        }
    }
}
