//! Compaction, retention, deletion.

use super::*;

use Guarantee::{AtLeastOnce, ExactlyOnce};
use Isolation::ReadCommitted;

fn offsets(rig: &Rig, topic: &str) -> Vec<Offset> {
    let kept = rig.log.records(topic, 0);
    kept.iter().map(|kept| kept.offset).collect()
}

#[test]
fn compaction_leaves_the_last_of_each_key() {
    let rig = Rig::new(1);
    let all = [
        ("a", Some("1")),
        ("b", Some("2")),
        ("a", Some("3")),
        ("b", None),
        ("c", Some("4")),
        ("a", Some("5")),
    ];
    rig.write("t", 0, &all);
    rig.log.compact("in");
    rig.log.compact("t");
    // The last entry is not looked at: what it says of its key does not count yet.
    assert_eq!(offsets(&rig, "t"), [2, 3, 4, 5]);
    assert_eq!(rig.range("t"), (0, 6, 6));
    rig.clock.advance(seconds(24 * 3_600));
    rig.log.compact("t");
    assert_eq!(offsets(&rig, "t"), [2, 3, 4, 5], "a tombstone stays a day");
    rig.clock.advance(seconds(1));
    rig.log.compact("t");
    assert_eq!(offsets(&rig, "t"), [2, 4, 5], "and goes after it");
    let (seen, position) = rig.read("t", 0, ReadCommitted);
    assert_eq!((seen.len(), position), (3, 6));
}

#[test]
fn compaction_takes_aborted_data_and_leaves_what_is_open() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    seat.append(0, 0, "aborted");
    assert_eq!(seat.abort(), Ok(()));
    assert_settled(&seat.settle_one("old", 1));
    assert_settled(&seat.settle_one("new", 2));
    seat.append(0, 0, "open");
    rig.log.compact("t");
    // 0 aborted, 1 marker, 2 old, 3 marker, 4 new, 5 marker, 6 open
    assert_eq!(offsets(&rig, "t"), [1, 3, 4, 5, 6]);
    assert_eq!(rig.range("t"), (0, 6, 7));
    assert_settled(&seat.settle(&[(task(0), 1, 3)]));
    assert_eq!(rig.seen("t"), ["new", "open"]);
}

#[test]
fn a_position_in_a_hole_goes_on_behind_it() {
    let rig = Rig::new(1);
    rig.write(
        "t",
        0,
        &[("a", Some("1")), ("a", Some("2")), ("b", Some("3"))],
    );
    rig.log.compact("t");
    let mut reader = rig
        .log
        .reader(&[(tp("t", 0), 0)], ReadCommitted)
        .expect("made");
    let mut first = None;
    reader
        .poll(Duration::ZERO, &mut |_, records| {
            first = Some(records[0].offset);
        })
        .expect("readable");
    assert_eq!((first, reader.position(0)), (Some(1), 3));
}

#[test]
fn retention_strikes_by_the_clock() {
    let rig = Rig::new(1);
    rig.write("in", 0, &[("a", Some("1")), ("b", Some("2"))]);
    rig.write("t", 0, &[("a", Some("1"))]);
    rig.clock.advance(seconds(3 * 24 * 3_600));
    rig.write("in", 0, &[("c", Some("3"))]);
    rig.clock.advance(seconds(4 * 24 * 3_600 + 1));
    assert_eq!(rig.range("in"), (2, 3, 3));
    assert_eq!(rig.range("t"), (0, 1, 1), "a table has no retention");
    rig.clock.advance(seconds(4 * 24 * 3_600));
    assert_eq!(rig.range("in"), (3, 3, 3));
    let mut seat = rig.owning(AtLeastOnce);
    seat.member
        .fetch(task(0), &[(TopicId(1), 0)])
        .expect("fetched");
    seat.polls();
    let expected = LogError::OutOfRange {
        topic: "in".to_owned(),
        partition: 0,
        offset: 0,
    };
    assert_eq!(seat.tape.broken, [expected], "told once");
}

#[test]
fn deleted_records_are_out_of_range() {
    let rig = Rig::new(1);
    rig.write("in", 0, &[("a", Some("1")), ("b", Some("2"))]);
    rig.log.delete_records("in", 0, 1);
    assert_eq!(rig.range("in"), (1, 2, 2));
    assert_eq!(rig.seen("in"), ["2"]);
    let mut reader = rig
        .log
        .reader(&[(tp("in", 0), 0)], ReadCommitted)
        .expect("made");
    let error = reader.poll(Duration::ZERO, &mut |_, _| panic!("nothing is read"));
    assert!(matches!(error, Err(LogError::OutOfRange { offset: 0, .. })));
}
