//! Runs the example binaries as a user does: arguments, standard streams, signals, exit codes.

use super::TIMEOUT;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The result of a command: its exit code and output.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Output {
    /// The only line on standard error that is not a log event.
    #[track_caller]
    pub fn error(&self) -> &str {
        let lines: Vec<_> = self
            .err
            .lines()
            .filter(|line| !is_event(line) && !line.starts_with("no brokers given"))
            .collect();
        assert_eq!(lines.len(), 1, "one line was expected: {self:?}");
        lines[0]
    }
}

/// Whether a line is a log event: these begin with their time.
fn is_event(line: &str) -> bool {
    line.starts_with("20") && line.contains('Z')
}

/// An example binary and the data directory to run it with.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    data_dir: PathBuf,
    brokers: Option<String>,
}

impl Program {
    #[track_caller]
    pub fn new(example: &str, data_dir: impl Into<PathBuf>) -> Self {
        let this = std::env::current_exe().expect("the test binary has a path");
        let target = this.ancestors().nth(2).expect("target/<profile>/deps/it");
        let path = target.join("examples").join(example);
        assert!(
            path.exists(),
            "{} is missing; `cargo build --examples` makes it",
            path.display()
        );
        Self {
            path,
            data_dir: data_dir.into(),
            brokers: None,
        }
    }

    /// Runs it on Kafka.
    pub fn on(mut self, brokers: impl Into<String>) -> Self {
        self.brokers = Some(brokers.into());
        self
    }

    /// The command, without settings from the environment of the tests.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env_remove("GOKA_BROKERS")
            .env_remove("RUST_LOG")
            .env("GOKA_DATA_DIR", &self.data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(brokers) = &self.brokers {
            command.env("GOKA_BROKERS", brokers);
        }
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        self.run_with("", args)
    }

    /// Runs a command to its end, with something on its standard input.
    #[track_caller]
    pub fn run_with<A: AsRef<OsStr>>(
        &self,
        input: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Output {
        let mut command = self.command();
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        let feeder = std::thread::spawn(move || {
            // A command may end before it has read it all.
            let _ = stdin.write_all(input.as_bytes());
        });
        let out = drained(child.stdout.take().expect("piped"));
        let err = drained(child.stderr.take().expect("piped"));
        let status = ended(&mut child, TIMEOUT);
        feeder.join().expect("the feeder does not panic");
        let text = |bytes: std::thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&bytes.join().expect("read")).into_owned()
        };
        Output {
            code: status.code(),
            out: text(out),
            err: text(err),
        }
    }

    /// Starts it and lets it run.
    #[track_caller]
    pub fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        let mut child = self.command().args(args).spawn().expect("it starts");
        Running {
            out: Followed::new(child.stdout.take().expect("piped")),
            err: Followed::new(child.stderr.take().expect("piped")),
            child,
        }
    }
}

fn drained(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

#[track_caller]
fn ended(child: &mut Child, within: Duration) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status;
        }
        if began.elapsed() > within {
            let _ = child.kill();
            panic!("still running after {within:?}");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// One of the output streams of a program, read while it runs.
#[derive(Debug)]
struct Followed {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Followed {
    fn new(from: impl Read + Send + 'static) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let into = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                into.lock().expect("no reader panics").push(line);
            }
        });
        Followed {
            lines,
            reader: Some(reader),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panics").clone()
    }

    /// Waits until everything is read that was written before the end.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
    }
}

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: Followed,
    err: Followed,
}

impl Running {
    pub fn out(&self) -> Vec<String> {
        self.out.lines()
    }

    pub fn err(&self) -> Vec<String> {
        self.err.lines()
    }

    /// Waits until a line on standard error has a text.
    #[track_caller]
    pub fn wait_err(&self, text: &str) {
        let began = Instant::now();
        while !self.err().iter().any(|line| line.contains(text)) {
            let lines = self.err();
            assert!(
                began.elapsed() < TIMEOUT,
                "waited for `{text}`; standard error: {lines:?}"
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Stops it with SIGTERM; returns its exit code and its standard error.
    #[track_caller]
    pub fn stop(&mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let (status, _) = self.end();
        (status.code(), self.err().join("\n"))
    }

    /// Waits until its output is as wanted.
    #[track_caller]
    pub fn wait_out(&self, what: &str, mut wanted: impl FnMut(&[String]) -> bool) {
        let began = Instant::now();
        while !wanted(&self.out()) {
            assert!(
                began.elapsed() < TIMEOUT,
                "waited for {what}; standard output: {:?}, standard error: {:?}",
                self.out(),
                self.err()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `INT`, `KILL`, `STOP`, `CONT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits for its end; returns its exit status and how long the wait took. All of its output can be read
    /// then.
    #[track_caller]
    pub fn end(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let status = ended(&mut self.child, TIMEOUT);
        let took = began.elapsed();
        self.out.finish();
        self.err.finish();
        (status, took)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The user and the count of a line `k: user c: count m: click`.
pub fn counted(line: &str) -> Option<(String, i64)> {
    let (key, rest) = line.strip_prefix("k: ")?.split_once(" c: ")?;
    let (count, _) = rest.split_once(" m: ")?;
    Some((key.to_owned(), count.parse().ok()?))
}

/// The lines `key<TAB>value` of a scan.
pub fn entries(out: &str) -> Vec<(String, String)> {
    out.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A data directory for one test.
#[track_caller]
pub fn data_dir() -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let path = temp.path().join("data");
    (temp, path)
}

/// The path of a file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
