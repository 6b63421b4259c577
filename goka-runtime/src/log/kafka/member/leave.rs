//! How a member leaves its group, or keeps its place there for a member that comes back with the same
//! instance name.
//!
//! - A client that closes keeps a static member's place; to give the place up, the member
//!   unsubscribes first, answers the revocation, and is out when the client has no member id any more.
//! - A probe is sent to the brokers before. If it is not answered in time (600 ms), the member stops
//!   waiting for the broker.
//! - A producer that is fenced may be the first sign of a process that uses the same data directory. That
//!   process also takes the place in the group, and the next heartbeat says so. It is waited for: a
//!   member that came back would otherwise put the other process out.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::super::{Group, LogError, cancel, lock};
use super::super::config::heartbeat;
use super::super::native::{Client, Event, EventKind, List};
use super::errors::ended;
use super::events::Events;
use super::{PROBE, WAIT_SLICE};

/// How long a broker may take to answer the probe before it is not waited for.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(600);

pub(super) struct Leaving<'m> {
    events: &'m Events,
    group: &'m Group,
    /// The client's assignment, until a revocation takes it.
    assigned: List,
    since: Instant,
    by: Instant,
    /// Whether the probe was answered.
    has_answered: bool,
}

impl<'m> Leaving<'m> {
    /// Begins when the probe was sent; ends at `by`.
    pub(super) fn new(events: &'m Events, group: &'m Group, assigned: List, by: Instant) -> Self {
        Self {
            events,
            group,
            assigned,
            since: Instant::now(),
            by,
            has_answered: false,
        }
    }

    /// How long a broker is waited for from now on.
    fn left(&self) -> Duration {
        let by = match self.has_answered {
            true => self.by,
            false => self.by.min(self.since + PROBE_TIMEOUT),
        };
        by.saturating_duration_since(Instant::now())
    }

    fn client(&self) -> &'m Client {
        self.events.client()
    }

    /// Answers the rebalances that were taken from the client: one that is not answered would keep it
    /// from leaving.
    pub(super) fn answer_taken(&mut self) {
        while let Some((event, _)) = self.events.next() {
            self.answer(&event);
        }
    }

    /// After the producer was fenced, waits until the group had time to fence the member, too.
    pub(super) fn await_fence(&mut self) {
        if self.group.instance.is_empty() {
            return;
        }
        let deadline = Instant::now() + heartbeat(self.group) * 3 / 2;
        self.serve_until(|client| client.fatal().is_some() || Instant::now() >= deadline);
    }

    /// Leaves the group and closes the client; returns whether that was done in time. A static member
    /// keeps its place unless it gives it up.
    ///
    /// # Errors
    /// [`LogError::InstanceFenced`] when another process has the place.
    pub(super) fn leave(&mut self, gives_up: bool) -> Result<bool, LogError> {
        let client = self.client();
        if let Some(fault) = client.fatal() {
            let error = ended(client, self.group, fault);
            if matches!(error, LogError::InstanceFenced { .. }) {
                return Err(error);
            }
        } else {
            if gives_up {
                self.give_place_up();
            }
            if client.close(self.events.queue()).is_ok() {
                self.serve_until(Client::closed);
            }
        }
        Ok(client.fatal().is_some() || client.closed())
    }

    /// Leaves the group before the client closes. A member without an instance leaves as it closes.
    fn give_place_up(&mut self) {
        let has_left = |client: &Client| client.member_id().is_empty();
        if self.group.instance.is_empty() || has_left(self.client()) {
            return;
        }
        if self.client().unsubscribe().is_ok() {
            // A rebalance under way is ended first.
            self.serve_until(has_left);
        }
    }

    /// Answers what comes until something is so, or no broker is to be waited for.
    fn serve_until(&mut self, is_so: impl Fn(&Client) -> bool) {
        while !is_so(self.client()) {
            let left = self.left();
            match self.events.queue().poll(left.min(WAIT_SLICE)) {
                Some(event) => self.answer(&event),
                None if left.is_zero() => return,
                None => {}
            }
        }
    }

    /// Answers a rebalance with nothing kept. A refusal leaves nothing to be done: the client closes, or
    /// the deadline ends it.
    ///
    /// Once its group is terminated, librdkafka 2.12.1 drops such a call and never answers it
    /// (`rd_kafka_cgrp_op_serve`), while `rd_kafka_assign0` waits without a limit. So the call is made on a
    /// thread of its own, which is left alone, with the client, once that is closed.
    fn answer(&mut self, event: &Event) {
        let mut assigned = List::new();
        let call = match event.kind() {
            EventKind::Assign => Client::incremental_assign,
            EventKind::Revoke => {
                std::mem::swap(&mut assigned, &mut self.assigned);
                Client::incremental_unassign
            }
            EventKind::Answer if event.opaque() == PROBE => {
                self.has_answered |= event.fault().is_none();
                return;
            }
            _ => return,
        };
        let (client, assigned) = (self.client().clone(), Mutex::new(assigned));
        let is_in_vain = || self.client().closed() || self.left().is_zero();
        drop(cancel::unless(is_in_vain, move || {
            call(&client, &lock(&assigned))
        }));
    }
}
