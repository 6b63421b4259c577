//! Positions, gaps, guards, metadata and deaths.

use super::*;
use crate::core::deaths::{Death, RecordAt};
use crate::core::metadata::VERSION;
use crate::core::tests::{INPUT, plan};

const OTHER: TopicId = TopicId(2);

fn metadata(lead: &str) -> OffsetMetadata {
    OffsetMetadata {
        version: VERSION,
        fingerprint: 0,
        table_id: String::new(),
        table_start: None,
        table_end: Some(7),
        lead: lead.to_owned(),
        input_id: None,
        died: None,
        inputs: vec!["input".to_owned()],
        reads: None,
        address: None,
    }
}

fn text(offsets: &Offsets, input: TopicId, offset: Offset) -> OffsetMetadata {
    let text = offsets.commit_text(input, offset, Some(5));
    OffsetMetadata::parse(&text).expect("it has metadata")
}

#[test]
fn the_start_metadata_is_the_groups_once_it_is_committed() {
    let mut offsets = Offsets::new(&BTreeMap::new());
    assert_eq!(offsets.commit_text(INPUT, 0, None), "");
    offsets.start_at(BTreeMap::from([(INPUT, 3)]), metadata("first"));
    assert_eq!(
        (text(&offsets, INPUT, 3).lead, offsets.metadata()),
        ("first".into(), None)
    );
    // An inspection that is made again begins with what the group has.
    offsets.start_at(BTreeMap::from([(INPUT, 3)]), metadata("second"));
    offsets.started();
    assert_eq!(offsets.metadata(), Some(&metadata("second")));
    assert_eq!(text(&offsets, INPUT, 3), metadata("second"));
    assert!(offsets.are_ahead(&Guards::default()));
    offsets.commit(INPUT, 3);
    offsets.set_position(INPUT, 9);
    offsets.rewind();
    assert_eq!(offsets.position(INPUT), 3);
    assert!(!offsets.are_ahead(&Guards::default()));
}

#[test]
fn a_text_has_what_belongs_to_its_input() {
    let mut noted = metadata("lead");
    noted.input_id = Some("id".into());
    noted.died = Some(Died {
        offset: 4,
        runs: vec![1, 2],
    });
    let committed = Committed {
        offset: 3,
        metadata: noted.to_string(),
    };
    let mut offsets = Offsets::new(&BTreeMap::from([(INPUT, committed)]));
    assert_eq!(text(&offsets, INPUT, 4), noted);
    assert_eq!(text(&offsets, INPUT, 5).died, None, "handled since");
    assert_eq!(text(&offsets, OTHER, 4), metadata("lead"));
    let longer = offsets.commit_text(OTHER, 4, Some(9));
    assert_eq!(OffsetMetadata::parse(&longer).unwrap().table_end, Some(9));
    assert!(offsets.has_died_of(INPUT, 4) && !offsets.has_died_of(INPUT, 3));
    assert_eq!(offsets.identify(INPUT, "id"), None);
    assert_eq!(offsets.identify(INPUT, "another"), Some("id".into()));
    offsets.forget(INPUT, "input");
    assert!(offsets.committed(INPUT).is_none() && !offsets.has_died_of(INPUT, 4));
    assert!(
        offsets
            .metadata()
            .is_some_and(|metadata| metadata.inputs.is_empty())
    );
}

#[test]
fn nothing_behind_a_guard_is_committed_and_gaps_are_skipped_in_order() {
    let mut offsets = Offsets::new(&BTreeMap::new());
    offsets.start_at(BTreeMap::from([(INPUT, 3), (OTHER, 0)]), metadata("lead"));
    offsets.commit(INPUT, 3);
    offsets.commit(OTHER, 0);
    assert!(offsets.skip_gap(INPUT, &(4..9)) && offsets.skip_gap(INPUT, &(2..5)));
    assert_eq!(
        offsets.position(INPUT),
        5,
        "records before the first gap are missing"
    );
    assert!(!offsets.skip_gap(TopicId(3), &(0..5)), "not an input");
    let mut guards = Guards::default();
    let held = guards.took(1);
    guards.hold(held, INPUT, 3, String::new);
    assert_eq!(
        offsets.committable(&guards).collect::<Vec<_>>(),
        [(INPUT, 3), (OTHER, 0)]
    );
    assert!(!offsets.are_ahead(&guards));
    guards.clear();
    assert!(offsets.are_ahead(&guards));
}

/// Whether the record at 7 is refused, and what is committed with its offset, when `noted` was
/// noted here and `committed` by the group, whose offset is `next`.
fn refused(next: Offset, committed: Option<Died>, noted: &[(u64, Offset)]) -> (bool, usize) {
    refused_by(Deaths::default(), next, committed, noted)
}

fn refused_by(
    deaths: Deaths,
    next: Offset,
    committed: Option<Died>,
    noted: &[(u64, Offset)],
) -> (bool, usize) {
    let mut plan = plan(1);
    let record = |offset| RecordAt {
        topic: "input".to_owned(),
        partition: 0,
        offset,
    };
    let ours = noted.iter().map(|(run, offset)| Death {
        run: *run,
        group: "group".to_owned(),
        record: record(*offset),
    });
    let mut theirs: Vec<Death> = ours.clone().collect();
    // What is of another group, topic or partition is not ours.
    for (at, death) in theirs.iter_mut().enumerate() {
        match at % 3 {
            0 => death.group = "other".to_owned(),
            1 => death.record.topic = "other".to_owned(),
            _ => death.record.partition = 1,
        }
        death.run += 1_000;
    }
    plan.deaths = Deaths {
        noted: ours.chain(theirs).collect(),
        ..deaths
    };
    let committed = Committed {
        offset: next,
        metadata: OffsetMetadata {
            died: committed,
            ..metadata("group-state")
        }
        .to_string(),
    };
    let lead = plan.group.lead.expect("it has a table");
    let mut offsets = Offsets::new(&BTreeMap::from([(INPUT, committed)]));
    offsets.add_deaths(&plan.deaths, &plan.group, TaskId { lead, partition: 0 });
    let died = text(&offsets, INPUT, 7).died;
    let is_refused = offsets.has_died_of(INPUT, 7);
    (is_refused, died.map_or(0, |died| died.runs.len()))
}

#[test]
fn two_deaths_of_one_record_are_enough_wherever_they_were_noted() {
    let died = |offset, runs: &[u64]| {
        let runs = runs.to_vec();
        Some(Died { offset, runs })
    };
    for (case, next, committed, noted, expected) in [
        ("none", 5, None, &[][..], (false, 0)),
        ("one here", 5, None, &[(1, 7)], (false, 1)),
        ("two here", 5, None, &[(1, 7), (2, 7)], (true, 2)),
        ("two there", 5, died(7, &[1, 2]), &[], (true, 2)),
        (
            "one here, one there",
            5,
            died(7, &[1]),
            &[(2, 7)],
            (true, 2),
        ),
        ("the same one", 5, died(7, &[1]), &[(1, 7)], (false, 1)),
        ("of two records", 5, None, &[(1, 6), (2, 7)], (false, 1)),
        (
            "an earlier one there",
            5,
            died(6, &[1, 3]),
            &[(2, 7)],
            (false, 1),
        ),
        (
            "handled since",
            8,
            died(9, &[3]),
            &[(1, 7), (2, 7)],
            (false, 1),
        ),
        ("a third one", 5, died(7, &[1, 2]), &[(3, 7)], (true, 2)),
    ] {
        assert_eq!(refused(next, committed, noted), expected, "{case}");
    }
}

#[test]
fn a_record_that_is_retried_has_no_deaths() {
    let deaths = |offset| Deaths {
        noted: Vec::new(),
        retried: vec![RecordAt {
            topic: "input".to_owned(),
            partition: 0,
            offset,
        }],
    };
    let died = Some(Died {
        offset: 7,
        runs: vec![1, 2],
    });
    let noted = [(1, 7), (2, 7)];
    assert_eq!(refused_by(deaths(7), 5, died.clone(), &noted), (false, 0));
    assert_eq!(refused_by(deaths(8), 5, died, &noted), (true, 2));
}
