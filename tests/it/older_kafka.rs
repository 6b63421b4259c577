//! Runs some tests again on an older Kafka, in a process of its own: conformance, two processes that share
//! the partitions, restores, transactions.

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
fn tests_that_depend_on_the_broker_pass_on_kafka_3_9() {
    let exe = std::env::current_exe().unwrap();
    let output = Command::new(exe)
        .args(TESTS)
        .args(["--exact", "--nocapture"])
        .env(VERSION_VARIABLE, OLDER)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let all = format!("test result: ok. {} passed", TESTS.len());
    assert!(stdout.contains(&all), "{stdout}\n{stderr}");
    // Without a Kafka the tests were skipped: print why.
    for line in stderr.lines().filter(|line| line.starts_with("skipped:")) {
        eprintln!("{line}");
    }
}
