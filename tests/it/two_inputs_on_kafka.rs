//! A processor with two inputs on a real Kafka: the group's description shows only the group topic
//! assigned, and both inputs are consumed and committed.

use std::sync::Arc;
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, View};
use goka_runtime::edges::Processor as _;
use goka_runtime::log::Log;
use goka_runtime::processor::{ProcessorOptions, start};
use goka_runtime::table::memory::MemoryStores;

use crate::support::kafka::broker;
use crate::support::{TIMEOUT, kafka_log, offsets, wait_until};

#[stream("two-inputs-clicks", key = String, value = i64, partitions = 3)]
#[derive(Debug)]
struct Clicks;

#[stream("two-inputs-taps", key = String, value = i64, partitions = 3)]
#[derive(Debug)]
struct Taps;

#[processor(group = "two-inputs", persist = i64)]
#[input(Clicks, Taps)]
fn sum(ctx: &mut Context, weight: i64) -> Result<()> {
    let sum = ctx.value()?.unwrap_or(0) + weight;
    ctx.set_value(&sum)?;
    Ok(())
}

#[test]
fn only_the_group_topic_is_assigned_and_both_inputs_are_committed() {
    let Some(broker) = broker() else { return };
    for topic in ["two-inputs-clicks", "two-inputs-taps"] {
        broker.create_topic(topic, 3, &[]);
    }
    let log: Arc<dyn Log> = Arc::new(kafka_log(broker.bootstrap()));
    let options = ProcessorOptions {
        session_timeout: Duration::from_secs(6),
        ..ProcessorOptions::default()
    };
    let stores = Arc::new(MemoryStores::default());
    let running = start(
        Sum::DEFINITION,
        Arc::new(Sum),
        Arc::clone(&log),
        stores,
        &options,
    )
    .unwrap();
    let clicks = Emitter::<Clicks>::new(Arc::clone(&log)).unwrap();
    let taps = Emitter::<Taps>::new(Arc::clone(&log)).unwrap();
    for at in 0..300_i64 {
        let key = format!("user-{}", at % 10);
        let _ack = clicks.emit(&key, &1).unwrap();
        let _ack = taps.emit(&key, &100).unwrap();
    }
    clicks.close(TIMEOUT).unwrap();
    taps.close(TIMEOUT).unwrap();
    for topic in ["two-inputs-clicks", "two-inputs-taps"] {
        wait_until("the input is committed to its end", TIMEOUT, || {
            offsets::is_level(&*log, "two-inputs", topic, 3)
        });
    }
    let args = [
        "--describe",
        "--group",
        "two-inputs",
        "--members",
        "--verbose",
    ];
    let described = broker.consumer_groups(&args);
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    assert!(described.contains("two-inputs-state"), "{described}");
    assert!(!described.contains("two-inputs-clicks"), "{described}");
    assert!(!described.contains("two-inputs-taps"), "{described}");

    let view = View::<Sum>::start(log, Arc::new(MemoryStores::default())).unwrap();
    view.wait_ready(TIMEOUT).unwrap();
    for at in 0..10 {
        let found = view.get(format!("user-{at}")).unwrap();
        assert_eq!(found, Some(30 + 3000));
    }
    running.stop();
    running.join().unwrap();
}
