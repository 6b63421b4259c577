//! Mistakes of users: exit code 2, one line on standard error that says what is wrong, where, and what to
//! do, and no other effect.

use std::fs;
use std::path::Path;

use crate::support::program::{Program, data_dir};

#[test]
fn mistakes_on_the_command_line_are_refused() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let rows: &[(&[&str], &str)] = &[
        (&["--nosuch"], "unexpected argument '--nosuch' found"),
        (&["nosuch"], "unrecognized subcommand 'nosuch'"),
        (&["emit"], "<TOPIC>"),
        (&["emit", "user-clicks", "key"], "<VALUE>"),
        (&["get", "my-group"], "<KEY>"),
        (
            &["scan", "my-group", "--limit", "x"],
            "invalid value 'x' for '--limit <N>'",
        ),
        (
            &["--no-simulate", "topology"],
            "`--no-simulate` is an option of `run`",
        ),
        (
            &["get", "my-group", "key"],
            "no embedded log in data directory",
        ),
    ];
    for (args, expected) in rows {
        let output = clicks.run(*args);
        assert_eq!(output.code, Some(2), "{args:?}: {output:?}");
        let line = output.error();
        assert!(
            line.starts_with("error: ") && line.contains(expected),
            "{args:?}: {line}"
        );
        assert_eq!(output.out, "", "{args:?}");
        assert!(!dir.exists(), "{args:?}");
    }
}

#[test]
fn unusable_data_directories_are_refused() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = temp.path().join("file");
    fs::write(&file, "mine").expect("written");
    let sealed = temp.path().join("sealed");
    fs::create_dir(&sealed).expect("made");
    let mut permissions = fs::metadata(&sealed).expect("there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&sealed, permissions).expect("set");
    // Even root cannot create a directory here.
    let nowhere = Path::new("/proc/self/fdinfo/goka");
    let mut rows = vec![
        (file.clone(), "is a file; name a directory"),
        (file.join("below"), "data directory"),
    ];
    if fs::write(sealed.join("probe"), "").is_err() {
        rows.push((sealed.clone(), "cannot be used"));
    }
    if Path::new("/proc/self").exists() {
        rows.push((nowhere.into(), "cannot be used"));
    }
    for (dir, expected) in rows {
        for args in [&["--no-simulate"][..], &["emit", "user-clicks", "a", "1"]] {
            let output = Program::new("clicks", &dir).run(args);
            assert_eq!(output.code, Some(2), "{dir:?} {args:?}: {output:?}");
            let line = output.error();
            assert!(
                line.starts_with("error: ")
                    && line.contains(expected)
                    && line.contains("--data-dir"),
                "{dir:?} {args:?}: {line}"
            );
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
}

#[test]
fn a_damaged_embedded_log_is_refused_and_left_as_it_is() {
    let (_temp, dir) = data_dir();
    fs::create_dir(&dir).expect("made");
    fs::write(dir.join("log.redb"), "this is no log").expect("written");
    let output = Program::new("clicks", &dir).run(["--no-simulate"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    let line = output.error();
    assert!(
        line.starts_with("error: embedded log `") && line.contains("log.redb"),
        "{line}"
    );
    assert_eq!(
        fs::read_to_string(dir.join("log.redb")).expect("there"),
        "this is no log"
    );
}

#[test]
fn a_value_that_does_not_decode_stops_its_partition() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    // `clicks` does not declare the topic and writes text; `flights` declares it and cannot decode the text.
    assert_eq!(
        clicks
            .run(["emit", "airport-events", "JFK", "not json"])
            .code,
        Some(0)
    );
    let output = Program::new("flights", &dir).run_with(
        "dep_time,dep_delay,arr_delay,origin,dest\n517,2,11,EWR,IAH\n",
        Vec::<&str>::new(),
    );
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(
        output.err.contains("airport-events") && output.err.contains("JFK"),
        "{output:?}"
    );
    assert!(
        output
            .err
            .lines()
            .any(|line| line.starts_with("error: group `airports`")),
        "{output:?}"
    );
}
