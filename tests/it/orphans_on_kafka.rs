//! A static member is killed while it gives a task back, and joins again at once. Kafka assigns it the tasks
//! that it was to keep, without a rebalance. Without a further rebalance the task that it gave back has no
//! owner.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use goka_runtime::record::TaskId;

use crate::log_conformance::rig::*;
use crate::support::kafka::broker;
use crate::support::kafka_log;

/// Longer than a heartbeat, after which the other members would know of a rebalance.
const NO_REBALANCE: Duration = Duration::from_millis(2500);

/// Makes a member hang when its tasks are revoked, until the returned sender is dropped. To its group it
/// looks killed. The receiver gets the revoked tasks.
fn hang_when_revoked(member: &mut TestMember) -> (Receiver<TaskId>, Sender<()>) {
    let (revoked, receiver) = channel();
    let (end, wait): (_, Receiver<()>) = channel();
    member.recorder.on_revoke = Some(Box::new(move |tasks, _| {
        for task in tasks {
            let _ = revoked.send(*task);
        }
        let _ = wait.recv();
    }));
    (receiver, end)
}

fn poll_all(members: &mut [&mut TestMember]) {
    for member in members {
        member.poll();
    }
}

/// The tasks of each member.
fn owned(members: &[&mut TestMember]) -> Vec<Vec<TaskId>> {
    let of = |member: &&mut TestMember| member.recorder.owned.keys().copied().collect();
    members.iter().map(of).collect()
}

/// Two members share the tasks. A third joins, for which the worker `killed` has to give a task back.
fn kill_while_giving_back(partitions: i32, killed: usize) {
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
    let (mut gone, mut stays) = match killed {
        0 => (first, second),
        _ => (second, first),
    };
    let before = owned(&[&mut gone, &mut stays]);
    let (revoked, end) = hang_when_revoked(&mut gone);
    let mut third = TestMember::join(&log, &worker(&group, 2));
    let hangs = std::thread::spawn(move || {
        while gone.inner.poll(TICK, &mut gone.recorder).is_ok() {}
        drop(gone);
    });
    let mut given = None;
    wait_until("a task is revoked", || {
        poll_all(&mut [&mut stays, &mut third]);
        given = revoked.try_recv().ok();
        given.is_some()
    });
    let mut again = TestMember::join(&log, &worker(&group, killed as u32));
    let mut members = [&mut again, &mut stays, &mut third];
    wait_until("every task has an owner", || {
        poll_all(&mut members);
        owned(&members).concat().len() == tasks
    });
    // Nothing else moves, then or later.
    let began = Instant::now();
    while began.elapsed() < NO_REBALANCE {
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
    kill_while_giving_back(3, 0);
}

#[test]
fn a_task_that_another_member_was_giving_back_when_killed_is_assigned() {
    kill_while_giving_back(4, 1);
}
