//! Which member is to own which tasks of a group: balanced and sticky, as Kafka's cooperative-sticky assignor
//! does it. Pure; how a task moves from one owner to the next is the engine's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A task by the name of its lead and its partition; members number their topics differently.
pub(super) type Slot = (Arc<str>, i32);

/// How many partitions a topic has; 0 for one that does not exist.
pub(super) type Partitions<'p> = &'p dyn Fn(&str) -> i32;

/// One member's part.
pub(super) struct Holder<'h> {
    pub(super) leads: &'h [Arc<str>],
    pub(super) owned: &'h BTreeMap<Slot, u64>,
    pub(super) target: &'h mut BTreeSet<Slot>,
}

/// Distributes the tasks anew: every member keeps what it has, the rest goes to those with the fewest,
/// then tasks move until no member has two more than another that could take one. Of two
/// members that could take a task the one that comes first in the list does.
pub(super) fn balance(holders: &mut [Holder<'_>], partitions: Partitions<'_>) {
    let leads: BTreeSet<&Arc<str>> = holders.iter().flat_map(|holder| holder.leads).collect();
    let slots = leads
        .into_iter()
        .flat_map(|lead| (0..partitions(lead)).map(move |partition| (lead.clone(), partition)));
    let mut free: BTreeSet<Slot> = slots.collect();
    for holder in holders.iter_mut() {
        let held = holder.owned.keys().chain(&*holder.target);
        let kept = held.filter(|slot| free.contains(*slot)).cloned().collect();
        *holder.target = kept;
        free.retain(|slot| !holder.target.contains(slot));
    }
    for slot in free {
        let candidates = holders
            .iter_mut()
            .filter(|holder| holder.leads.contains(&slot.0));
        if let Some(receiver) = candidates.min_by_key(|holder| holder.target.len()) {
            receiver.target.insert(slot);
        }
    }
    while let Some((slot, from, to)) = unfair(holders) {
        holders[from].target.remove(&slot);
        holders[to].target.insert(slot);
    }
}

/// A task of the richest member whose taking by the poorest brings balance; rather one that
/// its holder does not own yet.
fn unfair(holders: &[Holder<'_>]) -> Option<(Slot, usize, usize)> {
    let mut rich: Vec<_> = holders.iter().enumerate().collect();
    rich.sort_by_key(|(at, holder)| (std::cmp::Reverse(holder.target.len()), *at));
    for (from, holder) in &rich {
        for (to, poor) in rich.iter().rev() {
            if poor.target.len() + 2 > holder.target.len() {
                break;
            }
            let movable = holder
                .target
                .iter()
                .filter(|slot| poor.leads.contains(&slot.0));
            if let Some(slot) =
                movable.max_by_key(|slot| (!holder.owned.contains_key(*slot), *slot))
            {
                return Some((slot.clone(), *from, *to));
            }
        }
    }
    None
}
