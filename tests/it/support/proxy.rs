//! A TCP proxy between clients and a broker, with faults that can be switched on: connections that
//! break, that swallow everything, that are slow. It ends when it is dropped.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::kafka::{Broker, Outside, another_with};

/// What the proxy does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// Connections break; new ones break at once.
    Drop,
    /// They are read and never passed on, in both directions: requests time out.
    Swallow,
    /// They are delayed.
    Delay(Duration),
}

const TICK: Duration = Duration::from_millis(20);

/// Listens on a port of its own.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: AtomicU16,
    mode: Mutex<Mode>,
    connections: Mutex<Vec<TcpStream>>,
    made: AtomicU64,
    stopping: AtomicBool,
}

impl Shared {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Passes nothing on before a broker is started behind it.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(0),
            mode: Mutex::new(Mode::Pass),
            connections: Mutex::default(),
            made: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if theirs.stopping.load(Ordering::Relaxed) {
                    break;
                }
                accept(&theirs, client);
            }
        });
        Self { port, shared }
    }

    /// Starts a broker behind the proxy: its second listener, which clients of the proxy reach.
    pub fn broker(&self) -> Option<Broker> {
        let outside = Outside {
            protocol: "PLAINTEXT",
            advertised: Some(self.port),
        };
        let broker = another_with(&[], &outside)?;
        self.shared
            .target
            .store(broker.outside(), Ordering::Relaxed);
        Some(broker)
    }

    /// The address for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections were made so far.
    pub fn made(&self) -> u64 {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// Switches to a mode. [`Mode::Drop`] breaks all connections, and so does the end of [`Mode::Swallow`],
    /// since swallowed bytes are lost.
    pub fn set(&self, mode: Mode) {
        let mut current = self
            .shared
            .mode
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let breaks = mode == Mode::Drop || *current == Mode::Swallow;
        *current = mode;
        drop(current);
        if breaks {
            self.break_all();
        }
    }

    /// Breaks the connections that are there, as a switch that restarts does.
    pub fn break_all(&self) {
        let connections = &self.shared.connections;
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            // An error means that it is closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.break_all();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(shared: &Arc<Shared>, client: TcpStream) {
    if shared.mode() == Mode::Drop {
        return;
    }
    // Without a broker behind it a client is refused, as by the broker's machine.
    let port = shared.target.load(Ordering::Relaxed);
    let Ok(broker) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    shared.made.fetch_add(1, Ordering::Relaxed);
    let ends = [&client, &broker].map(|end| {
        let _ = end.set_nodelay(true);
        end.try_clone()
    });
    let mut connections = shared
        .connections
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    connections.extend(ends.into_iter().flatten());
    drop(connections);
    let back = (broker.try_clone(), client.try_clone());
    if let (Ok(from), Ok(to)) = back {
        let theirs = Arc::clone(shared);
        thread::spawn(move || pass(&theirs, from, to));
        let theirs = Arc::clone(shared);
        thread::spawn(move || pass(&theirs, client, broker));
    }
}

fn pass(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        match shared.mode() {
            Mode::Pass | Mode::Drop => {}
            Mode::Delay(wait) => thread::sleep(wait),
            Mode::Swallow => {
                while shared.mode() == Mode::Swallow && !shared.stopping.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                }
                break;
            }
        }
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
