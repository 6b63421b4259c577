//! The last key that a walk has visited, as text that fits into what is committed with an offset. Pure:
//! knows neither tasks nor stores. Written by the barrier, read by the task that goes on with the walk.
//!
//! A key that is too long is truncated: what is kept are its beginning, its end, and the hash of
//! everything before the end. That orders every other key against it, except those that share its
//! beginning and then differ from it before its end. The walk finds its way among them by the keys
//! around them.

use std::cmp::Ordering;

use super::metadata::MAX_BYTES;
use crate::text::{hex, unhex};

const KEY: &str = ";visited=";
const END_OF_KEY: &str = ";visited-end=";

/// What the text of a truncated key has beside its bytes: both names, a length, a hash, two separators.
const FRAME: usize = KEY.len() + END_OF_KEY.len() + 20 + 32 + 2;

/// The last key visited, or what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VisitedKey {
    /// The key, or its beginning.
    start: Vec<u8>,
    /// What is kept of the rest of a truncated key.
    truncated: Option<Truncated>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Truncated {
    /// So many bytes of the key are before its end, the beginning among them.
    before: usize,
    /// Their hash.
    hash: u128,
    end: Vec<u8>,
}

impl VisitedKey {
    pub(crate) fn of(key: &[u8]) -> Self {
        Self {
            start: key.to_vec(),
            truncated: None,
        }
    }

    /// The key, unless it was truncated.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.truncated.is_none().then_some(&*self.start)
    }

    /// The key, or its beginning.
    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    /// How a key is ordered against the last key visited; `None` if that cannot be known.
    pub(crate) fn order(&self, key: &[u8]) -> Option<Ordering> {
        let truncated = self.truncated.as_ref();
        let Some(cut) = truncated.filter(|_| key.starts_with(&self.start)) else {
            return Some(key.cmp(&self.start));
        };
        let (before, end) = key.split_at_checked(cut.before)?;
        (hash(EMPTY, before) == cut.hash).then(|| end.cmp(&cut.end))
    }

    /// Keeps so many bytes of the key: of an odd number one more of the end than of the beginning.
    fn truncate(&self, bytes: usize) -> Self {
        let whole = Truncated {
            before: 0,
            hash: EMPTY,
            end: self.start.clone(),
        };
        let cut = self.truncated.as_ref().unwrap_or(&whole);
        let start = self.start.len().min(bytes / 2);
        let gone = cut.end.len().saturating_sub(bytes - start);
        let (middle, end) = cut.end.split_at(gone);
        Self {
            start: self.start[..start].to_vec(),
            truncated: Some(Truncated {
                before: cut.before + gone,
                hash: hash(cut.hash, middle),
                end: end.to_vec(),
            }),
        }
    }

    /// Adds the key to the text that is committed with the offset of the record that asked for the walk.
    /// Where the text has no room for it the walk begins again.
    pub(crate) fn add_to(&self, mut metadata: String) -> String {
        let room = MAX_BYTES.saturating_sub(metadata.len());
        let whole = KEY.len() + 2 * self.start.len();
        let cut = match &self.truncated {
            None if whole <= room => None,
            None => room.checked_sub(FRAME).map(|room| self.truncate(room / 2)),
            Some(cut) => match room.checked_sub(FRAME).map(|room| room / 2) {
                Some(bytes) if self.start.len() + cut.end.len() <= bytes => Some(self.clone()),
                Some(bytes) => Some(self.truncate(bytes)),
                None => None,
            },
        };
        if cut.is_none() && (whole > room || self.truncated.is_some()) {
            return metadata;
        }
        let key = cut.as_ref().unwrap_or(self);
        metadata.push_str(KEY);
        metadata.push_str(&hex(&key.start));
        if let Some(Truncated { before, hash, end }) = &key.truncated {
            metadata.push_str(&format!("{END_OF_KEY}{before}.{hash:032x}.{}", hex(end)));
        }
        metadata
    }

    /// The key in a text that was committed.
    pub(crate) fn read(metadata: &str) -> Option<Self> {
        let field = |name| {
            let (_, rest) = metadata.split_once(name)?;
            rest.split(';').next()
        };
        let start = unhex(field(KEY)?)?;
        // Earlier builds kept the beginning of a long key alone: the walk goes on a little earlier.
        let truncated = field(END_OF_KEY).and_then(|text| {
            let (before, rest) = text.split_once('.')?;
            let (hash, end) = rest.split_once('.')?;
            Some(Truncated {
                before: before.parse().ok()?,
                hash: u128::from_str_radix(hash, 16).ok()?,
                end: unhex(end)?,
            })
        });
        Some(Self { start, truncated })
    }
}

/// The hash of no bytes.
const EMPTY: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// FNV-1a, 128 bits: continues `before`, the hash of the bytes so far, with more bytes. It is the same in
/// every build and on every machine. Source: the FNV draft, draft-eastlake-fnv.
fn hash(before: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(before, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata() -> String {
        "goka1;fp=00".to_owned()
    }

    #[test]
    fn a_key_is_written_and_read() {
        let text = VisitedKey::of(b"a;b=\xff").add_to(metadata());
        assert_eq!(text, "goka1;fp=00;visited=613b623dff");
        assert_eq!(VisitedKey::read(&text), Some(VisitedKey::of(b"a;b=\xff")));
        assert_eq!(VisitedKey::read("goka1;fp=00"), None);
        let without_end = format!("goka1;fp=00;visited={}", "07".repeat(2000));
        assert_eq!(
            VisitedKey::read(&without_end),
            Some(VisitedKey::of(&[7; 2000]))
        );
    }

    #[test]
    fn hash_has_the_published_vectors() {
        assert_eq!(hash(EMPTY, b""), EMPTY);
        assert_eq!(hash(EMPTY, b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(
            hash(EMPTY, b"foobar"),
            0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18
        );
    }

    #[test]
    fn a_long_key_fits_and_orders_its_neighbours() {
        let key = |number: u32| {
            let mut key = vec![7; 9000];
            key.extend(number.to_be_bytes());
            key
        };
        let text = VisitedKey::of(&key(5)).add_to(metadata());
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        let visited = VisitedKey::read(&text).expect("a key");
        assert!(visited.whole().is_none());
        for number in 0..10 {
            assert_eq!(
                visited.order(&key(number)),
                Some(number.cmp(&5)),
                "{number}"
            );
        }
        assert_eq!(visited.order(b"\x07"), Some(Ordering::Less));
        assert_eq!(visited.order(b"\x08"), Some(Ordering::Greater));
        let mut other = key(5);
        other[5000] = 8;
        assert_eq!(visited.order(&other), None, "it differs in the middle");
    }

    #[test]
    fn without_room_no_key_is_written() {
        let full = "x".repeat(MAX_BYTES - 20);
        assert_eq!(
            VisitedKey::of(b"a key that does not fit").add_to(full.clone()),
            full
        );
        let text = VisitedKey::of(b"key").add_to(full);
        assert_eq!(VisitedKey::read(&text), Some(VisitedKey::of(b"key")));
    }

    proptest! {
        #[test]
        fn an_order_that_is_known_is_true(
            key in proptest::collection::vec(0u8..2, 0..40),
            other in proptest::collection::vec(0u8..2, 0..40),
            first in 0usize..40, second in 0usize..40,
        ) {
            let visited = VisitedKey::of(&key).truncate(first);
            prop_assert_eq!(visited.order(&key), Some(Ordering::Equal));
            let again = visited.truncate(second.min(first));
            prop_assert_eq!(again.order(&key), Some(Ordering::Equal));
            for visited in [visited, again] {
                let order = visited.order(&other);
                prop_assert!(order.is_none_or(|order| order == other.cmp(&key)));
            }
        }

        #[test]
        fn a_key_that_is_written_fits_and_is_stable(
            length in 0usize..6000, taken in 0usize..=MAX_BYTES,
        ) {
            let key: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let metadata = "x".repeat(taken);
            let text = VisitedKey::of(&key).add_to(metadata.clone());
            prop_assert!(text.len() <= MAX_BYTES);
            if let Some(visited) = VisitedKey::read(&text) {
                prop_assert_eq!(visited.order(&key), Some(Ordering::Equal));
                prop_assert_eq!(visited.add_to(metadata), text);
            }
        }
    }
}
