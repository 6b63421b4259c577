//! How a topic that is in use has changed: asked again and again by a running processor and a view.

use crate::core::recovery::is_other_topic;
use crate::log::TopicInfo;

/// What of a topic is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicChange {
    /// It was deleted and created again: the name is that of another topic now.
    Recreated,
    /// It has more partitions.
    Grown,
}

impl TopicChange {
    /// Compares a topic with what is known of it. Fewer partitions are an old answer: brokers hear of new
    /// ones one after the other, and a topic never loses any.
    pub(crate) fn of(known_id: &str, known_partitions: i32, now: &TopicInfo) -> Option<Self> {
        if is_other_topic(known_id, &now.id) {
            return Some(Self::Recreated);
        }
        (now.partitions > known_partitions).then_some(Self::Grown)
    }
}

/// The advice to say from where a group reads an input that was created again.
pub(crate) fn reset_offsets(group: &str, topic: &str) -> String {
    format!(
        "with all instances stopped, set where to go on (kafka-consumer-groups.sh --bootstrap-server \
         <brokers> --group {group} --topic {topic} --reset-offsets --to-earliest --execute)"
    )
}
