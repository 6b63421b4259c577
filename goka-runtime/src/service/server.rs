//! Serves the commands of other processes while this one holds the embedded log.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::data::DataDir;
use super::direct::{Direct, Placed};
use super::error::{CliError, one_line};
use super::fold::Entries;
use super::protocol::{Bytes, FRAME_FILL, Reply, Request, Wire};
use super::socket::Socket;
use crate::emitter::Declared;

/// How many commands are served at once; the next is told to come back.
const MOST: usize = 16;
/// How many more are told so; what comes then is closed unheard, for each takes a thread.
const MOST_TOLD: usize = 16;

/// What the entries of one scan take of the memory of this process.
const SCAN_MEMORY: usize = 16 << 20;

/// How often the listener looks whether it is to end.
const TICK: Duration = Duration::from_millis(25);

/// A server; it ends when dropped, commands that are being served do not.
#[derive(Debug)]
pub(super) struct Server {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(dir: &DataDir, direct: Direct) -> Result<Self, CliError> {
        let refused = |error: std::io::Error| {
            CliError::new(format!(
                "data directory `{}`: no socket for the commands: {error}; use a local file system",
                dir.path().display()
            ))
        };
        let direct = direct.within(SCAN_MEMORY);
        let socket = Socket::listen(dir).map_err(refused)?;
        socket.listener.set_nonblocking(true).map_err(refused)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let ends = stopping.clone();
        let thread = std::thread::Builder::new()
            .name("goka commands".into())
            .spawn(move || listen(&socket, &direct, &ends))
            .map_err(refused)?;
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

fn listen(socket: &Socket, direct: &Direct, stopping: &AtomicBool) {
    let busy = Arc::new(AtomicUsize::new(0));
    while !stopping.load(Ordering::Acquire) {
        let Ok((stream, _)) = socket.listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        let guard = Busy::one_more(&busy);
        if guard.before >= MOST + MOST_TOLD {
            continue;
        }
        let direct = direct.clone();
        let spawned = std::thread::Builder::new()
            .name("goka command".into())
            .spawn(move || {
                if let Err(error) = serve(stream, &direct, &guard) {
                    tracing::debug!(%error, "a command went away");
                }
            });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for a command");
        }
    }
}

/// Counts a connection for as long as it lives.
struct Busy {
    count: Arc<AtomicUsize>,
    /// How many there were before it.
    before: usize,
}

impl Busy {
    fn one_more(count: &Arc<AtomicUsize>) -> Self {
        let before = count.fetch_add(1, Ordering::AcqRel);
        let count = count.clone();
        Self { count, before }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(stream: UnixStream, direct: &Direct, busy: &Busy) -> std::io::Result<()> {
    let mut wire = Wire::new(stream)?;
    let request = wire.receive::<Request>()?;
    if busy.before >= MOST {
        let many = format!("{MOST} commands are being served already; try again");
        return wire.send(&Reply::Error(many));
    }
    match answer(request, direct, &mut wire)? {
        Ok(reply) => wire.send(&reply),
        Err(error) => wire.send(&Reply::Error(error)),
    }
}

/// The last frame of the answer; entries are sent on the way.
fn answer(
    request: Request,
    direct: &Direct,
    wire: &mut Wire,
) -> std::io::Result<Result<Reply, String>> {
    let said = match request {
        Request::Stream {
            topic,
            declared: partitions,
            is_table,
        } => direct
            .target(
                &topic,
                Declared {
                    partitions,
                    is_table,
                },
            )
            .map(|partitions| Reply::Partitions(Some(partitions)))
            .map_err(|error| error.to_string()),
        Request::Table { topic } => direct
            .table(&topic)
            .map(|info| Reply::Partitions(info.map(|info| info.partitions)))
            .map_err(text),
        Request::Emit { topic, records } => {
            let records: Vec<Placed> = records
                .into_iter()
                .map(Placed::try_from)
                .collect::<Result<_, _>>()?;
            direct
                .emit(&topic, &records)
                .map(|delivery| Reply::Emitted {
                    delivered: delivery.delivered,
                    error: delivery.error,
                })
                .map_err(|error| error.to_string())
        }
        Request::Get {
            topic,
            partition,
            key,
        } => direct
            .get(&topic, partition, &Vec::try_from(key)?)
            .map(|value| Reply::Value(value.map(Bytes::from)))
            .map_err(text),
        Request::Scan {
            topic,
            partitions,
            prefix,
            limit,
        } => {
            let mut broken = None;
            let asked = (&*topic, partitions);
            let scanned = scan(direct, asked, &Vec::try_from(prefix)?, limit, &mut |part| {
                send_entries(part, wire).map_err(|error| {
                    broken = Some(error);
                    CliError::OutputClosed
                })
            });
            match (broken, scanned) {
                (Some(error), _) => return Err(error),
                (None, scanned) => scanned.map(|()| Reply::End).map_err(text),
            }
        }
    };
    Ok(said)
}

/// A scan, if the topic has as many partitions as the command says.
fn scan(
    direct: &Direct,
    (topic, partitions): (&str, i32),
    prefix: &[u8],
    limit: Option<usize>,
    each: &mut dyn FnMut(Entries) -> Result<(), CliError>,
) -> Result<(), CliError> {
    match direct.table(topic)? {
        Some(found) if found.partitions == partitions => {
            direct.scan((topic, partitions), prefix, limit, each)
        }
        Some(found) => Err(CliError::new(format!(
            "topic `{topic}` has {} partitions, the command asks for {partitions}; try again",
            found.partitions
        ))),
        None => Err(CliError::new(format!("topic `{topic}` does not exist"))),
    }
}

/// Waits for a reader that is slow: nothing more is read of the table meanwhile.
fn send_entries(entries: Entries, wire: &mut Wire) -> std::io::Result<()> {
    let mut frame = Vec::new();
    let mut filled = 0;
    for (key, value) in entries {
        filled += key.len() + value.len();
        frame.push((Bytes::from(key), Bytes::from(value)));
        if filled >= FRAME_FILL {
            wire.send(&Reply::Entries(std::mem::take(&mut frame)))?;
            filled = 0;
        }
    }
    wire.send(&Reply::Entries(frame))
}

fn text(fail: CliError) -> String {
    match fail {
        CliError::Errors(lines) => one_line(&lines.join("; ")),
        CliError::NoSuchKey(line) => line,
        CliError::OutputClosed => "output closed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::log::embedded::Embedded;
    use crate::log::{Log, NewTopic, Sent};

    #[test]
    fn a_scan_of_partitions_that_are_not_there_is_refused() {
        let log = Embedded::in_memory().unwrap();
        let topic = NewTopic {
            name: "t".into(),
            partitions: 3,
            compact: true,
            retention: None,
        };
        log.create(&topic).unwrap();
        let direct = Direct::new(Arc::new(log));
        let scan = |topic| scan(&direct, topic, b"", None, &mut |_| Ok(()));
        assert_eq!(scan(("t", 3)), Ok(()));
        for topic in [("t", 60_000_000), ("t", -1), ("u", 3)] {
            assert!(scan(topic).is_err(), "{topic:?}");
        }
    }
    /// What the server holds for a reader that is slow is one part of the table, which it waits to get rid of.
    #[test]
    fn a_scan_waits_for_its_reader() {
        let log: Arc<dyn Log> = Arc::new(Embedded::in_memory().unwrap());
        let topic = NewTopic {
            name: "t".into(),
            partitions: 1,
            compact: true,
            retention: None,
        };
        log.create(&topic).unwrap();
        let appender = log.appender(Arc::new(|_, outcome| {
            outcome.unwrap();
        }));
        let (appender, by) = (appender.unwrap(), Instant::now() + Duration::from_secs(60));
        let send = |number: usize| {
            let key = format!("k{number:04}");
            let sent = Sent {
                topic: "t",
                partition: 0,
                key: Some(key.as_bytes()),
                value: Some(&[b'x'; 10_000]),
                timestamp: 1,
                headers: &[],
            };
            appender.send(sent, 0, by).unwrap();
        };
        (0..1_000).for_each(send);
        appender.flush(by).unwrap();

        let (near, far) = UnixStream::pair().unwrap();
        let direct = Direct::new(Arc::clone(&log)).within(500_000);
        let served = std::thread::spawn(move || {
            let busy = Busy::one_more(&Arc::default());
            serve(far, &direct, &busy)
        });
        let mut wire = Wire::new(near).unwrap();
        let request = Request::Scan {
            topic: "t".into(),
            partitions: 1,
            prefix: Vec::new().into(),
            limit: None,
        };
        wire.send(&request).unwrap();
        let (mut keys, mut frames) = (Vec::new(), 0);
        loop {
            match wire.receive().unwrap() {
                Reply::Entries(entries) => keys.extend(entries.into_iter().map(|(key, _)| key)),
                Reply::End => break,
                other => panic!("{other:?}"),
            }
            frames += 1;
            if frames == 1 {
                // Written while the first part waits to be read, so not in it: the second is read later.
                send(1_000);
                appender.flush(by).unwrap();
            }
        }
        served.join().unwrap().unwrap();
        let expected = (0..=1_000).map(|number| Bytes::Text(format!("k{number:04}")));
        assert!(keys == expected.collect::<Vec<_>>(), "{} keys", keys.len());
    }
}
