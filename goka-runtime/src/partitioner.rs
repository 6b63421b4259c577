//! The functions from a key to its partition: Kafka's, Goka's and librdkafka's.
//!
//! A partitioner belongs to a topic: all writers of the topic, and all readers that look up a key, use it. The
//! tests compare the partitioners with vectors that the clients they are named for have made (`tests/vectors` in
//! the repository). Knows nothing of codecs, records or topics. A record without a key is not one with an empty
//! key, and has no use for a partitioner.

/// Assigns each key of a topic to one of its partitions.
///
/// It depends on nothing but the key's bytes and the number of partitions: processes that place a key differently
/// read and write different rows.
///
/// # Examples
///
/// A partitioner of your own, which keeps the keys of a tenant in one partition:
///
/// ```
/// # use goka_runtime::partitioner as goka;
/// use goka::{Murmur2, Partitioner};
///
/// struct ByTenant;
///
/// impl Partitioner for ByTenant {
///     const NAME: &'static str = "by-tenant";
///
///     fn partition(key: &[u8], count: i32) -> i32 {
///         let tenant = key.split(|byte| *byte == b'/').next().unwrap_or_default();
///         Murmur2::partition(tenant, count)
///     }
/// }
///
/// assert_eq!(ByTenant::partition(b"acme/1", 12), ByTenant::partition(b"acme/2", 12));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a partitioner",
    label = "not a partitioner",
    note = "use `goka::Murmur2`, `goka::Fnv1a` or `goka::Crc32`, or implement `goka::Partitioner`"
)]
pub trait Partitioner: 'static {
    /// The name by which partitioners are compared.
    ///
    /// A partitioner that gives any key another partition than before needs another name.
    ///
    /// ```
    /// # use goka_runtime::partitioner as goka;
    /// use goka::{Murmur2, Partitioner};
    ///
    /// assert_eq!(Murmur2::NAME, "murmur2");
    /// ```
    const NAME: &'static str;

    /// Returns the partition of `key`, at least 0 and less than `count`, the topic's number of
    /// partitions.
    ///
    /// ```
    /// # use goka_runtime::partitioner as goka;
    /// use goka::{Murmur2, Partitioner};
    ///
    /// assert_eq!(Murmur2::partition(b"foobar", 12), 6);
    /// ```
    ///
    /// # Panics
    ///
    /// The partitioners of this module panic when `count` is not positive.
    fn partition(key: &[u8], count: i32) -> i32;
}

/// The partitioner of Kafka's Java client: `toPositive(murmur2(key)) % count`.
///
/// Also the default of Kafka Streams and Kafka Connect, and `murmur2` in librdkafka. `toPositive`
/// clears the sign bit, it does not negate. The empty key is hashed like any other.
///
/// Source: `BuiltInPartitioner.partitionForKey` and `Utils.murmur2` in
/// [kafka-clients](https://github.com/apache/kafka/blob/4.1.0/clients/src/main/java/org/apache/kafka/common/utils/Utils.java).
///
/// ```
/// # use goka_runtime::partitioner as goka;
/// use goka::{Murmur2, Partitioner};
///
/// assert_eq!(Murmur2::partition("Zürich".as_bytes(), 1), 0);
/// assert_eq!(Murmur2::partition(b"", 12), 9);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Murmur2;

impl Partitioner for Murmur2 {
    const NAME: &'static str = "murmur2";

    fn partition(key: &[u8], count: i32) -> i32 {
        remainder(murmur2(key) & 0x7fff_ffff, count)
    }
}

/// The partitioner of Goka: the absolute value of the 32-bit FNV-1a, as a signed number, modulo `count`.
///
/// Sarama's default and `fnv1a` in librdkafka. The empty key is hashed like any other.
///
/// # A key that Goka does not find
///
/// The hash of one key in four billion is `i32::MIN`, whose negation overflows; `qqk42v` is one.
/// Goka's producers, which leave this to Sarama, divide before they negate: the partition is
/// 2³¹ mod `count`, as it is here. Its `View.Get` and `Processor.Get` negate before they divide,
/// a silent overflow in Go, and so does `PartitionForKey` in later versions: unless `count` is a
/// power of two the partition is negative, on which the view panics and the processor returns an
/// error. Here such a key is read from the partition to which Goka's producers write it.
///
/// Sources: `hashPartitioner.Partition` in
/// [Sarama](https://github.com/IBM/sarama/blob/v1.46.3/partitioner.go), `DefaultProducerBuilder`,
/// `DefaultHasher`, `View.hash` and `Processor.hash` in
/// [Goka](https://github.com/lovoo/goka/blob/v1.1.16/view.go).
///
/// ```
/// # use goka_runtime::partitioner as goka;
/// use goka::{Fnv1a, Partitioner};
///
/// assert_eq!(Fnv1a::partition(b"foobar", 100), 76);
/// assert_eq!(Fnv1a::partition(b"qqk42v", 12), 8);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Fnv1a;

impl Partitioner for Fnv1a {
    const NAME: &'static str = "fnv1a";

    fn partition(key: &[u8], count: i32) -> i32 {
        // unsigned_abs does not overflow, and -(hash % count) equals abs(hash) % count.
        remainder(fnv1a(key).cast_signed().unsigned_abs(), count)
    }
}

/// The partitioner `consistent` of librdkafka: the unsigned CRC-32 modulo `count`.
///
/// librdkafka's default, `consistent_random`, is the same for every key but the empty one.
///
/// # The empty key
///
/// is in partition 0, the CRC-32 of nothing being 0, and with `consistent` it is there too.
/// `consistent_random` scatters it over all partitions like records without a key, so that no
/// table can be kept of them: a record with an empty key that a librdkafka producer wrote with its
/// default settings is misplaced, unless it is in partition 0 by chance.
///
/// Source: `rd_kafka_msg_partitioner_consistent` in
/// [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_msg.c), and
/// `partitioner` in its
/// [configuration](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).
///
/// ```
/// # use goka_runtime::partitioner as goka;
/// use goka::{Crc32, Partitioner};
///
/// assert_eq!(Crc32::partition(b"foobar", 100), 69);
/// assert_eq!(Crc32::partition(b"", 100), 0);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Crc32;

impl Partitioner for Crc32 {
    const NAME: &'static str = "crc32";

    fn partition(key: &[u8], count: i32) -> i32 {
        remainder(crc32fast::hash(key), count)
    }
}

fn remainder(hash: u32, count: i32) -> i32 {
    assert!(count > 0, "a topic has at least one partition, not {count}");
    (hash % count.cast_unsigned()).cast_signed()
}

/// MurmurHash2 of 32 bits (Austin Appleby) with the seed that Kafka chose.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;

    // The cast loses nothing: the length of a key is an i32 in Kafka's protocol.
    let mut hash = SEED ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail
            .iter()
            .rev()
            .fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// FNV-1a of 32 bits (Fowler, Noll and Vo), as in Go's `hash/fnv`.
fn fnv1a(key: &[u8]) -> u32 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;

    key.iter().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    struct Row {
        key: Vec<u8>,
        hash: u32,
        partitions: Vec<(i32, i32)>,
    }

    fn vectors(name: &str) -> Vec<Row> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/vectors")
            .join(name)
            .with_extension("tsv");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
        let mut lines = text.lines();
        let counts: Vec<i32> = lines
            .next()
            .expect("a header")
            .split('\t')
            .skip(2)
            .map(|count| count.parse().expect("a count"))
            .collect();
        assert_eq!(counts, [1, 3, 8, 12, 100, 1000]);
        lines
            .map(|line| {
                let cells: Vec<&str> = line.split('\t').collect();
                assert_eq!(cells.len(), 2 + counts.len(), "{line}");
                Row {
                    key: unhex(cells[0]),
                    hash: u32::from_str_radix(cells[1], 16).expect("a hash"),
                    partitions: counts
                        .iter()
                        .zip(&cells[2..])
                        .map(|(count, partition)| (*count, partition.parse().expect("a partition")))
                        .collect(),
                }
            })
            .collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        assert!(odd.is_empty(), "{text}");
        pairs
            .iter()
            .map(|pair| std::str::from_utf8(pair).expect("ASCII"))
            .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
            .collect()
    }

    fn agrees<P: Partitioner>(hash: fn(&[u8]) -> u32, int_min: &[u8]) {
        let rows = vectors(P::NAME);
        for row in &rows {
            let key = row.key.escape_ascii();
            assert_eq!(hash(&row.key), row.hash, "{} of \"{key}\"", P::NAME);
            for (count, partition) in &row.partitions {
                assert_eq!(
                    P::partition(&row.key, *count),
                    *partition,
                    "{} of \"{key}\", {count} partitions",
                    P::NAME
                );
            }
        }

        let keys: HashSet<&[u8]> = rows.iter().map(|row| row.key.as_slice()).collect();
        assert_eq!(keys.len(), rows.len(), "a key twice");
        assert!(keys.len() >= 1_000, "{} keys", keys.len());
        for special in [
            "".as_bytes(),
            b"qqk42v",
            int_min,
            "Zürich".as_bytes(),
            "鍵".as_bytes(),
        ] {
            assert!(
                keys.contains(special),
                "\"{}\" is missing",
                special.escape_ascii()
            );
        }
        assert!(
            keys.iter().any(|key| std::str::from_utf8(key).is_err()),
            "all of it is UTF-8"
        );
        assert_eq!(hash(int_min).cast_signed(), i32::MIN);
    }

    #[test]
    fn murmur2_agrees_with_the_java_client() {
        agrees::<Murmur2>(murmur2, b"d26skop");
    }

    #[test]
    fn fnv1a_agrees_with_goka() {
        agrees::<Fnv1a>(fnv1a, b"qqk42v");
    }

    #[test]
    fn crc32_agrees_with_librdkafka() {
        agrees::<Crc32>(crc32fast::hash, b"ulq7ya");
    }

    #[test]
    fn every_list_has_the_same_keys() {
        let keys = |name| {
            vectors(name)
                .into_iter()
                .map(|row| row.key)
                .collect::<Vec<_>>()
        };
        let murmur2 = keys(Murmur2::NAME);
        assert_eq!(murmur2, keys(Fnv1a::NAME));
        assert_eq!(murmur2, keys(Crc32::NAME));
    }

    #[test]
    fn a_topic_without_partitions_is_refused() {
        for count in [0, -1, i32::MIN] {
            for partition in [Murmur2::partition, Fnv1a::partition, Crc32::partition] {
                assert!(std::panic::catch_unwind(|| partition(b"qqk42v", count)).is_err());
            }
        }
    }
}
