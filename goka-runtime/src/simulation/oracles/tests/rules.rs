//! The rules on counted clicks.

use super::*;
use crate::record::Guarantee::{AtLeastOnce, ExactlyOnce};

/// A correct history of four clicks: A handles two and commits them, handles the third and is killed
/// before it commits that; B takes over.
fn right(guarantee: Guarantee) -> Script {
    let mut script = Script::new(GROUP);
    let serial = |serial| match guarantee {
        ExactlyOnce => serial,
        AtLeastOnce => 0,
    };
    for key in ["ann", "bob", "ann", "bob"] {
        script.feed(CLICKS, key, "home");
    }
    let (state, alert) = (
        |key, count| wrote(STATE, key, count),
        wrote(ALERTS, "ann", "2"),
    );
    script.handle((A, serial(1)), CLICKS, 0, &[state("ann", "1")]);
    script.handle((A, serial(1)), CLICKS, 1, &[state("bob", "1")]);
    script.commit(A, CLICKS, 2);
    if guarantee == ExactlyOnce {
        script.end(1, true);
    }
    script.handled(A, CLICKS, 2, &[state("ann", "2"), alert.clone()]);
    if guarantee == ExactlyOnce {
        script.put(Some(A), 2, STATE, "ann", "2");
        script.end(2, false);
    }
    script.event("i1 is killed");
    script.handle((B, serial(3)), CLICKS, 2, &[state("ann", "2"), alert]);
    let bob = [state("bob", "2"), wrote(ALERTS, "bob", "2")];
    script.handle((B, serial(3)), CLICKS, 3, &bob);
    script.commit(B, CLICKS, 4);
    if guarantee == ExactlyOnce {
        script.end(3, true);
    }
    script
}

/// Where something is first in the history.
fn find(script: &Script, is: impl Fn(&Happened) -> bool) -> usize {
    let at = script.history.iter().position(|moment| is(&moment.what));
    at.expect("it is in the history")
}

fn is_written(topic: &str, offset: Offset) -> impl Fn(&Happened) -> bool {
    move |what| {
        matches!(what, Happened::Written(written)
            if *written.place.topic == *topic && written.place.offset == offset)
    }
}

fn is_handled(client: u64, offset: Offset) -> impl Fn(&Happened) -> bool {
    move |what| {
        matches!(what, Happened::Handled(of, _)
            if of.client == client && of.place.offset == offset)
    }
}

fn is_committed(client: u64) -> impl Fn(&Happened) -> bool {
    move |what| matches!(what, Happened::Committed(of) if of.client == client)
}

#[test]
fn a_correct_history_passes() {
    for guarantee in [AtLeastOnce, ExactlyOnce] {
        passes(&right(guarantee).judged(&clicks(guarantee)));
    }
    passes(&right(AtLeastOnce).judged(&clicks(AtLeastOnce).idempotent()));
}

#[test]
fn input_that_is_never_reached_is_lost() {
    let mut script = right(AtLeastOnce);
    let at = find(&script, is_committed(B));
    script.history.remove(at);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert_eq!(broken_rules(&findings), ["lost input"]);
    let what = "clicks[0]@2 key \"ann\" was not reached: group `click-count` committed 2";
    assert_eq!(violation_of(&findings, "lost input").what, what);
}

#[test]
fn input_that_is_committed_past_unhandled_is_lost() {
    let mut script = right(ExactlyOnce);
    let at = find(&script, is_handled(B, 2));
    script.history.remove(at);
    let findings = script.judged(&clicks(ExactlyOnce));
    let found = violation_of(&findings, "lost input");
    assert!(
        found.what.contains("past (4) by click-count/i2/0 (#8)"),
        "{found:?}"
    );
    assert!(
        found.what.contains("handled by click-count/i1/0 (#7)"),
        "{found:?}"
    );
    let place = found.place.as_ref().expect("it has a place");
    assert_eq!(
        (place.offset, place.key.as_deref()),
        (Some(2), Some(&b"ann"[..]))
    );
}

#[test]
fn input_that_only_an_operator_passed_is_lost() {
    let mut script = right(AtLeastOnce);
    script.feed(CLICKS, "ann", "home");
    script.commit(99, CLICKS, 5);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert_eq!(broken_rules(&findings), ["lost input"]);
    assert!(
        violation_of(&findings, "lost input")
            .what
            .contains("@4 key \"ann\" was skipped")
    );
}

#[test]
fn an_offset_past_the_end_is_found() {
    let mut script = right(AtLeastOnce);
    script.commit(B, CLICKS, 5);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert_eq!(broken_rules(&findings), ["lost input"]);
    assert!(
        violation_of(&findings, "lost input")
            .what
            .contains("ends at 4")
    );
}

#[test]
fn after_a_reset_of_offsets_the_second_handling_is_effective() {
    let mut script = right(AtLeastOnce);
    script.commit(99, CLICKS, 2);
    let bob = [wrote(STATE, "bob", "3")];
    let ann = [wrote(STATE, "ann", "3")];
    script.handle((A, 0), CLICKS, 2, &ann);
    script.handle((A, 0), CLICKS, 3, &bob);
    script.commit(A, CLICKS, 4);
    passes(&script.judged(&clicks(AtLeastOnce)));
    // The second time A has to have handled it.
    let last = script
        .history
        .iter()
        .rposition(|moment| is_handled(A, 3)(&moment.what));
    script.history.remove(last.expect("it was handled"));
    assert_eq!(
        broken_rules(&script.judged(&clicks(AtLeastOnce))),
        ["lost input"]
    );
}

#[test]
fn input_that_compaction_deleted_need_not_be_handled() {
    let mut script = right(AtLeastOnce);
    let at = find(&script, is_handled(A, 0));
    script.history.remove(at);
    let log = script.log();
    log.delete_records(CLICKS, 0, 1);
    let findings = script.judged_on(&clicks(AtLeastOnce), &log);
    assert_eq!(
        broken_rules(&findings),
        ["lost input"],
        "retention is no excuse"
    );
    assert!(
        violation_of(&findings, "lost input")
            .what
            .contains("does not hold it any more")
    );

    let log = script.log();
    log.delete(CLICKS);
    let new = NewTopic {
        name: CLICKS.to_owned(),
        partitions: 1,
        compact: true,
        retention: None,
    };
    log.create(&new).expect("it is gone");
    for key in ["ann", "bob", "ann", "bob"] {
        let record = Record {
            offset: 0,
            timestamp: 0,
            key: Some(key.as_bytes()),
            value: Some(b"home"),
            headers: Headers::default(),
        };
        log.put(CLICKS, 0, &record);
    }
    log.compact(CLICKS);
    passes(&script.judged_on(&clicks(AtLeastOnce), &log));
}

#[test]
fn effective_handlings_are_in_the_order_of_the_log() {
    let mut script = right(AtLeastOnce);
    let (one, other) = (
        find(&script, is_handled(A, 0)),
        find(&script, is_handled(A, 1)),
    );
    script.history.swap(one, other);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert!(
        broken_rules(&findings).contains(&"key order"),
        "{findings:?}"
    );
    let what = &violation_of(&findings, "key order").what;
    assert!(
        what.contains("clicks[0]@1") && what.contains("before clicks[0]@0"),
        "{what}"
    );
}

#[test]
fn uncommitted_records_are_not_read() {
    let mut script = right(AtLeastOnce);
    script.put(Some(A), 9, CLICKS, "eve", "home");
    script.handled(B, CLICKS, 4, &[]);
    script.end(9, true);
    script.commit(B, CLICKS, 5);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert_eq!(broken_rules(&findings), ["dirty read"]);
    assert!(
        violation_of(&findings, "dirty read")
            .what
            .contains("before it was committed")
    );
}

#[test]
fn writes_are_in_the_log_when_the_offset_is_committed() {
    for guarantee in [AtLeastOnce, ExactlyOnce] {
        let mut script = right(guarantee);
        let at = find(&script, is_written(ALERTS, 0));
        script.history.remove(at);
        let findings = script.judged(&clicks(guarantee));
        assert_eq!(broken_rules(&findings)[0], "durable writes");
        let what = &violation_of(&findings, "durable writes").what;
        assert!(
            what.contains("for record clicks[0]@2 key \"ann\""),
            "{what}"
        );
        assert!(what.ends_with("alerts[0] key \"ann\" = \"2\""), "{what}");
    }
}

#[test]
fn at_least_once_writes_are_in_the_log_before_the_commit() {
    let mut script = right(AtLeastOnce);
    let at = find(&script, is_written(STATE, 1));
    let late = script.history.remove(at);
    let commit = find(&script, is_committed(A));
    script.history.insert(commit + 1, late);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert_eq!(broken_rules(&findings), ["durable writes"]);
}

#[test]
fn a_record_stands_for_the_write_of_one_handling() {
    let mut script = right(AtLeastOnce);
    script.feed(CLICKS, "eve", "home");
    script.feed(CLICKS, "eve", "home");
    let eve = [wrote(STATE, "eve", "1")];
    script.handle((B, 0), CLICKS, 4, &eve);
    script.handled(B, CLICKS, 5, &eve);
    script.commit(B, CLICKS, 6);
    let findings = script.judged(&clicks(AtLeastOnce));
    assert_eq!(broken_rules(&findings), ["durable writes"]);
    assert!(
        violation_of(&findings, "durable writes")
            .what
            .contains("clicks[0]@5")
    );
}

#[test]
fn exactly_once_writes_are_in_the_transaction_that_commits_the_offset() {
    let mut script = right(ExactlyOnce);
    let at = find(&script, is_written(STATE, 1));
    if let Happened::Written(written) = &mut script.history[at].what {
        written.serial = 3;
    }
    let findings = script.judged(&clicks(ExactlyOnce));
    assert_eq!(broken_rules(&findings), ["durable writes", "stale write"]);
    assert!(
        violation_of(&findings, "durable writes")
            .what
            .contains("transaction 1")
    );
}

#[test]
fn exactly_once_writes_of_other_handlings_are_not_visible() {
    let mut script = right(ExactlyOnce);
    // A's transaction is committed though its offsets are not in it.
    let at = find(&script, |what| {
        matches!(what, Happened::Ended { serial: 2, .. })
    });
    script.history[at].what = Happened::Ended {
        serial: 2,
        committed: true,
    };
    let findings = script.judged(&clicks(ExactlyOnce));
    assert_eq!(
        broken_rules(&findings),
        ["stale write"],
        "the rows are the same"
    );
    let found = violation_of(&findings, "stale write");
    assert!(
        found
            .what
            .contains("click-count-state[0]@2 key \"ann\" = \"2\""),
        "{found:?}"
    );
    assert!(found.what.contains("click-count/i1/0 (#7)"), "{found:?}");
}

/// Changes a value in what handlings wrote and in the log.
fn other_value(script: &mut Script, topic: &str, from: &str, to: &str) {
    let (from, to) = (bytes(from), bytes(to));
    for moment in &mut script.history {
        match &mut moment.what {
            Happened::Handled(_, wrote) => {
                let wrote = wrote.iter_mut().filter(|wrote| *wrote.topic == *topic);
                for wrote in wrote.filter(|wrote| wrote.value == from) {
                    wrote.value.clone_from(&to);
                }
            }
            Happened::Written(written)
                if *written.place.topic == *topic && written.body.value == from =>
            {
                let key = written.body.key.clone();
                written.body = Arc::new(Body {
                    key,
                    value: to.clone(),
                    ..Body::default()
                });
            }
            _ => {}
        }
    }
}

#[test]
fn a_table_is_the_fold_of_effective_handlings() {
    for (processor, guarantee) in [
        (clicks(ExactlyOnce), ExactlyOnce),
        (clicks(AtLeastOnce).idempotent(), AtLeastOnce),
    ] {
        let mut script = right(guarantee);
        other_value(&mut script, STATE, "2", "3");
        let findings = script.judged(&processor);
        assert_eq!(broken_rules(&findings), ["table"]);
        let found = violation_of(&findings, "table");
        let what = "click-count-state[0] key \"ann\": expected \"2\", the table has \"3\"; \
                    the first difference: click-count/i2/0 (#8) wrote \"3\" for clicks[0]@2 key \
                    \"ann\" instead of \"2\"";
        assert_eq!(found.what, what);
        let offset = if guarantee == ExactlyOnce { 3 } else { 2 };
        assert_eq!(
            found.place.as_ref().and_then(|place| place.offset),
            Some(offset)
        );
        assert_eq!(findings.violations.len(), 2, "ann's and bob's");
    }
    let mut script = right(AtLeastOnce);
    other_value(&mut script, STATE, "2", "3");
    passes(&script.judged(&clicks(AtLeastOnce)));
}

#[test]
fn compaction_does_not_change_a_table() {
    let script = right(ExactlyOnce);
    let log = script.log();
    log.compact(STATE);
    assert!(log.records(STATE, 0).len() < 5, "it took something");
    passes(&script.judged_on(&clicks(ExactlyOnce), &log));
    log.delete_records(STATE, 0, 4);
    let findings = script.judged_on(&clicks(ExactlyOnce), &log);
    assert_eq!(broken_rules(&findings), ["table"]);
    let what = "click-count-state[0] key \"ann\": expected \"2\", the compacted topic has nothing";
    assert_eq!(violation_of(&findings, "table").what, what);
}

#[test]
fn outputs_are_there_once() {
    // B emitted an alert twice, and none for bob.
    let mut script = right(ExactlyOnce);
    let at = find(&script, is_handled(B, 2));
    if let Happened::Handled(_, list) = &mut script.history[at].what {
        list.push(wrote(ALERTS, "ann", "2"));
    }
    let mut again = script.history[find(&script, is_written(ALERTS, 0))].clone();
    if let Happened::Written(written) = &mut again.what {
        written.place.offset = 2;
    }
    let last = find(&script, is_written(ALERTS, 1));
    script.history.insert(last + 1, again);
    let findings = script.judged(&clicks(ExactlyOnce));
    assert_eq!(broken_rules(&findings), ["outputs once"]);
    let found = violation_of(&findings, "outputs once");
    assert!(
        found
            .what
            .starts_with("alerts[0]@2 key \"ann\" = \"2\" is an extra record"),
        "{found:?}"
    );
    assert!(found.what.contains("click-count/i2/0 (#8)"), "{found:?}");
}

#[test]
fn outputs_are_not_missing() {
    for (processor, guarantee) in [
        (clicks(ExactlyOnce), ExactlyOnce),
        (clicks(AtLeastOnce).idempotent(), AtLeastOnce),
    ] {
        let mut script = right(guarantee);
        let at = find(&script, is_handled(B, 3));
        if let Happened::Handled(_, wrote) = &mut script.history[at].what {
            wrote.retain(|wrote| *wrote.topic != *ALERTS);
        }
        let at = find(&script, is_written(ALERTS, 1));
        script.history.remove(at);
        let findings = script.judged(&processor);
        assert_eq!(broken_rules(&findings), ["outputs once"]);
        let what = "alerts[0] key \"bob\" = \"2\" is missing: \
                    ClickCount should have emitted it for clicks[0]@3 key \"bob\"";
        assert_eq!(violation_of(&findings, "outputs once").what, what);
    }
}

#[test]
fn outputs_of_one_key_are_in_order() {
    let mut script = right(ExactlyOnce);
    for _ in 0..2 {
        script.feed(CLICKS, "ann", "home");
    }
    let ann = [wrote(STATE, "ann", "3")];
    script.handle((B, 4), CLICKS, 4, &ann);
    let ann = [wrote(STATE, "ann", "4"), wrote(ALERTS, "ann", "4")];
    script.handle((B, 4), CLICKS, 5, &ann);
    script.commit(B, CLICKS, 6);
    script.end(4, true);
    passes(&script.judged(&clicks(ExactlyOnce)));
    // Swaps the offsets of ann's alerts.
    for moment in &mut script.history {
        if let Happened::Written(written) = &mut moment.what
            && *written.place.topic == *ALERTS
        {
            written.place.offset = 2 - written.place.offset;
        }
    }
    let findings = script.judged(&clicks(ExactlyOnce));
    assert_eq!(broken_rules(&findings), ["outputs once"]);
    let what = &violation_of(&findings, "outputs once").what;
    assert!(
        what.contains("is before what its task emitted earlier"),
        "{what}"
    );
}
