//! The input: a producer of its own, which runs while processes are killed and started. Keys are random by
//! seed; some are much more frequent than the others.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::child::INPUTS;
use crate::fold::Input;
use crate::random::Random;

const KEYS: usize = 400;
/// How often records are sent.
const SEND_INTERVAL: Duration = Duration::from_millis(5);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

/// The producer's thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Inputs {
    requests: Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    /// Send no more; answer when everything sent has arrived.
    Pause(Sender<Result<(), KafkaError>>),
    Resume,
}

impl Inputs {
    /// Starts to send `rate` records a second.
    pub(crate) fn start(brokers: &str, seed: u64, rate: u64) -> Result<Self, KafkaError> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            .create()?;
        let source = Source {
            random: Random::new(seed),
            numbers: vec![0; KEYS],
        };
        let (requests, received) = channel();
        let thread = std::thread::spawn(move || send(&producer, source, rate, &received));
        let thread = Some(thread);
        Ok(Self { requests, thread })
    }

    /// Sends no more, and waits until everything has arrived.
    pub(crate) fn pause(&self) -> Result<(), String> {
        let (answer, answered) = channel();
        let received = self.requests.send(Request::Pause(answer));
        let flushed = received.ok().and_then(|()| answered.recv().ok());
        match flushed {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(format!("the input does not reach the broker: {error}")),
            None => Err("the input's producer has died".to_owned()),
        }
    }

    pub(crate) fn resume(&self) {
        // A producer that has died is noticed by the next pause.
        let _ = self.requests.send(Request::Resume);
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        let (requests, _) = channel();
        drop(std::mem::replace(&mut self.requests, requests));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Source {
    random: Random,
    numbers: Vec<u64>,
}

impl Source {
    fn next(&mut self) -> (String, Input) {
        let of = |random: &mut Random| random.below(KEYS as u64) as usize;
        // Small products of two random numbers are much more frequent.
        let key = of(&mut self.random) * of(&mut self.random) / KEYS;
        let number = self.numbers[key];
        self.numbers[key] += 1;
        let amount = self.random.below(1_000_000);
        (format!("key-{key}"), Input { number, amount })
    }
}

fn send(producer: &BaseProducer, mut source: Source, rate: u64, received: &Receiver<Request>) {
    let (mut began, mut sent, mut is_paused) = (Instant::now(), 0, false);
    loop {
        match received.try_recv() {
            Ok(Request::Pause(answer)) => {
                is_paused = true;
                let _ = answer.send(producer.flush(FLUSH_TIMEOUT));
            }
            Ok(Request::Resume) => (began, sent, is_paused) = (Instant::now(), 0, false),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let due = began.elapsed().as_millis() as u64 * rate / 1000;
        while !is_paused && sent < due {
            one(producer, &mut source);
            sent += 1;
        }
        producer.poll(Duration::ZERO);
        std::thread::park_timeout(SEND_INTERVAL);
    }
}

fn one(producer: &BaseProducer, source: &mut Source) {
    let (key, input) = source.next();
    let payload = serde_json::to_vec(&input).expect("numbers are JSON");
    let mut record = BaseRecord::to(INPUTS).key(&key).payload(&payload);
    while let Err((_, back)) = producer.send(record) {
        record = back;
        producer.poll(Duration::from_millis(10));
    }
}
