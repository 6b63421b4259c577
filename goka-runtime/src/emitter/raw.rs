//! Emits bytes to one topic, for the typed [`Emitter`](super::Emitter) and the `emit` command. Knows the
//! partition of a key, and nothing of codecs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::ack::{Ack, PendingRecords};
use super::error::EmitError;
use crate::context::Emit;
use crate::graph::{TopicKind, TopicSpec};
use crate::log::{Appender, DEFAULT_PARTITIONS, Log, LogError, Sent, TopicInfo, TopicWait};

/// How long an emitter waits for room, and for the last records when it is dropped.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// An untyped emitter: keys and values are bytes.
pub(crate) struct RawEmitter {
    topic: Arc<str>,
    partitions: i32,
    partition_of: fn(&[u8], i32) -> i32,
    timeout: Duration,
    /// How many records without a key were emitted: chooses the partition of the next one.
    spread: AtomicU32,
    pending: Arc<PendingRecords>,
    /// `None` once closed.
    appender: Option<Box<dyn Appender>>,
}

impl RawEmitter {
    /// Connects to a topic, which the embedded log creates when it is missing.
    pub(crate) fn new(
        log: &dyn Log,
        topic: &str,
        place: fn(&[u8], i32) -> i32,
        declared: Declared,
        wait: &TopicWait<'_>,
    ) -> Result<Self, EmitError> {
        let info = target(log, topic, declared, wait)?;
        let pending = Arc::new(PendingRecords::default());
        let reports = pending.clone();
        let appender = log.appender(Arc::new(move |token, outcome| {
            reports.report(token, outcome);
        }))?;
        Ok(Self {
            topic: topic.into(),
            partitions: info.partitions,
            partition_of: place,
            timeout: DEFAULT_TIMEOUT,
            spread: AtomicU32::new(0),
            pending,
            appender: Some(appender),
        })
    }

    pub(crate) fn of(
        log: &dyn Log,
        spec: &TopicSpec,
        wait: &TopicWait<'_>,
    ) -> Result<Self, EmitError> {
        Self::new(log, spec.name, spec.partition_of, Declared::of(spec), wait)
    }

    pub(crate) fn partitions(&self) -> i32 {
        self.partitions
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Enqueues a record for its key's partition, in order with the ones before it from the same
    /// thread.
    pub(crate) fn emit(
        &self,
        key: &[u8],
        value: Option<&[u8]>,
        options: &Emit,
    ) -> Result<Ack, EmitError> {
        let partition = (self.partition_of)(key, self.partitions);
        self.emit_to(partition, Some(key), value, options)
    }

    /// Enqueues a record without a key: the partitions take turns.
    pub(crate) fn emit_anywhere(
        &self,
        value: Option<&[u8]>,
        options: &Emit,
    ) -> Result<Ack, EmitError> {
        let turn = self.spread.fetch_add(1, Ordering::Relaxed);
        let partition = (turn % self.partitions.cast_unsigned()).cast_signed();
        self.emit_to(partition, None, value, options)
    }

    /// Enqueues a record for a partition that the caller knows.
    pub(crate) fn emit_to(
        &self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        options: &Emit,
    ) -> Result<Ack, EmitError> {
        let Some(appender) = &self.appender else {
            return Err(EmitError::Closed {
                topic: self.topic.to_string(),
            });
        };
        let (token, slot) = self.pending.open();
        let sent = Sent {
            topic: &self.topic,
            partition,
            key,
            value,
            timestamp: options.timestamp.unwrap_or(-1),
            headers: &options.headers,
        };
        match appender.send(sent, token, Instant::now() + self.timeout) {
            Ok(()) => Ok(Ack {
                topic: self.topic.clone(),
                slot,
            }),
            Err(error) => {
                self.pending.withdraw(token);
                Err(error.into())
            }
        }
    }

    /// Waits until everything emitted is delivered or has failed, at most so long.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), EmitError> {
        let Some(appender) = &self.appender else {
            return Ok(());
        };
        let flushed = appender.flush(Instant::now() + timeout);
        if let Some((records, first)) = self.pending.take_failures() {
            return Err(EmitError::NotDelivered {
                topic: self.topic.to_string(),
                records,
                failure: first,
            });
        }
        match flushed {
            Ok(()) => Ok(()),
            Err(LogError::Timeout { .. }) => match self.pending.under_way() {
                0 => Ok(()),
                records => Err(EmitError::Pending {
                    topic: self.topic.to_string(),
                    records,
                    after: timeout,
                }),
            },
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn close(mut self, timeout: Duration) -> Result<(), EmitError> {
        let flushed = self.flush(timeout);
        self.appender = None;
        flushed
    }
}

impl Drop for RawEmitter {
    fn drop(&mut self) {
        if self.appender.is_none() {
            return;
        }
        if let Err(error) = self.flush(self.timeout) {
            tracing::error!(topic = &*self.topic, %error, "emitter dropped with records undelivered");
        }
    }
}

impl fmt::Debug for RawEmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEmitter")
            .field("topic", &self.topic)
            .field("partitions", &self.partitions)
            .field("under_way", &self.pending.under_way())
            .finish_non_exhaustive()
    }
}

/// What is declared of a topic that may have to be created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) partitions: Option<i32>,
    /// Whether it is a table, whose topic is compacted.
    pub(crate) is_table: bool,
}

impl Declared {
    pub(crate) fn of(spec: &TopicSpec) -> Self {
        Self {
            partitions: spec.partitions,
            is_table: spec.kind != TopicKind::Stream,
        }
    }
}

/// Looks a topic up; creates it where the log does that, waits for it where its owner does.
pub(crate) fn target(
    log: &dyn Log,
    topic: &str,
    declared: Declared,
    wait: &TopicWait<'_>,
) -> Result<TopicInfo, EmitError> {
    let found = wait.describe_or_create(log, topic, declared.partitions, declared.is_table)?;
    found.ok_or_else(|| EmitError::MissingTopic {
        topic: topic.to_owned(),
        log: log.describe_self(),
        partitions: declared.partitions.unwrap_or(DEFAULT_PARTITIONS),
        waited: log.topic_timeout(),
    })
}
