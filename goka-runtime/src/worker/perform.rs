//! Performs what the core asks for, in order, with what it asks for in turn.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{ACKS, Worker};
use crate::core::{Effect, Event, StopReason};
use crate::log::{CommitBatch, CommitOutcome, Committer, Failure, LogError, Member};
use crate::record::{Appends, TaskId, TopicId};

impl Worker {
    /// Performs what the core asked for, with what it asks for in turn.
    pub(super) fn perform(&mut self, member: &mut dyn Member) {
        while !self.effects.is_empty() {
            self.moves_on();
            for effect in std::mem::take(&mut self.effects) {
                if let Some(effect) = self.perform_own(effect, &mut *member) {
                    self.perform_at(effect, member);
                }
            }
        }
    }

    /// Performs an effect that needs no more than settling, and gives back any other.
    pub(super) fn perform_own(
        &mut self,
        effect: Effect,
        settle: &mut dyn Committer,
    ) -> Option<Effect> {
        match effect {
            Effect::Append(appends) => self.append(appends, settle),
            Effect::Commit(unit) => {
                let settlement = self.settle(&unit, settle);
                self.step(Event::CommitEnded(unit.id, settlement));
            }
            Effect::Abort => self.abort(settle),
            Effect::Flush(copy, frozen) => self.flush(copy, frozen),
            // One that the flusher still has was of an assignment that is over.
            Effect::Inspect(task, _) if self.flusher.has(self.own(task)) => {
                self.waiting.push(effect);
            }
            Effect::Follow(copy, _) | Effect::SetAside(copy, _) if self.flusher.has(copy) => {
                self.waiting.push(effect);
            }
            Effect::SetAside(copy, error) => {
                // One that is not here was closed or moved aside before.
                if let Some(store) = self.reach.take(copy) {
                    drop(store);
                    self.reached.remove(&copy);
                    self.restorer.set_aside(copy, &error);
                }
            }
            Effect::Inspect(task, epoch) => {
                let copy = self.own(task);
                let store = self.reach.take(copy);
                self.restorer.inspect(copy, epoch, store);
            }
            Effect::Verify(task, epoch) => self.restorer.verify(self.own(task), epoch),
            Effect::Restore {
                task,
                epoch,
                from,
                rebuild,
            } => {
                let copy = self.own(task);
                let store = self.reach.take(copy);
                self.restorer.restore(copy, epoch, store, from, rebuild);
            }
            Effect::Follow(copy, epoch) => {
                let store = self.reach.take(copy);
                self.restorer.follow(copy, epoch, store);
            }
            Effect::Close(task) => {
                self.restorer.cancel(task);
                self.waiting.retain(|effect| match effect {
                    Effect::Inspect(of, _) => *of != task,
                    Effect::Follow(copy, _) | Effect::SetAside(copy, _) => copy.task != task,
                    _ => true,
                });
                self.reach.stores.retain(|copy, _| copy.task != task);
                self.table_ids.retain(|copy, _| copy.task != task);
                self.reached.retain(|copy, _| copy.task != task);
            }
            Effect::Stopped(task, cause) => self.stopped(task, cause),
            Effect::Fail(cause) => {
                self.failed.get_or_insert(cause);
            }
            effect => return Some(effect),
        }
        None
    }

    pub(super) fn perform_at(&mut self, effect: Effect, member: &mut dyn Member) {
        let done = match effect {
            Effect::Fetch(task, positions) => member.fetch(task, &positions),
            Effect::Release(task) => {
                member.release(task);
                Ok(())
            }
            Effect::Pause(paused) => {
                member.pause(paused);
                Ok(())
            }
            Effect::Rebuild => member.rebuild(),
            _ => Ok(()),
        };
        if let Err(error) = done {
            self.failed.get_or_insert(StopReason::Member(error));
        }
    }

    pub(super) fn append(&mut self, appends: Appends, settle: &mut dyn Committer) {
        let began = Instant::now();
        self.parts.signals.unsettled.store(true, Ordering::Release);
        settle.append(&appends);
        self.append_took = self.append_took.max(began.elapsed());
        self.core.recycle(appends);
    }

    pub(super) fn settle(
        &mut self,
        unit: &CommitBatch,
        settle: &mut dyn Committer,
    ) -> CommitOutcome {
        let patience = if self.draining {
            self.parts.deadline / 2
        } else {
            // It is no poll of the member.
            ACKS.min(self.parts.plan.group.max_poll_interval / 2)
        };
        let began = Instant::now();
        let settlement = settle.commit(unit, began + patience);
        let waited = std::mem::take(&mut self.append_took).max(began.elapsed());
        self.tell(&settlement, waited);
        settlement
    }

    pub(super) fn abort(&mut self, settle: &mut dyn Committer) {
        let began = Instant::now();
        let Err(failure) = settle.abort(began + self.parts.deadline) else {
            return;
        };
        self.tell_unended(&failure, began.elapsed());
        let group = &self.parts.plan.group;
        let error = match failure {
            Failure::InstanceFenced(reason) => LogError::InstanceFenced {
                who: format!("group instance `{}`", group.instance),
                reason,
            },
            Failure::ProducerFenced(reason) => LogError::ProducerFenced {
                who: format!("the producer of instance `{}`", group.instance),
                reason,
            },
            failure => LogError::client(
                format!("aborting a transaction of group `{}`", group.name),
                failure,
            ),
        };
        self.failed.get_or_insert(StopReason::Member(error));
    }

    /// Whether an input of a task is about to be fetched from elsewhere.
    pub(super) fn moves(&self, task: TaskId, topic: TopicId) -> bool {
        let is_move = |effect: &Effect| match effect {
            Effect::Fetch(of, to) => *of == task && to.iter().any(|(of, _)| *of == topic),
            _ => false,
        };
        self.effects.iter().any(is_move)
    }
}
