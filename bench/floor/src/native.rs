//! Two calls of librdkafka that rdkafka does not wrap: fetching a batch of messages, and producing to a
//! topic handle.

use std::ffi::CString;
use std::marker::PhantomData;
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

/// The fetched messages of a consumer whose partitions were assigned by hand. With a subscription, rebalance
/// events in its queue would be lost.
pub(crate) struct Fetch<'c> {
    queue: *mut sys::rd_kafka_queue_t,
    messages: Vec<*mut sys::rd_kafka_message_t>,
    _consumer: PhantomData<&'c BaseConsumer>,
}

impl<'c> Fetch<'c> {
    pub(crate) fn new(consumer: &'c BaseConsumer) -> Self {
        // SAFETY: live client; the reference to the queue is ours, given back when dropped.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        Self {
            queue,
            messages: Vec::new(),
            _consumer: PhantomData,
        }
    }

    /// The next messages, at most `room`. Messages returned before are freed.
    pub(crate) fn next(
        &mut self,
        room: usize,
        wait: Duration,
    ) -> impl Iterator<Item = Result<Message<'_>, RDKafkaErrorCode>> {
        self.clear();
        self.messages.reserve(room);
        // The native call waits until it has as many messages as asked for, so the first call asks for one.
        self.take(1, wait);
        if !self.messages.is_empty() {
            self.take(room - 1, Duration::ZERO);
        }
        self.messages.iter().map(|message| {
            // SAFETY: filled by librdkafka and not destroyed before `self` is borrowed mutably again.
            let message = unsafe { &**message };
            match RDKafkaErrorCode::from(message.err) {
                RDKafkaErrorCode::NoError => Ok(Message(message)),
                code => Err(code),
            }
        })
    }

    fn take(&mut self, room: usize, wait: Duration) {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: live queue; `next` reserved room for `room` pointers behind the length, and as
        // many as the call returns are filled.
        unsafe {
            let at = self.messages.as_mut_ptr().add(self.messages.len());
            let got = sys::rd_kafka_consume_batch_queue(self.queue, wait, at, room);
            let got = usize::try_from(got).unwrap_or(0);
            self.messages.set_len(self.messages.len() + got);
        }
    }

    fn clear(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: ours, destroyed once; nothing borrows it any more.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: our reference, given back once, while the consumer lives.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}

/// One fetched message.
pub(crate) struct Message<'f>(&'f sys::rd_kafka_message_t);

impl<'f> Message<'f> {
    pub(crate) fn partition(&self) -> i32 {
        self.0.partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.0.offset
    }

    pub(crate) fn key(&self) -> &'f [u8] {
        // SAFETY: a live message owns its key.
        unsafe { bytes(self.0.key.cast(), self.0.key_len) }
    }

    pub(crate) fn value(&self) -> &'f [u8] {
        // SAFETY: a live message owns its payload.
        unsafe { bytes(self.0.payload.cast(), self.0.len) }
    }
}

unsafe fn bytes<'a>(at: *const u8, len: usize) -> &'a [u8] {
    if at.is_null() {
        return &[];
    }
    // SAFETY: the caller owns `len` bytes there as long as 'a.
    unsafe { slice::from_raw_parts(at, len) }
}

/// A topic of a producer.
pub(crate) struct Topic<'p> {
    ptr: *mut sys::rd_kafka_topic_t,
    _producer: PhantomData<&'p ()>,
}

impl<'p> Topic<'p> {
    /// # Errors
    /// If the name is not a valid topic name.
    pub(crate) fn new<C: ProducerContext>(
        producer: &'p BaseProducer<C>,
        name: &str,
    ) -> Result<Self, RDKafkaErrorCode> {
        let name = CString::new(name).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
        // SAFETY: live client; the name is copied.
        let ptr = unsafe {
            let client = producer.client().native_ptr();
            sys::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut())
        };
        if ptr.is_null() {
            return Err(last_error());
        }
        Ok(Self {
            ptr,
            _producer: PhantomData,
        })
    }

    /// Enqueues one record; the bytes are copied.
    ///
    /// # Errors
    /// `QueueFull` among others.
    pub(crate) fn produce(
        &self,
        partition: i32,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: live topic; F_COPY leaves key and value ours and unchanged.
        let done = unsafe {
            sys::rd_kafka_produce(
                self.ptr,
                partition,
                sys::RD_KAFKA_MSG_F_COPY,
                value.as_ptr().cast_mut().cast(),
                value.len(),
                key.as_ptr().cast(),
                key.len(),
                ptr::null_mut(),
            )
        };
        if done == 0 { Ok(()) } else { Err(last_error()) }
    }
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once, while the producer lives.
        unsafe { sys::rd_kafka_topic_destroy(self.ptr) }
    }
}

/// Makes the producer send now, without waiting for `linger.ms` or for acknowledgements.
pub(crate) fn send_now<C: ProducerContext>(producer: &BaseProducer<C>) {
    // SAFETY: live producer.
    unsafe { sys::rd_kafka_flush(producer.client().native_ptr(), 0) };
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads the thread's last error.
    unsafe { sys::rd_kafka_last_error() }.into()
}
