//! Questions about offsets: where partitions begin and end, what groups committed, and who is in a group.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Committed, Isolation, LogError, OffsetRange};
use super::admin::{AGAIN, Admin, asking, has_time};
use super::codes::is_unreachable;
use super::native::{Code, Fault, Kind, List, MemberInfo, Place, Queue, text};
use crate::record::{Offset, TopicPartition};

/// How long one request for offsets may take. It goes to a partition's leader, and until the cluster
/// has chosen another one to a leader that died, where nothing would answer before the deadline.
const LEADER_WAIT: Duration = Duration::from_secs(2);

/// How many partitions are asked for at once.
const AT_ONCE: usize = 10_000;
/// How long one question about a group may take.
const WAIT: Duration = Duration::from_secs(2);

impl Admin {
    pub(super) fn ranges(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<OffsetRange>, LogError> {
        let until = self.until();
        let mut topics: Vec<&str> = partitions.iter().map(|at| &*at.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        let found = self.described(&topics, until)?;
        for at in partitions {
            let topic = found.get(&*at.topic);
            let topic = topic.ok_or_else(|| LogError::unknown_topic(&at.topic))?;
            if !(0..topic.partitions).contains(&at.partition) {
                return Err(LogError::unknown_partition(&at.topic, at.partition));
            }
        }
        let start = self.offsets(partitions, -2, Isolation::ReadUncommitted, until)?;
        let stable = self.offsets(partitions, -1, Isolation::ReadCommitted, until)?;
        // Last, so that it is never behind the stable one.
        let high = self.offsets(partitions, -1, Isolation::ReadUncommitted, until)?;
        let range = |at| {
            Some(OffsetRange {
                start: *start.get(at)?,
                stable: *stable.get(at)?,
                high: *high.get(at)?,
            })
        };
        let unknown = |at: &TopicPartition| LogError::unknown_partition(&at.topic, at.partition);
        let partitions = partitions.iter();
        partitions
            .map(|at| range(at).ok_or_else(|| unknown(at)))
            .collect()
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: Offset,
        isolation: Isolation,
        until: Instant,
    ) -> Result<Offsets, LogError> {
        let what = "reading partitions' offsets";
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        loop {
            let list = list(partitions, which).map_err(|fault| self.refused(what, fault))?;
            let slice = until.min(Instant::now() + LEADER_WAIT);
            let asked = self.ask(what, slice, |ask| {
                self.client().list_offsets(&list, isolation, ask);
                Ok(())
            });
            let answer = match asked {
                Ok(answer) => answer,
                Err(LogError::Timeout { .. } | LogError::Unreachable { .. }) if has_time(until) => {
                    thread::sleep(AGAIN);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut places = answer.offsets();
            for place in places.iter_mut().filter(|place| place.offset < 0) {
                // While leaders change librdkafka may answer without an offset and without an error.
                place.error.get_or_insert(Code::LeaderNotAvailable);
            }
            let Some(bad) = places.iter().find(|place| place.error.is_some()) else {
                let offsets = places.into_iter().map(|place| (place.at, place.offset));
                return Ok(offsets.collect());
            };
            self.retry(what, bad, until)?;
        }
    }

    /// Waits a moment where a place's error may pass, else is the error.
    fn retry(&self, what: &str, place: &Place, until: Instant) -> Result<(), LogError> {
        let code = place.error.unwrap_or(Code::Unknown);
        let is_unknown = matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic);
        if is_unknown && !self.is_new(&place.at.topic) {
            return Err(LogError::unknown_topic(&place.at.topic));
        }
        let reason = text(code);
        let what = format!("{what} of {}", place.at);
        // A topic that is new is not known everywhere at once.
        let code = match is_unknown {
            true => Code::LeaderNotAvailable,
            false => code,
        };
        self.again(&what, &Fault { code, reason }, until)
    }

    pub(super) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, LogError> {
        let what = format!("reading the committed offsets of group `{group}`");
        let until = self.until();
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        // A client of that group, though it never joins.
        let errors = asking(Kind::RD_KAFKA_CONSUMER, &self.config.asking_of(group))?;
        loop {
            let list = list(partitions, -1001).map_err(|fault| self.refused(&what, fault))?;
            let wait = until.saturating_duration_since(Instant::now());
            let answer = errors.client().committed(&list, wait);
            self.listen(&errors);
            let places = match answer {
                Ok(places) => places,
                Err(fault) if is_unreachable(fault.code) && !has_time(until) => {
                    return Err(self.silent(&what, fault.code));
                }
                Err(fault) => {
                    self.again(&what, &fault, until)?;
                    continue;
                }
            };
            let is_bad = |code| code != Code::UnknownTopicOrPartition;
            if let Some(bad) = places.iter().find(|it| it.error.is_some_and(is_bad)) {
                self.retry(&what, bad, until)?;
                continue;
            }
            let found: HashMap<_, _> = places.into_iter().filter_map(committed).collect();
            let partitions = partitions.iter();
            return Ok(partitions.map(|at| found.get(at).cloned()).collect());
        }
    }

    /// What was committed under the name of a group, by any program. librdkafka's admin call for that is not
    /// used: it keeps asking a coordinator that died, and may use freed memory (issues 3663 and 4605). The
    /// offsets are asked for topic by topic instead, of all topics that could be inputs of a group whose inputs
    /// have so many partitions.
    pub(super) fn all_committed(
        &self,
        group: &str,
        partitions: i32,
    ) -> Result<Vec<(TopicPartition, Committed)>, LogError> {
        let what = format!("looking for other programs in group `{group}`");
        let until = self.until();
        let asking = asking(Kind::RD_KAFKA_CONSUMER, &self.config.asking_of_now(group))?;
        let client = asking.client();
        let topics = self.ask_until(&what, &asking, until, |wait| {
            client.topics_of(partitions, wait)
        })?;
        let places = topics.iter().flat_map(|topic| {
            (0..partitions).map(|partition| TopicPartition::new(topic.as_str(), partition))
        });
        let places: Vec<_> = places.collect();
        let mut all = Vec::new();
        for some in places.chunks(AT_ONCE) {
            let found = self.ask_until(&what, &asking, until, |wait| {
                client.committed(&list(some, -1001)?, wait)
            })?;
            // Partitions without a committed offset, and those that this client may not read, are left out.
            all.extend(found.into_iter().filter_map(committed));
        }
        Ok(all)
    }

    /// Asks until there is an answer, or no time left.
    fn ask_until<T>(
        &self,
        what: &str,
        asking: &Queue,
        until: Instant,
        ask: impl Fn(Duration) -> Result<T, Fault>,
    ) -> Result<T, LogError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = ask(WAIT.min(left));
            self.listen(asking);
            match answer {
                Ok(answer) => return Ok(answer),
                Err(fault) => self.again(what, &fault, until)?,
            }
        }
    }

    /// The member that owns a partition of the group's lead topic.
    pub(super) fn holder(&self, group: &str, at: &TopicPartition) -> Option<String> {
        let census = self.client().census(group, WAIT).ok()?;
        let mut members = census.members.iter();
        let MemberInfo {
            id, client, host, ..
        } = members.find(|it| it.assigned.contains(at))?;
        let host = host.trim_start_matches('/');
        Some(format!("client `{client}` (member `{id}`) on {host}"))
    }
}

type Offsets = HashMap<TopicPartition, Offset>;

pub(super) fn list(partitions: &[TopicPartition], offset: Offset) -> Result<List, Fault> {
    let mut list = List::new();
    for at in partitions {
        list.add_with(&at.topic, at.partition, offset, "")?;
    }
    Ok(list)
}

/// What a place of a committed-offsets answer holds, if anything was committed.
pub(super) fn committed(place: Place) -> Option<(TopicPartition, Committed)> {
    let (offset, metadata) = (place.offset, place.metadata);
    let is_committed = place.error.is_none() && offset >= 0;
    is_committed.then_some((place.at, Committed { offset, metadata }))
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

    use super::super::config::KafkaConfig;
    use super::*;

    #[test]
    fn offsets_of_partitions_are_asked_for_again_when_that_may_pass() {
        let at = [TopicPartition::new("topic", 0)];
        let rows = [
            (Answer::RD_KAFKA_RESP_ERR_UNKNOWN, true),
            (Answer::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, true),
            (Answer::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, true),
            (Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false),
        ];
        for (answer, passes) in rows {
            let cluster = MockCluster::new(1).expect("a cluster");
            cluster.create_topic("topic", 1, 1).expect("made");
            cluster.request_errors(Api::ListOffsets, &[answer; 2]);
            let config = KafkaConfig {
                brokers: cluster.bootstrap_servers(),
                deadline: Duration::from_secs(60),
                ..KafkaConfig::default()
            };
            let admin = Admin::new(config).expect("a client");
            let isolation = Isolation::ReadUncommitted;
            let found = admin.offsets(&at, -1, isolation, admin.until());
            match passes {
                true => assert_eq!(found.expect("told")[&at[0]], 0, "{answer:?}"),
                false => assert!(
                    matches!(found, Err(LogError::Refused { .. })),
                    "{answer:?}: {found:?}"
                ),
            }
        }
    }
}
