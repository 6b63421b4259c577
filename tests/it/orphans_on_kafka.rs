//! A static member goes while it gives a task back, and comes again at once. Kafka hands it what it was
//! to keep, without a rebalance, and the task that it gave back is nobody's; unless it sees to that.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::record::TaskId;

use crate::log_conformance::rig::*;
use crate::support::kafka::broker;

/// Longer than the others take to hear of a rebalance: a heartbeat.
const QUIET: Duration = Duration::from_millis(2500);

/// A member that is told to give tasks back tells which, and hangs there until the other end is
/// dropped: to its group it is as one that was killed.
fn hang_when_giving(seat: &mut Seat) -> (Receiver<TaskId>, Sender<()>) {
    let (tell, told) = channel();
    let (end, wait): (_, Receiver<()>) = channel();
    seat.tape.on_revoke = Some(Box::new(move |tasks, _| {
        for task in tasks {
            let _ = tell.send(*task);
        }
        let _ = wait.recv();
    }));
    (told, end)
}

fn poll_all(seats: &mut [&mut Seat]) {
    for seat in seats {
        seat.poll();
    }
}

/// Who owns what, by seat.
fn owned(seats: &[&mut Seat]) -> Vec<Vec<TaskId>> {
    let of = |seat: &&mut Seat| seat.tape.owned.keys().copied().collect();
    seats.iter().map(of).collect()
}

/// Two members share the tasks. A third joins, for which the worker `goes` is to give one back.
fn goes_while_it_gives(partitions: i32, goes: usize) {
    let Some(broker) = broker() else { return };
    let log = Kafka::new(KafkaConfig {
        brokers: broker.bootstrap(),
        ..KafkaConfig::default()
    })
    .expect("a client");
    let tasks = usize::try_from(partitions).expect("a few");
    let group = stateful(&log, &[stream(&log, partitions)], partitions);
    let mut first = Seat::owning(&log, &group, tasks);
    let mut second = Seat::join(&log, &worker(&group, 1));
    wait_until("two members share the tasks", || {
        poll_all(&mut [&mut first, &mut second]);
        first.tape.owned.len() == 2 && second.tape.owned.len() == tasks - 2
    });
    first.tape.revoked.clear();
    let (mut gone, mut stays) = match goes {
        0 => (first, second),
        _ => (second, first),
    };
    let before = owned(&[&mut gone, &mut stays]);
    let (told, end) = hang_when_giving(&mut gone);
    let mut third = Seat::join(&log, &worker(&group, 2));
    let hangs = std::thread::spawn(move || {
        while gone.member.poll(TICK, &mut gone.tape).is_ok() {}
        drop(gone);
    });
    let mut given = None;
    wait_until("one is to give a task back", || {
        poll_all(&mut [&mut stays, &mut third]);
        given = told.try_recv().ok();
        given.is_some()
    });
    let mut again = Seat::join(&log, &worker(&group, goes as u32));
    let mut seats = [&mut again, &mut stays, &mut third];
    wait_until("every task is somebody's", || {
        poll_all(&mut seats);
        owned(&seats).concat().len() == tasks
    });
    // And that is all: nothing else moves, then or later.
    let began = Instant::now();
    while began.elapsed() < QUIET {
        poll_all(&mut seats);
    }
    let mut kept = before[0].clone();
    kept.retain(|task| Some(*task) != given);
    let given = given.into_iter().collect();
    assert_eq!(owned(&seats), [kept, before[1].clone(), given]);
    for seat in seats {
        assert_eq!(
            (&seat.tape.revoked[..], &seat.tape.lost[..]),
            (&[][..], &[][..])
        );
    }
    drop(end);
    hangs.join().expect("it ends");
}

#[test]
fn what_the_leader_gave_back_when_it_went_is_given_to_somebody() {
    goes_while_it_gives(3, 0);
}

#[test]
fn what_another_member_gave_back_when_it_went_is_given_to_somebody() {
    goes_while_it_gives(4, 1);
}
