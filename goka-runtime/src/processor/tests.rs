//! A whole processor on the embedded log in memory, its definition written by hand.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use std::time::Instant;

use super::*;
use crate::dispatch::{CodecError, RawRecord};
use crate::graph::{Edge, EdgeKind, Format, GroupGraph, Location, TopicKind, TopicSpec};
use crate::log::embedded::Embedded;
use crate::log::{Failure, NewTopic, Sent};
use crate::partitioner::{Murmur2, Partitioner};
use crate::record::{Guarantee, TopicPartition};
use crate::shared_error::HandlerError;
use crate::table::memory::MemoryStores;

const TEXT: Format = Format {
    codec: "text",
    parse: |text| Ok(text.as_bytes().to_vec()),
    show: |bytes| Ok::<_, CodecError>(String::from_utf8_lossy(bytes).into_owned()),
    describe: |to| to.word("text"),
    schema: None,
    canonical: None,
};
const HERE: Location = Location {
    file: file!(),
    line: line!(),
    column: 1,
};

const fn topic(name: &'static str) -> TopicSpec {
    let (key, value) = (TEXT, TEXT);
    let (partitioner, place) = (Murmur2::NAME, Murmur2::partition as fn(&[u8], i32) -> i32);
    TopicSpec {
        name,
        kind: TopicKind::Stream,
        key,
        value,
        partitioner,
        partition_of: place,
        partitions: None,
    }
}

fn count(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    if raw.record.value == Some(b"bad") {
        return Err("bad value".into());
    }
    let held = raw
        .scope
        .load()?
        .map(|held| String::from_utf8_lossy(held.value).into_owned());
    let next = held.map_or(Ok(0), |held| held.parse::<u64>())? + 1;
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(next.to_string().as_bytes());
        Ok(())
    }))?;
    Ok(())
}

static EDGES: [Edge; 3] = [
    Edge {
        kind: EdgeKind::Input {
            call: crate::dispatch::Call::Sync(count),
            tombstones: false,
            start: crate::graph::Start::Earliest,
        },
        topic: topic("clicks"),
        location: HERE,
    },
    Edge {
        kind: EdgeKind::Input {
            call: crate::dispatch::Call::Sync(count),
            tombstones: false,
            start: crate::graph::Start::Earliest,
        },
        topic: topic("taps"),
        location: HERE,
    },
    Edge {
        kind: EdgeKind::Table,
        topic: topic("count-state"),
        location: HERE,
    },
];

static COUNT: Definition = Definition {
    graph: GroupGraph {
        name: "Count",
        group: "count",
        location: HERE,
        guarantee: Guarantee::AtLeastOnce,
        edges: &EDGES,
    },
    make: None,
    type_id: TypeId::of::<()>,
};

struct App {
    log: Arc<dyn Log>,
    stores: Arc<dyn Stores>,
}

impl App {
    fn new() -> Self {
        Self {
            log: Arc::new(Embedded::in_memory().unwrap()),
            stores: Arc::new(MemoryStores::default()),
        }
    }

    fn start(&self) -> Running {
        let options = ProcessorOptions {
            barrier_interval: Duration::from_millis(5),
            ..Default::default()
        };
        let (log, stores) = (Arc::clone(&self.log), Arc::clone(&self.stores));
        start(&COUNT, Arc::new(()), log, stores, &options).unwrap()
    }

    fn send(&self, topic: &str, records: &[(&str, &str)]) {
        let delivered = |_, result: Result<(i32, i64), Failure>| assert!(result.is_ok());
        let appender = self.log.appender(Arc::new(delivered)).unwrap();
        let by = Instant::now() + Duration::from_secs(5);
        for (token, (key, value)) in records.iter().enumerate() {
            let partition = Murmur2::partition(key.as_bytes(), DEFAULT_PARTITIONS);
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            let record = Sent {
                topic,
                partition,
                key,
                value,
                timestamp: 7,
                headers: &[],
            };
            appender.send(record, token as u64, by).unwrap();
        }
        appender.flush(by).unwrap();
    }

    fn partitions(&self, topic: &str) -> Vec<TopicPartition> {
        (0..DEFAULT_PARTITIONS)
            .map(|at| TopicPartition::new(topic, at))
            .collect()
    }

    fn is_level(&self, topic: &str) -> bool {
        let partitions = self.partitions(topic);
        let committed = self.log.committed("count", &partitions).unwrap();
        let ranges = self.log.ranges(&partitions).unwrap();
        committed
            .iter()
            .zip(ranges)
            .all(|(committed, range)| committed.as_ref().map(|c| c.offset) == Some(range.high))
    }

    fn table(&self) -> BTreeMap<String, String> {
        let mut rows = BTreeMap::new();
        for partition in 0..DEFAULT_PARTITIONS {
            let store = self.stores.open("count-state", partition).unwrap();
            let mut each = |key: &[u8], value: crate::table::StoredRef<'_>| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                rows.insert(text(key), text(value.value));
                ControlFlow::Continue(())
            };
            let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            store.range(all, &mut each).unwrap();
        }
        rows
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let by = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < by, "waited too long: {what}");
        std::thread::yield_now();
    }
}

fn rows(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

#[test]
fn counts_and_goes_on_after_a_restart() {
    let app = App::new();
    let running = app.start();
    app.send("clicks", &[("alice", "x"), ("bob", "x"), ("alice", "x")]);
    app.send("taps", &[("alice", "x"), ("", "x")]);
    wait_until("all is committed", || {
        app.is_level("clicks") && app.is_level("taps")
    });
    running.stop();
    running.join().unwrap();
    assert_eq!(
        app.table(),
        rows(&[("alice", "3"), ("bob", "1"), ("", "1")])
    );

    // On an empty disk the table comes back from the group topic.
    let app = App {
        stores: Arc::new(MemoryStores::default()),
        ..app
    };
    app.send("clicks", &[("bob", "x")]);
    let running = app.start();
    wait_until("the rest is committed", || app.is_level("clicks"));
    running.stop();
    running.join().unwrap();
    assert_eq!(
        app.table(),
        rows(&[("alice", "3"), ("bob", "2"), ("", "1")])
    );
}

#[test]
fn a_failing_record_stops_its_partition_only() {
    let app = App::new();
    let running = app.start();
    app.send(
        "clicks",
        &[
            ("alice", "x"),
            ("alice", "bad"),
            ("alice", "x"),
            ("bob", "x"),
        ],
    );
    let place = |key: &str| Murmur2::partition(key.as_bytes(), DEFAULT_PARTITIONS);
    assert_ne!(place("alice"), place("bob"));
    wait_until("alice's partition stops", || {
        running.status().iter().any(|task| task.stopped.is_some())
    });
    app.send("clicks", &[("bob", "x")]);
    let offset = |key: &str| {
        let committed = app
            .log
            .committed("count", &[TopicPartition::new("clicks", place(key))]);
        committed.unwrap()[0]
            .as_ref()
            .map(|committed| committed.offset)
    };
    wait_until("bob's goes on", || offset("bob") == Some(2));
    wait_until("what came before is committed", || {
        offset("alice") == Some(1)
    });
    running.stop();
    let error = running.join().unwrap_err().to_string();
    assert!(
        error.contains("clicks") && error.contains("offset 1, key `alice`: bad value"),
        "{error}"
    );
    assert_eq!(app.table(), rows(&[("alice", "1"), ("bob", "2")]));
}

#[test]
fn a_group_topic_that_is_not_compacted_is_refused() {
    let app = App::new();
    let topic = NewTopic {
        name: "count-state".into(),
        partitions: 4,
        compact: false,
        retention: None,
    };
    app.log.create(&topic).unwrap();
    let (log, stores) = (Arc::clone(&app.log), Arc::clone(&app.stores));
    let error = start(&COUNT, Arc::new(()), log, stores, &Default::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`count-state` of `count` is not compacted"),
        "{error}"
    );
}

/// The topics of a group that has one edge more.
fn refused_with(kind: EdgeKind, name: &'static str, compact: bool, kept: Duration) -> String {
    let app = App::new();
    let topic_of = |name: &str, compact, retention| NewTopic {
        name: name.into(),
        partitions: 4,
        compact,
        retention,
    };
    let retention = (!compact).then_some(kept);
    app.log.create(&topic_of(name, compact, retention)).unwrap();
    let mut edges = EDGES.to_vec();
    edges.push(Edge {
        kind,
        topic: topic(name),
        location: HERE,
    });
    let mut definition = COUNT;
    definition.graph.edges = Box::leak(edges.into_boxed_slice());
    let (log, stores) = (Arc::clone(&app.log), Arc::clone(&app.stores));
    let started = start(&definition, Arc::new(()), log, stores, &Default::default());
    started.map(drop).unwrap_err().to_string()
}

#[test]
fn topics_that_would_lose_records_are_refused() {
    let call = crate::dispatch::Call::Sync(count);
    let week = Duration::from_secs(7 * 24 * 3_600);
    let visit = EdgeKind::Visit { call, name: "all" };
    let rows = [
        (
            EdgeKind::Loopback { call },
            "count-loop",
            true,
            week,
            "is compacted",
        ),
        (visit, "count-visit", true, week, "is compacted"),
        (
            EdgeKind::Loopback { call },
            "count-loop",
            false,
            week / 2,
            "less than seven days",
        ),
        (EdgeKind::Join, "prices", false, week, "is not compacted"),
    ];
    for (kind, name, compact, kept, why) in rows {
        let said = refused_with(kind, name, compact, kept);
        for part in [name, "`count`", why, "cleanup.policy="] {
            assert!(said.contains(part), "`{part}` is missing in: {said}");
        }
    }
}

#[test]
fn a_looked_up_table_that_would_lose_rows_is_refused() {
    let week = Duration::from_secs(7 * 24 * 3_600);
    let said = refused_with(EdgeKind::Lookup, "places", false, week);
    let words = ["`places`", "is not compacted (cleanup.policy=delete)"];
    for part in words {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
}

#[test]
fn a_barrier_that_outlasts_its_transaction_is_refused() {
    let app = App::new();
    let start = |guarantee, barrier| {
        let options = ProcessorOptions {
            guarantee,
            barrier_interval: barrier,
            transaction_timeout: Duration::from_secs(2),
            ..Default::default()
        };
        let (log, stores) = (Arc::clone(&app.log), Arc::clone(&app.stores));
        start(&COUNT, Arc::new(()), log, stores, &options)
    };
    let two = Duration::from_secs(2);
    let error = start(Some(Guarantee::ExactlyOnce), two).unwrap_err();
    assert!(matches!(error, StartError::TransactionTimeout { .. }));
    let text = error.to_string();
    for part in [
        "group `count`",
        "every 2s",
        "set a shorter barrier interval",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // At least once there is no transaction to end too early.
    start(None, two).unwrap();
}

#[test]
fn other_partition_counts_are_refused_with_every_topic_named() {
    let app = App::new();
    for (name, partitions) in [("clicks", 4), ("taps", 8)] {
        let topic = NewTopic {
            name: name.into(),
            partitions,
            compact: false,
            retention: None,
        };
        app.log.create(&topic).unwrap();
    }
    let (log, stores) = (Arc::clone(&app.log), Arc::clone(&app.stores));
    let error = start(&COUNT, Arc::new(()), log, stores, &Default::default()).unwrap_err();
    assert!(
        error.to_string().contains("`clicks` with 4, `taps` with 8"),
        "{error}"
    );
}

fn spawns<'r>(_: &'r ProcessorState, raw: RawRecord<'r>) -> crate::dispatch::Handling<'r> {
    Box::pin(async move {
        let guard = raw.scope.defer();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            guard.done();
        });
        raw.scope.store(Some(&mut |out| {
            out.extend_from_slice(b"1");
            Ok(())
        }))?;
        Ok(())
    })
}

/// What a handler leaves behind goes on though no other record comes, and while it drains.
#[test]
fn spawned_work_is_driven_without_records() {
    static EDGES: [Edge; 2] = [
        Edge {
            kind: EdgeKind::Input {
                call: crate::dispatch::Call::Async(spawns),
                tombstones: false,
                start: crate::graph::Start::Earliest,
            },
            topic: topic("clicks"),
            location: HERE,
        },
        Edge {
            kind: EdgeKind::Table,
            topic: topic("count-state"),
            location: HERE,
        },
    ];
    static SPAWNS: Definition = Definition {
        graph: GroupGraph {
            name: "Spawns",
            group: "count",
            location: HERE,
            guarantee: Guarantee::AtLeastOnce,
            edges: &EDGES,
        },
        make: None,
        type_id: TypeId::of::<()>,
    };
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let app = App::new();
        let options = ProcessorOptions {
            barrier_interval: Duration::from_millis(5),
            guarantee: Some(guarantee),
            ..Default::default()
        };
        let (log, stores) = (Arc::clone(&app.log), Arc::clone(&app.stores));
        let running = start(&SPAWNS, Arc::new(()), log, stores, &options).unwrap();
        app.send("clicks", &[("alice", "x")]);
        wait_until("the guard is settled", || app.is_level("clicks"));
        app.send("clicks", &[("bob", "x")]);
        wait_until("it is handled", || {
            let tasks = running.status();
            let handled = |task: &crate::worker::TaskStatus| task.positions.values().sum::<i64>();
            tasks.iter().map(handled).sum::<i64>() == 2
        });
        running.stop();
        running.join().unwrap();
        assert!(app.is_level("clicks"), "{guarantee}");
        assert_eq!(app.table(), rows(&[("alice", "1"), ("bob", "1")]));
    }
}

/// How many spawned tasks have run that the handler does not wait for.
static DETACHED: AtomicUsize = AtomicUsize::new(0);

fn leaves_behind<'r>(_: &'r ProcessorState, _: RawRecord<'r>) -> crate::dispatch::Handling<'r> {
    Box::pin(async {
        tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            DETACHED.fetch_add(1, Ordering::Relaxed);
            // Its end is not waited for by a stop.
            std::future::pending::<()>().await;
        });
        Ok(())
    })
}

#[test]
fn what_a_handler_spawned_runs_on_between_records() {
    static EDGES: [Edge; 1] = [Edge {
        kind: EdgeKind::Input {
            call: crate::dispatch::Call::Async(leaves_behind),
            tombstones: false,
            start: crate::graph::Start::Earliest,
        },
        topic: topic("clicks"),
        location: HERE,
    }];
    let mut definition = COUNT;
    definition.graph.edges = &EDGES;
    let app = App::new();
    let (log, stores) = (Arc::clone(&app.log), Arc::clone(&app.stores));
    let running = start(&definition, Arc::new(()), log, stores, &Default::default()).unwrap();
    app.send("clicks", &[("alice", "x")]);
    wait_until("it has run", || DETACHED.load(Ordering::Relaxed) == 1);
    running.stop();
    running.join().unwrap();
}
