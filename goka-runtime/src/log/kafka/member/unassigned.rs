//! Partitions that no member has.
//!
//! - A member that is to give partitions back does so and joins again. Until then no assignment holds
//!   them; they are assigned only when it joins again.
//! - A static member that comes back takes the place of the one that went, with the assignment that
//!   this one was to keep, and without a rebalance. If it went before it joined again, what it gave
//!   back stays unassigned until some other rebalance. (Kafka Streams had the same: KAFKA-9821.)
//! - So a static member with a new member id checks once which partitions are assigned, and joins again
//!   if one is not. Not always: a rebalance while others are away, as when a whole group restarts, would
//!   forget what they had, and move tables.
//! - Not covered: a member that lives on, and whose client gives its session up while partitions are
//!   given back (the coordinator moves unnoticed). It joins under a new member id with what it keeps, so
//!   joining once more would not change anything for the group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::super::{Group, LogError};
use super::super::native::{Client, Fault, Place};

/// How long the check may take. Heartbeats go on meanwhile.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct UnassignedCheck {
    /// The member id under which the group was last checked.
    checked_member_id: String,
}

impl UnassignedCheck {
    /// Joins again if a partition is unassigned. To be called before an assignment is answered:
    /// subscribing to the same topics again makes a client rejoin during a rebalance, and has no effect
    /// otherwise.
    pub(super) fn rejoin_if_unassigned(
        &mut self,
        client: &Client,
        group: &Group,
        assigned: &[Place],
    ) -> Result<(), LogError> {
        if group.instance.is_empty() {
            return Ok(());
        }
        let member_id = client.member_id();
        if self.checked_member_id == member_id {
            return Ok(());
        }
        self.checked_member_id = member_id;
        // An empty assignment means that nothing was revoked from us, and rejoining would not trigger a
        // rebalance.
        if assigned.is_empty() {
            return Ok(());
        }
        let leads = group.leads();
        let name = &group.name;
        match has_unassigned(client, name, &leads) {
            Ok(false) => return Ok(()),
            Ok(true) => tracing::info!(group = %name, "partition unassigned; rejoining the group"),
            // A rebalance too many costs little; a partition that is unassigned is not processed.
            Err(Fault { reason, .. }) => {
                tracing::info!(
                    group = %name,
                    reason,
                    "group state unavailable; rejoining in case a partition is unassigned"
                );
            }
        }
        let rejoined = client.subscribe(&leads);
        rejoined.map_err(|fault| LogError::client("rejoining the group", fault))
    }
}

/// Whether a partition of the leads is in no assignment, and no rebalance is about to change that.
fn has_unassigned(client: &Client, group: &str, leads: &[Arc<str>]) -> Result<bool, Fault> {
    let deadline = Instant::now() + CHECK_TIMEOUT;
    let left = || deadline.saturating_duration_since(Instant::now());
    let description = client.census(group, left())?;
    if !description.is_stable {
        return Ok(false);
    }
    for lead in leads {
        let assigned = description.members.iter().flat_map(|of| &of.assigned);
        let of_lead = assigned.filter(|at| at.topic == *lead);
        let assigned: BTreeSet<i32> = of_lead.map(|at| at.partition).collect();
        if i32::try_from(assigned.len()) != Ok(client.partitions(lead, left())?) {
            return Ok(true);
        }
    }
    Ok(false)
}
