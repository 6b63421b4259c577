//! Where the time of a run goes, by Linux's `perf`: of the machine by thread, since the broker shares
//! it, and of this process by thread and function.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use goka_bench_floor::Result;
use tempfile::TempDir;

use crate::support::wait_until;

/// Lines of a profile that are worth reading.
const LINES: usize = 30;

/// A recording under way.
pub(crate) struct Recording {
    perf: Child,
    dir: TempDir,
}

impl Recording {
    /// Starts to look at each processor 499 times a second. (At the whole machine: what watches a
    /// process misses the threads that it makes later.)
    ///
    /// # Errors
    /// When there is no `perf`, or no right to look at the machine.
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
            Some(status) => Err(format!("perf record: {status}; it takes root").into()),
        }
    }

    /// Ends it; the machine first, then this process, each with its share of the samples.
    pub(crate) fn end(mut self) -> Result<String> {
        let pid = self.perf.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.perf.wait()?;
        let own = std::process::id().to_string();
        let machine = report(&data(&self.dir), &["--sort", "comm"])?;
        let of_us = ["--pid", &own, "--percentage", "relative", "--sort"];
        let by = |what| report(&data(&self.dir), &[&of_us[..], &[what]].concat());
        let (threads, functions) = (by("comm")?, by("comm,symbol")?);
        Ok(format!(
            "the machine\n{machine}\nof it this process\n{threads}\n{functions}"
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
    // Columns for addresses of which nothing is known.
    let lines = text.lines().map(|line| line.trim_end_matches([' ', '-']));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(LINES).collect();
    Ok(lines.join("\n") + "\n")
}
