//! Whether a local copy of a partition may be trusted: the one function [`decide`], pure, and its reasons.
//! Knows no store and no log, only what was found there. Called by restores (owner) and by what follows a
//! table: views, lookups, joins (follower).

mod reason;

use std::time::Duration;

pub use self::reason::{ChangelogMismatch, RecoveryProblem, RecoveryReason};
use super::definition::{follows, hash_follows};
use super::metadata::OffsetMetadata;
use crate::record::{Offset, Timestamp};
use crate::table::{Checkpoint, FORMAT};

/// What becomes of a local copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecoveryDecision {
    /// Good: read the changelog on from here.
    CatchUp {
        /// The next changelog offset to apply.
        from: Offset,
    },
    /// Of no use, but nothing is lost: clear it and read the changelog from its start.
    Rebuild(RecoveryReason),
    /// Going on would make the table silently wrong: the task stops.
    Refuse(RecoveryReason),
}

/// From where a copy is brought up to its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreFrom {
    /// The first changelog offset to read.
    pub(crate) from: Offset,
    /// Why the copy is emptied first; `None` keeps it.
    pub(crate) rebuild: Option<RecoveryReason>,
}

impl RecoveryDecision {
    /// From where the copy is restored, if its topic begins at `start`.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn restore_from(self, start: Offset) -> Result<RestoreFrom, RecoveryReason> {
        let (from, rebuild) = match self {
            Self::CatchUp { from } => (from, None),
            Self::Rebuild(why) => (start, Some(why)),
            Self::Refuse(why) => return Err(why),
        };
        Ok(RestoreFrom { from, rebuild })
    }
}

/// The changelog partition that the copy is of, as the log describes it now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChangelogPartition<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    /// Its identity: another one after it was deleted and made again.
    pub(crate) id: &'a str,
    pub(crate) partition: i32,
    /// The first offset still there.
    pub(crate) start: Offset,
    /// The high watermark, read uncommitted.
    pub(crate) end: Offset,
    /// How long a tombstone survives compaction.
    pub(crate) delete_retention: Duration,
}

impl ChangelogPartition<'_> {
    fn reason(&self, problem: RecoveryProblem) -> RecoveryReason {
        RecoveryReason {
            table: self.name.to_owned(),
            partition: self.partition,
            problem,
        }
    }

    /// The checkpoint of a copy that is built from now on.
    pub(crate) fn new_checkpoint(&self, fingerprint: &str, now: Timestamp) -> Checkpoint {
        Checkpoint {
            format: FORMAT,
            cluster: self.cluster.to_owned(),
            topic_id: self.id.to_owned(),
            partition: self.partition,
            offset: self.start,
            fingerprint: fingerprint.to_owned(),
            synced_at: now,
        }
    }
}

/// One declared input of the owner's partition: what its group committed and what the log holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputInspection<'a> {
    pub(crate) name: &'a str,
    /// The committed offset. Where the program permits a jump (`on_lost`), the offset jumped to.
    pub(crate) committed: Option<Offset>,
    /// The first offset still there.
    pub(crate) start: Offset,
    /// The high watermark.
    pub(crate) end: Offset,
}

/// What the copy is kept for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role<'a> {
    /// A view, lookup or join.
    Follower,
    /// The group table's one writer.
    Owner {
        /// What was committed with the group's offsets; `None` when nothing of ours was.
        metadata: Option<&'a OffsetMetadata>,
        inputs: &'a [InputInspection<'a>],
    },
}

impl<'a> Role<'a> {
    fn metadata(&self) -> Option<&'a OffsetMetadata> {
        match self {
            Role::Follower => None,
            Role::Owner { metadata, .. } => *metadata,
        }
    }
}

/// Decides about one local copy. The first rule that matches decides: another cluster; then for an owner
/// another fingerprint, the group topic's id in the offsets' metadata, missing and out-of-range input
/// offsets; for both, fingerprint, topic and changelog range of the copy; its age; nothing stored.
/// Last, whatever was decided about the copy, a topic that ends before an offset that the owner has seen
/// in it is refused, and so is a rebuild from a topic whose first rows were deleted.
///
/// What the rules rest on:
/// - *Table not empty* is `topic.end > topic.start`, or a checkpoint past offset 0. Only then can
///   replayed input count twice: a topic whose records were all deleted (a reset does that) begins
///   anew, unless this machine still holds a copy of what it was.
/// - *Known input*: one that the metadata names, whatever the table holds, since initial offsets
///   are committed before the first handler runs. Without metadata (expired with the offsets, or
///   never ours) an input of a table that is not empty counts as known: it cannot be distinguished from
///   a new one, and refusing is the error that loses nothing.
/// - *Age* counts from [`Checkpoint::synced_at`]; a copy that reaches `topic.end` is level now, however
///   old that is, for no tombstone is ahead of it. A copy under construction carries the time at
///   which its construction began: a tombstone of a value that it has read since cannot be removed
///   earlier than `delete_retention` after that. A time in the future proves nothing: stale.
/// - A checkpoint of an earlier format is not read: the same as nothing stored. One of a later format is
///   refused before all else, since rebuilding would write over it.
pub(crate) fn decide(
    checkpoint: Option<&Checkpoint>,
    topic: &ChangelogPartition<'_>,
    fingerprint: &str,
    role: &Role<'_>,
    now: Timestamp,
) -> RecoveryDecision {
    if let Some(found) = checkpoint.map(|checkpoint| checkpoint.format)
        && found > FORMAT
    {
        return RecoveryDecision::Refuse(topic.reason(RecoveryProblem::NewerFormat { found }));
    }
    let readable = checkpoint.filter(|checkpoint| checkpoint.format == FORMAT);
    let lost_offsets = || match role {
        Role::Owner { metadata, inputs } => lost_offsets(readable, topic, *metadata, inputs),
        Role::Follower => None,
    };
    if let Some(problem) = foreign(readable, topic, fingerprint, role).or_else(lost_offsets) {
        return RecoveryDecision::Refuse(topic.reason(problem));
    }
    let decision = decide_copy(checkpoint, readable, topic, fingerprint, role, now);
    // What the topic lost would be missing in the table.
    let lost = match decision {
        RecoveryDecision::Refuse(_) => None,
        RecoveryDecision::CatchUp { .. } => ends_early(topic, role),
        RecoveryDecision::Rebuild(_) => {
            ends_early(topic, role).or_else(|| deleted_rows(topic, role))
        }
    };
    lost.map_or(decision, RecoveryDecision::Refuse)
}

/// What becomes of the copy, if nothing else is wrong.
fn decide_copy(
    checkpoint: Option<&Checkpoint>,
    readable: Option<&Checkpoint>,
    topic: &ChangelogPartition<'_>,
    fingerprint: &str,
    role: &Role<'_>,
    now: Timestamp,
) -> RecoveryDecision {
    let rebuild = |problem| RecoveryDecision::Rebuild(topic.reason(problem));
    let Some(copy) = readable else {
        return rebuild(match checkpoint {
            Some(checkpoint) => RecoveryProblem::OtherFormat {
                found: checkpoint.format,
            },
            None => RecoveryProblem::NothingStored,
        });
    };
    if let Some(mismatch) = mismatch(copy, topic, fingerprint) {
        return match role {
            Role::Follower => rebuild(RecoveryProblem::Mismatch(mismatch)),
            Role::Owner { .. } => {
                RecoveryDecision::Refuse(topic.reason(RecoveryProblem::LostChangelog(mismatch)))
            }
        };
    }
    if is_stale(copy, topic, now) && !mutant!(TrustedTooLong) {
        return rebuild(RecoveryProblem::Stale {
            synced_at: copy.synced_at,
            limit: trusted_for(topic.delete_retention),
        });
    }
    RecoveryDecision::CatchUp { from: copy.offset }
}

/// The rows that were deleted from the topic, if any were: compaction never moves a topic's beginning.
/// An owner whose offsets carry nothing of ours begins with what is there.
pub(crate) fn deleted_rows(
    topic: &ChangelogPartition<'_>,
    role: &Role<'_>,
) -> Option<RecoveryReason> {
    let start = topic.start;
    let (began, problem) = match role {
        Role::Follower => (0, RecoveryProblem::DeletedRowsOfOthers { start }),
        Role::Owner { metadata, .. } => {
            let began = metadata.map_or(start, |metadata| metadata.table_start.unwrap_or(0));
            (began, RecoveryProblem::DeletedRows { start, began })
        }
    };
    (start > began).then(|| topic.reason(problem))
}

/// Whether the topic ends before an offset that was seen in it.
fn ends_early(topic: &ChangelogPartition<'_>, role: &Role<'_>) -> Option<RecoveryReason> {
    let end = topic.end;
    let seen = role.metadata()?.table_end.filter(|seen| end < *seen)?;
    Some(topic.reason(RecoveryProblem::EndsEarly { seen, end }))
}

/// How long a copy may be behind before compaction may have removed tombstones that it never saw:
/// `delete.retention.ms` less a tenth, for clocks that differ and for the catching up itself.
pub(crate) fn trusted_for(delete_retention: Duration) -> Duration {
    delete_retention - delete_retention / 10
}

fn foreign(
    checkpoint: Option<&Checkpoint>,
    topic: &ChangelogPartition<'_>,
    fingerprint: &str,
    role: &Role<'_>,
) -> Option<RecoveryProblem> {
    if let Some(checkpoint) = checkpoint {
        if checkpoint.cluster != topic.cluster {
            return Some(RecoveryProblem::OtherCluster {
                found: checkpoint.cluster.clone(),
                expected: topic.cluster.to_owned(),
            });
        }
        if matches!(role, Role::Owner { .. }) && !follows(&checkpoint.fingerprint, fingerprint) {
            return Some(RecoveryProblem::OtherFingerprint {
                found: checkpoint.fingerprint.clone(),
                expected: fingerprint.to_owned(),
            });
        }
    }
    let metadata = role.metadata()?;
    if !hash_follows(metadata.fingerprint, fingerprint) {
        return Some(RecoveryProblem::OtherFingerprintInOffsets {
            found: metadata.fingerprint,
            expected: fingerprint.to_owned(),
        });
    }
    let is_other = is_other_topic(&metadata.table_id, topic.id);
    is_other.then(|| RecoveryProblem::OtherTopicInOffsets {
        found: metadata.table_id.clone(),
        expected: topic.id.to_owned(),
    })
}

/// Whether two identities are of different topics. Brokers before 2.8 have no identities: theirs is zero,
/// and cannot be compared with one that was noted before or after.
pub(crate) fn is_other_topic(noted: &str, now: &str) -> bool {
    const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    let is_known = |id: &str| !id.is_empty() && id != ZERO;
    is_known(noted) && is_known(now) && noted != now
}

fn lost_offsets(
    checkpoint: Option<&Checkpoint>,
    topic: &ChangelogPartition<'_>,
    metadata: Option<&OffsetMetadata>,
    inputs: &[InputInspection<'_>],
) -> Option<RecoveryProblem> {
    let is_empty =
        topic.end <= topic.start && checkpoint.is_none_or(|checkpoint| checkpoint.offset <= 0);
    let is_known = |input: &InputInspection<'_>| {
        metadata.map_or(!is_empty, |metadata| metadata.knows(input.name))
    };
    let missing: Vec<_> = inputs
        .iter()
        .filter(|input| input.committed.is_none() && is_known(input))
        .map(|input| format!("`{}`", input.name))
        .collect();
    if !missing.is_empty() && !mutant!(MissingFromStart) {
        let inputs = missing.join(", ");
        return Some(RecoveryProblem::MissingOffsets { inputs });
    }
    inputs.iter().find_map(|input| {
        let committed = input.committed?;
        let is_held = (input.start..=input.end).contains(&committed);
        (!is_held).then(|| RecoveryProblem::OffsetOutOfRange {
            input: input.name.to_owned(),
            committed,
            start: input.start,
            end: input.end,
        })
    })
}

fn mismatch(
    copy: &Checkpoint,
    topic: &ChangelogPartition<'_>,
    fingerprint: &str,
) -> Option<ChangelogMismatch> {
    if !follows(&copy.fingerprint, fingerprint) {
        return Some(ChangelogMismatch::OtherDefinition {
            found: copy.fingerprint.clone(),
            expected: fingerprint.to_owned(),
        });
    }
    if is_other_topic(&copy.topic_id, topic.id) {
        return Some(ChangelogMismatch::OtherTopic {
            found: copy.topic_id.clone(),
            expected: topic.id.to_owned(),
        });
    }
    if copy.partition != topic.partition {
        return Some(ChangelogMismatch::OtherPartition {
            found: copy.partition,
        });
    }
    if copy.offset > topic.end {
        return Some(ChangelogMismatch::BeyondEnd {
            offset: copy.offset,
            end: topic.end,
        });
    }
    (copy.offset < topic.start).then_some(ChangelogMismatch::BeforeStart {
        offset: copy.offset,
        start: topic.start,
    })
}

fn is_stale(copy: &Checkpoint, topic: &ChangelogPartition<'_>, now: Timestamp) -> bool {
    if copy.offset == topic.end {
        return false;
    }
    let age = i128::from(now) - i128::from(copy.synced_at);
    let millis = |duration: Duration| i128::try_from(duration.as_millis()).unwrap_or(i128::MAX);
    let margin = millis(topic.delete_retention / 10);
    age >= millis(trusted_for(topic.delete_retention)) || age < -margin
}

#[cfg(test)]
mod tests;
