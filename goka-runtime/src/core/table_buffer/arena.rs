//! Rows packed into chunks of memory, in words of eight bytes: a header, the key, the value. The words are
//! atomic, so that a flush reads its rows on its own thread while the worker goes on; the worker alone
//! writes, and leaves a row that is being flushed as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::record::Timestamp;

/// The words before the key: lengths and flags, then the timestamp.
const HEADER: usize = 2;
/// A row of more words lies in a chunk of its own, with the length of its key behind the header.
const MAX_PACKED: usize = 1 << 12;
const OFFSET_BITS: u32 = 15;
/// The words of the first chunk, and of the largest.
const MIN_CHUNK: usize = 1 << 7;
const MAX_CHUNK: usize = 1 << OFFSET_BITS;
/// How many chunks there can be.
const MAX_CHUNKS: usize = 1 << (u32::BITS - OFFSET_BITS);
/// With fewer left the arena says that it is full: more than a turn of the worker can fill.
const SPARE_CHUNKS: usize = 1 << 13;
/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// Where a row lies: its chunk, and its first word in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowId(u32);

impl RowId {
    fn new(chunk: usize, word: usize) -> Self {
        Self((chunk as u32) << OFFSET_BITS | word as u32)
    }

    pub(super) fn chunk(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    fn word(self) -> usize {
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
}

impl Words {
    pub(super) fn row(&self, id: RowId) -> Row<'_> {
        let (at, header) = (id.word(), self.words[id.word()].load(Relaxed));
        if self.is_large {
            return Row {
                header: &self.words[..HEADER],
                rest: &self.words[HEADER + 1..],
                key: self.words[HEADER].load(Relaxed) as usize,
                value: header as u32 as usize,
                words: self.words.len(),
            };
        }
        let words = (header >> 32 & 0xffff) as usize;
        let row = &self.words[at..at + words];
        Row {
            header: &row[..HEADER],
            rest: &row[HEADER..],
            key: (header >> 16 & 0xffff) as usize,
            value: (header & 0xffff) as usize,
            words,
        }
    }
}

impl<'a> Row<'a> {
    pub(super) fn flags(&self) -> Flags {
        Flags::unpack(self.header[0].load(Relaxed))
    }

    fn set_flags(&self, flags: Flags) {
        let lengths = self.header[0].load(Relaxed) & ((1 << FLAGS_AT) - 1);
        self.header[0].store(flags.pack() | lengths, Relaxed);
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.words * WORD
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
    pub(super) fn compare_keys(&self, other: &Self) -> std::cmp::Ordering {
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

fn words_of(bytes: usize) -> usize {
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

#[derive(Debug)]
struct Chunk {
    words: Words,
    /// The words that rows were given, vacant again or not.
    used: usize,
    /// The words of its rows.
    live: usize,
    /// How many of its rows are being flushed.
    flushing: usize,
}

/// The rows of one copy.
#[derive(Debug, Default)]
pub(super) struct Arena {
    chunks: Vec<Option<Chunk>>,
    /// Numbers of chunks that were given back.
    vacant: Vec<usize>,
    /// The chunk that rows are put into.
    open: Option<usize>,
    /// Places without a row, by their words.
    free: Vec<Vec<RowId>>,
    /// The words of all chunks, and those of rows.
    words: usize,
    live: usize,
    /// Where rows are looked through next.
    next_look: (usize, usize),
}

impl Arena {
    pub(super) fn row(&self, id: RowId) -> Row<'_> {
        self.chunk(id).words.row(id)
    }

    fn chunk(&self, id: RowId) -> &Chunk {
        self.chunks[id.chunk()]
            .as_ref()
            .expect("a row keeps its chunk")
    }

    fn chunk_mut(&mut self, id: RowId) -> &mut Chunk {
        self.chunks[id.chunk()]
            .as_mut()
            .expect("a row keeps its chunk")
    }

    pub(super) fn flags(&self, id: RowId) -> Flags {
        Flags::unpack(self.chunk(id).words.words[id.word()].load(Relaxed))
    }

    pub(super) fn set_flags(&mut self, id: RowId, flags: Flags) {
        self.row(id).set_flags(flags);
    }

    /// A flush reads the row: its chunk stays until [`Arena::unpin`].
    pub(super) fn pin(&mut self, id: RowId) {
        self.chunk_mut(id).flushing += 1;
    }

    pub(super) fn unpin(&mut self, id: RowId) {
        self.chunk_mut(id).flushing -= 1;
    }

    /// Memory of all chunks, and how much of it is not a row's.
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.words * WORD, (self.words - self.live) * WORD)
    }

    /// Whether hardly another chunk can be made.
    pub(super) fn is_full(&self) -> bool {
        self.chunks.len() - self.vacant.len() > MAX_CHUNKS - SPARE_CHUNKS
    }

    /// Whether a row finds a place without another chunk.
    pub(super) fn has_place(&self, key: usize, value: usize) -> bool {
        let words = HEADER + words_of(key) + words_of(value);
        let is_free = self.free.get(words).is_some_and(|free| !free.is_empty());
        is_free || words <= MAX_PACKED && self.room() >= words
    }

    /// The words that are left in the open chunk.
    fn room(&self) -> usize {
        let open = self.open.and_then(|at| self.chunks[at].as_ref());
        open.map_or(0, |open| open.words.words.len() - open.used)
    }

    /// A row of this key with room for a value of so many bytes.
    pub(super) fn add(&mut self, key: &[u8], room: usize) -> RowId {
        let words = HEADER + words_of(key.len()) + words_of(room);
        if words > MAX_PACKED {
            return self.add_large(key, words + 1);
        }
        let id = match self.free.get_mut(words).and_then(Vec::pop) {
            Some(id) => id,
            None => self.cut(words),
        };
        let chunk = self.chunk_mut(id);
        chunk.live += words;
        let at = id.word();
        let lengths = (words as u64) << 32 | (key.len() as u64) << 16;
        chunk.words.words[at].store(Flags::NEW.pack() | lengths, Relaxed);
        store(&chunk.words.words[at + HEADER..], key);
        self.live += words;
        id
    }

    fn add_large(&mut self, key: &[u8], words: usize) -> RowId {
        let at = self.add_chunk(words, true);
        let id = RowId::new(at, 0);
        let chunk = self.chunk_mut(id);
        (chunk.used, chunk.live) = (words, words);
        chunk.words.words[0].store(Flags::NEW.pack(), Relaxed);
        chunk.words.words[HEADER].store(key.len() as u64, Relaxed);
        store(&chunk.words.words[HEADER + 1..], key);
        self.live += words;
        id
    }

    /// A place behind all others of the open chunk.
    fn cut(&mut self, words: usize) -> RowId {
        if self.room() < words {
            self.close_chunk();
            let size = (self.live / 4).clamp(MIN_CHUNK, MAX_CHUNK);
            self.open = Some(self.add_chunk(size.max(words), false));
        }
        let at = self.open.unwrap_or_default();
        let id = RowId::new(at, self.chunks[at].as_ref().map_or(0, |open| open.used));
        self.chunk_mut(id).used += words;
        id
    }

    /// What is left of the open chunk is a place for a smaller row.
    fn close_chunk(&mut self) {
        let (Some(at), room) = (self.open.take(), self.room()) else {
            return;
        };
        if let Some(open) = &mut self.chunks[at]
            && room > HEADER
        {
            let id = RowId::new(at, open.used);
            open.used += room;
            self.vacate(id, room);
        }
    }

    fn add_chunk(&mut self, words: usize, is_large: bool) -> usize {
        let chunk = Chunk {
            words: Words {
                words: (0..words).map(|_| AtomicU64::new(0)).collect(),
                is_large,
            },
            used: 0,
            live: 0,
            flushing: 0,
        };
        self.words += words;
        match self.vacant.pop() {
            Some(at) => {
                self.chunks[at] = Some(chunk);
                at
            }
            None => {
                self.chunks.push(Some(chunk));
                self.chunks.len() - 1
            }
        }
    }

    /// Puts a value into the row, if its place is right for it: not too small, nor much too large.
    pub(super) fn set_value(
        &mut self,
        id: RowId,
        timestamp: Timestamp,
        value: Option<&[u8]>,
    ) -> bool {
        let chunk = self.chunk(id);
        let row = chunk.words.row(id);
        let length = value.map_or(0, <[u8]>::len);
        let at = words_of(row.key);
        let (needs, has) = (words_of(length), row.rest.len() - at);
        if needs > has || has > 2 * needs + 8 {
            return false;
        }
        let first = &row.header[0];
        let mask = if chunk.words.is_large {
            u64::from(u32::MAX)
        } else {
            0xffff
        };
        let lengths = first.load(Relaxed) & !mask | length as u64;
        first.store(lengths, Relaxed);
        row.header[1].store(timestamp.cast_unsigned(), Relaxed);
        store(&row.rest[at..], value.unwrap_or_default());
        let held = match value {
            Some(_) => Held::Value,
            None => Held::Deleted,
        };
        row.set_flags(Flags {
            held,
            ..row.flags()
        });
        true
    }

    /// Gives the place of a row back.
    pub(super) fn remove(&mut self, id: RowId) {
        let chunk = self.chunk(id);
        let words = chunk.words.row(id).words;
        if chunk.words.is_large {
            self.release(id.chunk());
            return;
        }
        self.chunk_mut(id).live -= words;
        self.live -= words;
        self.vacate(id, words);
    }

    fn vacate(&mut self, id: RowId, words: usize) {
        self.chunk(id).words.words[id.word()].store(VACANT | (words as u64) << 32, Relaxed);
        if self.free.len() <= words {
            self.free.resize_with(words + 1, Vec::new);
        }
        self.free[words].push(id);
    }

    /// Gives a chunk back, whatever is in it; `free` must not name places of it.
    fn release(&mut self, at: usize) {
        if let Some(chunk) = self.chunks[at].take() {
            self.words -= chunk.words.words.len();
            self.live -= chunk.live;
            self.vacant.push(at);
            if self.next_look.0 == at {
                self.next_look.1 = 0;
            }
        }
    }

    /// The rows of a chunk.
    fn rows_of(&self, at: usize) -> impl Iterator<Item = RowId> {
        let chunk = self.chunks[at].as_ref();
        let mut next = 0;
        std::iter::from_fn(move || {
            let chunk = chunk?;
            while next < chunk.used {
                let id = RowId::new(at, next);
                let first = chunk.words.words[next].load(Relaxed);
                next += chunk.words.row(id).words;
                if first & VACANT == 0 {
                    return Some(id);
                }
            }
            None
        })
    }

    /// The next row to be looked at, going round.
    pub(super) fn look(&mut self) -> Option<RowId> {
        let (mut at, mut word) = self.next_look;
        for _ in 0..=self.chunks.len() {
            while let Some(chunk) = self.chunks.get(at).and_then(Option::as_ref)
                && word < chunk.used
            {
                let id = RowId::new(at, word);
                let first = chunk.words.words[word].load(Relaxed);
                word += chunk.words.row(id).words;
                if first & VACANT == 0 {
                    self.next_look = (at, word);
                    return Some(id);
                }
            }
            at = if at + 1 < self.chunks.len() {
                at + 1
            } else {
                0
            };
            word = 0;
        }
        None
    }

    /// The chunks that may be given back for the least work: less than `eighths` of each is used, and their rows take
    /// no more than `most` bytes together.
    fn sparse(&self, eighths: usize, most: usize) -> Vec<usize> {
        let chunks = self.chunks.iter().enumerate();
        let mut sparse: Vec<_> = chunks
            .filter(|(at, _)| self.open != Some(*at))
            .filter_map(|(at, chunk)| Some((chunk.as_ref()?, at)))
            .filter(|(chunk, _)| {
                chunk.flushing == 0 && 8 * chunk.live < eighths * chunk.words.words.len()
            })
            .map(|(chunk, at)| (chunk.live, at))
            .collect();
        sparse.sort_unstable();
        let mut taken = 0;
        let within = sparse.into_iter().take_while(|(live, _)| {
            taken += live * WORD;
            taken <= most
        });
        within.map(|(_, at)| at).collect()
    }

    /// Moves rows out of sparse chunks (see above): `moved` is told each row's old and new place. The chunks are to be
    /// given back by [`Arena::release_all`].
    pub(super) fn compact(
        &mut self,
        eighths: usize,
        most: usize,
        mut moved: impl FnMut(&Self, RowId, RowId),
    ) -> Released {
        let sparse = self.sparse(eighths, most);
        let mut released = Released(vec![false; self.chunks.len()]);
        for at in &sparse {
            released.0[*at] = true;
        }
        for free in &mut self.free {
            free.retain(|id| !released.has(*id));
        }
        let mut key = Vec::new();
        let mut value = Vec::new();
        for at in sparse {
            let rows: Vec<_> = self.rows_of(at).collect();
            for old in rows {
                let row = self.row(old);
                let flags = row.flags();
                if flags.state == RowState::Moved {
                    continue;
                }
                let timestamp = row.timestamp();
                row.key(&mut key);
                row.value(&mut value);
                let new = self.add(&key, value.len());
                self.set_value(new, timestamp, Some(&value));
                self.set_flags(new, flags);
                // The lists of rows find the new place here.
                self.row(old).header[1].store(u64::from(new.0), Relaxed);
                moved(self, old, new);
            }
        }
        released
    }

    /// Where a row of a chunk that was compacted is now; `None` if it had moved before.
    pub(super) fn moved_to(&self, old: RowId) -> Option<RowId> {
        let row = self.row(old);
        let is_here = row.flags().state != RowState::Moved;
        is_here.then(|| RowId(row.header[1].load(Relaxed) as u32))
    }

    pub(super) fn release_all(&mut self, released: &Released) {
        for (at, _) in released.0.iter().enumerate().filter(|(_, is)| **is) {
            self.release(at);
        }
    }

    /// All rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowId> {
        (0..self.chunks.len()).flat_map(|at| self.rows_of(at))
    }

    /// The chunks' words, for another thread.
    pub(super) fn share(&self) -> Vec<Option<Words>> {
        let chunks = self.chunks.iter();
        chunks
            .map(|chunk| chunk.as_ref().map(|chunk| chunk.words.clone()))
            .collect()
    }
}

/// Which chunks are given back.
#[derive(Debug)]
pub(super) struct Released(Vec<bool>);

impl Released {
    pub(super) fn has(&self, id: RowId) -> bool {
        self.0.get(id.chunk()).is_some_and(|is| *is)
    }
}
