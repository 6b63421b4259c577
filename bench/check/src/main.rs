//! Times `cargo check` of two crates with the same processors, one with the macros, one written by hand
//! against the runtime. Dependencies are checked before.
//!
//! ```text
//! cargo run -p goka-bench-check -- [PROCESSORS] [ROUNDS]
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

mod source;

/// The number of processors, each with five edges.
const PROCESSORS: usize = 50;

/// Odd, so that the median is one of the measurements.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|n| n.parse()).collect();
    let (processors, rounds) = match numbers.as_deref() {
        Ok([]) => (PROCESSORS, ROUNDS),
        Ok([processors]) => (*processors, ROUNDS),
        Ok([processors, rounds]) if *rounds > 0 => (*processors, *rounds),
        _ => {
            eprintln!("usage: goka-bench-check [PROCESSORS] [ROUNDS]");
            return ExitCode::FAILURE;
        }
    };
    match run(processors, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(processors: usize, rounds: usize) -> Result<(), String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or("bench/check is in the repository")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository.join("target"), PathBuf::from)
        .join("bench-check");
    let kinds = [
        ("nothing", source::topics()),
        ("macros", source::by_macros(processors)),
        ("by-hand", source::by_hand(processors)),
    ];
    let crates = kinds
        .iter()
        .map(|(name, source)| write(repository, &target, name, source))
        .collect::<Result<Vec<_>, _>>()?;
    for directory in &crates {
        check(directory, &target)?;
    }
    // In turn, so that a busy moment of the machine affects both.
    let mut times = vec![Vec::new(); crates.len()];
    for _ in 0..rounds {
        for (directory, times) in crates.iter().zip(&mut times) {
            times.push(check(directory, &target)?);
        }
    }
    let medians: Vec<_> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), (times, median)) in kinds.iter().zip(times.iter().zip(&medians)) {
        let (least, most) = (times[0], times[times.len() - 1]);
        println!("{name:<8} {median:>8.1?} (of {rounds}: {least:.1?} to {most:.1?})");
    }
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let [nothing, macros, by_hand] = medians[..] else {
        return Err("three crates were checked".to_owned());
    };
    println!(
        "{processors} processors: macros / by hand = {:.2}; {:.1} ms a processor, {:.1} ms by hand",
        milliseconds(macros) / milliseconds(by_hand),
        milliseconds(macros.saturating_sub(nothing)) / processors as f64,
        milliseconds(by_hand.saturating_sub(nothing)) / processors as f64,
    );
    Ok(())
}

/// Sorts the times and returns the median.
fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn write(repository: &Path, target: &Path, name: &str, source: &str) -> Result<PathBuf, String> {
    let directory = target.join(name);
    let manifest = format!(
        "[package]\nname = \"bench-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\ngoka = {{ path = {repository:?}, default-features = false }}\n\n[workspace]\n"
    );
    let file = |path: &str, text: &[u8]| {
        let path = directory.join(path);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(directory.join("src")).map_err(|error| error.to_string())?;
    file("Cargo.toml", manifest.as_bytes())?;
    file("src/lib.rs", source.as_bytes())?;
    let lock = repository.join("Cargo.lock");
    file(
        "Cargo.lock",
        &fs::read(lock).map_err(|error| error.to_string())?,
    )?;
    Ok(directory)
}

/// Runs `cargo check` on a crate whose source is newly written; returns the time.
fn check(directory: &Path, target: &Path) -> Result<Duration, String> {
    let source = directory.join("src/lib.rs");
    let text = fs::read(&source).map_err(|error| error.to_string())?;
    fs::write(&source, text).map_err(|error| error.to_string())?;
    let began = Instant::now();
    let ended = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", target.join("target"))
        .env("CARGO_INCREMENTAL", "0")
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cargo check: {error}"))?;
    if !ended.success() {
        return Err(format!("{} does not compile", source.display()));
    }
    Ok(began.elapsed())
}
