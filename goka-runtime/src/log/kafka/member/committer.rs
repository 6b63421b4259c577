//! Commits of offsets, at least once: the offsets of tasks whose appends are acknowledged are committed to
//! the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::super::commit::TaskResults;
use super::super::super::transactions::not_owned;
use super::super::super::{CommitBatch, CommitOutcome, Failure, Group};
use super::super::native::{Client, Code, EventKind, Fault, List, Place, Queue, text};
use super::assignment::AssignedTasks;
use crate::record::{TaskId, TopicId};

/// Why no task is the member's any more.
pub(super) const TAKEN_AWAY: &str = "the group took the assignment away";

pub(super) struct OffsetCommitter {
    group: Arc<Group>,
    /// Where the broker's answers to commits arrive.
    answers: Queue,
    /// The number of the last commit; answers carry the number of theirs.
    last: usize,
}

impl OffsetCommitter {
    pub(super) fn new(client: &Client, group: Arc<Group>) -> Self {
        Self {
            group,
            answers: client.new_queue(),
            last: 0,
        }
    }

    fn client(&self) -> &Client {
        self.answers.client()
    }

    /// Commits the offsets of the batch, except those of tasks whose appends failed.
    pub(super) fn commit(
        &mut self,
        batch: &CommitBatch,
        acks: TaskResults,
        tasks: &AssignedTasks,
        deadline: Instant,
    ) -> CommitOutcome {
        let mut offsets = BTreeMap::new();
        let mut list = List::new();
        let mut listed: Vec<(TaskId, TopicId)> = Vec::new();
        for (task, topic, offset, metadata) in &batch.offsets {
            if acks.get(task).is_some_and(Result::is_err) {
                continue;
            }
            if !tasks.owns(*task) {
                offsets.insert(*task, Err(not_owned(*task)));
                continue;
            }
            let name = self.group.topic(*topic);
            let offset = mutation!(offset(*offset));
            match list.add_with(name, task.partition, offset, metadata) {
                Ok(()) => listed.push((*task, *topic)),
                Err(fault) => {
                    offsets.insert(*task, Err(Failure::Fatal(fault.reason)));
                }
            }
        }
        if !listed.is_empty() {
            let outcome = self.commit_list(&list, deadline);
            for (task, topic) in listed {
                let result = match &outcome {
                    Ok(places) => self.result_of(places, task, topic),
                    Err(failure) => Err(failure.clone()),
                };
                let entry = offsets.entry(task).or_insert(Ok(()));
                if entry.is_ok() {
                    *entry = result;
                }
            }
        }
        CommitOutcome { acks, offsets }
    }

    /// Commits a list, and returns it with the result of each partition; or why the commit as a whole
    /// failed.
    fn commit_list(&mut self, list: &List, deadline: Instant) -> Result<Vec<Place>, Failure> {
        if Instant::now() >= deadline {
            let why = "no time was left to commit offsets";
            return Err(Failure::Retriable(why.to_owned()));
        }
        if self.client().assignment_lost() {
            // A static member that left the group for not polling would commit without a member id,
            // be refused as if another process had its instance name, and take that for the end of the
            // client.
            return Err(Failure::Lost(TAKEN_AWAY.to_owned()));
        }
        if !self.group.instance.is_empty() && self.client().member_id().is_empty() {
            let why = "the client left the group, since it was not polled in time";
            return Err(Failure::Lost(why.to_owned()));
        }
        self.last += 1;
        let number = self.last;
        self.client()
            .commit(list, &self.answers, number)
            .map_err(|fault| self.failure(fault))?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = self.answers.poll(left) else {
                if left > Duration::ZERO {
                    continue;
                }
                let why = "the commit of offsets was not answered in time";
                return Err(Failure::Unknown(why.to_owned()));
            };
            // The answer of an earlier commit, which came after its deadline.
            if event.kind() != EventKind::Commit || event.opaque() != number {
                continue;
            }
            let places = event.places();
            let has_own_errors = places.iter().any(|place| place.error.is_some());
            return match event.fault() {
                Some(fault) if !has_own_errors => Err(self.failure(fault)),
                _ => {
                    fail_point!("after-offset-commit", places.len());
                    Ok(places)
                }
            };
        }
    }

    /// Whether the offset of one partition was committed.
    fn result_of(&self, places: &[Place], task: TaskId, topic: TopicId) -> Result<(), Failure> {
        let at = self.group.place(topic, task.partition);
        let place = places.iter().find(|place| place.at == at);
        match place.and_then(|place| place.error) {
            None => Ok(()),
            Some(code) if is_refused(code) => Err(refused_offset(&at.topic, text(code))),
            Some(code) => Err(self.failure(Fault::of(code))),
        }
    }

    fn failure(&self, fault: Fault) -> Failure {
        commit_failure(&self.group, fault, self.client().assignment_lost())
    }
}

pub(super) fn refused_offset(topic: &str, reason: String) -> Failure {
    Failure::Refused {
        topic: topic.to_owned(),
        key: "(committed offset)".to_owned(),
        reason,
    }
}

/// Whether the offset of one partition is refused for good.
pub(super) fn is_refused(code: Code) -> bool {
    matches!(
        code,
        Code::OffsetMetadataTooLarge
            | Code::InvalidCommitOffsetSize
            | Code::TopicAuthorizationFailed
    )
}

/// What it means that a commit of offsets failed; `is_lost` is whether the group took the assignment away.
pub(super) fn commit_failure(group: &Group, fault: Fault, is_lost: bool) -> Failure {
    let Fault { code, reason } = fault;
    let why = format!("committing offsets: {reason}");
    match code {
        Code::IllegalGeneration
        | Code::StaleMemberEpoch
        | Code::FencedMemberEpoch
        | Code::RebalanceInProgress
        | Code::UnknownMemberId
        | Code::AssignmentLost => match is_lost {
            true => Failure::Lost(why),
            false => Failure::Stale(why),
        },
        Code::FencedInstanceId => Failure::InstanceFenced(why),
        Code::Fatal => Failure::Fatal(why),
        Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::BrokerTransportFailure
        | Code::NetworkException
        | Code::BrokerDestroy => Failure::Unknown(why),
        Code::GroupAuthorizationFailed | Code::InvalidGroupId => {
            let input = group.inputs.first().map(|id| &**group.topic(*id));
            refused_offset(input.unwrap_or_default(), reason)
        }
        _ => Failure::Retriable(why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::group;
    use super::*;

    #[test]
    fn a_commit_fails_as_its_code_says() {
        type Kind = fn(&Failure) -> bool;
        let rows: [(Code, bool, Kind); 8] = [
            (Code::IllegalGeneration, false, |it| {
                matches!(it, Failure::Stale(_))
            }),
            (Code::IllegalGeneration, true, |it| {
                matches!(it, Failure::Lost(_))
            }),
            (Code::FencedInstanceId, false, |it| {
                matches!(it, Failure::InstanceFenced(_))
            }),
            (Code::Fatal, false, |it| matches!(it, Failure::Fatal(_))),
            (Code::RequestTimedOut, false, |it| {
                matches!(it, Failure::Unknown(_))
            }),
            (Code::GroupAuthorizationFailed, false, |it| {
                matches!(it, Failure::Refused { .. })
            }),
            (Code::NotCoordinator, false, |it| {
                matches!(it, Failure::Retriable(_))
            }),
            (Code::NotCoordinator, true, |it| {
                matches!(it, Failure::Retriable(_))
            }),
        ];
        for (code, is_lost, is_expected) in rows {
            let reason = "reason".to_owned();
            let failure = commit_failure(&group(), Fault { code, reason }, is_lost);
            assert!(is_expected(&failure), "{code:?}: {failure:?}");
        }
    }
}
