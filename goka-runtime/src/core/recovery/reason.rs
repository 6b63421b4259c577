//! Why a local copy is rebuilt or refused: the errors that users read.

use std::time::Duration;

use super::super::definition::{changes, changes_of_hash};
use crate::record::{Offset, Timestamp};
use crate::table::FORMAT;

/// How a copy does not belong to the changelog that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangelogMismatch {
    /// The topic was deleted and made again.
    #[error("the local copy is of a topic with id `{found}`, the topic now has id `{expected}`")]
    OtherTopic {
        /// The copy's.
        found: String,
        /// The topic's.
        expected: String,
    },
    /// The program that follows the table declared it otherwise when it made the copy.
    #[error(
        "the local copy is of a table declared as `{found}`, it is now declared as `{expected}`"
    )]
    OtherDefinition {
        /// The copy's.
        found: String,
        /// The program's.
        expected: String,
    },
    /// The file was moved by hand.
    #[error("the local copy is of partition {found}")]
    OtherPartition {
        /// The copy's.
        found: i32,
    },
    /// The topic lost records that the copy has.
    #[error("the local copy reaches offset {offset}, past the topic's end {end}")]
    BeyondEnd {
        /// The copy's.
        offset: Offset,
        /// The topic's.
        end: Offset,
    },
    /// The topic lost records that the copy has not.
    #[error("the local copy reaches offset {offset}, before the topic's start {start}")]
    BeforeStart {
        /// The copy's.
        offset: Offset,
        /// The topic's.
        start: Offset,
    },
}

/// How a group begins anew. What another program keeps under the same name would be gone, too.
const RESET: &str = "where no other program uses its name, delete its committed offsets, its group topic \
                     and its data directory";

/// Why a copy is rebuilt or refused: one line, what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}[{partition}]: {problem}")]
#[non_exhaustive]
pub struct RecoveryReason {
    /// The group topic, or the topic of the table that is followed.
    pub table: String,
    /// Its partition.
    pub partition: i32,
    /// What was found, and what to do.
    pub problem: RecoveryProblem,
}

/// What is wrong with a copy, or with the topics and offsets that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryProblem {
    /// The copy was made from another cluster.
    #[error(
        "the local copy belongs to cluster `{found}`, this is cluster \
         `{expected}`; give each cluster its own data directory"
    )]
    OtherCluster {
        /// The copy's.
        found: String,
        /// This one.
        expected: String,
    },
    /// The copy was written by another definition of the table.
    #[error(
        "the local copy was written by another definition of the table: {}; \
         undo the change, use a new group, or reset this one: {RESET}",
        changes(.found, .expected)
    )]
    OtherFingerprint {
        /// The copy's.
        found: String,
        /// The program's.
        expected: String,
    },
    /// The offsets were committed by another definition of the table.
    #[error(
        "the group's offsets were committed with another definition of the \
         table: {}; undo the change, use a new group, or reset this one: {RESET}",
        changes_of_hash(*.found, .expected)
    )]
    OtherFingerprintInOffsets {
        /// The hash that the offsets carry.
        found: u64,
        /// The program's.
        expected: String,
    },
    /// The offsets were committed with another group topic, or with one since made again.
    #[error(
        "the group's offsets were committed with a group topic of id \
         `{found}`, the topic now has id `{expected}`: its updates are lost though their inputs \
         count as read; reset the group: {RESET}"
    )]
    OtherTopicInOffsets {
        /// The id that the offsets carry.
        found: String,
        /// The topic's.
        expected: String,
    },
    /// The group topic ends before an offset that the group has seen in it.
    #[error(
        "the topic ends at offset {end}, and the group has written up to {seen}: \
         updates are lost (a broker lost its disk, or an unclean leader was elected) though their inputs \
         count as read; to go on with what is left, stop all instances and commit the group's offsets \
         again as they are (kafka-consumer-groups.sh --reset-offsets --to-current --execute)"
    )]
    EndsEarly {
        /// The end that was seen.
        seen: Offset,
        /// The end now.
        end: Offset,
    },
    /// Rows were deleted from the group topic, and no copy here has them.
    #[error(
        "the table began at offset {began} of its topic, which begins at {start} \
         now: rows were deleted from it (cleanup.policy was not compact alone, or records were \
         deleted), and the local copy does not have them; start it where a data directory of the group \
         is left, or, to go on without those rows, stop all instances and commit the group's offsets \
         again as they are (kafka-consumer-groups.sh --reset-offsets --to-current --execute)"
    )]
    DeletedRows {
        /// The first offset that the topic holds.
        start: Offset,
        /// The first offset that it held when the table began.
        began: Offset,
    },
    /// Rows were deleted from a table's topic that is followed, and no copy here has them.
    #[error(
        "the table's topic begins at offset {start}: rows were deleted from it \
         (cleanup.policy was not compact alone, or records were deleted), and the local copy does not \
         have them; the owner of the table has to write it again, into a new topic"
    )]
    DeletedRowsOfOthers {
        /// The first offset that the topic holds.
        start: Offset,
    },
    /// A table that is not new, and inputs without a position.
    #[error(
        "the table is not new, but the group has no committed offset for \
         {inputs} (offsets expire while a group is down): replaying would count records twice; \
         set the offsets where to go on (kafka-consumer-groups.sh --reset-offsets), or reset the \
         group: {RESET}"
    )]
    MissingOffsets {
        /// The inputs' names, in backticks.
        inputs: String,
    },
    /// An input does not hold the committed position.
    #[error(
        "the group's committed offset {committed} of input `{input}` is \
         outside of what the topic holds, {start} to {end}: records were lost; set the offsets where to \
         go on (kafka-consumer-groups.sh --reset-offsets), or reset the group: {RESET}"
    )]
    OffsetOutOfRange {
        /// The input.
        input: String,
        /// What the group committed.
        committed: Offset,
        /// The first offset that the input holds.
        start: Offset,
        /// The input's end.
        end: Offset,
    },
    /// An owner's copy does not belong to the changelog that is there.
    #[error(
        "{0}: a table rebuilt from it may lack updates whose inputs \
         count as read; delete the data directory to go on with what the topic holds, or reset the \
         group: {RESET}"
    )]
    LostChangelog(ChangelogMismatch),
    /// A follower's copy does not belong to the changelog that is there.
    #[error("{0}; it is rebuilt from the topic")]
    Mismatch(ChangelogMismatch),
    /// Compaction may have removed tombstones that the copy never saw.
    #[error(
        "the local copy was last level with the topic at {synced_at} ms, \
         longer ago than the {} s for which deletions are kept; it is rebuilt from the topic",
        .limit.as_secs()
    )]
    Stale {
        /// When it was last level with the topic.
        synced_at: Timestamp,
        /// How old it may be.
        limit: Duration,
    },
    /// The copy was written by a newer build.
    #[error(
        "the local copy has format {found}, written by a newer build of goka, and this one knows formats \
         up to {FORMAT}; run a build that knows format {found}; nothing was changed"
    )]
    NewerFormat {
        /// The copy's.
        found: u16,
    },
    /// The copy was written in another layout.
    #[error(
        "the local copy has format {found}, not {FORMAT}; it is rebuilt from \
         the topic"
    )]
    OtherFormat {
        /// The copy's.
        found: u16,
    },
    /// There is no copy.
    #[error("no local copy yet; it is made from the topic")]
    NothingStored,
}
