//! What administrators do to a broker: topics, their settings, access rights, and Kafka's own tools.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::metadata::Metadata;

use super::{Broker, START_TIMEOUT};
use crate::{block_on, wait_until};

impl Broker {
    /// An admin client.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        admin(self.port)
    }

    /// Creates a topic and waits until every partition has a leader.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        self.create_replicated(name, partitions, 1, config);
    }

    /// Creates a topic with replicas and waits until every partition has a leader.
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

    /// Changes a setting of a topic, and waits until the broker applies it, some time after the controller.
    #[track_caller]
    pub fn configure(&self, topic: &str, setting: &str, value: &str) {
        let (admin, options) = (self.admin(), AdminOptions::new());
        let topic = ResourceSpecifier::Topic(topic);
        let config = AlterConfig::new(topic).set(setting, value);
        let set = block_on(admin.alter_configs([&config], &options)).expect("the broker answers");
        assert!(set.iter().all(Result::is_ok), "{set:?}");
        wait_until("the broker applies the setting", START_TIMEOUT, || {
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

    /// Waits until the metadata of every running broker of the cluster satisfies a condition: brokers hear
    /// of a change at different times.
    #[track_caller]
    fn everywhere(&self, what: &str, condition: impl Fn(&Metadata) -> bool) {
        for port in &self.cluster {
            let is_up = || TcpStream::connect(("127.0.0.1", *port)).is_ok();
            let admin = admin(*port);
            wait_until(what, START_TIMEOUT, || {
                let found = admin.inner().fetch_metadata(None, Duration::from_secs(5));
                found.map_or_else(|_| !is_up(), |metadata| condition(&metadata))
            });
        }
    }

    /// Adds or removes (`verb`) a rule for a principal (`who`), and waits until the broker applies it, some
    /// time after the controller.
    #[track_caller]
    pub fn acl(&self, verb: &str, who: [&str; 2], operation: &str, resource: &[&str]) {
        let bootstrap = self.bootstrap();
        // The tool also prints the rules that the broker then has.
        let ask = |more: &[&str]| {
            let args = [&["--bootstrap-server", &bootstrap], more, resource].concat();
            let output = self.tool("org.apache.kafka.tools.AclCommand", &args, "");
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let current = text.split_once("Current ACLs");
            current.map_or_else(String::new, |(_, current)| current.to_owned())
        };
        // The tool prints `DescribeConfigs` as `DESCRIBE_CONFIGS`.
        let plain = |text: &str| text.replace('_', "").to_lowercase();
        let rule = plain(&format!(
            "principal={}, host=*, operation={operation},",
            who[1]
        ));
        let mut current = ask(&[verb, "--force", who[0], who[1], "--operation", operation]);
        wait_until("the broker applies the rule", START_TIMEOUT, || {
            let is_so = plain(&current).contains(&rule) == (verb == "--add");
            if !is_so {
                current = ask(&["--list"]);
            }
            is_so
        });
    }

    /// Runs `kafka-consumer-groups.sh` on the broker.
    pub fn consumer_groups(&self, args: &[&str]) -> Output {
        let bootstrap = self.bootstrap();
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let args = [&["--bootstrap-server", &bootstrap], args].concat();
        self.tool(class, &args, "")
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

fn admin(port: u16) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", format!("127.0.0.1:{port}"))
        .set("log_level", "0")
        .create()
        .expect("an admin client needs no broker to be made")
}

/// How many running brokers the client's broker knows.
pub(super) fn known_brokers(admin: &AdminClient<DefaultClientContext>) -> usize {
    let found = admin.inner().fetch_metadata(None, Duration::from_secs(5));
    found.map_or(0, |found| found.brokers().len())
}
