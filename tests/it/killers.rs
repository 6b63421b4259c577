//! Records whose handler ends the process: after two such ends the third run stops the partition at the
//! record. Ends of the process from outside do not count.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::support::TIMEOUT;
use crate::support::kafka::another;
use crate::support::program::{Program, Running, data_dir, entries};
use crate::support::wait_until;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// So many keys that every partition has some.
const OTHERS: usize = 40;

fn emit(program: &Program, lines: &str) {
    let output = program.run_with(lines, ["emit", "killer-works"]);
    assert_eq!(output.code, Some(0), "{output:?}");
}

fn value(program: &Program, key: &str) -> String {
    program
        .run(["get", "killer", key])
        .out
        .trim_end()
        .to_owned()
}

/// Starts the program, which is ended by its handler.
#[track_caller]
fn dies(program: &Program, args: &[&str]) -> Running {
    let mut running = program.start(args);
    let (status, _) = running.end();
    let output = running.err();
    assert_eq!(status.signal(), Some(SIGABRT), "{status:?} {output:?}");
    running
}

/// Starts the program, which stops at the record of key `k`; returns the record as `--retry` takes it.
#[track_caller]
fn stops(program: &Program) -> (Running, String) {
    let running = program.start::<&str>([]);
    running.wait_err("partition stopped");
    running.wait_err("the process died twice while its handler ran with this record");
    let output = running.err().join("\n");
    assert!(output.contains("key `k`"), "{output}");
    let (_, option) = output
        .split_once("--retry ")
        .expect("the error names the option");
    let record = option.split('`').next().unwrap_or_default().to_owned();
    let words: Vec<_> = record.split(':').collect();
    let place = format!("{}[{}] offset {}", words[0], words[1], words[2]);
    assert!(output.contains(&place), "`{place}` in: {output}");
    let began = running.out();
    let is_it = |line: &String| line.starts_with("began k ") && line.contains('/');
    assert!(
        !began.iter().any(is_it),
        "the handler is not called: {began:?}"
    );
    (running, record)
}

/// The handler ends the process twice, the third run stops the partition and serves the others, and
/// `--retry` handles the record again. `forget` may delete the notes on the disk after the stop: those in
/// the committed offsets remain.
fn case(program: &Program, how: &str, forget: impl FnOnce() -> Program) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    emit(program, &format!("k\tbefore\nk\t{how} {path}\nk\tbehind\n"));
    for _ in 0..2 {
        let running = dies(program, &[]);
        let output = running.err().join("\n");
        let overflowed = output.contains("has overflowed its stack");
        assert_eq!(overflowed, how == "overflow", "{output}");
    }
    let (mut running, _) = stops(program);
    let others: String = (0..OTHERS).map(|at| format!("n{at}\tserved\n")).collect();
    emit(program, &others);
    let served = |running: &Running| {
        let out = running.out();
        out.iter()
            .filter(|line| line.starts_with("began n"))
            .count()
    };
    // One of four partitions has stopped.
    wait_until("the other partitions are served", TIMEOUT, || {
        served(&running) > OTHERS / 2
    });
    assert!(served(&running) < OTHERS, "the stopped partition is not");
    let (code, output) = running.stop();
    assert_eq!(code, Some(2), "{output}");
    assert_eq!(value(program, "k"), "before");

    let program = &forget();
    let (mut running, record) = stops(program);
    running.stop();
    // The record can be retried. The handler was not corrected, so it ends the process again.
    dies(program, &["--retry", &record]);
    file.close().expect("it is there");
    let mut running = program.start(["--retry", &record]);
    running.wait_out("all is handled", |out| {
        out.iter().any(|line| line == "began k behind")
    });
    assert_eq!(running.stop().0, Some(0));
    assert_eq!(value(program, "k"), "behind");
    let all = entries(&program.run(["scan", "killer"]).out);
    assert_eq!(all.len(), OTHERS + 1, "{all:?}");
    // Once the record is handled, the next runs do not stop.
    let mut running = program.start::<&str>([]);
    emit(program, "k\tlast\n");
    running.wait_out("the next record", |out| {
        out.contains(&"began k last".to_owned())
    });
    assert_eq!(running.stop().0, Some(0));
}

fn without_notes(program: &Program, dir: &Path) -> Program {
    std::fs::remove_file(dir.join("deaths")).expect("it was noted");
    program.clone()
}

#[test]
fn a_record_that_aborts_the_process_twice_stops_its_partition() {
    let (_temp, dir) = data_dir();
    let program = Program::new("killer", &dir);
    case(&program, "abort", || without_notes(&program, &dir));
}

#[test]
fn a_record_that_overflows_the_stack_twice_stops_its_partition() {
    let (_temp, dir) = data_dir();
    let program = Program::new("killer", &dir);
    case(&program, "overflow", || without_notes(&program, &dir));
}

/// The machine that gets the partition next knows of the record by the committed offset.
#[test]
fn on_kafka_the_partition_stops_on_another_machine_too() {
    let Some(broker) = another(&[]) else { return };
    broker.create_topic("killer-works", 4, &[]);
    let ((_one, one), (_two, two)) = (data_dir(), data_dir());
    let program = Program::new("killer", one).on(broker.bootstrap());
    let other = Program::new("killer", two).on(broker.bootstrap());
    case(&program, "abort", || other);
}

#[test]
fn processes_killed_from_outside_do_not_count() {
    let (_temp, dir) = data_dir();
    let program = Program::new("killer", &dir);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    emit(&program, &format!("k\twait {path}\n"));
    let waits = |running: &Running| {
        running.wait_out("its handler runs", |out| {
            out.iter().any(|line| line.starts_with("began k wait"))
        });
    };
    for at in 0..12 {
        let mut running = program.start::<&str>([]);
        waits(&running);
        let (name, number) = match at {
            3 | 7 => ("ABRT", SIGABRT),
            _ => ("KILL", SIGKILL),
        };
        running.signal(name);
        assert_eq!(running.end().0.signal(), Some(number));
    }
    let mut running = program.start::<&str>([]);
    waits(&running);
    file.close().expect("it is there");
    assert_eq!(running.stop().0, Some(0), "{:?}", running.err());
    assert_eq!(value(&program, "k"), format!("wait {path}"));
}
