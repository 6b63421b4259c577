//! One run of the process that is killed: starts it on a data directory, reads its output, ends it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use goka_runtime::fail_points::PLANT;
use goka_runtime::record::Guarantee;

use crate::child::{ARMED, FIRST, KILLED};

/// How long to wait between two looks at the process.
const PAUSE: Duration = Duration::from_millis(2);

/// Starts processes.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    pub(crate) brokers: String,
    pub(crate) data: PathBuf,
    pub(crate) guarantee: Guarantee,
    /// The mutation that it runs with.
    pub(crate) plant: Option<String>,
}

impl Launcher {
    /// Starts a process that ends at the fail point `armed`, if given, and flushes a store when this many
    /// bytes wait for it.
    pub(crate) fn start(&self, armed: Option<String>, flush_bytes: usize) -> io::Result<Life> {
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
            .env_remove(ARMED)
            .env_remove(PLANT);
        if let Some(armed) = armed {
            command.env(ARMED, armed);
        }
        if let Some(plant) = &self.plant {
            command.env(PLANT, plant);
        }
        let began = Instant::now();
        let mut child = command.spawn()?;
        let said = Arc::new(Mutex::new(Said::default()));
        let (errors, into) = (child.stderr.take(), Arc::clone(&said));
        let listener = std::thread::spawn(move || {
            let Some(errors) = errors else { return };
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut said = into.lock().unwrap_or_else(PoisonError::into_inner);
                if line == FIRST {
                    said.first = Some(began.elapsed());
                } else if line.starts_with(KILLED) {
                    said.killed = Some(line);
                } else {
                    said.lines.push(line);
                }
            }
        });
        Ok(Life {
            child,
            said,
            listener: Some(listener),
        })
    }
}

/// What a process has written to standard error.
#[derive(Debug, Default, Clone)]
pub(crate) struct Said {
    /// How long after its start it handled its first record.
    pub(crate) first: Option<Duration>,
    /// Its last line, when it ended at a fail point.
    pub(crate) killed: Option<String>,
    /// All other lines: its log.
    pub(crate) lines: Vec<String>,
}

impl Said {
    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(12);
        self.lines[from..].join("\n    ")
    }
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Life {
    child: Child,
    said: Arc<Mutex<Said>>,
    listener: Option<JoinHandle<()>>,
}

impl Life {
    pub(crate) fn said(&self) -> Said {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it has handled a record.
    pub(crate) fn has_begun(&self) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.first.is_some()
    }

    /// Waits until it ends or a condition is true; `None` when neither happened in time.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> io::Result<Option<Waited>> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.listen_to_the_end();
                return Ok(Some(Waited::Ended(status)));
            }
            if condition(self) {
                return Ok(Some(Waited::True));
            }
            if began.elapsed() >= timeout {
                return Ok(None);
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.listen_to_the_end();
        Ok(())
    }

    /// Asks it to stop cleanly, and waits for its end.
    pub(crate) fn stop(&mut self, timeout: Duration) -> io::Result<Option<Waited>> {
        if let Some(stdin) = &mut self.child.stdin {
            stdin.write_all(b"s")?;
        }
        self.wait(timeout, |_| false)
    }

    fn listen_to_the_end(&mut self) {
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a wait is over.
#[derive(Debug)]
pub(crate) enum Waited {
    /// The process ended.
    Ended(ExitStatus),
    /// The condition is true.
    True,
}
