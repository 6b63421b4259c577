//! What a log holds, a line for each record: the end of a trace. Steps that are the same in two runs
//! may have written other values.

use std::collections::BTreeSet;

use crate::graph::Definition;
use crate::log::simulated::{Kept, Simulated};

/// The records of all topics that the processors have to do with.
pub(super) fn contents(log: &Simulated, definitions: &[&'static Definition]) -> Vec<String> {
    let edges = definitions.iter();
    let edges = edges.flat_map(|definition| definition.graph.edges.iter());
    let topics: BTreeSet<&str> = edges.map(|edge| edge.topic.name).collect();
    let mut lines = Vec::new();
    for topic in topics {
        for partition in 0..log.partitions_of(topic) {
            let records = log.records(topic, partition);
            lines.extend(records.iter().map(|kept| line(topic, partition, kept)));
        }
    }
    lines
}

fn line(topic: &str, partition: i32, kept: &Kept) -> String {
    let Kept {
        offset,
        kind,
        timestamp,
        ..
    } = kept;
    let text = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        None => "none".to_owned(),
    };
    let (key, value) = (text(kept.key.as_deref()), text(kept.value.as_deref()));
    let mut line =
        format!("{topic}[{partition}] {offset}: {kind:?} at {timestamp}, {key} = {value}");
    for (name, value) in &kept.headers {
        line += &format!(", {name}: {}", text(value.as_deref()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::contents;
    use crate::clock::Clock;
    use crate::edges::Processor;
    use crate::log::simulated::Simulated;
    use crate::log::{Log, NewTopic};
    use crate::record::{Headers, Record};
    use crate::tester::doc::ClickCount;

    #[test]
    fn every_record_has_its_line() {
        let log = Simulated::new(Clock::simulated(0));
        let topic = |name: &str| NewTopic {
            name: name.to_owned(),
            partitions: 2,
            compact: false,
            retention: None,
        };
        log.create(&topic("clicks")).expect("it is new");
        log.create(&topic("elsewhere")).expect("it is new");
        let record = Record {
            offset: 0,
            timestamp: 7,
            key: Some(b"alice"),
            value: None,
            headers: Headers::default(),
        };
        for topic in ["clicks", "elsewhere"] {
            log.put(topic, 1, &record).expect("it is there");
        }
        let lines = contents(&log, &[ClickCount::DEFINITION]);
        assert_eq!(lines, [r#"clicks[1] 0: Data at 7, "alice" = none"#]);
    }
}
