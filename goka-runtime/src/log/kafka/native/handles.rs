//! Queues and topic handles; each keeps its client alive and is given back before it.

use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::event::Event;
use super::fault::{Fault, millis, name, string};

/// A queue of events or messages.
pub(crate) struct Queue {
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

    /// The client that it is a queue of.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The next event, waited for at most `wait`.
    pub(crate) fn poll(&self, wait: Duration) -> Option<Event> {
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
pub(crate) struct Topic {
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
    pub(crate) fn name(&self) -> String {
        // SAFETY: live topic, which owns its name.
        unsafe { string(sys::rd_kafka_topic_name(self.ptr)) }
    }

    /// Starts reading a partition without a group, into `queue`.
    pub(crate) fn start(&self, partition: i32, offset: i64, queue: &Queue) -> Result<(), Fault> {
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
    pub(crate) fn stop(&self, partition: i32) {
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

impl Client {
    /// The queue of delivery reports and errors.
    pub(crate) fn main_queue(&self) -> Queue {
        // SAFETY: live client; the reference is given back when the queue is dropped.
        Queue::take(self, unsafe { sys::rd_kafka_queue_get_main(self.ptr()) })
    }

    /// The queue of a group consumer: rebalances, errors, and what is sent there.
    pub(crate) fn consumer_queue(&self) -> Queue {
        // SAFETY: live consumer with a group, to which alone this is called.
        unsafe {
            sys::rd_kafka_poll_set_consumer(self.ptr());
            Queue::take(self, sys::rd_kafka_queue_get_consumer(self.ptr()))
        }
    }

    /// A queue of our own.
    pub(crate) fn new_queue(&self) -> Queue {
        // SAFETY: live client; the queue is destroyed when dropped, before the client.
        Queue::take(self, unsafe { sys::rd_kafka_queue_new(self.ptr()) })
    }

    /// A handle for producing to, or reading from, a topic.
    pub(crate) fn topic(&self, topic: &str) -> Result<Topic, Fault> {
        let topic = name(topic)?;
        // SAFETY: live client and string; null configuration means the client's defaults.
        let ptr = unsafe { sys::rd_kafka_topic_new(self.ptr(), topic.as_ptr(), ptr::null_mut()) };
        if ptr.is_null() {
            // SAFETY: reads the thread's last error.
            return Err(Fault::of(unsafe { sys::rd_kafka_last_error() }.into()));
        }
        Ok(Topic::take(self, ptr))
    }
}
