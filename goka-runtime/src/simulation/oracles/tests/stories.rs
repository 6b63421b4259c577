//! What is told of a violation.

use super::*;
use crate::record::Guarantee::{AtLeastOnce, ExactlyOnce};

#[test]
fn a_row_has_the_story_of_its_key() {
    let mut script = Script::new(GROUP);
    script.feed(CLICKS, "ann", "home");
    script.feed(CLICKS, "bob", "home");
    script.handle((A, 1), CLICKS, 0, &[wrote(STATE, "ann", "1")]);
    script.handle((A, 1), CLICKS, 1, &[wrote(STATE, "bob", "1")]);
    script.tell("i1 dies");
    script.tell("i2 is slow");
    script.tell("no broker answers");
    script.end(1, false);
    script.handle((A, 2), CLICKS, 0, &[wrote(STATE, "ann", "2")]);
    script.handle((A, 2), CLICKS, 1, &[wrote(STATE, "bob", "1")]);
    script.commit(A, CLICKS, 2);
    script.end(2, true);
    let case = clicks(ExactlyOnce);
    let verdict = script.judged(&case);
    let found = said(&verdict, "table");
    assert!(
        found.what.contains("expected \"1\", the table has \"2\""),
        "{found:?}"
    );
    let expected = "\
1,000 ms  click-count/i1/0 (#7) joined
1,020 ms  clicks[0]@0 key \"ann\" = \"home\" was fed
1,040 ms  click-count/i1/0 (#7) handled clicks[0]@0 key \"ann\": wrote click-count-state[0] \"1\"
1,050 ms  click-count-state[0]@0 key \"ann\" = \"1\" was written by click-count/i1/0 (#7) in transaction 1
1,080 ms  i1 dies
1,100 ms  no broker answers
1,110 ms  transaction 1 was aborted
1,120 ms  click-count/i1/0 (#7) handled clicks[0]@0 key \"ann\": wrote click-count-state[0] \"2\"
1,130 ms  click-count-state[0]@2 key \"ann\" = \"2\" was written by click-count/i1/0 (#7) in transaction 2
1,160 ms  click-count/i1/0 (#7) committed clicks[0] up to 2
1,170 ms  transaction 2 was committed";
    assert_eq!(script.told(&case, found).join("\n"), expected);
}

#[test]
fn an_output_has_the_story_of_what_emitted_it() {
    let mut script = Script::new(GROUP);
    script.feed(CLICKS, "ann", "home");
    script.feed(CLICKS, "bob", "home");
    script.handle((A, 0), CLICKS, 0, &[wrote(ALERTS, "eve", "1")]);
    script.commit(A, CLICKS, 1);
    script.commit(99, CLICKS, 0);
    let case = clicks(AtLeastOnce);
    let place = super::super::Place::of(ALERTS, 0).keyed(Some(b"eve"));
    let violation = Violation::at("outputs once", place, String::new());
    let told = script.told(&case, &violation);
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(
        told[1].ends_with("clicks[0]@0 key \"ann\" = \"home\" was fed"),
        "{told:#?}"
    );
    assert!(
        told[2].ends_with("wrote alerts[0] key \"eve\" = \"1\""),
        "{told:#?}"
    );
    let back = "#99 set clicks[0] of group `click-count` back from 1 to 0";
    assert!(told[5].ends_with(back), "{told:#?}");
}

#[test]
fn a_long_story_keeps_its_heart_and_its_end() {
    let mut script = Script::new(GROUP);
    for at in 0..100 {
        script.feed(CLICKS, "ann", "home");
        let count = (at + 1).to_string();
        script.handle((A, 0), CLICKS, at, &[wrote(STATE, "ann", &count)]);
    }
    let case = clicks(AtLeastOnce);
    let place = super::super::Place::of(CLICKS, 0)
        .at(50)
        .keyed(Some(b"ann"));
    let violation = Violation::at("lost input", place, String::new());
    let told = script.told(&case, &violation);
    assert_eq!(told.len(), MOST, "{told:#?}");
    let is_about = |line: &&String| line.contains("clicks[0]@50 ");
    assert_eq!(told.iter().filter(is_about).count(), 2, "{told:#?}");
    let is_more = |line: &String| line.starts_with("..");
    assert!(is_more(&told[0]) && is_more(&told[MOST - 1]), "{told:#?}");
    let heart = told.iter().position(|line| line.contains("clicks[0]@50 "));
    assert!(heart > Some(MOST / 2), "more of before than of after");
}

#[test]
fn a_long_story_without_a_heart_keeps_its_end() {
    let mut script = Script::new(GROUP);
    for at in 0..100 {
        script.feed(CLICKS, "ann", "home");
        script.handled(A, CLICKS, at, &[]);
        script.tell("compaction of clicks");
    }
    for _ in 0..50 {
        script.tell("compaction of clicks");
    }
    let place = super::super::Place::of(STATE, 0).keyed(Some(b"ann"));
    let violation = Violation::at("table", place, String::new());
    let told = script.told(&clicks(AtLeastOnce), &violation);
    assert_eq!(told.len(), MOST, "{told:#?}");
    assert!(told[MOST - 4].contains("handled clicks[0]@99"), "{told:#?}");
    assert_eq!(told[MOST - 3], ".. 49 more");
}

const MOST: usize = 40;
