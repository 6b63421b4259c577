//! Lists of partitions with offsets, metadata and errors, as librdkafka takes and gives them.

use std::ffi::CString;
use std::{ptr, slice};

use rdkafka::bindings as sys;

use super::fault::{Code, Fault, code, entries, string};
use crate::record::TopicPartition;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: TopicPartition,
    /// Below 0 where there is none.
    pub(crate) offset: i64,
    pub(crate) metadata: String,
    pub(crate) error: Option<Code>,
}

/// A list that we own.
pub(crate) struct List(*mut sys::rd_kafka_topic_partition_list_t);

// SAFETY: plain memory of its own, reached by its owner only.
unsafe impl Send for List {}

impl List {
    pub(crate) fn new() -> Self {
        // SAFETY: takes nothing; ours until dropped.
        Self(unsafe { sys::rd_kafka_topic_partition_list_new(8) })
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }

    /// Adds a partition without an offset.
    pub(crate) fn add(&mut self, topic: &str, partition: i32) -> Result<(), Fault> {
        let none = i64::from(sys::RD_KAFKA_OFFSET_INVALID);
        self.add_with(topic, partition, none, "")
    }

    pub(crate) fn add_with(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        metadata: &str,
    ) -> Result<(), Fault> {
        let topic = CString::new(topic).map_err(|_| Fault::of(Code::InvalidArgument))?;
        // SAFETY: live list and string; the entry is valid until the next change of the list. Its
        // metadata is freed by librdkafka, hence allocated by it, and filled to its length.
        unsafe {
            let entry = sys::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), partition);
            (*entry).offset = offset;
            if !metadata.is_empty() {
                let copy = sys::rd_kafka_mem_malloc(ptr::null_mut(), metadata.len());
                ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
                (*entry).metadata = copy;
                (*entry).metadata_size = metadata.len();
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: live list.
        unsafe { (*self.0).cnt == 0 }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        // SAFETY: live list.
        unsafe { places(self.0) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Copies a list; null gives an empty one.
///
/// # Safety
/// `list` is null or a live list.
pub(super) unsafe fn places(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Place> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a live list holds `cnt` entries at `elems`.
    unsafe {
        let all = entries((*list).elems.cast_const(), (*list).cnt).iter();
        all.map(|entry| place(entry)).collect()
    }
}

/// Copies an entry.
///
/// # Safety
/// `entry` is a live entry.
pub(super) unsafe fn place(entry: *const sys::rd_kafka_topic_partition_t) -> Place {
    // SAFETY: a live entry has a topic, and `metadata_size` bytes at `metadata` unless that is null.
    unsafe {
        let entry = &*entry;
        let metadata = if entry.metadata.is_null() {
            String::new()
        } else {
            let bytes = slice::from_raw_parts(entry.metadata.cast::<u8>(), entry.metadata_size);
            String::from_utf8_lossy(bytes).into_owned()
        };
        Place {
            at: TopicPartition::new(string(entry.topic), entry.partition),
            offset: entry.offset,
            metadata,
            error: code(entry.err),
        }
    }
}
