//! Each fault does what it says, is counted, and is in the trace.

use super::*;

use Guarantee::{AtLeastOnce, ExactlyOnce};

fn is_unknown(settlement: &CommitOutcome) -> bool {
    matches!(failure(settlement), Failure::Unknown(_))
}

#[test]
fn an_acknowledgement_is_lost() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    rig.faulty(once(StepKind::Append, Fault::AckLost));
    assert!(is_unknown(&seat.settle_one("written", 1)));
    assert_eq!(
        (rig.seen("t"), rig.committed()),
        (vec!["written".into()], None)
    );
    seat.member.rebuild().expect("rebuilt");
    let settlement = seat.settle_one("again", 1);
    assert_settled(&settlement);
    let acked = settlement.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!(
        acked.changelog,
        Some((1, 1, 1)),
        "only what was appended since"
    );
    assert_eq!(rig.fired("ack lost"), 1);
}

#[test]
fn a_record_is_not_written() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    rig.faulty(once(StepKind::Append, Fault::NotWritten));
    seat.append(0, 0, "not written");
    seat.append(0, 0, "nor what follows");
    assert!(is_unknown(&seat.settle(&[(task(0), 1, 1)])));
    assert!(rig.seen("t").is_empty());
    assert_eq!(rig.fired("not written"), 1);
}

#[test]
fn a_record_is_refused() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    rig.faulty(once(StepKind::Append, Fault::Refused));
    let settlement = seat.settle_one("never", 1);
    assert!(matches!(failure(&settlement), Failure::Refused { .. }));
    assert_eq!(seat.abort(), Ok(()));
    assert_settled(&seat.settle_one("other", 1));
    assert_eq!(rig.fired("refused"), 1);
}

#[test]
fn a_record_is_late() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    let late = Fault::Late(seconds(2));
    rig.faulty(once(StepKind::Append, late));
    seat.append(0, 0, "first");
    seat.append(0, 0, "second");
    assert!(rig.seen("t").is_empty());
    rig.clock.advance(seconds(2));
    let settlement = seat.settle(&[(task(0), 1, 1)]);
    assert_settled(&settlement);
    let acked = settlement.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!(acked.changelog, Some((0, 1, 2)));
    assert_eq!(rig.seen("t"), ["first", "second"], "in order");

    rig.faulty(once(StepKind::Append, late));
    assert!(is_unknown(&seat.settle_one("third", 2)));
    assert_eq!(rig.seen("t").len(), 2);
    seat.member.rebuild().expect("rebuilt");
    assert_settled(&seat.settle_one("fourth", 2));
    assert_eq!(rig.seen("t")[2..], ["third", "fourth"]);
    assert_eq!(rig.fired("late write"), 2);
}

#[test]
fn a_zombies_late_record_arrives_behind_its_successors() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    rig.faulty(once(StepKind::Append, Fault::Late(seconds(20))));
    seat.append(0, 0, "late");
    rig.log.kill("g/i/0");
    let mut next = rig.owning(AtLeastOnce);
    assert_settled(&next.settle_one("a", 1));
    rig.clock.advance(seconds(5));
    next.polls();
    rig.clock.advance(seconds(5));
    next.polls();
    rig.clock.advance(seconds(10));
    assert_eq!(rig.seen("t"), ["a", "late"]);
    drop(seat);
}

#[test]
fn a_late_record_of_a_transaction_that_ended_never_arrives() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    rig.faulty(once(StepKind::Append, Fault::Late(seconds(5))));
    let settlement = seat.settle_one("late", 1);
    assert!(matches!(failure(&settlement), Failure::Abortable(_)));
    rig.log.kill("g/i/0");
    let mut next = rig.owning(ExactlyOnce);
    assert_settled(&next.settle_one("a", 1));
    rig.clock.advance(seconds(5));
    let data = rig.kinds("t");
    assert!(!data.contains(&Kind::Open), "{data:?}");
    assert_eq!(rig.seen("t"), ["a"]);
}

#[test]
fn a_commit_of_offsets_is_not_answered() {
    for happened in [true, false] {
        let rig = Rig::new(1);
        let mut seat = rig.owning(AtLeastOnce);
        rig.faulty(once(StepKind::Commit, Fault::CommitUnknown { happened }));
        let settlement = seat.settle_one("a", 3);
        assert!(settlement.acks[&task(0)].is_ok());
        assert!(is_unknown(&settlement));
        assert_eq!(rig.committed(), happened.then_some(3));
        assert_settled(&seat.settle(&[(task(0), 1, 3)]));
        assert_eq!((rig.committed(), rig.seen("t").len()), (Some(3), 1));
        let fired: u64 = rig.log.fired().values().sum();
        assert_eq!(fired, 1);
    }
}

#[test]
fn a_commit_of_a_transaction_is_not_answered() {
    for happened in [true, false] {
        let rig = Rig::new(1);
        let mut seat = rig.owning(ExactlyOnce);
        rig.faulty(once(StepKind::End, Fault::CommitUnknown { happened }));
        seat.append(0, 0, "once");
        let the_unit = unit(7, &[(task(0), 1, 3)]);
        let first = seat.member.commit(&the_unit, Instant::now());
        assert!(is_unknown(&first));
        assert_eq!(rig.seen("t").len(), usize::from(happened));
        let other = seat.settle(&[(task(0), 1, 9)]);
        assert!(matches!(failure(&other), Failure::Fatal(_)), "{other:?}");
        assert!(matches!(seat.abort(), Err(Failure::Fatal(_))));
        let second = seat.member.commit(&the_unit, Instant::now());
        assert_settled(&second);
        assert_eq!(first.acks, second.acks, "the same acknowledgements");
        assert_eq!(
            (rig.seen("t"), rig.committed()),
            (vec!["once".into()], Some(3))
        );
        assert_settled(&seat.settle_one("next", 4));
    }
}

#[test]
fn offsets_are_stale() {
    for guarantee in [AtLeastOnce, ExactlyOnce] {
        let rig = Rig::new(1);
        let mut seat = rig.owning(guarantee);
        let kind = match guarantee {
            AtLeastOnce => StepKind::Commit,
            ExactlyOnce => StepKind::Attach,
        };
        rig.faulty(once(kind, Fault::Stale));
        let settlement = seat.settle_one("a", 1);
        assert!(matches!(failure(&settlement), Failure::Stale(_)));
        if guarantee == ExactlyOnce {
            assert_eq!(seat.abort(), Ok(()));
        }
        assert_eq!(rig.committed(), None);
        assert_settled(&seat.settle_one("b", 1));
        assert_eq!(rig.fired("stale generation"), 1);
    }
}

#[test]
fn a_transaction_has_to_be_aborted() {
    for kind in [StepKind::Attach, StepKind::End] {
        let rig = Rig::new(1);
        let mut seat = rig.owning(ExactlyOnce);
        rig.faulty(once(kind, Fault::Abortable));
        for _ in 0..2 {
            // Until it is aborted nothing else is committed either.
            let settlement = seat.settle_one("dropped", 1);
            assert!(matches!(failure(&settlement), Failure::Abortable(_)));
        }
        assert_eq!(seat.abort(), Ok(()));
        assert_settled(&seat.settle_one("kept", 1));
        assert_eq!(rig.seen("t"), ["kept"]);
        assert_eq!(rig.fired("abortable"), 1);
    }
}

#[test]
fn a_client_breaks() {
    for kind in [StepKind::End, StepKind::Abort] {
        let rig = Rig::new(1);
        let mut seat = rig.owning(ExactlyOnce);
        rig.faulty(once(kind, Fault::Fatal));
        seat.append(0, 0, "dropped");
        if kind == StepKind::End {
            let settlement = seat.settle(&[(task(0), 1, 1)]);
            assert!(matches!(failure(&settlement), Failure::Fatal(_)));
        }
        assert!(matches!(seat.abort(), Err(Failure::Fatal(_))));
        drop(seat);
        assert_eq!(rig.range("t"), (0, 0, 1), "nobody ended it");
        let mut seat = rig.owning(ExactlyOnce);
        assert_settled(&seat.settle_one("kept", 1));
        assert_eq!(rig.seen("t"), ["kept"]);
        assert_eq!(rig.fired("fatal"), 1);
    }
}

#[test]
fn no_broker_answers() {
    let rig = Rig::new(1);
    rig.write("in", 0, &[("a", Some("1"))]);
    let mut seat = rig.owning(AtLeastOnce);
    seat.member
        .fetch(task(0), &[(TopicId(1), 0)])
        .expect("fetched");
    seat.append(0, 0, "before");
    rig.faulty(once(StepKind::Poll, Fault::Outage(seconds(20))));
    seat.polls();
    assert_eq!(seat.tape.troubles, [true], "told once");
    assert!(seat.tape.records.is_empty());
    seat.append(0, 0, "meanwhile");
    assert!(matches!(
        rig.log.describe(&["t"]),
        Err(LogError::Timeout { .. })
    ));
    rig.clock.advance(seconds(20));
    seat.polls();
    assert_eq!(seat.tape.troubles, [true, false]);
    assert_eq!(seat.tape.records.len(), 1);
    assert!(seat.tape.lost.is_empty(), "nobody was put out meanwhile");
    let settlement = seat.settle(&[(task(0), 1, 1)]);
    assert_settled(&settlement);
    let acked = settlement.acks[&task(0)].as_ref().expect("acknowledged");
    assert_eq!(acked.changelog, Some((0, 1, 2)), "it was ridden out");
    assert_eq!(rig.fired("outage"), 1);
}

#[test]
fn a_unit_settled_while_no_broker_answers_did_not_happen() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(AtLeastOnce);
    assert_settled(&seat.settle_one("a", 1));
    rig.faulty(once(StepKind::Append, Fault::Outage(seconds(5))));
    assert!(is_unknown(&seat.settle_one("b", 2)));
    let settlement = seat.settle(&[(task(0), 1, 2)]);
    assert!(matches!(failure(&settlement), Failure::Retriable(_)));
    seat.member.rebuild().expect("rebuilt");
    rig.clock.advance(seconds(5));
    seat.polls();
    assert_settled(&seat.settle_one("c", 2));
    assert_eq!(rig.seen("t"), ["a", "c"], "what was in hand is dropped");

    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    seat.append(0, 0, "a");
    rig.faulty(once(StepKind::Attach, Fault::Outage(seconds(5))));
    let settlement = seat.settle(&[(task(0), 1, 1)]);
    assert!(matches!(failure(&settlement), Failure::Abortable(_)));
    assert_eq!(seat.abort(), Ok(()));
    rig.clock.advance(seconds(5));
    seat.polls();
    assert_settled(&seat.settle_one("b", 1));
    assert_eq!(rig.seen("t"), ["b"]);
}

#[test]
fn a_leader_moves() {
    let rig = Rig::new(2);
    let mut seat = rig.owning(AtLeastOnce);
    rig.faulty(once(StepKind::Append, Fault::LeaderMove(seconds(3))));
    seat.append(0, 0, "waits");
    seat.append(0, 1, "goes on");
    assert_eq!(rig.log.records("t", 0).len(), 0);
    assert_eq!(rig.log.records("t", 1).len(), 1);
    let asked = rig.log.ranges(&[tp("t", 0)]);
    assert!(matches!(asked, Err(LogError::Timeout { .. })), "{asked:?}");
    rig.clock.advance(seconds(3));
    assert_settled(&seat.settle(&[(task(0), 1, 1), (task(1), 1, 1)]));
    assert_eq!(rig.seen("t"), ["waits"]);
    assert_eq!(rig.fired("leader move"), 1);
}

#[test]
fn a_member_that_is_cut_off_is_a_zombie() {
    for guarantee in [AtLeastOnce, ExactlyOnce] {
        let rig = Rig::new(4);
        let (mut first, mut second) = two(&rig, guarantee);
        let theirs: Vec<TaskId> = second.tape.owned.keys().copied().collect();
        let number = theirs[0].partition;
        rig.faulty(move |step| {
            let is_theirs = step.kind == StepKind::Poll && step.who == "g/i/1";
            (is_theirs && step.now < seconds(5)).then_some(Fault::CutOff(seconds(18)))
        });
        for _ in 0..4 {
            second.poll().expect("it goes on");
            first.polls();
            rig.clock.advance(seconds(4));
        }
        first.polls();
        assert_eq!(first.tape.owned.len(), 4);
        assert_eq!(second.tape.owned.len(), 2, "it does not know");
        second.append(0, number, "of a zombie");
        let settlement = second.settle(&[(theirs[0], 1, 5)]);
        let ack = settlement.acks[&theirs[0]].as_ref().err();
        let offsets = settlement.offsets[&theirs[0]].as_ref().err();
        assert!(
            matches!(ack.or(offsets), Some(Failure::Stale(_))),
            "{settlement:?}"
        );
        let seen = rig.read("t", number, Isolation::ReadCommitted).0.len();
        assert_eq!(seen, usize::from(guarantee == AtLeastOnce));
        rig.clock.advance(seconds(7));
        for _ in 0..10 {
            second.poll().expect("it goes on");
            first.poll().expect("it goes on");
        }
        assert_eq!(second.tape.lost, theirs);
        assert_eq!(second.tape.owned.len(), 2, "it is back");
        assert!(rig.fired("cut off") > 0);
    }
}

#[test]
fn a_fetch_is_slow_or_short() {
    let rig = Rig::new(1);
    rig.write(
        "in",
        0,
        &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))],
    );
    let mut seat = rig.owning(AtLeastOnce);
    seat.member
        .fetch(task(0), &[(TopicId(1), 0)])
        .expect("fetched");
    let mut faults = vec![Fault::Few(2), Fault::Slow];
    rig.faulty(move |step| match step.kind {
        StepKind::Fetch => faults.pop(),
        _ => None,
    });
    let mut counts = Vec::new();
    for _ in 0..3 {
        seat.poll().expect("it goes on");
        counts.push(seat.tape.records.len());
    }
    assert_eq!(counts, [0, 2, 3]);
    assert_eq!((rig.fired("slow fetch"), rig.fired("short fetch")), (1, 1));
}

#[test]
fn a_fault_that_does_not_fit_is_none() {
    let rig = Rig::new(1);
    rig.faulty(|step| (step.kind == StepKind::Poll).then_some(Fault::AckLost));
    let mut seat = rig.owning(AtLeastOnce);
    assert_settled(&seat.settle_one("a", 1));
    assert!(rig.log.fired().is_empty());
    assert!(rig.log.steps()[&StepKind::Poll] > 0);
}

#[test]
fn the_trace_tells_steps_and_faults() {
    let rig = Rig::new(1);
    let mut seat = rig.owning(ExactlyOnce);
    rig.log.keep_trace();
    rig.faulty(once(StepKind::Append, Fault::Late(seconds(2))));
    rig.clock.advance(seconds(1));
    seat.append(0, 0, "a");
    rig.log.note("an own line");
    rig.clock.advance(seconds(2));
    assert_settled(&seat.settle(&[(task(0), 1, 1)]));
    let expected = [
        "1000 g/i/0 append t[0]: late write for 2000 ms",
        "1000 an own line",
        "3000 g/i/0 attach",
        "3000 g/i/0 end",
        "3000 g/i/0: transaction committed",
    ];
    assert_eq!(rig.log.take_trace(), expected);
    assert!(rig.log.take_trace().is_empty());
}
