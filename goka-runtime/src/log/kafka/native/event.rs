//! Events: what a queue gives. Each is read through the accessor of its kind and freed when dropped.

use std::sync::Arc;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, Fault, code, string};
use super::list::{Place, place, places};
use super::message::Message;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Records were acknowledged, or failed.
    Deliveries,
    /// The client or one of its topics has an error.
    Error,
    /// Partitions were given by the group.
    Assign,
    /// Partitions are taken back by the group.
    Revoke,
    /// A commit ended.
    Commit,
    /// An admin call ended.
    Answer,
    /// Nothing for us.
    Other,
}

/// One event, ours until dropped. It keeps its client alive: delivery reports hold topics of it.
pub(crate) struct Event {
    ptr: *mut sys::rd_kafka_event_t,
    _client: Client,
}

// SAFETY: events belong to no thread; one is used by one at a time.
unsafe impl Send for Event {}

impl Event {
    /// Takes over an event of `client`; null is none.
    pub(super) fn take(client: &Client, ptr: *mut sys::rd_kafka_event_t) -> Option<Self> {
        (!ptr.is_null()).then(|| Self {
            ptr,
            _client: client.clone(),
        })
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_event_t {
        self.ptr
    }

    pub(crate) fn kind(&self) -> EventKind {
        // SAFETY: live event.
        match unsafe { sys::rd_kafka_event_type(self.ptr) } {
            sys::RD_KAFKA_EVENT_DR => EventKind::Deliveries,
            sys::RD_KAFKA_EVENT_ERROR => EventKind::Error,
            sys::RD_KAFKA_EVENT_OFFSET_COMMIT => EventKind::Commit,
            sys::RD_KAFKA_EVENT_REBALANCE => match self.error() {
                Some(Code::AssignPartitions) => EventKind::Assign,
                _ => EventKind::Revoke,
            },
            sys::RD_KAFKA_EVENT_CREATETOPICS_RESULT
            | sys::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT
            | sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT
            | sys::RD_KAFKA_EVENT_DESCRIBECLUSTER_RESULT
            | sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => EventKind::Answer,
            _ => EventKind::Other,
        }
    }

    pub(crate) fn error(&self) -> Option<Code> {
        // SAFETY: live event.
        code(unsafe { sys::rd_kafka_event_error(self.ptr) })
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        let code = self.error()?;
        // SAFETY: live event; the text lives as long.
        let reason = unsafe { string(sys::rd_kafka_event_error_string(self.ptr)) };
        Some(match reason.is_empty() {
            true => Fault::of(code),
            false => Fault { code, reason },
        })
    }

    /// Whether the error ends the client. librdkafka's own answer to that is never yes (2.12.1).
    pub(crate) fn is_fatal(&self) -> bool {
        self.error() == Some(Code::Fatal)
    }

    /// What was given along with the call that it answers.
    pub(crate) fn opaque(&self) -> usize {
        // SAFETY: live event of a commit or an admin call; the opaque is a number.
        unsafe { sys::rd_kafka_event_opaque(self.ptr) as usize }
    }

    /// The partitions of a rebalance or a commit.
    pub(crate) fn places(&self) -> Vec<Place> {
        // SAFETY: live event; null where it has no list.
        unsafe { places(sys::rd_kafka_event_topic_partition_list(self.ptr)) }
    }

    /// The topic that an error is about.
    pub(crate) fn topic(&self) -> Option<Arc<str>> {
        // SAFETY: live event; the entry is a copy that is ours to destroy.
        unsafe {
            let entry = sys::rd_kafka_event_topic_partition(self.ptr);
            if entry.is_null() {
                return None;
            }
            let topic = place(entry).at.topic;
            sys::rd_kafka_topic_partition_destroy(entry);
            Some(topic).filter(|topic| !topic.is_empty())
        }
    }

    pub(crate) fn deliveries(&self, mut each: impl FnMut(&Message)) {
        loop {
            // SAFETY: live event, which owns the messages that it lends one by one.
            let message = unsafe { sys::rd_kafka_event_message_next(self.ptr) };
            if message.is_null() {
                return;
            }
            each(&Message::wrap(message.cast_mut()));
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.ptr) }
    }
}
