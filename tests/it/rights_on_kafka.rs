//! A broker with authentication and an authorizer: a missing permission is one error that names it, at the
//! start if possible, and loses no record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use goka_runtime::log::Log;
use goka_runtime::log::kafka::{Kafka, KafkaConfig};
use goka_runtime::processor::State;

use crate::restores::rig::{Rig, TIMEOUT, adds, machine, stop};
use crate::support::kafka::{Broker, Outside, another_with};
use crate::support::{events, kafka_log, wait_until};

const GROUP: &str = "rights";

/// A broker whose second listener asks for the password of user `goka`, who has no permissions yet. Clients
/// of the plain listener may do everything.
fn guarded() -> Option<Broker> {
    let users = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                 user_goka=\"secret\";";
    let properties = [
        (
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        ),
        ("super.users", "User:ANONYMOUS"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("listener.name.outside.plain.sasl.jaas.config", users),
    ];
    let outside = Outside {
        protocol: "SASL_PLAINTEXT",
        advertised: None,
    };
    another_with(&properties, &outside)
}

fn plain(broker: &Broker) -> Arc<dyn Log> {
    Arc::new(kafka_log(broker.bootstrap()))
}

fn as_user(broker: &Broker, password: &str) -> Arc<dyn Log> {
    let properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "goka"),
        ("sasl.password", password),
    ];
    let config = KafkaConfig {
        brokers: format!("127.0.0.1:{}", broker.outside()),
        properties: BTreeMap::from(properties.map(|(key, set)| (key.into(), set.into()))),
        deadline: Duration::from_secs(5),
    };
    Arc::new(Kafka::new(config).unwrap())
}

/// Gives (`--add`) or takes (`--remove`) a permission.
fn right(broker: &Broker, verb: &str, operation: &str, resource: &[&str]) {
    broker.acl(
        verb,
        ["--allow-principal", "User:goka"],
        operation,
        resource,
    );
}

const INPUT: &[&str] = &["--topic", "rights-in"];
const TABLE: &[&str] = &["--topic", "rights-state"];
const CONSUMERS: &[&str] = &["--group", GROUP];

/// Starts the group and waits until it ends by itself; returns its error.
#[track_caller]
fn refusal(rig: &Rig, machine: &std::path::Path) -> String {
    match rig.try_start(machine) {
        Err(error) => error.to_string(),
        Ok(running) => {
            wait_until("it ends by itself, or stops", TIMEOUT, || {
                let status = running.status();
                running.is_finished() || status.iter().any(|task| task.stopped.is_some())
            });
            running.stop();
            running.join().unwrap_err().to_string()
        }
    }
}

#[test]
fn a_missing_permission_is_named() {
    let Some(broker) = guarded() else { return };
    let direct = Rig::new(plain(&broker), GROUP);
    direct.make(&direct.table, true);
    direct.write(adds(&[("a", 1), ("b", 2)]));
    let disk = machine();

    let stranger = Rig::beside(&direct, as_user(&broker, "wrong"));
    let error = refusal(&stranger, disk.path());
    assert!(error.contains("uthentication"), "{error}");

    let rig = Rig::beside(&direct, as_user(&broker, "secret"));
    // Each permission in turn, and the words of the error while it is missing.
    let rights: &[(&str, &[&str], &[&str])] = &[
        ("Describe", INPUT, &["rights-in"]),
        ("Describe", TABLE, &["rights-state"]),
        (
            "DescribeConfigs",
            INPUT,
            &["settings", "authorization failed"],
        ),
        (
            "DescribeConfigs",
            TABLE,
            &["settings", "rights-state", "authorization failed"],
        ),
        (
            "Read",
            CONSUMERS,
            &["group `rights`", "Group authorization failed"],
        ),
        ("Read", INPUT, &["rights-in", "authorization failed"]),
        ("Write", TABLE, &["authorization failed"]),
    ];
    for (operation, resource, words) in rights {
        let error = refusal(&rig, disk.path());
        for word in *words {
            assert!(
                error.contains(word),
                "no {operation} on {resource:?}, `{word}`: {error}"
            );
        }
        assert!(direct.range(&direct.table).high == 0, "nothing is written");
        right(&broker, "--add", operation, resource);
    }
    rig.run(disk.path());
    direct.assert_rows(disk.path(), &[("a", 1), ("b", 2)]);
    // A restore needs to read the group topic: without the permission it logs so, and retries.
    let empty = machine();
    let running = rig.start(empty.path());
    wait_until("the missing permission is logged", TIMEOUT, || {
        let texts = ["restore failed, trying again", "topic `rights-state`"];
        events::logged(&texts) && events::logged(&["authorization failed"])
    });
    assert!(!running.is_finished());
    right(&broker, "--add", "Read", TABLE);
    rig.wait_level(&running);
    stop(running);
    direct.assert_rows(empty.path(), &[("a", 1), ("b", 2)]);
    let counted = direct.committed();

    // A permission that is taken away while it runs stops the partition, which resumes when it is given back.
    let running = rig.start(disk.path());
    wait_until("it runs", TIMEOUT, || {
        let status = running.status();
        status.iter().any(|task| task.state == State::Running)
    });
    right(&broker, "--remove", "Write", TABLE);
    direct.write(adds(&[("a", 10)]));
    wait_until("the partition stops", TIMEOUT, || {
        running.status().iter().any(|task| task.stopped.is_some())
    });
    running.stop();
    let error = running.join().unwrap_err().to_string();
    assert!(
        error.contains("rights-state") && error.contains("key `a`"),
        "{error}"
    );
    assert_eq!(
        direct.committed(),
        counted,
        "it stopped at the refused record"
    );
    right(&broker, "--add", "Write", TABLE);
    let running = rig.start(disk.path());
    rig.wait_level(&running);
    stop(running);
    direct.assert_rows(disk.path(), &[("a", 11), ("b", 2)]);
}
