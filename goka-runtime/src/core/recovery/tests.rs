//! Each rule of [`decide`], for owners and followers.

use super::*;
use crate::core::metadata::{VERSION, fingerprint_hash};

const NOW: Timestamp = 1_000_000_000;
const DAY: Timestamp = 86_400_000;
const FINGERPRINT: &str = "v1;key=string;value=i64;partitioner=murmur2";

/// An inspection by which both roles catch up from 50; each row changes some of it.
struct Found {
    checkpoint: Option<Checkpoint>,
    topic_id: &'static str,
    range: (Offset, Offset),
    delete_retention: Duration,
    metadata: Option<OffsetMetadata>,
    /// Name, committed, start, end.
    inputs: Vec<(&'static str, Option<Offset>, Offset, Offset)>,
}

impl Found {
    fn good() -> Self {
        Found {
            checkpoint: Some(Checkpoint {
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

    fn checkpoint(&mut self) -> &mut Checkpoint {
        self.checkpoint.as_mut().expect("not yet taken away")
    }

    fn metadata(&mut self) -> &mut OffsetMetadata {
        self.metadata.as_mut().expect("not yet taken away")
    }

    /// Decisions for a follower and for an owner.
    fn decide(&self) -> (RecoveryDecision, RecoveryDecision) {
        let topic = ChangelogPartition {
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
            .map(|&(name, committed, start, end)| InputInspection {
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
        let of = |role| decide(self.checkpoint.as_ref(), &topic, FINGERPRINT, role, NOW);
        (of(&Role::Follower), of(&owner))
    }
}

/// `CatchUp 50`, `Rebuild Stale`, `Refuse LostChangelog`.
fn name(decision: &RecoveryDecision) -> String {
    let (verb, why) = match decision {
        RecoveryDecision::CatchUp { from } => return format!("CatchUp {from}"),
        RecoveryDecision::Rebuild(why) => ("Rebuild", why),
        RecoveryDecision::Refuse(why) => ("Refuse", why),
    };
    let variant = format!("{:?}", why.problem);
    format!(
        "{verb} {}",
        variant.split([' ', '(']).next().expect("a name")
    )
}

type Row = (&'static str, fn(&mut Found), &'static str, &'static str);

fn check(rows: &[Row]) {
    for (case, change, follower, owner) in rows {
        let mut inspection = Found::good();
        change(&mut inspection);
        let (as_follower, as_owner) = inspection.decide();
        assert_eq!(name(&as_follower), *follower, "{case}, follower");
        assert_eq!(name(&as_owner), *owner, "{case}, owner");
        for decision in [as_follower, as_owner] {
            if let RecoveryDecision::Rebuild(why) | RecoveryDecision::Refuse(why) = decision {
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
            |f| f.checkpoint = None,
            "Rebuild NothingStored",
            "Rebuild NothingStored",
        ),
        (
            "a newer format, whatever else it seems to say",
            |f| {
                f.checkpoint().format = FORMAT + 1;
                f.checkpoint().cluster = "other".into();
            },
            "Refuse NewerFormat",
            "Refuse NewerFormat",
        ),
        (
            "an earlier format, whatever else it seems to say",
            |f| {
                f.checkpoint().format = FORMAT - 1;
                f.checkpoint().cluster = "other".into();
            },
            "Rebuild OtherFormat",
            "Rebuild OtherFormat",
        ),
        (
            "fingerprint of the copy",
            |f| f.checkpoint().fingerprint = "v1;key=i64".into(),
            "Rebuild Mismatch",
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
                f.checkpoint = None;
                f.metadata().fingerprint += 1;
            },
            "Rebuild NothingStored",
            "Refuse OtherFingerprintInOffsets",
        ),
        (
            "stale",
            |f| f.checkpoint().synced_at = NOW - DAY,
            "Rebuild Stale",
            "Rebuild Stale",
        ),
        (
            "another topic id",
            |f| f.checkpoint().topic_id = "old".into(),
            "Rebuild Mismatch",
            "Refuse LostChangelog",
        ),
        (
            "another partition's copy",
            |f| f.checkpoint().partition = 4,
            "Rebuild Mismatch",
            "Refuse LostChangelog",
        ),
        (
            "beyond the end",
            |f| f.checkpoint().offset = 101,
            "Rebuild Mismatch",
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
            |f| f.checkpoint().cluster = "other".into(),
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
            |f| f.checkpoint().synced_at = NOW - DAY / 10 * 9 + 1,
            UP,
            UP,
        ),
        (
            "just too old",
            |f| f.checkpoint().synced_at = NOW - DAY / 10 * 9,
            OLD,
            OLD,
        ),
        (
            "never",
            |f| f.checkpoint().synced_at = Timestamp::MIN,
            OLD,
            OLD,
        ),
        (
            "clocks differ a little",
            |f| f.checkpoint().synced_at = NOW + DAY / 10,
            UP,
            UP,
        ),
        (
            "from the future",
            |f| f.checkpoint().synced_at = NOW + DAY / 10 + 1,
            OLD,
            OLD,
        ),
        (
            "no retention at all",
            |f| {
                f.delete_retention = Duration::ZERO;
                f.checkpoint().synced_at = NOW;
            },
            OLD,
            OLD,
        ),
        (
            "endless retention",
            |f| {
                f.delete_retention = Duration::MAX;
                f.checkpoint().synced_at = 0;
            },
            UP,
            UP,
        ),
        (
            "old, but level with the topic now",
            |f| {
                f.range.1 = 50;
                f.checkpoint().synced_at = NOW - 10 * DAY;
            },
            UP,
            UP,
        ),
    ]);
}

#[test]
fn an_input_without_metadata_is_known_when_the_table_is_not_empty() {
    /// Offsets and metadata expired together.
    fn expired(f: &mut Found) {
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
                f.checkpoint = None;
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
                f.checkpoint = None;
                f.range = (0, 0);
            },
            "Rebuild NothingStored",
            "Rebuild NothingStored",
        ),
        (
            "a new group that was killed before its first barrier",
            |f| {
                expired(f);
                f.checkpoint().offset = 0;
                f.range = (0, 0);
            },
            "CatchUp 0",
            "CatchUp 0",
        ),
        (
            "all records deleted, no copy: begins anew",
            |f| {
                expired(f);
                f.checkpoint = None;
                f.range = (100, 100);
            },
            "Refuse DeletedRowsOfOthers",
            "Rebuild NothingStored",
        ),
        (
            "empty table, but the metadata knows the input",
            |f| {
                f.checkpoint = None;
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
    fn stale(f: &mut Found) {
        f.checkpoint().synced_at = 0;
    }
    fn range(f: &mut Found) {
        stale(f);
        f.range.0 = 60;
    }
    fn id(f: &mut Found) {
        range(f);
        f.checkpoint().topic_id = "old".into();
    }
    fn out_of_range(f: &mut Found) {
        id(f);
        f.inputs[1].1 = Some(1);
    }
    fn missing(f: &mut Found) {
        out_of_range(f);
        f.inputs[0].1 = None;
    }
    fn table(f: &mut Found) {
        missing(f);
        f.metadata().table_id = "old".into();
    }
    fn hash(f: &mut Found) {
        table(f);
        f.metadata().fingerprint += 1;
    }
    fn fingerprint(f: &mut Found) {
        hash(f);
        f.checkpoint().fingerprint = "v1;key=i64".into();
    }
    fn cluster(f: &mut Found) {
        fingerprint(f);
        f.checkpoint().cluster = "other".into();
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
            f.checkpoint = None;
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
    fn empty(f: &mut Found) {
        f.checkpoint = None;
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
                f.checkpoint().synced_at = NOW - DAY;
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
                f.checkpoint = None;
                f.range.1 = 49;
            },
            "Rebuild NothingStored",
            "Refuse EndsEarly",
        ),
        (
            "the end that was seen is gone, and the copy reaches less far",
            |f| {
                f.range.1 = 49;
                f.checkpoint().offset = 40;
            },
            "CatchUp 40",
            "Refuse EndsEarly",
        ),
    ]);
}

#[test]
fn identities_that_a_broker_does_not_have_are_not_compared() {
    for unknown in ["", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let mut inspection = Found::good();
        inspection.checkpoint().topic_id = unknown.into();
        inspection.metadata().table_id = unknown.into();
        assert_eq!(
            name(&inspection.decide().1),
            "CatchUp 50",
            "noted as `{unknown}`"
        );
        let mut inspection = Found::good();
        inspection.topic_id = unknown;
        assert_eq!(
            name(&inspection.decide().1),
            "CatchUp 50",
            "now `{unknown}`"
        );
    }
}

#[test]
fn missing_offsets_are_named_together() {
    let mut inspection = Found::good();
    inspection.inputs[0].1 = None;
    inspection.inputs[1].1 = None;
    let (_, RecoveryDecision::Refuse(why)) = inspection.decide() else {
        panic!("not refused");
    };
    let line = why.to_string();
    for part in ["`a`, `b`", "--reset-offsets", "reset the group"] {
        assert!(line.contains(part), "{part} in: {line}");
    }
}

#[test]
fn a_reason_names_the_partition_and_what_is_done() {
    let reason = RecoveryReason {
        table: "clicks-state".into(),
        partition: 3,
        problem: RecoveryProblem::NothingStored,
    };
    assert_eq!(
        reason.to_string(),
        "clicks-state[3]: no local copy yet; it is made from the topic"
    );
    let trusted = trusted_for(Duration::from_secs(100));
    assert_eq!(trusted, Duration::from_secs(90));
}
