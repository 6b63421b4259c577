//! Who owns which tasks of one group: cooperative. A task that moves is first given back by its
//! owner (or its owner is gone), then handed to the next one. Called under the log's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::log::seats::{MemberId, Partitions, Seats, Step};
use crate::record::TopicPartition;

#[derive(Debug, Default)]
pub(super) struct Coordinator {
    pub(super) seats: Seats<Instant>,
    /// Between the check of its ownership and the end of its write a member cannot be put out.
    committing: BTreeSet<MemberId>,
}

impl Coordinator {
    /// A member polls. Says whether anything changed for others, too.
    pub(super) fn step(
        &mut self,
        id: MemberId,
        now: Instant,
        partitions: Partitions<'_>,
    ) -> (Step, bool) {
        let swept = self.sweep_others(id, now, partitions);
        (self.seats.next(id), swept)
    }

    /// Begins a member's write: it stays in until [`Coordinator::end_commit`]. `None` when it is out.
    pub(super) fn begin_commit(
        &mut self,
        id: MemberId,
        now: Instant,
        partitions: Partitions<'_>,
    ) -> Option<&BTreeMap<TopicPartition, u64>> {
        self.sweep_others(id, now, partitions);
        let seat = self.seats.get(id)?;
        self.committing.insert(id);
        Some(&seat.owned)
    }

    pub(super) fn end_commit(&mut self, id: MemberId, now: Instant) {
        self.committing.remove(&id);
        self.seats.heard(id, now);
    }

    /// Puts out the members that were silent for longer than their session. The one that is asking is
    /// not silent, however long it was before: no other member has its tasks while it is here.
    fn sweep_others(&mut self, id: MemberId, now: Instant, partitions: Partitions<'_>) -> bool {
        self.seats.heard(id, now);
        let out = self.seats.sweep(now, |id| self.committing.contains(&id));
        if !out.is_empty() {
            self.seats.balance(partitions);
        }
        !out.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    fn join(
        group: &mut Coordinator,
        id: MemberId,
        leads: &[&str],
        now: Instant,
        partitions: Partitions<'_>,
    ) {
        let leads = leads.iter().map(|lead| Arc::from(*lead)).collect();
        group.seats.enter(id, leads, SESSION, now);
        group.seats.balance(partitions);
    }

    fn two(_: &str) -> i32 {
        4
    }

    fn slots(step: &Step) -> Vec<i32> {
        match step {
            Step::Own(own) => own.iter().map(|(slot, _)| slot.partition).collect(),
            Step::Revoke(slots) => slots.iter().map(|slot| slot.partition).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_task_moves_only_after_it_was_given_back() {
        let now = Instant::now();
        let mut group = Coordinator::default();
        let (a, b) = (MemberId(1), MemberId(2));
        join(&mut group, a, &["t"], now, &two);
        assert_eq!(slots(&group.step(a, now, &two).0), [0, 1, 2, 3]);
        join(&mut group, b, &["t"], now, &two);
        assert_eq!(group.step(b, now, &two).0, Step::Rest, "not given back yet");
        let Step::Revoke(back) = group.step(a, now, &two).0 else {
            panic!("the first member keeps everything")
        };
        assert_eq!(back.len(), 2);
        assert_eq!(group.step(b, now, &two).0, Step::Rest);
        group.seats.gave_back(a, &back, now);
        assert_eq!(
            slots(&group.step(b, now, &two).0),
            back.iter().map(|s| s.partition).collect::<Vec<_>>()
        );
        assert_eq!(group.step(a, now, &two).0, Step::Rest);
        group.seats.remove(b);
        group.seats.balance(&two);
        let (step, _) = group.step(a, now, &two);
        let Step::Own(again) = step else {
            panic!("tasks of the one that left stay free")
        };
        assert!(
            again.iter().all(|(_, epoch)| *epoch > 4),
            "new assignments have new epochs"
        );
    }

    #[test]
    fn a_silent_member_is_out_but_not_while_it_settles() {
        let now = Instant::now();
        let late = now + SESSION + Duration::from_millis(1);
        let mut group = Coordinator::default();
        let (a, b) = (MemberId(1), MemberId(2));
        join(&mut group, a, &["t"], now, &two);
        group.step(a, now, &two);
        assert!(group.begin_commit(a, now, &two).is_some());
        join(&mut group, b, &["t"], late, &two);
        assert_eq!(
            group.step(b, late, &two).0,
            Step::Rest,
            "a write in flight holds its tasks"
        );
        group.end_commit(a, now);
        assert_eq!(slots(&group.step(b, late, &two).0), [0, 1, 2, 3]);
        assert_eq!(group.step(a, late, &two).0, Step::Out);
        assert!(group.begin_commit(a, late, &two).is_none());
    }

    #[test]
    fn members_with_different_leads_get_only_theirs() {
        let now = Instant::now();
        let counts = |topic: &str| if topic == "s" { 3 } else { 1 };
        let mut group = Coordinator::default();
        join(&mut group, MemberId(1), &["s"], now, &counts);
        join(&mut group, MemberId(2), &["s", "t"], now, &counts);
        let first = slots(&group.step(MemberId(1), now, &counts).0);
        let second = slots(&group.step(MemberId(2), now, &counts).0);
        assert_eq!((first.len(), second.len()), (2, 2));
    }
}
