//! The status of a partition that stopped: it is reported until the partition is assigned again and runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goka::Emitter;
use goka::prelude::*;
use goka_runtime::edges::Processor as _;
use goka_runtime::log::Log;
use goka_runtime::log::embedded::Embedded;
use goka_runtime::processor::{ProcessorError, ProcessorOptions, Running, State, start};
use goka_runtime::table::memory::MemoryStores;

use crate::support::{TIMEOUT, wait_until};

#[stream("status-in", key = String, value = i64, partitions = 2)]
#[derive(Debug)]
struct In;

static REFUSES: AtomicBool = AtomicBool::new(true);

#[processor(group = "status", persist = i64)]
#[input(In)]
fn counted(ctx: &mut Context, record: i64) -> Result<()> {
    if REFUSES.load(Ordering::Relaxed) {
        return Err("not now".into());
    }
    ctx.set_value(&record)?;
    Ok(())
}

fn run(log: &Arc<dyn Log>, instance: &str) -> Running {
    let options = ProcessorOptions {
        instance: instance.to_owned(),
        ..ProcessorOptions::default()
    };
    let stores = Arc::new(MemoryStores::default());
    start(
        Counted::DEFINITION,
        Arc::new(Counted),
        log.clone(),
        stores,
        &options,
    )
    .expect("it starts")
}

fn stopped(running: &Running) -> usize {
    let status = running.status();
    status.iter().filter(|task| task.stopped.is_some()).count()
}

#[test]
fn a_stopped_partition_that_is_assigned_again_is_not_reported_as_stopped() {
    let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().expect("a log"));
    let first = run(&log, "first");
    let records = Emitter::<In>::new(log.clone()).expect("an emitter");
    for key in 0..20 {
        records.emit(key.to_string(), &1).expect("sent");
    }
    records.close(TIMEOUT).expect("delivered");
    wait_until("both partitions have stopped", TIMEOUT, || {
        stopped(&first) == 2
    });
    REFUSES.store(false, Ordering::Relaxed);
    // One partition moves to another instance, and comes back when that one stops.
    let second = run(&log, "second");
    wait_until("the other has one", TIMEOUT, || {
        second
            .status()
            .iter()
            .any(|task| task.state == State::Running)
    });
    second.stop();
    second.join().expect("it ends well");
    wait_until("the one that came back runs", TIMEOUT, || {
        first
            .status()
            .iter()
            .any(|task| task.state == State::Running)
    });
    assert_eq!(stopped(&first), 1);
    first.stop();
    match first.join() {
        Err(ProcessorError::Stopped { stopped, .. }) => assert_eq!(stopped.len(), 1),
        other => panic!("{other:?}"),
    }
}
