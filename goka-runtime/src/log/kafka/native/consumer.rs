//! The calls of a consumer: its subscription, its assignment, its positions, its commits, and how it
//! leaves.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, Fault, done, millis, name};
use super::handles::Queue;
use super::list::{List, Place};
use crate::record::TopicPartition;

impl Client {
    pub(crate) fn subscribe(&self, topics: &[Arc<str>]) -> Result<(), Fault> {
        let mut list = List::new();
        for topic in topics {
            list.add(topic, -1)?;
        }
        // SAFETY: live consumer and list; the list is copied.
        done(unsafe { sys::rd_kafka_subscribe(self.ptr(), list.ptr()) })
    }

    /// Gives the subscription up; a member leaves its group once it has answered the revocation.
    ///
    /// A static member leaves so too; librdkafka leaves its place in the group only while the client
    /// closes. Not to be called on a client that was closed: leaving, librdkafka 2.12 then uses a
    /// coordinator that it has freed (its issue 5347). Before that, it leaves where it knows the
    /// coordinator, and otherwise says nothing; both are decided by its own thread.
    pub(crate) fn unsubscribe(&self) -> Result<(), Fault> {
        // SAFETY: live consumer.
        done(unsafe { sys::rd_kafka_unsubscribe(self.ptr()) })
    }

    /// What the client's own group committed for the list's places; a client that reads committed
    /// waits for pending transactions. Blocks for at most `wait`.
    ///
    /// Not the admin call of the same purpose: that one keeps asking a coordinator that died, and may
    /// use freed memory when the connection to it breaks (librdkafka issues 3663 and 4605).
    pub(crate) fn committed(&self, list: &List, wait: Duration) -> Result<Vec<Place>, Fault> {
        // SAFETY: live consumer with a group; the list is ours, and takes the answer.
        done(unsafe { sys::rd_kafka_committed(self.ptr(), list.ptr(), millis(wait).max(1)) })?;
        Ok(list.places())
    }

    /// Adds partitions to be fetched; answers an assignment.
    pub(crate) fn incremental_assign(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: live consumer and list; the list is copied.
        Fault::check(unsafe { sys::rd_kafka_incremental_assign(self.ptr(), list.ptr()) })
    }

    /// Takes partitions away; answers a revocation.
    pub(crate) fn incremental_unassign(&self, list: &List) -> Result<(), Fault> {
        // SAFETY: live consumer and list; the list is copied.
        Fault::check(unsafe { sys::rd_kafka_incremental_unassign(self.ptr(), list.ptr()) })
    }

    /// Stops fetching partitions that stay assigned; what was fetched is dropped.
    pub(crate) fn pause(&self, list: &List) {
        // SAFETY: live consumer and list.
        unsafe { sys::rd_kafka_pause_partitions(self.ptr(), list.ptr()) };
    }

    /// Undoes [`pause`](Client::pause).
    pub(crate) fn resume(&self, list: &List) {
        // SAFETY: live consumer and list.
        unsafe { sys::rd_kafka_resume_partitions(self.ptr(), list.ptr()) };
    }

    /// Moves assigned partitions; what was fetched before is dropped.
    pub(crate) fn seek(&self, list: &List, wait: Duration) -> Result<(), Fault> {
        // SAFETY: live consumer and list, which takes each partition's error.
        Fault::check(unsafe {
            sys::rd_kafka_seek_partitions(self.ptr(), list.ptr(), millis(wait).max(1))
        })?;
        let error = list.places().into_iter().find_map(|place| place.error);
        error.map_or(Ok(()), |code| Err(Fault::of(code)))
    }

    /// How far each of the list's partitions was taken from its queue: behind the last record, or the
    /// last control record, which is taken without being seen. Below 0 where nothing was since it was
    /// assigned or moved. Asks no broker.
    pub(crate) fn positions(&self, list: &List) -> Vec<Place> {
        // SAFETY: live consumer; the list is ours, and takes the answer.
        unsafe { sys::rd_kafka_position(self.ptr(), list.ptr()) };
        list.places()
    }

    /// Sends what is fetched of an assigned partition to `queue`.
    pub(crate) fn forward(&self, at: &TopicPartition, queue: &Queue) -> Result<(), Fault> {
        let topic = name(&at.topic)?;
        // SAFETY: live client and queue; the partition's queue is a reference that is given back.
        unsafe {
            let from = sys::rd_kafka_queue_get_partition(self.ptr(), topic.as_ptr(), at.partition);
            if from.is_null() {
                return Err(Fault::of(Code::UnknownPartition));
            }
            sys::rd_kafka_queue_forward(from, queue.ptr());
            sys::rd_kafka_queue_destroy(from);
        }
        Ok(())
    }

    pub(crate) fn assignment_lost(&self) -> bool {
        // SAFETY: live consumer.
        unsafe { sys::rd_kafka_assignment_lost(self.ptr()) == 1 }
    }

    /// Starts a commit, whose outcome comes to `queue` with `opaque`.
    pub(crate) fn commit(&self, list: &List, queue: &Queue, opaque: usize) -> Result<(), Fault> {
        // SAFETY: live consumer, list and queue; the list is copied; the opaque is a number.
        done(unsafe {
            let opaque = opaque as *mut c_void;
            sys::rd_kafka_commit_queue(self.ptr(), list.ptr(), queue.ptr(), None, opaque)
        })
    }

    /// Starts leaving the group; rebalances come to `queue` until [`closed`](Client::closed).
    pub(crate) fn close(&self, queue: &Queue) -> Result<(), Fault> {
        // SAFETY: live consumer and queue.
        Fault::check(unsafe { sys::rd_kafka_consumer_close_queue(self.ptr(), queue.ptr()) })
    }

    pub(crate) fn closed(&self) -> bool {
        // SAFETY: live consumer.
        unsafe { sys::rd_kafka_consumer_closed(self.ptr()) == 1 }
    }
}
