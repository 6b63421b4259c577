//! Transactions: what is seen of them, what they leave, who is fenced.

use super::*;

use Guarantee::ExactlyOnce;
use Isolation::{ReadCommitted, ReadUncommitted};

const ABORTED: Kind = Kind::Marker { committed: false };
const COMMITTED: Kind = Kind::Marker { committed: true };

#[test]
fn an_open_transaction_holds_readers_back_and_its_end_is_an_offset() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    seat.append(0, 0, "a");
    seat.append(2, 0, "x");
    assert_eq!((rig.range("t"), rig.range("out")), ((0, 0, 1), (0, 0, 1)));
    rig.write("out", 0, &[("k", Some("of another"))]);
    assert_eq!(rig.range("out"), (0, 0, 2), "behind the open one");
    assert!(rig.seen("out").is_empty());
    let (all, position) = rig.read("out", 0, ReadUncommitted);
    assert_eq!((all.len(), position), (2, 2));
    let settlement = seat.settle(&[(task(0), 1, 1)]);
    assert_settled(&settlement);
    let acked = settlement.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!((acked.changelog, acked.markers), (Some((0, 0, 1)), 1));
    assert_eq!(rig.kinds("t"), [Kind::Data, COMMITTED]);
    assert_eq!(rig.kinds("out"), [Kind::Data, Kind::Data, COMMITTED]);
    assert_eq!(rig.seen("out"), ["x", "of another"]);
    assert_eq!(rig.read("t", 0, ReadCommitted).1, 2, "over the marker");
}

#[test]
fn aborted_data_stays_and_is_not_seen() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    seat.append(0, 0, "dropped");
    assert_eq!(seat.abort(), Ok(()));
    assert_eq!(rig.kinds("t"), [Kind::Aborted, ABORTED]);
    assert_eq!(rig.range("t"), (0, 2, 2));
    assert_eq!(rig.read("t", 0, ReadCommitted), (Vec::new(), 2));
    let (all, _) = rig.read("t", 0, ReadUncommitted);
    assert_eq!(all, [(0, "dropped".to_owned())]);
    assert_settled(&seat.settle_one("kept", 1));
    assert_eq!(rig.seen("t"), ["kept"]);
    assert!(rig.kinds("out").is_empty(), "no marker where nothing was");
}

#[test]
fn a_twin_fences_and_ends_what_was_open() {
    let rig = Rig::new(1);
    let mut first = rig.owning(ExactlyOnce);
    assert_settled(&first.settle_one("first", 1));
    first.append(0, 0, "open");
    let mut second = rig.owning(ExactlyOnce);
    assert_eq!(second.tape.owned[&task(0)][&TopicId(1)].offset, 1);
    assert_eq!(rig.range("t"), (0, 4, 4), "it is aborted");
    first.append(0, 0, "of a zombie");
    assert_eq!(rig.range("t"), (0, 4, 4), "nothing is taken from it");
    let settlement = first.settle(&[(task(0), 1, 2)]);
    assert!(matches!(failure(&settlement), Failure::ProducerFenced(_)));
    assert!(matches!(first.abort(), Err(Failure::ProducerFenced(_))));
    let ended = first.poll();
    assert!(matches!(ended, Err(LogError::InstanceFenced { .. })));
    assert_settled(&second.settle_one("second", 2));
    assert_eq!(
        (rig.seen("t"), rig.committed()),
        (vec!["first".into(), "second".into()], Some(2))
    );
}

#[test]
fn a_transaction_that_outlives_its_time_is_aborted() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    seat.append(0, 0, "late");
    for _ in 0..5 {
        rig.clock.advance(TIMEOUT / 5);
        seat.polls();
    }
    assert_eq!(rig.kinds("t"), [Kind::Aborted, ABORTED]);
    let settlement = seat.settle(&[(task(0), 1, 1)]);
    match failure(&settlement) {
        Failure::Fatal(why) => assert!(why.contains("transaction.timeout.ms"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(seat.abort(), Err(Failure::Fatal(_))));
    drop(seat);
    let mut seat = rig.owning(ExactlyOnce);
    assert_settled(&seat.settle_one("in time", 1));
    assert_eq!(rig.seen("t"), ["in time"]);
}

#[test]
fn an_assignment_waits_for_pending_offsets() {
    let rig = Rig::new(1);
    let mut first = rig.owning(ExactlyOnce);
    // Committed, but its markers are not written yet: neither the records nor the offsets count.
    rig.faulty(once(StepKind::End, Fault::LateMarkers(seconds(60))));
    assert_settled(&first.settle_one("a", 7));
    assert_eq!((rig.range("t"), rig.seen("t").len()), ((0, 0, 1), 0));
    assert!(rig.log.offsets_of("g").is_empty());
    let pending = Log::committed(&rig.log, "g", &[tp("in", 0)]);
    assert!(
        matches!(pending, Err(LogError::Timeout { .. })),
        "{pending:?}"
    );
    rig.log.kill("g/i/0");
    let mut second = rig.join(&Group {
        instance: "another".to_owned(),
        ..Rig::group(ExactlyOnce)
    });
    second.poll().expect("it goes on");
    for _ in 0..4 {
        rig.clock.advance(seconds(9));
        second.polls();
    }
    assert!(second.tape.owned.is_empty());
    assert_eq!(second.tape.troubles, [true], "it says what it waits for");
    for _ in 0..3 {
        rig.clock.advance(seconds(9));
        second.polls();
    }
    assert_eq!(second.tape.owned[&task(0)][&TopicId(1)].offset, 7);
    assert_eq!(second.tape.troubles, [true, false]);
    assert_eq!(rig.seen("t"), ["a"]);
}

#[test]
fn the_next_transaction_waits_for_the_end_of_the_one_before() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    rig.faulty(once(StepKind::End, Fault::LateMarkers(seconds(60))));
    assert_settled(&seat.settle_one("a", 1));
    assert_settled(&seat.settle_one("b", 2));
    assert_eq!(rig.kinds("t"), [Kind::Data, COMMITTED].repeat(2));
    assert_eq!(rig.fired("late markers"), 1);
}

#[test]
fn records_of_a_lost_task_are_not_committed_with_anothers() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    seat.append(0, 0, "of the time before");
    rig.clock.advance(SESSION + seconds(1));
    seat.polls();
    assert_eq!(
        (&*seat.tape.lost, seat.tape.owned.len()),
        (&[task(0)][..], 1)
    );
    for _ in 0..2 {
        let settlement = seat.settle_one("of today", 1);
        assert!(matches!(failure(&settlement), Failure::Abortable(_)));
    }
    assert_eq!(seat.abort(), Ok(()));
    assert_settled(&seat.settle_one("of today", 1));
    assert_eq!(rig.seen("t"), ["of today"]);
}

#[test]
fn a_timeout_above_the_brokers_is_refused() {
    let rig = Rig::new(1);
    let mut seat = rig.join(&Group {
        transaction_timeout: seconds(20 * 60),
        ..Rig::group(ExactlyOnce)
    });
    let error = seat.poll().expect_err("it is refused");
    assert!(
        matches!(error, LogError::TimeoutRefused { .. }),
        "{error:?}"
    );
    assert_eq!(seat.poll(), Err(error), "it stays so");
}

#[test]
fn a_member_passes_what_holds_nothing_up_to_the_first_open_transaction() {
    let rig = Rig::new(1);
    let mut writer = rig.owning(ExactlyOnce);
    let mut reader = rig.join(&Group {
        name: "h".into(),
        inputs: vec![TopicId(2)],
        ..Rig::group(ExactlyOnce)
    });
    reader.polls();
    let fetched = reader.member.fetch(task(0), &[(TopicId(2), 0)]);
    fetched.expect("it owns the task");
    writer.append(2, 0, "dropped");
    assert_eq!(writer.abort(), Ok(()));
    writer.append(2, 0, "a");
    assert_settled(&writer.settle(&[(task(0), 1, 1)]));
    writer.append(2, 0, "open");
    let kinds = [Kind::Aborted, ABORTED, Kind::Data, COMMITTED, Kind::Open];
    assert_eq!(rig.kinds("out"), kinds);
    reader.polls();
    assert_eq!(reader.tape.records, [(task(0), 2, "a".to_owned())]);
    assert_eq!(reader.tape.passed, [(task(0), 3..4)], "once, and no more");
    assert_eq!(writer.abort(), Ok(()));
    reader.polls();
    assert_eq!(reader.tape.passed[1..], [(task(0), 4..6)]);
}
