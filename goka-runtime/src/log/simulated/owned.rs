//! What a member owns, and what a poll finds for its driver.

use std::collections::BTreeMap;
use std::time::Duration;

use super::topics::Page;
use crate::log::seats::Step;
use crate::log::{Assignment, Epoch, MemberEvent};
use crate::record::{Offset, TaskId, TopicId};

/// A task that the group assigned.
#[derive(Debug)]
pub(super) struct OwnedTask {
    pub(super) epoch: Epoch,
    pub(super) since: Duration,
    /// Whether the driver knows of it.
    pub(super) is_announced: bool,
    /// The positions of the inputs that are fetched.
    pub(super) inputs: BTreeMap<TopicId, Offset>,
}

/// A failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Degraded {
    /// No broker answers.
    Brokers,
    /// Committed offsets cannot be read.
    Lookup,
}

/// What a poll finds.
pub(super) enum Polled {
    Step(Step),
    /// A newer member has its static identity.
    Fenced,
    Assigned(Vec<Assignment>),
    Batch(TaskId, TopicId, Page),
    Event(MemberEvent<'static>),
}
