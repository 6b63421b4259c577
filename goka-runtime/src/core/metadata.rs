//! The text that a group commits with its offsets: the definition of its table, the identity of the group
//! topic, and the inputs known so far. Pure; knows no log. Written by the barrier, read by
//! [`decide`](super::recovery::decide).

use std::fmt;

use super::committed_text::{escape, hex, offset, unescape};
use super::deaths::Died;
use crate::record::Offset;

/// The version of the text written here. A text of a later version is not read, and its task is refused:
/// [`newer_version`].
pub(crate) const VERSION: u16 = 1;

/// The longest text in bytes: Kafka's default for `offset.metadata.max.bytes`.
pub(crate) const MAX_BYTES: usize = 4096;

/// How many bytes of it are left free for the last key of a walk.
const WALK: usize = 512;

/// How many inputs always fit; a group with more must be refused when it is defined.
pub(crate) const MAX_INPUTS: usize = 128;

/// The longest address kept, escaped, in bytes; a longer one is left out, since it is only a hint.
const MAX_ADDRESS: usize = 512;

const MAGIC: &str = "goka";

/// What a group commits with each offset.
///
/// As text: `goka1;fp=..;table=..;from=..;to=..;lead=..;of=..;died=..;at=..;reads=..;inputs=a,b`. Fields may
/// come in any order, unknown ones are ignored. Bytes that separate, and whatever is not visible ASCII, are written `%XX`.
/// Names of inputs give way to their hashes (`#` and 16 hex digits) when the text would be longer
/// than [`MAX_BYTES`], less some room for the last key of a walk: ask [`knows`](Self::knows), not the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetMetadata {
    /// The version of the text, [`VERSION`].
    pub(crate) version: u16,
    /// [`fingerprint_hash`] of the table's definition.
    pub(crate) fingerprint: u64,
    /// The identity of the group topic; empty for a group without one.
    pub(crate) table_id: String,
    /// Where the partition of the group topic began when the group's table did; `None` from builds that
    /// did not note it, which is as 0, and in a group without a table.
    pub(crate) table_start: Option<Offset>,
    /// How far the partition of the group topic is known to reach at least.
    pub(crate) table_end: Option<Offset>,
    /// The topic whose assignment brings the partitions: the group topic, or the first input.
    pub(crate) lead: String,
    /// The identity of the input that the offset is of; `None` from builds that did not note it.
    pub(crate) input_id: Option<String>,
    /// The record of the input whose handler ended the process; `None` from builds that did not note it.
    pub(crate) died: Option<Died>,
    /// The inputs that the group has read so far; those of the program that committed it come first.
    pub(crate) inputs: Vec<String>,
    /// How many of the inputs the program reads that committed it; `None` from earlier builds.
    pub(crate) reads: Option<usize>,
    /// Where the owner answers HTTP.
    pub(crate) address: Option<String>,
}

impl OffsetMetadata {
    /// Reads what was committed; `None` when it is not ours, damaged, or of another version: see
    /// [`newer_version`]. Other such offsets count, but nothing is known of them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(';');
        let version: u16 = fields.next()?.strip_prefix(MAGIC)?.parse().ok()?;
        if version != VERSION || text.len() > MAX_BYTES {
            return None;
        }
        let (mut fingerprint, mut table_id, mut lead, mut inputs) = (None, None, None, None);
        let mut found = Self::default();
        for field in fields {
            let (name, value) = field.split_once('=')?;
            match name {
                "fp" => fingerprint = Some(hex(value)?),
                "table" => table_id = Some(unescape(value)?),
                "from" => found.table_start = Some(offset(value)?),
                "to" => found.table_end = Some(offset(value)?),
                "of" => found.input_id = Some(unescape(value)?),
                "died" => found.died = Some(Died::parse(value)?),
                "lead" => lead = Some(unescape(value)?),
                "inputs" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    inputs = Some(names.map(unescape).collect::<Option<Vec<_>>>()?);
                }
                "reads" => found.reads = value.parse().ok(),
                "at" => found.address = Some(unescape(value)?),
                _ => {}
            }
        }
        Some(Self {
            version,
            fingerprint: fingerprint?,
            table_id: table_id?,
            lead: lead?,
            inputs: inputs?,
            ..found
        })
    }

    /// Whether the group has read `input` before.
    pub(crate) fn knows(&self, input: &str) -> bool {
        self.inputs.iter().any(|known| is_same(known, input))
    }

    /// The inputs of the program that committed it, if neither they nor `inputs` contain the others:
    /// it is another program. One that reads more, or less, is a version of this one. What an earlier
    /// build committed names inputs that were dropped long ago, too: there one that is common will do.
    pub(crate) fn other_inputs(&self, inputs: &[&str]) -> Option<&[String]> {
        let Some(theirs) = self.reads.and_then(|reads| self.inputs.get(..reads)) else {
            let is_other = !inputs.iter().any(|input| self.knows(input));
            return is_other.then_some(&self.inputs);
        };
        let has_theirs = theirs
            .iter()
            .all(|their| inputs.iter().any(|input| is_same(their, input)));
        let has_ours = inputs
            .iter()
            .all(|input| theirs.iter().any(|their| is_same(their, input)));
        (!has_theirs && !has_ours).then_some(theirs)
    }
}

impl fmt::Display for OffsetMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!(
            "{MAGIC}{};fp={:016x};table={}",
            self.version,
            self.fingerprint,
            escape(&self.table_id),
        );
        for (name, offset) in [("from", self.table_start), ("to", self.table_end)] {
            if let Some(offset) = offset {
                text.push_str(&format!(";{name}={offset}"));
            }
        }
        text.push_str(&format!(";lead={}", escape(&self.lead)));
        if let Some(id) = &self.input_id {
            text.push_str(&format!(";of={}", escape(id)));
        }
        if let Some(died) = &self.died {
            text.push_str(&format!(";died={died}"));
        }
        if let Some(address) = self.address.as_deref().map(escape)
            && address.len() <= MAX_ADDRESS
        {
            text.push_str(";at=");
            text.push_str(&address);
        }
        if let Some(reads) = self.reads {
            text.push_str(&format!(";reads={reads}"));
        }
        text.push_str(";inputs=");
        let names: Vec<_> = self.inputs.iter().map(|input| escape(input)).collect();
        let names = names.join(",");
        if text.len() + names.len() <= MAX_BYTES - WALK {
            text.push_str(&names);
        } else {
            let hashes: Vec<_> = self.inputs.iter().map(|input| hashed(input)).collect();
            text.push_str(&hashes.join(","));
        }
        f.write_str(&text)
    }
}

/// The version of a text that a newer build committed; `None` where this build reads it, and where it
/// is not ours at all.
pub(crate) fn newer_version(text: &str) -> Option<&str> {
    crate::newer::newer_version(text, VERSION)
}

/// FNV-1a, 64 bits, of the fingerprint's text: the same in every build and on every machine.
/// Source: the FNV draft, draft-eastlake-fnv, with its test vectors.
pub(crate) fn fingerprint_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Whether two names are of one input; either may be hashed.
fn is_same(a: &str, b: &str) -> bool {
    a == b || hashed(a) == hashed(b)
}

/// A name that is hashed already stays as it is: it was read from a long text.
fn hashed(input: &str) -> String {
    if input.starts_with('#') {
        return input.to_owned();
    }
    format!("#{:016x}", fingerprint_hash(input))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::super::visited_key::VisitedKey;
    use super::*;
    use crate::golden;
    use proptest::prelude::*;

    fn metadata() -> OffsetMetadata {
        OffsetMetadata {
            version: VERSION,
            fingerprint: 0x0123_4567_89ab_cdef,
            table_id: "q-Y_zN".into(),
            table_start: Some(0),
            table_end: Some(1200),
            lead: "a.b-state".into(),
            input_id: Some("Z-9_".into()),
            died: Some(Died {
                offset: 17,
                runs: vec![0xab, 2],
            }),
            inputs: vec!["a".into(), "b_c".into()],
            reads: Some(2),
            address: Some("http://[::1]:80/x;y,z=%20 ü".into()),
        }
    }

    /// With all fields; with none that may be missing; with more inputs than fit as names; and within a walk.
    #[test]
    fn texts_are_pinned() {
        let least = OffsetMetadata {
            version: VERSION,
            ..OffsetMetadata::default()
        };
        let many = OffsetMetadata {
            inputs: (0..20).map(|at| format!("{at:0200}")).collect(),
            ..least.clone()
        };
        let visited = VisitedKey::of(b"key").add_to(least.to_string());
        let truncated = VisitedKey::of(&[7; 2500]).add_to(many.to_string());
        let texts = [metadata().to_string(), least.to_string(), many.to_string()];
        let texts = [&texts[..], &[visited, truncated]].concat();
        golden::check("offsets-1.txt", &(texts.join("\n") + "\n"));

        let golden = golden::text("offsets-1.txt");
        let found: Vec<_> = golden.lines().map(OffsetMetadata::parse).collect();
        assert_eq!(found[0], Some(metadata()));
        assert_eq!((&found[1], &found[3]), (&Some(least.clone()), &Some(least)));
        for found in [&found[2], &found[4]] {
            let found = found.as_ref().expect("ours");
            assert!(many.inputs.iter().all(|input| found.knows(input)));
        }
        let keys: Vec<_> = golden.lines().map(VisitedKey::read).collect();
        assert_eq!(keys[..4], [None, None, None, Some(VisitedKey::of(b"key"))]);
        let truncated = keys[4].as_ref().expect("a key");
        assert_eq!(truncated.order(&[7; 2500]), Some(Ordering::Equal));
    }

    #[test]
    fn committed_texts_are_read_or_are_not_ours() {
        let corpus: Vec<_> = golden::text("offsets-1.txt")
            .lines()
            .map(|line| line.as_bytes().to_vec())
            .collect();
        crate::fuzz::fuzz(&corpus, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let _ = (newer_version(&text), VisitedKey::read(&text));
            if let Some(read) = OffsetMetadata::parse(&text) {
                assert_eq!(newer_version(&text), None);
                let again = read.to_string();
                let again = OffsetMetadata::parse(&again).expect("we wrote it");
                assert_eq!(
                    (again.fingerprint, &again.lead),
                    (read.fingerprint, &read.lead)
                );
                assert_eq!(
                    again.other_inputs(&["a"]).is_some(),
                    read.other_inputs(&["a"]).is_some()
                );
            }
        });
    }

    #[test]
    fn hash_has_the_published_vectors() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fingerprint_hash(text), hash, "{text:?}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_foreign_texts_are_not_ours() {
        let known = "goka1;new=1;fp=0123456789abcdef;table=;inputs=;lead=x";
        let read = OffsetMetadata::parse(known).expect("ours");
        assert_eq!((read.inputs.len(), read.address), (0, None));
        assert_eq!((read.table_start, read.table_end), (None, None));
        for (case, text) in [
            ("empty", ""),
            ("foreign", "NoMetadata"),
            ("newer", "goka2;fp=0123456789abcdef;table=;inputs=;lead=x"),
            (
                "no version",
                "goka;fp=0123456789abcdef;table=;inputs=;lead=x",
            ),
            ("cut off", "goka1;fp=0123456789abcdef;table=;inp"),
            ("field missing", "goka1;fp=0123456789abcdef;table=;lead=x"),
            (
                "offset below 0",
                "goka1;fp=0123456789abcdef;table=;from=-1;lead=x;inputs=",
            ),
            (
                "bad death",
                "goka1;fp=0123456789abcdef;table=;died=7:1;lead=x;inputs=",
            ),
            ("short hash", "goka1;fp=+1;table=;inputs=;lead=x"),
            (
                "bad escape",
                "goka1;fp=0123456789abcdef;table=%;inputs=;lead=x",
            ),
            (
                "bad digits",
                "goka1;fp=0123456789abcdef;table=%+1;inputs=;lead=x",
            ),
            (
                "not UTF-8",
                "goka1;fp=0123456789abcdef;table=%FF;inputs=;lead=x",
            ),
        ] {
            assert_eq!(OffsetMetadata::parse(text), None, "{case}");
            let newer = (case == "newer").then_some("2");
            assert_eq!(newer_version(text), newer, "{case}");
        }
        for (text, version) in [
            ("goka2;", Some("2")),
            ("goka99999999;fp=1", Some("99999999")),
            ("goka2", None),
            ("goka0;", None),
            ("goka+2;", None),
            ("goka 2;", None),
            ("gokart2;", None),
        ] {
            assert_eq!(newer_version(text), version, "{text}");
        }
        assert_eq!(newer_version(&metadata().to_string()), None);
    }

    #[test]
    fn another_program_is_distinguished_from_another_version() {
        let of = |inputs: &str, reads| OffsetMetadata {
            inputs: inputs.split(' ').map(str::to_owned).collect(),
            reads,
            ..metadata()
        };
        for (inputs, reads, ours, is_other) in [
            ("a", Some(1), "a", false),
            ("a", Some(1), "a b", false),
            ("a b", Some(2), "a", false),
            ("a", Some(1), "b", true),
            ("a x", Some(2), "b x", true),
            // It dropped `a` some time ago.
            ("b a", Some(1), "b c", false),
            ("b a", Some(1), "a", true),
            ("a b", None, "b c", false),
            ("a b", None, "c", true),
        ] {
            let metadata = of(inputs, reads);
            let ours: Vec<_> = ours.split(' ').collect();
            let found = metadata.other_inputs(&ours).is_some();
            assert_eq!(found, is_other, "{inputs}, {reads:?}, {ours:?}");
            let hashes = metadata.inputs.iter().map(|input| hashed(input)).collect();
            let long = OffsetMetadata {
                inputs: hashes,
                ..metadata
            };
            assert_eq!(long.other_inputs(&ours).is_some(), is_other);
        }
    }

    #[test]
    fn the_largest_group_fits() {
        let input = |at: usize| format!("{at:03}{}", "n".repeat(246));
        let large = OffsetMetadata {
            lead: "l".repeat(249),
            input_id: Some("00000000-0000-0000-0000-000000000000".into()),
            table_id: "00000000-0000-0000-0000-000000000000".into(),
            table_start: Some(Offset::MAX),
            table_end: Some(Offset::MAX),
            inputs: (0..MAX_INPUTS).map(input).collect(),
            address: Some("x".repeat(MAX_ADDRESS)),
            died: Some(Died {
                offset: Offset::MAX,
                runs: vec![u64::MAX; 2],
            }),
            ..metadata()
        };
        let text = large.to_string();
        assert!(text.len() <= MAX_BYTES - WALK, "{} bytes", text.len());
        let read = OffsetMetadata::parse(&text).expect("ours");
        assert!(read.knows(&input(7)) && !read.knows("other"));
        assert_eq!(read.to_string(), text);
        let endless = OffsetMetadata {
            address: Some("x".repeat(5000)),
            ..metadata()
        };
        let read = OffsetMetadata::parse(&endless.to_string()).expect("ours");
        assert_eq!(read.address, None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", tail in "(goka1)?[;=a-f0-9%,]*") {
            let _ = OffsetMetadata::parse(&text);
            let _ = OffsetMetadata::parse(&tail);
        }

        #[test]
        fn what_is_written_is_read(
            fingerprint: u64, table_id in "\\PC{0,40}", lead in "[a-zA-Z0-9._-]{1,40}",
            inputs in proptest::collection::vec("[a-zA-Z0-9._-]{1,40}", 0..5),
            address in proptest::option::of("\\PC{0,40}"),
            table_start in proptest::option::of(0..=Offset::MAX),
            table_end in proptest::option::of(0..=Offset::MAX),
            input_id in proptest::option::of("\\PC{0,40}"),
            died in proptest::option::of((0..=Offset::MAX, any::<[u64; 2]>(), 1..=2_usize)),
        ) {
            let reads = Some(inputs.len());
            let died = died.map(|(offset, runs, count)| Died {
                offset,
                runs: runs[..count].to_vec(),
            });
            let metadata = OffsetMetadata {
                version: VERSION, fingerprint, table_id, table_start, table_end, lead,
                input_id, died, inputs, reads, address,
            };
            prop_assert_eq!(OffsetMetadata::parse(&metadata.to_string()), Some(metadata));
        }
    }
}
