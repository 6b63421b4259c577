//! Which member is to own which tasks of a group: balanced and sticky, as Kafka's cooperative-sticky assignor
//! does it. Pure; how a task moves from one owner to the next is the engine's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A task by the name of its lead and its partition; members number their topics differently.
pub(super) type Slot = (Arc<str>, i32);

/// How many partitions a topic has; 0 for one that does not exist.
pub(super) type Partitions<'p> = &'p dyn Fn(&str) -> i32;

/// One member's part.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) leads: Vec<Arc<str>>,
    /// With the epoch of each assignment.
    pub(super) owned: BTreeMap<Slot, u64>,
    /// What it is to own.
    pub(super) target: BTreeSet<Slot>,
}

impl Share {
    /// What it owns and is not to own any more.
    pub(super) fn surplus(&self) -> Vec<Slot> {
        let owned = self.owned.keys().cloned();
        owned.filter(|slot| !self.target.contains(slot)).collect()
    }
}

/// Distributes the tasks anew: every member keeps what it has, the rest goes to those with the fewest,
/// then tasks move until no member has two more than another that could take one. Of two
/// members that could take a task the one that comes first in the list does.
pub(super) fn balance(shares: &mut [&mut Share], partitions: Partitions<'_>) {
    let leads: BTreeSet<&Arc<str>> = shares.iter().flat_map(|share| &share.leads).collect();
    let slots = leads
        .into_iter()
        .flat_map(|lead| (0..partitions(lead)).map(move |partition| (lead.clone(), partition)));
    let mut free: BTreeSet<Slot> = slots.collect();
    for share in shares.iter_mut() {
        let held = share.owned.keys().chain(&share.target);
        let kept = held.filter(|slot| free.contains(*slot)).cloned().collect();
        share.target = kept;
        free.retain(|slot| !share.target.contains(slot));
    }
    for slot in free {
        let candidates = shares
            .iter_mut()
            .filter(|share| share.leads.contains(&slot.0));
        if let Some(receiver) = candidates.min_by_key(|share| share.target.len()) {
            receiver.target.insert(slot);
        }
    }
    while let Some((slot, from, to)) = unfair(shares) {
        shares[from].target.remove(&slot);
        shares[to].target.insert(slot);
    }
}

/// A task of the richest member whose taking by the poorest brings balance; rather one that
/// its holder does not own yet.
fn unfair(shares: &[&mut Share]) -> Option<(Slot, usize, usize)> {
    let mut rich: Vec<_> = shares.iter().enumerate().collect();
    rich.sort_by_key(|(at, share)| (std::cmp::Reverse(share.target.len()), *at));
    for (from, share) in &rich {
        for (to, poor) in rich.iter().rev() {
            if poor.target.len() + 2 > share.target.len() {
                break;
            }
            let movable = share
                .target
                .iter()
                .filter(|slot| poor.leads.contains(&slot.0));
            if let Some(slot) = movable.max_by_key(|slot| (!share.owned.contains_key(*slot), *slot))
            {
                return Some((slot.clone(), *from, *to));
            }
        }
    }
    None
}
