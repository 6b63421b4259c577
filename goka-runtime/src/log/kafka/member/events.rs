//! Consumer events, polled by the member, or by the watch thread that keeps the member in its group
//! while a handler runs, and queued until the member handles them. For librdkafka either counts as a
//! poll (`max.poll.interval.ms`).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::super::super::{KeepAlive, lock};
use super::super::native::{Client, Event, EventKind, Queue};

pub(super) struct Events {
    queue: Queue,
    /// Events taken and not handled yet; a revocation with whether the assignment was lost.
    backlog: Mutex<VecDeque<(Event, bool)>>,
}

impl Events {
    pub(super) fn of(client: &Client) -> Self {
        Self {
            queue: client.consumer_queue(),
            backlog: Mutex::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        self.queue.client()
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Takes the client's events, each revocation with whether the assignment is lost at that moment.
    pub(super) fn pull(&self, mut wait: Duration) {
        // Locked meanwhile, or two threads could change the order of the events.
        let mut backlog = lock(&self.backlog);
        while let Some(event) = self.queue.poll(std::mem::take(&mut wait)) {
            let lost = event.kind() == EventKind::Revoke && self.client().assignment_lost();
            backlog.push_back((event, lost));
        }
    }

    pub(super) fn next(&self) -> Option<(Event, bool)> {
        lock(&self.backlog).pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.backlog).is_empty()
    }

    /// Whether a revocation was taken and is not answered.
    pub(super) fn has_revocation(&self) -> bool {
        let is_revocation = |(event, _): &(Event, bool)| event.kind() == EventKind::Revoke;
        lock(&self.backlog).iter().any(is_revocation)
    }
}

impl KeepAlive for Events {
    fn beat(&self) {
        self.pull(Duration::ZERO);
    }
}
