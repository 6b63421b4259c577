//! Writing outside a group: one producer shared by threads, and one thread that tells deliveries.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::{Appender, LogError, OnDelivery, Sent};
use super::client_error;
use super::config::KafkaConfig;
use super::native::{Client, Code, EventKind, Kind, Message, Outgoing, Topic, text};
use super::producer::failure;

/// How often a full queue is tried again, and a flush looks.
const AGAIN: Duration = Duration::from_millis(1);

/// How long purged records are waited for when an appender is dropped.
const LAST_REPORTS: Duration = Duration::from_secs(1);

pub(super) struct KafkaAppender {
    client: Client,
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    /// How long dropping may wait.
    deadline: Duration,
    stop: Arc<AtomicBool>,
    teller: Option<JoinHandle<()>>,
}

impl KafkaAppender {
    pub(super) fn new(
        config: &KafkaConfig,
        batch: usize,
        delivered: OnDelivery,
    ) -> Result<Self, LogError> {
        let failed = |fault| client_error("making the producer", fault);
        let client = Client::new(Kind::Producer, &config.producing(batch)).map_err(failed)?;
        let reports = client.main_queue();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let teller = thread::Builder::new()
            .name("kafka-appender".to_owned())
            .spawn(move || {
                let mut stopped_at = None;
                loop {
                    if stopped_at.is_none() && stopped.load(Ordering::Acquire) {
                        stopped_at = Some(Instant::now());
                    }
                    let wait = Duration::from_millis(if stopped_at.is_some() { 5 } else { 50 });
                    let Some(event) = reports.poll(wait) else {
                        let Some(since) = stopped_at else { continue };
                        // What was purged is reported within moments; a broker is not waited for.
                        if reports.client().in_flight() == 0 || since.elapsed() > LAST_REPORTS {
                            return;
                        }
                        continue;
                    };
                    match event.kind() {
                        EventKind::Deliveries => {
                            event.deliveries(|message| tell(&delivered, message));
                        }
                        EventKind::Error => {
                            if let Some(fault) = event.fault() {
                                tracing::debug!(reason = fault.reason, "the producer complains");
                            }
                        }
                        _ => {}
                    }
                }
            })
            .map_err(|error| LogError::Client {
                what: "starting the producer's thread".to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            client,
            topics: RwLock::default(),
            deadline: config.deadline,
            stop,
            teller: Some(teller),
        })
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        drop(topics);
        let topic = self
            .client
            .topic(name)
            .map_err(|fault| client_error(format!("writing to topic `{name}`"), fault))?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let topic = topics
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(topic));
        Ok(Arc::clone(topic))
    }
}

fn tell(delivered: &OnDelivery, message: &Message) {
    let result = match message.error() {
        None => Ok((message.partition(), message.offset())),
        Some(code) => {
            let words = message.delivery_error_text();
            Err(failure(code, message.topic(), message.key(), words))
        }
    };
    delivered(message.opaque() as u64, result);
}

impl Appender for KafkaAppender {
    fn send(&self, record: Sent<'_>, token: u64, deadline: Instant) -> Result<(), LogError> {
        let topic = self.topic(record.topic)?;
        let outgoing = Outgoing {
            partition: record.partition,
            key: record.key,
            value: record.value,
            timestamp: record.timestamp,
            headers: record.headers,
            opaque: token as usize,
        };
        let started = Instant::now();
        loop {
            match self.client.produce(&topic, &outgoing) {
                Ok(()) => return Ok(()),
                Err(Code::QueueFull) if Instant::now() < deadline => thread::sleep(AGAIN),
                Err(Code::QueueFull) => {
                    return Err(LogError::Timeout {
                        what: format!("finding room to write to topic `{}`", record.topic),
                        after: started.elapsed(),
                    });
                }
                Err(Code::UnknownPartition) => {
                    return Err(LogError::UnknownPartition {
                        topic: record.topic.to_owned(),
                        partition: record.partition,
                    });
                }
                Err(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
                    return Err(LogError::UnknownTopic {
                        topic: record.topic.to_owned(),
                    });
                }
                Err(code) => {
                    return Err(LogError::Refused {
                        what: format!("writing to topic `{}`", record.topic),
                        reason: text(code),
                    });
                }
            }
        }
    }

    fn flush(&self, deadline: Instant) -> Result<(), LogError> {
        let started = Instant::now();
        self.client.nudge();
        while self.client.in_flight() > 0 {
            if Instant::now() >= deadline {
                return Err(LogError::Timeout {
                    what: format!("delivering {} records", self.client.in_flight()),
                    after: started.elapsed(),
                });
            }
            thread::sleep(AGAIN);
            self.client.nudge();
        }
        Ok(())
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        // What cannot be written in time is told as failed.
        if let Err(error) = self.flush(Instant::now() + self.deadline) {
            tracing::warn!(%error, "an emitter gives up");
            self.client.purge();
        }
        self.stop.store(true, Ordering::Release);
        if let Some(teller) = self.teller.take() {
            drop(teller.join());
        }
    }
}
