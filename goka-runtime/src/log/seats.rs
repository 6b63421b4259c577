//! The members of one group, with what each owns and what it has to do next: the part of a coordinator that
//! all logs of ours have in common. Tasks are distributed as Kafka's cooperative-sticky assignor does it; when
//! that is done anew is the engine's matter. A task is a partition of its lead, since members number their
//! topics differently. Pure: the time is an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::record::TopicPartition;

/// A member's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct MemberId(pub(super) u64);

/// How many partitions a topic has; 0 for one that does not exist.
pub(super) type Partitions<'p> = &'p dyn Fn(&str) -> i32;

/// What a member has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Rest,
    /// It is out, because it was silent for too long: everything it had is lost.
    Out,
    /// To give these back, then to say so by [`Seats::gave_back`].
    Revoke(Vec<TopicPartition>),
    /// It owns these from now on, under these epochs.
    Own(Vec<(TopicPartition, u64)>),
}

/// One member of a group.
#[derive(Debug)]
pub(super) struct Seat<T> {
    session: Duration,
    expires: T,
    pub(super) leads: Vec<Arc<str>>,
    /// With the epoch of each assignment.
    pub(super) owned: BTreeMap<TopicPartition, u64>,
    /// What it is to own.
    pub(super) target: BTreeSet<TopicPartition>,
}

impl<T: Copy + Add<Duration, Output = T>> Seat<T> {
    fn heard(&mut self, now: T) {
        self.expires = now + self.session;
    }
}

impl<T> Seat<T> {
    /// What it owns and is not to own any more.
    pub(super) fn surplus(&self) -> Vec<TopicPartition> {
        let owned = self.owned.keys().cloned();
        owned.filter(|slot| !self.target.contains(slot)).collect()
    }
}

/// The members of a group, by a clock whose moments are of type `T`.
#[derive(Debug)]
pub(super) struct Seats<T> {
    seats: BTreeMap<MemberId, Seat<T>>,
    epoch: u64,
}

impl<T> Default for Seats<T> {
    fn default() -> Self {
        let (seats, epoch) = Default::default();
        Self { seats, epoch }
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Seats<T> {
    pub(super) fn enter(&mut self, id: MemberId, leads: Vec<Arc<str>>, session: Duration, now: T) {
        let seat = Seat {
            session,
            expires: now + session,
            leads,
            owned: BTreeMap::new(),
            target: BTreeSet::new(),
        };
        self.seats.insert(id, seat);
    }

    pub(super) fn remove(&mut self, id: MemberId) -> Option<Seat<T>> {
        self.seats.remove(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Seat<T>)> {
        self.seats.iter().map(|(id, seat)| (*id, seat))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (MemberId, &mut Seat<T>)> {
        self.seats.iter_mut().map(|(id, seat)| (*id, seat))
    }

    pub(super) fn get(&self, id: MemberId) -> Option<&Seat<T>> {
        self.seats.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: MemberId) -> Option<&mut Seat<T>> {
        self.seats.get_mut(&id)
    }

    /// A member was heard of: its session begins anew.
    pub(super) fn heard(&mut self, id: MemberId, now: T) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.heard(now);
        }
    }

    pub(super) fn all_heard(&mut self, now: T) {
        self.seats.values_mut().for_each(|seat| seat.heard(now));
    }

    /// When the next silent member is put out.
    pub(super) fn next_expiry(&self) -> Option<T> {
        self.seats.values().map(|seat| seat.expires).min()
    }

    /// Puts the members out that were silent for longer than their session, but for those that are `kept`;
    /// returns which.
    pub(super) fn sweep(&mut self, now: T, kept: impl Fn(MemberId) -> bool) -> Vec<MemberId> {
        let late = self.seats.iter();
        let late = late.filter(|(id, seat)| seat.expires < now && !kept(**id));
        let late: Vec<MemberId> = late.map(|(id, _)| *id).collect();
        self.seats.retain(|id, _| !late.contains(id));
        late
    }

    /// Distributes the tasks anew: every member keeps what it has, the rest goes to those with the fewest,
    /// then tasks move until no member has two more than another that could take one. Of two
    /// members that could take a task the one with the lower number does.
    pub(super) fn balance(&mut self, partitions: Partitions<'_>) {
        let leads = self.seats.values().flat_map(|seat| &seat.leads);
        let leads: BTreeSet<&Arc<str>> = leads.collect();
        let slots = leads.into_iter().flat_map(|lead| {
            (0..partitions(lead)).map(move |partition| TopicPartition::new(lead.clone(), partition))
        });
        let mut free: BTreeSet<TopicPartition> = slots.collect();
        for seat in self.seats.values_mut() {
            let held = seat.owned.keys().chain(&seat.target);
            let kept = held.filter(|slot| free.contains(*slot)).cloned().collect();
            seat.target = kept;
            free.retain(|slot| !seat.target.contains(slot));
        }
        for slot in free {
            let takers = self.seats.values_mut();
            let takers = takers.filter(|seat| seat.leads.contains(&slot.topic));
            if let Some(taker) = takers.min_by_key(|seat| seat.target.len()) {
                taker.target.insert(slot);
            }
        }
        while let Some((slot, from, to)) = self.unfair() {
            for (id, seat) in &mut self.seats {
                if *id == from {
                    seat.target.remove(&slot);
                } else if *id == to {
                    seat.target.insert(slot.clone());
                }
            }
        }
    }

    /// A task of the richest member whose taking by the poorest brings balance; rather one that
    /// its holder does not own yet.
    fn unfair(&self) -> Option<(TopicPartition, MemberId, MemberId)> {
        let mut rich: Vec<_> = self.seats.iter().collect();
        rich.sort_by_key(|(id, seat)| (Reverse(seat.target.len()), **id));
        for (from, seat) in &rich {
            for (to, poor) in rich.iter().rev() {
                if poor.target.len() + 2 > seat.target.len() {
                    break;
                }
                let movable = seat.target.iter();
                let movable = movable.filter(|slot| poor.leads.contains(&slot.topic));
                let moved = movable.max_by_key(|slot| (!seat.owned.contains_key(*slot), *slot));
                if let Some(slot) = moved {
                    return Some((slot.clone(), **from, **to));
                }
            }
        }
        None
    }

    /// What a member has to do next. Tasks that nobody owns are given to it.
    pub(super) fn next(&mut self, id: MemberId) -> Step {
        let Some(seat) = self.get(id) else {
            return Step::Out;
        };
        let surplus = seat.surplus();
        if !surplus.is_empty() {
            return Step::Revoke(surplus);
        }
        let is_owned =
            |slot: &TopicPartition| self.iter().any(|(_, seat)| seat.owned.contains_key(slot));
        let free = seat.target.iter().filter(|slot| !is_owned(slot)).cloned();
        let given: Vec<(TopicPartition, u64)> = free.zip(self.epoch + 1..).collect();
        let Some((_, epoch)) = given.last() else {
            return Step::Rest;
        };
        self.epoch = *epoch;
        if let Some(seat) = self.get_mut(id) {
            seat.owned.extend(given.iter().cloned());
        }
        Step::Own(given)
    }

    /// A member gave tasks back; returns whether it is in the group.
    pub(super) fn gave_back(&mut self, id: MemberId, slots: &[TopicPartition], now: T) -> bool {
        self.heard(id, now);
        let seat = self.get_mut(id);
        seat.is_some_and(|seat| {
            seat.owned.retain(|slot, _| !slots.contains(slot));
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);
    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn seats(members: &[(MemberId, &[&str])]) -> Seats<Duration> {
        let mut seats = Seats::default();
        for (id, leads) in members {
            let leads = leads.iter().map(|lead| Arc::from(*lead)).collect();
            seats.enter(*id, leads, SESSION, Duration::ZERO);
        }
        seats
    }

    #[test]
    fn epochs_grow_and_a_task_has_one_owner() {
        let mut seats = seats(&[(A, &["t"])]);
        seats.balance(&|_| 2);
        let slot = |partition| TopicPartition::new("t", partition);
        assert_eq!(seats.next(A), Step::Own(vec![(slot(0), 1), (slot(1), 2)]));
        assert_eq!(seats.next(A), Step::Rest);
        seats.enter(B, vec!["t".into()], SESSION, Duration::ZERO);
        seats.balance(&|_| 2);
        assert_eq!(seats.next(B), Step::Rest, "not given back yet");
        assert_eq!(seats.next(A), Step::Revoke(vec![slot(1)]));
        assert!(seats.gave_back(A, &[slot(1)], Duration::ZERO));
        assert_eq!(seats.next(B), Step::Own(vec![(slot(1), 3)]));
        assert_eq!((seats.next(A), seats.next(B)), (Step::Rest, Step::Rest));
    }

    #[test]
    fn who_is_silent_for_longer_than_its_session_is_out() {
        let mut seats = seats(&[(A, &["t"]), (B, &["t"])]);
        let late = SESSION + Duration::from_millis(1);
        assert_eq!(seats.next_expiry(), Some(SESSION));
        assert!(seats.sweep(SESSION, |_| false).is_empty());
        assert_eq!(seats.sweep(late, |id| id == A), [B]);
        assert_eq!(seats.next(B), Step::Out);
        assert!(!seats.gave_back(B, &[], late));
        seats.all_heard(late);
        assert!(seats.sweep(late + SESSION, |_| false).is_empty());
        assert_eq!(seats.sweep(late + late, |_| false), [A]);
    }
}
