//! The short form of the harness, and that it finds what is planted. The long form is a command: see
//! README.md.
#![allow(missing_docs)]

use std::process::Command;

/// What the harness said, with its exit code; `None` without Kafka.
#[track_caller]
fn harness(args: &[&str]) -> Option<(i32, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_goka-crash"))
        .args(args)
        .output()
        .expect("the harness starts");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    eprintln!("{said}");
    let code = output.status.code().expect("it ends by itself");
    let no_kafka = 3;
    (code != no_kafka).then_some((code, said))
}

/// Twenty kills that hit something, and nothing is wrong.
#[track_caller]
fn survives(guarantee: &str) {
    let Some((code, said)) = harness(&["--kills", "20", "--guarantee", guarantee]) else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing is wrong"), "{said}");
}

/// A mistake is planted, and found by its name.
#[track_caller]
fn is_found(mistake: &str, guarantee: &str, names: &[&str]) {
    // It ends with the first finding.
    let args = [
        "--kills",
        "20",
        "--plant",
        mistake,
        "--guarantee",
        guarantee,
    ];
    let Some((code, said)) = harness(&args) else {
        return;
    };
    assert_eq!(code, 1, "{said}");
    let is_named = |name: &&str| {
        said.lines()
            .any(|line| line.starts_with(&format!("{name}: ")))
    };
    assert!(names.iter().any(is_named), "{names:?} in {said}");
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
    // Which of the two depends on whether the kill left the record that the stamp claims.
    let names = [
        "store-is-no-prefix-of-changelog",
        "store-ahead-of-changelog",
    ];
    is_found("stamp-ahead", "at-least-once", &names);
}

#[test]
fn offsets_committed_before_their_records_are_handled_are_found() {
    is_found("commit-ahead", "exactly-once", &["input-lost"]);
}
