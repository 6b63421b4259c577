//! Answers the commands of other processes while this one holds the embedded log: one thread listens, and
//! each connection has a thread.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::CommandError;
use super::fold::Entries;
use super::open_log::OpenLog;
use super::protocol::{Bytes, FRAME_FILL, Reply, Wire};
use super::socket::Socket;
use crate::service::data_dir::DataDir;

/// How many commands are served at once; the next ones get an error that says to try again.
const MAX_SERVED: usize = 16;
/// How many get that error at once. Each connection takes a thread, so further ones are closed at once.
const MAX_REFUSED: usize = 16;

/// Bytes for the entries of one scan in the memory of this process.
const SCAN_MEMORY: usize = 16 << 20;

/// How often the listener checks whether it has to stop.
const TICK: Duration = Duration::from_millis(25);

/// The server. It stops listening when dropped; commands that are being served go on.
#[derive(Debug)]
pub(crate) struct Server {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(dir: &DataDir, log: OpenLog) -> std::io::Result<Self> {
        let log = log.with_scan_memory(SCAN_MEMORY);
        let socket = Socket::listen(dir)?;
        socket.listener.set_nonblocking(true)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let is_stopping = stopping.clone();
        let thread = std::thread::Builder::new()
            .name("goka commands".into())
            .spawn(move || listen(&socket, &log, &is_stopping))?;
        Ok(Self {
            stopping,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the command server panicked");
        }
    }
}

fn listen(socket: &Socket, log: &OpenLog, stopping: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    while !stopping.load(Ordering::Acquire) {
        let Ok((stream, _)) = socket.listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        let guard = ConnectionGuard::new(&open);
        if guard.before >= MAX_SERVED + MAX_REFUSED {
            continue;
        }
        let log = log.clone();
        let spawned = std::thread::Builder::new()
            .name("goka command".into())
            .spawn(move || {
                if let Err(error) = serve(stream, &log, &guard) {
                    tracing::debug!(%error, "command connection failed");
                }
            });
        if let Err(error) = spawned {
            tracing::warn!(%error, "thread for a command not started");
        }
    }
}

/// Counts a connection as open until it is dropped.
struct ConnectionGuard {
    count: Arc<AtomicUsize>,
    /// How many were open when it came.
    before: usize,
}

impl ConnectionGuard {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        let before = count.fetch_add(1, Ordering::AcqRel);
        let count = count.clone();
        Self { count, before }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(stream: UnixStream, log: &OpenLog, guard: &ConnectionGuard) -> std::io::Result<()> {
    let mut wire = Wire::new(stream)?;
    let request = match wire.receive_request()? {
        Ok(request) => request,
        Err(refused) => return wire.send(&Reply::Error(refused)),
    };
    if guard.before >= MAX_SERVED {
        let busy = format!("{MAX_SERVED} commands are being served already; try again");
        return wire.send(&Reply::Error(busy));
    }
    match log.answer(request, &mut |entries| {
        Ok(send_entries(entries, &mut wire)?)
    }) {
        Ok(reply) => wire.send(&reply),
        Err(ServeError::Wire(error)) => Err(error),
        Err(ServeError::Refused(error)) => wire.send(&Reply::Error(error.to_string())),
    }
}

enum ServeError {
    Wire(std::io::Error),
    Refused(CommandError),
}

impl From<std::io::Error> for ServeError {
    fn from(error: std::io::Error) -> Self {
        ServeError::Wire(error)
    }
}

impl From<CommandError> for ServeError {
    fn from(error: CommandError) -> Self {
        ServeError::Refused(error)
    }
}

/// Sends entries in frames. It waits for a slow reader, and the table is read no further meanwhile.
fn send_entries(entries: Entries, wire: &mut Wire) -> std::io::Result<()> {
    let mut frame = Vec::new();
    let mut filled = 0;
    for (key, value) in entries {
        filled += key.len() + value.len();
        frame.push((Bytes(key), Bytes(value)));
        if filled >= FRAME_FILL {
            wire.send(&Reply::Entries(std::mem::take(&mut frame)))?;
            filled = 0;
        }
    }
    wire.send(&Reply::Entries(frame))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::protocol::{FRAME_TIMEOUT, Request};
    use super::super::socket;
    use super::super::test_log::{Rows, TABLE, with_table};
    use super::*;

    #[test]
    fn a_scan_of_partitions_that_do_not_exist_is_refused() {
        let log = OpenLog::new(with_table(3));
        let scan = |(topic, partitions): (&str, i32)| {
            let request = Request::Scan {
                topic: topic.to_owned(),
                partitions,
                prefix: Bytes(Vec::new()),
                limit: None,
            };
            log.answer::<CommandError>(request, &mut |_| Ok(()))
        };
        assert!(scan((TABLE, 3)).is_ok());
        for topic in [(TABLE, 60_000_000), (TABLE, -1), ("u", 3)] {
            assert!(scan(topic).is_err(), "{topic:?}");
        }
    }

    /// Those before it send nothing, so each of them has a thread that waits for its request.
    #[test]
    fn a_connection_beyond_the_limit_is_closed_before_it_has_a_thread() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::create(temp.path()).unwrap();
        let _server = Server::start(&dir, OpenLog::new(with_table(1))).unwrap();
        let connect = || socket::connect(&dir).unwrap().expect("it listens");
        let _open: Vec<_> = (0..MAX_SERVED + MAX_REFUSED).map(|_| connect()).collect();
        let mut beyond = connect();
        beyond.set_read_timeout(Some(FRAME_TIMEOUT / 2)).unwrap();
        assert_eq!(beyond.read(&mut [0]).unwrap(), 0, "closed");
    }

    /// By a reply of a form that every version reads; the log is not asked.
    #[test]
    fn a_command_of_another_version_is_refused_with_both_versions() {
        for (found, request) in [
            (0, r#"{"Table":{"topic":"t"}}"#),
            (2, r#"{"version":2,"request":{"Table":{"topic":"t"}}}"#),
            (70_000, r#"{"version":70000,"what":["is","new"]}"#),
        ] {
            let (mut near, far) = UnixStream::pair().unwrap();
            writeln!(near, "{request}").unwrap();
            let log = OpenLog::new(with_table(1));
            serve(far, &log, &ConnectionGuard::new(&Arc::default())).unwrap();
            let mut reply = String::new();
            near.read_to_string(&mut reply).unwrap();
            let expected = format!(
                "{{\"Error\":\"this command speaks version {found} of the commands' protocol, the process \
                 that holds the data directory speaks version 1; run the command with the build of that \
                 process, or restart the process with the build of the command\"}}\n"
            );
            assert_eq!(reply, expected);
        }
    }

    /// The server holds one part of the table for a slow reader, and reads the next part when that is sent.
    #[test]
    fn a_scan_waits_for_its_reader() {
        let log = with_table(1);
        let rows = Rows::of(&*log);
        let put = |number: usize| rows.put(0, &format!("k{number:04}"), Some(&[b'x'; 10_000]));
        (0..1_000).for_each(put);
        rows.flush();

        let (near, far) = UnixStream::pair().unwrap();
        let open = OpenLog::new(log.clone()).with_scan_memory(500_000);
        let served = std::thread::spawn(move || {
            let guard = ConnectionGuard::new(&Arc::default());
            serve(far, &open, &guard)
        });
        let mut wire = Wire::new(near).unwrap();
        let request = Request::Scan {
            topic: TABLE.into(),
            partitions: 1,
            prefix: Bytes(Vec::new()),
            limit: None,
        };
        wire.send_request(&request).unwrap();
        let (mut keys, mut frames) = (Vec::new(), 0);
        loop {
            match wire.receive().unwrap() {
                Reply::Entries(entries) => keys.extend(entries.into_iter().map(|(key, _)| key)),
                Reply::End => break,
                other => panic!("{other:?}"),
            }
            frames += 1;
            if frames == 1 {
                // Written while the first part waits for its reader: the last part, read later, has it.
                put(1_000);
                rows.flush();
            }
        }
        served.join().unwrap().unwrap();
        let expected = (0..=1_000).map(|number| Bytes(format!("k{number:04}").into_bytes()));
        assert!(keys == expected.collect::<Vec<_>>(), "{} keys", keys.len());
    }
}
