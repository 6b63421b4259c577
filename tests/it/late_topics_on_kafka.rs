//! Topics that are created after a program has started: they are waited for, and the error names how long.
//! Topics that are created just before a program starts are found.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka_runtime::emitter::{EmitError, Emitter};
use goka_runtime::log::{Log, NewTopic};
use goka_runtime::record::TopicPartition;
use goka_runtime::table::memory::MemoryStores;
use goka_runtime::view::{View, ViewError};
use rdkafka::admin;

use crate::restores::rig::{Rig, adds, machine, stop};
use crate::support::kafka::{Broker, another, broker, three};
use crate::support::program::{Program, Running, counted, data_dir};
use crate::support::{TIMEOUT, block_on, kafka_log, unique};

#[stream("late-clicks", key = String, value = String)]
#[derive(Debug)]
struct Clicks;

#[stream("late-counts", key = String, value = i64)]
#[derive(Debug)]
struct Counted;

impl goka_runtime::topic::Table for Counted {}

/// How long after the start of a program a topic is created.
const LATER: Duration = Duration::from_secs(1);

fn at(brokers: String) -> Arc<dyn Log> {
    Arc::new(kafka_log(brokers))
}

/// Creates a topic while `start` waits for it; returns the result of `start`.
fn created_later<R>(broker: &Broker, topic: &str, compact: bool, start: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(LATER);
            let policy = if compact { "compact" } else { "delete" };
            broker.create_topic(topic, 2, &[("cleanup.policy", policy)]);
        });
        start()
    })
}

fn clicks(broker: &Broker) -> (tempfile::TempDir, Program) {
    let (temp, dir) = data_dir();
    (temp, Program::new("clicks", dir).on(broker.bootstrap()))
}

#[track_caller]
fn counts(program: &Program, running: &Running) {
    let output = program.run(["emit", "user-clicks", "alice", "now"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    running.wait_out("the click", |lines| {
        lines.iter().any(|line| counted(line).is_some())
    });
}

/// A program that waits for its input.
#[track_caller]
fn waiting(program: &Program) -> Running {
    let running = program.start(["--no-simulate"]);
    running.wait_err("waiting for topics");
    running
}

#[test]
fn a_processor_waits_five_seconds_for_its_topics() {
    let Some(broker) = another(&[]) else { return };
    let (_temp, program) = clicks(&broker);

    // The topic is never created.
    let output = program.run(["--no-simulate"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    let error = output.error();
    for part in [
        "do not exist after a wait of 5s",
        "`user-clicks`",
        "--create",
    ] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }

    // The program is stopped while it waits.
    let mut running = waiting(&program);
    let stopped = Instant::now();
    let (code, output) = running.stop();
    assert_eq!(code, Some(0), "{output}");
    assert!(!output.contains("error"), "{output}");
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(4), "it kept waiting: {took:?}");

    // The wait ends before the topic is created; a restarted program finds it.
    let mut running = waiting(&program);
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(2), "{:?}", running.err());

    // The topic is created while the program waits.
    let running = waiting(&program);
    broker.create_topic("user-clicks", 2, &[]);
    counts(&program, &running);
}

#[test]
fn an_emitter_waits_five_seconds_for_its_topic() {
    let Some(broker) = broker() else { return };
    let log = at(broker.bootstrap());
    let Err(refused) = Emitter::<Clicks>::new(Arc::clone(&log)) else {
        panic!("there is no topic");
    };
    assert!(
        matches!(refused, EmitError::MissingTopic { .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("after a wait of 5s"),
        "{refused}"
    );
    let emitter = created_later(broker, "late-clicks", false, || {
        Emitter::<Clicks>::new(Arc::clone(&log)).unwrap()
    });
    let ack = emitter.emit("alice", "now").unwrap();
    ack.wait(TIMEOUT).unwrap();
}

#[test]
fn a_view_waits_five_seconds_for_its_table() {
    let Some(broker) = broker() else { return };
    let (log, stores) = (at(broker.bootstrap()), Arc::new(MemoryStores::default()));
    let Err(refused) = View::<Counted>::start(Arc::clone(&log), stores.clone()) else {
        panic!("there is no table");
    };
    assert!(
        matches!(refused, ViewError::MissingTable { .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("after a wait of 5s"),
        "{refused}"
    );
    let view = created_later(broker, "late-counts", true, || {
        View::<Counted>::start(Arc::clone(&log), stores.clone()).unwrap()
    });
    view.wait_ready(TIMEOUT).unwrap();
    assert_eq!(view.get("alice").unwrap(), None);
}

#[test]
fn a_command_waits_five_seconds_for_its_topic() {
    let Some(broker) = broker() else { return };
    let (_temp, program) = clicks(broker);
    let (stream, group) = (unique("late-stream"), unique("late-group"));
    let table = format!("{group}-state");

    let emit = ["emit", &stream, "alice", "now"];
    let get = ["get", &group, "alice"];
    for args in [&emit[..], &get] {
        let output = program.run(args);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.error().contains("does not exist"), "{output:?}");
        assert!(output.error().contains("after a wait of 5s"), "{output:?}");
    }
    let output = created_later(broker, &stream, false, || program.run(emit));
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = created_later(broker, &table, true, || program.run(get));
    assert_eq!(output.code, Some(1), "{output:?}");
    let output = program.run(["scan", &group]);
    assert_eq!((output.code, &*output.out), (Some(0), ""), "{output:?}");
}

/// Each request may go to another broker, and some learn of a topic later than others.
#[test]
fn a_new_topic_is_known_whichever_broker_is_asked() {
    let Some(brokers) = three() else { return };
    let all: Vec<_> = brokers.iter().map(Broker::bootstrap).collect();
    let log = at(all.join(","));
    for number in 0..50 {
        let topic = NewTopic {
            name: format!("new-{number}"),
            partitions: 2,
            compact: true,
            retention: None,
        };
        log.create(&topic).expect("made");
        let found = log.describe(&[&topic.name]).expect("described");
        assert!(found[0].is_some(), "{topic:?}");
        let partition = TopicPartition::new(&*topic.name, 1);
        let ranges = log.ranges(&[partition]).expect("it has offsets");
        assert_eq!((ranges[0].start, ranges[0].high), (0, 0));
    }
    // Another client creates the topic; a program starts at once, whose clients have no metadata yet.
    let admin = brokers[0].admin();
    let at_once = |thread: usize| {
        for round in 0..5 {
            let case = format!("at-once-{thread}-{round}");
            let input = format!("{case}-in");
            let new = admin::NewTopic::new(&input, 1, admin::TopicReplication::Fixed(3));
            let made = block_on(admin.create_topics([&new], &Default::default()));
            made.unwrap().remove(0).unwrap();
            let rig = Rig::of_existing(at(all.join(",")), &case);
            let machine = machine();
            let running = rig.start(machine.path());
            rig.write(adds(&[("a", 1)]));
            rig.wait_level(&running);
            stop(running);
            rig.assert_rows(machine.path(), &[("a", 1)]);
        }
    };
    thread::scope(|scope| {
        for thread in 0..6 {
            scope.spawn(move || at_once(thread));
        }
    });
}
