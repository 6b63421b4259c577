//! Keys that decode, but are written otherwise than this program writes them: no row is doubled or missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka::{Emitter, View};
use goka_runtime::edges::Processor as _;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Log, NewTopic, Sent};
use goka_runtime::partitioner::{Murmur2, Partitioner};
use goka_runtime::processor::{ProcessorOptions, Running, start};
use goka_runtime::record::TopicPartition;
use goka_runtime::table::memory::MemoryStores;
use uuid::Uuid;

use crate::support::{TIMEOUT, wait_until};

const PARTITIONS: i32 = 3;
const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

#[stream("forms-orders", key = Uuid, value = i64, partitions = 3)]
#[derive(Debug)]
struct Orders;

#[table("forms-names", key = Uuid, value = String, partitions = 3)]
#[derive(Debug)]
struct Names;

#[table("forms-prices", key = u64, value = i64, partitions = 3)]
#[derive(Debug)]
struct Prices;

#[processor(group = "forms", persist = String)]
#[input(Orders)]
#[join(Names)]
#[lookup(Prices)]
fn order(ctx: &mut Context, article: i64) -> Result<()> {
    let name = ctx.join(Names)?.unwrap_or_default();
    let price = ctx.lookup(Prices, u64::try_from(article)?)?.unwrap_or(0);
    ctx.set_value(&format!("{name} {price}"))?;
    Ok(())
}

fn log() -> Arc<dyn Log> {
    let log = Embedded::in_memory().unwrap();
    for (name, compact) in [
        ("forms-orders", false),
        ("forms-names", true),
        ("forms-prices", true),
    ] {
        let name = name.to_owned();
        let (partitions, retention) = (PARTITIONS, None);
        log.create(&NewTopic {
            name,
            partitions,
            compact,
            retention,
        })
        .unwrap();
    }
    Arc::new(log)
}

/// Writes a record as another language's client does: by the bytes of its key.
fn write(log: &dyn Log, topic: &str, key: &str, value: Option<&str>) {
    let delivered = |_, result: std::result::Result<_, _>| assert!(result.is_ok());
    let appender = log.appender(Arc::new(delivered)).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let sent = Sent {
        topic,
        partition: place(key),
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        timestamp: 1_000,
        headers: &[],
    };
    appender.send(sent, 0, deadline).unwrap();
    appender.flush(deadline).unwrap();
}

fn place(key: &str) -> i32 {
    Murmur2::partition(key.as_bytes(), PARTITIONS)
}

fn run(log: &Arc<dyn Log>, stores: &Arc<MemoryStores>) -> Running {
    let options = ProcessorOptions {
        barrier_interval: Duration::from_millis(20),
        ..ProcessorOptions::default()
    };
    let (log, stores) = (Arc::clone(log), stores.clone());
    start(Order::DEFINITION, Arc::new(Order), log, stores, &options).unwrap()
}

/// Waits until a partition stops; returns the reason.
fn stopped(running: &Running, partition: i32) -> String {
    let mut why = None;
    wait_until("a partition stops", TIMEOUT, || {
        let status = running.status();
        why = status
            .into_iter()
            .find_map(|task| task.stopped.filter(|_| task.partition == partition));
        why.is_some()
    });
    why.expect("it stopped").to_string()
}

fn wait_read(log: &dyn Log, partition: i32, records: i64) {
    let at = [TopicPartition::new("forms-orders", partition)];
    wait_until("the orders are read", TIMEOUT, || {
        let committed = log.committed("forms", &at).unwrap();
        committed[0].as_ref().map(|committed| committed.offset) == Some(records)
    });
}

fn rows(log: &Arc<dyn Log>) -> Vec<(Uuid, String)> {
    let view = View::<Order>::start(Arc::clone(log), Arc::new(MemoryStores::default())).unwrap();
    view.wait_ready(TIMEOUT).unwrap();
    view.iter()
        .unwrap()
        .map(std::result::Result::unwrap)
        .collect()
}

#[test]
fn an_input_key_in_another_form_stops_its_partition_and_adds_no_row() {
    let log = log();
    let running = run(&log, &Arc::default());
    let orders = Emitter::<Orders>::new(Arc::clone(&log)).unwrap();
    let id: Uuid = ID.parse().unwrap();
    let _ack = orders.emit(id, &7).unwrap();
    orders.close(TIMEOUT).unwrap();
    wait_read(&*log, place(ID), 1);

    let form = ID.to_uppercase();
    let at = place(&form);
    let offset = i64::from(at == place(ID));
    write(&*log, "forms-orders", &form, Some("8"));
    let why = stopped(&running, at);
    for part in [
        &*format!("forms-orders[{at}] offset {offset}, key `{form}`"),
        &*format!("this program writes this key as `{ID}`"),
    ] {
        assert!(why.contains(part), "{part} in: {why}");
    }
    running.stop();
    running.join().unwrap_err();
    assert_eq!(rows(&log), [(id, " 0".to_owned())]);
}

#[test]
fn a_joined_row_in_another_form_stops_its_partition_until_it_is_deleted() {
    let (log, stores) = (log(), Arc::default());
    let form = ID.to_uppercase();
    let at = place(&form);
    write(&*log, "forms-names", ID, Some("pen"));
    write(&*log, "forms-names", &form, Some("PEN"));
    // Found by the restore, it ends the start.
    for _ in 0..2 {
        let refused = run(&log, &stores).join().unwrap_err().to_string();
        for part in [
            &*format!("forms-names[{at}] offset "),
            &*format!("key `{form}`: this program writes this key as `{ID}`"),
        ] {
            assert!(refused.contains(part), "{part} in: {refused}");
        }
    }
    write(&*log, "forms-names", &form, None);
    let running = run(&log, &stores);
    write(&*log, "forms-orders", ID, Some("7"));
    wait_read(&*log, place(ID), 1);
    let id: Uuid = ID.parse().unwrap();
    assert_eq!(rows(&log), [(id, "pen 0".to_owned())]);

    // While it runs, its partition stops.
    write(&*log, "forms-names", &form, Some("PEN"));
    let why = stopped(&running, at);
    assert!(why.contains(&format!("key `{form}`")), "{why}");
    running.stop();
    running.join().unwrap_err();
    // The next start stops at it, too.
    let refused = run(&log, &stores).join().unwrap_err().to_string();
    assert_eq!(refused.split_once(": ").unwrap().1, why);
}

#[test]
fn lookups_views_and_emitters_use_the_canonical_form() {
    let log = log();
    write(&*log, "forms-prices", "7", Some("300"));
    write(&*log, "forms-prices", "007", Some("1"));
    let running = run(&log, &Arc::default());
    let orders = Emitter::<Orders>::new(Arc::clone(&log)).unwrap();
    let id: Uuid = ID.to_uppercase().parse().unwrap();
    let _ack = orders.emit(id, &7).unwrap();
    orders.close(TIMEOUT).unwrap();
    wait_read(&*log, place(ID), 1);
    let view = View::<Order>::start(Arc::clone(&log), Arc::new(MemoryStores::default())).unwrap();
    view.wait_ready(TIMEOUT).unwrap();
    assert_eq!(view.get(id).unwrap().as_deref(), Some(" 300"));
    running.stop();
    running.join().unwrap();
}
