//! Both applications together on the embedded log, and their topology.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn social(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_social"));
    command
        .env_remove("GOKA_BROKERS")
        .env("GOKA_DATA_DIR", data)
        .stdin(Stdio::null());
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    social(data).args(arguments).output().expect("it starts")
}

fn emit(data: &Path, topic: &str, key: &str, value: &str) {
    let output = run(data, &["emit", topic, key, value]);
    assert!(output.status.success(), "{output:?}");
}

/// Runs until it is dropped.
struct Running(Child);

impl Running {
    fn start(data: &Path) -> Self {
        let mut command = social(data);
        Self(command.stderr(Stdio::null()).spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn wait_for(data: &Path, group: &str, key: &str, expected: &str) {
    let began = Instant::now();
    loop {
        let output = run(data, &["get", group, key]);
        let found = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned();
        if found == expected {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited for {expected} of {key} in {group}, found {found}: {output:?}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_status_is_shown_with_the_clicks_before_it() {
    let temp = tempfile::tempdir().expect("a directory");
    let data = temp.path().join("data");
    for _ in 0..3 {
        emit(&data, "user-clicks", "alice", "now");
    }
    let running = Running::start(&data);
    wait_for(&data, "click-count", "alice", "3");
    // The joined table is read with some delay, so that the status is emitted until it has the clicks.
    let began = Instant::now();
    let expected = r#"{"status":{"text":"busy"},"clicks":3}"#;
    loop {
        emit(&data, "status-changes", "alice", r#"{"text":"busy"}"#);
        let output = run(&data, &["get", "user-status", "alice"]);
        if String::from_utf8_lossy(&output.stdout).trim_end() == expected {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{output:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    emit(&data, "status-changes", "bob", r#"{"text":"new here"}"#);
    let bob = r#"{"status":{"text":"new here"},"clicks":0}"#;
    wait_for(&data, "user-status", "bob", bob);
    drop(running);

    // Clicks that were emitted while the program did not run are counted after its start.
    emit(&data, "user-clicks", "bob", "later");
    let _running = Running::start(&data);
    wait_for(&data, "click-count", "bob", "1");
    wait_for(&data, "user-status", "alice", expected);
}

#[test]
fn the_readme_has_the_current_topology() {
    let temp = tempfile::tempdir().expect("a directory");
    let output = run(temp.path(), &["topology", "--format", "mermaid"]);
    assert!(output.status.success(), "{output:?}");
    let picture = String::from_utf8(output.stdout).expect("text");
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).expect("it is there");
    assert!(readme.contains(&picture), "{picture}");
}
