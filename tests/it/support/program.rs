//! Spawns the example programs as a user would, and reads what they say.

use std::io::{BufRead, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::wait_until;

/// The built example `name`; `cargo test` builds all of them.
pub fn example(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a test has an executable");
    let target = exe
        .ancestors()
        .nth(2)
        .expect("it lies in target/<profile>/deps");
    target.join("examples").join(name)
}

/// What a finished command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The lines of stderr that tell of an error.
    pub fn errors(&self) -> Vec<&str> {
        self.stderr
            .lines()
            .filter(|line| line.starts_with("error:"))
            .collect()
    }
}

/// Runs a command of an example to its end.
pub fn run(name: &str, args: &[&str], stdin: &str) -> Finished {
    let mut child = command(name, args)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the example is built");
    let mut pipe = child.stdin.take().expect("it is piped");
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that refuses its first line does not read the others.
        let _ = std::io::Write::write_all(&mut pipe, text.as_bytes());
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends with it");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(example(name));
    command
        .args(args)
        .env_remove("GOKA_BROKERS")
        .env_remove("GOKA_DATA_DIR")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running example, killed when dropped.
pub struct Program {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Program {
    /// Starts an example.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut child = command(name, args)
            .stdin(Stdio::null())
            .spawn()
            .expect("the example is built");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("it is piped"), &stdout),
            collect(child.stderr.take().expect("it is piped"), &stderr),
        ];
        Self {
            child,
            readers,
            stdout,
            stderr,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout
            .lock()
            .expect("the reader does not panic")
            .clone()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr
            .lock()
            .expect("the reader does not panic")
            .clone()
    }

    /// Waits until stdout or stderr has a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str, within: Duration) {
        let began = Instant::now();
        while !self.stdout().contains(text) && !self.stderr().contains(text) {
            assert!(
                began.elapsed() < within,
                "waited {within:?} for `{text}`; stderr: {}",
                self.stderr()
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Sends a signal: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.pid().to_string()])
            .status()
            .expect("kill is there");
        assert!(status.success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self, within: Duration) -> Finished {
        let mut status: Option<ExitStatus> = None;
        wait_until("the program ends", within, || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        for reader in self.readers.drain(..) {
            reader.join().expect("the reader does not panic");
        }
        let code = status.and_then(|status| status.code());
        Finished {
            code,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// SIGTERM, then its end.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.signal("TERM");
        self.wait(Duration::from_secs(15))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(pipe: impl std::io::Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines
            .by_ref()
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line);
            into.lock().expect("no reader panics").push_str(&text);
            line.clear();
        }
    })
}
