//! Chunks of memory for rows, and the places in them that are free. A row that is being flushed stays as it is.

use super::row::{
    Flags, HEADER, MAX_PACKED, OFFSET_BITS, Row, RowId, RowState, WORD, Words, words_of,
};

/// The words of the first chunk, and of the largest.
const MIN_CHUNK: usize = 1 << 5;
const MAX_CHUNK: usize = 1 << OFFSET_BITS;
/// How many chunks there can be.
const MAX_CHUNKS: usize = 1 << (u32::BITS - OFFSET_BITS);
/// With fewer left the arena says that it is full: more than a turn of the worker can fill.
const SPARE_CHUNKS: usize = 1 << 13;

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
        self.chunk(id).words.flags(id)
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
        open.map_or(0, |open| open.words.len() - open.used)
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
        chunk.words.put(id, words, key);
        self.live += words;
        id
    }

    fn add_large(&mut self, key: &[u8], words: usize) -> RowId {
        let at = self.add_chunk(words, true);
        let id = RowId::new(at, 0);
        let chunk = self.chunk_mut(id);
        (chunk.used, chunk.live) = (words, words);
        chunk.words.put(id, words, key);
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
        let room = self.room();
        let Some(at) = self.open.take() else { return };
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
            words: Words::new(words, is_large),
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

    /// Gives the place of a row back.
    pub(super) fn remove(&mut self, id: RowId) {
        let chunk = self.chunk(id);
        let words = chunk.words.row(id).words();
        if chunk.words.is_large() {
            self.release(id.chunk());
            return;
        }
        self.chunk_mut(id).live -= words;
        self.live -= words;
        self.vacate(id, words);
    }

    fn vacate(&mut self, id: RowId, words: usize) {
        self.chunk(id).words.vacate(id, words);
        if self.free.len() <= words {
            self.free.resize_with(words + 1, Vec::new);
        }
        self.free[words].push(id);
    }

    /// Gives a chunk back, whatever is in it; `free` must not name places of it.
    fn release(&mut self, at: usize) {
        if let Some(chunk) = self.chunks[at].take() {
            self.words -= chunk.words.len();
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
                let (has_row, words) = chunk.words.place(id);
                next += words;
                if has_row {
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
                let (has_row, words) = chunk.words.place(id);
                word += words;
                if has_row {
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
                chunk.flushing == 0 && 8 * chunk.live < eighths * chunk.words.len()
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
                let row = self.row(new);
                row.set_value(timestamp, Some(&value));
                row.set_flags(flags);
                self.row(old).moved_to(new);
                moved(self, old, new);
            }
        }
        released
    }

    /// Where a row of a chunk that was compacted is now; `None` if it had moved before.
    pub(super) fn moved_to(&self, old: RowId) -> Option<RowId> {
        let row = self.row(old);
        let is_here = row.flags().state != RowState::Moved;
        is_here.then(|| row.new_place())
    }

    pub(super) fn release_all(&mut self, released: &Released) {
        for (at, _) in released.0.iter().enumerate().filter(|(_, is)| **is) {
            self.release(at);
        }
    }

    /// All rows.
    #[cfg(test)]
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
