//! Edges beyond input and table: walks over the table, deferred commits, joined tables.

use std::cell::RefCell;

use super::*;
use crate::dispatch::Call;

pub(super) const VISIT: TopicId = TopicId(3);
pub(super) const JOINED: TopicId = TopicId(4);

thread_local! {
    static VISITED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn visited() -> Vec<String> {
    VISITED.with_borrow_mut(std::mem::take)
}

/// Sets every key to the argument; fails at the key that the argument names.
fn reset(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let key = String::from_utf8(raw.record.key.unwrap().to_vec())?;
    let argument = raw.record.value.unwrap_or_default().to_vec();
    if argument == format!("fail at {key}").as_bytes() {
        return Err("as asked".into());
    }
    VISITED.with_borrow_mut(|visited| visited.push(key));
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(&argument);
        Ok(())
    }))?;
    Ok(())
}

/// Visits without a write.
pub(super) fn looking(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let key = String::from_utf8(raw.record.key.unwrap().to_vec())?;
    VISITED.with_borrow_mut(|visited| visited.push(key));
    Ok(())
}

pub(super) fn deferring(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    if raw.record.value == Some(b"later") {
        raw.scope.defer().done();
    }
    Ok(())
}

/// Keeps what the joined table has for the key.
pub(super) fn joining(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
    let joined = raw.scope.join("joined")?.map(|row| row.value.to_vec());
    raw.scope.store(Some(&mut |out| {
        out.extend_from_slice(joined.as_deref().unwrap_or(b"nothing"));
        Ok(())
    }))?;
    Ok(())
}

pub(super) fn record<'a>(offset: Offset, key: &'a [u8], value: &'a [u8]) -> Record<'a> {
    Record {
        offset,
        timestamp: 1,
        key: Some(key),
        value: Some(value),
        headers: Headers::default(),
    }
}

pub(super) fn visiting() -> World {
    let mut plan = plan(1);
    plan.group.topics.push("group-visit".into());
    plan.group.inputs.push(VISIT);
    plan.visits = Some(VisitPlan {
        topic: VISIT,
        calls: vec![("reset", Call::Sync(reset))],
    });
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    for key in 0..1_200 {
        world.feed(&format!("a{key:04}"), Some("1"));
    }
    world.deliver(2_000);
    world.tick();
    visited();
    world
}

fn all(world: &World, value: &[u8]) -> usize {
    let table = world.table(task(0));
    table.values().filter(|held| *held == value).count()
}

#[test]
fn a_visit_changes_every_key_in_slices_between_other_records() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    world.feed("a0000", Some("9"));
    world.tick();
    assert_eq!(visited().len(), 500, "a slice");
    world.deliver(10);
    world.tick();
    world.tick();
    assert_eq!(visited().len(), 700, "the rest");
    assert_eq!(world.fetches.last(), Some(&(task(0), vec![(VISIT, 1)])));
    world.finish();
    assert_eq!(world.others[&(task(0), VISIT)].offset, 1);
    assert_eq!(all(&world, b"0/0"), 1_199);
    assert_eq!(
        world.table(task(0))[&b"a0000"[..].to_vec()],
        b"1/9",
        "the other record came later"
    );
}

#[test]
fn a_visit_goes_on_where_it_was_after_a_crash() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    world.tick();
    world.tick();
    assert_eq!(visited().len(), 1_000);
    assert_eq!(world.others[&(task(0), VISIT)].offset, 0, "it is not over");
    world.crash(usize::MAX);
    world.assign_all();
    let fetched = &world.fetches.last().unwrap().1;
    assert!(
        fetched.contains(&(VISIT, 0)),
        "the visit record is read again"
    );
    world.hand(task(0), VISIT, record(0, b"reset", b"0/0"));
    for _ in 0..3 {
        world.tick();
    }
    let again = visited();
    assert!(
        again.len() <= 700 && again.len() >= 200,
        "{} visited again",
        again.len()
    );
    world.finish();
    assert_eq!(all(&world, b"0/0"), 1_200);
    assert_eq!(world.others[&(task(0), VISIT)].offset, 1);
}

#[test]
fn a_failing_visit_stops_the_task_at_its_key() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"reset", b"fail at a0007"));
    world.tick();
    let cause = world.stopped[0].1.to_string();
    for part in [
        "group-visit[0] offset 0, a visit, at key `a0007`: as asked",
        "--group group --topic group-visit:0 --reset-offsets --to-offset 1 ",
    ] {
        assert!(cause.contains(part), "{part} in: {cause}");
    }
    world.finish();
    let committed = &world.others[&(task(0), VISIT)];
    assert_eq!(committed.offset, 0);
    assert_eq!(
        VisitedKey::read(&committed.metadata),
        Some(VisitedKey::of(b"a0006"))
    );
}

#[test]
fn an_unknown_visit_is_skipped() {
    let mut world = visiting();
    world.hand(task(0), VISIT, record(0, b"nobody", b""));
    world.finish();
    assert_eq!(world.others[&(task(0), VISIT)].offset, 1);
    assert_eq!(world.stopped, []);
}

#[test]
fn a_deferred_record_holds_the_commit_back_until_its_guard_is_done() {
    let mut plan = plan(1);
    plan.inputs[0].call = Call::Sync(deferring);
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    for value in ["now", "later", "now", "later"] {
        world.feed("a", Some(value));
    }
    world.deliver(10);
    world.tick();
    assert_eq!(
        world.committed[&task(0)].offset,
        1,
        "not past the first that waits"
    );
    let waiting = world.deferred();
    assert_eq!(
        waiting
            .iter()
            .map(|record| record.offset)
            .collect::<Vec<_>>(),
        [1, 3]
    );
    world.step(Event::Deferred(waiting[0], Ok(())));
    world.tick();
    assert_eq!(world.committed[&task(0)].offset, 3);
    world.step(Event::Deferred(waiting[1], Err("gave up".into())));
    world.tick();
    let cause = world.stopped[0].1.to_string();
    assert!(
        ["offset 3", "key `a`", "gave up"]
            .iter()
            .all(|part| cause.contains(part)),
        "{cause}"
    );
    assert_eq!(
        world.committed[&task(0)].offset,
        3,
        "exactly at the failed record"
    );
}

/// A world with a joined table, and the copy that it asked for.
pub(super) fn following() -> (World, CopyId, Epoch) {
    let plan = joining_plan();
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    world.tick();
    let (copy, epoch) = world.follows[0];
    (world, copy, epoch)
}

#[test]
fn a_joined_table_is_restored_first_and_followed_afterwards() {
    let (mut world, asked, epoch) = following();
    world.feed("a", Some("1"));
    world.tick();
    world.deliver(10);
    let copy = CopyId {
        task: task(0),
        table: JOINED,
    };
    assert_eq!(asked, copy);
    assert!(
        world.fetches.is_empty(),
        "no input before the joined table is there"
    );
    world.step(Event::Restored(copy, epoch, Ok(7)));
    world.tick();
    assert_eq!(world.fetches[0].1, [(INPUT, 0), (JOINED, 7)]);
    world.hand(task(0), JOINED, record(7, b"a", b"profile"));
    world.deliver(10);
    world.feed("a", Some("1"));
    world.finish();
    assert_eq!(world.table(task(0))[&b"a"[..].to_vec()], b"profile");
    assert_eq!(
        world.changelog[&task(0)].len(),
        2,
        "what is followed is not written again"
    );
}

/// A key that is longer than what can be committed with an offset, and shares most with its neighbours.
fn long_key(number: u32) -> String {
    format!("a{}{number:05}{}", "k".repeat(2_200), "z".repeat(20))
}

/// A world with so many long keys, whose visit keeps or deletes each.
fn walking(keys: u32) -> World {
    fn visit(_: &ProcessorState, raw: RawRecord<'_>) -> Result<(), HandlerError> {
        let key = String::from_utf8(raw.record.key.unwrap().to_vec())?;
        VISITED.with_borrow_mut(|visited| visited.push(key));
        match raw.record.value {
            Some(b"delete") => raw.scope.store(None)?,
            _ => drop(raw.scope.load()?),
        }
        Ok(())
    }
    let mut plan = plan(1);
    plan.memory = 64 << 20;
    plan.group.topics.push("group-visit".into());
    plan.group.inputs.push(VISIT);
    plan.visits = Some(VisitPlan {
        topic: VISIT,
        calls: vec![("visit", Call::Sync(visit))],
    });
    let mut world = World::of(plan, 1, Arc::new(MemoryStores::default()));
    for number in 0..keys {
        world.feed(&long_key(number), Some("1"));
    }
    world.deliver(5_000);
    world.tick();
    visited();
    world
}

/// A whole drain would look at all these bytes again and again.
fn walk_to_its_end(world: &mut World) {
    for _ in 0..20 {
        world.tick();
        if world.others[&(task(0), VISIT)].offset == 1 {
            return;
        }
    }
    panic!("the walk does not end");
}

fn crash_and_go_on(world: &mut World, argument: &[u8]) {
    world.crash(usize::MAX);
    world.assign_all();
    world.hand(task(0), VISIT, record(0, b"visit", argument));
}

#[test]
fn a_walk_over_long_keys_visits_each_once_over_restarts() {
    for argument in [&b"keep"[..], b"delete"] {
        let mut world = walking(1_100);
        let mut seen = Vec::new();
        world.hand(task(0), VISIT, record(0, b"visit", argument));
        for _ in 0..2 {
            // It finds its place, visits some, and commits where it is.
            let some = (0..20).find_map(|_| {
                world.tick();
                Some(visited()).filter(|some| !some.is_empty())
            });
            seen.extend(some.expect("it goes on"));
            crash_and_go_on(&mut world, argument);
        }
        walk_to_its_end(&mut world);
        seen.extend(visited());
        let all: Vec<_> = (0..1_100).map(long_key).collect();
        assert_eq!(seen.len(), all.len(), "each key once");
        assert!(seen == all, "in their order");
        assert_eq!(world.others[&(task(0), VISIT)].offset, 1);
    }
}

#[test]
fn keys_that_come_and_go_beside_the_last_key_visited_do_not_move_a_walk() {
    let mut world = walking(700);
    world.hand(task(0), VISIT, record(0, b"visit", b""));
    world.tick();
    let mut seen = visited();
    let last = seen.len();
    assert!((10..700).contains(&last), "{last}");
    let number = |at: usize| u32::try_from(at).unwrap();
    // The last key visited, its neighbours on both sides, and new ones on both sides.
    for gone in last - 2..=last {
        world.feed(&long_key(number(gone)), None);
    }
    let (before, behind) = (
        format!("{}+", long_key(number(last - 3))),
        format!("{}+", long_key(number(last + 3))),
    );
    world.feed(&before, Some("1"));
    world.feed(&behind, Some("1"));
    // The next owner handles those records before it goes on with the walk.
    world.crash(usize::MAX);
    world.assign_all();
    world.deliver(100);
    world.hand(task(0), VISIT, record(0, b"visit", b""));
    walk_to_its_end(&mut world);
    seen.extend(visited());
    let mut expected: Vec<_> = (0..700).map(long_key).collect();
    expected.remove(last);
    expected.push(behind);
    expected.sort();
    assert_eq!(seen.len(), expected.len());
    assert!(seen == expected, "each key once, in order");
}

#[test]
fn a_key_that_was_truncated_by_an_older_version_is_read() {
    let mut world = walking(700);
    world.hand(task(0), VISIT, record(0, b"visit", b""));
    world.tick();
    visited();
    let committed = world.others.get_mut(&(task(0), VISIT)).unwrap();
    let (old, _) = committed.metadata.split_once(";visited-end=").expect("cut");
    committed.metadata = old.to_owned();
    crash_and_go_on(&mut world, b"");
    walk_to_its_end(&mut world);
    assert_eq!(
        visited().len(),
        700,
        "it goes on before the keys that begin so"
    );
}
