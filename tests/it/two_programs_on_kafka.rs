//! Two programs under one group name on a real Kafka: in every order of their starts one of them is refused
//! before it handles a record. A version that reads more inputs is accepted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use goka::Processor;
use goka::prelude::*;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, Sent};
use goka_runtime::partitioner::{Murmur2, Partitioner};
use goka_runtime::processor::{ProcessorError, ProcessorOptions, Running, State, start};
use goka_runtime::record::TopicPartition;
use goka_runtime::table::memory::MemoryStores;

use crate::support::definition::renamed;
use crate::support::kafka::{Broker, broker};
use crate::support::{TIMEOUT, kafka_log, unique, wait_until};

/// As many as the embedded log makes.
const PARTITIONS: i32 = 4;

#[processor(group = "two-programs", persist = i64)]
#[input("two-programs-lefts")]
fn left(ctx: &mut Context, weight: i64) -> Result<()> {
    ctx.update(|sum| sum.unwrap_or(0) + weight)?;
    Ok(())
}

#[processor(group = "two-programs", persist = i64)]
#[input("two-programs-rights")]
fn right(ctx: &mut Context, weight: i64) -> Result<()> {
    ctx.update(|sum| sum.unwrap_or(0) + weight)?;
    Ok(())
}

#[processor(group = "two-programs", persist = i64)]
#[input("two-programs-lefts", "two-programs-rights")]
fn both(ctx: &mut Context, weight: i64) -> Result<()> {
    ctx.update(|sum| sum.unwrap_or(0) + weight)?;
    Ok(())
}

/// The same inputs as `Left`, and other values in the table.
#[processor(group = "two-programs", persist = String)]
#[input("two-programs-lefts")]
fn other_values(ctx: &mut Context, weight: i64) -> Result<()> {
    ctx.set_value(&weight.to_string())?;
    Ok(())
}

/// A group name of its own for each case, and the log that programs with this name use.
struct Rig {
    name: String,
    log: Arc<dyn Log>,
}

impl Rig {
    fn new(broker: &Broker) -> Self {
        let name = unique("two-programs");
        for side in ["lefts", "rights"] {
            broker.create_topic(&format!("{name}-{side}"), PARTITIONS, &[]);
        }
        let log = Arc::new(kafka_log(broker.bootstrap()));
        Self { name, log }
    }

    fn embedded() -> Self {
        let name = unique("two-programs");
        let log = Arc::new(Embedded::in_memory().unwrap());
        Self { name, log }
    }

    fn start<P: Processor>(&self) -> Running {
        let definition = renamed(P::DEFINITION, "two-programs", &self.name);
        let options = ProcessorOptions {
            session_timeout: Duration::from_secs(6),
            ..ProcessorOptions::default()
        };
        let shared = Arc::from(definition.make.expect("it has a default")());
        let (log, stores) = (Arc::clone(&self.log), Arc::new(MemoryStores::default()));
        start(&definition, shared, log, stores, &options).unwrap()
    }

    /// Writes five records to an input.
    fn send(&self, side: &str) {
        let delivered = |_, result: std::result::Result<_, _>| assert!(result.is_ok());
        let appender = self.log.appender(Arc::new(delivered)).unwrap();
        let deadline = Instant::now() + TIMEOUT;
        let topic = format!("{}-{side}", self.name);
        for key in ["a", "b", "c", "d", "e"] {
            let sent = Sent {
                topic: &topic,
                partition: Murmur2::partition(key.as_bytes(), PARTITIONS),
                key: Some(key.as_bytes()),
                value: Some(b"1"),
                timestamp: 1_000,
                headers: &[],
            };
            appender.send(sent, 0, deadline).unwrap();
        }
        appender.flush(deadline).unwrap();
    }

    /// How many records of an input the group has read; `None` where it committed nothing.
    fn read(&self, side: &str) -> Option<i64> {
        let topic = format!("{}-{side}", self.name);
        let at = (0..PARTITIONS).map(|at| TopicPartition::new(&*topic, at));
        let committed = self
            .log
            .committed(&self.name, &at.collect::<Vec<_>>())
            .unwrap();
        let mut offsets = committed.iter().flatten().map(|at| at.offset).peekable();
        offsets.peek()?;
        Some(offsets.sum())
    }
}

fn runs_alone(running: &Running) -> bool {
    let status = running.status();
    let run = status.iter().filter(|task| task.state == State::Running);
    i32::try_from(run.count()) == Ok(PARTITIONS)
}

fn wait_runs_alone(running: &Running) {
    wait_until("it runs alone", TIMEOUT, || runs_alone(running));
}

fn refused(running: Running) -> String {
    wait_until("it is refused", TIMEOUT, || running.is_finished());
    match running.join() {
        Err(ProcessorError::Failed { cause, .. }) => cause.to_string(),
        ended => panic!("{ended:?}"),
    }
}

fn stop(running: Running) {
    running.stop();
    running.join().unwrap();
}

/// Starts the second program while the first runs, and after the first has stopped. All topics are empty.
fn one_after_the_other<First: Processor, Second: Processor>(rig: &Rig, sides: [&str; 2]) {
    let first = rig.start::<First>();
    wait_runs_alone(&first);
    let why = refused(rig.start::<Second>());
    for part in [
        &*format!("{}-{}[", rig.name, sides[0]),
        "another program uses this group name",
        &*format!("one that reads `{}-{}`", rig.name, sides[0]),
        &*format!("this one reads `{}-{}`", rig.name, sides[1]),
    ] {
        assert!(why.contains(part), "{part} in: {why}");
    }
    if rig.log.describe_self().contains("Kafka") {
        let client = ", and runs as client `goka` (member `goka-";
        assert!(why.contains(client), "{why}");
        assert!(why.contains(" on 127.0.0.1;"), "{why}");
    }
    assert!(!why.contains("delete"), "{why}");
    wait_runs_alone(&first);
    rig.send(sides[0]);
    wait_until("all is read", TIMEOUT, || rig.read(sides[0]) == Some(5));
    assert_eq!(rig.read(sides[1]), None, "it committed nothing");
    stop(first);
    let why = refused(rig.start::<Second>());
    assert!(why.contains("another program uses"), "{why}");
    let first = rig.start::<First>();
    wait_runs_alone(&first);
    stop(first);
}

#[test]
fn another_program_is_refused_in_either_order_of_starts() {
    one_after_the_other::<Left, Right>(&Rig::embedded(), ["lefts", "rights"]);
    let Some(broker) = broker() else { return };
    one_after_the_other::<Left, Right>(&Rig::new(broker), ["lefts", "rights"]);
    one_after_the_other::<Right, Left>(&Rig::new(broker), ["rights", "lefts"]);
}

#[test]
fn of_two_programs_that_start_at_once_at_most_one_runs() {
    let Some(broker) = broker() else { return };
    for _ in 0..3 {
        let rig = Rig::new(broker);
        rig.send("lefts");
        rig.send("rights");
        let (left, right) = (rig.start::<Left>(), rig.start::<Right>());
        let is_over = || left.is_finished() || right.is_finished();
        wait_until("one is refused", TIMEOUT, is_over);
        let (stays, goes, side) = match left.is_finished() {
            true => (right, left, "lefts"),
            false => (left, right, "rights"),
        };
        let why = refused(goes);
        assert!(
            why.contains("another program uses this group name"),
            "{why}"
        );
        assert!(
            matches!(rig.read(side), None | Some(0)),
            "it handled nothing"
        );
        // The other program runs alone, or is refused, too. In that case a third one can start.
        let is_decided = || stays.is_finished() || runs_alone(&stays);
        wait_until(
            "the other program runs alone or is refused",
            TIMEOUT,
            is_decided,
        );
        if stays.is_finished() {
            let why = refused(stays);
            assert!(
                why.contains("another program uses this group name"),
                "{why}"
            );
            let next = rig.start::<Left>();
            wait_runs_alone(&next);
            stop(next);
        } else {
            stop(stays);
        }
    }
}

#[test]
fn a_version_that_adds_or_drops_inputs_is_accepted() {
    let Some(broker) = broker() else { return };
    let rig = Rig::new(broker);
    let old = rig.start::<Left>();
    wait_runs_alone(&old);
    rig.send("lefts");
    wait_until("all is read", TIMEOUT, || rig.read("lefts") == Some(5));
    // A rolling upgrade: both run for a while.
    let new = rig.start::<Both>();
    let has_share = || new.status().iter().any(|task| task.state == State::Running);
    wait_until("it has some partitions", TIMEOUT, has_share);
    stop(old);
    wait_runs_alone(&new);
    rig.send("rights");
    wait_until("all is read", TIMEOUT, || rig.read("rights") == Some(5));
    stop(new);
    // The next version drops the first input.
    let newest = rig.start::<Right>();
    wait_runs_alone(&newest);
    stop(newest);
}

#[test]
fn another_definition_of_the_table_is_refused() {
    let Some(broker) = broker() else { return };
    let rig = Rig::new(broker);
    let first = rig.start::<Left>();
    wait_runs_alone(&first);
    let why = refused(rig.start::<OtherValues>());
    assert!(why.contains("another definition of the table"), "{why}");
    assert!(
        why.contains("where no other program uses its name"),
        "{why}"
    );
    wait_runs_alone(&first);
    stop(first);
}
