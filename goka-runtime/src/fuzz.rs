//! Fuzzing of what is read from outside: bytes of a corpus are changed at random, and whatever comes of it is read.
//! A few thousand inputs in the suite; `GOKA_FUZZ_SECONDS=600` runs each target for so long.
//!
//! An input that made a target fail is kept in the corpus, and comes first from then on.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// How many inputs a target reads in the suite.
const CASES: u32 = 2_000;

/// A change of an input.
#[derive(Debug, Clone)]
enum Edit {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize, usize),
    Insert(usize, Vec<u8>),
    /// Bytes of another input of the corpus in place of those from here on.
    Splice(usize, usize, usize),
    /// A number that decoders trip over, in either byte order.
    Number(usize, u64, bool),
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let within = |at: usize, len: usize| if len == 0 { 0 } else { at % len };
        match self {
            Edit::Flip(at, mask) if !bytes.is_empty() => {
                let at = within(*at, bytes.len());
                bytes[at] ^= mask;
            }
            Edit::Set(at, to) if !bytes.is_empty() => {
                let at = within(*at, bytes.len());
                bytes[at] = *to;
            }
            Edit::Flip(..) | Edit::Set(..) => {}
            Edit::Cut(at, len) => {
                let at = within(*at, bytes.len());
                let end = (at + len).min(bytes.len());
                bytes.drain(at..end);
            }
            Edit::Insert(at, more) => {
                let at = within(*at, bytes.len() + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Edit::Splice(at, other, from) => {
                let other = &corpus[within(*other, corpus.len())];
                bytes.truncate(within(*at, bytes.len() + 1));
                bytes.extend_from_slice(&other[within(*from, other.len())..]);
            }
            Edit::Number(at, number, is_big) => {
                let number = if *is_big {
                    number.to_be_bytes()
                } else {
                    number.to_le_bytes()
                };
                let at = within(*at, bytes.len());
                for (place, byte) in bytes[at..].iter_mut().zip(number) {
                    *place = byte;
                }
            }
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let numbers = prop_oneof![
        Just(u64::MAX),
        Just(i64::MAX.cast_unsigned()),
        Just(i64::MIN.cast_unsigned()),
        Just(u64::from(u32::MAX)),
        Just(0),
        any::<u64>(),
    ];
    let edit = prop_oneof![
        4 => (any::<usize>(), 1_u8..).prop_map(|(at, mask)| Edit::Flip(at, mask)),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, to)| Edit::Set(at, to)),
        2 => (any::<usize>(), 1_usize..40).prop_map(|(at, len)| Edit::Cut(at, len)),
        2 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, more)| Edit::Insert(at, more)),
        1 => any::<(usize, usize, usize)>().prop_map(|(at, other, from)| Edit::Splice(at, other, from)),
        2 => (any::<usize>(), numbers, any::<bool>())
            .prop_map(|(at, number, is_big)| Edit::Number(at, number, is_big)),
    ];
    prop::collection::vec(edit, 0..8)
}

/// Reads inputs that are made of those of the corpus; `read` panics where something is wrong.
#[track_caller]
pub(crate) fn fuzz(corpus: &[Vec<u8>], read: impl Fn(&[u8])) {
    for input in corpus {
        read(input);
    }
    let seconds = std::env::var("GOKA_FUZZ_SECONDS");
    let seconds = seconds.ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // The same inputs in each run of the suite; others where time is given.
    let mut seed = match until {
        Some(_) => rand_seed(),
        None => 1,
    };
    loop {
        let mut runner = TestRunner::new(Config {
            cases: CASES,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        });
        let outcome = runner.run(&(any::<usize>(), edits()), |(at, edits)| {
            let mut input = corpus[at % corpus.len()].clone();
            for edit in &edits {
                edit.apply(&mut input, corpus);
            }
            let read = std::panic::AssertUnwindSafe(|| read(&input));
            std::panic::catch_unwind(read)
                .map_err(|_| TestCaseError::fail(format!("input: {}", input.escape_ascii())))
        });
        if let Err(failed) = outcome {
            panic!("{failed}\nadd the input to the corpus");
        }
        if until.is_none_or(|until| Instant::now() >= until) {
            return;
        }
        seed = seed.wrapping_add(1);
    }
}

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::fuzz;
    use crate::codec::{Be, Codec, Json};
    use crate::key::Ordered;

    /// A value that was read is written in bytes that are read as the same; its text stands for bytes, too.
    fn check<C: Codec>(bytes: &[u8]) {
        let Ok(value) = C::decode(bytes) else {
            assert!(
                C::show(bytes).is_err(),
                "{}: {}",
                C::NAME,
                bytes.escape_ascii()
            );
            return;
        };
        let encoded = |value: &C::Value| {
            let mut bytes = Vec::new();
            C::encode(value, &mut bytes).expect("it was read");
            bytes
        };
        let canonical = encoded(&value);
        let again = C::decode(&canonical).expect("we wrote it");
        assert_eq!(encoded(&again), canonical, "{}", C::NAME);
        let text = C::show(bytes).expect("it was read");
        assert!(!text.contains(['\n', '\t']), "{text:?}");
        assert!(C::parse(&text).is_ok(), "{}: {text:?}", C::NAME);
    }

    /// Keys and values of a changelog, as restores and views read them.
    #[test]
    fn keys_and_values_are_read_or_refused() {
        type Map = BTreeMap<String, Vec<Option<i64>>>;

        let mut tuple = Vec::new();
        <(String, i64, Uuid)>::encode(&("user-1".to_owned(), -3, Uuid::max()), &mut tuple)
            .expect("a key");
        let corpus = [
            b"-9223372036854775808".to_vec(),
            b"18446744073709551615".to_vec(),
            b"true".to_vec(),
            "Zürich \\ \u{0}".as_bytes().to_vec(),
            b"67e55044-10b1-426f-9247-bb680e5fe0c8".to_vec(),
            br#"{"a":[1,null,-3],"b":[]}"#.to_vec(),
            vec![0, 0, 0, 0, 0, 0, 1, 0],
            tuple,
        ];
        fuzz(&corpus, |bytes| {
            check::<i8>(bytes);
            check::<i64>(bytes);
            check::<u64>(bytes);
            check::<bool>(bytes);
            check::<()>(bytes);
            check::<String>(bytes);
            check::<Vec<u8>>(bytes);
            check::<Uuid>(bytes);
            check::<Json<Map>>(bytes);
            check::<Be<i32>>(bytes);
            check::<Be<i64>>(bytes);
            check::<Be<f64>>(bytes);
            check::<Ordered<i64>>(bytes);
            check::<Ordered<String>>(bytes);
            check::<(String, i64, Uuid)>(bytes);
            check::<(Vec<u8>, u8)>(bytes);
        });
    }
}
