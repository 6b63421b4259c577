//! One life of the process that is killed: started on a data directory, listened to, ended.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use goka_runtime::fail_points::PLANT;
use goka_runtime::record::Guarantee;

use crate::child::{ARMED, FIRST, KILLED};

const LOOK: Duration = Duration::from_millis(2);

/// How lives are started.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) program: PathBuf,
    pub(crate) brokers: String,
    pub(crate) data: PathBuf,
    pub(crate) guarantee: Guarantee,
    /// The mistake that it makes.
    pub(crate) plant: Option<String>,
}

impl Birth {
    /// Starts a process, to die at `armed` if anywhere; `flush_bytes` may wait for its stores.
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

/// What a process has told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Said {
    /// How long after its start it handled a record.
    pub(crate) first: Option<Duration>,
    /// Its last words, when it died at a place.
    pub(crate) killed: Option<String>,
    /// Everything else: its log.
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

    /// Waits until it ends or something is true of it; `None` when neither came in time.
    pub(crate) fn wait(
        &mut self,
        within: Duration,
        mut or: impl FnMut(&Self) -> bool,
    ) -> io::Result<Option<Waited>> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.listen_to_the_end();
                return Ok(Some(Waited::Ended(status)));
            }
            if or(self) {
                return Ok(Some(Waited::True));
            }
            if began.elapsed() >= within {
                return Ok(None);
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.listen_to_the_end();
        Ok(())
    }

    /// Asks it to stop in order, and waits for that.
    pub(crate) fn stop(&mut self, within: Duration) -> io::Result<Option<Waited>> {
        if let Some(stdin) = &mut self.child.stdin {
            stdin.write_all(b"s")?;
        }
        self.wait(within, |_| false)
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
    /// What was waited for is true.
    True,
}
