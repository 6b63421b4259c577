//! Inputs that were deleted and made again: an offset of the old topic is never taken for one of the new
//! topic.

use super::*;
use crate::core::metadata::OffsetMetadata;
use crate::core::start::examine;
use crate::core::task::Task;

fn of(id: &str) -> BTreeMap<TopicId, String> {
    BTreeMap::from([(INPUT, id.to_owned())])
}

/// Two records are counted from an input with an identity.
fn counted(id: &str) -> World {
    let mut world = World::in_memory(1);
    world.lose_all();
    world.input_ids = of(id);
    world.assign_all();
    world.feed("a", Some("1"));
    world.feed("a", Some("2"));
    world.finish();
    let noted = OffsetMetadata::parse(&world.committed[&task(0)].metadata);
    let known = Some(id).filter(|id| !id.is_empty()).map(str::to_owned);
    assert_eq!(
        noted
            .and_then(|noted| noted.input_id)
            .filter(|id| !id.is_empty()),
        known
    );
    world
}

#[test]
fn a_table_is_not_counted_on_from_an_input_that_was_made_again() {
    let mut world = counted("first");
    let before = world.committed.clone();
    world.revoke_all();
    world.input_ids = of("second");
    world.assign_all();
    let (_, cause) = world.stopped.pop().expect("refused");
    let text = cause.to_string();
    for part in [
        "input[0]",
        "offset 2",
        "`first`",
        "`second`",
        "--reset-offsets",
    ] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    assert_eq!(world.committed, before, "offsets stay where they were");
}

#[test]
fn an_input_that_is_the_same_or_not_known_goes_on() {
    const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    for (before, now) in [
        ("first", "first"),
        ("", "first"),
        ("first", ""),
        (ZERO, "first"),
    ] {
        let mut world = counted(before);
        world.revoke_all();
        world.input_ids = of(now);
        world.assign_all();
        assert_eq!(world.stopped, [], "from `{before}` to `{now}`");
        world.feed("a", Some("4"));
        world.finish();
        let noted = OffsetMetadata::parse(&world.committed[&task(0)].metadata);
        let id = noted.and_then(|noted| noted.input_id).unwrap_or_default();
        assert_eq!(id, now, "from `{before}` to `{now}`");
    }
}

#[test]
fn without_a_table_an_input_that_was_made_again_is_read_from_its_start_rule() {
    for (start, first) in [
        (crate::graph::Start::Earliest, 3),
        (crate::graph::Start::Latest, 9),
    ] {
        let mut plan = plan(1);
        (plan.table, plan.inputs[0].start) = (None, start);
        let committed = counted("first").committed[&task(0)].clone();
        assert_eq!(committed.offset, 2);
        let assignment = Assignment {
            task: task(0),
            epoch: Epoch(1),
            committed: BTreeMap::from([(INPUT, committed)]),
        };
        let mut task = Task::new(&plan, &assignment, Duration::ZERO);
        let range = OffsetRange {
            start: 3,
            stable: 9,
            high: 9,
        };
        let found = Inspection {
            checkpoint: None,
            table: None,
            inputs: BTreeMap::from([(INPUT, range)]),
            input_ids: of("second"),
        };
        let begun = examine(&plan, task.id, &mut task.offsets, &found, 0);
        assert!(begun.is_ok());
        let commits = task.commits(&plan);
        let [(_, INPUT, position, text)] = &commits[..] else {
            panic!("{commits:?}");
        };
        assert_eq!(*position, first);
        let noted = OffsetMetadata::parse(text).and_then(|noted| noted.input_id);
        assert_eq!(noted.as_deref(), Some("second"));
    }
}
