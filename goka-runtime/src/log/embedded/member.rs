//! A member of a group: the tasks it owns, what it fetches, and the order in which it calls its driver.
//! Reads straight from the file, so nothing is prefetched and nothing has to be dropped. No lock
//! is held while the driver is called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Embedded;
use super::commit::Pending;
use super::rows::TopicRow;
use super::shared::{MOST, Shared};
use crate::log::seats::{MemberId, Step};
use crate::log::{
    Assignment, Committer, Driver, Epoch, Fetched, Group, KeepAlive, LogError, Member, MemberEvent,
    OffsetGap,
};
use crate::record::{Offset, TaskId, TopicId, TopicPartition};

/// An input of a task that is being fetched.
struct Intake {
    tp: TopicPartition,
    handle: u32,
    position: Offset,
    /// How many records are read at once: few where the driver takes few.
    most: u32,
}

struct Held {
    epoch: Epoch,
    intakes: BTreeMap<TopicId, Intake>,
}

pub(super) struct EmbeddedMember {
    /// Keeps the log open.
    pub(super) log: Embedded,
    pub(super) group: Arc<Group>,
    /// Its present number, shared with [`Seat`].
    id: Arc<AtomicU64>,
    /// What is known of the group's topics.
    pub(super) places: Vec<Option<Arc<TopicRow>>>,
    pub(super) pending: Pending,
    held: BTreeMap<TaskId, Held>,
    paused: bool,
    /// Whether it was reported that the file cannot be read.
    troubled: bool,
    /// The input whose records came last: the others go first.
    last: Option<(TaskId, TopicId)>,
}

impl EmbeddedMember {
    pub(super) fn join(log: Embedded, group: Group) -> Self {
        let id = enter(log.shared(), &group);
        Self {
            log,
            places: vec![None; group.topics.len()],
            group: Arc::new(group),
            id: Arc::new(AtomicU64::new(id.0)),
            pending: Pending::default(),
            held: BTreeMap::new(),
            paused: false,
            troubled: false,
            last: None,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.log.shared()
    }

    pub(super) fn id(&self) -> MemberId {
        MemberId(self.id.load(Ordering::Acquire))
    }

    /// What the group wants of this member, the version of the log that was looked at, and when
    /// to look again.
    fn step(&self) -> (Step, u64, Instant) {
        let now = Instant::now();
        let mut state = self.shared().state();
        let id = self.id();
        let ((step, others), next) = state.group(&self.group.name, |group, partitions| {
            (group.step(id, now, partitions), group.seats.next_expiry())
        });
        if others {
            self.shared().notify(&mut state);
        }
        let by = now + self.group.session_timeout / 3;
        (
            step,
            state.version,
            next.map_or(by, |next| by.min(next + Duration::from_millis(1))),
        )
    }

    fn out(&mut self, driver: &mut dyn Driver) {
        let lost: Vec<TaskId> = std::mem::take(&mut self.held).into_keys().collect();
        self.pending.clear();
        let id = enter(self.shared(), &self.group);
        self.id.store(id.0, Ordering::Release);
        if !lost.is_empty() {
            driver.event(MemberEvent::Lost(&lost));
        }
    }

    fn revoke(&mut self, slots: &[TopicPartition], driver: &mut dyn Driver) {
        let tasks = self.group.tasks(slots);
        driver.revoking(&tasks, self as &mut dyn Committer);
        self.pending.forget(&tasks);
        self.held.retain(|task, _| !tasks.contains(task));
        self.give_back(slots);
    }

    fn give_back(&self, slots: &[TopicPartition]) {
        let mut state = self.shared().state();
        let id = self.id();
        state.group(&self.group.name, |group, _| {
            group.seats.gave_back(id, slots, Instant::now())
        });
        self.shared().notify(&mut state);
    }

    /// Reports that the file cannot be read, once until it has recovered.
    fn degrade(&mut self, error: &LogError, driver: &mut dyn Driver) {
        if !std::mem::replace(&mut self.troubled, true) {
            driver.event(MemberEvent::Degraded(Some(error.to_string())));
        }
    }

    fn own(
        &mut self,
        slots: &[(TopicPartition, u64)],
        driver: &mut dyn Driver,
    ) -> Result<(), LogError> {
        let mut assignments = Vec::with_capacity(slots.len());
        for (slot, epoch) in slots {
            let Some(task) = self.group.task(slot) else {
                continue;
            };
            let inputs: Vec<TopicId> = self.group.inputs_of(task).collect();
            let names = inputs
                .iter()
                .map(|input| (&**self.group.topic(*input), task.partition));
            let committed = self.shared().file.committed(&self.group.name, names)?;
            let committed = inputs.iter().zip(committed);
            let committed = committed
                .filter_map(|(input, found)| Some((*input, found?)))
                .collect();
            assignments.push(Assignment {
                task,
                epoch: Epoch(*epoch),
                committed,
            });
        }
        for Assignment { task, epoch, .. } in &assignments {
            let (epoch, intakes) = (*epoch, BTreeMap::new());
            self.held.insert(*task, Held { epoch, intakes });
        }
        driver.event(MemberEvent::Assigned(&assignments));
        Ok(())
    }

    /// Hands over one batch, of the input after the one that came last; says whether it did.
    fn hand_out(&mut self, driver: &mut dyn Driver) -> Result<bool, LogError> {
        if self.paused {
            return Ok(false);
        }
        let shared = self.log.shared().clone();
        let all = self.held.iter().flat_map(|(task, held)| {
            let topics = held.intakes.keys();
            topics.map(|topic| (*task, *topic))
        });
        let (mut order, first): (Vec<_>, Vec<_>) = all.partition(|place| Some(*place) > self.last);
        order.extend(first);
        for (task, topic) in order {
            let Some(held) = self.held.get_mut(&task) else {
                continue;
            };
            let Some(intake) = held.intakes.get_mut(&topic) else {
                continue;
            };
            let from = intake.position;
            let page = match shared.read(&intake.tp, intake.handle, from, intake.most) {
                Ok(Some(page)) => page,
                Ok(None) => continue,
                Err(error @ LogError::OutOfRange { .. }) => {
                    held.intakes.remove(&topic);
                    driver.event(MemberEvent::InputFailed { task, topic, error });
                    return Ok(true);
                }
                Err(error) => return Err(error),
            };
            self.last = Some((task, topic));
            let epoch = held.epoch;
            // Behind the last record handed over, or where it was read from.
            let (mut any, mut from, mut not_taken) = (false, from, None);
            let next = page.hand_out(|records| {
                any = true;
                from = records.last().map_or(from, |last| last.offset + 1);
                let taken = driver.batch(Fetched {
                    task,
                    epoch,
                    topic,
                    records,
                });
                not_taken = records.get(taken).map(|next| (taken, next.offset));
            });
            if let Some((taken, next)) = not_taken {
                intake.position = next;
                intake.most = u32::try_from(taken).unwrap_or(MOST).clamp(1, MOST / 2) * 2;
                return Ok(true);
            }
            intake.most = intake.most.saturating_mul(2).min(MOST);
            match next {
                Ok(to) => {
                    intake.position = to;
                    if from < to {
                        any = true;
                        driver.event(MemberEvent::OffsetGap(OffsetGap {
                            task,
                            epoch,
                            topic,
                            from,
                            to,
                        }));
                    }
                }
                Err(damaged) => {
                    let error = shared.file.damaged(damaged);
                    held.intakes.remove(&topic);
                    driver.event(MemberEvent::InputFailed { task, topic, error });
                    return Ok(true);
                }
            }
            if any {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The member's place in its group, for the thread that keeps it there.
struct Seat {
    shared: Arc<Shared>,
    group: Arc<str>,
    id: Arc<AtomicU64>,
}

impl KeepAlive for Seat {
    fn beat(&self) {
        let id = MemberId(self.id.load(Ordering::Acquire));
        let mut state = self.shared.state();
        state.group(&self.group, |group, _| {
            group.seats.heard(id, Instant::now())
        });
    }
}

fn enter(shared: &Shared, group: &Group) -> MemberId {
    let leads = group.leads();
    let mut state = shared.state();
    state.members += 1;
    let id = MemberId(state.members);
    state.group(&group.name, |coordinator, partitions| {
        let now = Instant::now();
        coordinator
            .seats
            .enter(id, leads, group.session_timeout, now);
        coordinator.seats.balance(partitions);
    });
    shared.notify(&mut state);
    id
}

impl Member for EmbeddedMember {
    fn poll(&mut self, max: Duration, driver: &mut dyn Driver) -> Result<(), LogError> {
        let deadline = Instant::now() + max;
        loop {
            let (step, version, look_again) = self.step();
            match step {
                Step::Out => {
                    self.out(driver);
                    return Ok(());
                }
                Step::Revoke(slots) => {
                    self.revoke(&slots, driver);
                    return Ok(());
                }
                Step::Own(slots) => match self.own(&slots, driver) {
                    Ok(()) => return Ok(()),
                    Err(error) => {
                        // Not taken: given back, to be handed out again when the disk has recovered.
                        let slots: Vec<_> = slots.into_iter().map(|(slot, _)| slot).collect();
                        self.give_back(&slots);
                        self.degrade(&error, driver);
                        self.shared().reopen(deadline);
                        return Ok(());
                    }
                },
                Step::Rest => {}
            }
            match self.hand_out(driver) {
                Ok(handed) => {
                    if std::mem::take(&mut self.troubled) {
                        driver.event(MemberEvent::Degraded(None));
                    }
                    if handed || Instant::now() >= deadline {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.degrade(&error, driver);
                    self.shared().reopen(deadline);
                    if Instant::now() >= deadline {
                        return Ok(());
                    }
                }
            }
            self.shared().wait(version, deadline.min(look_again));
        }
    }

    fn keep_alive(&self) -> Arc<dyn KeepAlive> {
        Arc::new(Seat {
            shared: self.shared().clone(),
            group: self.group.name.clone(),
            id: self.id.clone(),
        })
    }

    fn fetch(&mut self, task: TaskId, positions: &[(TopicId, Offset)]) -> Result<(), LogError> {
        let group = self.group.clone();
        let shared = self.shared().clone();
        let Some(held) = self.held.get_mut(&task) else {
            return Err(group.not_owned(task));
        };
        for (topic, position) in positions {
            let tp = group.place(*topic, task.partition);
            let handle = shared.state().handle(&tp.topic, tp.partition)?;
            held.intakes.insert(
                *topic,
                Intake {
                    tp,
                    handle,
                    position: *position,
                    most: MOST,
                },
            );
        }
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
        self.pending.clear();
        Ok(())
    }

    fn close(mut self: Box<Self>, _by: Instant) -> Result<(), LogError> {
        match self.pending.clear() {
            0 => Ok(()),
            dropped => Err(LogError::failed(
                format!("leaving group `{}`", self.group.name),
                format!("{dropped} records were appended and never committed; they are dropped"),
            )),
        }
    }

    fn leave(self: Box<Self>, by: Instant) -> Result<(), LogError> {
        // Its process is the only one, so no place in the group is kept.
        self.close(by)
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        let mut state = self.log.shared().state();
        let id = self.id();
        let name = &self.group.name;
        state.group(name, |group, partitions| {
            group.seats.remove(id);
            group.seats.balance(partitions);
        });
        self.log.shared().notify(&mut state);
    }
}
