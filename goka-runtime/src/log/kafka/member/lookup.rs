//! The committed offsets of tasks that were assigned. They are asked for on a thread of their own, since
//! the call blocks.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::super::super::cancel::Call;
use super::super::super::{Assignment, Epoch, Group, LogError};
use super::super::codes::is_final;
use super::super::native::{Client, Code, Fault, Place, text};
use super::super::offsets::{committed, list};
use super::errors::ended;
use crate::record::{TaskId, TopicId, TopicPartition};

/// How long one request for committed offsets may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long after an answer the next request is sent.
const REQUEST_AGAIN: Duration = Duration::from_millis(50);

/// The tasks that are asked for, and the call that asks.
type Request = (Vec<(TaskId, Epoch)>, Call<Result<Vec<Place>, Fault>>);

#[derive(Default)]
pub(super) struct OffsetLookup {
    request: Option<Request>,
    next: Option<Instant>,
    /// Why the offsets were not known the last time.
    last_error: Option<String>,
}

impl OffsetLookup {
    /// The offsets cannot be asked for yet.
    pub(super) fn hold_back(&mut self, reason: String) {
        self.last_error = Some(reason);
    }

    pub(super) fn reason(&self) -> String {
        let reason = self.last_error.as_deref();
        let reason = reason.unwrap_or("the coordinator does not answer");
        format!("reading the committed offsets: {reason}")
    }

    /// Asks for the committed offsets of tasks, unless a request is in flight or the last one is too
    /// recent.
    pub(super) fn ask(
        &mut self,
        client: &Client,
        group: &Group,
        tasks: Vec<(TaskId, Epoch)>,
        timeout: Duration,
    ) -> Result<(), LogError> {
        if self.request.is_some() || self.next.is_some_and(|next| next > Instant::now()) {
            return Ok(());
        }
        let places = tasks.iter().flat_map(|(task, _)| {
            let inputs = group.inputs_of(*task);
            inputs.map(|input| group.place(input, task.partition))
        });
        let places: Vec<_> = places.collect();
        let (client, timeout) = (client.clone(), REQUEST_TIMEOUT.min(timeout));
        let ask = move || client.committed(&list(&places, -1001)?, timeout);
        let call = Call::start("kafka-offsets", ask);
        let call = call.map_err(|error| LogError::client("reading committed offsets", error))?;
        self.request = Some((tasks, call));
        Ok(())
    }

    /// Takes the answer, if it is there: the tasks whose offsets are known now. What is not known yet may
    /// be asked for again.
    pub(super) fn answer(
        &mut self,
        client: &Client,
        group: &Group,
    ) -> Result<Option<Vec<Assignment>>, LogError> {
        let Some((tasks, call)) = self.request.take() else {
            return Ok(None);
        };
        let places = match call.wait(Duration::ZERO) {
            Ok(places) => places,
            Err(RecvTimeoutError::Timeout) => {
                self.request = Some((tasks, call));
                return Ok(None);
            }
            // The thread panicked: asked again.
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
        };
        self.next = Some(Instant::now() + REQUEST_AGAIN);
        match places {
            Ok(places) => self.resolve(group, tasks, places).map(Some),
            Err(fault) if client.fatal().is_some() => Err(ended(client, group, fault)),
            Err(fault) if is_final(fault.code) => Err(LogError::refused(
                format!("reading the offsets of group `{}`", group.name),
                fault,
            )),
            // Any other error may pass.
            Err(fault) => {
                self.last_error = Some(fault.reason);
                Ok(Some(Vec::new()))
            }
        }
    }

    /// The tasks all of whose inputs were answered.
    fn resolve(
        &mut self,
        group: &Group,
        tasks: Vec<(TaskId, Epoch)>,
        places: Vec<Place>,
    ) -> Result<Vec<Assignment>, LogError> {
        let mut unknown: Vec<TopicPartition> = Vec::new();
        for place in &places {
            match place.error {
                // A topic that was deleted, or that the broker does not know yet, has no offsets.
                None | Some(Code::UnknownTopicOrPartition) => {}
                Some(code) if is_final(code) => {
                    let (topic, group) = (&place.at.topic, &group.name);
                    let what =
                        format!("reading the offsets of group `{group}` for topic `{topic}`");
                    return Err(LogError::refused(what, Fault::of(code)));
                }
                Some(code) => {
                    self.last_error = Some(text(code));
                    unknown.push(place.at.clone());
                }
            }
        }
        let found: HashMap<_, _> = places.into_iter().filter_map(committed).collect();
        let resolve = |(task, epoch): (TaskId, Epoch)| {
            let inputs = || group.inputs_of(task);
            let at = |input: TopicId| group.place(input, task.partition);
            if inputs().any(|input| unknown.contains(&at(input))) {
                return None;
            }
            let committed =
                inputs().filter_map(|input| Some((input, found.get(&at(input))?.clone())));
            Some(Assignment {
                task,
                epoch,
                committed: committed.collect(),
            })
        };
        Ok(tasks.into_iter().filter_map(resolve).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::group;
    use super::*;

    fn place(topic: &str, partition: i32, offset: i64, error: Option<Code>) -> Place {
        Place {
            at: TopicPartition::new(topic, partition),
            offset,
            metadata: "metadata".to_owned(),
            error,
        }
    }

    #[test]
    fn a_task_is_resolved_when_all_its_inputs_were_answered() {
        let mut group = group();
        group.topics.push("other".into());
        group.inputs.push(TopicId(2));
        let task = |partition| TaskId {
            lead: TopicId(0),
            partition,
        };
        let tasks = (0..3).map(|partition| (task(partition), Epoch(4)));
        let places = vec![
            place("input", 0, 7, None),
            place("other", 0, -1001, None),
            place("input", 1, 7, None),
            place("other", 1, -1001, Some(Code::UnstableOffsetCommit)),
            place("input", 2, 9, None),
            place("other", 2, -1001, Some(Code::UnknownTopicOrPartition)),
        ];
        let mut lookup = OffsetLookup::default();
        let resolved = lookup.resolve(&group, tasks.collect(), places);
        let resolved = resolved.expect("no error is final");
        let offsets = |of: &Assignment| -> Vec<(TopicId, i64)> {
            let committed = of.committed.iter();
            committed.map(|(input, it)| (*input, it.offset)).collect()
        };
        assert_eq!(resolved.len(), 2);
        assert_eq!(resolved[0].task, task(0));
        assert_eq!(offsets(&resolved[0]), [(TopicId(1), 7)]);
        assert_eq!(resolved[1].task, task(2));
        assert_eq!(offsets(&resolved[1]), [(TopicId(1), 9)]);
        let reason = text(Code::UnstableOffsetCommit);
        assert!(lookup.reason().ends_with(&reason), "{}", lookup.reason());
    }

    #[test]
    fn a_right_that_is_missing_is_final() {
        let (group, task) = (
            group(),
            TaskId {
                lead: TopicId(0),
                partition: 0,
            },
        );
        let places = vec![place(
            "input",
            0,
            -1001,
            Some(Code::TopicAuthorizationFailed),
        )];
        let resolved = OffsetLookup::default().resolve(&group, vec![(task, Epoch(1))], places);
        assert!(
            matches!(resolved, Err(LogError::Refused { .. })),
            "{resolved:?}"
        );
    }
}
