//! Where the time of a run goes, by Linux's `perf`: of this process, by thread and by function.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use goka_bench_floor::Result;
use tempfile::TempDir;

/// Lines of a profile that are worth reading.
const LINES: usize = 30;

/// A recording under way.
pub(crate) struct Recording {
    perf: Child,
    dir: TempDir,
}

impl Recording {
    /// Starts to look at this process 499 times a second of processor time.
    ///
    /// # Errors
    /// When there is no `perf`.
    pub(crate) fn start() -> Result<Self> {
        let dir = TempDir::with_prefix("goka-bench-perf-")?;
        let pid = std::process::id().to_string();
        let perf = Command::new("perf")
            .args([
                "record", "--quiet", "--freq", "499", "--pid", &pid, "--output",
            ])
            .arg(data(&dir))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("perf: {error}"))?;
        Ok(Self { perf, dir })
    }

    /// Ends it; threads first, then functions, each with its share of the samples.
    pub(crate) fn end(mut self) -> Result<String> {
        let pid = self.perf.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status()?;
        self.perf.wait()?;
        let threads = report(&data(&self.dir), "comm")?;
        let functions = report(&data(&self.dir), "comm,symbol")?;
        Ok(format!("{threads}\n{functions}"))
    }
}

fn data(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("perf.data")
}

fn report(data: &Path, by: &str) -> Result<String> {
    let output = Command::new("perf")
        .args(["report", "--stdio", "--quiet", "--percent-limit", "0.5"])
        .args(["--sort", by, "--input"])
        .arg(data)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("perf: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(str::trim_end);
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(LINES).collect();
    Ok(lines.join("\n") + "\n")
}
