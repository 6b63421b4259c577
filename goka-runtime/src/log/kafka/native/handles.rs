//! Queues and topic handles; each keeps its client alive and is given back before it.

use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::event::Event;
use super::{Fault, millis, string};

/// A queue of events or messages.
pub(in super::super) struct Queue {
    ptr: *mut sys::rd_kafka_queue_t,
    client: Client,
}

// SAFETY: queues are locked inside.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Takes over a reference to a queue of `client`.
    pub(super) fn take(client: &Client, ptr: *mut sys::rd_kafka_queue_t) -> Self {
        let client = client.clone();
        Self { ptr, client }
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.ptr
    }

    /// Whose queue it is.
    pub(in super::super) fn client(&self) -> &Client {
        &self.client
    }

    /// The next event, waited for at most `wait`.
    pub(in super::super) fn poll(&self, wait: Duration) -> Option<Event> {
        // SAFETY: live queue; the event is ours to destroy.
        let event = unsafe { sys::rd_kafka_queue_poll(self.ptr, millis(wait)) };
        Event::take(&self.client, event)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once, before the client's that this holds.
        unsafe { sys::rd_kafka_queue_destroy(self.ptr) }
    }
}

/// A topic of a client.
pub(in super::super) struct Topic {
    ptr: *mut sys::rd_kafka_topic_t,
    client: Client,
}

// SAFETY: topic handles are locked inside.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Topic {
    /// Takes over a reference to a topic of `client`.
    pub(super) fn take(client: &Client, ptr: *mut sys::rd_kafka_topic_t) -> Self {
        let client = client.clone();
        Self { ptr, client }
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_topic_t {
        self.ptr
    }

    /// Its name.
    pub(in super::super) fn name(&self) -> String {
        // SAFETY: live topic, which owns its name.
        unsafe { string(sys::rd_kafka_topic_name(self.ptr)) }
    }

    /// Starts reading a partition without a group, into `queue`.
    pub(in super::super) fn start(
        &self,
        partition: i32,
        offset: i64,
        queue: &Queue,
    ) -> Result<(), Fault> {
        debug_assert_eq!(self.client.ptr(), queue.client.ptr());
        // SAFETY: live topic and queue of one client.
        let done =
            unsafe { sys::rd_kafka_consume_start_queue(self.ptr, partition, offset, queue.ptr) };
        if done == -1 {
            // SAFETY: reads the thread's last error.
            return Err(Fault::of(unsafe { sys::rd_kafka_last_error() }.into()));
        }
        Ok(())
    }

    /// Ends reading; nothing is left in the queue of it afterwards.
    pub(in super::super) fn stop(&self, partition: i32) {
        // SAFETY: live topic; stopping what was not started is only refused.
        unsafe { sys::rd_kafka_consume_stop(self.ptr, partition) };
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once, before the client's that this holds.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr) }
    }
}
