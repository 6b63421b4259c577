//! The barrier's half: acknowledgements first, then offsets, each until the deadline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::super::{CommitBatch, CommitOutcome, Failure};
use super::super::native::{Code, EventKind, List, Place, text};
use super::{KafkaMember, lost};
use crate::record::{TaskId, TopicId};

impl KafkaMember {
    pub(super) fn settle_unit(&mut self, unit: &CommitBatch, deadline: Instant) -> CommitOutcome {
        let acks = self.producer.settle(deadline);
        fail_point!("after-acks", acks.len());
        let mut offsets = BTreeMap::new();
        let mut list = List::new();
        let mut listed: Vec<(TaskId, TopicId)> = Vec::new();
        for (task, topic, offset, metadata) in &unit.offsets {
            if acks.get(task).is_some_and(Result::is_err) {
                continue;
            }
            if !self.tasks.contains_key(task) {
                offsets.insert(*task, Err(lost(*task)));
                continue;
            }
            let name = self.group.topic(*topic);
            #[cfg(feature = "fail-points")]
            let offset = &crate::fail_points::offset(*offset);
            match list.add_with(name, task.partition, *offset, metadata) {
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
                    Ok(places) => self.committed_place(places, task, topic),
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

    /// What became of each place, or what became of the whole.
    fn commit_list(&mut self, list: &List, deadline: Instant) -> Result<Vec<Place>, Failure> {
        if Instant::now() >= deadline {
            let why = "no time was left to commit offsets";
            return Err(Failure::Retriable(why.to_owned()));
        }
        if self.client().assignment_lost() {
            // A static member that left the group for not polling would commit without a member id,
            // be refused as if it had a twin, and take that for the end of the client.
            return Err(Failure::Lost(
                "the group took the assignment away".to_owned(),
            ));
        }
        if !self.group.instance.is_empty() && self.client().member_id().is_empty() {
            return Err(Failure::Lost(
                "the client left the group, since it was not polled in time".to_owned(),
            ));
        }
        self.commit += 1;
        let number = self.commit;
        self.client()
            .commit(list, &self.commits, number)
            .map_err(|fault| self.commit_failure(fault.code, fault.reason))?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = self.commits.poll(left) else {
                if left > Duration::ZERO {
                    continue;
                }
                let why = "the commit of offsets was not answered in time";
                return Err(Failure::Unknown(why.to_owned()));
            };
            // A commit that was given up may still be answered.
            if event.kind() != EventKind::Commit || event.opaque() != number {
                continue;
            }
            let places = event.places();
            let told = places.iter().any(|place| place.error.is_some());
            return match event.fault() {
                Some(fault) if !told => Err(self.commit_failure(fault.code, fault.reason)),
                _ => {
                    fail_point!("after-offset-commit", places.len());
                    Ok(places)
                }
            };
        }
    }

    fn committed_place(
        &self,
        places: &[Place],
        task: TaskId,
        topic: TopicId,
    ) -> Result<(), Failure> {
        let name = self.group.topic(topic);
        let place = places
            .iter()
            .find(|place| *place.topic == **name && place.partition == task.partition);
        match place.and_then(|place| place.error) {
            None => Ok(()),
            Some(
                code @ (Code::OffsetMetadataTooLarge
                | Code::InvalidCommitOffsetSize
                | Code::TopicAuthorizationFailed),
            ) => Err(Failure::Refused {
                topic: name.to_string(),
                key: "(committed offset)".to_owned(),
                reason: text(code),
            }),
            Some(code) => Err(self.commit_failure(code, text(code))),
        }
    }

    pub(super) fn commit_failure(&self, code: Code, reason: String) -> Failure {
        let why = format!("committing offsets: {reason}");
        match code {
            Code::IllegalGeneration
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
            | Code::RebalanceInProgress
            | Code::UnknownMemberId
            | Code::AssignmentLost => match self.client().assignment_lost() {
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
            Code::GroupAuthorizationFailed | Code::InvalidGroupId => Failure::Refused {
                topic: self
                    .group
                    .inputs
                    .first()
                    .map_or_else(String::new, |id| self.group.topic(*id).to_string()),
                key: "(committed offset)".to_owned(),
                reason,
            },
            _ => Failure::Retriable(why),
        }
    }
}
