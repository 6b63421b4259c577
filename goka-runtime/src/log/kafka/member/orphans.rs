//! Partitions that are nobody's.
//!
//! - A member that is to give partitions back does so and joins again. Until then they are in nobody's
//!   assignment, and that it joins again is what gives them to somebody.
//! - A static member that comes back is put in the place of the one that went, with the assignment
//!   that this one was to keep, and without a rebalance. If it went before it joined again, what it
//!   gave back stays nobody's until some other rebalance comes along. (Kafka Streams had the same:
//!   KAFKA-9821.)
//! - So a static member with a new name looks once who has what, and joins again if something is
//!   nobody's. Not always: a rebalance while others are away, as when a whole group restarts, would
//!   forget what they had, and move tables.
//! - Left alone: a member that lives on, and whose client gives its session up while partitions are
//!   given back (the coordinator moves, out of its sight). It joins under a new name with what it
//!   keeps, so joining once more would tell the group nothing new.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::client_error;
use super::super::native::{Client, Fault, Place};
use super::{KafkaMember, leads};
use crate::log::LogError;

/// How long the look may take. The group is told meanwhile that the member lives.
const LOOK: Duration = Duration::from_secs(2);

impl KafkaMember {
    /// Before an assignment is answered: joins again after it if something is nobody's.
    ///
    /// Only before: a client whose topics stay the same joins again when it is told of them during a
    /// rebalance, and else does nothing.
    pub(super) fn adopt(&mut self, places: &[Place]) -> Result<(), LogError> {
        if self.group.instance.is_empty() {
            return Ok(());
        }
        let name = self.client().member_id();
        if self.named == name {
            return Ok(());
        }
        self.named = name;
        // Who was to keep nothing gave nothing back; and the group takes no notice if it joins again.
        if places.is_empty() {
            return Ok(());
        }
        let leads = leads(&self.group);
        let group = &self.group.name;
        match has_orphans(self.client(), group, &leads) {
            Ok(false) => return Ok(()),
            Ok(true) => tracing::info!(%group, "a partition is nobody's: joining again"),
            // A rebalance too many costs little; a partition that is nobody's stands still.
            Err(Fault { reason, .. }) => {
                tracing::info!(%group, reason, "joining again, lest a partition is nobody's");
            }
        }
        let again = self.client().subscribe(&leads);
        again.map_err(|fault| client_error("joining again", fault))
    }
}

/// Whether a partition of the leads is in nobody's assignment, and no rebalance about to change that.
fn has_orphans(client: &Client, group: &str, leads: &[&str]) -> Result<bool, Fault> {
    let by = Instant::now() + LOOK;
    let left = || by.saturating_duration_since(Instant::now());
    let census = client.census(group, left())?;
    if !census.is_stable {
        return Ok(false);
    }
    for lead in leads {
        let of = census.assigned.iter().filter(|(topic, _)| topic == lead);
        let assigned: BTreeSet<i32> = of.map(|(_, at)| *at).collect();
        if i32::try_from(assigned.len()) != Ok(client.partitions(lead, left())?) {
            return Ok(true);
        }
    }
    Ok(false)
}
