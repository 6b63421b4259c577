//! A visit whose handler panics on a real Kafka: the error, and the command in it, which skips the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, View};
use goka_runtime::edges::Processor as _;
use goka_runtime::log::Log;
use goka_runtime::processor::{ProcessorOptions, Running, start};
use goka_runtime::table::memory::MemoryStores;
use goka_runtime::visit::visit;

use crate::support::kafka::{Broker, broker};
use crate::support::{TIMEOUT, kafka_log, offsets, wait_until};

const GROUP: &str = "failing-visits";

static VISITED: AtomicUsize = AtomicUsize::new(0);

#[stream("failing-visits-clicks", key = String, value = i64, partitions = 1)]
#[derive(Debug)]
struct Clicks;

#[derive(Default)]
struct Touch;

#[processor(group = "failing-visits", persist = i64)]
impl Touch {
    #[input(Clicks)]
    fn on_click(&self, ctx: &mut Context, weight: i64) -> Result<()> {
        let sum = ctx.value()?.unwrap_or(0) + weight;
        ctx.set_value(&sum)?;
        Ok(())
    }

    #[visit]
    fn add(&self, ctx: &mut Context, weight: i64) -> Result<()> {
        assert!(ctx.key() != "b" || weight < 100, "too much for b");
        VISITED.fetch_add(1, Ordering::Relaxed);
        ctx.update(|sum| sum.unwrap_or(0) + weight)?;
        Ok(())
    }
}

fn run(log: &Arc<dyn Log>) -> Running {
    let options = ProcessorOptions {
        session_timeout: Duration::from_secs(6),
        ..ProcessorOptions::default()
    };
    let (log, stores) = (Arc::clone(log), Arc::new(MemoryStores::default()));
    start(Touch::DEFINITION, Arc::new(Touch), log, stores, &options).unwrap()
}

fn committed(log: &dyn Log, topic: &str) -> Option<i64> {
    offsets::committed(log, GROUP, topic, 1)[0]
}

/// Waits until the only partition stops; returns the error of the processor.
fn stops(running: Running) -> String {
    let stopped = || running.status().iter().any(|task| task.stopped.is_some());
    wait_until("the partition stops", TIMEOUT, stopped);
    running.stop();
    running.join().unwrap_err().to_string()
}

/// Runs the command that an error suggests, with the brokers added.
fn run_suggestion(broker: &Broker, said: &str) {
    let (_, command) = said
        .split_once("kafka-consumer-groups.sh ")
        .expect("a command");
    let (command, _) = command.split_once(')').expect("its end");
    let args: Vec<_> = command.split_whitespace().collect();
    let done = broker.consumer_groups(&args);
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_visit_that_panics_names_its_request_and_the_command_that_skips_it() {
    let Some(broker) = broker() else { return };
    broker.create_topic("failing-visits-clicks", 1, &[]);
    let log: Arc<dyn Log> = Arc::new(kafka_log(broker.bootstrap()));
    let running = run(&log);
    let clicks = Emitter::<Clicks>::new(Arc::clone(&log)).unwrap();
    for key in ["a", "b", "c"] {
        let _ack = clicks.emit(key, &1).unwrap();
    }
    clicks.close(TIMEOUT).unwrap();
    wait_until("the clicks are counted", TIMEOUT, || {
        committed(&*log, "failing-visits-clicks") == Some(3)
    });
    // The first request succeeds, so that the one at fault is not the first record of the topic.
    for weight in ["10", "100", "1000"] {
        visit::<Touch>(Arc::clone(&log), "add", weight, TIMEOUT).unwrap();
    }
    let first = stops(running);
    for part in [
        "failing-visits-visit[0] offset 1, a visit, at key `b`: the handler panicked: too much for b",
        "--topic failing-visits-visit:0 --reset-offsets --to-offset 2 --execute",
    ] {
        assert!(first.contains(part), "{part} in: {first}");
    }
    // It stops again at the same key, with the same error.
    let again = stops(run(&log));
    assert_eq!(again, first);
    assert_eq!(
        VISITED.load(Ordering::Relaxed),
        4,
        "the key before it is not visited again"
    );
    assert_eq!(committed(&*log, "failing-visits-visit"), Some(1));

    run_suggestion(broker, &first);
    assert_eq!(committed(&*log, "failing-visits-visit"), Some(2));
    assert_eq!(
        committed(&*log, "failing-visits-clicks"),
        Some(3),
        "the offset of the input is unchanged"
    );
    // The next request fails at the same key.
    let next = stops(run(&log));
    assert!(
        next.contains("failing-visits-visit[0] offset 2, a visit, at key `b`"),
        "{next}"
    );
    run_suggestion(broker, &next);

    let running = run(&log);
    visit::<Touch>(Arc::clone(&log), "add", "20", TIMEOUT).unwrap();
    wait_until("the next request is handled", TIMEOUT, || {
        committed(&*log, "failing-visits-visit") == Some(4)
    });
    running.stop();
    running.join().unwrap();
    let view = View::<Touch>::start(log, Arc::new(MemoryStores::default())).unwrap();
    view.wait_ready(TIMEOUT).unwrap();
    for (key, sum) in [("a", 1_131), ("b", 31), ("c", 31)] {
        assert_eq!(view.get(key).unwrap(), Some(sum), "{key}");
    }
}
