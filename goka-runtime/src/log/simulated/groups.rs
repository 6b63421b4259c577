//! The coordinator of one group: members, generations, static members, cooperative rebalances. In a
//! rebalance every member joins anew with what it owns; when the last one did, the next generation
//! begins. What is to move is first given back by its owner, and handed out by the generation after.
//! Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::topics::Serial;
use crate::log::Committed;
use crate::log::seats::{MemberId, Partitions, Seat, Seats, Step};
use crate::record::TopicPartition;

pub(super) type Offsets = Vec<(TopicPartition, Committed)>;

/// Whether a member that commits offsets is in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    In,
    Unknown,
    Fenced,
}

#[derive(Debug, Default)]
pub(super) struct Coordinator {
    pub(super) seats: Seats<Duration>,
    /// The static members by their names, also those that are gone.
    instances: BTreeMap<String, MemberId>,
    fenced: BTreeSet<MemberId>,
    /// The number of the current one.
    pub(super) generation: u64,
    preparing: bool,
    /// Who takes part in the generation to come.
    joined: BTreeSet<MemberId>,
}

/// A group: its members and its offsets.
#[derive(Debug, Default)]
pub(super) struct SimulatedGroup {
    pub(super) members: Coordinator,
    pub(super) offsets: BTreeMap<TopicPartition, Committed>,
    /// The offsets in open transactions.
    pub(super) pending: BTreeMap<Serial, Offsets>,
}

impl SimulatedGroup {
    /// Whether an open transaction holds an offset of a partition.
    pub(super) fn is_pending(&self, partition: &TopicPartition) -> bool {
        let mut pending = self.pending.values().flatten();
        pending.any(|(of, _)| of == partition)
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
        let before = instance.and_then(|instance| self.instances.insert(instance, id));
        let old = before.and_then(|before| Some((before, self.seats.remove(before)?)));
        self.seats.enter(id, leads, session, now);
        if let (Some((before, old)), Some(new)) = (old, self.seats.get_mut(id)) {
            self.fenced.insert(before);
            // What it was to give back is unassigned now.
            let is_whole = old.surplus().is_empty();
            new.target = old.target;
            if new.leads == old.leads && is_whole && !self.preparing {
                return;
            }
        }
        self.prepare();
    }

    /// A member says that it goes. A static one that does not give its place up is expected back,
    /// until its session ends.
    pub(super) fn leave(&mut self, id: MemberId, gives_up: bool) {
        let is_static = self.instances.values().any(|member| *member == id);
        if (gives_up || !is_static) && self.seats.remove(id).is_some() {
            self.prepare();
        }
    }

    /// Begins a rebalance, unless one is under way.
    pub(super) fn prepare(&mut self) {
        if !std::mem::replace(&mut self.preparing, true) {
            self.joined.clear();
        }
    }

    /// Whether a member joined for a topic.
    pub(super) fn follows(&self, topic: &str) -> bool {
        let mut leads = self.seats.iter().flat_map(|(_, seat)| &seat.leads);
        leads.any(|lead| **lead == *topic)
    }

    /// A member polls; `None` when a newer one has its static identity.
    pub(super) fn step(
        &mut self,
        id: MemberId,
        now: Duration,
        partitions: Partitions<'_>,
    ) -> Option<Step> {
        if self.standing(Some(id)) == Standing::Fenced {
            return None;
        }
        self.seats.heard(id, now);
        let seat = self.seats.get(id);
        if self.preparing && seat.is_some_and(|seat| seat.surplus().is_empty()) {
            self.joined.insert(id);
            if self.seats.iter().all(|(id, _)| self.joined.contains(&id)) {
                self.complete(partitions);
            }
        }
        Some(self.seats.next(id))
    }

    fn complete(&mut self, partitions: Partitions<'_>) {
        self.preparing = false;
        self.generation += 1;
        self.seats.balance(partitions);
        // What another member still owns is handed out by the generation after.
        let owned = self.seats.iter();
        let owned =
            owned.flat_map(|(id, seat)| seat.owned.keys().map(move |slot| (id, slot.clone())));
        for (owner, slot) in owned.collect::<Vec<_>>() {
            for (_, seat) in self.seats.iter_mut().filter(|(id, _)| *id != owner) {
                seat.target.remove(&slot);
            }
        }
    }

    /// A member gave tasks back: it joins anew, so that others get them.
    pub(super) fn gave_back(&mut self, id: MemberId, slots: &[TopicPartition], now: Duration) {
        if self.seats.gave_back(id, slots, now) {
            self.prepare();
        }
    }

    /// Whether offsets are taken from a member.
    pub(super) fn standing(&self, id: Option<MemberId>) -> Standing {
        match id {
            Some(id) if self.seats.get(id).is_some() => Standing::In,
            Some(id) if self.fenced.contains(&id) => Standing::Fenced,
            _ => Standing::Unknown,
        }
    }

    /// Puts out who was silent for longer than its session; says who.
    pub(super) fn sweep(&mut self, now: Duration) -> Vec<MemberId> {
        let late = self.seats.sweep(now, |_| false);
        if !late.is_empty() {
            self.prepare();
        }
        late
    }

    /// Whether members still have to say that they know who owns what.
    pub(super) fn is_rebalancing(&self) -> bool {
        let moves = |seat: &Seat<Duration>| !seat.owned.keys().eq(&seat.target);
        let mut seats = self.seats.iter().map(|(_, seat)| seat).peekable();
        seats.peek().is_some() && (self.preparing || seats.any(moves))
    }
}
