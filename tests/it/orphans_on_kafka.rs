//! A static member goes while it gives a task back, and comes again at once. Kafka hands it what it was
//! to keep, without a rebalance, and the task that it gave back is nobody's; unless it sees to that.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use goka_runtime::record::TaskId;

use crate::log_conformance::rig::*;
use crate::support::kafka::broker;
use crate::support::kafka_log;

/// Longer than the others take to hear of a rebalance: a heartbeat.
const QUIET: Duration = Duration::from_millis(2500);

/// A member that is told to give tasks back tells which, and hangs there until the other end is
/// dropped: to its group it is as one that was killed.
fn hang_when_giving(member: &mut TestMember) -> (Receiver<TaskId>, Sender<()>) {
    let (tell, told) = channel();
    let (end, wait): (_, Receiver<()>) = channel();
    member.recorder.on_revoke = Some(Box::new(move |tasks, _| {
        for task in tasks {
            let _ = tell.send(*task);
        }
        let _ = wait.recv();
    }));
    (told, end)
}

fn poll_all(members: &mut [&mut TestMember]) {
    for member in members {
        member.poll();
    }
}

/// Who owns what, by member.
fn owned(members: &[&mut TestMember]) -> Vec<Vec<TaskId>> {
    let of = |member: &&mut TestMember| member.recorder.owned.keys().copied().collect();
    members.iter().map(of).collect()
}

/// Two members share the tasks. A third joins, for which the worker `goes` is to give one back.
fn goes_while_it_gives(partitions: i32, goes: usize) {
    let Some(broker) = broker() else { return };
    let log = kafka_log(broker.bootstrap());
    let tasks = usize::try_from(partitions).expect("a few");
    let group = stateful(&log, &[stream(&log, partitions)], partitions);
    let mut first = TestMember::owning(&log, &group, tasks);
    let mut second = TestMember::join(&log, &worker(&group, 1));
    wait_until("two members share the tasks", || {
        poll_all(&mut [&mut first, &mut second]);
        first.recorder.owned.len() == 2 && second.recorder.owned.len() == tasks - 2
    });
    first.recorder.revoked.clear();
    let (mut gone, mut stays) = match goes {
        0 => (first, second),
        _ => (second, first),
    };
    let before = owned(&[&mut gone, &mut stays]);
    let (told, end) = hang_when_giving(&mut gone);
    let mut third = TestMember::join(&log, &worker(&group, 2));
    let hangs = std::thread::spawn(move || {
        while gone.inner.poll(TICK, &mut gone.recorder).is_ok() {}
        drop(gone);
    });
    let mut given = None;
    wait_until("one is to give a task back", || {
        poll_all(&mut [&mut stays, &mut third]);
        given = told.try_recv().ok();
        given.is_some()
    });
    let mut again = TestMember::join(&log, &worker(&group, goes as u32));
    let mut members = [&mut again, &mut stays, &mut third];
    wait_until("every task is somebody's", || {
        poll_all(&mut members);
        owned(&members).concat().len() == tasks
    });
    // And that is all: nothing else moves, then or later.
    let began = Instant::now();
    while began.elapsed() < QUIET {
        poll_all(&mut members);
    }
    let mut kept = before[0].clone();
    kept.retain(|task| Some(*task) != given);
    let given = given.into_iter().collect();
    assert_eq!(owned(&members), [kept, before[1].clone(), given]);
    for member in members {
        assert_eq!(
            (&member.recorder.revoked[..], &member.recorder.lost[..]),
            (&[][..], &[][..])
        );
    }
    drop(end);
    hangs.join().expect("it ends");
}

#[test]
fn a_task_that_the_leader_was_giving_back_when_killed_is_assigned() {
    goes_while_it_gives(3, 0);
}

#[test]
fn a_task_that_another_member_was_giving_back_when_killed_is_assigned() {
    goes_while_it_gives(4, 1);
}
