//! A short form of the tests that a broker decides, on an older Kafka: conformance, two processes one of
//! which is killed, restores, transactions. The same tests run again, in a process of their own.

use std::process::Command;

use crate::support::kafka::VERSION_VARIABLE;

/// The last minor version before 4.0, whose brokers also speak the protocols that 4.0 removed.
const OLDER: &str = "3.9.1";

const TESTS: [&str; 5] = [
    "kafka_broker::a_broker_keeps_its_topics_over_a_restart",
    "log_conformance::kafka",
    "clicks_on_kafka::two_processes_share_the_partitions_and_one_takes_over",
    "kafka_transactions::an_outage_during_an_open_transaction_commits_nothing_of_it",
    "restores_on_kafka::restores_after_changes_of_a_topic",
];

#[test]
fn what_a_broker_decides_is_the_same_on_kafka_3_9() {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe)
        .args(TESTS)
        .args(["--exact", "--nocapture"])
        .env(VERSION_VARIABLE, OLDER)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let all = format!("test result: ok. {} passed", TESTS.len());
    assert!(said.contains(&all), "{said}\n{errors}");
    // Without a Kafka it says why, as all of them do.
    for line in errors.lines().filter(|line| line.starts_with("skipped:")) {
        eprintln!("{line}");
    }
}
