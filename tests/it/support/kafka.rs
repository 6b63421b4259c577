//! A real Apache Kafka for tests, from Maven artifacts, without a container: one broker a test run,
//! in a directory of its own, ended by its own pid when the test process ends, however it ends.

use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tempfile::TempDir;

const VERSION: &str = "4.1.0";
const STARTS: Duration = Duration::from_secs(60);

/// The broker of this test run; `None` says why on stderr.
///
/// # Panics
/// With `GOKA_REQUIRE_KAFKA=1` when there is none.
pub fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    BROKER.get_or_init(|| another(&[])).as_ref()
}

/// One more broker, a cluster of its own, with properties added to the usual ones.
pub fn another(properties: &[(&str, &str)]) -> Option<Broker> {
    found(libs().and_then(|libs| Broker::start(&libs, properties, None)))
}

/// The same with one more listener: [`Broker::outside`].
pub fn another_with(properties: &[(&str, &str)], outside: &Outside<'_>) -> Option<Broker> {
    found(libs().and_then(|libs| Broker::start(&libs, properties, Some(outside))))
}

/// Three brokers as one cluster, each a controller too; topics of the group and of transactions have
/// three replicas, two of which have to be in sync.
pub fn three() -> Option<[Broker; 3]> {
    three_with(&[])
}

/// The same with properties added to the usual ones.
pub fn three_with(properties: &[(&str, &str)]) -> Option<[Broker; 3]> {
    found(libs().and_then(|libs| Broker::start_three(&libs, properties)))
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
pub struct Broker {
    libs: PathBuf,
    dir: TempDir,
    port: u16,
    outside: u16,
    process: Mutex<Option<Child>>,
}

/// A listener beside the plain one.
pub struct Outside<'a> {
    /// `PLAINTEXT`, `SASL_PLAINTEXT`.
    pub protocol: &'a str,
    /// The port that clients are told, when it is not the listener's own: a proxy's.
    pub advertised: Option<u16>,
}

/// One node among those of its cluster.
struct Place<'a> {
    cluster: &'a str,
    node: usize,
    /// The ports of the controllers, by node.
    controllers: &'a [u16],
}

/// Kafka's jars, fetched once by Maven into the build's target folder.
fn libs() -> Result<PathBuf, String> {
    let runs = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !runs("java", "-version") || !runs("mvn", "--version") {
        return Err("`java` and `mvn` are needed on the PATH".to_owned());
    }
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    // Tests lie deeper in it than programs do.
    let target = exe
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .ok_or("the program lies outside a target folder")?;
    let home = target.join(format!("kafka-{VERSION}"));
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    // Two test runs that begin together fetch once.
    let lock = File::create(home.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let (libs, pom, complete) = (
        home.join("libs"),
        home.join("pom.xml"),
        home.join("complete"),
    );
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let text = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>goka</groupId>\
         <artifactId>kafka-for-tests</artifactId><version>1</version><dependencies>{}{}{}</dependencies></project>",
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.slf4j", "slf4j-nop", "1.7.36"),
    );
    if std::fs::read_to_string(&complete).is_ok_and(|fetched| fetched == text) {
        return Ok(libs);
    }
    std::fs::write(&pom, &text).map_err(|error| error.to_string())?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", libs.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("mvn: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "mvn failed: {}",
            String::from_utf8_lossy(&output.stdout)
        ));
    }
    std::fs::write(complete, text).map_err(|error| error.to_string())?;
    Ok(libs)
}

fn free_port() -> Result<u16, String> {
    let socket = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| error.to_string())
}

impl Broker {
    fn start(
        libs: &Path,
        properties: &[(&str, &str)],
        outside: Option<&Outside<'_>>,
    ) -> Result<Self, String> {
        let place = Place {
            cluster: &cluster_id(),
            node: 0,
            controllers: &[free_port()?],
        };
        let broker = Self::prepare(libs, &place, properties, outside)?;
        broker.restart()?;
        Ok(broker)
    }

    fn start_three(libs: &Path, more: &[(&str, &str)]) -> Result<[Self; 3], String> {
        let controllers = [free_port()?, free_port()?, free_port()?];
        let cluster = cluster_id();
        let usual = [
            ("offsets.topic.replication.factor", "3"),
            ("transaction.state.log.replication.factor", "3"),
            ("transaction.state.log.min.isr", "2"),
            ("default.replication.factor", "3"),
            ("min.insync.replicas", "2"),
        ];
        let properties = [&usual, more].concat();
        let prepare = |node| {
            let place = Place {
                cluster: &cluster,
                node,
                controllers: &controllers,
            };
            Self::prepare(libs, &place, &properties, None)
        };
        let brokers = [prepare(0)?, prepare(1)?, prepare(2)?];
        // None answers before a second one is there.
        brokers.iter().try_for_each(Self::launch)?;
        brokers.iter().try_for_each(Self::await_answer)?;
        let began = Instant::now();
        while !brokers.iter().all(|broker| broker.sees() == 3) {
            if began.elapsed() > STARTS {
                return Err(format!("no three brokers after {STARTS:?}"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(brokers)
    }

    /// Writes its settings and formats its storage.
    fn prepare(
        libs: &Path,
        place: &Place<'_>,
        properties: &[(&str, &str)],
        outside: Option<&Outside<'_>>,
    ) -> Result<Self, String> {
        let dir = TempDir::with_prefix("goka-kafka-").map_err(|error| error.to_string())?;
        let (port, outside_port) = (free_port()?, free_port()?);
        let (node, controller) = (place.node + 1, place.controllers[place.node]);
        let voters: Vec<_> = (1..)
            .zip(place.controllers)
            .map(|(node, port)| format!("{node}@127.0.0.1:{port}"))
            .collect();
        let (mut listeners, mut advertised, mut protocols) = Default::default();
        if let Some(outside) = outside {
            let told = outside.advertised.unwrap_or(outside_port);
            listeners = format!(",OUTSIDE://127.0.0.1:{outside_port}");
            advertised = format!(",OUTSIDE://127.0.0.1:{told}");
            protocols = format!(",OUTSIDE:{}", outside.protocol);
        }
        let data = dir.path().join("data");
        let mut config = format!(
            "process.roles=broker,controller\nnode.id={node}\n\
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
        let broker = Self {
            libs: libs.to_owned(),
            dir,
            port,
            outside: outside_port,
            process: Mutex::new(None),
        };
        let file = file.display().to_string();
        let format = broker.tool(
            "kafka.tools.StorageTool",
            &["format", "-t", place.cluster, "-c", &file],
            "",
        );
        if !format.status.success() {
            return Err(format!(
                "StorageTool: {}",
                String::from_utf8_lossy(&format.stderr)
            ));
        }
        Ok(broker)
    }

    /// Starts the broker again, where it was and with what it had.
    pub fn restart(&self) -> Result<(), String> {
        self.launch()?;
        self.await_answer()
    }

    fn launch(&self) -> Result<(), String> {
        let log = self.dir.path().join("broker.log");
        let output = File::create(&log).map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        // The shell ends the broker when its standard input closes: with us, however we end.
        let script = "java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp \"$1/*\" kafka.Kafka \
                      \"$2\" & pid=$!; read -r how; if [ \"$how\" = stop ]; then kill $pid; else kill -9 $pid; \
                      fi; wait $pid; [ \"$how\" ] || rm -rf \"$3\"";
        let child = Command::new("sh")
            .args(["-c", script, "kafka"])
            .arg(&self.libs)
            .arg(self.dir.path().join("server.properties"))
            .arg(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())?;
        *self.process.lock().expect("no test panics with it") = Some(child);
        Ok(())
    }

    fn await_answer(&self) -> Result<(), String> {
        let log = self.dir.path().join("broker.log");
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.answers() {
            if began.elapsed() > STARTS {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("no broker after {STARTS:?}; its log: {log}"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        self.sees() > 0
    }

    /// How many brokers it knows to be there.
    fn sees(&self) -> usize {
        let admin = self.admin();
        let found = admin.inner().fetch_metadata(None, Duration::from_secs(1));
        found.map_or(0, |found| found.brokers().len())
    }

    /// Stops the broker, orderly or with SIGKILL; its data stays.
    pub fn stop(&self, orderly: bool) {
        let child = self.process.lock().expect("no test panics with it").take();
        if let Some(mut child) = child {
            if let Some(mut stdin) = child.stdin.take() {
                let how: &[u8] = if orderly { b"stop\n" } else { b"kill\n" };
                let _ = stdin.write_all(how);
            }
            let _ = child.wait();
        }
    }

    /// Where clients find it.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of the listener beside the plain one.
    pub fn outside(&self) -> u16 {
        self.outside
    }

    /// Where it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A client for what Kafka's administrators do.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("log_level", "0")
            .create()
            .expect("an admin client needs no broker to be made")
    }

    /// Makes a topic and waits until every partition has a leader.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        self.create_replicated(name, partitions, 1, config);
    }

    /// The same, with so many replicas.
    #[track_caller]
    pub fn create_replicated(
        &self,
        name: &str,
        partitions: i32,
        replicas: i32,
        config: &[(&str, &str)],
    ) {
        let admin = self.admin();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (name, value) in config {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let results =
            block_on(admin.create_topics([&topic], &options)).expect("the broker answers");
        for result in results {
            result.expect("the topic is made");
        }
        super::wait_until("the topic has leaders", Duration::from_secs(10), || {
            admin
                .inner()
                .fetch_metadata(Some(name), Duration::from_secs(5))
                .is_ok_and(|metadata| {
                    metadata.topics().iter().all(|topic| {
                        topic.error().is_none()
                            && topic.partitions().len() == usize::try_from(partitions).unwrap_or(0)
                            && topic
                                .partitions()
                                .iter()
                                .all(|partition| partition.leader() >= 0)
                    })
                })
        });
    }

    /// Deletes a topic.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        block_on(self.admin().delete_topics(&[name], &options)).expect("the broker answers");
    }

    /// Adds or removes (`verb`) what a principal may do or may not (`who`), and waits until the broker
    /// goes by it: the tool hears from the controller, and the broker from it some time later.
    #[track_caller]
    pub fn acl(&self, verb: &str, who: [&str; 2], operation: &str, resource: &[&str]) {
        let bootstrap = self.bootstrap();
        // What the broker then goes by, which the tool says too.
        let ask = |more: &[&str]| {
            let args = [&["--bootstrap-server", &bootstrap], more, resource].concat();
            let said = self.tool("org.apache.kafka.tools.AclCommand", &args, "");
            assert!(said.status.success(), "{said:?}");
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            let current = text.split_once("Current ACLs");
            current.map_or_else(String::new, |(_, current)| current.to_owned())
        };
        // `DescribeConfigs` is shown as `DESCRIBE_CONFIGS`.
        let plain = |text: &str| text.replace('_', "").to_lowercase();
        let rule = plain(&format!(
            "principal={}, host=*, operation={operation},",
            who[1]
        ));
        let mut current = ask(&[verb, "--force", who[0], who[1], "--operation", operation]);
        super::wait_until("the broker goes by the rule", STARTS, || {
            let is_so = plain(&current).contains(&rule) == (verb == "--add");
            if !is_so {
                current = ask(&["--list"]);
            }
            is_so
        });
    }

    /// Runs one of Kafka's own tools.
    pub fn tool(&self, class: &str, args: &[&str], stdin: &str) -> Output {
        let mut child = Command::new("java")
            .args([
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
            ])
            .arg(format!("{}/*", self.libs.display()))
            .arg(class)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("java was there a moment ago");
        let mut pipe = child.stdin.take().expect("it is piped");
        let text = stdin.to_owned();
        let writer = std::thread::spawn(move || {
            let _ = pipe.write_all(text.as_bytes());
        });
        let output = child.wait_with_output().expect("the tool ends");
        let _ = writer.join();
        output
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop(false);
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

/// Waits for a future of the admin client.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}
