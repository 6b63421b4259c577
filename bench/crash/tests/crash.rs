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

#[test]
fn at_least_once_survives_twenty_kills() {
    let args = ["--kills", "20", "--guarantee", "at-least-once"];
    let Some((code, said)) = harness(&args) else {
        return;
    };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing is wrong"), "{said}");
}

#[test]
fn a_store_ahead_of_the_changelog_is_found() {
    let Some((code, said)) = harness(&["--kills", "5", "--plant", "store-ahead"]) else {
        return;
    };
    assert_eq!(code, 1, "{said}");
    // Which of the two depends on whether the kill left the record that the stamp claims.
    let named = [
        "store-ahead-of-changelog: ",
        "store-is-no-prefix-of-changelog: ",
    ];
    assert!(named.iter().any(|name| said.contains(name)), "{said}");
}

#[test]
fn offsets_committed_before_their_records_are_handled_are_found() {
    let Some((code, said)) = harness(&["--kills", "5", "--plant", "commit-ahead"]) else {
        return;
    };
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("input-lost: "), "{said}");
}
