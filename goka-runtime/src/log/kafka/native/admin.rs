//! Admin calls: started here, answered by an event of a queue, read here.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_admin_op_t as op;

use super::client::Client;
use super::event::Event;
use super::fault::{Code, Fault, Words, entries, millis, string};
use super::handles::Queue;
use super::list::{List, Place, place};

use crate::log::Isolation;

/// Where an answer goes, and how long the client may try.
pub(crate) struct Ask<'q> {
    pub(crate) queue: &'q Queue,
    pub(crate) wait: Duration,
    pub(crate) opaque: usize,
}

/// A topic as the cluster describes it.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) partitions: i32,
    pub(crate) leaderless: usize,
    /// Of the partition with the fewest.
    pub(crate) replicas: usize,
    /// The same of those level with their leader.
    pub(crate) in_sync: usize,
    pub(crate) error: Option<Fault>,
}

struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Options {
    fn new(client: &Client, call: op, ask: &Ask<'_>) -> Self {
        let mut words = Words::new();
        let (words_ptr, len) = words.room();
        let wait = millis(ask.wait).max(1);
        // SAFETY: live client; the options are ours until dropped; the opaque is a number.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.ptr(), call);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, wait, words_ptr, len);
            sys::rd_kafka_AdminOptions_set_opaque(options, ask.opaque as *mut c_void);
            Self(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once; calls copy what they need.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

fn names(names: &[&str]) -> Result<Vec<CString>, Fault> {
    names
        .iter()
        .map(|name| CString::new(*name).map_err(|_| Fault::of(Code::InvalidTopic)))
        .collect()
}

impl Client {
    /// Asks what topics are; read by [`Event::described`].
    pub(crate) fn describe_topics(&self, topics: &[&str], ask: &Ask<'_>) -> Result<(), Fault> {
        let topics = names(topics)?;
        let mut list: Vec<_> = topics.iter().map(|name| name.as_ptr()).collect();
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, ask);
        // SAFETY: live client, options and queue; the names outlive the call, which copies them.
        unsafe {
            let (at, count) = (list.as_mut_ptr(), list.len());
            let collection = sys::rd_kafka_TopicCollection_of_topic_names(at, count);
            sys::rd_kafka_DescribeTopics(self.ptr(), collection, options.0, ask.queue.ptr());
            sys::rd_kafka_TopicCollection_destroy(collection);
        }
        Ok(())
    }

    /// Asks for topics' settings; read by [`Event::settings`].
    pub(crate) fn describe_configs(&self, topics: &[&str], ask: &Ask<'_>) -> Result<(), Fault> {
        let topics = names(topics)?;
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, ask);
        let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        // SAFETY: live client, options and queue; the resources are ours, and copied by the call.
        unsafe {
            let mut list: Vec<_> = topics
                .iter()
                .map(|name| sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()))
                .collect();
            let (at, count) = (list.as_mut_ptr(), list.len());
            sys::rd_kafka_DescribeConfigs(self.ptr(), at, count, options.0, ask.queue.ptr());
            sys::rd_kafka_ConfigResource_destroy_array(at, count);
        }
        Ok(())
    }

    /// Asks for the first (`-2`) or next (`-1`) offsets in the list's place; read by [`Event::offsets`].
    pub(crate) fn list_offsets(&self, list: &List, isolation: Isolation, ask: &Ask<'_>) {
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, ask);
        let level = match isolation {
            Isolation::ReadCommitted => {
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
            }
            Isolation::ReadUncommitted => {
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
            }
        };
        // SAFETY: live client, list, options and queue; the list is copied.
        unsafe {
            let set = sys::rd_kafka_AdminOptions_set_isolation_level(options.0, level);
            debug_assert!(Fault::check(set).is_ok());
            sys::rd_kafka_ListOffsets(self.ptr(), list.ptr(), options.0, ask.queue.ptr());
        }
    }

    /// Makes a topic with the broker's replication; read by [`Event::created`].
    pub(crate) fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, String)],
        ask: &Ask<'_>,
    ) -> Result<(), Fault> {
        let name = CString::new(topic).map_err(|_| Fault::of(Code::InvalidTopic))?;
        let mut words = Words::new();
        let (words_ptr, len) = words.room();
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_CREATETOPICS, ask);
        // SAFETY: live client, options and queue; the topic is ours, destroyed after the call that
        // copies it; strings are NUL-terminated and copied.
        unsafe {
            let mut new = sys::rd_kafka_NewTopic_new(name.as_ptr(), partitions, -1, words_ptr, len);
            if new.is_null() {
                return Err(words.fault(Code::InvalidArgument));
            }
            for (setting, value) in settings {
                if let (Ok(setting), Ok(value)) =
                    (CString::new(*setting), CString::new(value.as_str()))
                {
                    sys::rd_kafka_NewTopic_set_config(new, setting.as_ptr(), value.as_ptr());
                }
            }
            let wait = millis(ask.wait).max(1);
            let (words_ptr, len) = words.room();
            sys::rd_kafka_AdminOptions_set_operation_timeout(options.0, wait, words_ptr, len);
            sys::rd_kafka_CreateTopics(self.ptr(), &raw mut new, 1, options.0, ask.queue.ptr());
            sys::rd_kafka_NewTopic_destroy(new);
        }
        Ok(())
    }

    /// Asks for the cluster's identity; read by [`Event::cluster`].
    pub(crate) fn describe_cluster(&self, ask: &Ask<'_>) {
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, ask);
        // SAFETY: live client, options and queue.
        unsafe { sys::rd_kafka_DescribeCluster(self.ptr(), options.0, ask.queue.ptr()) }
    }
}

/// Reads the entries of an answer; none where the event is of another kind.
///
/// # Safety
/// `result` and `list` are the accessors of one call, and `read` reads an entry of it.
unsafe fn answers<R, E, T>(
    event: &Event,
    result: unsafe extern "C" fn(*mut sys::rd_kafka_event_t) -> *const R,
    list: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const E,
    read: impl Fn(*const E) -> T,
) -> Vec<T> {
    let mut count = 0;
    // SAFETY: live event of that call, which owns all that is read; null only for another kind.
    unsafe {
        let result = result(event.ptr());
        if result.is_null() {
            return Vec::new();
        }
        let all = list(result, &raw mut count);
        entries(all.cast_const(), count)
            .iter()
            .map(|at| read(*at))
            .collect()
    }
}

/// The smallest of what is counted of each partition.
///
/// # Safety
/// The partitions are live.
unsafe fn fewest(
    partitions: &[*const sys::rd_kafka_TopicPartitionInfo_t],
    nodes: unsafe extern "C" fn(
        *const sys::rd_kafka_TopicPartitionInfo_t,
        *mut usize,
    ) -> *mut *const sys::rd_kafka_Node_t,
) -> usize {
    let counted = partitions.iter().map(|at| {
        let mut found = 0;
        // SAFETY: as the caller promises.
        unsafe { nodes(*at, &raw mut found) };
        found
    });
    counted.min().unwrap_or_default()
}

impl Event {
    pub(crate) fn described(&self) -> Vec<Described> {
        let (result, list) = (
            sys::rd_kafka_event_DescribeTopics_result,
            sys::rd_kafka_DescribeTopics_result_topics,
        );
        // SAFETY: accessors of one call, and of its entries.
        unsafe {
            answers(self, result, list, |topic| {
                let error = sys::rd_kafka_TopicDescription_error(topic);
                let id = sys::rd_kafka_TopicDescription_topic_id(topic);
                let mut count = 0;
                let at = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
                let partitions = entries(at.cast_const(), count);
                let has_no_leader =
                    |at: &&_| sys::rd_kafka_TopicPartitionInfo_leader(**at).is_null();
                Described {
                    name: string(sys::rd_kafka_TopicDescription_name(topic)),
                    id: string(sys::rd_kafka_Uuid_base64str(id)),
                    partitions: i32::try_from(count).unwrap_or(i32::MAX),
                    leaderless: partitions.iter().filter(has_no_leader).count(),
                    replicas: fewest(partitions, sys::rd_kafka_TopicPartitionInfo_replicas),
                    in_sync: fewest(partitions, sys::rd_kafka_TopicPartitionInfo_isr),
                    error: Fault::with(
                        sys::rd_kafka_error_code(error),
                        sys::rd_kafka_error_string(error),
                    ),
                }
            })
        }
    }

    pub(crate) fn settings(&self) -> Vec<Result<BTreeMap<String, String>, Fault>> {
        let (result, list) = (
            sys::rd_kafka_event_DescribeConfigs_result,
            sys::rd_kafka_DescribeConfigs_result_resources,
        );
        // SAFETY: accessors of one call, and of its entries.
        unsafe {
            answers(self, result, list, |resource| {
                let err = sys::rd_kafka_ConfigResource_error(resource);
                let reason = sys::rd_kafka_ConfigResource_error_string(resource);
                if let Some(fault) = Fault::with(err, reason) {
                    return Err(fault);
                }
                let mut count = 0;
                let at = sys::rd_kafka_ConfigResource_configs(resource, &raw mut count);
                let set = entries(at.cast_const(), count).iter().map(|entry| {
                    let name = string(sys::rd_kafka_ConfigEntry_name(*entry));
                    (name, string(sys::rd_kafka_ConfigEntry_value(*entry)))
                });
                Ok(set.collect())
            })
        }
    }

    pub(crate) fn offsets(&self) -> Vec<Place> {
        let (result, list) = (
            sys::rd_kafka_event_ListOffsets_result,
            sys::rd_kafka_ListOffsets_result_infos,
        );
        let of = sys::rd_kafka_ListOffsetsResultInfo_topic_partition;
        // SAFETY: accessors of one call, and of its entries.
        unsafe { answers(self, result, list, |info| place(of(info))) }
    }

    pub(crate) fn created(&self) -> Result<(), Fault> {
        let (result, list) = (
            sys::rd_kafka_event_CreateTopics_result,
            sys::rd_kafka_CreateTopics_result_topics,
        );
        // SAFETY: accessors of one call, and of its entries.
        let faults = unsafe {
            answers(self, result, list, |topic| {
                let err = sys::rd_kafka_topic_result_error(topic);
                Fault::with(err, sys::rd_kafka_topic_result_error_string(topic))
            })
        };
        faults.into_iter().flatten().next().map_or(Ok(()), Err)
    }

    pub(crate) fn cluster(&self) -> Option<String> {
        // SAFETY: live event of that call, which owns the string; null only for another kind.
        let id = unsafe {
            let result = sys::rd_kafka_event_DescribeCluster_result(self.ptr());
            if result.is_null() {
                return None;
            }
            string(sys::rd_kafka_DescribeCluster_result_cluster_id(result))
        };
        Some(id).filter(|id| !id.is_empty())
    }
}
