//! The members of one group, with what each owns and what it has to do next: the part of a coordinator that
//! all logs of ours have in common. When tasks are distributed anew is the engine's matter. Pure: the time
//! is an argument.

use std::collections::BTreeMap;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use super::balance::{Partitions, Share, Slot, balance};

/// A member's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct MemberId(pub(super) u64);

/// What a member has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// It is out, because it was silent for too long: everything it had is lost.
    Out,
    /// To give these back, then to say so by [`Seats::gave_back`].
    Revoke(Vec<Slot>),
    /// It owns these from now on, under these epochs.
    Own(Vec<(Slot, u64)>),
}

#[derive(Debug)]
struct Seat<T> {
    session: Duration,
    expires: T,
    share: Share,
}

impl<T: Copy + Add<Duration, Output = T>> Seat<T> {
    fn heard(&mut self, now: T) {
        self.expires = now + self.session;
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
    /// A member joins.
    pub(super) fn enter(&mut self, id: MemberId, leads: Vec<Arc<str>>, session: Duration, now: T) {
        let share = Share {
            leads,
            ..Share::default()
        };
        let expires = now + session;
        let seat = Seat {
            session,
            expires,
            share,
        };
        self.seats.insert(id, seat);
    }

    /// A member is gone; returns what it had.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<Share> {
        self.seats.remove(&id).map(|seat| seat.share)
    }

    /// The members, with what each has.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Share)> {
        self.seats.iter().map(|(id, seat)| (*id, &seat.share))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (MemberId, &mut Share)> {
        let seats = self.seats.iter_mut();
        seats.map(|(id, seat)| (*id, &mut seat.share))
    }

    pub(super) fn get(&self, id: MemberId) -> Option<&Share> {
        self.seats.get(&id).map(|seat| &seat.share)
    }

    pub(super) fn get_mut(&mut self, id: MemberId) -> Option<&mut Share> {
        self.seats.get_mut(&id).map(|seat| &mut seat.share)
    }

    /// A member was heard of: its session begins anew.
    pub(super) fn heard(&mut self, id: MemberId, now: T) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.heard(now);
        }
    }

    /// All sessions begin anew.
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

    /// Says anew who is to own what.
    pub(super) fn balance(&mut self, partitions: Partitions<'_>) {
        let shares = self.iter_mut().map(|(_, share)| share);
        balance(&mut shares.collect::<Vec<_>>(), partitions);
    }

    /// What a member has to do next. Tasks that nobody owns are given to it.
    pub(super) fn next(&mut self, id: MemberId) -> Step {
        let Some(share) = self.get(id) else {
            return Step::Out;
        };
        let surplus = share.surplus();
        if !surplus.is_empty() {
            return Step::Revoke(surplus);
        }
        let is_owned = |slot: &Slot| self.iter().any(|(_, share)| share.owned.contains_key(slot));
        let free = share.target.iter().filter(|slot| !is_owned(slot)).cloned();
        let given: Vec<(Slot, u64)> = free.zip(self.epoch + 1..).collect();
        let Some((_, epoch)) = given.last() else {
            return Step::Rest;
        };
        self.epoch = *epoch;
        if let Some(share) = self.get_mut(id) {
            share.owned.extend(given.iter().cloned());
        }
        Step::Own(given)
    }

    /// A member gave tasks back; returns whether it is in the group.
    pub(super) fn gave_back(&mut self, id: MemberId, slots: &[Slot], now: T) -> bool {
        self.heard(id, now);
        let share = self.get_mut(id);
        share.is_some_and(|share| {
            share.owned.retain(|slot, _| !slots.contains(slot));
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
        let slot = |partition| (Arc::from("t"), partition);
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
