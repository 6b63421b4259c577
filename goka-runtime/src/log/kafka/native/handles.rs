//! Queues and topic handles; each keeps its client alive and is given back before it.

use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::event::Event;
use super::fault::{Fault, millis, name};

pub(crate) struct Handle<T> {
    ptr: *mut T,
    give_back: unsafe extern "C" fn(*mut T),
    client: Client,
}

/// A queue of events or messages.
pub(crate) type Queue = Handle<sys::rd_kafka_queue_t>;

pub(crate) type Topic = Handle<sys::rd_kafka_topic_t>;

// SAFETY: queues and topic handles are locked inside, and there are no other ones.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Handle<T> {}

impl<T> Handle<T> {
    pub(super) fn ptr(&self) -> *mut T {
        self.ptr
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once, before the client's that this holds.
        unsafe { (self.give_back)(self.ptr) }
    }
}

impl Queue {
    /// Takes over a reference to a queue of `client`.
    fn take(client: &Client, ptr: *mut sys::rd_kafka_queue_t) -> Self {
        Self {
            ptr,
            give_back: sys::rd_kafka_queue_destroy,
            client: client.clone(),
        }
    }

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

impl Topic {
    /// Starts reading a partition without a group, into `queue`.
    pub(crate) fn start(&self, partition: i32, offset: i64, queue: &Queue) -> Result<(), Fault> {
        debug_assert_eq!(self.client.ptr(), queue.client.ptr());
        // SAFETY: live topic and queue of one client.
        let done =
            unsafe { sys::rd_kafka_consume_start_queue(self.ptr, partition, offset, queue.ptr) };
        match done {
            -1 => Err(Fault::last()),
            _ => Ok(()),
        }
    }

    /// Ends reading; nothing is left in the queue of it afterwards.
    pub(crate) fn stop(&self, partition: i32) {
        // SAFETY: live topic; stopping what was not started is only refused.
        unsafe { sys::rd_kafka_consume_stop(self.ptr, partition) };
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
            return Err(Fault::last());
        }
        Ok(Handle {
            ptr,
            give_back: sys::rd_kafka_topic_destroy,
            client: self.clone(),
        })
    }
}
