//! The test support itself: a broker starts, keeps its data over a restart, and tools run against it.

use crate::support::kafka::another;
use crate::support::unique;

#[test]
fn a_broker_keeps_its_topics_over_a_restart() {
    let Some(broker) = another(&[]) else { return };
    let topic = unique("kept");
    broker.create_topic(&topic, 3, &[]);
    broker.stop(true);
    broker.restart().unwrap();
    let list = broker.tool(
        "org.apache.kafka.tools.TopicCommand",
        &["--bootstrap-server", &broker.bootstrap(), "--list"],
        "",
    );
    let names = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(names.lines().any(|name| name == topic), "{names}");
}
