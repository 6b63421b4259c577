//! Writing outside a group: producers shared by threads, one at a time, and a thread for each that
//! reports deliveries. A producer that has ended is followed by a new one with the next record.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::{Appender, LogError, OnDelivery, Sent};
use super::config::KafkaConfig;
use super::native::{Client, Code, EventKind, Fault, Kind, Message, Queue, Topic};
use super::producer::undelivered;

/// How often a full queue is tried again, and a flush checks for deliveries.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// How long purged records are waited for when an appender is dropped.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// A producer is not replaced more often: one that may write nowhere ends as soon as it is made.
const REPLACE_AFTER: Duration = Duration::from_millis(500);

pub(super) struct KafkaAppender {
    config: KafkaConfig,
    batch: usize,
    delivered: OnDelivery,
    /// The last one is written to. Those before it have ended, and stay until all their records are reported.
    producers: RwLock<Vec<Arc<Producer>>>,
}

/// One client with its topics, and the thread that reports the deliveries of its records.
struct Producer {
    client: Client,
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    made: Instant,
    stop: Arc<AtomicBool>,
    reporter: Option<JoinHandle<()>>,
}

impl Producer {
    fn new(config: &KafkaConfig, batch: usize, delivered: &OnDelivery) -> Result<Self, LogError> {
        let failed = |fault| LogError::client("making the producer", fault);
        let client =
            Client::new(Kind::RD_KAFKA_PRODUCER, &config.producing(batch, &[])).map_err(failed)?;
        let reports = client.main_queue();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, delivered) = (Arc::clone(&stop), Arc::clone(delivered));
        let reporter = thread::Builder::new()
            .name("kafka-appender".to_owned())
            .spawn(move || report_all(&reports, &stopped, &delivered))
            .map_err(|error| LogError::client("starting the producer's thread", error))?;
        Ok(Self {
            client,
            topics: RwLock::default(),
            made: Instant::now(),
            stop,
            reporter: Some(reporter),
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
            .map_err(|fault| LogError::client(format!("writing to topic `{name}`"), fault))?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let topic = topics
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(topic));
        Ok(Arc::clone(topic))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(reporter) = self.reporter.take() {
            drop(reporter.join());
        }
    }
}

impl KafkaAppender {
    pub(super) fn new(
        config: KafkaConfig,
        batch: usize,
        delivered: OnDelivery,
    ) -> Result<Self, LogError> {
        let producer = Producer::new(&config, batch, &delivered)?;
        Ok(Self {
            config,
            batch,
            delivered,
            producers: RwLock::new(vec![Arc::new(producer)]),
        })
    }

    /// All that are not done.
    fn all(&self) -> RwLockReadGuard<'_, Vec<Arc<Producer>>> {
        let all = self.producers.read();
        all.unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self) -> Arc<Producer> {
        let all = self.all();
        Arc::clone(all.last().expect("one is written to"))
    }

    /// Replaces a producer that has ended, unless another thread did. What the old one
    /// has in flight is reported as it ends: librdkafka gives up what it had not sent, and waits for the
    /// broker's answer to the rest.
    fn replace(&self, old: &Arc<Producer>) -> Result<(), LogError> {
        let all = self.producers.write();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        if !all.last().is_some_and(|last| Arc::ptr_eq(last, old)) {
            return Ok(());
        }
        let new = Producer::new(&self.config, self.batch, &self.delivered)?;
        if let Some(fault) = old.client.fatal() {
            tracing::warn!(reason = fault.reason, "producer ended; replacing it");
        }
        let is_done = |it: &Arc<Producer>| it.client.in_flight() == 0 && !Arc::ptr_eq(it, old);
        let producers = std::mem::take(&mut *all).into_iter();
        let (done, mut left): (Vec<_>, Vec<_>) = producers.partition(is_done);
        left.push(Arc::new(new));
        *all = left;
        drop(all);
        // Their threads are waited for, and may be about to send something themselves.
        drop(done);
        Ok(())
    }
}

/// Reports deliveries until it is stopped and there are no more.
fn report_all(reports: &Queue, stopped: &AtomicBool, delivered: &OnDelivery) {
    let (client, mut stopped_at) = (reports.client(), None);
    loop {
        if stopped_at.is_none() && stopped.load(Ordering::Acquire) {
            stopped_at = Some(Instant::now());
        }
        let wait = Duration::from_millis(if stopped_at.is_some() { 5 } else { 50 });
        let Some(event) = reports.poll(wait) else {
            // What was purged is reported within moments; a broker is not waited for.
            let is_late = |since: Instant| since.elapsed() > LAST_REPORTS;
            if stopped_at.is_some_and(|since| client.in_flight() == 0 || is_late(since)) {
                return;
            }
            continue;
        };
        match (event.kind(), event.fault()) {
            (EventKind::Deliveries, _) => event.deliveries(|it| report(delivered, it, client)),
            (EventKind::Error, Some(fault)) => {
                tracing::debug!(reason = fault.reason, "producer error");
            }
            _ => {}
        }
    }
}

fn report(delivered: &OnDelivery, message: &Message, client: &Client) {
    let result = match message.error() {
        None => Ok((message.partition(), message.offset())),
        Some(code) => {
            let given_up = matches!(code, Code::PurgeQueue | Code::PurgeInflight);
            let ended = client.fatal().filter(|_| given_up);
            let ended = ended.map(|fault| format!("the producer ended: {}", fault.reason));
            Err(undelivered(code, message, ended, None))
        }
    };
    delivered(message.opaque() as u64, result);
}

impl Appender for KafkaAppender {
    fn send(&self, record: Sent<'_>, token: u64, deadline: Instant) -> Result<(), LogError> {
        let writing = || format!("writing to topic `{}`", record.topic);
        let started = Instant::now();
        let mut producer = self.producer();
        let mut topic = producer.topic(record.topic)?;
        loop {
            match producer.client.produce(&topic, &record, token as usize) {
                Ok(()) => return Ok(()),
                Err(Code::Fatal) if producer.made.elapsed() >= REPLACE_AFTER => {
                    self.replace(&producer)?;
                    producer = self.producer();
                    topic = producer.topic(record.topic)?;
                }
                Err(Code::QueueFull | Code::Fatal) if Instant::now() < deadline => {
                    thread::sleep(RETRY_AFTER);
                }
                Err(Code::Fatal) => {
                    let fault = producer.client.fatal();
                    let fault = fault.unwrap_or_else(|| Fault::of(Code::Fatal));
                    return Err(LogError::client(writing(), fault));
                }
                Err(Code::QueueFull) => {
                    let what = format!("finding room to write to topic `{}`", record.topic);
                    return Err(LogError::late(what, started.elapsed()));
                }
                Err(Code::UnknownPartition) => {
                    return Err(LogError::unknown_partition(record.topic, record.partition));
                }
                Err(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
                    return Err(LogError::unknown_topic(record.topic));
                }
                Err(code) => return Err(LogError::refused(writing(), Fault::of(code))),
            }
        }
    }

    fn flush(&self, deadline: Instant) -> Result<(), LogError> {
        let started = Instant::now();
        loop {
            let all = self.all().clone();
            all.iter().for_each(|producer| producer.client.nudge());
            let left = all.iter().map(|producer| producer.client.in_flight());
            let left: usize = left.sum();
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("delivering {left} records");
                return Err(LogError::late(what, started.elapsed()));
            }
            thread::sleep(RETRY_AFTER);
        }
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        // What cannot be written in time is reported as failed.
        if let Err(error) = self.flush(Instant::now() + self.config.deadline) {
            tracing::warn!(%error, "undelivered records given up");
            let all = self.all();
            all.iter().for_each(|producer| producer.client.purge());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use rdkafka::mocking::MockCluster;

    use super::super::super::Failure;
    use super::*;

    type Reports = Receiver<(u64, Result<(i32, i64), Failure>)>;

    /// Waits at most so long for what must come.
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn appender(brokers: String) -> (KafkaAppender, Reports) {
        let config = KafkaConfig {
            brokers,
            properties: BTreeMap::from([("linger.ms".to_owned(), "0".to_owned())]),
            ..KafkaConfig::default()
        };
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        let delivered: OnDelivery = Arc::new(move |token, outcome| {
            let tell = tell.lock().expect("no panic");
            tell.send((token, outcome)).expect("the test listens");
        });
        let appender = KafkaAppender::new(config, 1 << 20, delivered).expect("a producer");
        (appender, told)
    }

    fn send(appender: &KafkaAppender, token: u64) -> Result<(), LogError> {
        let sent = Sent {
            topic: "stream",
            partition: 0,
            key: Some(b"key"),
            value: Some(b"value"),
            timestamp: -1,
            headers: &[],
        };
        appender.send(sent, token, Instant::now() + TIMEOUT)
    }

    #[test]
    fn an_appender_goes_on_with_a_new_producer_when_its_own_ended() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("stream", 1, 1).expect("made");
        let (appender, told) = appender(cluster.bootstrap_servers());
        let next = || told.recv_timeout(TIMEOUT).expect("told");
        for round in 0..3 {
            let token = 2 * round;
            send(&appender, token).expect("enqueued");
            assert!(matches!(next(), (of, Ok(_)) if of == token));
            // No broker takes the next one before the producer ends.
            cluster.broker_down(1).expect("down");
            send(&appender, token + 1).expect("enqueued");
            let producer = appender.producer();
            producer
                .client
                .end(Code::OutOfOrderSequenceNumber, "as asked");
            let (of, outcome) = next();
            assert_eq!(of, token + 1, "no record is without an end");
            let why = outcome.expect_err("it did not arrive").to_string();
            assert!(why.contains("as asked"), "{why}");
            cluster.broker_up(1).expect("up");
        }
        send(&appender, 100).expect("enqueued by a producer of today");
        appender.flush(Instant::now() + TIMEOUT).expect("all told");
        assert!(matches!(next(), (100, Ok(_))));
        assert!(told.try_recv().is_err(), "each is told once");
        drop(appender);
    }

    #[test]
    fn threads_that_share_an_appender_get_one_new_producer() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("stream", 1, 1).expect("made");
        let (appender, told) = appender(cluster.bootstrap_servers());
        appender
            .producer()
            .client
            .end(Code::OutOfOrderSequenceNumber, "as asked");
        thread::scope(|scope| {
            for token in 0..8 {
                let appender = &appender;
                scope.spawn(move || send(appender, token).expect("enqueued"));
            }
        });
        appender.flush(Instant::now() + TIMEOUT).expect("all told");
        let mut tokens: Vec<_> = (0..8)
            .map(|_| told.recv_timeout(TIMEOUT).expect("told"))
            .map(|(token, outcome)| (token, outcome.is_ok()))
            .collect();
        tokens.sort_unstable();
        assert_eq!(
            tokens,
            (0..8).map(|token| (token, true)).collect::<Vec<_>>()
        );
        assert_eq!(appender.all().len(), 2, "the old one and the new one");
    }
}
