//! Asks Kafka for all offsets that were committed under the name of a group, by any program, and for its members.
//!
//! librdkafka's admin call for all of a group's offsets is not used: it keeps asking a coordinator that
//! died, and may use freed memory (issues 3663 and 4605). The offsets are asked for topic by topic instead,
//! of all topics that could be inputs of a group whose inputs have so many partitions.

use std::time::{Duration, Instant};

use super::super::{Committed, LogError};
use super::admin::{Admin, asking};
use super::native::{Fault, Kind, MemberInfo, Queue};
use super::offsets::{committed, list};
use crate::record::TopicPartition;

/// How many partitions are asked for at once.
const AT_ONCE: usize = 10_000;
/// How long one question may take.
const WAIT: Duration = Duration::from_secs(2);

impl Admin {
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
