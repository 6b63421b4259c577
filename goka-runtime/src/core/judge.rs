//! Whether a local copy of a partition may be trusted: the one function [`judge`], pure, and the
//! reasons it gives. Knows no store and no log: it is told facts. Asked by restores (owner) and by
//! whatever follows a table: views, lookups, joins, standbys (follower).

use std::time::Duration;

use super::definition::{changes, changes_of_hash, follows, hash_follows};
use super::metadata::OffsetMetadata;
use crate::record::{Offset, Timestamp};
use crate::table::{FORMAT, Stamp};

/// What a local copy is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Good: read the changelog on from here.
    CatchUp {
        /// The next changelog offset to apply.
        from: Offset,
    },
    /// Of no use, but nothing is lost: clear it and read the changelog from its start.
    Rebuild(Why),
    /// Going on would make the table silently wrong: stop, and say why.
    Refuse(Why),
}

/// The changelog partition that the copy is of, as the log describes it now.
#[derive(Debug, Clone, Copy)]
pub struct Topic<'a> {
    /// The topic's name.
    pub name: &'a str,
    /// The cluster that it lives in.
    pub cluster: &'a str,
    /// Its identity: another one after it was deleted and made again.
    pub id: &'a str,
    /// The partition.
    pub partition: i32,
    /// The first offset still there.
    pub start: Offset,
    /// The high watermark, read uncommitted.
    pub end: Offset,
    /// How long a tombstone survives compaction.
    pub delete_retention: Duration,
}

/// One declared input of the owner's partition: what its group committed and what the log holds.
#[derive(Debug, Clone, Copy)]
pub struct InputFacts<'a> {
    /// The topic's name.
    pub name: &'a str,
    /// The committed offset. Where the program permits a jump (`on_lost`), the offset jumped to.
    pub committed: Option<Offset>,
    /// The first offset still there.
    pub start: Offset,
    /// The high watermark.
    pub end: Offset,
}

/// What the copy is kept for.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// A view, lookup, join or standby.
    Follower,
    /// The group table's one writer.
    Owner {
        /// What was committed with the group's offsets; `None` when nothing of ours was.
        metadata: Option<&'a OffsetMetadata>,
        /// The declared inputs.
        inputs: &'a [InputFacts<'a>],
    },
}

/// Judges one local copy. The first rule that matches decides: another cluster; then for an owner
/// another fingerprint, the group topic's id in the offsets' metadata, missing and out-of-range input
/// offsets; for both, fingerprint, topic and changelog range of the copy; its age; nothing stored.
/// Last, whatever the copy is worth, a topic that ends before an offset that the owner has seen in it is
/// refused, and so is a rebuild from a topic whose first rows were deleted.
///
/// What the rules rest on:
/// - *Table not empty* is `topic.end > topic.start`, or a stamp past offset 0. Only then can
///   replayed input count twice: a topic whose records were all deleted (a reset does that) begins
///   anew, unless this machine still holds a copy of what it was.
/// - *Known input*: one that the metadata names, whatever the table holds, since initial offsets
///   are committed before the first handler runs. Without metadata (expired with the offsets, or
///   never ours) an input of a table that is not empty counts as known: it cannot be told from a
///   new one, and refusing is the error that loses nothing.
/// - *Age* counts from [`Stamp::synced_at`]; a copy that reaches `topic.end` is level now, however
///   old that is, for no tombstone is ahead of it. A copy under construction carries the time at
///   which its construction began: a tombstone of a value that it has read since cannot be removed
///   earlier than `delete_retention` after that. A time in the future proves nothing: stale.
/// - A stamp of another format is not read: the same as nothing stored.
///
/// ```
/// use goka_runtime::core::judge::{Role, Topic, Verdict, judge};
/// let topic = Topic {
///     name: "clicks-state", cluster: "c", id: "t", partition: 0, start: 0, end: 0,
///     delete_retention: std::time::Duration::from_secs(86_400),
/// };
/// let verdict = judge(None, &topic, "v1;key=string", &Role::Follower, 0);
/// assert!(matches!(verdict, Verdict::Rebuild(_)));
/// ```
pub fn judge(
    stamp: Option<&Stamp>,
    topic: &Topic<'_>,
    fingerprint: &str,
    role: &Role<'_>,
    now: Timestamp,
) -> Verdict {
    let readable = stamp.filter(|stamp| stamp.format == FORMAT);
    if let Some(why) = foreign(readable, topic, fingerprint, role) {
        return Verdict::Refuse(why);
    }
    if let Role::Owner { metadata, inputs } = role
        && let Some(why) = lost_offsets(readable, topic, *metadata, inputs)
    {
        return Verdict::Refuse(why);
    }
    let verdict = worth(stamp, readable, topic, fingerprint, role, now);
    // What the topic lost would be missing in the table.
    let lost = match verdict {
        Verdict::Refuse(_) => None,
        Verdict::CatchUp { .. } => ends_early(topic, role),
        Verdict::Rebuild(_) => ends_early(topic, role).or_else(|| deleted_rows(topic, role)),
    };
    lost.map_or(verdict, Verdict::Refuse)
}

/// What the copy is worth, once nothing else is wrong.
fn worth(
    stamp: Option<&Stamp>,
    readable: Option<&Stamp>,
    topic: &Topic<'_>,
    fingerprint: &str,
    role: &Role<'_>,
    now: Timestamp,
) -> Verdict {
    let (table, partition) = (topic.name.to_owned(), topic.partition);
    let Some(copy) = readable else {
        return Verdict::Rebuild(match stamp {
            Some(stamp) => Why::OtherFormat {
                table,
                partition,
                found: stamp.format,
            },
            None => Why::NothingStored { table, partition },
        });
    };
    if let Some(misfit) = misfit(copy, topic, fingerprint) {
        return match role {
            Role::Follower => Verdict::Rebuild(Why::Misfit {
                table,
                partition,
                misfit,
            }),
            Role::Owner { .. } => Verdict::Refuse(Why::LostChangelog {
                table,
                partition,
                misfit,
            }),
        };
    }
    if is_stale(copy, topic, now) && !planted!(TrustedTooLong) {
        return Verdict::Rebuild(Why::Stale {
            table,
            partition,
            synced_at: copy.synced_at,
            limit: trusted_for(topic.delete_retention),
        });
    }
    Verdict::CatchUp { from: copy.offset }
}

/// The rows that were deleted from the topic, if any were: compaction never moves a topic's beginning.
/// An owner whose offsets carry nothing of ours begins with what is there.
pub(crate) fn deleted_rows(topic: &Topic<'_>, role: &Role<'_>) -> Option<Why> {
    let began = match role {
        Role::Follower => 0,
        Role::Owner { metadata: None, .. } => topic.start,
        Role::Owner {
            metadata: Some(metadata),
            ..
        } => metadata.table_start.unwrap_or(0),
    };
    let (table, partition, start) = (topic.name.to_owned(), topic.partition, topic.start);
    if start <= began {
        return None;
    }
    Some(match role {
        Role::Follower => Why::DeletedRowsOfOthers {
            table,
            partition,
            start,
        },
        Role::Owner { .. } => Why::DeletedRows {
            table,
            partition,
            start,
            began,
        },
    })
}

/// Whether the topic ends before an offset that was seen in it.
fn ends_early(topic: &Topic<'_>, role: &Role<'_>) -> Option<Why> {
    let Role::Owner {
        metadata: Some(metadata),
        ..
    } = role
    else {
        return None;
    };
    let seen = metadata.table_end.filter(|seen| topic.end < *seen)?;
    Some(Why::EndsEarly {
        table: topic.name.to_owned(),
        partition: topic.partition,
        seen,
        end: topic.end,
    })
}

/// How long a copy may be behind before compaction may have removed tombstones that it never saw:
/// `delete.retention.ms` less a tenth, for clocks that differ and for the catching up itself.
///
/// ```
/// use goka_runtime::core::judge::trusted_for;
/// use std::time::Duration;
/// assert_eq!(trusted_for(Duration::from_secs(100)), Duration::from_secs(90));
/// ```
pub fn trusted_for(delete_retention: Duration) -> Duration {
    delete_retention - delete_retention / 10
}

fn foreign(
    stamp: Option<&Stamp>,
    topic: &Topic<'_>,
    fingerprint: &str,
    role: &Role<'_>,
) -> Option<Why> {
    let (table, partition) = (topic.name.to_owned(), topic.partition);
    let is_owner = matches!(role, Role::Owner { .. });
    if let Some(stamp) = stamp {
        if stamp.cluster != topic.cluster {
            return Some(Why::OtherCluster {
                table,
                partition,
                found: stamp.cluster.clone(),
                expected: topic.cluster.to_owned(),
            });
        }
        if is_owner && !follows(&stamp.fingerprint, fingerprint) {
            return Some(Why::OtherFingerprint {
                table,
                partition,
                found: stamp.fingerprint.clone(),
                expected: fingerprint.to_owned(),
            });
        }
    }
    let Role::Owner {
        metadata: Some(metadata),
        ..
    } = role
    else {
        return None;
    };
    if !hash_follows(metadata.fingerprint, fingerprint) {
        return Some(Why::OtherFingerprintInOffsets {
            table,
            partition,
            found: metadata.fingerprint,
            expected: fingerprint.to_owned(),
        });
    }
    is_other_topic(&metadata.table_id, topic.id).then(|| Why::OtherTopicInOffsets {
        table,
        partition,
        found: metadata.table_id.clone(),
        expected: topic.id.to_owned(),
    })
}

/// Whether two identities are of different topics. Brokers before 2.8 have none to tell: the identity
/// is then zero, and says nothing of one that was noted before or after.
pub(crate) fn is_other_topic(noted: &str, now: &str) -> bool {
    const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    let is_known = |id: &str| !id.is_empty() && id != ZERO;
    is_known(noted) && is_known(now) && noted != now
}

fn lost_offsets(
    stamp: Option<&Stamp>,
    topic: &Topic<'_>,
    metadata: Option<&OffsetMetadata>,
    inputs: &[InputFacts<'_>],
) -> Option<Why> {
    let is_empty = topic.end <= topic.start && stamp.is_none_or(|stamp| stamp.offset <= 0);
    let is_known =
        |input: &InputFacts<'_>| metadata.map_or(!is_empty, |metadata| metadata.knows(input.name));
    let missing: Vec<_> = inputs
        .iter()
        .filter(|input| input.committed.is_none() && is_known(input))
        .map(|input| format!("`{}`", input.name))
        .collect();
    if !missing.is_empty() && !planted!(MissingFromStart) {
        return Some(Why::MissingOffsets {
            table: topic.name.to_owned(),
            partition: topic.partition,
            inputs: missing.join(", "),
        });
    }
    inputs.iter().find_map(|input| {
        let committed = input.committed?;
        let is_held = (input.start..=input.end).contains(&committed);
        (!is_held).then(|| Why::OffsetOutOfRange {
            table: topic.name.to_owned(),
            partition: topic.partition,
            input: input.name.to_owned(),
            committed,
            start: input.start,
            end: input.end,
        })
    })
}

fn misfit(copy: &Stamp, topic: &Topic<'_>, fingerprint: &str) -> Option<Misfit> {
    if !follows(&copy.fingerprint, fingerprint) {
        return Some(Misfit::OtherDefinition {
            found: copy.fingerprint.clone(),
            expected: fingerprint.to_owned(),
        });
    }
    if is_other_topic(&copy.topic_id, topic.id) {
        return Some(Misfit::OtherTopic {
            found: copy.topic_id.clone(),
            expected: topic.id.to_owned(),
        });
    }
    if copy.partition != topic.partition {
        return Some(Misfit::OtherPartition {
            found: copy.partition,
        });
    }
    if copy.offset > topic.end {
        return Some(Misfit::BeyondEnd {
            offset: copy.offset,
            end: topic.end,
        });
    }
    (copy.offset < topic.start).then_some(Misfit::BeforeStart {
        offset: copy.offset,
        start: topic.start,
    })
}

fn is_stale(copy: &Stamp, topic: &Topic<'_>, now: Timestamp) -> bool {
    if copy.offset == topic.end {
        return false;
    }
    let age = i128::from(now) - i128::from(copy.synced_at);
    let millis = |duration: Duration| i128::try_from(duration.as_millis()).unwrap_or(i128::MAX);
    let margin = millis(topic.delete_retention / 10);
    age >= millis(trusted_for(topic.delete_retention)) || age < -margin
}

/// How a copy does not belong to the changelog that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
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
///
/// ```
/// use goka_runtime::core::judge::Why;
/// let why = Why::NothingStored { table: "clicks-state".into(), partition: 3 };
/// assert_eq!(why.to_string(), "clicks-state[3]: no local copy yet; it is made from the topic");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The copy was made from another cluster.
    #[error(
        "{table}[{partition}]: the local copy belongs to cluster `{found}`, this is cluster \
         `{expected}`; give each cluster its own data directory"
    )]
    OtherCluster {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The copy's.
        found: String,
        /// This one.
        expected: String,
    },
    /// The copy was written by another definition of the table.
    #[error(
        "{table}[{partition}]: the local copy was written by another definition of the table: {}; \
         undo the change, use a new group, or reset this one: {RESET}",
        changes(.found, .expected)
    )]
    OtherFingerprint {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The copy's.
        found: String,
        /// The program's.
        expected: String,
    },
    /// The offsets were committed by another definition of the table.
    #[error(
        "{table}[{partition}]: the group's offsets were committed with another definition of the \
         table: {}; undo the change, use a new group, or reset this one: {RESET}",
        changes_of_hash(*.found, .expected)
    )]
    OtherFingerprintInOffsets {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The hash that the offsets carry.
        found: u64,
        /// The program's.
        expected: String,
    },
    /// The offsets were committed with another group topic, or with one since made again.
    #[error(
        "{table}[{partition}]: the group's offsets were committed with a group topic of id \
         `{found}`, the topic now has id `{expected}`: its updates are lost though their inputs \
         count as read; reset the group: {RESET}"
    )]
    OtherTopicInOffsets {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The id that the offsets carry.
        found: String,
        /// The topic's.
        expected: String,
    },
    /// The group topic ends before an offset that the group has seen in it.
    #[error(
        "{table}[{partition}]: the topic ends at offset {end}, and the group has written up to {seen}: \
         updates are lost (a broker lost its disk, or an unclean leader was elected) though their inputs \
         count as read; to go on with what is left, stop all instances and commit the group's offsets \
         again as they are (kafka-consumer-groups.sh --reset-offsets --to-current --execute)"
    )]
    EndsEarly {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The end that was seen.
        seen: Offset,
        /// The end now.
        end: Offset,
    },
    /// Rows were deleted from the group topic, and no copy here has them.
    #[error(
        "{table}[{partition}]: the table began at offset {began} of its topic, which begins at {start} \
         now: rows were deleted from it (cleanup.policy was not compact alone, or records were \
         deleted), and the local copy does not have them; start it where a data directory of the group \
         is left, or, to go on without those rows, stop all instances and commit the group's offsets \
         again as they are (kafka-consumer-groups.sh --reset-offsets --to-current --execute)"
    )]
    DeletedRows {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The first offset that the topic holds.
        start: Offset,
        /// The first offset that it held when the table began.
        began: Offset,
    },
    /// Rows were deleted from a table's topic that is followed, and no copy here has them.
    #[error(
        "{table}[{partition}]: the table's topic begins at offset {start}: rows were deleted from it \
         (cleanup.policy was not compact alone, or records were deleted), and the local copy does not \
         have them; whoever owns the table has to write it again, into a new topic"
    )]
    DeletedRowsOfOthers {
        /// The table's topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The first offset that the topic holds.
        start: Offset,
    },
    /// A table that is not new, and inputs without a position.
    #[error(
        "{table}[{partition}]: the table is not new, but the group has no committed offset for \
         {inputs} (offsets expire while a group is down): replaying would count records twice; \
         set the offsets where to go on (kafka-consumer-groups.sh --reset-offsets), or reset the \
         group: {RESET}"
    )]
    MissingOffsets {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The inputs' names, in backticks.
        inputs: String,
    },
    /// An input does not hold the committed position.
    #[error(
        "{table}[{partition}]: the group's committed offset {committed} of input `{input}` is \
         outside of what the topic holds, {start} to {end}: records were lost; set the offsets where to \
         go on (kafka-consumer-groups.sh --reset-offsets), or reset the group: {RESET}"
    )]
    OffsetOutOfRange {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
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
        "{table}[{partition}]: {misfit}: a table rebuilt from it may lack updates whose inputs \
         count as read; delete the data directory to go on with what the topic holds, or reset the \
         group: {RESET}"
    )]
    LostChangelog {
        /// The group topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// How.
        misfit: Misfit,
    },
    /// A follower's copy does not belong to the changelog that is there.
    #[error("{table}[{partition}]: {misfit}; it is rebuilt from the topic")]
    Misfit {
        /// The table's topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// How.
        misfit: Misfit,
    },
    /// Compaction may have removed tombstones that the copy never saw.
    #[error(
        "{table}[{partition}]: the local copy was last level with the topic at {synced_at} ms, \
         longer ago than the {} s for which deletions are kept; it is rebuilt from the topic",
        .limit.as_secs()
    )]
    Stale {
        /// The table's topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// When it was last level with the topic.
        synced_at: Timestamp,
        /// How old it may be.
        limit: Duration,
    },
    /// The copy was written in another layout.
    #[error(
        "{table}[{partition}]: the local copy has format {found}, not {FORMAT}; it is rebuilt from \
         the topic"
    )]
    OtherFormat {
        /// The table's topic.
        table: String,
        /// Its partition.
        partition: i32,
        /// The copy's.
        found: u16,
    },
    /// There is no copy.
    #[error("{table}[{partition}]: no local copy yet; it is made from the topic")]
    NothingStored {
        /// The table's topic.
        table: String,
        /// Its partition.
        partition: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::metadata::{VERSION, fingerprint_hash};

    const NOW: Timestamp = 1_000_000_000;
    const DAY: Timestamp = 86_400_000;
    const FINGERPRINT: &str = "v1;key=string;value=i64;partitioner=murmur2";

    /// Facts under which both roles catch up from 50; each row changes some.
    struct Facts {
        stamp: Option<Stamp>,
        topic_id: &'static str,
        range: (Offset, Offset),
        delete_retention: Duration,
        metadata: Option<OffsetMetadata>,
        /// Name, committed, start, end.
        inputs: Vec<(&'static str, Option<Offset>, Offset, Offset)>,
    }

    impl Facts {
        fn good() -> Self {
            Facts {
                stamp: Some(Stamp {
                    format: FORMAT,
                    cluster: "cluster".into(),
                    topic_id: "table-id".into(),
                    partition: 3,
                    offset: 50,
                    fingerprint: FINGERPRINT.into(),
                    synced_at: NOW - 1000,
                }),
                topic_id: "table-id",
                range: (0, 100),
                delete_retention: Duration::from_secs(86_400),
                metadata: Some(OffsetMetadata {
                    version: VERSION,
                    fingerprint: fingerprint_hash(FINGERPRINT),
                    table_id: "table-id".into(),
                    table_start: Some(0),
                    table_end: Some(50),
                    lead: "clicks-state".into(),
                    input_id: None,
                    died: None,
                    inputs: vec!["a".into(), "b".into()],
                    reads: Some(2),
                    address: None,
                }),
                inputs: vec![("a", Some(10), 5, 20), ("b", Some(0), 0, 0)],
            }
        }

        fn stamp(&mut self) -> &mut Stamp {
            self.stamp.as_mut().expect("not yet taken away")
        }

        fn metadata(&mut self) -> &mut OffsetMetadata {
            self.metadata.as_mut().expect("not yet taken away")
        }

        /// Verdicts for a follower and for an owner.
        fn judge(&self) -> (Verdict, Verdict) {
            let topic = Topic {
                name: "clicks-state",
                cluster: "cluster",
                id: self.topic_id,
                partition: 3,
                start: self.range.0,
                end: self.range.1,
                delete_retention: self.delete_retention,
            };
            let inputs: Vec<_> = self
                .inputs
                .iter()
                .map(|&(name, committed, start, end)| InputFacts {
                    name,
                    committed,
                    start,
                    end,
                })
                .collect();
            let owner = Role::Owner {
                metadata: self.metadata.as_ref(),
                inputs: &inputs,
            };
            let of = |role| judge(self.stamp.as_ref(), &topic, FINGERPRINT, role, NOW);
            (of(&Role::Follower), of(&owner))
        }
    }

    /// `CatchUp 50`, `Rebuild Stale`, `Refuse LostChangelog`.
    fn name(verdict: &Verdict) -> String {
        let (verb, why) = match verdict {
            Verdict::CatchUp { from } => return format!("CatchUp {from}"),
            Verdict::Rebuild(why) => ("Rebuild", why),
            Verdict::Refuse(why) => ("Refuse", why),
        };
        let variant = format!("{why:?}");
        format!("{verb} {}", variant.split(' ').next().expect("a name"))
    }

    type Row = (&'static str, fn(&mut Facts), &'static str, &'static str);

    fn check(rows: &[Row]) {
        for (case, change, follower, owner) in rows {
            let mut facts = Facts::good();
            change(&mut facts);
            let (as_follower, as_owner) = facts.judge();
            assert_eq!(name(&as_follower), *follower, "{case}, follower");
            assert_eq!(name(&as_owner), *owner, "{case}, owner");
            for verdict in [as_follower, as_owner] {
                if let Verdict::Rebuild(why) | Verdict::Refuse(why) = verdict {
                    let line = why.to_string();
                    assert!(line.starts_with("clicks-state[3]: "), "{case}: {line}");
                    assert!(
                        line.contains("; ") && !line.contains("  "),
                        "{case}: {line}"
                    );
                    assert!(!line.contains('\n'), "{case}: {line}");
                }
            }
        }
    }

    #[test]
    fn every_row_of_the_table() {
        const UP: &str = "CatchUp 50";
        check(&[
            ("all good", |_| {}, UP, UP),
            (
                "nothing stored",
                |f| f.stamp = None,
                "Rebuild NothingStored",
                "Rebuild NothingStored",
            ),
            (
                "another format, whatever else it seems to say",
                |f| {
                    f.stamp().format = FORMAT + 1;
                    f.stamp().cluster = "other".into();
                },
                "Rebuild OtherFormat",
                "Rebuild OtherFormat",
            ),
            (
                "fingerprint of the copy",
                |f| f.stamp().fingerprint = "v1;key=i64".into(),
                "Rebuild Misfit",
                "Refuse OtherFingerprint",
            ),
            (
                "fingerprint of the offsets",
                |f| f.metadata().fingerprint += 1,
                UP,
                "Refuse OtherFingerprintInOffsets",
            ),
            (
                "fingerprint of the offsets, nothing stored",
                |f| {
                    f.stamp = None;
                    f.metadata().fingerprint += 1;
                },
                "Rebuild NothingStored",
                "Refuse OtherFingerprintInOffsets",
            ),
            (
                "stale",
                |f| f.stamp().synced_at = NOW - DAY,
                "Rebuild Stale",
                "Rebuild Stale",
            ),
            (
                "another topic id",
                |f| f.stamp().topic_id = "old".into(),
                "Rebuild Misfit",
                "Refuse LostChangelog",
            ),
            (
                "another partition's copy",
                |f| f.stamp().partition = 4,
                "Rebuild Misfit",
                "Refuse LostChangelog",
            ),
            (
                "beyond the end",
                |f| f.stamp().offset = 101,
                "Rebuild Misfit",
                "Refuse LostChangelog",
            ),
            (
                "before the start",
                |f| f.range.0 = 51,
                "Refuse DeletedRowsOfOthers",
                "Refuse LostChangelog",
            ),
            (
                "group topic made again since the offsets",
                |f| f.metadata().table_id = "old".into(),
                UP,
                "Refuse OtherTopicInOffsets",
            ),
            (
                "no offset of a known input",
                |f| f.inputs[0].1 = None,
                UP,
                "Refuse MissingOffsets",
            ),
            (
                "an input that the metadata does not know",
                |f| f.inputs.push(("new", None, 7, 9)),
                UP,
                UP,
            ),
            (
                "committed before the input's start",
                |f| f.inputs[0].1 = Some(4),
                UP,
                "Refuse OffsetOutOfRange",
            ),
            (
                "committed past the input's end",
                |f| f.inputs[0].1 = Some(21),
                UP,
                "Refuse OffsetOutOfRange",
            ),
            (
                "a committed offset that the metadata does not know, out of range",
                |f| f.inputs.push(("new", Some(6), 7, 9)),
                UP,
                "Refuse OffsetOutOfRange",
            ),
            (
                "another cluster",
                |f| f.stamp().cluster = "other".into(),
                "Refuse OtherCluster",
                "Refuse OtherCluster",
            ),
        ]);
    }

    #[test]
    fn bounds_are_inside() {
        check(&[
            (
                "copy at the start",
                |f| f.range.0 = 50,
                "CatchUp 50",
                "CatchUp 50",
            ),
            (
                "copy at the end",
                |f| f.range.1 = 50,
                "CatchUp 50",
                "CatchUp 50",
            ),
            (
                "input at its start",
                |f| f.inputs[0].1 = Some(5),
                "CatchUp 50",
                "CatchUp 50",
            ),
            (
                "input at its end",
                |f| f.inputs[0].1 = Some(20),
                "CatchUp 50",
                "CatchUp 50",
            ),
        ]);
    }

    #[test]
    fn age_is_counted_from_the_last_sync() {
        const UP: &str = "CatchUp 50";
        const OLD: &str = "Rebuild Stale";
        check(&[
            (
                "just young enough",
                |f| f.stamp().synced_at = NOW - DAY / 10 * 9 + 1,
                UP,
                UP,
            ),
            (
                "just too old",
                |f| f.stamp().synced_at = NOW - DAY / 10 * 9,
                OLD,
                OLD,
            ),
            ("never", |f| f.stamp().synced_at = Timestamp::MIN, OLD, OLD),
            (
                "clocks differ a little",
                |f| f.stamp().synced_at = NOW + DAY / 10,
                UP,
                UP,
            ),
            (
                "from the future",
                |f| f.stamp().synced_at = NOW + DAY / 10 + 1,
                OLD,
                OLD,
            ),
            (
                "no retention at all",
                |f| {
                    f.delete_retention = Duration::ZERO;
                    f.stamp().synced_at = NOW;
                },
                OLD,
                OLD,
            ),
            (
                "endless retention",
                |f| {
                    f.delete_retention = Duration::MAX;
                    f.stamp().synced_at = 0;
                },
                UP,
                UP,
            ),
            (
                "old, but level with the topic now",
                |f| {
                    f.range.1 = 50;
                    f.stamp().synced_at = NOW - 10 * DAY;
                },
                UP,
                UP,
            ),
        ]);
    }

    #[test]
    fn an_input_without_metadata_is_known_when_the_table_is_not_empty() {
        /// Offsets and metadata expired together.
        fn expired(f: &mut Facts) {
            f.metadata = None;
            for input in &mut f.inputs {
                input.1 = None;
            }
        }
        const REFUSED: &str = "Refuse MissingOffsets";
        check(&[
            (
                "copy and topic hold records",
                expired,
                "CatchUp 50",
                REFUSED,
            ),
            (
                "the topic holds records, no copy",
                |f| {
                    expired(f);
                    f.stamp = None;
                },
                "Rebuild NothingStored",
                REFUSED,
            ),
            (
                "the copy holds records, the topic none",
                |f| {
                    expired(f);
                    f.range = (50, 50);
                },
                "CatchUp 50",
                REFUSED,
            ),
            (
                "one offset is left",
                |f| {
                    expired(f);
                    f.inputs[0].1 = Some(10);
                },
                "CatchUp 50",
                REFUSED,
            ),
            (
                "all offsets are there, of a client that is not ours",
                |f| f.metadata = None,
                "CatchUp 50",
                "CatchUp 50",
            ),
            (
                "a new group",
                |f| {
                    expired(f);
                    f.stamp = None;
                    f.range = (0, 0);
                },
                "Rebuild NothingStored",
                "Rebuild NothingStored",
            ),
            (
                "a new group that was killed before its first barrier",
                |f| {
                    expired(f);
                    f.stamp().offset = 0;
                    f.range = (0, 0);
                },
                "CatchUp 0",
                "CatchUp 0",
            ),
            (
                "all records deleted, no copy: begins anew",
                |f| {
                    expired(f);
                    f.stamp = None;
                    f.range = (100, 100);
                },
                "Refuse DeletedRowsOfOthers",
                "Rebuild NothingStored",
            ),
            (
                "empty table, but the metadata knows the input",
                |f| {
                    f.stamp = None;
                    f.range = (0, 0);
                    f.inputs[0].1 = None;
                },
                "Rebuild NothingStored",
                REFUSED,
            ),
        ]);
    }

    /// Each rule with everything after it wrong as well: the first one wins.
    #[test]
    fn first_match_wins() {
        fn stale(f: &mut Facts) {
            f.stamp().synced_at = 0;
        }
        fn range(f: &mut Facts) {
            stale(f);
            f.range.0 = 60;
        }
        fn id(f: &mut Facts) {
            range(f);
            f.stamp().topic_id = "old".into();
        }
        fn out_of_range(f: &mut Facts) {
            id(f);
            f.inputs[1].1 = Some(1);
        }
        fn missing(f: &mut Facts) {
            out_of_range(f);
            f.inputs[0].1 = None;
        }
        fn table(f: &mut Facts) {
            missing(f);
            f.metadata().table_id = "old".into();
        }
        fn hash(f: &mut Facts) {
            table(f);
            f.metadata().fingerprint += 1;
        }
        fn fingerprint(f: &mut Facts) {
            hash(f);
            f.stamp().fingerprint = "v1;key=i64".into();
        }
        fn cluster(f: &mut Facts) {
            fingerprint(f);
            f.stamp().cluster = "other".into();
        }
        const MISFIT: &str = "Refuse DeletedRowsOfOthers";
        check(&[
            ("stale", stale, "Rebuild Stale", "Rebuild Stale"),
            ("range", range, MISFIT, "Refuse LostChangelog"),
            ("id", id, MISFIT, "Refuse LostChangelog"),
            (
                "out of range",
                out_of_range,
                MISFIT,
                "Refuse OffsetOutOfRange",
            ),
            ("missing", missing, MISFIT, "Refuse MissingOffsets"),
            ("table", table, MISFIT, "Refuse OtherTopicInOffsets"),
            ("hash", hash, MISFIT, "Refuse OtherFingerprintInOffsets"),
            (
                "fingerprint",
                fingerprint,
                MISFIT,
                "Refuse OtherFingerprint",
            ),
            (
                "cluster",
                cluster,
                "Refuse OtherCluster",
                "Refuse OtherCluster",
            ),
        ]);
        check(&[(
            "offsets before a missing copy",
            |f| {
                f.inputs[0].1 = Some(4);
                f.stamp = None;
            },
            "Rebuild NothingStored",
            "Refuse OffsetOutOfRange",
        )]);
    }

    #[test]
    fn nothing_is_rebuilt_from_a_topic_that_lost_rows() {
        const UP: &str = "CatchUp 50";
        const OTHERS: &str = "Refuse DeletedRowsOfOthers";
        const OWN: &str = "Refuse DeletedRows";
        fn empty(f: &mut Facts) {
            f.stamp = None;
            f.range = (10, 100);
        }
        check(&[
            ("the copy covers what is gone", |f| f.range.0 = 10, UP, UP),
            ("no copy", empty, OTHERS, OWN),
            (
                "no copy, and nothing is left",
                |f| {
                    empty(f);
                    f.range.0 = 100;
                },
                OTHERS,
                OWN,
            ),
            (
                "a copy that is too old",
                |f| {
                    f.stamp().synced_at = NOW - DAY;
                    f.range.0 = 10;
                },
                OTHERS,
                OWN,
            ),
            (
                "noted by a build that did not say where the table began",
                |f| {
                    empty(f);
                    f.metadata().table_start = None;
                },
                OTHERS,
                OWN,
            ),
            (
                "the table began there",
                |f| {
                    empty(f);
                    f.metadata().table_start = Some(10);
                },
                OTHERS,
                "Rebuild NothingStored",
            ),
            (
                "accepted: the offsets were set by hand",
                |f| {
                    empty(f);
                    f.metadata = None;
                },
                OTHERS,
                "Rebuild NothingStored",
            ),
            (
                "the end that was seen is gone",
                |f| {
                    f.stamp = None;
                    f.range.1 = 49;
                },
                "Rebuild NothingStored",
                "Refuse EndsEarly",
            ),
            (
                "the end that was seen is gone, and the copy reaches less far",
                |f| {
                    f.range.1 = 49;
                    f.stamp().offset = 40;
                },
                "CatchUp 40",
                "Refuse EndsEarly",
            ),
        ]);
    }

    #[test]
    fn identities_that_a_broker_does_not_tell_are_not_compared() {
        for unknown in ["", "AAAAAAAAAAAAAAAAAAAAAA"] {
            let mut facts = Facts::good();
            facts.stamp().topic_id = unknown.into();
            facts.metadata().table_id = unknown.into();
            assert_eq!(name(&facts.judge().1), "CatchUp 50", "noted as `{unknown}`");
            let mut facts = Facts::good();
            facts.topic_id = unknown;
            assert_eq!(name(&facts.judge().1), "CatchUp 50", "now `{unknown}`");
        }
    }

    #[test]
    fn missing_offsets_are_named_together() {
        let mut facts = Facts::good();
        facts.inputs[0].1 = None;
        facts.inputs[1].1 = None;
        let (_, Verdict::Refuse(why)) = facts.judge() else {
            panic!("not refused");
        };
        let line = why.to_string();
        for part in ["`a`, `b`", "--reset-offsets", "reset the group"] {
            assert!(line.contains(part), "{part} in: {line}");
        }
    }
}
