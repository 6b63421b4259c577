//! A change of a value type in the shared crate breaks exactly the handlers that no longer fit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CRATES: [&str; 3] = ["topics", "click-count", "user-status"];

/// A file, and a text that identifies a line of it.
type Place = (&'static str, &'static str);

const CLICK_COUNT: &str = "click-count/src/lib.rs";
const USER_STATUS: &str = "user-status/src/lib.rs";

fn repository() -> PathBuf {
    let ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = ancestors.into_iter().nth(3).expect("examples/social/both");
    root.to_owned()
}

/// Copies the three crates into a workspace of their own.
fn copy(to: &Path) {
    let from = repository().join("examples/social");
    for name in CRATES {
        let _ = fs::remove_dir_all(to.join(name));
        fs::create_dir_all(to.join(name).join("src")).expect("a directory");
        for file in ["Cargo.toml", "src/lib.rs", "src/main.rs"] {
            let from = from.join(name).join(file);
            if from.exists() {
                fs::copy(from, to.join(name).join(file)).expect("copied");
            }
        }
    }
    let manifest = format!(
        "[workspace]\nmembers = {CRATES:?}\nresolver = \"3\"\n\n\
         [workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"1.95\"\n\
         license = \"MIT\"\n\n\
         [workspace.lints]\n\n\
         [workspace.dependencies]\n\
         goka = {{ path = {:?}, default-features = false }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         social-topics = {{ path = \"topics\" }}\n",
        repository()
    );
    fs::write(to.join("Cargo.toml"), manifest).expect("written");
    fs::copy(repository().join("Cargo.lock"), to.join("Cargo.lock")).expect("copied");
}

/// File and line of each error of the compiler.
fn errors(workspace: &Path) -> BTreeSet<(String, usize)> {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--workspace", "--no-default-features", "--offline"])
        .args(["--keep-going", "--quiet", "--message-format=json"])
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", workspace.with_file_name("programs"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("cargo writes text");
    let mut places = BTreeSet::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let message = &line["message"];
        if message["level"] != "error" {
            continue;
        }
        for span in message["spans"].as_array().expect("a list") {
            if span["is_primary"] == true {
                let file = span["file_name"].as_str().expect("a name").to_owned();
                let line = span["line_start"].as_u64().expect("a number");
                places.insert((file, usize::try_from(line).expect("it is small")));
            }
        }
    }
    if places.is_empty() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.is_empty(),
            "cargo failed for another reason: {output}"
        );
    }
    places
}

/// The line of a file that has a text.
fn line(workspace: &Path, file: &str, text: &str) -> (String, usize) {
    let source = fs::read_to_string(workspace.join(file)).expect("it was copied");
    let mut lines = source.lines();
    let at = lines.position(|line| line.contains(text)).expect(text);
    (file.to_owned(), at + 1)
}

#[test]
fn a_change_of_a_type_breaks_the_handlers_that_no_longer_fit() {
    let target = std::env::current_exe().expect("the test has a path");
    let target = target.ancestors().nth(3).expect("target/<profile>/deps");
    let workspace = target.join("social-shared-types");
    copy(&workspace);
    assert_eq!(errors(&workspace), BTreeSet::new(), "as it is, it compiles");

    let handler = [(CLICK_COUNT, "fn click_count(")];
    let status = [(USER_STATUS, "fn user_status(")];
    let counts = [
        (CLICK_COUNT, "clicks.unwrap_or(0) + 1"),
        (USER_STATUS, "let clicks: i64 = ctx.join(ClickCounts)"),
        (USER_STATUS, "Profile { status, clicks }"),
    ];
    let changes: [(&str, &str, &[Place]); 3] = [
        // A click becomes a number: only handlers of clicks break.
        ("value = String)]", "value = u64)]", &handler),
        // A status change becomes plain text.
        ("value = Json<Status>)]", "value = String)]", &status),
        // The count gets another type: its writer and its readers break.
        (
            "pub type Clicks = i64;",
            "pub type Clicks = String;",
            &counts,
        ),
    ];
    let topics = workspace.join("topics/src/lib.rs");
    let source = fs::read_to_string(&topics).expect("it was copied");
    for (from, to, broken) in changes {
        assert_eq!(source.matches(from).count(), 1, "{from}");
        fs::write(&topics, source.replace(from, to)).expect("written");
        let expected: BTreeSet<_> = broken
            .iter()
            .map(|(file, text)| line(&workspace, file, text))
            .collect();
        assert_eq!(errors(&workspace), expected, "{from} to {to}");
    }
}
