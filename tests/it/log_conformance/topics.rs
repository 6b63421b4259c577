//! Topics, records, ranges, readers and appenders.

use std::time::Duration;

use goka_runtime::log::{Isolation, Log, LogError, NewTopic, Sent};
use goka_runtime::record::Record;

use super::rig::*;

type KeyAndValue = (Option<&'static [u8]>, Option<&'static [u8]>);

pub fn create_and_describe(log: &dyn Log) {
    let (plain, table) = (stream(log, 3), topic(log, "table", 2, true));
    let found = log.describe(&[&table, &plain]).expect("described");
    let (table, plain) = (
        found[0].as_ref().expect("made"),
        found[1].as_ref().expect("made"),
    );
    assert_eq!(
        (plain.partitions, plain.policy.compact, plain.policy.delete),
        (3, false, true)
    );
    assert_eq!((table.partitions, table.policy.compact), (2, true));
    assert!(!plain.id.is_empty() && plain.id != table.id);
    assert!(plain.max_message_bytes >= 1_000_000);
    assert!(table.delete_retention >= Duration::from_secs(60));
    let again = log.describe(&[&plain.name]).expect("described");
    assert_eq!(again[0].as_ref(), Some(plain), "a topic keeps its id");
}

pub fn create_with_retention(log: &dyn Log) {
    let name = unique("kept");
    let retention = Some(Duration::from_secs(3_600));
    log.create(&NewTopic {
        name: name.clone(),
        partitions: 1,
        compact: false,
        retention,
    })
    .expect("made");
    wait_until("the topic is described", || {
        let found = log.describe(&[&name]).expect("described").remove(0);
        found.is_some_and(|found| found.retention == retention)
    });
}

pub fn create_twice(log: &dyn Log) {
    let name = stream(log, 1);
    let again = NewTopic {
        name: name.clone(),
        partitions: 1,
        compact: false,
        retention: None,
    };
    assert_eq!(
        log.create(&again),
        Err(LogError::TopicExists { topic: name })
    );
}

pub fn unknown_topic(log: &dyn Log) {
    let (known, unknown) = (stream(log, 1), unique("unknown"));
    let found = log.describe(&[&unknown, &known]).expect("described");
    assert!(found[0].is_none() && found[1].is_some());
    assert!(log.ranges(&[tp(&unknown, 0)]).is_err());
    assert!(log.ranges(&[tp(&known, 7)]).is_err());
}

pub fn cluster_is_stable(log: &dyn Log) {
    let cluster = log.cluster().expect("known");
    assert!(!cluster.is_empty());
    assert_eq!(log.cluster(), Ok(cluster));
    assert!(!log.describe_self().is_empty());
}

pub fn records_come_back_as_they_were(log: &dyn Log) {
    let name = stream(log, 1);
    let headers = [
        ("b".to_owned(), Some(b"1".to_vec())),
        ("a".to_owned(), None),
        ("b".to_owned(), Some(Vec::new())),
    ];
    let shapes: [KeyAndValue; 4] = [
        (None, Some(b"v")),
        (Some(b""), Some(b"")),
        (Some(b"k"), None),
        (Some(b"\xff\0"), Some(b"\0")),
    ];
    let (appender, _) = appender(log);
    for (token, (key, value)) in (0..).zip(shapes) {
        let sent = Sent {
            topic: &name,
            partition: 0,
            key,
            value,
            timestamp: 1_700_000_000_000,
            headers: &headers,
        };
        appender
            .send(sent, token, deadline())
            .expect("there is room");
    }
    appender.flush(deadline()).expect("written");
    let read = read(log, &name, 0, 0);
    assert_eq!(offsets(&read), [0, 1, 2, 3]);
    for (record, (key, value)) in read.iter().zip(shapes) {
        assert_eq!(
            (record.key.as_deref(), record.value.as_deref()),
            (key, value)
        );
        assert_eq!(record.timestamp, 1_700_000_000_000);
        assert_eq!(record.headers, headers);
    }
}

pub fn the_log_chooses_a_timestamp(log: &dyn Log) {
    let name = stream(log, 1);
    write(log, &name, 0, 0..1);
    let read = read(log, &name, 0, 0);
    assert!(read[0].timestamp > 1_700_000_000_000, "{read:?}");
}

pub fn order_in_each_partition(log: &dyn Log) {
    let name = stream(log, 3);
    let (appender, _) = appender(log);
    for number in 0..600_u64 {
        let (partition, text) = ((number % 3) as i32, number.to_string());
        appender
            .send(sent(&name, partition, "key", &text), number, deadline())
            .expect("there is room");
    }
    appender.flush(deadline()).expect("written");
    for partition in 0..3 {
        let expected = (0..200).map(|at| (at * 3 + partition).to_string());
        let read = read(log, &name, partition, 0);
        assert_eq!(texts(&read), expected.collect::<Vec<_>>());
        assert_eq!(offsets(&read), (0..200).collect::<Vec<_>>());
    }
}

pub fn ranges_follow(log: &dyn Log) {
    let name = stream(log, 2);
    let ends = || {
        let ranges = log.ranges(&[tp(&name, 1), tp(&name, 0)]).expect("there");
        ranges
            .into_iter()
            .map(|range| (range.start, range.stable, range.high))
            .collect::<Vec<_>>()
    };
    assert_eq!(ends(), [(0, 0, 0), (0, 0, 0)]);
    write(log, &name, 1, 0..5);
    assert_eq!(ends(), [(0, 5, 5), (0, 0, 0)]);
}

pub fn reader_from_the_middle(log: &dyn Log) {
    let name = stream(log, 1);
    write(log, &name, 0, 0..10);
    assert_eq!(offsets(&read(log, &name, 0, 7)), [7, 8, 9]);
}

pub fn reader_at_the_end(log: &dyn Log) {
    let name = stream(log, 1);
    write(log, &name, 0, 0..3);
    let mut reader = log
        .reader(&[(tp(&name, 0), 3)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut all = Vec::new();
    let mut poll = |reader: &mut dyn goka_runtime::log::Reader| {
        reader
            .poll(TICK, &mut |_, records| {
                all.extend(records.iter().map(Rec::of))
            })
            .expect("readable");
        (all.clone(), reader.position(0))
    };
    assert_eq!(poll(&mut *reader), (Vec::new(), 3));
    write(log, &name, 0, 3..4);
    wait_until("the new record arrives", || poll(&mut *reader).1 == 4);
    assert_eq!(offsets(&poll(&mut *reader).0), [3]);
}

pub fn reader_of_nothing(log: &dyn Log) {
    let name = stream(log, 1);
    let mut reader = log
        .reader(&[(tp(&name, 0), 0)], Isolation::ReadUncommitted)
        .expect("a reader");
    reader
        .poll(TICK, &mut |_, _| panic!("there is nothing to read"))
        .expect("readable");
    assert_eq!(reader.position(0), 0);
}

pub fn reader_of_two_partitions(log: &dyn Log) {
    let (one, two) = (stream(log, 2), stream(log, 1));
    write(log, &one, 1, 0..4);
    write(log, &two, 0, 10..13);
    let from = [(tp(&one, 1), 1), (tp(&two, 0), 0), (tp(&one, 0), 0)];
    let mut reader = log
        .reader(&from, Isolation::ReadCommitted)
        .expect("a reader");
    let mut seen = vec![Vec::new(); 3];
    wait_until("both are read", || {
        let each = &mut |index: usize, records: &[Record<'_>]| {
            seen[index].extend(records.iter().map(|record| Rec::of(record).text()));
        };
        reader.poll(TICK, each).expect("readable");
        (reader.position(0), reader.position(1), reader.position(2)) == (4, 3, 0)
    });
    assert_eq!(seen[0], ["1", "2", "3"]);
    assert_eq!(seen[1], ["10", "11", "12"]);
    assert!(seen[2].is_empty());
}

pub fn reader_out_of_range(log: &dyn Log) {
    let name = stream(log, 1);
    write(log, &name, 0, 0..3);
    let mut reader = log
        .reader(&[(tp(&name, 0), 100)], Isolation::ReadCommitted)
        .expect("a reader");
    let mut error = None;
    wait_until("the reader says that it is out of range", || {
        error = reader
            .poll(TICK, &mut |_, _| panic!("there is nothing to read"))
            .err();
        error.is_some()
    });
    let expected = LogError::OutOfRange {
        topic: name,
        partition: 0,
        offset: 100,
    };
    assert_eq!(error, Some(expected));
}

pub fn appender_tells_offsets(log: &dyn Log) {
    let name = stream(log, 2);
    let (appender, deliveries) = appender(log);
    for token in 0..10_u64 {
        let partition = (token % 2) as i32;
        appender
            .send(
                sent(&name, partition, "key", "value"),
                100 + token,
                deadline(),
            )
            .expect("there is room");
    }
    appender.flush(deadline()).expect("written");
    let mut deliveries = deliveries
        .lock()
        .expect("no test panics while it holds the lock")
        .clone();
    deliveries.sort_by_key(|(token, _)| *token);
    let expected =
        (0..10_u64).map(|token| (100 + token, Ok(((token % 2) as i32, (token / 2) as i64))));
    assert_eq!(deliveries, expected.collect::<Vec<_>>());
}

pub fn appender_flushes_when_dropped(log: &dyn Log) {
    let name = stream(log, 1);
    let (appender, deliveries) = appender(log);
    appender.flush(deadline()).expect("nothing to wait for");
    for token in 0..50 {
        appender
            .send(sent(&name, 0, "key", "value"), token, deadline())
            .expect("there is room");
    }
    drop(appender);
    assert_eq!(
        deliveries
            .lock()
            .expect("no test panics while it holds the lock")
            .len(),
        50
    );
    assert_eq!(read(log, &name, 0, 0).len(), 50);
}

pub fn appender_refuses_what_is_too_large(log: &dyn Log) {
    let name = stream(log, 1);
    let (appender, deliveries) = appender(log);
    let large = "x".repeat(2 << 20);
    let refused = appender.send(sent(&name, 0, "key", &large), 1, deadline());
    appender
        .send(sent(&name, 0, "key", "small"), 2, deadline())
        .expect("there is room");
    appender
        .flush(deadline())
        .expect("the small one is written");
    let deliveries = deliveries
        .lock()
        .expect("no test panics while it holds the lock");
    let failed = deliveries
        .iter()
        .any(|(token, outcome)| *token == 1 && outcome.is_err());
    assert!(
        refused.is_err() != failed,
        "deliveries once, at sending or at delivery: {refused:?} {deliveries:?}"
    );
    assert_eq!(texts(&read(log, &name, 0, 0)), ["small"]);
}

pub fn senders_share_an_appender(log: &dyn Log) {
    let name = stream(log, 2);
    let (appender, deliveries) = appender(log);
    std::thread::scope(|scope| {
        for partition in 0..2_i32 {
            let (appender, name) = (&appender, &name);
            scope.spawn(move || {
                for number in 0..200_u64 {
                    let text = number.to_string();
                    appender
                        .send(sent(name, partition, "key", &text), number, deadline())
                        .expect("there is room");
                }
            });
        }
    });
    appender.flush(deadline()).expect("written");
    assert_eq!(
        deliveries
            .lock()
            .expect("no test panics while it holds the lock")
            .len(),
        400
    );
    for partition in 0..2 {
        let expected = (0..200).map(|number: u64| number.to_string());
        assert_eq!(
            texts(&read(log, &name, partition, 0)),
            expected.collect::<Vec<_>>()
        );
    }
}
