//! How members and programs end on a real Kafka: partitions are handed over at once or kept for a
//! restart, a stop does not wait for a broker that hangs, and a program with a stopped processor ends
//! with an exit code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use goka::prelude::*;
use goka_runtime::edges::Processor as _;
use goka_runtime::log::{Group, Log, LogError};
use goka_runtime::processor::{OnStop, ProcessorOptions, Running, start};
use goka_runtime::record::TaskId;
use goka_runtime::table::memory::MemoryStores;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminOptions;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::log_conformance::rig::*;
use crate::support::kafka::{another, broker};
use crate::support::program::{Program, data_dir};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{block_on, kafka_log, offsets};

fn poll_all(members: &mut [TestMember]) {
    for member in members {
        member.poll();
    }
}

#[test]
fn a_member_that_leaves_hands_its_tasks_over_and_the_group_is_empty_after_the_last() {
    let Some(broker) = broker() else { return };
    let log = kafka_log(broker.bootstrap());
    let group = Group {
        session_timeout: Duration::from_secs(60),
        ..stateful(&log, &[stream(&log, 4)], 4)
    };
    let mut first = TestMember::owning(&log, &group, 4);
    let mut second = TestMember::join(&log, &worker(&group, 1));
    wait_until("two members share four tasks", || {
        first.poll();
        second.poll();
        first.recorder.owned.len() == 2 && second.recorder.owned.len() == 2
    });
    let began = Instant::now();
    second.inner.leave(deadline()).expect("it leaves");
    let left = began.elapsed();
    first.poll_until("it has all tasks", |recorder| recorder.owned.len() == 4);
    eprintln!(
        "left after {left:?}, handed over after {:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < group.session_timeout / 2,
        "it took no session timeout"
    );
    first.inner.leave(deadline()).expect("it leaves");
    let admin = broker.admin();
    let deleted = block_on(admin.delete_groups(&[&*group.name], &AdminOptions::new()));
    let deleted = deleted.expect("the broker answers");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
}

#[test]
fn static_members_that_restart_in_turn_keep_their_tasks() {
    let Some(broker) = broker() else { return };
    let log = kafka_log(broker.bootstrap());
    let group = Group {
        session_timeout: Duration::from_secs(30),
        ..stateful(&log, &[stream(&log, 6)], 6)
    };
    let joins = |at| TestMember::join(&log, &worker(&group, at));
    let mut members: Vec<TestMember> = (0..3).map(joins).collect();
    wait_until("three members share six tasks", || {
        poll_all(&mut members);
        members
            .iter()
            .all(|member| member.recorder.owned.len() == 2)
    });
    let owned = |member: &TestMember| {
        member
            .recorder
            .owned
            .keys()
            .copied()
            .collect::<Vec<TaskId>>()
    };
    let before: Vec<_> = members.iter().map(owned).collect();
    for member in &mut members {
        member.recorder.revoked.clear();
    }
    for at in 0..3u32 {
        let place = at as usize;
        let epochs = |members: &[TestMember]| {
            let others = members
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != place);
            let epochs = others.map(|(_, member)| {
                let of = member
                    .recorder
                    .owned
                    .iter()
                    .map(|(task, (epoch, _))| (*task, *epoch));
                of.collect::<Vec<_>>()
            });
            epochs.collect::<Vec<_>>()
        };
        let others = epochs(&members);
        let leaving = std::mem::replace(&mut members[place], joins(99));
        // A placeholder in the list: a member that never polls does not join the group.
        leaving.inner.close(deadline()).expect("it leaves");
        members[place] = joins(at);
        wait_until("it has its tasks again", || {
            poll_all(&mut members);
            owned(&members[place]) == before[place]
        });
        assert_eq!(epochs(&members), others, "no other task was assigned again");
    }
    assert_eq!(members.iter().map(owned).collect::<Vec<_>>(), before);
    for member in &members {
        assert!(member.recorder.revoked.is_empty() && member.recorder.lost.is_empty());
    }
}

#[test]
fn a_session_timeout_that_the_broker_refuses_is_reported_with_both_settings() {
    let Some(broker) = broker() else { return };
    let log = kafka_log(broker.bootstrap());
    let group = Group {
        // The broker accepts one second and more.
        session_timeout: Duration::from_millis(500),
        ..stateful(&log, &[stream(&log, 1)], 1)
    };
    let mut member = TestMember::join(&log, &group);
    let mut error = None;
    wait_until("it is refused", || {
        error = member.inner.poll(TICK, &mut member.recorder).err();
        error.is_some()
    });
    let error = error.expect("refused").to_string();
    for part in [
        "session.timeout.ms",
        "500 ms",
        "group.min.session.timeout.ms",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

/// Without a coordinator a member that leaves at the wrong moment would make librdkafka abort the process.
#[test]
fn leaving_does_not_wait_for_a_broker_that_hangs_or_is_gone() {
    let proxy = Proxy::new();
    let Some(_broker) = proxy.broker() else {
        return;
    };
    let log = kafka_log(proxy.bootstrap());
    for (round, mode) in [Mode::Swallow, Mode::Drop]
        .into_iter()
        .cycle()
        .take(8)
        .enumerate()
    {
        let group = stateful(&log, &[stream(&log, 2)], 2);
        let mut member = match round {
            // In the first two rounds it leaves before it has joined.
            0 | 1 => TestMember::join(&log, &group),
            _ => TestMember::owning(&log, &group, 2),
        };
        member.poll();
        proxy.set(mode);
        // It leaves at once, or after the client may have noticed the broken connection.
        thread::sleep(Duration::from_millis(100 * (round as u64 / 2)));
        let began = Instant::now();
        let left = member.inner.leave(deadline());
        let took = began.elapsed();
        eprintln!("{mode:?}: {left:?} after {took:?}");
        assert!(took < SESSION / 2, "{mode:?}: {took:?}");
        proxy.set(Mode::Pass);
    }
}

#[stream("ends-in", key = String, value = i64)]
#[derive(Debug)]
struct In;

/// When each partition's records were handled.
static HANDLED: Mutex<BTreeMap<i32, Vec<Instant>>> = Mutex::new(BTreeMap::new());

#[processor(group = "ends", persist = i64)]
#[input(In)]
fn ends(ctx: &mut Context, _record: i64) -> Result<()> {
    let count = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&count)?;
    let mut handled = HANDLED.lock().expect("no handler panics");
    handled
        .entry(ctx.partition())
        .or_default()
        .push(Instant::now());
    Ok(())
}

const PARTITIONS: i32 = 8;

fn run(log: &Arc<dyn Log>, instance: &str) -> Running {
    let options = ProcessorOptions {
        instance: instance.to_owned(),
        on_stop: OnStop::Leave,
        ..ProcessorOptions::default()
    };
    let stores = Arc::new(MemoryStores::default());
    start(
        Ends::DEFINITION,
        Arc::new(Ends),
        log.clone(),
        stores,
        &options,
    )
    .expect("it starts")
}

/// Emits a thousand records a second until it is asked to end.
fn load(brokers: &str, ended: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "1")
        .create()
        .expect("a producer");
    let ended = Arc::clone(ended);
    thread::spawn(move || {
        let mut at = 0;
        while !ended.load(Ordering::Relaxed) {
            for _ in 0..10 {
                let (key, value) = (format!("user-{}", at % 400), 1i64.to_string());
                let _ = producer.send(BaseRecord::to("ends-in").key(&key).payload(&value));
                at += 1;
            }
            producer.poll(Duration::from_millis(10));
        }
        producer.flush(Duration::from_secs(30)).expect("flushed");
    })
}

fn longest_gap(times: &[Instant], since: Instant) -> Duration {
    let from = times.partition_point(|at| *at < since).saturating_sub(1);
    let gaps = times[from..].windows(2).map(|two| two[1] - two[0]);
    gaps.max().unwrap_or_default()
}

#[test]
fn after_a_clean_stop_of_one_of_two_no_partition_waits_for_a_session_timeout() {
    let proxy = Proxy::new();
    let Some(broker) = proxy.broker() else { return };
    broker.create_topic("ends-in", PARTITIONS, &[]);
    let log: Arc<dyn Log> = Arc::new(kafka_log(proxy.bootstrap()));
    let (first, second) = (run(&log, "first"), run(&log, "second"));
    let ended = Arc::new(AtomicBool::new(false));
    let load = load(&broker.bootstrap(), &ended);
    let owned = |running: &Running| {
        let status = running.status();
        let running = status.iter().filter(|task| task.positions.len() == 1);
        running.count()
    };
    wait_until("two share eight partitions", || {
        owned(&first) == 4 && owned(&second) == 4
    });
    let all_handled_since = |since: Instant| {
        let handled = HANDLED.lock().expect("no handler panics");
        handled.len() == 8 && handled.values().all(|times| times.last() > Some(&since))
    };
    let now = Instant::now();
    wait_until("every partition is handled", || all_handled_since(now));
    let stopped = Instant::now();
    second.stop();
    second.join().expect("it stops cleanly");
    let took = stopped.elapsed();
    let gone = Instant::now();
    wait_until("every partition is handled again", || {
        all_handled_since(gone)
    });
    let longest = {
        let handled = HANDLED.lock().expect("no handler panics");
        let gaps = handled.values().map(|times| longest_gap(times, stopped));
        gaps.max().unwrap_or_default()
    };
    eprintln!("stopped after {took:?}; longest time without processing {longest:?}");
    assert!(
        longest < ProcessorOptions::default().session_timeout,
        "{longest:?}"
    );
    ended.store(true, Ordering::Relaxed);
    load.join().expect("no panic");

    // Everything is committed, so that the stop does not wait for a broker that hangs.
    wait_until("all is committed", || {
        offsets::is_level(&*log, "ends", "ends-in", PARTITIONS)
    });
    thread::sleep(Duration::from_millis(500));
    proxy.set(Mode::Swallow);
    let began = Instant::now();
    first.stop();
    let ended = first.join();
    eprintln!("with a hung broker: {ended:?} after {:?}", began.elapsed());
    assert_eq!(ended, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(5));

    // The same for a processor that restores and has handled nothing yet.
    proxy.set(Mode::Pass);
    let third = run(&log, "third");
    proxy.set(Mode::Swallow);
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    third.stop();
    let ended = third.join();
    eprintln!("at its start: {ended:?} after {:?}", began.elapsed());
    assert_eq!(ended, Ok(()));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_program_whose_partitions_have_all_stopped_ends_and_names_them() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("visits", 2, &[]);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .expect("a producer");
    for partition in 0..2 {
        let poisoned: &[u8] = &[0xff];
        let record = BaseRecord::to("visits").partition(partition).key("k");
        producer.send(record.payload(poisoned)).expect("sent");
    }
    producer.flush(TIMEOUT).expect("flushed");
    let (_temp, dir) = data_dir();
    let output = Program::new("own_store", dir)
        .on(broker.bootstrap())
        .run(["run"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    let line = output.error();
    assert!(line.contains("partitions 0, 1 stopped"), "{line}");
}

#[test]
fn of_two_processes_with_one_identity_the_older_ends_for_good() {
    let Some(broker) = broker() else { return };
    let log = kafka_log(broker.bootstrap());
    let group = stateful(&log, &[stream(&log, 2)], 2);
    let mut first = TestMember::owning(&log, &group, 2);
    let mut second = TestMember::join(&log, &group);
    let mut error = None;
    wait_until("the older one is fenced", || {
        second.poll();
        error = first.inner.poll(TICK, &mut first.recorder).err();
        error.is_some()
    });
    assert!(
        matches!(error, Some(LogError::InstanceFenced { .. })),
        "{error:?}"
    );
    let left = first.inner.leave(deadline());
    assert!(
        matches!(left, Err(LogError::InstanceFenced { .. })),
        "{left:?}"
    );
    second.poll_until("the newer one has the tasks", |recorder| {
        recorder.owned.len() == 2
    });
}
