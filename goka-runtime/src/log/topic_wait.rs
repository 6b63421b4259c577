//! Waits a moment for topics that a program needs and that are missing when it starts: another program may
//! be creating them, or the broker that was asked does not know them yet. Called by processors,
//! emitters, views and commands before they refuse.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use super::{DEFAULT_PARTITIONS, Log, LogError, NewTopic, TopicInfo};

/// How long to wait before the log is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// One program's wait for its topics. It begins when one of them is missed for the first time and
/// lasts for the log's [`topic_timeout`](Log::topic_timeout), however many topics are asked for.
pub(crate) struct TopicWait<'s> {
    is_stopping: &'s dyn Fn() -> bool,
    missing_since: Cell<Option<Instant>>,
}

impl Default for TopicWait<'_> {
    fn default() -> Self {
        Self::unless(&|| false)
    }
}

impl<'s> TopicWait<'s> {
    /// A wait that ends at once when the program is to end.
    pub(crate) fn unless(is_stopping: &'s dyn Fn() -> bool) -> Self {
        Self {
            is_stopping,
            missing_since: Cell::new(None),
        }
    }

    /// What each topic is, in the order asked. Those that `is_needed` names are waited for; `None`
    /// is a topic that is still missing.
    ///
    /// # Errors
    /// [`LogError::Stopping`] when the program ends meanwhile; what the log answers.
    pub(crate) fn describe(
        &self,
        log: &dyn Log,
        topics: &[&str],
        is_needed: impl Fn(&str) -> bool,
    ) -> Result<Vec<Option<TopicInfo>>, LogError> {
        let mut is_told = false;
        loop {
            let found = log.describe(topics)?;
            let missing = topics.iter().zip(&found);
            let missing = missing.filter(|(topic, info)| info.is_none() && is_needed(topic));
            let missing: Vec<&str> = missing.map(|(topic, _)| *topic).collect();
            let Some(first) = missing.first() else {
                return Ok(found);
            };
            let timeout = log.topic_timeout();
            let missed = self.missing_since.get().unwrap_or_else(Instant::now);
            self.missing_since.set(Some(missed));
            let left = timeout.saturating_sub(missed.elapsed());
            if left.is_zero() {
                return Ok(found);
            }
            if (self.is_stopping)() {
                return Err(LogError::Stopping {
                    topic: (*first).to_owned(),
                });
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::info!(topics = missing.join(","), ?timeout, "waiting for topics");
            }
            thread::sleep(AGAIN.min(left));
        }
    }

    /// The same of one topic, which is needed.
    pub(crate) fn describe_one(
        &self,
        log: &dyn Log,
        topic: &str,
    ) -> Result<Option<TopicInfo>, LogError> {
        let found = self.describe(log, &[topic], |_| true)?;
        Ok(found.into_iter().next().flatten())
    }

    /// The same, and creates the topic where the log does that. Without `partitions` it has as many as is
    /// usual.
    ///
    /// # Errors
    /// As [`describe`](TopicWait::describe).
    pub(crate) fn describe_or_create(
        &self,
        log: &dyn Log,
        topic: &str,
        partitions: Option<i32>,
        compact: bool,
    ) -> Result<Option<TopicInfo>, LogError> {
        let found = self.describe_one(log, topic)?;
        if found.is_some() || !log.creates_streams() {
            return Ok(found);
        }
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: partitions.unwrap_or(DEFAULT_PARTITIONS),
            compact,
            retention: None,
        };
        match log.create(&new) {
            // Another process created it meanwhile.
            Ok(()) | Err(LogError::TopicExists { .. }) => self.describe_one(log, topic),
            Err(error) => Err(error),
        }
    }
}

/// How long a missing topic was waited for, as part of an error message; empty if it was not.
pub(crate) fn after(timeout: Duration) -> String {
    if timeout.is_zero() {
        return String::new();
    }
    format!(" after a wait of {timeout:?}")
}
