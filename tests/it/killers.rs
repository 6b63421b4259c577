//! Records whose handler ends the process: two deaths, and the third run stops at the record and says
//! so; what ends the process from outside does not count.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::support::kafka::another;
use crate::support::program::{Program, Running, TIMEOUT, data_dir, entries};
use crate::support::wait_until;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Keys enough to be in every partition.
const OTHERS: usize = 40;

fn emit(program: &Program, lines: &str) {
    let said = program.run_with(lines, ["emit", "killer-works"]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn value(program: &Program, key: &str) -> String {
    program
        .run(["get", "killer", key])
        .out
        .trim_end()
        .to_owned()
}

/// Starts it and sees it die of its own doing.
#[track_caller]
fn dies(program: &Program, args: &[&str]) -> Running {
    let mut running = program.start(args);
    let (status, _) = running.end();
    let said = running.err();
    assert_eq!(status.signal(), Some(SIGABRT), "{status:?} {said:?}");
    running
}

/// Starts it and sees it stop at the record of key `k`; gives the record as the option takes it.
#[track_caller]
fn stops(program: &Program) -> (Running, String) {
    let running = program.start::<&str>([]);
    running.wait_err("partition stopped");
    running.wait_err("the process died twice while its handler ran with this record");
    let said = running.err().join("\n");
    assert!(said.contains("key `k`"), "{said}");
    let (_, option) = said.split_once("--retry ").expect("it says how to go on");
    let record = option.split('`').next().unwrap_or_default().to_owned();
    let words: Vec<_> = record.split(':').collect();
    let place = format!("{}[{}] offset {}", words[0], words[1], words[2]);
    assert!(said.contains(&place), "`{place}` in: {said}");
    let began = running.out();
    let is_it = |line: &String| line.starts_with("began k ") && line.contains('/');
    assert!(!began.iter().any(is_it), "it is not called: {began:?}");
    (running, record)
}

/// Two deaths, a stop, neighbours that are served, and the way on. `forget` may take away what is on
/// the disk after the stop: what came with the offsets remains.
fn case(program: &Program, how: &str, forget: impl FnOnce() -> Program) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display().to_string();
    emit(program, &format!("k\tbefore\nk\t{how} {path}\nk\tbehind\n"));
    for _ in 0..2 {
        let running = dies(program, &[]);
        let said = running.err().join("\n");
        let overflowed = said.contains("has overflowed its stack");
        assert_eq!(overflowed, how == "overflow", "{said}");
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
    // Of four partitions one has stopped.
    wait_until("the neighbours are served", TIMEOUT, || {
        served(&running) > OTHERS / 2
    });
    assert!(served(&running) < OTHERS, "the stopped partition is not");
    let (code, said) = running.stop();
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(value(program, "k"), "before");

    let program = &forget();
    let (mut running, record) = stops(program);
    running.stop();
    // It may be tried again; as nothing was mended, it dies again.
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
    // The record is handled: nothing is left of the deaths.
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

/// Another machine, which has the partition next, knows it by the offsets.
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
