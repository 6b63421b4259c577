//! Checks rules of ARCHITECTURE.md on the source code.

use std::path::{Path, PathBuf};

use crate::support::program::repository;

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Whether a source names a path from its root: `redb::` is not in `table::redb::`.
fn names(source: &str, text: &str) -> bool {
    source
        .match_indices(text)
        .any(|(at, _)| !source[..at].ends_with(':'))
}

/// The files of the runtime, below a folder, that contain a text.
fn holding(text: &str, below: &str) -> Vec<String> {
    let root = repository("goka-runtime/src");
    let mut files = Vec::new();
    sources(&root.join(below), &mut files);
    assert!(!files.is_empty(), "{below} has sources");
    let mut found: Vec<_> = files
        .iter()
        .filter(|path| names(&std::fs::read_to_string(path).unwrap(), text))
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

#[test]
fn rdkafka_redb_and_unsafe_code_are_used_only_in_their_modules() {
    let outside = |text: &str, allowed: &[&str]| {
        let found = holding(text, "");
        assert!(!found.is_empty(), "`{text}` is used at all");
        let stray: Vec<_> = found
            .into_iter()
            .filter(|path| !allowed.iter().any(|prefix| path.starts_with(prefix)))
            .collect();
        assert_eq!(stray, Vec::<String>::new(), "`{text}` outside {allowed:?}");
    };
    outside("rdkafka::", &["log/kafka/"]);
    outside(
        "redb::",
        &[
            "checked_file",
            "log/embedded/file",
            "table/redb",
            "table.rs",
            // The disk in memory is a backend of redb.
            "simulation/disk.rs",
        ],
    );
    outside("allow(unsafe_code)", &["crash.rs", "log/kafka.rs"]);
    // librdkafka 2.12.1 frees the error text of a delivery report before it can be read.
    let freed = holding("sys::rd_kafka_message_produce_errstr", "");
    assert_eq!(freed, Vec::<String>::new());
    outside("unsafe {", &["crash/signals.rs", "log/kafka/native/"]);
}

#[test]
fn the_core_has_no_clock_thread_async_or_io() {
    for text in [
        "Instant",
        "SystemTime",
        "std::thread",
        "async fn",
        "async move",
        "async {",
        "std::fs",
        "std::net",
        "Mutex",
        "dyn Log",
    ] {
        let found: Vec<_> = holding(text, "core")
            .into_iter()
            .filter(|path| !path.starts_with("core/tests/"))
            .collect();
        assert_eq!(found, Vec::<String>::new(), "`{text}` in the core");
    }
}

#[test]
fn macros_do_not_depend_on_the_runtime() {
    let manifest = std::fs::read_to_string(repository("goka-macros/Cargo.toml")).unwrap();
    assert!(!manifest.contains("goka-runtime"));
}
