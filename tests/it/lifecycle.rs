//! Starting, stopping and killing a program on the embedded log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::TIMEOUT;
use crate::support::program::{Program, Running, counted, data_dir};
use crate::support::wait_until;

/// The last count of each user that was printed.
fn last_counts(running: &Running) -> BTreeMap<String, i64> {
    running
        .out()
        .iter()
        .filter_map(|line| counted(line))
        .collect()
}

#[test]
fn a_killed_program_resumes_from_the_stored_counts() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", dir);
    let mut running = clicks.start::<&str>([]);
    running.wait_out("three clicks of all users", |out| {
        out.iter()
            .filter_map(|line| counted(line))
            .filter(|(_, count)| *count == 3)
            .count()
            == 10
    });
    running.signal("KILL");
    running.end();
    let before = last_counts(&running);

    let mut again = clicks.start::<&str>([]);
    again.wait_out("a click of all users", |out| {
        let users: std::collections::BTreeSet<_> = out
            .iter()
            .filter_map(|line| counted(line))
            .map(|(user, _)| user)
            .collect();
        users.len() == 10
    });
    let mut seen = BTreeMap::new();
    for (user, count) in again.out().iter().filter_map(|line| counted(line)) {
        seen.entry(user).or_insert(count);
    }
    for (user, first) in seen {
        let last = before[&user];
        // Uncommitted records are counted again, committed ones are not lost.
        assert!(
            (2..=last + 1).contains(&first),
            "{user}: {last} before, {first} after"
        );
    }
    again.signal("TERM");
    assert_eq!(again.end().0.code(), Some(0));
}

#[test]
fn a_stop_signal_under_load_loses_and_doubles_nothing() {
    for signal in ["TERM", "INT"] {
        let (_temp, dir) = data_dir();
        let clicks = Program::new("clicks", &dir);
        let input: String = (0..20_000)
            .map(|number| format!("k{}\tv\n", number % 100))
            .collect();
        assert_eq!(
            clicks.run_with(&input, ["emit", "user-clicks"]).code,
            Some(0)
        );
        let mut running = clicks.start(["--no-simulate"]);
        running.wait_out("some counts", |out| out.len() > 100);
        running.signal(signal);
        let (status, took) = running.end();
        assert_eq!(status.code(), Some(0), "{signal}: {:?}", running.err());
        assert!(took < Duration::from_secs(10), "{signal}: {took:?}");
        let drained = running.out().len();

        let mut rest = clicks.start(["--no-simulate"]);
        rest.wait_out("the rest", |out| drained + out.len() >= 20_000);
        rest.signal("TERM");
        assert_eq!(rest.end().0.code(), Some(0));
        let scan = clicks.run(["scan", "my-group"]).out;
        assert_eq!(scan.lines().count(), 100);
        assert!(scan.lines().all(|line| line.ends_with("\t200")), "{scan}");
    }
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let (_temp, dir) = data_dir();
    // No broker answers there, and the program waits 10 s for one.
    let clicks = Program::new("clicks", &dir).on("localhost:1");
    let mut running = clicks.start(["--no-simulate"]);
    wait_until("it has started", TIMEOUT, || dir.join("lock").exists());
    running.signal("TERM");
    std::thread::park_timeout(Duration::from_millis(100));
    running.signal("TERM");
    let (status, took) = running.end();
    assert_eq!(status.code(), Some(2), "{:?}", running.err());
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// On the embedded log a barrier is one transaction, so even a kill counts nothing twice.
#[test]
fn kills_under_load_lose_nothing_and_count_nothing_twice() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let input: String = (0..50_000)
        .map(|number| format!("k{}\tv\n", number % 100))
        .collect();
    assert_eq!(
        clicks.run_with(&input, ["emit", "user-clicks"]).code,
        Some(0)
    );
    for kill in 1..=4 {
        let mut running = clicks.start(["--no-simulate"]);
        running.wait_out("some counts", |out| out.len() >= 3_000 * kill);
        running.signal("KILL");
        running.end();
    }
    let mut running = clicks.start(["--no-simulate"]);
    let table = || clicks.run(["scan", "my-group"]).out;
    wait_until("all records are counted", TIMEOUT, || {
        let table = table();
        table.lines().count() == 100 && table.lines().all(|line| line.ends_with("\t500"))
    });
    running.signal("TERM");
    assert_eq!(running.end().0.code(), Some(0));
    assert!(table().lines().all(|line| line.ends_with("\t500")));
}

#[test]
fn a_second_process_is_refused_and_the_first_continues() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let mut running = clicks.start(["--no-simulate"]);
    // Before that a command would open the files itself.
    wait_until("the program has its socket", TIMEOUT, || {
        dir.join("run/socket").exists()
    });
    let output = clicks.run(["run"]);
    assert_eq!(output.code, Some(2));
    let line = output.error();
    assert!(
        line.contains("is in use by process") && line.contains("--data-dir"),
        "{line}"
    );
    assert_eq!(clicks.run(["emit", "user-clicks", "b", "1"]).code, Some(0));
    running.wait_out("the count of b", |out| {
        out.iter().any(|line| line.starts_with("k: b c: 1 "))
    });
    running.signal("TERM");
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn files_left_by_a_killed_program_do_not_block_the_next() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let mut running = clicks.start(["--no-simulate"]);
    wait_until("the program has its socket", TIMEOUT, || {
        dir.join("run/socket").exists()
    });
    running.signal("KILL");
    running.end();
    assert!(
        dir.join("run/socket").exists(),
        "the killed one cannot have removed it"
    );
    // A command finds no process at the socket, and opens the files itself.
    assert_eq!(
        clicks.run(["emit", "user-clicks", "alice", "now"]).code,
        Some(0)
    );
    let running = clicks.start(["--no-simulate"]);
    running.wait_out("alice's count", |out| {
        out.iter().any(|line| line.starts_with("k: alice c: 1 "))
    });
    assert_eq!(
        clicks.run(["emit", "user-clicks", "alice", "now"]).code,
        Some(0)
    );
    running.wait_out("alice's count", |out| {
        out.iter().any(|line| line.starts_with("k: alice c: 2 "))
    });
}

#[test]
fn a_damaged_store_is_moved_aside_and_rebuilt() {
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir);
    let input: String = (0..100).map(|number| format!("k{number}\tv\n")).collect();
    clicks.run_with(&input, ["emit", "user-clicks"]);
    for (run, expected) in [(1, 100), (2, 200)] {
        let mut running = clicks.start(["--no-simulate"]);
        running.wait_out("all records are counted", |out| out.len() >= 100);
        running.signal("TERM");
        assert_eq!(running.end().0.code(), Some(0));
        let scan = clicks.run(["scan", "my-group"]).out;
        let sum: i64 = scan
            .lines()
            .filter_map(|line| line.rsplit('\t').next()?.parse::<i64>().ok())
            .sum();
        assert_eq!(sum, expected, "run {run}");
        if run == 2 {
            let output = running.err().join("\n");
            assert!(output.contains("aside"), "{output}");
            break;
        }
        for partition in 0..4 {
            let store = dir.join(format!("tables/my-group-state/{partition}.redb"));
            std::fs::write(store, "this is no store").expect("written");
        }
        clicks.run_with(&input, ["emit", "user-clicks"]);
    }
}
