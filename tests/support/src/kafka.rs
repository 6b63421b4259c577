//! A real Apache Kafka for tests, from Maven artifacts and without a container. Each broker runs in a
//! temporary directory, and ends with the test process, however that ends.

mod admin;
mod home;

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::admin::known_brokers;
use self::home::{Home, home};

/// The version of Kafka, unless the variable below names another.
const VERSION: &str = "4.1.0";
/// Names the version of Kafka that the tests run on.
pub const VERSION_VARIABLE: &str = "GOKA_KAFKA_VERSION";
/// Longer than a broker takes to start, however busy the machine is.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How often a start is tried: another process may take the port of a broker.
const ATTEMPTS: usize = 3;

/// The broker of this test run. Without one it prints why on standard error.
///
/// # Panics
/// With `GOKA_REQUIRE_KAFKA=1` when there is none.
pub fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    BROKER.get_or_init(|| another(&[])).as_ref()
}

/// Starts one more broker, a cluster of its own, with properties beside the usual ones.
pub fn another(properties: &[(&str, &str)]) -> Option<Broker> {
    found(home().and_then(|home| Broker::start(&home, properties, None)))
}

/// Starts a broker with one more listener: [`Broker::outside`].
pub fn another_with(properties: &[(&str, &str)], outside: &Outside<'_>) -> Option<Broker> {
    found(home().and_then(|home| Broker::start(&home, properties, Some(outside))))
}

/// Starts three brokers as one cluster, each a controller, too. Topics have three replicas, two of which
/// have to be in sync.
pub fn three() -> Option<[Broker; 3]> {
    three_with(&[])
}

/// Starts three brokers with properties beside the usual ones.
pub fn three_with(properties: &[(&str, &str)]) -> Option<[Broker; 3]> {
    found(home().and_then(|home| Broker::start_three(&home, properties)))
}

fn found<T>(started: Result<T, String>) -> Option<T> {
    match started {
        Ok(brokers) => Some(brokers),
        Err(why) => {
            let required = std::env::var("GOKA_REQUIRE_KAFKA").is_ok_and(|set| set == "1");
            assert!(
                !required,
                "GOKA_REQUIRE_KAFKA=1 and there is no Kafka: {why}"
            );
            eprintln!("skipped: a test on real Kafka; {why}");
            None
        }
    }
}

/// One broker in KRaft mode.
#[derive(Debug)]
pub struct Broker {
    home: Home,
    dir: TempDir,
    port: u16,
    outside: u16,
    /// The ports of all brokers of its cluster.
    cluster: Vec<u16>,
    process: Mutex<Option<Child>>,
}

/// A listener beside the plain one.
#[derive(Debug)]
pub struct Outside<'a> {
    /// `PLAINTEXT`, `SASL_PLAINTEXT`.
    pub protocol: &'a str,
    /// The port that clients connect to, if it is not the listener's own but that of a proxy.
    pub advertised: Option<u16>,
}

/// A node of a cluster.
struct Node<'a> {
    cluster: &'a str,
    /// Its index among the nodes; node ids begin with 1.
    index: usize,
    /// The ports of the controllers, by node.
    controllers: &'a [u16],
}

/// A port without a listener, outside the range of ephemeral ports, from which a connection might take it
/// before the broker does.
fn free_port() -> Result<u16, String> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let random = || {
        let bytes = uuid::Uuid::new_v4().into_bytes();
        10_000 + u16::from_be_bytes([bytes[0], bytes[1]]) % 20_000
    };
    let mut ports = std::iter::repeat_with(random).take(1_000);
    ports.find(is_free).ok_or("no port is free".to_owned())
}

impl Broker {
    fn start(
        home: &Home,
        properties: &[(&str, &str)],
        outside: Option<&Outside<'_>>,
    ) -> Result<Self, String> {
        retried(|| {
            let node = Node {
                cluster: &cluster_id(),
                index: 0,
                controllers: &[free_port()?],
            };
            let broker = Self::prepare(home, &node, properties, outside)?;
            broker.restart()?;
            Ok(broker)
        })
    }

    fn start_three(home: &Home, more: &[(&str, &str)]) -> Result<[Self; 3], String> {
        let usual = [
            ("offsets.topic.replication.factor", "3"),
            ("transaction.state.log.replication.factor", "3"),
            ("transaction.state.log.min.isr", "2"),
            ("default.replication.factor", "3"),
            ("min.insync.replicas", "2"),
        ];
        let properties = [&usual, more].concat();
        retried(|| {
            let controllers = [free_port()?, free_port()?, free_port()?];
            let cluster = cluster_id();
            let prepare = |index| {
                let node = Node {
                    cluster: &cluster,
                    index,
                    controllers: &controllers,
                };
                Self::prepare(home, &node, &properties, None)
            };
            let mut brokers = [prepare(0)?, prepare(1)?, prepare(2)?];
            let ports: Vec<_> = brokers.iter().map(|broker| broker.port).collect();
            for broker in &mut brokers {
                broker.cluster.clone_from(&ports);
            }
            // No broker answers before a second one runs.
            brokers.iter().try_for_each(Self::launch)?;
            brokers
                .iter()
                .try_for_each(|broker| broker.await_answer(3))?;
            Ok(brokers)
        })
    }

    /// Prepares Kafka: formats a storage and starts a broker once, and keeps the files that speed up later
    /// starts.
    fn make_ready(home: &Home) -> Result<(), String> {
        let dir = TempDir::with_prefix("goka-kafka-").map_err(|error| error.to_string())?;
        let (data, file) = (dir.path().join("data"), dir.path().join("settings"));
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:9093\nlisteners=CONTROLLER://127.0.0.1:9093,\
             PLAINTEXT://127.0.0.1:9092\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n",
            data.display()
        );
        std::fs::write(&file, settings).map_err(|error| error.to_string())?;
        let mut format = home.java();
        format.args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            &cluster_id(),
            "-c",
        ]);
        let format = format.arg(&file).stdin(Stdio::null()).output();
        let format = format.map_err(|error| format!("java: {error}"))?;
        if !format.status.success() {
            let errors = String::from_utf8_lossy(&format.stderr);
            return Err(format!("StorageTool: {errors}"));
        }
        std::fs::copy(data.join("bootstrap.checkpoint"), home.checkpoint())
            .map_err(|error| error.to_string())?;
        // The JVM writes the archive when the broker ends. Without it starts are only slower.
        let _ = std::fs::remove_file(home.archive());
        let node = Node {
            cluster: &cluster_id(),
            index: 0,
            controllers: &[free_port()?],
        };
        let broker = Self::prepare(home, &node, &[], None)?;
        let archive = format!("-XX:ArchiveClassesAtExit={}", home.archive().display());
        broker.launch_with(&[&archive])?;
        broker.await_answer(1)?;
        broker.stop(true);
        Ok(())
    }

    /// Writes the settings of a broker, and its storage as `StorageTool` formats it.
    fn prepare(
        home: &Home,
        node: &Node<'_>,
        properties: &[(&str, &str)],
        outside: Option<&Outside<'_>>,
    ) -> Result<Self, String> {
        let dir = TempDir::with_prefix("goka-kafka-").map_err(|error| error.to_string())?;
        let (port, outside_port) = (free_port()?, free_port()?);
        let (id, controller) = (node.index + 1, node.controllers[node.index]);
        let voters: Vec<_> = (1..)
            .zip(node.controllers)
            .map(|(node, port)| format!("{node}@127.0.0.1:{port}"))
            .collect();
        let (mut listeners, mut advertised, mut protocols) = Default::default();
        if let Some(outside) = outside {
            let port = outside.advertised.unwrap_or(outside_port);
            listeners = format!(",OUTSIDE://127.0.0.1:{outside_port}");
            advertised = format!(",OUTSIDE://127.0.0.1:{port}");
            protocols = format!(",OUTSIDE:{}", outside.protocol);
        }
        let data = dir.path().join("data");
        let mut config = format!(
            "process.roles=broker,controller\nnode.id={id}\n\
             controller.quorum.voters={}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\noffsets.topic.num.partitions=4\n\
             transaction.state.log.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\nauto.create.topics.enable=false\n\
             log.cleaner.backoff.ms=500\n",
            voters.join(","),
            data.display()
        );
        for (name, value) in properties {
            config.push_str(&format!("{name}={value}\n"));
        }
        let file = dir.path().join("server.properties");
        std::fs::write(&file, config).map_err(|error| error.to_string())?;
        std::fs::create_dir(&data).map_err(|error| error.to_string())?;
        std::fs::copy(home.checkpoint(), data.join("bootstrap.checkpoint"))
            .map_err(|error| error.to_string())?;
        let identity = format!(
            "version=1\ncluster.id={}\nnode.id={id}\ndirectory.id={}\n",
            node.cluster,
            cluster_id()
        );
        std::fs::write(data.join("meta.properties"), identity)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            home: home.clone(),
            dir,
            port,
            outside: outside_port,
            cluster: vec![port],
            process: Mutex::new(None),
        })
    }

    /// Starts the broker again, with the same ports and data.
    pub fn restart(&self) -> Result<(), String> {
        self.launch()?;
        self.await_answer(1)
    }

    fn launch(&self) -> Result<(), String> {
        self.launch_with(&[])
    }

    fn launch_with(&self, options: &[&str]) -> Result<(), String> {
        let output = File::create(self.log()).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        for mark in [self.pid(), self.ended()] {
            let _ = std::fs::remove_file(mark);
        }
        // The shell ends the broker when its standard input closes, so also when this process ends. A file
        // shows that the broker ended by itself.
        let script = "dir=$1; shift; { sh -c 'echo $$ > \"$0/pid\"; exec \"$@\"' \"$dir\" \"$@\"; \
                      : > \"$dir/ended\"; } & read -r how; pid=$(cat \"$dir/pid\"); \
                      if [ \"$how\" = stop ]; then kill $pid; else kill -9 $pid; fi; wait; \
                      [ \"$how\" ] || rm -rf \"$dir\"";
        let java = self.home.java();
        let child = Command::new("sh")
            .args(["-c", script, "kafka"])
            .arg(self.dir.path())
            .arg(java.get_program())
            .arg("-Xmx512m")
            .args(options)
            .args(java.get_args())
            .arg("kafka.Kafka")
            .arg(self.dir.path().join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())?;
        *self
            .process
            .lock()
            .expect("no test panics while it holds the lock") = Some(child);
        let began = Instant::now();
        while !self.pid().exists() && began.elapsed() < START_TIMEOUT {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }

    fn pid(&self) -> PathBuf {
        self.dir.path().join("pid")
    }

    fn ended(&self) -> PathBuf {
        self.dir.path().join("ended")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("broker.log")
    }

    /// Waits until it answers and knows of this many brokers.
    fn await_answer(&self, brokers: usize) -> Result<(), String> {
        let began = Instant::now();
        let admin = self.admin();
        loop {
            let listens = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if listens && known_brokers(&admin) >= brokers {
                return Ok(());
            }
            if self.ended().exists() || began.elapsed() > START_TIMEOUT {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                let after = began.elapsed();
                return Err(format!("no broker after {after:?}; its log: {log}"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Stops the broker, cleanly or with SIGKILL; its data stays.
    pub fn stop(&self, orderly: bool) {
        let child = self
            .process
            .lock()
            .expect("no test panics while it holds the lock")
            .take();
        if let Some(mut child) = child {
            if let Some(mut stdin) = child.stdin.take() {
                let how: &[u8] = if orderly { b"stop\n" } else { b"kill\n" };
                let _ = stdin.write_all(how);
            }
            let _ = child.wait();
        }
    }

    /// Its address for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of its additional listener.
    pub fn outside(&self) -> u16 {
        self.outside
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// Retries a start, whose ports another process may have taken.
fn retried<T>(start: impl Fn() -> Result<T, String>) -> Result<T, String> {
    let mut tries = 1;
    loop {
        match start() {
            Err(_) if tries < ATTEMPTS => tries += 1,
            done => return done,
        }
    }
}

/// A cluster id as Kafka writes them: 16 bytes in 22 characters.
fn cluster_id() -> String {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789AB";
    let number = u128::from_be_bytes(bytes);
    let digit = |at: u32| char::from(alphabet[((number >> (6 * at)) & 63) as usize]);
    // 21 digits of 6 bits and one of 2, which Base64 puts into the high bits of the last digit.
    let tail = char::from(alphabet[((number >> 126) << 4) as usize]);
    (0..21).map(digit).chain([tail]).collect()
}
