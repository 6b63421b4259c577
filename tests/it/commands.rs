//! `emit`, `get`, `scan` and `topology` on the embedded log, with and without a running program.

use std::io::Read;
use std::process::Stdio;

use crate::support::program::{Program, counted, data_dir, entries};
use crate::support::{TIMEOUT, wait_until};

fn lines(users: usize, each: usize) -> String {
    (0..users * each)
        .map(|number| format!("user-{:03}\tclick {number}\n", number % users))
        .collect()
}

/// Runs the counter until it has counted so many records.
fn count(clicks: &Program, records: usize) {
    let mut running = clicks.start(["--no-simulate"]);
    running.wait_out("all records are counted", |out| {
        out.iter().filter(|line| counted(line).is_some()).count() >= records
    });
    running.signal("TERM");
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn commands_work_without_a_running_program() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir);
    let output = clicks.run_with(&lines(50, 4), ["emit", "user-clicks"]);
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), ""),
        "{output:?}"
    );
    count(&clicks, 200);

    let output = clicks.run(["get", "my-group", "user-007"]);
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), "4\n"),
        "{output:?}"
    );

    let output = clicks.run(["get", "my-group", "nobody"]);
    assert_eq!((output.code, output.out.as_str()), (Some(1), ""));
    assert_eq!(
        output.error(),
        "no key `nobody` in the table of group `my-group`"
    );

    let output = clicks.run(["scan", "my-group"]);
    let all = entries(&output.out);
    assert_eq!(all.len(), 50);
    assert!(all.is_sorted() && all.iter().all(|(_, count)| count == "4"));

    let output = clicks.run(["scan", "my-group", "--prefix", "user-01", "--limit", "3"]);
    let keys: Vec<_> = entries(&output.out)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, ["user-010", "user-011", "user-012"]);
}

#[test]
fn commands_reach_the_running_program() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let running = clicks.start(["--no-simulate"]);
    wait_until("the program has its socket", TIMEOUT, || {
        dir.join("run/socket").exists()
    });
    let output = clicks.run(["emit", "user-clicks", "alice", "now"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = clicks.run_with(&lines(300, 10), ["emit", "user-clicks"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    running.wait_out("all records are counted", |out| out.len() >= 3_001);
    wait_until("all counts are committed", TIMEOUT, || {
        let output = clicks.run(["scan", "my-group", "--prefix", "user-"]);
        let all = entries(&output.out);
        all.len() == 300 && all.iter().all(|(_, count)| count == "10")
    });
    let output = clicks.run(["get", "my-group", "alice"]);
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), "1\n"),
        "{output:?}"
    );
    assert_eq!(clicks.run(["get", "my-group", "nobody"]).code, Some(1));
}

#[test]
fn settings_of_the_environment_are_read_and_an_empty_one_is_unset() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir);
    for (variable, value, expected) in [
        ("GOKA_GUARANTEE", "at-most-once", "unknown guarantee"),
        ("GOKA_BARRIER", "100", "a time is like `100ms`"),
        ("GOKA_FLUSH_INTERVAL", "soon", "a time is like `100ms`"),
        ("GOKA_TABLE_MEMORY", "64", "a size is like `512KiB`"),
    ] {
        let run = |value| {
            clicks
                .command()
                .env(variable, value)
                .arg("topology")
                .output()
        };
        let output = run(value).expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(run("").expect("it starts").status.success());
    }
}

#[test]
fn a_data_directory_with_a_long_name_has_its_socket_elsewhere() {
    let (_temp, dir) = data_dir();
    let dir = dir.join("deep".repeat(40));
    let clicks = Program::new("clicks", &dir);
    let mut running = clicks.start(["--no-simulate"]);
    wait_until("the program has its socket", TIMEOUT, || {
        dir.join("run/elsewhere").exists()
    });
    let elsewhere =
        std::fs::read_to_string(dir.join("run/elsewhere")).expect("the path of the socket");
    assert_eq!(
        clicks.run(["emit", "user-clicks", "alice", "now"]).code,
        Some(0)
    );
    running.wait_out("a count", |out| {
        out.iter().any(|line| counted(line).is_some())
    });
    running.signal("TERM");
    assert_eq!(running.end().0.code(), Some(0));
    assert!(!std::path::Path::new(&elsewhere).exists());
}

#[test]
fn values_of_undeclared_topics_are_text() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir);
    // `flights` declares this topic, `clicks` does not.
    let output = clicks.run(["emit", "airports-state", "JFK", "line\\none"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let output = clicks.run(["get", "airports", "JFK"]);
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), "line\\none\n"),
        "{output:?}"
    );
}

/// On the embedded log, declared tables are made like streams, filled with `emit` and read by their names.
#[test]
fn tables_that_no_group_writes_are_filled_by_emit_and_read_by_their_names() {
    let (_temp, dir) = data_dir();
    let orders = Program::new("orders", dir);
    // Before the first run, and while it runs.
    let output = orders.run(["emit", "order-prices", "pen", "200"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let mut running = orders.start(["run"]);
    running.wait_err("restored");
    for (table, key, value) in [
        ("order-prices", "ink", "300"),
        ("order-discounts", "ann", "50"),
    ] {
        let output = orders.run(["emit", table, key, value]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let output = orders.run(["get", table, key]);
        assert_eq!(output.out.trim(), value, "{output:?}");
    }
    let output = orders.run(["scan", "order-prices"]);
    assert_eq!(output.out, "ink\t300\npen\t200\n");
    wait_until("an order has its price and its discount", TIMEOUT, || {
        assert_eq!(orders.run(["emit", "orders", "ink", "ann"]).code, Some(0));
        let output = orders.run(["get", "orders", "ink"]);
        let sum: i64 = output.out.trim().parse().unwrap_or_default();
        sum % 300 == 150
    });
    assert_eq!(running.stop().0, Some(0));
    // A table keeps the last value of each key only.
    assert_eq!(
        orders.run(["emit", "order-prices", "pen", "250"]).code,
        Some(0)
    );
    assert_eq!(orders.run(["get", "order-prices", "pen"]).out, "250\n");
}

#[test]
fn a_malformed_line_is_named_and_the_lines_before_it_are_sent() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir);
    let output = clicks.run_with("a\t1\nb\t2\nno tab here\nc\t3\n", ["emit", "user-clicks"]);
    assert_eq!(output.code, Some(2));
    assert!(
        output
            .error()
            .starts_with("error: line 3: no tab between key and value; the 2 before")
    );
    count(&clicks, 2);
    let output = clicks.run(["scan", "my-group"]);
    assert_eq!(output.out, "a\t1\nb\t1\n");

    let flights = Program::new("flights", data_dir().1);
    let output = flights.run_with("JFK\tnot json\n", ["emit", "airport-events"]);
    assert_eq!(output.code, Some(2));
    assert!(
        output
            .error()
            .starts_with("error: line 1: value `not json` of topic"),
        "{output:?}"
    );
}

#[test]
fn a_closed_output_pipe_is_no_error() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir);
    clicks.run_with(&lines(20_000, 1), ["emit", "my-group-state"]);
    let mut child = clicks
        .command()
        .args(["scan", "some-group"])
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    assert_eq!(
        child.wait().expect("it ends").code(),
        Some(2),
        "there is no such group"
    );
    clicks.run_with(&lines(20_000, 1), ["emit", "some-group-state"]);
    let mut child = clicks
        .command()
        .args(["scan", "some-group"])
        .spawn()
        .expect("it starts");
    let mut few = [0; 10];
    child
        .stdout
        .take()
        .expect("piped")
        .read_exact(&mut few)
        .expect("something is printed");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn topology_lists_edges_and_where_they_are_declared() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let output = clicks.run(["topology"]);
    assert_eq!(output.code, Some(0));
    for wanted in [
        "group my-group  processor MyGroup  examples/clicks.rs:",
        "input    user-clicks     key utf8  value utf8  by murmur2  examples/clicks.rs:",
        "table    my-group-state  key utf8  value integer  by murmur2  examples/clicks.rs:",
    ] {
        assert!(output.out.contains(wanted), "{wanted}: {}", output.out);
    }
    assert!(!dir.exists(), "it creates no data directory");
}
