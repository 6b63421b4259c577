//! Topics that change while a program runs: more partitions, another policy, deleted and created again.
//! No topic is read only in part, and no table answers with old rows. Each case waits until the program
//! notices the change, so the cases share a broker and run side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use goka::prelude::*;
use goka::{Emitter, View, ViewState};
use goka_runtime::log::Log;
use goka_runtime::record::TopicPartition;
use goka_runtime::table::memory::MemoryStores;

use crate::restores::rig::*;
use crate::support::cases::{Case, run_side_by_side};
use crate::support::kafka::{Broker, another};
use crate::support::{events, kafka_log, wait_until};

/// How long a program may take to notice a change, with some room for a busy broker.
const NOTICED: Duration = Duration::from_secs(90);

#[test]
fn changes_of_topics_in_use_are_noticed() {
    let cases: &[Case<Rig>] = &[
        ("input-grows", an_input_of_a_table_gains_partitions),
        ("join-grows", a_joined_table_gains_partitions),
        ("policy", the_group_topic_is_not_compacted_any_more),
        ("input-again", an_input_is_recreated),
        ("stateless", a_stateless_input_gains_partitions),
        ("stateless-again", a_stateless_input_is_recreated),
        ("followed", a_followed_table_gains_partitions),
        ("view-again", a_viewed_table_is_recreated),
    ];
    let Some(broker) = another(&[]) else { return };
    let log: Arc<dyn Log> = Arc::new(kafka_log(broker.bootstrap()));
    run_side_by_side(&broker, cases, |name| Rig::new(Arc::clone(&log), name));
}

/// Waits until a processor ends by itself; returns its error.
#[track_caller]
fn ends(running: goka_runtime::processor::Running) -> String {
    wait_until("it ends by itself", NOTICED, || running.is_finished());
    running.join().unwrap_err().to_string()
}

#[track_caller]
fn assert_says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{word}` is missing in: {error}");
    }
}

fn an_input_of_a_table_gains_partitions(broker: &Broker, rig: Rig) {
    let machine = machine();
    rig.write(adds(&[("a", 1)]));
    let running = rig.start(machine.path());
    rig.wait_level(&running);
    broker.grow(&rig.input, 2);
    let error = ends(running);
    assert_says(&error, &[&rig.input, "had 1 partition when", "has 2 now"]);
    assert_eq!(rig.committed(), Some(1), "what was handled is committed");
    assert_eq!(rig.rows(machine.path()).get("a"), Some(&1));
    // A start fails with the same error.
    let refused = rig.try_start(machine.path()).unwrap_err().to_string();
    assert_says(&refused, &[&rig.input, "with 2", &rig.table, "with 1"]);
}

#[table("restores-prices", key = String, value = i64)]
#[derive(Debug)]
struct Prices;

#[processor(group = "restores", persist = i64)]
#[input(In)]
#[join(Prices)]
fn priced(ctx: &mut Context, amount: i64) -> Result<()> {
    let price = ctx.join(Prices)?.unwrap_or_default();
    ctx.update(|sum| sum.unwrap_or(0) + amount * price)?;
    Ok(())
}

fn a_joined_table_gains_partitions(broker: &Broker, rig: Rig) {
    let prices = format!("{}-prices", rig.group);
    broker.create_topic(&prices, 1, &[("cleanup.policy", "compact")]);
    let (rig, machine) = (rig.of::<Priced>(), machine());
    rig.write(adds(&[("a", 1)]));
    let running = rig.start(machine.path());
    rig.wait_level(&running);
    broker.grow(&prices, 2);
    assert_says(
        &ends(running),
        &[&prices, "had 1 partition when", "has 2 now"],
    );
}

fn the_group_topic_is_not_compacted_any_more(broker: &Broker, rig: Rig) {
    let machine = machine();
    rig.write(adds(&[("a", 1)]));
    let running = rig.start(machine.path());
    rig.wait_level(&running);
    broker.configure(&rig.table, "cleanup.policy", "compact,delete");
    let error = ends(running);
    let words = ["since this program started", &rig.table, "compact,delete"];
    assert_says(&error, &words);
    broker.configure(&rig.table, "cleanup.policy", "compact");
    rig.write(adds(&[("a", 2)]));
    rig.run(machine.path());
    rig.assert_rows(machine.path(), &[("a", 3)]);
}

fn an_input_is_recreated(broker: &Broker, rig: Rig) {
    let machine = machine();
    rig.write(adds(&[("a", 1), ("a", 1), ("a", 1)]));
    let running = rig.start(machine.path());
    rig.wait_level(&running);
    broker.delete_topic(&rig.input);
    broker.create_topic(&rig.input, 1, &[]);
    // Read as the old topic, the new one would be read from its fourth record.
    let error = ends(running);
    assert_says(&error, &[&rig.input, "made again", "--reset-offsets"]);
    assert_eq!(rig.rows(machine.path()).get("a"), Some(&3));
    // Kafka deletes the offsets with the topic. With rows in its table the group must not start over.
    wait_until("the offset is gone", TIMEOUT, || rig.committed().is_none());
    rig.refused(machine.path(), &["no committed offset", "--reset-offsets"]);
    // The command that the error suggests.
    let args = [
        "--group",
        &rig.group,
        "--topic",
        &rig.input,
        "--reset-offsets",
        "--to-earliest",
        "--execute",
    ];
    wait_until("the offsets are set", TIMEOUT, || {
        broker.consumer_groups(&args);
        rig.committed() == Some(0)
    });
    rig.write(adds(&[("a", 10)]));
    rig.run(machine.path());
    rig.assert_rows(machine.path(), &[("a", 13)]);
}

/// How many records the stateless processor has read.
static READ: AtomicUsize = AtomicUsize::new(0);

#[processor(group = "restores")]
#[input(In)]
fn passing(_ctx: &mut Context, _value: i64) -> Result<()> {
    READ.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn a_stateless_input_gains_partitions(broker: &Broker, rig: Rig) {
    let (rig, machine) = (rig.of::<Passing>(), machine());
    rig.write(adds(&[("a", 1)]));
    let running = rig.start(machine.path());
    let read = |count| {
        wait_until("all is read", NOTICED, || {
            assert!(!running.is_finished(), "{:?}", running.status());
            READ.load(Ordering::Relaxed) == count
        });
    };
    read(1);
    broker.grow(&rig.input, 3);
    let sent = rig.send(&rig.input, 2, "b", "1");
    assert_eq!(sent, 0, "the first record of its partition");
    read(2);
    stop(running);
}

#[processor(group = "restores")]
#[input(In)]
fn anew(_ctx: &mut Context, _value: i64) -> Result<()> {
    READ_ANEW.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

static READ_ANEW: AtomicUsize = AtomicUsize::new(0);

fn a_stateless_input_is_recreated(broker: &Broker, rig: Rig) {
    let (rig, machine) = (rig.of::<Anew>(), machine());
    let read = |count| {
        wait_until("all is read", NOTICED, || {
            READ_ANEW.load(Ordering::Relaxed) == count
        });
    };
    rig.write(adds(&[("a", 1), ("a", 1), ("a", 1)]));
    let running = rig.start(machine.path());
    read(3);
    rig.wait_level(&running);
    broker.delete_topic(&rig.input);
    broker.create_topic(&rig.input, 1, &[]);
    let sent: Vec<_> = (0..5).map(|_| rig.send(&rig.input, 0, "b", "1")).collect();
    assert_eq!(sent, [0, 1, 2, 3, 4]);
    read(8);
    wait_until("all is committed", NOTICED, || rig.committed() == Some(5));
    stop(running);
}

#[table("changed-plans", key = String, value = i64)]
#[derive(Debug)]
struct Plans;

#[processor(group = "restores", persist = i64)]
#[input(In)]
#[lookup(Plans)]
fn planned(ctx: &mut Context, _value: i64) -> Result<()> {
    let plan = ctx.lookup(Plans, ctx.key())?;
    ctx.set_value(&plan.unwrap_or(-1))?;
    Ok(())
}

fn a_followed_table_gains_partitions(broker: &Broker, rig: Rig) {
    const TABLE: &str = "changed-plans";
    let keys: Vec<String> = (0..12).map(|number| format!("k{number}")).collect();
    let emit = |plan: i64| {
        let plans = Emitter::<Plans>::new(Arc::clone(&rig.log)).unwrap();
        for key in &keys {
            plans.emit(key, &plan).unwrap().wait(TIMEOUT).unwrap();
        }
    };
    broker.create_topic(TABLE, 1, &[("cleanup.policy", "compact")]);
    emit(1);
    let view = View::<Plans>::start(Arc::clone(&rig.log), Arc::new(MemoryStores::default()));
    let view = view.unwrap();
    let machine = machine();
    let rig = Rig::beside(&rig, Arc::clone(&rig.log)).of::<Planned>();
    let running = rig.start(machine.path());
    let looks_up = |plan: i64| {
        rig.write(adds(
            &keys.iter().map(|key| (&**key, 0)).collect::<Vec<_>>(),
        ));
        rig.wait_level(&running);
        rig.fold().values().filter(|value| **value == plan).count()
    };
    assert_eq!(looks_up(1), keys.len());
    view.wait_level(TIMEOUT).unwrap();
    broker.grow(TABLE, 4);
    emit(2);
    let in_new = |partition| {
        let at = TopicPartition::new(TABLE, partition);
        rig.log.ranges(&[at]).unwrap()[0].high > 0
    };
    assert!((1..4).any(in_new), "new partitions have rows");
    wait_until("the view has the new values", NOTICED, || {
        let has_all = keys.iter().all(|key| matches!(view.get(key), Ok(Some(2))));
        has_all && view.iter().is_ok_and(|rows| rows.count() >= keys.len())
    });
    assert_eq!(view.state(), ViewState::Following);
    assert!(events::logged(&["another number of partitions", TABLE]));
    // A lookup follows the table on its own thread.
    wait_until("handlers look up the new values", NOTICED, || {
        looks_up(2) == keys.len()
    });
    stop(running);
}

#[table("changed-again", key = String, value = i64)]
#[derive(Debug)]
struct Again;

fn a_viewed_table_is_recreated(broker: &Broker, rig: Rig) {
    const TABLE: &str = "changed-again";
    let emit = |key: &str, value: i64| {
        let again = Emitter::<Again>::new(Arc::clone(&rig.log)).unwrap();
        again.emit(key, &value).unwrap().wait(TIMEOUT).unwrap();
    };
    broker.create_topic(TABLE, 1, &[("cleanup.policy", "compact")]);
    for value in 0..3 {
        emit("old", value);
    }
    let view = View::<Again>::start(Arc::clone(&rig.log), Arc::new(MemoryStores::default()));
    let view = view.unwrap();
    view.wait_level(TIMEOUT).unwrap();
    assert_eq!(view.get("old").unwrap(), Some(2));
    broker.delete_topic(TABLE);
    broker.create_topic(TABLE, 2, &[("cleanup.policy", "compact")]);
    for key in ["a", "b", "c", "d"] {
        emit(key, 7);
    }
    wait_until("the view is of the new topic", NOTICED, || {
        let has = |key: &str, value: Option<i64>| view.get(key).is_ok_and(|found| found == value);
        ["a", "b", "c", "d"]
            .into_iter()
            .all(|key| has(key, Some(7)))
            && has("old", None)
    });
}
