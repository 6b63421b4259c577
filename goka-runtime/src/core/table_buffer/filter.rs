//! Whether a key that has no row in memory may be in the store: a key that was never there need not be looked for on
//! disk. A Bloom filter answers "perhaps" for one key in a hundred that is not there, and "no" only rightly.

use std::ops::Bound;

use super::index::hash;
use crate::table::{Flow, StoreError, StoreRead};

/// Words of a block; a key sets one in each of its words, so that a look touches one cache line.
const BLOCK_WORDS: usize = 8;
type Block = [u32; BLOCK_WORDS];
const BLOCK_BITS: usize = 32 * BLOCK_WORDS;
/// For each key that a filter is made for: one of a thousand other keys is taken for one of its, and there may be ten
/// filters.
const KEY_BITS: usize = 16;
/// How many keys the first filter is made for, and at least the second; each further one takes twice as many as the one
/// before.
const FIRST_KEYS: usize = 64;
const SECOND_KEYS: usize = 1 << 10;

/// Odd numbers, which spread 32 bits of a hash over each word (as in split block Bloom filters of Apache Parquet).
const SALTS: [u32; BLOCK_WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

#[derive(Debug)]
struct Bloom {
    blocks: Box<[Block]>,
    keys: usize,
}

impl Bloom {
    fn of(keys: usize) -> Self {
        let blocks = (keys * KEY_BITS).div_ceil(BLOCK_BITS);
        Self {
            blocks: vec![Block::default(); blocks].into(),
            keys: 0,
        }
    }

    fn most_keys(&self) -> usize {
        self.blocks.len() * BLOCK_BITS / KEY_BITS
    }

    fn block(&self, hash: u64) -> usize {
        (((hash >> 32) * self.blocks.len() as u64) >> 32) as usize
    }

    fn has(&self, hash: u64) -> bool {
        let block = &self.blocks[self.block(hash)];
        block
            .iter()
            .zip(mask(hash))
            .all(|(word, bit)| word & bit != 0)
    }

    fn add(&mut self, hash: u64) {
        let block = &mut self.blocks[self.block(hash)];
        for (word, bit) in block.iter_mut().zip(mask(hash)) {
            *word |= bit;
        }
        self.keys += 1;
    }
}

fn mask(hash: u64) -> Block {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// Spreads what a hash differs in over all of its bits: a hash table is content with less than a filter, which takes the
/// block from one half and the bits in it from the other (the finalizer of MurmurHash3).
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The hashes of keys, some of them perhaps of others.
#[derive(Debug, Default)]
pub(super) struct Filter {
    blooms: Vec<Bloom>,
}

impl Filter {
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.has(mix(hash))
    }

    fn has(&self, mixed: u64) -> bool {
        self.blooms.iter().any(|bloom| bloom.has(mixed))
    }

    pub(super) fn add(&mut self, hash: u64) {
        let hash = mix(hash);
        if self.has(hash) {
            return;
        }
        let most = self.blooms.last().map_or(0, Bloom::most_keys);
        match self.blooms.last_mut() {
            Some(last) if last.keys < most => last.add(hash),
            _ => {
                let keys = match most {
                    0 => FIRST_KEYS,
                    most => SECOND_KEYS.max(2 * most),
                };
                let mut next = Bloom::of(keys);
                next.add(hash);
                self.blooms.push(next);
            }
        }
    }

    /// Adds what a store has.
    pub(super) fn merge(&mut self, StoredKeys(mut stored): StoredKeys) {
        // The last one takes further keys.
        stored.blooms.append(&mut self.blooms);
        *self = stored;
    }

    /// Its memory.
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.blooms.iter().map(|bloom| bloom.blocks.len());
        blocks.sum::<usize>() * size_of::<Block>()
    }
}

/// The keys of a store, for the buffer over it.
#[derive(Debug)]
pub(crate) struct StoredKeys(Filter);

impl StoredKeys {
    /// Reads all keys, as long as that goes on.
    pub(crate) fn read(
        store: &dyn StoreRead,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Self, StoreError> {
        let mut keys = Filter::default();
        let all = (Bound::Unbounded, Bound::Unbounded);
        store.range(all, &mut |key, _| {
            keys.add(hash(key));
            match goes_on() {
                true => Flow::Continue(()),
                false => Flow::Break(()),
            }
        })?;
        Ok(Self(keys))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn no_key_is_missed_and_few_are_taken_for_others() {
        // The quality must not depend on the seed of the hashes.
        for _ in 0..5 {
            few_are_taken_for_others(&hashbrown::DefaultHashBuilder::default());
        }
    }

    fn few_are_taken_for_others(hasher: &hashbrown::DefaultHashBuilder) {
        const KEYS: u32 = 50_000;
        let mut filter = Filter::default();
        let hash = |key: u32| hasher.hash_one(key);
        for key in 0..KEYS {
            filter.add(hash(key));
        }
        assert!((0..KEYS).all(|key| filter.may_have(hash(key))));
        let wrong = (KEYS..2 * KEYS).filter(|key| filter.may_have(hash(*key)));
        let wrong = wrong.count();
        assert!((10..1_000).contains(&wrong), "{wrong} of {KEYS}");
        assert!(filter.bytes() < 300_000, "{} bytes", filter.bytes());
    }
}
