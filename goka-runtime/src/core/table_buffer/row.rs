//! A row in words of eight bytes: a header, the key, the value. The words are atomic, so that a flush reads its rows on
//! its own thread while the worker goes on; the worker alone writes.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::record::Timestamp;

/// The words before the key: lengths and flags, then the timestamp.
pub(super) const HEADER: usize = 2;
/// A row of more words lies in a chunk of its own, with the length of its key behind the header.
pub(super) const MAX_PACKED: usize = 1 << 12;
/// Of a place in a chunk.
pub(super) const OFFSET_BITS: u32 = 15;
/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

/// Where a row lies: its chunk, and its first word in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowId(u32);

impl RowId {
    pub(super) fn new(chunk: usize, word: usize) -> Self {
        Self((chunk as u32) << OFFSET_BITS | word as u32)
    }

    pub(super) fn chunk(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    pub(super) fn word(self) -> usize {
        (self.0 & ((1 << OFFSET_BITS) - 1)) as usize
    }

    pub(super) fn hash(self) -> u64 {
        // Fibonacci hashing: neighbours in memory get hashes that differ in their high bits.
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// What a row holds, beside a pending value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing: only the store knows.
    Unknown,
    Deleted,
    Value,
}

/// How what a row holds relates to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowState {
    /// The store has the same.
    Clean,
    /// The store has an older one.
    Memtable,
    /// It is on its way to the store.
    Flushing,
    /// It lies elsewhere by now, and a list of rows still names this place.
    Moved,
}

/// The flags of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) held: Held,
    pub(super) state: RowState,
    /// Whether it was written since the last barrier.
    pub(super) is_pending: bool,
    /// Whether it was used since the cache was last looked through.
    pub(super) is_recent: bool,
}

impl Flags {
    pub(super) const NEW: Self = Self {
        held: Held::Unknown,
        state: RowState::Clean,
        is_pending: false,
        is_recent: false,
    };

    fn pack(self) -> u64 {
        let held = match self.held {
            Held::Unknown => 0,
            Held::Deleted => 1,
            Held::Value => 2,
        };
        let state = match self.state {
            RowState::Clean => 0,
            RowState::Memtable => 1,
            RowState::Flushing => 2,
            RowState::Moved => 3,
        };
        (held | state << 2 | u64::from(self.is_pending) << 4 | u64::from(self.is_recent) << 5)
            << FLAGS_AT
    }

    fn unpack(word: u64) -> Self {
        let flags = word >> FLAGS_AT;
        Self {
            held: match flags & 3 {
                0 => Held::Unknown,
                1 => Held::Deleted,
                _ => Held::Value,
            },
            state: match flags >> 2 & 3 {
                0 => RowState::Clean,
                1 => RowState::Memtable,
                2 => RowState::Flushing,
                _ => RowState::Moved,
            },
            is_pending: flags & 1 << 4 != 0,
            is_recent: flags & 1 << 5 != 0,
        }
    }

    /// Whether the row could be read from the store again.
    pub(super) fn is_cached(self) -> bool {
        self.state == RowState::Clean && !self.is_pending && self.held != Held::Unknown
    }
}

/// Where the flags lie in a row's first word, above its lengths, and the flag of a place without a row.
const FLAGS_AT: u32 = 56;
const VACANT: u64 = 1 << 63;

/// The words of a chunk.
#[derive(Debug, Clone)]
pub(super) struct Words {
    words: Arc<[AtomicU64]>,
    /// It is one row.
    is_large: bool,
}

/// A row's place, with its lengths read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    header: &'a [AtomicU64],
    rest: &'a [AtomicU64],
    /// Bytes.
    key: usize,
    value: usize,
    /// The words that the row takes.
    words: usize,
    is_large: bool,
}

impl Words {
    pub(super) fn new(length: usize, is_large: bool) -> Self {
        Self {
            words: (0..length).map(|_| AtomicU64::new(0)).collect(),
            is_large,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn is_large(&self) -> bool {
        self.is_large
    }

    pub(super) fn row(&self, id: RowId) -> Row<'_> {
        let (at, first) = (id.word(), self.words[id.word()].load(Relaxed));
        if self.is_large {
            return Row {
                header: &self.words[..HEADER],
                rest: &self.words[HEADER + 1..],
                key: self.words[HEADER].load(Relaxed) as usize,
                value: first as u32 as usize,
                words: self.words.len(),
                is_large: true,
            };
        }
        let words = (first >> 32 & 0xffff) as usize;
        let row = &self.words[at..at + words];
        Row {
            header: &row[..HEADER],
            rest: &row[HEADER..],
            key: (first >> 16 & 0xffff) as usize,
            value: (first & 0xffff) as usize,
            words,
            is_large: false,
        }
    }

    pub(super) fn flags(&self, id: RowId) -> Flags {
        Flags::unpack(self.words[id.word()].load(Relaxed))
    }

    /// Makes a row of so many words for a key.
    pub(super) fn put(&self, id: RowId, words: usize, key: &[u8]) {
        let (at, flags) = (id.word(), Flags::NEW.pack());
        if self.is_large {
            self.words[0].store(flags, Relaxed);
            self.words[HEADER].store(key.len() as u64, Relaxed);
            store(&self.words[HEADER + 1..], key);
        } else {
            let lengths = (words as u64) << 32 | (key.len() as u64) << 16;
            self.words[at].store(flags | lengths, Relaxed);
            store(&self.words[at + HEADER..], key);
        }
    }

    /// So many words hold no row.
    pub(super) fn vacate(&self, id: RowId, words: usize) {
        self.words[id.word()].store(VACANT | (words as u64) << 32, Relaxed);
    }

    /// The place at that word: its row, if it has one, and the words that it takes.
    pub(super) fn place(&self, id: RowId) -> (bool, usize) {
        let has_row = self.words[id.word()].load(Relaxed) & VACANT == 0;
        (has_row, self.row(id).words)
    }
}

impl<'a> Row<'a> {
    pub(super) fn flags(&self) -> Flags {
        Flags::unpack(self.header[0].load(Relaxed))
    }

    pub(super) fn set_flags(&self, flags: Flags) {
        let lengths = self.header[0].load(Relaxed) & ((1 << FLAGS_AT) - 1);
        self.header[0].store(flags.pack() | lengths, Relaxed);
    }

    /// The words that it takes.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.words * WORD
    }

    /// Puts a value into the row, if its place is right for it: not too small, nor much too large.
    pub(super) fn set_value(&self, timestamp: Timestamp, value: Option<&[u8]>) -> bool {
        let length = value.map_or(0, <[u8]>::len);
        let at = words_of(self.key);
        let (needs, has) = (words_of(length), self.rest.len() - at);
        if needs > has || has > 2 * needs + 8 {
            return false;
        }
        let mask = match self.is_large {
            true => u64::from(u32::MAX),
            false => 0xffff,
        };
        let first = &self.header[0];
        first.store(first.load(Relaxed) & !mask | length as u64, Relaxed);
        self.header[1].store(timestamp.cast_unsigned(), Relaxed);
        store(&self.rest[at..], value.unwrap_or_default());
        let held = match value {
            Some(_) => Held::Value,
            None => Held::Deleted,
        };
        let flags = self.flags();
        self.set_flags(Flags { held, ..flags });
        true
    }

    /// Leaves word where the row lies now, instead of its timestamp.
    pub(super) fn moved_to(&self, new: RowId) {
        self.header[1].store(u64::from(new.0), Relaxed);
    }

    /// Where a row that was moved lies now.
    pub(super) fn new_place(&self) -> RowId {
        RowId(self.header[1].load(Relaxed) as u32)
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        self.header[1].load(Relaxed).cast_signed()
    }

    fn key_words(&self) -> &'a [AtomicU64] {
        &self.rest[..words_of(self.key)]
    }

    pub(super) fn key_is(&self, key: &[u8]) -> bool {
        let words = || self.key_words().iter().zip(key.chunks(WORD));
        self.key == key.len() && words().all(|(word, bytes)| word.load(Relaxed) == to_word(bytes))
    }

    /// Its key; `buffer`'s bytes are replaced.
    pub(super) fn key<'b>(&self, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        load(self.key_words(), self.key, buffer)
    }

    /// Its value; `buffer`'s bytes are replaced.
    pub(super) fn value<'b>(&self, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        load(&self.rest[words_of(self.key)..], self.value, buffer)
    }

    /// Eight bytes of the key from `from` on, as a number of the same order.
    pub(super) fn key_part(&self, from: usize) -> u64 {
        let word = |at| self.key_words().get(at).map_or(0, big_endian);
        let (at, bits) = (from / WORD, 8 * (from % WORD) as u32);
        // What is behind a key in its last word is zero.
        let next = word(at + 1).checked_shr(u64::BITS - bits).unwrap_or(0);
        word(at) << bits | next
    }

    /// The order of the keys, by bytes.
    pub(super) fn compare_keys(&self, other: &Self) -> Ordering {
        let (ours, theirs) = (self.key_words().iter(), other.key_words().iter());
        let words = ours.map(big_endian).cmp(theirs.map(big_endian));
        words.then(self.key.cmp(&other.key))
    }

    /// How many bytes the keys have in common at their beginning.
    pub(super) fn common_prefix(&self, other: &Self) -> usize {
        let words = || self.key_words().iter().zip(other.key_words());
        let least = self.key.min(other.key);
        for (at, (ours, theirs)) in words().enumerate() {
            let differ = ours.load(Relaxed) ^ theirs.load(Relaxed);
            if differ != 0 {
                return least.min(at * WORD + differ.trailing_zeros() as usize / 8);
            }
        }
        least
    }
}

pub(super) fn words_of(bytes: usize) -> usize {
    bytes.div_ceil(WORD)
}

fn big_endian(word: &AtomicU64) -> u64 {
    u64::from_be_bytes(word.load(Relaxed).to_le_bytes())
}

fn to_word(bytes: &[u8]) -> u64 {
    if let Ok(whole) = bytes.try_into() {
        return u64::from_le_bytes(whole);
    }
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn load<'b>(words: &[AtomicU64], length: usize, buffer: &'b mut Vec<u8>) -> &'b [u8] {
    buffer.clear();
    buffer.reserve(words_of(length) * WORD);
    for word in &words[..words_of(length)] {
        buffer.extend_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    buffer.truncate(length);
    buffer
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks(WORD)) {
        word.store(to_word(bytes), Relaxed);
    }
}
