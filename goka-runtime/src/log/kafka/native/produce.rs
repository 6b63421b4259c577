//! Producing: records in, and what is still under way.

use std::ffi::c_void;
use std::ptr;

use rdkafka::bindings as sys;

use super::client::Client;
use super::fault::{Code, code};
use super::handles::Topic;
use crate::log::Sent;

impl Client {
    /// Enqueues one record of a topic; the bytes are copied. The opaque comes back with the delivery report.
    pub(crate) fn produce(
        &self,
        topic: &Topic,
        record: &Sent<'_>,
        opaque: usize,
    ) -> Result<(), Code> {
        let (key, key_len) = bytes(record.key);
        let (value, value_len) = bytes(record.value);
        let headers = match record.headers {
            [] => ptr::null_mut(),
            headers => native_headers(headers),
        };
        // To librdkafka 0 is "now", as -1 is to us; the first millisecond of 1970 is the nearest to 0.
        let timestamp = match record.timestamp {
            ..=-1 => 0,
            0 => 1,
            later => later,
        };
        // SAFETY: live client and topic of it; each tag is followed by what rdkafka.h says it takes;
        // F_COPY leaves key and value ours. The headers are taken when it succeeds, else they stay ours.
        unsafe {
            use sys::rd_kafka_vtype_t as tag;
            let err = sys::rd_kafka_producev(
                self.ptr(),
                tag::RD_KAFKA_VTYPE_RKT,
                topic.ptr(),
                tag::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                tag::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                tag::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                tag::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                tag::RD_KAFKA_VTYPE_OPAQUE,
                opaque as *mut c_void,
                tag::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                tag::RD_KAFKA_VTYPE_HEADERS,
                headers,
                tag::RD_KAFKA_VTYPE_END,
            );
            match code(err) {
                None => Ok(()),
                Some(code) => {
                    if !headers.is_null() {
                        sys::rd_kafka_headers_destroy(headers);
                    }
                    Err(code)
                }
            }
        }
    }

    /// Wakes the senders; waits for nothing.
    pub(crate) fn nudge(&self) {
        // SAFETY: live producer.
        unsafe { sys::rd_kafka_flush(self.ptr(), 0) };
    }

    /// How many records and reports are under way.
    pub(crate) fn in_flight(&self) -> usize {
        // SAFETY: live client.
        usize::try_from(unsafe { sys::rd_kafka_outq_len(self.ptr()) }).unwrap_or(0)
    }

    /// Gives up everything that is not yet acknowledged.
    pub(crate) fn purge(&self) {
        let flags = sys::RD_KAFKA_PURGE_F_QUEUE
            | sys::RD_KAFKA_PURGE_F_INFLIGHT
            | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
        // SAFETY: live producer.
        unsafe { sys::rd_kafka_purge(self.ptr(), flags) };
    }
}

fn bytes(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| {
        (bytes.as_ptr().cast_mut().cast(), bytes.len())
    })
}

fn native_headers(headers: &[(String, Option<Vec<u8>>)]) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: a fresh list; names and values are copied with their lengths; null is a null value.
    unsafe {
        let list = sys::rd_kafka_headers_new(headers.len());
        for (name, value) in headers {
            let (bytes, len) = bytes(value.as_deref());
            let (name_len, len) = (name.len().cast_signed(), len.cast_signed());
            sys::rd_kafka_header_add(list, name.as_ptr().cast(), name_len, bytes, len);
        }
        list
    }
}
