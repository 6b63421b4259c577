//! Where a walk is: the last key visited, as text that fits into what is committed with an offset.
//! Pure; knows neither tasks nor stores. Written by the barrier, read by whoever goes on with the walk.
//!
//! A key that is too long is cut: its beginning, its end, and the hash of everything before the end.
//! That orders every other key against it, save those that share its beginning and then differ from
//! it before its end. The walk finds its way among them by the keys around them.

use std::cmp::Ordering;

use super::metadata::MAX_BYTES;

const NOTE: &str = ";visited=";
const END: &str = ";visited-end=";

/// What the note of a cut key has beside its bytes: both names, a length, a hash, two separators.
const FRAME: usize = NOTE.len() + END.len() + 20 + 32 + 2;

/// The last key visited, or what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The key, or its beginning.
    pub(crate) start: Vec<u8>,
    /// What is kept of the rest of a key that was cut.
    cut: Option<Cut>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cut {
    /// So many bytes of the key are before its end, the beginning among them.
    before: usize,
    /// Their hash.
    hash: u128,
    end: Vec<u8>,
}

impl Place {
    /// Behind a key.
    pub(crate) fn of(key: &[u8]) -> Self {
        Self {
            start: key.to_vec(),
            cut: None,
        }
    }

    /// Whether the key is all there.
    pub(crate) fn is_whole(&self) -> bool {
        self.cut.is_none()
    }

    /// How a key is ordered against the place; `None` if that cannot be said.
    pub(crate) fn order(&self, key: &[u8]) -> Option<Ordering> {
        let Some(cut) = self.cut.as_ref().filter(|_| key.starts_with(&self.start)) else {
            return Some(key.cmp(&self.start));
        };
        let (before, end) = key.split_at_checked(cut.before)?;
        (hash(EMPTY, before) == cut.hash).then(|| end.cmp(&cut.end))
    }

    /// Keeps so many bytes of the key; less of the beginning than of the end where it is odd.
    fn cut(&self, bytes: usize) -> Self {
        let whole = Cut {
            before: 0,
            hash: EMPTY,
            end: self.start.clone(),
        };
        let cut = self.cut.as_ref().unwrap_or(&whole);
        let start = self.start.len().min(bytes / 2);
        let gone = cut.end.len().saturating_sub(bytes - start);
        let (middle, end) = cut.end.split_at(gone);
        Self {
            start: self.start[..start].to_vec(),
            cut: Some(Cut {
                before: cut.before + gone,
                hash: hash(cut.hash, middle),
                end: end.to_vec(),
            }),
        }
    }

    /// Adds the place to what is committed with the offset of the record that asked for the walk. Where
    /// there is no room at all the walk begins again.
    pub(crate) fn note(&self, mut metadata: String) -> String {
        let room = MAX_BYTES.saturating_sub(metadata.len());
        let whole = NOTE.len() + 2 * self.start.len();
        let cut = match &self.cut {
            None if whole <= room => None,
            None => room.checked_sub(FRAME).map(|room| self.cut(room / 2)),
            Some(cut) => match room.checked_sub(FRAME).map(|room| room / 2) {
                Some(bytes) if self.start.len() + cut.end.len() <= bytes => Some(self.clone()),
                Some(bytes) => Some(self.cut(bytes)),
                None => None,
            },
        };
        if cut.is_none() && (whole > room || !self.is_whole()) {
            return metadata;
        }
        let place = cut.as_ref().unwrap_or(self);
        metadata.push_str(NOTE);
        metadata.push_str(&hex(&place.start));
        if let Some(Cut { before, hash, end }) = &place.cut {
            metadata.push_str(&format!("{END}{before}.{hash:032x}.{}", hex(end)));
        }
        metadata
    }

    /// The place in what was committed.
    pub(crate) fn noted(metadata: &str) -> Option<Self> {
        let field = |name| {
            let (_, rest) = metadata.split_once(name)?;
            rest.split(';').next()
        };
        let start = bytes(field(NOTE)?)?;
        // Before there were ends a key was cut without a word: the walk goes on a little earlier.
        let cut = field(END).and_then(|text| {
            let (before, rest) = text.split_once('.')?;
            let (hash, end) = rest.split_once('.')?;
            Some(Cut {
                before: before.parse().ok()?,
                hash: u128::from_str_radix(hash, 16).ok()?,
                end: bytes(end)?,
            })
        });
        Some(Self { start, cut })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The hash of nothing.
const EMPTY: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// FNV-1a, 128 bits, of what `before` is the hash of and some bytes more: the same in every build and
/// on every machine. Source: the FNV draft, draft-eastlake-fnv.
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
    fn a_place_is_noted_and_found_again() {
        let text = Place::of(b"a;b=\xff").note(metadata());
        assert_eq!(text, "goka1;fp=00;visited=613b623dff");
        assert_eq!(Place::noted(&text), Some(Place::of(b"a;b=\xff")));
        assert_eq!(Place::noted("goka1;fp=00"), None);
        let cut_without_a_word = format!("goka1;fp=00;visited={}", "07".repeat(2000));
        assert_eq!(
            Place::noted(&cut_without_a_word),
            Some(Place::of(&[7; 2000]))
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
        let text = Place::of(&key(5)).note(metadata());
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        let place = Place::noted(&text).expect("a place");
        assert!(!place.is_whole());
        for number in 0..10 {
            assert_eq!(place.order(&key(number)), Some(number.cmp(&5)), "{number}");
        }
        assert_eq!(place.order(b"\x07"), Some(Ordering::Less));
        assert_eq!(place.order(b"\x08"), Some(Ordering::Greater));
        let mut other = key(5);
        other[5000] = 8;
        assert_eq!(place.order(&other), None, "it differs in the middle");
    }

    #[test]
    fn without_room_nothing_is_noted() {
        let full = "x".repeat(MAX_BYTES - 20);
        assert_eq!(
            Place::of(b"a key that does not fit").note(full.clone()),
            full
        );
        let text = Place::of(b"key").note(full);
        assert_eq!(Place::noted(&text), Some(Place::of(b"key")));
    }

    proptest! {
        #[test]
        fn what_can_be_said_of_the_order_is_true(
            key in proptest::collection::vec(0u8..2, 0..40),
            other in proptest::collection::vec(0u8..2, 0..40),
            first in 0usize..40, second in 0usize..40,
        ) {
            let place = Place::of(&key).cut(first);
            prop_assert_eq!(place.order(&key), Some(Ordering::Equal));
            let again = place.cut(second.min(first));
            prop_assert_eq!(again.order(&key), Some(Ordering::Equal));
            for place in [place, again] {
                let said = place.order(&other);
                prop_assert!(said.is_none_or(|order| order == other.cmp(&key)));
            }
        }

        #[test]
        fn what_is_noted_fits_and_stays_as_it_is(
            length in 0usize..6000, taken in 0usize..=MAX_BYTES,
        ) {
            let key: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let metadata = "x".repeat(taken);
            let text = Place::of(&key).note(metadata.clone());
            prop_assert!(text.len() <= MAX_BYTES);
            if let Some(place) = Place::noted(&text) {
                prop_assert_eq!(place.order(&key), Some(Ordering::Equal));
                prop_assert_eq!(place.note(metadata), text);
            }
        }
    }
}
