//! Co-partitioning: inputs, joins, loop and table of one group have one partition count.

use std::fmt;

/// A topic and its partition count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
}

/// Topics of one group that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The group.
    pub group: String,
    /// Every topic with its count, in the order of the group's edges.
    pub topics: Vec<Counted>,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the topics of group `{}` need one partition count, found ",
            self.group
        )?;
        for (at, counted) in self.topics.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}`{}` with {}", counted.topic, counted.partitions)?;
        }
        let most = self
            .topics
            .iter()
            .map(|counted| counted.partitions)
            .max()
            .unwrap_or_default();
        write!(
            f,
            "; recreate the odd ones, or write them again into topics of {most} partitions"
        )
    }
}

/// The one count of all topics.
///
/// # Errors
/// Lists every topic with its count when they differ.
pub(super) fn copartitioned(group: &str, topics: &[Counted]) -> Result<Option<i32>, Mismatch> {
    let first = topics.first().map(|counted| counted.partitions);
    if topics
        .iter()
        .all(|counted| Some(counted.partitions) == first)
    {
        return Ok(first);
    }
    Err(Mismatch {
        group: group.to_owned(),
        topics: topics.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_every_topic_with_its_count() {
        let topic = |topic: &str, partitions| Counted {
            topic: topic.into(),
            partitions,
        };
        let same = [topic("a", 4), topic("b", 4)];
        assert_eq!(copartitioned("g", &same), Ok(Some(4)));
        let error = copartitioned("g", &[topic("a", 4), topic("b", 8)]).unwrap_err();
        assert!(error.to_string().contains("`a` with 4, `b` with 8"));
    }
}
