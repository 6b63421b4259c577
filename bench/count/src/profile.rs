//! Profiles a run with Linux's `perf`: the whole machine by thread, since the broker runs on it, too, and
//! this process by thread and function.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goka_bench_floor::Result;
use tempfile::TempDir;

use goka_test_support::wait_until;

/// The most lines of a profile that are printed.
const LINES: usize = 30;

/// A recording under way.
pub(crate) struct Recording {
    perf: Child,
    dir: TempDir,
}

impl Recording {
    /// Starts to sample each CPU 499 times a second, for the whole machine: sampling one process misses
    /// the threads that it starts later.
    ///
    /// # Errors
    /// When there is no `perf`, or no permission to sample the whole machine.
    pub(crate) fn start() -> Result<Self> {
        let dir = TempDir::with_prefix("goka-bench-perf-")?;
        let mut perf = Command::new("perf")
            .args(["record", "--quiet", "--freq", "499", "--all-cpus"])
            .arg("--output")
            .arg(data(&dir))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("perf: {error}"))?;
        let mut ended = None;
        wait_until("perf records", Duration::from_secs(10), || {
            ended = perf.try_wait().ok().flatten();
            ended.is_some() || data(&dir).exists()
        });
        match ended {
            None => Ok(Self { perf, dir }),
            Some(status) => Err(format!("perf record: {status}; it needs root").into()),
        }
    }

    /// Ends the recording; returns the profile of the machine, then that of this process.
    pub(crate) fn end(mut self) -> Result<String> {
        let pid = self.perf.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.perf.wait()?;
        let own = std::process::id().to_string();
        let machine = report(&data(&self.dir), &["--sort", "comm"])?;
        let of_process = ["--pid", &own, "--percentage", "relative", "--sort"];
        let by = |what| report(&data(&self.dir), &[&of_process[..], &[what]].concat());
        let (threads, functions) = (by("comm")?, by("comm,symbol")?);
        Ok(format!(
            "the machine\n{machine}\nthis process\n{threads}\n{functions}"
        ))
    }
}

fn data(dir: &TempDir) -> PathBuf {
    dir.path().join("perf.data")
}

fn report(data: &Path, by: &[&str]) -> Result<String> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--quiet", "--percent-limit", "0.5"])
        .args(by)
        .arg("--input")
        .arg(data)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("perf: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // Removes the columns for addresses without a symbol.
    let lines = text.lines().map(|line| line.trim_end_matches([' ', '-']));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(LINES).collect();
    Ok(lines.join("\n") + "\n")
}
