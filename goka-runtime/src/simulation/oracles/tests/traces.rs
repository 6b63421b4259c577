//! The traces of violations.

use super::*;
use crate::record::Guarantee::{AtLeastOnce, ExactlyOnce};

#[test]
fn the_trace_of_a_row_is_that_of_its_key() {
    let mut script = Script::new(GROUP);
    script.feed(CLICKS, "ann", "home");
    script.feed(CLICKS, "bob", "home");
    script.handle((A, 1), CLICKS, 0, &[wrote(STATE, "ann", "1")]);
    script.handle((A, 1), CLICKS, 1, &[wrote(STATE, "bob", "1")]);
    script.event("i1 dies");
    script.event("i2 is slow");
    script.event("no broker answers");
    script.end(1, false);
    script.handle((A, 2), CLICKS, 0, &[wrote(STATE, "ann", "2")]);
    script.handle((A, 2), CLICKS, 1, &[wrote(STATE, "bob", "1")]);
    script.commit(A, CLICKS, 2);
    script.end(2, true);
    let processor = clicks(ExactlyOnce);
    let findings = script.judged(&processor);
    let found = violation_of(&findings, "table");
    assert!(
        found.what.contains("expected \"1\", the table has \"2\""),
        "{found:?}"
    );
    let expected = "\
1,000 ms  click-count/i1/0 (#7) joined
1,020 ms  clicks[0]@0 key \"ann\" = \"home\" was written by the workload
1,040 ms  click-count/i1/0 (#7) handled clicks[0]@0 key \"ann\": wrote click-count-state[0] \"1\"
1,050 ms  click-count-state[0]@0 key \"ann\" = \"1\" was written by click-count/i1/0 (#7) in transaction 1
1,080 ms  i1 dies
1,100 ms  no broker answers
1,110 ms  transaction 1 was aborted
1,120 ms  click-count/i1/0 (#7) handled clicks[0]@0 key \"ann\": wrote click-count-state[0] \"2\"
1,130 ms  click-count-state[0]@2 key \"ann\" = \"2\" was written by click-count/i1/0 (#7) in transaction 2
1,160 ms  click-count/i1/0 (#7) committed clicks[0] up to 2
1,170 ms  transaction 2 was committed";
    assert_eq!(script.trace(&processor, found).join("\n"), expected);
}

#[test]
fn the_trace_of_an_output_has_the_record_that_emitted_it() {
    let mut script = Script::new(GROUP);
    script.feed(CLICKS, "ann", "home");
    script.feed(CLICKS, "bob", "home");
    script.handle((A, 0), CLICKS, 0, &[wrote(ALERTS, "eve", "1")]);
    script.commit(A, CLICKS, 1);
    script.commit(99, CLICKS, 0);
    let processor = clicks(AtLeastOnce);
    let place = super::super::Place::of(ALERTS, 0).keyed(Some(b"eve"));
    let violation = Violation::at("outputs once", place, String::new());
    let lines = script.trace(&processor, &violation);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(
        lines[1].ends_with("clicks[0]@0 key \"ann\" = \"home\" was written by the workload"),
        "{lines:#?}"
    );
    assert!(
        lines[2].ends_with("wrote alerts[0] key \"eve\" = \"1\""),
        "{lines:#?}"
    );
    let back = "#99 set clicks[0] of group `click-count` back from 1 to 0";
    assert!(lines[5].ends_with(back), "{lines:#?}");
}

#[test]
fn a_long_trace_keeps_the_lines_about_the_record_itself() {
    let mut script = Script::new(GROUP);
    for at in 0..100 {
        script.feed(CLICKS, "ann", "home");
        let count = (at + 1).to_string();
        script.handle((A, 0), CLICKS, at, &[wrote(STATE, "ann", &count)]);
    }
    let processor = clicks(AtLeastOnce);
    let place = super::super::Place::of(CLICKS, 0)
        .at(50)
        .keyed(Some(b"ann"));
    let violation = Violation::at("lost input", place, String::new());
    let lines = script.trace(&processor, &violation);
    assert_eq!(lines.len(), MOST, "{lines:#?}");
    let is_about = |line: &&String| line.contains("clicks[0]@50 ");
    assert_eq!(lines.iter().filter(is_about).count(), 2, "{lines:#?}");
    let is_more = |line: &String| line.starts_with("..");
    assert!(
        is_more(&lines[0]) && is_more(&lines[MOST - 1]),
        "{lines:#?}"
    );
    let focus = lines.iter().position(|line| line.contains("clicks[0]@50 "));
    assert!(focus > Some(MOST / 2), "more lines before than after it");
}

#[test]
fn a_long_trace_without_such_lines_keeps_its_end() {
    let mut script = Script::new(GROUP);
    for at in 0..100 {
        script.feed(CLICKS, "ann", "home");
        script.handled(A, CLICKS, at, &[]);
        script.event("compaction of clicks");
    }
    for _ in 0..50 {
        script.event("compaction of clicks");
    }
    let place = super::super::Place::of(STATE, 0).keyed(Some(b"ann"));
    let violation = Violation::at("table", place, String::new());
    let lines = script.trace(&clicks(AtLeastOnce), &violation);
    assert_eq!(lines.len(), MOST, "{lines:#?}");
    assert!(
        lines[MOST - 4].contains("handled clicks[0]@99"),
        "{lines:#?}"
    );
    assert_eq!(lines[MOST - 3], ".. 49 more");
}

const MOST: usize = 40;
