//! The input: a foreign producer that goes on while processes come and go. Keys by seed, a few of
//! them much more often than the others.

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
const BEAT: Duration = Duration::from_millis(5);
const FLUSH: Duration = Duration::from_secs(20);

/// The producer's thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Inputs {
    asks: Sender<Ask>,
    thread: Option<JoinHandle<()>>,
}

enum Ask {
    /// Send no more; answer when everything sent has arrived.
    Pause(Sender<Result<(), KafkaError>>),
    Resume,
}

impl Inputs {
    /// Begins to send so many records a second.
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
        let (asks, asked) = channel();
        let thread = std::thread::spawn(move || send(&producer, source, rate, &asked));
        let thread = Some(thread);
        Ok(Self { asks, thread })
    }

    /// Sends no more, and waits until everything has arrived.
    pub(crate) fn pause(&self) -> Result<(), String> {
        let (answer, answered) = channel();
        let asked = self.asks.send(Ask::Pause(answer));
        let flushed = asked.ok().and_then(|()| answered.recv().ok());
        match flushed {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(format!("the input does not get to the broker: {error}")),
            None => Err("the input's producer has died".to_owned()),
        }
    }

    pub(crate) fn resume(&self) {
        // A producer that has died is noticed by the next pause.
        let _ = self.asks.send(Ask::Resume);
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        let (asks, _) = channel();
        drop(std::mem::replace(&mut self.asks, asks));
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
        // Of two, the product: small numbers come much more often.
        let key = of(&mut self.random) * of(&mut self.random) / KEYS;
        let number = self.numbers[key];
        self.numbers[key] += 1;
        let amount = self.random.below(1_000_000);
        (format!("key-{key}"), Input { number, amount })
    }
}

fn send(producer: &BaseProducer, mut source: Source, rate: u64, asked: &Receiver<Ask>) {
    let (mut began, mut sent, mut is_paused) = (Instant::now(), 0, false);
    loop {
        match asked.try_recv() {
            Ok(Ask::Pause(answer)) => {
                is_paused = true;
                let _ = answer.send(producer.flush(FLUSH));
            }
            Ok(Ask::Resume) => (began, sent, is_paused) = (Instant::now(), 0, false),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        let due = began.elapsed().as_millis() as u64 * rate / 1000;
        while !is_paused && sent < due {
            one(producer, &mut source);
            sent += 1;
        }
        producer.poll(Duration::ZERO);
        std::thread::park_timeout(BEAT);
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
