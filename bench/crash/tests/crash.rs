//! Short runs of the harness, which also has to find mutants. Longer runs are made by command: see
//! README.md.
#![allow(missing_docs)]

use std::process::Command;

/// Runs the harness; returns its exit code and output, or `None` without Kafka.
#[track_caller]
fn harness(args: &[&str]) -> Option<(i32, String)> {
    let ran = Command::new(env!("CARGO_BIN_EXE_goka-crash"))
        .args(args)
        .output()
        .expect("the harness starts");
    let output = format!(
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    eprintln!("{output}");
    let code = ran.status.code().expect("it ends by itself");
    let no_kafka = 3;
    (code != no_kafka).then_some((code, output))
}

/// Checks that a run of twenty kills has no finding.
#[track_caller]
fn survives(guarantee: &str) {
    let Some((code, output)) = harness(&["--kills", "20", "--guarantee", guarantee]) else {
        return;
    };
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("nothing is wrong"), "{output}");
}

/// Checks that a mutant is found, with one of these findings.
#[track_caller]
fn is_found(mutant: &str, guarantee: &str, names: &[&str]) {
    // The run ends with the first finding.
    let args = [
        "--kills",
        "20",
        "--mutant",
        mutant,
        "--guarantee",
        guarantee,
    ];
    let Some((code, output)) = harness(&args) else {
        return;
    };
    assert_eq!(code, 1, "{output}");
    let is_named = |name: &&str| {
        output
            .lines()
            .any(|line| line.starts_with(&format!("{name}: ")))
    };
    assert!(names.iter().any(is_named), "{names:?} in {output}");
}

#[test]
fn at_least_once_survives_twenty_kills() {
    survives("at-least-once");
}

#[test]
fn exactly_once_survives_twenty_kills() {
    survives("exactly-once");
}

#[test]
fn a_store_ahead_of_the_changelog_is_found() {
    is_found(
        "store-ahead",
        "at-least-once",
        &["store-ahead-of-changelog"],
    );
}

#[test]
fn a_checkpoint_ahead_of_its_rows_is_found() {
    // Which of the two depends on whether the record that the checkpoint claims is in the topic.
    let names = [
        "store-not-a-prefix-of-changelog",
        "store-ahead-of-changelog",
    ];
    is_found("checkpoint-ahead", "at-least-once", &names);
}

#[test]
fn offsets_committed_before_their_records_are_handled_are_found() {
    is_found("commit-ahead", "exactly-once", &["input-lost"]);
}
