//! The gaps that a member reports: offsets that hold no records for it, but control records or aborted
//! records. A log without such offsets reports none.

use goka_runtime::log::{Group, Log};
use goka_runtime::record::{AppendKind, Guarantee, Offset, TopicId};

use super::rig::*;

use AppendKind::Output;

/// The index of the shared topic in the topics of the group that writes it, and of the group that reads it.
const WRITTEN: u16 = 1;
const READ: u16 = 1;

/// A member that writes a topic in transactions, and a group that reads it.
fn writer_and_reader(log: &dyn Log) -> (TestMember, Group) {
    let written = stream(log, 1);
    let mut writer = stateful(log, &[], 1);
    writer.topics.push(written.as_str().into());
    writer.guarantee = Guarantee::ExactlyOnce;
    writer.transaction_timeout = 5 * TIMEOUT;
    let mut reader = stateful(log, &[written], 1);
    reader.guarantee = Guarantee::ExactlyOnce;
    (TestMember::owning(log, &writer, 1), reader)
}

fn put(writer: &mut TestMember, value: &str) {
    writer.append(&[(task(0), Output, WRITTEN, 0, value)]);
}

fn commit(writer: &mut TestMember, value: &str) {
    put(writer, value);
    let outcome = writer.commit(&[]);
    let acks = &outcome.acks[&task(0)];
    assert!(acks.is_ok(), "{outcome:?}");
}

fn abort(writer: &mut TestMember, value: &str) {
    put(writer, value);
    assert_eq!(writer.inner.abort(deadline()), Ok(()));
}

/// The offset up to which the input was reported, by records and gaps, since it was fetched at `from`.
fn reached(recorder: &Recorder, from: Offset) -> Offset {
    let records = offsets(&recorder.records(task(0), TopicId(READ)));
    for (.., gap) in &recorder.gaps {
        let held: Vec<_> = records.iter().filter(|at| gap.contains(at)).collect();
        assert!(held.is_empty(), "{gap:?} contains {held:?}");
    }
    let after_records = records.iter().map(|at| at + 1);
    let after_gaps = recorder.gaps.iter().map(|(.., gap)| gap.end);
    after_records.chain(after_gaps).max().unwrap_or(from)
}

/// The end of the input, behind the marker of its last transaction, which a broker writes after it has
/// answered the commit.
fn end(log: &dyn Log, group: &Group) -> Offset {
    let at = [tp(group.topic(TopicId(READ)), 0)];
    let mut end = 0;
    wait_until("no transaction is open", || {
        let range = log.ranges(&at).expect("the partition is there").remove(0);
        end = range.high;
        range.stable == range.high
    });
    end
}

pub fn a_member_reaches_the_end_behind_control_records(log: &dyn Log) {
    let (mut writer, group) = writer_and_reader(log);
    let mut reader = TestMember::owning(log, &group, 1);
    reader.fetch(task(0), READ, 0);
    abort(&mut writer, "dropped");
    for value in ["a", "b"] {
        commit(&mut writer, value);
        reader.poll_until("it reaches the end", |recorder| {
            reached(recorder, 0) == end(log, &group)
        });
    }
    abort(&mut writer, "dropped");
    commit(&mut writer, "c");
    abort(&mut writer, "dropped");
    reader.poll_until(
        "it reaches the end behind the aborted records",
        |recorder| reached(recorder, 0) == end(log, &group),
    );
    let seen = reader.recorder.records(task(0), TopicId(READ));
    assert_eq!(texts(&seen), ["a", "b", "c"]);
    let epochs = reader.recorder.gaps.iter().map(|(_, epoch, ..)| epoch);
    let (epoch, _) = &reader.recorder.owned[&task(0)];
    assert!(epochs.into_iter().all(|of| of == epoch));
}

pub fn a_gap_is_reported_again_after_moving_back(log: &dyn Log) {
    let (mut writer, group) = writer_and_reader(log);
    for value in ["a", "b"] {
        commit(&mut writer, value);
    }
    let mut reader = TestMember::owning(log, &group, 1);
    let last = read(log, group.topic(TopicId(READ)), 0, 0)[1].offset;
    // From the first record, from the last one, and from behind it.
    for from in [0, last, last + 1] {
        (reader.recorder.batches, reader.recorder.gaps) = Default::default();
        match from {
            0 => {}
            _ => reader.inner.release(task(0)),
        }
        reader.fetch(task(0), READ, from);
        reader.poll_until("it reaches the end", |recorder| {
            reached(recorder, from) == end(log, &group)
        });
        let seen = offsets(&reader.recorder.records(task(0), TopicId(READ)));
        assert!(seen.iter().all(|at| *at >= from), "{seen:?} from {from}");
        assert_eq!(
            seen.len(),
            [2, 1, 0][usize::from(from >= last) + usize::from(from > last)]
        );
        let starts = reader.recorder.gaps.iter().map(|(.., gap)| gap.start);
        assert!(
            starts.into_iter().all(|at| at >= from),
            "{:?}",
            reader.recorder.gaps
        );
    }
}

pub fn an_open_transaction_is_no_gap(log: &dyn Log) {
    let (mut writer, group) = writer_and_reader(log);
    commit(&mut writer, "a");
    let stable = end(log, &group);
    let mut reader = TestMember::owning(log, &group, 1);
    reader.fetch(task(0), READ, 0);
    put(&mut writer, "open");
    for _ in 0..5 {
        reader.poll();
        assert!(reached(&reader.recorder, 0) <= stable);
    }
    commit(&mut writer, "b");
    reader.poll_until("it reaches the end", |recorder| {
        reached(recorder, 0) == end(log, &group)
    });
    let seen = reader.recorder.records(task(0), TopicId(READ));
    assert_eq!(texts(&seen), ["a", "open", "b"]);
}

pub fn commits_of_offsets_alone_make_no_gap(log: &dyn Log) {
    let (mut writer, mut group) = writer_and_reader(log);
    // It writes to its own input, as a group with a loop does.
    group.topics.push(group.topic(TopicId(READ)).clone());
    commit(&mut writer, "a");
    let mut reader = TestMember::owning(log, &group, 1);
    reader.fetch(task(0), READ, 0);
    for _ in 0..3 {
        let end = end(log, &group);
        reader.poll_until("it reaches the end", |recorder| reached(recorder, 0) == end);
        assert_committed(&reader.commit(&[(task(0), READ, end)]), task(0));
        let before = reader.recorder.gaps.len();
        for _ in 0..3 {
            reader.poll();
        }
        assert_eq!(reader.recorder.gaps.len(), before, "no new gap is reported");
        assert_eq!(high(log, group.topic(TopicId(READ)), 0), end);
        reader.append(&[(task(0), Output, READ + 1, 0, "again")]);
        assert_committed(&reader.commit(&[(task(0), READ, end)]), task(0));
    }
}
