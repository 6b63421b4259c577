//! The topics of a graph's edges: looked up, created where the processor does that, and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{Counted, Mismatch, StartError};
use crate::core::TablePlan;
use crate::graph::{Edge, EdgeKind, GroupGraph, TopicKind};
use crate::log::{DEFAULT_PARTITIONS, Log, LogError, NewTopic, TopicInfo, TopicWait};
use crate::record::TopicId;

/// How long loop and visit topics keep their records: longer than any outage.
pub const LOOP_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The topics of a graph's edges, each once, in the order of the edges.
pub(crate) struct Topics {
    pub(super) names: Vec<&'static str>,
    pub(super) infos: BTreeMap<&'static str, TopicInfo>,
}

impl Topics {
    /// Looks the topics up; waits for those that others create.
    pub(super) fn look(
        graph: &GroupGraph,
        log: &dyn Log,
        wait: &TopicWait<'_>,
    ) -> Result<Self, LogError> {
        use EdgeKind::{Input, Join, Output};
        let mut names: Vec<&'static str> = Vec::new();
        let own = |edge: &&Edge| !matches!(edge.kind, EdgeKind::Lookup);
        for edge in graph.edges.iter().filter(own) {
            if !names.contains(&edge.topic.name) {
                names.push(edge.topic.name);
            }
        }
        let is_others = |name: &str| {
            let mut edges = graph.edges.iter().filter(|edge| edge.topic.name == name);
            edges.any(|edge| matches!(edge.kind, Input { .. } | Output | Join))
        };
        let found = wait.describe(log, &names, is_others)?;
        let infos = names
            .iter()
            .zip(found)
            .filter_map(|(name, info)| Some((*name, info?)));
        Ok(Self {
            infos: infos.collect(),
            names,
        })
    }

    pub(super) fn of(&self, edge: &Edge) -> (TopicId, &TopicInfo) {
        let at = self.names.iter().position(|name| *name == edge.topic.name);
        let at = at
            .and_then(|at| u16::try_from(at).ok())
            .expect("every edge was looked at");
        (TopicId(at), &self.infos[edge.topic.name])
    }

    /// Creates what is missing and may be created, and checks all topics.
    pub(super) fn complete(
        mut self,
        graph: &GroupGraph,
        log: &dyn Log,
        wait: &TopicWait<'_>,
    ) -> Result<Self, StartError> {
        let group = graph.group.to_owned();
        let failed = |source| StartError::Log {
            group: group.clone(),
            source,
        };
        let together = is_copartitioned(graph);
        let shared_count = self
            .count(graph)
            .or_else(|| graph.inputs().find_map(|edge| edge.topic.partitions))
            .unwrap_or(DEFAULT_PARTITIONS);
        let wanted = |edge: &Edge| {
            let is_input = matches!(edge.kind, EdgeKind::Input { .. } | EdgeKind::Join);
            let shared = (is_input && together).then_some(shared_count);
            edge.topic
                .partitions
                .or(shared)
                .unwrap_or(DEFAULT_PARTITIONS)
        };
        let is_missing = |edge: &&Edge| !self.infos.contains_key(edge.topic.name);
        let streams = graph.inputs().chain(graph.outputs());
        let mut missing: Vec<&Edge> = streams.filter(is_missing).collect();
        if !missing.is_empty() && !log.creates_streams() {
            return Err(StartError::MissingTopics {
                group,
                location: graph.location,
                topics: missing
                    .iter()
                    .map(|edge| (edge.topic.name.to_owned(), wanted(edge)))
                    .collect(),
                waited: log.topic_timeout(),
            });
        }
        // A declared table without a group is filled by emitters.
        if log.creates_streams() {
            let is_filled = |edge: &&Edge| {
                matches!(edge.kind, EdgeKind::Join) && edge.topic.kind == TopicKind::Table
            };
            let joined = graph.edges.iter().filter(is_filled);
            missing.extend(joined.filter(is_missing));
        }
        for edge in missing {
            let is_table = edge.topic.kind == TopicKind::Table;
            let new = new_topic(edge.topic.name, wanted(edge), is_table, None);
            self.make(log, wait, edge.topic.name, &new)
                .map_err(failed)?;
        }
        for edge in graph.edges {
            let is_join = matches!(edge.kind, EdgeKind::Join);
            if is_join && !self.infos.contains_key(edge.topic.name) {
                return Err(StartError::MissingTable {
                    group,
                    table: edge.topic.name.to_owned(),
                    location: edge.location,
                    waited: log.topic_timeout(),
                });
            }
        }
        // The group's own topics are not created beside others that do not fit together.
        self.check_counts(graph)?;
        for edge in graph.edges {
            let (compact, retention) = match edge.kind {
                EdgeKind::Table => (true, None),
                EdgeKind::Loopback { .. } | EdgeKind::Visit { .. } => (false, Some(LOOP_RETENTION)),
                _ => continue,
            };
            if !self.infos.contains_key(edge.topic.name) {
                let count = self.count(graph).unwrap_or(shared_count);
                let new = new_topic(edge.topic.name, count, compact, retention);
                self.make(log, wait, edge.topic.name, &new)
                    .map_err(failed)?;
            }
        }
        self.check_policies(graph)?;
        self.check_replicas(graph)?;
        Ok(self)
    }

    /// Whether the topics have the partitions that are declared, and those that belong together have
    /// the same number of them.
    pub(super) fn check_counts(&self, graph: &GroupGraph) -> Result<(), StartError> {
        for edge in graph.inputs().chain(graph.outputs()) {
            let found = self.infos[edge.topic.name].partitions;
            if let Some(declared) = edge.topic.partitions.filter(|declared| *declared != found) {
                return Err(StartError::OtherCount {
                    topic: edge.topic.name.to_owned(),
                    found,
                    declared,
                    location: edge.location,
                });
            }
        }
        if !is_copartitioned(graph) {
            return Ok(());
        }
        // Outputs and lookups are exempt; the group's own topics are checked where they exist.
        let bound = |edge: &&Edge| !matches!(edge.kind, EdgeKind::Output | EdgeKind::Lookup);
        let topics: Vec<_> = graph
            .edges
            .iter()
            .filter(bound)
            .filter_map(|edge| {
                let info = self.infos.get(edge.topic.name)?;
                Some(Counted {
                    topic: info.name.clone(),
                    partitions: info.partitions,
                })
            })
            .collect();
        copartitioned(graph.group, &topics).map_err(|mismatch| StartError::Copartition {
            mismatch,
            location: graph.location,
        })
    }

    /// Whether the topics keep what the group needs: tables the last record of each key, loop and visit
    /// topics every record until it is handled.
    pub(super) fn check_policies(&self, graph: &GroupGraph) -> Result<(), StartError> {
        for edge in graph.edges {
            let Some(info) = self.infos.get(edge.topic.name) else {
                continue;
            };
            let (group, topic) = (graph.group.to_owned(), info.name.clone());
            match edge.kind {
                EdgeKind::Loopback { .. } | EdgeKind::Visit { .. } => {
                    if info.policy.compact {
                        return Err(StartError::LoopCompacted { group, topic });
                    }
                    if info.retention.is_some_and(|kept| kept < LOOP_RETENTION) {
                        return Err(StartError::LoopRetention { group, topic });
                    }
                }
                EdgeKind::Table | EdgeKind::Join if !info.policy.is_of_a_table() => {
                    let policy = info.policy.name();
                    return Err(match edge.kind {
                        EdgeKind::Table => StartError::NotCompacted {
                            group,
                            topic,
                            policy,
                        },
                        _ => StartError::JoinNotCompacted {
                            group,
                            topic,
                            policy,
                            location: edge.location,
                        },
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether what the group writes can have the copies that its topics ask for. Brokers differ in
    /// what they do where it cannot: older ones refuse each record, newer ones count what is there,
    /// and a record has fewer copies than its owner asked for.
    fn check_replicas(&self, graph: &GroupGraph) -> Result<(), StartError> {
        use EdgeKind::{Loopback, Output, Table, Visit};
        let is_written =
            |edge: &&Edge| matches!(edge.kind, Output | Table | Loopback { .. } | Visit { .. });
        for edge in graph.edges.iter().filter(is_written) {
            let info = &self.infos[edge.topic.name];
            if info.replicas < info.min_in_sync {
                return Err(StartError::TooFewReplicas {
                    group: graph.group.to_owned(),
                    topic: info.name.clone(),
                    replicas: info.replicas,
                    wanted: info.min_in_sync,
                });
            }
        }
        Ok(())
    }

    /// The partition count of the inputs.
    fn count(&self, graph: &GroupGraph) -> Option<i32> {
        let mut inputs = graph.inputs();
        inputs.find_map(|edge| Some(self.infos.get(edge.topic.name)?.partitions))
    }

    /// Creates a topic and waits until it is found: the next broker may learn of it later.
    fn make(
        &mut self,
        log: &dyn Log,
        wait: &TopicWait<'_>,
        name: &'static str,
        topic: &NewTopic,
    ) -> Result<(), LogError> {
        let (partitions, compact) = (topic.partitions, topic.compact);
        match log.create(topic) {
            Ok(()) => tracing::info!(topic = name, partitions, compact, "topic created"),
            Err(LogError::TopicExists { .. }) => {}
            Err(error) => return Err(error),
        }
        let info = wait.describe_one(log, name)?;
        let info = info.ok_or_else(|| LogError::UnknownTopic {
            topic: name.to_owned(),
        })?;
        self.infos.insert(name, info);
        Ok(())
    }

    pub(super) fn table(&self, edge: &Edge) -> TablePlan {
        let (topic, info) = self.of(edge);
        TablePlan {
            topic,
            max_message_bytes: info.max_message_bytes,
            fingerprint: edge.topic.fingerprint(),
        }
    }
}

/// Whether the group's topics need one partition count: it has a table, or joins one.
pub(crate) fn is_copartitioned(graph: &GroupGraph) -> bool {
    let together = |edge: &Edge| matches!(edge.kind, EdgeKind::Table | EdgeKind::Join);
    graph.edges.iter().any(together)
}

/// Refuses topics with different partition counts.
fn copartitioned(group: &str, topics: &[Counted]) -> Result<(), Mismatch> {
    if topics
        .iter()
        .all(|counted| counted.partitions == topics[0].partitions)
    {
        return Ok(());
    }
    Err(Mismatch {
        group: group.to_owned(),
        topics: topics.to_vec(),
    })
}

fn new_topic(name: &str, partitions: i32, compact: bool, retention: Option<Duration>) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        compact,
        retention,
    }
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
        assert_eq!(copartitioned("g", &same), Ok(()));
        let error = copartitioned("g", &[topic("a", 4), topic("b", 8)]).unwrap_err();
        assert!(error.to_string().contains("`a` with 4, `b` with 8"));
    }
}
