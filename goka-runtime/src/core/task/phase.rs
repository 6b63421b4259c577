//! Where a task is in its life.

use std::collections::BTreeSet;

use crate::record::TopicId;

/// Where a task is in its life, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits until its copy, its topics and its offsets are looked at.
    Inspecting,
    /// Its copies are brought up to the ends of their topics.
    Restoring,
    /// Its start offsets are being committed: before that, a crash would look like lost offsets.
    Starting,
    /// Its start offsets are committed; whether another program uses the group's name is looked up.
    Verifying,
    /// Its inputs are fetched and handled.
    Running,
    /// It failed; its offsets stay where they were.
    Stopped,
    /// Another member owns it, though the log has not said so yet.
    Gone,
}

/// [`State`] with what belongs to it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// An inspection was asked for.
    Inspecting,
    /// It is inspected once its memtable is flushed: the copy is then restored from its own offset.
    Flushing,
    /// The topics of the copies that are not restored yet.
    Restoring(BTreeSet<TopicId>),
    Starting,
    Verifying,
    Running,
    Stopped {
        /// Whether its offsets are committed again before they expire.
        recommits: bool,
    },
    Gone,
}

impl Phase {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Inspecting | Self::Flushing => State::Inspecting,
            Self::Restoring(_) => State::Restoring,
            Self::Starting => State::Starting,
            Self::Verifying => State::Verifying,
            Self::Running => State::Running,
            Self::Stopped { .. } => State::Stopped,
            Self::Gone => State::Gone,
        }
    }
}
