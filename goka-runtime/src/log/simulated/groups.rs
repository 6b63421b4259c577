//! The coordinator of one group: members, generations, static members, cooperative rebalances. In a
//! rebalance every member joins anew with what it owns; when the last one did, the next generation
//! begins. What is to move is first given back by its owner, and handed out by the generation after.
//! Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::topics::Serial;
use crate::log::Committed;
use crate::log::balance::{Holder, Partitions, Slot, balance};

/// Offsets of a group, by topic and partition.
pub(super) type Offsets = Vec<((Arc<str>, i32), Committed)>;

/// A member's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(pub(super) u64);

/// What a member has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// It is out: everything it had is lost.
    Out,
    /// A newer one has its static identity.
    Fenced,
    /// To give these back, then to say so by [`Coordinator::gave_back`].
    Revoke(Vec<Slot>),
    /// It owns these from now on, under these epochs.
    Own(Vec<(Slot, u64)>),
}

/// Whether a member that commits offsets is in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    In,
    Unknown,
    Fenced,
}

#[derive(Debug)]
struct Seat {
    instance: Option<String>,
    leads: Vec<Arc<str>>,
    session: Duration,
    seen: Duration,
    /// Whether it takes part in the generation to come.
    joined: bool,
    owned: BTreeMap<Slot, u64>,
    target: BTreeSet<Slot>,
}

/// The members of a group.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    seats: BTreeMap<MemberId, Seat>,
    fenced: BTreeSet<MemberId>,
    generation: u64,
    epoch: u64,
    preparing: bool,
}

/// A group: its members and its offsets.
#[derive(Debug, Default)]
pub(super) struct SimulatedGroup {
    pub(super) members: Coordinator,
    pub(super) offsets: BTreeMap<(Arc<str>, i32), Committed>,
    /// The offsets in open transactions.
    pub(super) pending: BTreeMap<Serial, Offsets>,
}

impl SimulatedGroup {
    /// Whether an open transaction holds an offset of a partition.
    pub(super) fn is_pending(&self, topic: &str, partition: i32) -> bool {
        let mut pending = self.pending.values().flatten();
        pending.any(|((name, number), _)| **name == *topic && *number == partition)
    }

    /// What is committed for a partition.
    pub(super) fn committed(&self, topic: &Arc<str>, partition: i32) -> Option<Committed> {
        self.offsets.get(&(topic.clone(), partition)).cloned()
    }
}

impl Coordinator {
    /// A member joins; a static one takes the place of the one before it, with its tasks, and
    /// without a rebalance.
    pub(super) fn enter(
        &mut self,
        id: MemberId,
        instance: Option<String>,
        leads: Vec<Arc<str>>,
        session: Duration,
        now: Duration,
    ) {
        let mut seats = self.seats.iter();
        let before = seats.find(|(_, seat)| instance.is_some() && seat.instance == instance);
        let mut seat = Seat {
            instance,
            leads,
            session,
            seen: now,
            joined: false,
            owned: BTreeMap::new(),
            target: BTreeSet::new(),
        };
        if let Some(before) = before.map(|(before, _)| *before)
            && let Some(old) = self.seats.remove(&before)
        {
            self.fenced.insert(before);
            // What it was to give back is unassigned now.
            let is_whole = old.surplus().is_empty();
            seat.target = old.target;
            if seat.leads == old.leads && is_whole && !self.preparing {
                self.seats.insert(id, seat);
                return;
            }
        }
        self.seats.insert(id, seat);
        self.prepare();
    }

    /// A member says that it goes. A static one that does not give its place up is expected back,
    /// until its session ends.
    pub(super) fn leave(&mut self, id: MemberId, gives_up: bool) {
        let is_gone = |seat: &Seat| gives_up || seat.instance.is_none();
        if self.seats.get(&id).is_some_and(is_gone) {
            self.seats.remove(&id);
            self.prepare();
        }
    }

    /// Begins a rebalance, unless one is under way.
    pub(super) fn prepare(&mut self) {
        if !std::mem::replace(&mut self.preparing, true) {
            for seat in self.seats.values_mut() {
                seat.joined = false;
            }
        }
    }

    /// Whether a member joined for a topic.
    pub(super) fn follows(&self, topic: &str) -> bool {
        let mut leads = self.seats.values().flat_map(|seat| &seat.leads);
        leads.any(|lead| **lead == *topic)
    }

    /// A member polls.
    pub(super) fn step(&mut self, id: MemberId, now: Duration, partitions: Partitions<'_>) -> Step {
        let Some(seat) = self.seats.get_mut(&id) else {
            return match self.fenced.contains(&id) {
                true => Step::Fenced,
                false => Step::Out,
            };
        };
        seat.seen = now;
        if self.preparing && seat.surplus().is_empty() {
            seat.joined = true;
            if self.seats.values().all(|seat| seat.joined) {
                self.complete(partitions);
            }
        }
        self.next(id)
    }

    fn next(&mut self, id: MemberId) -> Step {
        let Some(seat) = self.seats.get(&id) else {
            return Step::Out;
        };
        let surplus = seat.surplus();
        if !surplus.is_empty() {
            return Step::Revoke(surplus);
        }
        let is_free = |slot: &&Slot| !self.is_owned(slot);
        let free: Vec<Slot> = seat.target.iter().filter(is_free).cloned().collect();
        if free.is_empty() {
            return Step::Rest;
        }
        let mut given = Vec::with_capacity(free.len());
        for slot in free {
            self.epoch += 1;
            given.push((slot, self.epoch));
        }
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.owned.extend(given.iter().cloned());
        }
        Step::Own(given)
    }

    fn is_owned(&self, slot: &Slot) -> bool {
        self.seats
            .values()
            .any(|seat| seat.owned.contains_key(slot))
    }

    /// Begins the next generation.
    fn complete(&mut self, partitions: Partitions<'_>) {
        self.preparing = false;
        self.generation += 1;
        let seats = self.seats.values_mut();
        let mut holders: Vec<Holder<'_>> = seats
            .map(|seat| Holder {
                leads: &seat.leads,
                owned: &seat.owned,
                target: &mut seat.target,
            })
            .collect();
        balance(&mut holders, partitions);
        // What another member still owns is handed out by the generation after.
        let owned: Vec<(MemberId, Slot)> = self
            .seats
            .iter()
            .flat_map(|(id, seat)| seat.owned.keys().map(|slot| (*id, slot.clone())))
            .collect();
        for (owner, slot) in owned {
            for (id, seat) in &mut self.seats {
                if *id != owner {
                    seat.target.remove(&slot);
                }
            }
        }
    }

    /// A member gave tasks back: it joins anew, so that others get them.
    pub(super) fn gave_back(&mut self, id: MemberId, slots: &[Slot], now: Duration) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.owned.retain(|slot, _| !slots.contains(slot));
            seat.seen = now;
            self.prepare();
        }
    }

    /// Whether offsets are taken from a member.
    pub(super) fn standing(&self, id: Option<MemberId>) -> Standing {
        match id {
            Some(id) if self.seats.contains_key(&id) => Standing::In,
            Some(id) if self.fenced.contains(&id) => Standing::Fenced,
            _ => Standing::Unknown,
        }
    }

    /// A member was heard of.
    pub(super) fn heard(&mut self, id: MemberId, now: Duration) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.seen = now;
        }
    }

    /// The coordinator is back from a time away: sessions begin anew.
    pub(super) fn recovered(&mut self, now: Duration) {
        for seat in self.seats.values_mut() {
            seat.seen = now;
        }
    }

    /// Puts out who was silent for longer than its session; says who.
    pub(super) fn sweep(&mut self, now: Duration) -> Vec<MemberId> {
        let is_late = |seat: &Seat| now.saturating_sub(seat.seen) > seat.session;
        let late = self.seats.iter().filter(|(_, seat)| is_late(seat));
        let late: Vec<MemberId> = late.map(|(id, _)| *id).collect();
        for id in &late {
            self.seats.remove(id);
        }
        if !late.is_empty() {
            self.prepare();
        }
        late
    }

    /// Whether members still have to say that they know who owns what.
    pub(super) fn is_rebalancing(&self) -> bool {
        let moves = |seat: &Seat| {
            !seat.surplus().is_empty()
                || seat
                    .target
                    .iter()
                    .any(|slot| !seat.owned.contains_key(slot))
        };
        !self.seats.is_empty() && (self.preparing || self.seats.values().any(moves))
    }

    /// The number of the current generation.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Seat {
    /// What it owns and is not to own any more.
    fn surplus(&self) -> Vec<Slot> {
        let mut owned: Vec<Slot> = self.owned.keys().cloned().collect();
        owned.retain(|slot| !self.target.contains(slot));
        owned
    }
}
