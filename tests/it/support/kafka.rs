//! A real Apache Kafka for tests, from Maven artifacts, without a container: one broker a test run,
//! in a directory of its own, ended by its own pid when the test process ends, however it ends.

use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::metadata::Metadata;
use tempfile::TempDir;

/// The version of Kafka, unless the variable below names another.
const VERSION: &str = "4.1.0";
/// Names the version of Kafka that the tests run on.
pub const VERSION_VARIABLE: &str = "GOKA_KAFKA_VERSION";
/// Longer than a broker takes to start, however busy the machine is.
const STARTS: Duration = Duration::from_secs(180);
/// How often a broker is begun anew when it ends at once: somebody may have taken its port.
const ATTEMPTS: usize = 3;
/// What every JVM is started with: small, and quick to start.
const JVM: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

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
    found(home().and_then(|home| Broker::start(&home, properties, None)))
}

/// The same with one more listener: [`Broker::outside`].
pub fn another_with(properties: &[(&str, &str)], outside: &Outside<'_>) -> Option<Broker> {
    found(home().and_then(|home| Broker::start(&home, properties, Some(outside))))
}

/// Three brokers as one cluster, each a controller too; topics of the group and of transactions have
/// three replicas, two of which have to be in sync.
pub fn three() -> Option<[Broker; 3]> {
    three_with(&[])
}

/// The same with properties added to the usual ones.
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

/// Kafka as it lies in the build's target folder.
#[derive(Debug, Clone)]
struct Home(PathBuf);

impl Home {
    /// The jars.
    fn libs(&self) -> PathBuf {
        self.0.join("libs")
    }

    /// What a formatted storage begins with: the features of this version.
    fn checkpoint(&self) -> PathBuf {
        self.0.join("bootstrap.checkpoint")
    }

    /// The classes that a broker loads, as the JVM maps them: it starts in half the time with it.
    /// A JVM that cannot use it goes without.
    fn archive(&self) -> PathBuf {
        self.0.join("classes.jsa")
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(JVM);
        if self.archive().exists() {
            java.arg(format!(
                "-XX:SharedArchiveFile={}",
                self.archive().display()
            ));
            java.args(["-Xlog:disable", "-Xlog:all=error:stderr"]);
        }
        java.arg("-cp").arg(format!("{}/*", self.libs().display()));
        java
    }
}

/// Kafka, fetched once by Maven into the build's target folder and made ready.
fn home() -> Result<Home, String> {
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
    let version = std::env::var(VERSION_VARIABLE).unwrap_or_else(|_| VERSION.to_owned());
    let at = target.join(format!("kafka-{version}"));
    std::fs::create_dir_all(&at).map_err(|error| format!("{}: {error}", at.display()))?;
    // Two test runs that begin together fetch once.
    let lock = File::create(at.join("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let (pom, complete) = (at.join("pom.xml"), at.join("complete"));
    let home = Home(at);
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let text = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>goka</groupId>\
         <artifactId>kafka-for-tests</artifactId><version>1</version><dependencies>{}{}{}</dependencies></project>",
        dependency("org.apache.kafka", "kafka_2.13", &version),
        dependency("org.apache.kafka", "kafka-tools", &version),
        dependency("org.slf4j", "slf4j-nop", "1.7.36"),
    );
    let is_ready = home.checkpoint().exists();
    if is_ready && std::fs::read_to_string(&complete).is_ok_and(|fetched| fetched == text) {
        return Ok(home);
    }
    std::fs::write(&pom, &text).map_err(|error| error.to_string())?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", home.libs().display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("mvn: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "mvn failed: {}",
            String::from_utf8_lossy(&output.stdout)
        ));
    }
    Broker::make_ready(&home)?;
    std::fs::write(complete, text).map_err(|error| error.to_string())?;
    Ok(home)
}

/// A port that nobody listens on. Not one of those that the system gives to whoever connects, or
/// it might be gone before the broker has it.
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
        again(|| {
            let place = Place {
                cluster: &cluster_id(),
                node: 0,
                controllers: &[free_port()?],
            };
            let broker = Self::prepare(home, &place, properties, outside)?;
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
        again(|| {
            let controllers = [free_port()?, free_port()?, free_port()?];
            let cluster = cluster_id();
            let prepare = |node| {
                let place = Place {
                    cluster: &cluster,
                    node,
                    controllers: &controllers,
                };
                Self::prepare(home, &place, &properties, None)
            };
            let mut brokers = [prepare(0)?, prepare(1)?, prepare(2)?];
            let ports: Vec<_> = brokers.iter().map(|broker| broker.port).collect();
            for broker in &mut brokers {
                broker.cluster.clone_from(&ports);
            }
            // None answers before a second one is there.
            brokers.iter().try_for_each(Self::launch)?;
            brokers
                .iter()
                .try_for_each(|broker| broker.await_answer(3))?;
            Ok(brokers)
        })
    }

    /// Formats a storage and starts a broker once, for what is kept of both.
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
            let said = String::from_utf8_lossy(&format.stderr);
            return Err(format!("StorageTool: {said}"));
        }
        std::fs::copy(data.join("bootstrap.checkpoint"), home.checkpoint())
            .map_err(|error| error.to_string())?;
        // The JVM writes the archive when the broker ends. Without it all goes on, only slower.
        let _ = std::fs::remove_file(home.archive());
        let place = Place {
            cluster: &cluster_id(),
            node: 0,
            controllers: &[free_port()?],
        };
        let broker = Self::prepare(home, &place, &[], None)?;
        let archive = format!("-XX:ArchiveClassesAtExit={}", home.archive().display());
        broker.launch_with(&[&archive])?;
        broker.await_answer(1)?;
        broker.stop(true);
        Ok(())
    }

    /// Writes its settings, and its storage as `StorageTool` formats it.
    fn prepare(
        home: &Home,
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
        std::fs::create_dir(&data).map_err(|error| error.to_string())?;
        std::fs::copy(home.checkpoint(), data.join("bootstrap.checkpoint"))
            .map_err(|error| error.to_string())?;
        let identity = format!(
            "version=1\ncluster.id={}\nnode.id={node}\ndirectory.id={}\n",
            place.cluster,
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

    /// Starts the broker again, where it was and with what it had.
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
        // The shell ends the broker when its standard input closes: with us, however we end. A file
        // says that it ended by itself.
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
        *self.process.lock().expect("no test panics with it") = Some(child);
        let began = Instant::now();
        while !self.pid().exists() && began.elapsed() < STARTS {
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

    /// Waits until it answers and knows of so many brokers.
    fn await_answer(&self, brokers: usize) -> Result<(), String> {
        let began = Instant::now();
        let admin = self.admin();
        loop {
            let listens = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if listens && sees(&admin) >= brokers {
                return Ok(());
            }
            if self.ended().exists() || began.elapsed() > STARTS {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                let after = began.elapsed();
                return Err(format!("no broker after {after:?}; its log: {log}"));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
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
        admin(self.port)
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
        self.everywhere("the topic has leaders", |metadata| {
            metadata.topics().iter().any(|topic| {
                topic.name() == name
                    && topic.error().is_none()
                    && topic.partitions().len() == usize::try_from(partitions).unwrap_or(0)
                    && topic
                        .partitions()
                        .iter()
                        .all(|partition| partition.leader() >= 0)
            })
        });
    }

    /// Gives a topic more partitions, and waits until they have leaders.
    #[track_caller]
    pub fn grow(&self, name: &str, partitions: i32) {
        let count = usize::try_from(partitions).expect("a count");
        let more = NewPartitions::new(name, count);
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let results = block_on(self.admin().create_partitions([&more], &options));
        for result in results.expect("the broker answers") {
            result.expect("the partitions are made");
        }
        self.everywhere("the partitions have leaders", |metadata| {
            let mut topics = metadata.topics().iter();
            topics.any(|topic| {
                let partitions = topic.partitions();
                topic.name() == name
                    && partitions.len() == count
                    && partitions.iter().all(|partition| partition.leader() >= 0)
            })
        });
    }

    /// Sets one setting of a topic, and waits until the broker goes by it: the controller has it first.
    #[track_caller]
    pub fn configure(&self, topic: &str, setting: &str, value: &str) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        let topic = ResourceSpecifier::Topic(topic);
        let config = AlterConfig::new(topic).set(setting, value);
        let set = block_on(admin.alter_configs([&config], &options)).expect("the broker answers");
        assert!(set.iter().all(Result::is_ok), "{set:?}");
        super::wait_until("the broker goes by the setting", STARTS, || {
            let asked = block_on(admin.describe_configs([&topic], &options));
            let found = asked.expect("the broker answers").remove(0);
            let found = found.expect("the topic is there");
            let entry = found.get(setting);
            entry.is_some_and(|entry| entry.value.as_deref() == Some(value))
        });
    }

    /// Deletes a topic and waits until it is gone.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let results = block_on(self.admin().delete_topics(&[name], &options));
        for result in results.expect("the broker answers") {
            result.expect("the topic is deleted");
        }
        self.everywhere("the topic is gone", |metadata| {
            metadata.topics().iter().all(|topic| topic.name() != name)
        });
    }

    /// Waits until every broker of the cluster that is up says so, each of which hears of what was
    /// done some time later than the one that did it.
    #[track_caller]
    fn everywhere(&self, what: &str, is_so: impl Fn(&Metadata) -> bool) {
        for port in &self.cluster {
            let is_up = || TcpStream::connect(("127.0.0.1", *port)).is_ok();
            let admin = admin(*port);
            super::wait_until(what, STARTS, || {
                let found = admin.inner().fetch_metadata(None, Duration::from_secs(5));
                found.map_or_else(|_| !is_up(), |metadata| is_so(&metadata))
            });
        }
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
        let mut child = self
            .home
            .java()
            .arg("-Xmx256m")
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

fn admin(port: u16) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{port}"))
        .set("log_level", "0")
        .create()
        .expect("an admin client needs no broker to be made")
}

/// How many brokers the one that is asked knows to be there.
fn sees(admin: &AdminClient<DefaultClientContext>) -> usize {
    let found = admin.inner().fetch_metadata(None, Duration::from_secs(5));
    found.map_or(0, |found| found.brokers().len())
}

/// Tries what may lose its ports to somebody else before it has them.
fn again<T>(start: impl Fn() -> Result<T, String>) -> Result<T, String> {
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
