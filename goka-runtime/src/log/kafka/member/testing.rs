//! What the tests of the member and of its parts share.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::{Committer, Driver, Fetched, Group, MemberEvent};
use crate::record::{Guarantee, TaskId, TopicId};

/// A group with a table and one input.
pub(in super::super) fn group() -> Group {
    Group {
        name: "group".into(),
        topics: ["table", "input"].map(Arc::from).to_vec(),
        inputs: vec![TopicId(1)],
        lead: Some(TopicId(0)),
        instance: String::new(),
        worker: 0,
        session_timeout: Duration::from_secs(6),
        max_poll_interval: Duration::from_secs(300),
        guarantee: Guarantee::AtLeastOnce,
        transaction_timeout: Duration::from_secs(10),
    }
}

/// A driver that records the events that it gets, and takes every record.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) assigned: Vec<TaskId>,
    pub(super) degraded: Vec<Option<String>>,
}

impl Driver for Recorder {
    fn event(&mut self, event: MemberEvent<'_>) {
        match event {
            MemberEvent::Assigned(assignments) => {
                self.assigned.extend(assignments.iter().map(|of| of.task));
            }
            MemberEvent::Degraded(reason) => self.degraded.push(reason),
            _ => {}
        }
    }

    fn batch(&mut self, fetched: Fetched<'_>) -> usize {
        fetched.records.len()
    }

    fn revoking(&mut self, _: &[TaskId], _: &mut dyn Committer) {}
}
