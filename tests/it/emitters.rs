//! Emitters on the embedded log: order, acknowledgements, and records that do not arrive.

use crate::support::TIMEOUT;
use std::sync::Arc;
use std::time::Duration;

use goka::{Emit, EmitError, Emitter, Json, stream};
use goka_runtime::log::embedded::Embedded;
use goka_runtime::log::{Isolation, Log};
use goka_runtime::record::TopicPartition;

#[derive(Debug)]
#[stream("numbers", key = String, value = i64)]
struct Numbers;

#[derive(Debug)]
#[stream("texts", key = String, value = String, partitions = 2)]
struct Texts;

#[derive(Debug)]
#[stream("words", key = String, value = Json<Vec<String>>)]
struct Words;

fn log() -> Arc<dyn Log> {
    Arc::new(Embedded::in_memory().expect("in memory"))
}

/// Key, value, timestamp and headers of each record of a topic, partition by partition.
fn read(log: &dyn Log, topic: &str) -> Vec<(String, Option<String>, i64, usize)> {
    let info = log
        .describe(&[topic])
        .expect("described")
        .remove(0)
        .expect("there");
    let list: Vec<_> = (0..info.partitions)
        .map(|number| TopicPartition::new(topic, number))
        .collect();
    let ranges = log.ranges(&list).expect("ranges");
    let from: Vec<_> = list.into_iter().map(|partition| (partition, 0)).collect();
    let mut reader = log
        .reader(&from, Isolation::ReadCommitted)
        .expect("a reader");
    let mut records = vec![Vec::new(); from.len()];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while (0..from.len()).any(|at| reader.position(at) < ranges[at].high) {
        let each = &mut |at: usize, batch: &[goka_runtime::record::Record<'_>]| {
            for record in batch {
                let key = text(record.key.expect("a key"));
                let headers = record.headers.iter().count();
                records[at].push((key, record.value.map(text), record.timestamp, headers));
            }
        };
        reader.poll(Duration::from_millis(50), each).expect("read");
    }
    records.concat()
}

#[test]
fn records_of_a_key_keep_their_order_and_acknowledgements_have_offsets() {
    let log = log();
    let numbers = Emitter::<Numbers>::new(log.clone()).expect("made");
    let acks: Vec<_> = (0..1_000)
        .map(|number: i64| {
            numbers
                .emit(format!("k{}", number % 7), &number)
                .expect("sent")
        })
        .collect();
    let mut next = std::collections::BTreeMap::new();
    for ack in acks {
        let at = ack.wait(TIMEOUT).expect("delivered");
        let expected = next.entry(at.partition).or_insert(0);
        assert_eq!((&*at.topic, at.offset), ("numbers", *expected));
        *expected += 1;
    }
    let mut last = std::collections::BTreeMap::new();
    for (key, value, _, _) in read(&*log, "numbers") {
        let number: i64 = value.expect("a value").parse().expect("a number");
        assert!(
            last.insert(key, number)
                .is_none_or(|before| before < number)
        );
    }
    numbers.close(TIMEOUT).expect("all delivered");
}

#[test]
fn an_acknowledgement_can_be_awaited() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let texts = Emitter::<Texts>::new(log()).expect("made");
    let mut ack = std::pin::pin!(texts.emit("a", "b").expect("sent"));
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let at = loop {
        match ack.as_mut().poll(&mut context) {
            std::task::Poll::Ready(at) => break at.expect("delivered"),
            std::task::Poll::Pending => std::thread::park_timeout(TIMEOUT),
        }
    };
    assert_eq!(at.offset, 0);
}

#[test]
fn timestamps_headers_and_tombstones_arrive() {
    let log = log();
    let texts = Emitter::<Texts>::new(log.clone()).expect("made");
    let options = Emit::new().timestamp(1_234).header("trace", "1");
    texts.emit_with("a", "value", &options).expect("sent");
    texts.emit_tombstone("a").expect("sent");
    texts
        .emit(String::new(), "")
        .expect("an empty key is a key, an empty value a value");
    texts.flush(TIMEOUT).expect("delivered");
    let mut records = read(&*log, "texts");
    records.sort_by_key(|(key, ..)| key.is_empty());
    assert_eq!(records[0], ("a".into(), Some("value".into()), 1_234, 1));
    assert_eq!((records[1].0.as_str(), &records[1].1), ("a", &None));
    assert_eq!(
        (records[2].0.as_str(), records[2].1.as_deref()),
        ("", Some(""))
    );
    assert_eq!(
        log.describe(&["texts"]).expect("described")[0]
            .as_ref()
            .expect("there")
            .partitions,
        2
    );
}

#[test]
fn a_record_that_is_not_delivered_is_an_error() {
    let texts = Emitter::<Texts>::new(log()).expect("made");
    texts.emit("a", "fits").expect("sent");
    let large = "x".repeat(3 << 20);
    match texts.emit("a", large.as_str()) {
        // Refused on the spot, or by the delivery report: both are errors.
        Err(error) => assert!(error.to_string().contains("texts"), "{error}"),
        Ok(ack) => {
            let error = ack.wait(TIMEOUT).expect_err("too large");
            assert!(matches!(error, EmitError::NotDelivered { .. }), "{error}");
            let error = texts.close(TIMEOUT).expect_err("one was not delivered");
            assert!(
                matches!(error, EmitError::NotDelivered { records: 1, .. }),
                "{error}"
            );
        }
    }
}

#[test]
fn codecs_encode_what_is_emitted() {
    let log = log();
    let words = Emitter::<Words>::new(log.clone()).expect("made");
    words
        .emit("a", &vec!["x".to_owned(), "y".to_owned()])
        .expect("sent");
    words.close(TIMEOUT).expect("delivered");
    let (_, value, ..) = read(&*log, "words").remove(0);
    assert_eq!(value.as_deref(), Some(r#"["x","y"]"#));
}
