//! How a member goes: what its producer has in hand is ended, then it leaves its group, or keeps its
//! place there for whoever comes back under the same name.
//!
//! - A client that closes keeps a static member's place; to give the place up, the member
//!   unsubscribes first, answers the revocation, and is out when the client has no member id any more.
//! - A DescribeCluster request is sent first. If it is not answered in time (600 ms), the member stops
//!   waiting for the broker.
//! - A producer that is fenced may be the first sign of a process that uses the same data directory. It
//!   also takes the place in the group, and the next heartbeat says so: that is waited for, since a
//!   member that came back would put the other process out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::super::{Failure, LogError, cancel};
use super::super::config::heartbeat;
use super::super::native::{Ask, Client, Event, EventKind, Fault, List};
use super::{GLANCE, KafkaMember, PROBE, Trouble};
use crate::record::Guarantee;

/// How long a broker may take to answer anything at all before it is not waited for.
const ANSWER: Duration = Duration::from_millis(600);

/// Whether a broker answers.
struct Waiting {
    since: Instant,
    by: Instant,
    has_answered: bool,
}

impl Waiting {
    fn left(&self) -> Duration {
        let by = match self.has_answered {
            true => self.by,
            false => self.by.min(self.since + ANSWER),
        };
        by.saturating_duration_since(Instant::now())
    }
}

impl KafkaMember {
    /// Ends the producer and leaves the group, where its place is given up or kept.
    pub(super) fn go(&mut self, by: Instant, gives_up: bool) -> Result<(), LogError> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let began = Instant::now();
        let pending = match self.group.guarantee {
            Guarantee::AtLeastOnce => self
                .producer
                .close(by)
                .map_err(|records| format!("delivering the last {records} records")),
            // The group is to be left too, even when the transaction's coordinator is away.
            Guarantee::ExactlyOnce => self
                .producer
                .end(began + by.saturating_duration_since(began) / 2)
                .map_err(|failure| format!("ending the last transaction: {failure}")),
        };
        self.client().describe_cluster(&Ask {
            queue: self.events.queue(),
            wait: ANSWER,
            opaque: PROBE,
        });
        let mut waiting = Waiting {
            since: Instant::now(),
            by,
            has_answered: false,
        };
        // A revocation that is not answered would keep the client from leaving.
        while let Some((event, _)) = self.events.next() {
            self.answer_leaving(&event, &mut waiting);
        }
        self.await_fence(&mut waiting);
        if let Some(fault) = self.client().fatal() {
            let error = self.fatal(fault);
            if matches!(error, LogError::InstanceFenced { .. }) {
                return Err(error);
            }
        } else {
            if gives_up {
                self.give_place_up(&mut waiting);
            }
            if self.client().close(self.events.queue()).is_ok() {
                self.serve_until(&mut waiting, |member| member.client().closed());
            }
        }
        let is_gone = self.client().fatal().is_some() || self.client().closed();
        let what = match (pending, is_gone) {
            (Ok(()), true) => return Ok(()),
            (Err(pending), _) => pending,
            (Ok(()), false) => format!("leaving group `{}`", self.group.name),
        };
        Err(LogError::Timeout {
            what,
            after: began.elapsed(),
        })
    }

    /// Leaves the group before the client closes; a member without an instance leaves as it closes.
    fn give_place_up(&mut self, waiting: &mut Waiting) {
        let is_in = |member: &Self| !member.client().member_id().is_empty();
        let is_away = self.trouble == Some(Trouble::Brokers);
        if self.group.instance.is_empty() || is_away || !is_in(self) {
            return;
        }
        if self.client().unsubscribe().is_ok() {
            // A rebalance under way is ended first.
            self.serve_until(waiting, |member| !is_in(member));
        }
    }

    /// After the producer was fenced, waits until the group had time to say that the member is, too.
    fn await_fence(&mut self, waiting: &mut Waiting) {
        let is_fenced = matches!(self.producer.ended(), Some(Failure::ProducerFenced(_)));
        if !is_fenced || self.group.instance.is_empty() {
            return;
        }
        let until = Instant::now() + heartbeat(&self.group) * 3 / 2;
        self.serve_until(waiting, |member| {
            member.client().fatal().is_some() || Instant::now() >= until
        });
    }

    /// Answers what comes until something is so, or no broker is to be waited for.
    fn serve_until(&mut self, waiting: &mut Waiting, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let left = waiting.left();
            match self.events.queue().poll(left.min(GLANCE)) {
                Some(event) => self.answer_leaving(&event, waiting),
                None if left.is_zero() => return,
                None => {}
            }
        }
    }

    /// Answers a rebalance with nothing kept.
    fn answer_leaving(&mut self, event: &Event, waiting: &mut Waiting) {
        let is_late = || waiting.left().is_zero();
        match event.kind() {
            EventKind::Assign => answer(self.client(), is_late, |client| {
                client.incremental_assign(&List::new())
            }),
            EventKind::Revoke => {
                let list = Mutex::new(self.all_added());
                self.tasks.clear();
                answer(self.client(), is_late, move |client| {
                    let list = list.lock().unwrap_or_else(PoisonError::into_inner);
                    client.incremental_unassign(&list)
                });
            }
            EventKind::Answer if event.opaque() == PROBE => {
                waiting.has_answered |= event.fault().is_none();
            }
            _ => {}
        }
    }
}

/// Answers a rebalance of a client that leaves. A refusal leaves nothing to be done: the client closes, or
/// the deadline ends it.
///
/// Once its group is terminated, librdkafka 2.12.1 drops such a call and never answers it
/// (`rd_kafka_cgrp_op_serve`), while `rd_kafka_assign0` waits without a limit. So the call is made on a
/// thread of its own, which is left alone, with the client, once that is closed.
fn answer(
    client: &Client,
    is_late: impl Fn() -> bool,
    call: impl Fn(&Client) -> Result<(), Fault> + Send + Sync + 'static,
) {
    let theirs = client.clone();
    let is_in_vain = || client.closed() || is_late();
    drop(cancel::unless(is_in_vain, move || call(&theirs)));
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use rdkafka::mocking::MockCluster;

    use super::super::super::KafkaConfig;
    use super::super::super::native::Kind;
    use super::*;

    /// Enough for some of them to meet that moment.
    const ROUNDS: usize = 200;

    /// A call that comes to the client just when it closes is answered never.
    #[test]
    fn a_client_that_closes_meanwhile_is_not_waited_for() {
        let cluster = MockCluster::new(1).expect("a cluster");
        let config = KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            ..KafkaConfig::default()
        };
        let (end, ended) = channel();
        thread::spawn(move || {
            for _ in 0..ROUNDS {
                let client = Client::new(Kind::Consumer, &config.asking_of("group"));
                let client = client.expect("a client");
                let queue = client.consumer_queue();
                client.close(&queue).expect("begun");
                while !client.closed() {
                    answer(
                        &client,
                        || false,
                        |client| client.incremental_unassign(&List::new()),
                    );
                }
            }
            end.send(()).expect("waited for");
        });
        let all = ended.recv_timeout(Duration::from_secs(120));
        all.expect("every call returns");
    }
}
