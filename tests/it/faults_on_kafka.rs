//! Brokers and networks that fail while a processor is under load: nothing is lost, and processing
//! resumes by itself. How long that took is printed. Outages are shorter than real ones unless
//! `GOKA_LONG=1`.

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use goka_runtime::log::Log;
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::processor::StartError;
use goka_runtime::record::Guarantee;

use self::rig::{PARTITIONS, Rig, TIMEOUT};
use crate::support::kafka::{Broker, another, three, three_with};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{events, is_long, wait_until};

/// The guarantees that every case runs with.
const GUARANTEES: &[Guarantee] = &[Guarantee::AtLeastOnce, Guarantee::ExactlyOnce];

fn topics(broker: &Broker, replicas: i32) {
    for topic in ["faults-in", "faults-out"] {
        broker.create_replicated(topic, PARTITIONS, replicas, &[]);
    }
}

/// Waits for the duration of a fault, which is a part of the test and not a wait for a condition.
fn lasts(time: Duration) {
    thread::sleep(time);
}

fn at(brokers: String) -> KafkaConfig {
    KafkaConfig {
        brokers,
        ..KafkaConfig::default()
    }
}

#[test]
fn processing_resumes_after_broker_restarts() {
    for &guarantee in GUARANTEES {
        let Some(broker) = another(&[]) else { return };
        topics(&broker, 1);
        let rig = Rig::start(guarantee, &broker.bootstrap(), at(broker.bootstrap()));
        for (what, orderly) in [("orderly restart", true), ("killed broker", false)] {
            broker.stop(orderly);
            broker.restart().unwrap();
            rig.recovers(what, Instant::now());
        }
        rig.check("restarts");
    }
}

/// Longer than the delivery timeout: records in flight fail, and the partitions are restored when the
/// broker is back.
#[test]
fn processing_resumes_after_a_long_outage() {
    let outage = Duration::from_secs(if is_long() { 60 } else { 8 });
    for &guarantee in GUARANTEES {
        let Some(broker) = another(&[]) else { return };
        topics(&broker, 1);
        let mut config = at(broker.bootstrap());
        if !is_long() {
            // With a shorter delivery timeout a short outage has the same effect.
            let timeout = ("message.timeout.ms".to_owned(), "4000".to_owned());
            config.properties.extend([timeout]);
        }
        let rig = Rig::start(guarantee, &broker.bootstrap(), config);
        broker.stop(false);
        lasts(outage);
        rig.assert_alive();
        broker.restart().unwrap();
        rig.recovers(&format!("outage of {outage:?}"), Instant::now());
        rig.check("outage");
    }
}

/// A broker with the topics, whose clients connect to it through a proxy.
fn behind(proxy: &Proxy) -> Option<Broker> {
    let broker = proxy.broker()?;
    topics(&broker, 1);
    Some(broker)
}

#[test]
fn processing_resumes_after_broken_connections() {
    for &guarantee in GUARANTEES {
        let proxy = Proxy::new();
        let Some(broker) = behind(&proxy) else { return };
        let rig = Rig::start(guarantee, &broker.bootstrap(), at(proxy.bootstrap()));
        // Several times, each under load.
        let made = proxy.made();
        for _ in 0..10 {
            proxy.break_all();
            lasts(Duration::from_millis(300));
        }
        assert!(proxy.made() >= made + 10, "the client connects again");
        rig.recovers("ten broken connections", Instant::now());
        // No connection can be made for longer than the session timeout.
        proxy.set(Mode::Drop);
        lasts(Duration::from_secs(if is_long() { 60 } else { 8 }));
        proxy.set(Mode::Pass);
        rig.recovers("no connection", Instant::now());
        rig.check("connections");
    }
}

#[test]
fn processing_resumes_after_requests_that_time_out() {
    for &guarantee in GUARANTEES {
        let proxy = Proxy::new();
        let Some(broker) = behind(&proxy) else { return };
        let mut config = at(proxy.bootstrap());
        // Requests time out after this long instead of a minute.
        let timeout = ("socket.timeout.ms".to_owned(), "3000".to_owned());
        config.properties.extend([timeout]);
        let rig = Rig::start(guarantee, &broker.bootstrap(), config);
        proxy.set(Mode::Swallow);
        lasts(Duration::from_secs(if is_long() { 60 } else { 9 }));
        rig.assert_alive();
        proxy.set(Mode::Pass);
        rig.recovers("requests swallowed", Instant::now());
        proxy.set(Mode::Delay(Duration::from_millis(200)));
        rig.recovers("every answer 400 ms late", Instant::now());
        proxy.set(Mode::Pass);
        rig.check("timeouts");
    }
}

/// The node that leads a partition of a topic, by position in the list of brokers.
fn leaders(brokers: &[Broker], topic: &str) -> BTreeMap<i32, usize> {
    let mut leaders = BTreeMap::new();
    wait_until("every partition has a leader", TIMEOUT, || {
        leaders.clear();
        let found = brokers.iter().find_map(|broker| {
            let admin = broker.admin();
            let wait = Duration::from_secs(2);
            admin.inner().fetch_metadata(Some(topic), wait).ok()
        });
        let Some(found) = found else { return false };
        let topics = found.topics().iter();
        let partitions: Vec<_> = topics.flat_map(|topic| topic.partitions()).collect();
        for partition in &partitions {
            if let Ok(node) = usize::try_from(partition.leader() - 1) {
                leaders.insert(partition.id(), node);
            }
        }
        !leaders.is_empty() && leaders.len() == partitions.len()
    });
    leaders
}

/// Whether every replica of a topic is in sync with its leader by the metadata of every broker. That of a
/// broker that has just started may be out of date.
fn is_in_sync(brokers: &[Broker], topic: &str) -> bool {
    brokers.iter().all(|broker| {
        let admin = broker.admin();
        let wait = Duration::from_secs(2);
        let found = admin.inner().fetch_metadata(Some(topic), wait);
        found.is_ok_and(|found| {
            let topics = found.topics().iter();
            let partitions: Vec<_> = topics.flat_map(|topic| topic.partitions()).collect();
            let level = |isr: &[i32]| isr.len() == brokers.len();
            !partitions.is_empty() && partitions.iter().all(|partition| level(partition.isr()))
        })
    })
}

/// Kills each of three brokers in turn, with what it leads: partitions of the topics, the group
/// coordinator, the transaction coordinator.
#[test]
fn processing_resumes_when_leaders_and_coordinators_move() {
    for &guarantee in GUARANTEES {
        let Some(brokers) = three() else { return };
        topics(&brokers[0], 3);
        let all: Vec<_> = brokers.iter().map(Broker::bootstrap).collect();
        let rig = Rig::start(guarantee, &all.join(","), at(all.join(",")));
        // As Java hashes the group's name; `offsets.topic.num.partitions` is 4.
        let hash = "faults".bytes().fold(0i32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(i32::from(byte))
        });
        let coordinator = || leaders(&brokers, "__consumer_offsets")[&(hash.wrapping_abs() % 4)];
        let of_table = leaders(&brokers, "faults-state")[&0];
        let mut victims = vec![("leader of the group topic", of_table)];
        let second = (0..3).find(|node| *node != of_table && *node == coordinator());
        victims.push(match second {
            Some(node) => ("coordinator of the group", node),
            None => ("leader of an input", (of_table + 1) % 3),
        });
        // With all three killed in turn, each coordinator has moved, wherever it was.
        if is_long() {
            let last = (0..3).find(|node| victims.iter().all(|(_, other)| other != node));
            victims.extend(last.map(|node| ("the third", node)));
        }
        for (what, node) in victims {
            let coordinates = coordinator() == node;
            brokers[node].stop(false);
            let what = format!("{what}, group coordinator: {coordinates}, killed");
            rig.recovers(&what, Instant::now());
            brokers[node].restart().unwrap();
            let topics = [
                "faults-in",
                "faults-out",
                "faults-state",
                "__consumer_offsets",
            ];
            wait_until("every replica is level", TIMEOUT, || {
                topics.iter().all(|topic| is_in_sync(&brokers, topic))
            });
        }
        rig.check("leaders");
    }
}

/// Two replicas that both have to be in sync: while one broker is down, writes to the output are rejected.
/// One warning says why, and processing resumes by itself.
#[test]
fn processing_resumes_when_replicas_are_in_sync_again() {
    for &guarantee in GUARANTEES {
        // With this the broker counts as dead when the first records time out, not three seconds later.
        let sooner: &[_] = match is_long() {
            true => &[],
            false => &[("broker.session.timeout.ms", "6000")],
        };
        let Some(brokers) = three_with(sooner) else {
            return;
        };
        brokers[0].create_replicated("faults-in", PARTITIONS, 3, &[]);
        let two = [("min.insync.replicas", "2")];
        brokers[0].create_replicated("faults-out", PARTITIONS, 2, &two);
        let all: Vec<_> = brokers.iter().map(Broker::bootstrap).collect();
        let mut config = at(all.join(","));
        if !is_long() {
            // A shorter timeout, so that it has to restart during the fault.
            for (name, millis) in [
                ("message.timeout.ms", "6000"),
                ("request.timeout.ms", "3000"),
            ] {
                config.properties.insert(name.to_owned(), millis.to_owned());
            }
            config.deadline = Duration::from_secs(5);
        }
        let rig = Rig::start(guarantee, &all.join(","), config);
        let (short, over) = (["topic `faults-out` has"], ["writes accepted again"]);
        let before = (events::count(&short), events::count(&over));
        let away = leaders(&brokers, "faults-out")[&0];
        brokers[away].stop(false);
        let since = Instant::now();
        wait_until("a warning is logged", TIMEOUT, || {
            events::count(&short) > before.0
        });
        eprintln!(
            "out of sync ({guarantee}): logged after {:?}",
            since.elapsed()
        );
        let line = events::line(&short).unwrap();
        let what = "has 1 replica in sync and asks for 2 (min.insync.replicas)";
        assert!(line.contains(what), "{line}");
        lasts(Duration::from_secs(if is_long() { 30 } else { 2 }));
        rig.assert_alive();
        brokers[away].restart().unwrap();
        rig.recovers("replicas out of sync", Instant::now());
        wait_until("the end is logged", TIMEOUT, || {
            events::count(&over) > before.1
        });
        assert_eq!(
            events::count(&short),
            before.0 + 1,
            "one warning for one outage"
        );
        rig.check("out of sync");
    }
}

/// A topic that can never have as many in-sync replicas as it requires is refused before anything is written.
#[test]
fn an_output_with_fewer_replicas_than_have_to_be_in_sync_is_refused() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("faults-in", PARTITIONS, &[]);
    broker.create_topic("faults-out", PARTITIONS, &[("min.insync.replicas", "2")]);
    for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let log: Arc<dyn Log> = Arc::new(Kafka::new(at(broker.bootstrap())).unwrap());
        let machine = tempfile::tempdir().unwrap();
        let refused = rig::run(guarantee, &log, machine.path()).unwrap_err();
        let StartError::TooFewReplicas { topic, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(topic, "faults-out");
    }
}
