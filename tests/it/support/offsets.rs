//! The offsets of a topic and of a group that reads it, for all partitions.

use goka_runtime::log::Log;
use goka_runtime::record::TopicPartition;

/// The partitions `0..count` of a topic.
pub fn partitions(topic: &str, count: i32) -> Vec<TopicPartition> {
    (0..count)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect()
}

/// The committed offset of each partition; `None` where there is none.
#[track_caller]
pub fn committed(log: &dyn Log, group: &str, topic: &str, count: i32) -> Vec<Option<i64>> {
    let committed = log.committed(group, &partitions(topic, count)).unwrap();
    let committed = committed.into_iter();
    committed.map(|at| at.map(|at| at.offset)).collect()
}

/// The end offset of each partition.
#[track_caller]
pub fn ends(log: &dyn Log, topic: &str, count: i32) -> Vec<i64> {
    let ranges = log.ranges(&partitions(topic, count)).unwrap();
    ranges.iter().map(|range| range.high).collect()
}

/// Whether every partition is committed to its end.
#[track_caller]
pub fn is_level(log: &dyn Log, group: &str, topic: &str, count: i32) -> bool {
    let ends = ends(log, topic, count);
    committed(log, group, topic, count)
        .into_iter()
        .eq(ends.into_iter().map(Some))
}
