//! The process that is killed: starts it on a data directory, reads its output, ends it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use goka_runtime::fail_points::MUTANT;
use goka_runtime::record::Guarantee;

use crate::child::{FIRST, KILL_AT, KILLED};

/// How long to wait between two checks of the process.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Starts processes.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    pub(crate) brokers: String,
    pub(crate) data: PathBuf,
    pub(crate) guarantee: Guarantee,
    /// The mutant that it runs with.
    pub(crate) mutant: Option<String>,
}

impl Launcher {
    /// Starts a process that ends at the fail point `kill_at`, if given, and flushes a store when this many
    /// bytes wait for it.
    pub(crate) fn start(&self, kill_at: Option<String>, flush_bytes: usize) -> io::Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .arg("child")
            .args(["--brokers", &self.brokers])
            .args([Path::new("--data"), &self.data])
            .args(["--guarantee", &self.guarantee.to_string()])
            .args(["--flush-bytes", &flush_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env_remove(KILL_AT)
            .env_remove(MUTANT);
        if let Some(kill_at) = kill_at {
            command.env(KILL_AT, kill_at);
        }
        if let Some(mutant) = &self.mutant {
            command.env(MUTANT, mutant);
        }
        let began = Instant::now();
        let mut child = command.spawn()?;
        let output = Arc::new(Mutex::new(Output::default()));
        let (errors, into) = (child.stderr.take(), Arc::clone(&output));
        let listener = std::thread::spawn(move || {
            let Some(errors) = errors else { return };
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut output = into.lock().unwrap_or_else(PoisonError::into_inner);
                if line == FIRST {
                    output.first = Some(began.elapsed());
                } else if line.starts_with(KILLED) {
                    output.killed = Some(line);
                } else {
                    output.lines.push(line);
                }
            }
        });
        Ok(Process {
            child,
            output,
            listener: Some(listener),
        })
    }
}

/// What a process has written to standard error, by kind of line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Output {
    /// How long after its start it handled its first record.
    pub(crate) first: Option<Duration>,
    /// The line that it wrote before it killed itself at a fail point.
    pub(crate) killed: Option<String>,
    /// All other lines: its log.
    pub(crate) lines: Vec<String>,
}

impl Output {
    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(12);
        self.lines[from..].join("\n    ")
    }
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    output: Arc<Mutex<Output>>,
    listener: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn output(&self) -> Output {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it has handled a record.
    pub(crate) fn has_begun(&self) -> bool {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.first.is_some()
    }

    /// Waits until it ends or a condition is true; `None` when neither happened in time.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> io::Result<Option<WaitResult>> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.join_listener();
                return Ok(Some(WaitResult::Ended(status)));
            }
            if condition(self) {
                return Ok(Some(WaitResult::Condition));
            }
            if began.elapsed() >= timeout {
                return Ok(None);
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.join_listener();
        Ok(())
    }

    /// Asks it to stop cleanly, and waits for its end.
    pub(crate) fn stop(&mut self, timeout: Duration) -> io::Result<Option<WaitResult>> {
        if let Some(stdin) = &mut self.child.stdin {
            stdin.write_all(b"s")?;
        }
        self.wait(timeout, |_| false)
    }

    fn join_listener(&mut self) {
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a wait has ended.
#[derive(Debug)]
pub(crate) enum WaitResult {
    /// The process ended.
    Ended(ExitStatus),
    /// The condition is true.
    Condition,
}
